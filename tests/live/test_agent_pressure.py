"""An agent in a full memory cgroup, with the score the unit gives it: others die, it lives, tells and stays in memory."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from oomsight.daemons.own_memory import may_lock

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import live_bench as bench

pytestmark = [pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")]

UNIT = Path(__file__).parents[2] / "deploy/systemd/oomsight-agent.service"
LIMIT_BYTES = 160 << 20
KILLS = 5
HOG = """
import os, sys
with open(sys.argv[1], "w") as procs:
    procs.write(str(os.getpid()))
block = bytearray(1 << 30)
for at in range(0, len(block), 4096):
    block[at] = 1
"""


def _kib(pid: int, key: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{key}:")[1].split()[0])


def _protect(pid: int) -> None:
    """Give *pid* the score of the unit, or stay at ours where a lower one needs CAP_SYS_RESOURCE we do not have."""
    line = next(x for x in UNIT.read_text().splitlines() if x.startswith("OOMScoreAdjust="))
    with suppress(PermissionError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(line.partition("=")[2])


def test_agent_lives_and_stays_in_memory_while_its_cgroup_is_out_of_memory(tmp_path) -> None:
    store = str(tmp_path / "incidents.db")
    process = bench.agent(store)
    with bench.scratch("pressure") as group:
        limit = next(group / name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists())
        limit.write_text(str(LIMIT_BYTES))
        try:
            _protect(process.pid)
            (group / "cgroup.procs").write_text(str(process.pid))
            end = time.monotonic() + 60
            while may_lock() and not _kib(process.pid, "VmLck") and time.monotonic() < end:
                time.sleep(0.1)  # it locks what it holds once the log of the past is read
            held = _kib(process.pid, "VmRSS")
            pids = []
            for _ in range(KILLS):
                hog = subprocess.Popen([sys.executable, "-c", HOG, str(group / "cgroup.procs")])
                assert hog.wait(60) == -signal.SIGKILL
                pids.append(hog.pid)
            have = bench.settle(store, pids)
            assert process.poll() is None
            assert {kill[2] for kill in have["kills"]} >= set(pids)
            if may_lock():
                assert _kib(process.pid, "VmLck") > 0
                assert _kib(process.pid, "VmRSS") >= held - 512  # freed by itself, not taken
        finally:
            process.terminate()
            assert process.wait(20) == 0
