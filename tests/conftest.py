"""Settings for the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no bug: examples have no deadline, and slow generation is not judged.
settings.register_profile("oomsight", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oomsight")

# Real kills share one kernel log with a rate limit of ten reports in five seconds: one after the other.
_KERNEL = ("live", "cli/test_drill.py", "deploy")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that kill for real, or watch for it, in one worker."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if place.startswith(_KERNEL) or item.get_closest_marker("live"):
            item.add_marker(pytest.mark.xdist_group("kernel"))
