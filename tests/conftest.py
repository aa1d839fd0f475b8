"""Settings for the whole suite."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no bug: examples have no deadline, and slow generation is not judged.
settings.register_profile("oomsight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oomsight")

# Real kills share one kernel log with a rate limit of ten reports in five seconds: one after the other, in one worker
# (a group of xdist) and among all runs on this machine (a lock on that log itself, so that no file stays behind).
_KERNEL = ("live/", "cli/test_drill.py", "deploy/")
_LOG = "/dev/kmsg"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that kill for real, or watch for it, in one worker."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if place.startswith(_KERNEL) or item.get_closest_marker("live"):
            item.add_marker(pytest.mark.xdist_group("kernel"))


@pytest.fixture(autouse=True)
def _kernel_is_ours(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the machine's kernel while a test kills for real."""
    if not any(mark.args == ("kernel",) for mark in request.node.iter_markers("xdist_group")):
        yield
        return
    try:
        lock = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # not for us: then nobody is waited for
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
