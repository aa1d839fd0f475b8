"""The agent's own memory: locked where that can work for good, and no bigger for it."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from oomsight.daemons import own_memory

LOCK = """
import threading
from oomsight.daemons import own_memory
own_memory.few_arenas()
own_memory.trim()
gate = threading.Event()
threads = [threading.Thread(target=gate.wait) for _ in range(8)]
def sizes():
    text = open("/proc/self/status").read()
    return [int(text.split(key)[1].split()[0]) for key in ("VmRSS:", "VmLck:")]
before = sizes()
why = own_memory.lock()
for thread in threads:
    thread.start()
block = bytearray(4 << 20)
print(why, *before, *sizes())
gate.set()
"""


def _caps(tmp_path, caps: int) -> str:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text(f"Name:\tx\nCapEff:\t{caps:016x}\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("limit", "caps", "may"),
    [
        (resource.RLIM_INFINITY, 0, True),
        (8 << 20, 1 << 14, True),
        (8 << 20, 1 << 34, False),  # a limit that is large enough today is not tomorrow
        (0, 0, False),
    ],
)
def test_may_lock(monkeypatch, tmp_path, limit, caps, may) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert own_memory.may_lock(_caps(tmp_path, caps)) is may


def test_may_lock_without_proc_is_no(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))
    assert own_memory.may_lock(str(tmp_path)) is False


def test_lock_says_which_right_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(own_memory, "may_lock", lambda: False)
    assert own_memory.lock() == "it needs CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK"


@pytest.mark.skipif(not own_memory.may_lock(), reason="may not lock memory here (CAP_IPC_LOCK, ulimit -l)")
def test_lock_takes_what_is_touched_and_no_stacks() -> None:
    done = subprocess.run([sys.executable, "-c", LOCK], capture_output=True, text=True, check=True, timeout=60)
    why, before, unlocked, after, locked = done.stdout.split()
    assert why == "None"
    assert int(unlocked) == 0
    assert int(locked) >= 8 * 1024  # address space: eight stacks at least
    # 4 MiB of our own and what threads need; eight stacks of 8 MiB would be 64 MiB.
    assert int(after) - int(before) < 16 * 1024
