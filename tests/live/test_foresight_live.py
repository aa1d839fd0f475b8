"""The whole chain with a real leak: alert by name, forecast that comes true, kill, and its history afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from oomsight.cli.main import cli
from oomsight.pipeline import foresight
from oomsight.sources.history import History, HistoryError

from .docker_rig import eventually
from .test_alerts_live import ROOT, agent, bench, receiver
from .test_memory_alerts_live import LIMIT_MIB, MEMORY, _about, _free_port, _inside, limited

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}"),
    pytest.mark.skipif(not MEMORY.joinpath("memory.limit_in_bytes").exists(), reason="no version 1 memory controller here"),
]
RATE_MIB = 3  #: a second
LEAK = f"""
import time
held, begun = [], time.monotonic()
while True:
    time.sleep(0.05)
    while len(held) < (time.monotonic() - begun) * {RATE_MIB * 16}:
        held.append(b"x" * (65536 - 64))
"""
WITHIN = 0.25  #: of the time left, once a third of the headroom is used


def test_a_real_leak_is_told_foretold_and_explained(tmp_path) -> None:
    history = tmp_path / "history"
    rule = '[[alerts.rule]]\nname = "mine"\nkind = "memory"\ncgroup = "/oomsight-chain-*"\nrepeat_seconds = 0\n'
    port = _free_port()
    hook = f'[[alerts.channel]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\nper_minute = 0\n'
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "record", "--interval", "0.5",
               "--store", str(history)]  # fmt: skip
    recorder = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, stderr=subprocess.DEVNULL)
    try:
        with limited("chain") as path, receiver(port) as got, agent(tmp_path, rule + hook):
            eventually(lambda: _on_record(history, "") is not None)
            program = _inside(path, LEAK)
            subject, left = eventually(lambda: _a_third_used(history, f"/{path.name}"), seconds=60)
            said = left.now + left.seconds
            causes = foresight.causes(History(str(history)), subject.cgroup, left.growth.since, left.growth.until)
            assert program.wait(120) == -signal.SIGKILL
            died = time.time()
            eventually(lambda: _about(path, got), seconds=60)
            eventually(lambda: _on_record(history, "") > died)
    finally:
        recorder.send_signal(signal.SIGTERM)
        recorder.wait(30)
    assert causes[0].pid == program.pid
    assert abs(died - said) <= WITHIN * (died - left.now), f"foretold {said - left.now:.1f} s, was {died - left.now:.1f} s"
    first = _about(path, got)[0]
    assert first["at"] < died
    assert first["subject"]["pid"] == program.pid
    arguments = ["history", "--around", "last", "--incidents", str(tmp_path / "i.db"), "--store", str(history)]
    told = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert told.exception is None
    assert f"(pid {program.pid})" in told.output
    assert path.name in told.output


def _on_record(history, _: str) -> float | None:
    try:
        span = History(str(history)).span()
    except HistoryError:
        return None
    return span[1] if span is not None else None


def _a_third_used(history, cgroup: str):
    """The forecast made as soon as a third of the headroom is used; ``None`` = not yet."""
    record = History(str(history))
    first, last = record.span()
    for subject, left in foresight.nearest(record, first, last, 50):
        if subject.cgroup == cgroup and left.headroom_bytes <= 2 / 3 * LIMIT_MIB * (1 << 20):
            return subject, left
    return None
