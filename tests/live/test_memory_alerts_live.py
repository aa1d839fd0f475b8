"""A real program that leaks in a real cgroup: told before the kill, with the right name; page cache is never told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from oomsight.alarms.table import Limits
from oomsight.daemons.memory_watch import open_watch

from .docker_rig import eventually
from .test_alerts_live import agent, bench, receiver

pytestmark = [pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")]

MEMORY = Path("/sys/fs/cgroup/memory")
LIMIT_MIB = 96
LEAK = """
import sys, time
held = []
print("go", flush=True)
while True:
    held.append(b"x" * (1 << 20))
    time.sleep(0.12)
"""


@contextmanager
def limited(name: str):
    """A cgroup with a limit, empty at the end."""
    path = MEMORY / f"oomsight-{name}-{os.getpid()}"
    path.mkdir()
    (path / "memory.limit_in_bytes").write_text(f"{LIMIT_MIB}M")
    try:
        yield path
    finally:
        eventually(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


def _inside(path: Path, code: str, **how) -> subprocess.Popen:
    enter = f"import os; open({str(path / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    return subprocess.Popen([sys.executable, "-c", enter + code], **how)


@pytest.mark.skipif(not MEMORY.joinpath("memory.limit_in_bytes").exists(), reason="no version 1 memory controller here")
def test_leak_is_told_before_the_kill_by_name_and_over_afterwards(tmp_path) -> None:
    rule = '[[alerts.rule]]\nname = "mine"\nkind = "memory"\ncgroup = "/oomsight-leak-*"\nrepeat_seconds = 0\n'
    codes = ("cgroup_growth", "cgroup_near_limit", "cgroup_at_limit")
    times = "".join(f"[alerts.memory.{code}]\nclear_seconds = 2\n" for code in codes)
    port = _free_port()
    hook = f'[[alerts.channel]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\nper_minute = 0\n'
    with limited("leak") as path, receiver(port) as got, agent(tmp_path, rule + times + hook):
        started = time.time()
        program = _inside(path, LEAK, stdout=subprocess.DEVNULL)
        status = program.wait(60)
        died = time.time()
        assert status == -9
        eventually(lambda: any(message["status"] == "resolved" for message in _about(path, got)), seconds=30)
    first = _about(path, got)[0]
    assert first["status"] == "firing"
    assert first["labels"]["alertname"] == "MemoryAlert"
    assert started < first["at"] < died - 0.5, "told too late to do anything"
    assert first["subject"]["pid"] == program.pid
    assert first["event"]["victim_pid"] == program.pid
    assert first["event"]["grower"]["pid"] == program.pid
    left = first["event"]["time_left_seconds"]
    assert left is not None
    assert abs((died - first["at"]) - left) < 0.6 * (died - first["at"]) + 2
    assert f"limit {LIMIT_MIB}.0 MiB" in first["title"] or f"limit of {LIMIT_MIB}.0 MiB" in first["title"]
    held = json.loads((tmp_path / "alarms.json").read_text())
    assert not [row for row in held["alerts"] if row["subject"].startswith("/oomsight-leak-")]


def _about(path: Path, got: list[dict]) -> list[dict]:
    """Messages about *path*: drills of other tests go everywhere."""
    return [message for message in got if message["subject"]["cgroup"] == f"/{path.name}"]


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.skipif(not MEMORY.joinpath("memory.limit_in_bytes").exists(), reason="no version 1 memory controller here")
def test_page_cache_fills_a_cgroup_and_nothing_is_told_then_memory_is(tmp_path) -> None:
    told: list[dict] = []
    with limited("cache") as path:
        mine = f"/{path.name}"
        watch = open_watch(Limits(), told.append)
        big = tmp_path / "big"
        cache = f"""
import os
with open({str(big)!r}, "wb") as file:
    for _ in range({LIMIT_MIB + 40}):
        file.write(os.urandom(1 << 20)); file.flush(); os.fdatasync(file.fileno())
for _ in range(3):
    with open({str(big)!r}, "rb") as file:
        while file.read(1 << 20): pass
print("full", flush=True)
input()
held = [bytes([7]) * (1 << 20) for _ in range({LIMIT_MIB - 8})]
print("held", flush=True)
input()
"""
        program = _inside(path, cache, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            turns = 0
            while program.poll() is None and not _ready(program):
                watch.turn()
                turns += 1
                time.sleep(0.2)
            assert program.stdout.readline() == "full\n"
            failed = int((path / "memory.failcnt").read_text())
            usage = int((path / "memory.usage_in_bytes").read_text())
            assert usage > 0.9 * LIMIT_MIB * (1 << 20), "the cache must fill it, or this test shows nothing"
            assert failed > 0
            for _ in range(8):
                watch.turn()
                time.sleep(0.2)
            assert [document for document in told if document["cgroup"] == mine] == []
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.stdout.readline() == "held\n"
            limits = watch.feed.limits
            limit = limits.of(_alarm("cgroup_near_limit"), mine)._replace(for_seconds=1.0)
            watch.reload(Limits(limits=(("cgroup_near_limit", limit),)))
            eventually(lambda: watch.turn() and [d for d in told if d["cgroup"] == mine], seconds=20)
            alert = next(document for document in told if document["cgroup"] == mine)
            assert "cgroup_near_limit" in [reason["code"] for reason in alert["reasons"]]
            assert alert["biggest"]["pid"] == program.pid
        finally:
            program.kill()
            program.communicate()
            watch.close()


def _ready(program: subprocess.Popen) -> bool:
    import select

    return bool(select.select([program.stdout], [], [], 0)[0])


def _alarm(code: str):
    from oomsight.alarms.table import BY_CODE

    return BY_CODE[code]
