"""Real kills told of: a receiver that is down while they happen, and a container that is gone when it is named."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oomsight.sinks.store import Reader

from .docker_rig import dockerd, eventually

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import live_kit as bench  # noqa: E402

pytestmark = [pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")]

KILLS = 40
RULE = '[alerts.memory]\nenabled = false\n[[alerts.rule]]\nname = "each"\nrepeat_seconds = 0\n'


@contextmanager
def agent(folder: Path, channels: str, **environ: str):
    """An agent that is ready; ended at the end."""
    config = folder / "agent.toml"
    config.write_text(f'[store]\npath = "{folder}/i.db"\n[sources]\njournal = false\nhistory = false\n{channels}')
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = folder / f"notify-{time.monotonic_ns()}"
    ready.bind(str(address))
    ready.settimeout(60)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NOTIFY_SOCKET": str(address), **environ}
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "agent", "-c", str(config)]
    with open(folder / "agent.log", "ab") as log:
        process = subprocess.Popen(command, env=env, stderr=log)
    try:
        while not ready.recv(4096).startswith(b"READY=1"):
            pass
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        ready.close()


@contextmanager
def receiver(port: int):
    """A webhook on *port*; yields what it got."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield got
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _hook(port: int) -> str:
    return (
        f'[[alerts.channel]]\nname = "hook"\ntype = "webhook"\nurl = "http://127.0.0.1:{port}/"\n'
        "per_minute = 0\nsend_resolved = false\ntimeout_seconds = 1\n"
    )


def _pid(path: Path) -> int | None:
    try:
        return json.loads(path.read_text())["subject"].get("pid")
    except FileNotFoundError:  # told in this moment
        return None


def test_down_receiver_loses_nothing_and_does_not_slow_detection(tmp_path) -> None:
    died: dict[int, float] = {}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and never answers
        port = silent.getsockname()[1]
        with agent(tmp_path, RULE + _hook(port)), bench.scratch("alerts") as group:
            for _ in range(KILLS):
                died[bench.kill_one(group)] = time.time()
                time.sleep(0.02)
            spool = tmp_path / "i.alerts/spool/hook"
            eventually(lambda: set(died) <= {_pid(path) for path in spool.glob("*.json")})
    reader = Reader(str(tmp_path / "i.db"))
    late = []
    for row in reader.rows():
        if row.pid in died:  # other tests kill, too
            seen = datetime.fromisoformat(reader.document(row.event_id)["seen"]).timestamp()
            late.append(seen - died[row.pid])
    reader.close()
    assert len(late) == KILLS
    # A complete event is told when the log has been quiet for 50 ms; a channel that hangs takes a second.
    assert statistics.median(late) < 0.5
    with receiver(port) as got, agent(tmp_path, RULE + _hook(port)):
        eventually(lambda: set(died) <= {message["subject"].get("pid") for message in got})
        eventually(lambda: not list(spool.glob("*.json")))
    mine = [message for message in got if message["subject"].get("pid") in died]
    assert len(mine) == KILLS
    assert len({message["id"] for message in got}) == len(got)
    log = (tmp_path / "agent.log").read_text()
    assert "it is tried again, nothing is lost" in log
    assert "Traceback" not in log


def test_message_names_the_container_that_died(tmp_path, tmp_path_factory) -> None:
    rule = '[alerts.memory]\nenabled = false\n[[alerts.rule]]\nname = "web"\ncontainer = "web-*"\n'
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        dockerd(tmp_path_factory.mktemp("dockerd")) as docker, receiver(port) as got,
        agent(tmp_path, rule + _hook(port), DOCKER_HOST=f"unix://{docker.socket}"),
    ):
        # A storm of others' may behead the report and hide the cgroup; then another container dies.
        for name in ("web-7", "web-8", "web-9"):
            docker.run(name, "/bin/sh", "-c", "sleep 1; x=$(cat /dev/zero | tail)")
            docker.ended(name)
            with suppress(AssertionError):
                eventually(lambda: got, 20)
            docker("rm", name)
            if got:
                break
    message = got[0]
    assert message["title"].startswith(f"{name}: ")
    reader = Reader(str(tmp_path / "i.db"))
    assert reader.document(message["event_id"])["enrichment"]["attribution"]["container"] == name
    reader.close()
    assert (message["labels"]["container"], message["subject"]["image"]) == (name, docker.image)
    names = json.loads((tmp_path / "names.json").read_text())
    assert name in {row.get("container") for row in names}
