"""The agent as a process: ready, reload, stop, one writer; and its store when it is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from oomsight.cli.exits import Exit
from oomsight.sinks.store import Reader

ROOT = Path(__file__).parents[2]
QUIET = "[sources]\nkmsg = false\njournal = false\ntracepoint = false\ncgroups = false\n"


@pytest.fixture
def start(tmp_path):
    """Starts agents that say when they are ready; ends them all."""
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(tmp_path / "notify"))
    ready.settimeout(20)
    (tmp_path / "agent.toml").write_text(QUIET)
    running = []

    def run(*args, **environ):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}
        code = "from oomsight.cli.main import main; main()"
        command = [sys.executable, "-c", code, "agent", "-c", str(tmp_path / "agent.toml"), *args]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process, ready

    yield run
    for process in running:
        process.kill()
        process.communicate()
    ready.close()


def _next(ready, word):
    while not (message := ready.recv(4096).decode()).startswith(word):
        pass
    return message


def test_agent_ready_reload_and_clean_stop(start, tmp_path) -> None:
    store = str(tmp_path / "i.db")
    process, ready = start("--store", store)
    assert "STATUS=0 kills since start, watching no source" in _next(ready, "READY=1")
    (tmp_path / "agent.toml").write_text(QUIET + "[store]\nkeep_day = 1\n")
    process.send_signal(signal.SIGHUP)
    _next(ready, "RELOADING=1")
    _next(ready, "READY=1")
    (tmp_path / "agent.toml").write_text(QUIET + "[store]\nkeep_days = 1\n")
    process.send_signal(signal.SIGHUP)
    _next(ready, "RELOADING=1")
    _next(ready, "READY=1")
    process.send_signal(signal.SIGTERM)
    _next(ready, "STOPPING=1")
    _, said = process.communicate(timeout=20)
    assert process.returncode == Exit.OK
    assert "did you mean 'keep_days'?; the configuration stays as it was" in said
    assert "configuration read again" in said
    Reader(store).close()


def test_agent_watchdog_is_fed(start, tmp_path) -> None:
    _, ready = start("--store", str(tmp_path / "i.db"), WATCHDOG_USEC="200000")
    _next(ready, "READY=1")
    assert _next(ready, "WATCHDOG=1") == "WATCHDOG=1"


def test_agent_second_on_the_same_store_is_refused(start, tmp_path) -> None:
    _, ready = start("--store", str(tmp_path / "i.db"))
    _next(ready, "READY=1")
    second, _ = start("--store", str(tmp_path / "i.db"))
    _, said = second.communicate(timeout=20)
    assert second.returncode == Exit.FAILED
    assert "another oomsight agent writes this store" in said
    assert "Traceback" not in said


def test_agent_store_that_cannot_be_written_does_not_stop_it(start, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    process, ready = start("--store", str(tmp_path / "file/i.db"))
    _next(ready, "READY=1")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == Exit.OK
    assert "events are kept in memory until it can be written" in said
