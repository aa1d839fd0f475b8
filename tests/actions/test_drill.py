"""The kill itself, on this machine's kernel: one process of ours dies, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from oomsight.actions.drill import Scratch, remove_leftovers
from oomsight.daemons.drill import look
from oomsight.drill.plan import make_plan
from oomsight.naming.marked import unmark

GROUND = look()
PLAN = make_plan(GROUND, os.getpid())
WHY_NOT = "; ".join(unmark(words) for _, words in PLAN.refusals)
live = [pytest.mark.live, pytest.mark.skipif(bool(PLAN.refusals), reason=f"live: {WHY_NOT}")]


def _mark(function):
    for one in live:
        function = one(function)
    return function


def test_kill_dry_run_touches_nothing() -> None:
    kill = Scratch(PLAN).kill(dry_run=True)
    assert (kill.pid, kill.killed, kill.words) == (None, False, "a dry run kills nobody")
    assert not os.path.exists(PLAN.directory)


@_mark
def test_kill_is_the_kernels_and_leaves_nothing() -> None:
    started = time.monotonic()
    with Scratch(PLAN) as scratch:
        kill = scratch.kill()
        assert os.path.isdir(PLAN.directory)
    assert kill.killed, kill.words
    assert kill.counted in {1, None}
    assert started < kill.at < time.monotonic()
    assert not os.path.exists(PLAN.directory)
    assert not os.path.exists(f"/proc/{kill.pid}")


@_mark
def test_kill_that_does_not_come_is_said_and_cleaned_up(monkeypatch) -> None:
    monkeypatch.setattr(Scratch, "_limit", lambda self: None)
    with Scratch(PLAN) as scratch:
        kill = scratch.kill()
    assert not kill.killed
    assert "took 128 MiB and was not killed" in kill.words
    assert not os.path.exists(PLAN.directory)


@_mark
def test_scratch_goes_when_something_else_fails() -> None:
    with pytest.raises(RuntimeError), Scratch(PLAN):
        raise RuntimeError
    assert not os.path.exists(PLAN.directory)


@_mark
def test_scratch_that_cannot_be_limited_leaves_nothing(monkeypatch) -> None:
    def fail(self, *_, **__):
        raise PermissionError(1, "no")

    monkeypatch.setattr(Scratch, "_write", fail)
    with pytest.raises(PermissionError), Scratch(PLAN):
        pass
    assert not os.path.exists(PLAN.directory)


def test_remove_leftovers_takes_only_dead_and_empty_ones(tmp_path) -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    for name in (f"oomsight-drill-{gone.pid}", f"oomsight-drill-{os.getpid()}", "oomsight-drill-x", "other"):
        (tmp_path / name).mkdir()
    assert remove_leftovers(str(tmp_path)) == [f"oomsight-drill-{gone.pid}"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"oomsight-drill-{os.getpid()}", "oomsight-drill-x", "other"])
    assert remove_leftovers(str(tmp_path / "none")) == []
