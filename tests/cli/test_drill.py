"""``oomsight drill``: what it says, and the whole way on this machine, with and without an agent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.daemons.drill import look
from oomsight.drill.plan import Ground, make_plan
from oomsight.naming.marked import unmark
from oomsight.sinks.store import Reader

ROOT = Path(__file__).parents[2]
PLAN = make_plan(look(), os.getpid())
LIVE = [
    pytest.mark.live,
    pytest.mark.skipif(bool(PLAN.refusals), reason="live: " + "; ".join(unmark(words) for _, words in PLAN.refusals)),
    pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="live: /dev/kmsg cannot be read"),
]


@pytest.fixture
def receiver():
    """A webhook on loopback; yields (url, received messages)."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/x", got
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _config(tmp_path, *channels: str) -> str:
    text = f'[store]\npath = "{tmp_path}/state/incidents.db"\n[sources]\njournal = false\nhistory = false\n'
    (tmp_path / "agent.toml").write_text(text + "".join(channels))
    return str(tmp_path / "agent.toml")


def _hook(url: str, name: str = "hook") -> str:
    return f'[[alerts.channel]]\nname = "{name}"\ntype = "webhook"\nurl = "{url}"\ntimeout_seconds = 2\n'


def _scratch_left() -> list[str]:
    return [name for name in os.listdir(os.path.dirname(PLAN.directory)) if name == PLAN.name]


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("oomsight.daemons.drill.look", lambda: Ground(True, 2, "/", "/sys/fs/cgroup"))
    config = _config(tmp_path, _hook("http://127.0.0.1:1/"))
    assert run(["drill", "--dry-run", "-c", config, "--width", "100"]) == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith("Nothing was done: this is what a drill would do.\n")
    assert "1. Make the memory cgroup /oomsight-drill-" in out
    assert "• channel hook: planned: wait until the message is delivered" in out
    assert not (tmp_path / "state").exists()


def test_dry_run_json_is_the_same_document(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("oomsight.daemons.drill.look", lambda: Ground(True, 2, "/", "/sys/fs/cgroup"))
    assert run(["drill", "--dry-run", "-c", _config(tmp_path), "--format", "json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["dry_run"], document["pid"]) == ("oomsight.drill/1", True, None)
    assert [link["outcome"] for link in document["links"]] == ["planned"] * 5


def test_refused_drill_says_why_and_what_would_help(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("oomsight.daemons.drill.look", lambda: Ground(False, None, "/", "", panic_on_oom=2))
    assert run(["drill", "-c", _config(tmp_path), "--width", "100"]) == Exit.UNSUPPORTED
    out = capsys.readouterr().out
    assert out.startswith("No drill: it could hurt here, or cannot be made.\n")
    assert "• Making a cgroup needs root: use sudo." in out
    assert "the kernel would panic instead" in out


def test_mistake_in_the_configuration_is_one_line(tmp_path, capsys) -> None:
    assert run(["drill", "-c", _config(tmp_path, "[[alerts.channel]]\nname = 'x'\n")]) == Exit.USAGE
    assert "channel x: there is no type 'None'" in capsys.readouterr().err


def _drill(capsys, got: list, *args: str) -> tuple[int, dict]:
    """
    Drill and return status and document. Kills of others, whom no lock of ours holds back, may use up the ten reports
    that the kernel prints in five seconds: then the drill is right to say so, and is made again.
    """
    for attempt in range(5):
        if attempt:
            time.sleep(5)  # mm/oom_kill.c, oom_kill_process(): DEFAULT_RATELIMIT_INTERVAL
            got.clear()
        status = run(["drill", *args, "--format", "json", "--exit-code"])
        document = json.loads(capsys.readouterr().out)
        if "rate limit" not in document["verdict"]:
            break
    return status, document


def _live(function):
    for one in LIVE:
        function = one(function)
    return function


@_live
def test_drill_without_an_agent_follows_the_kill_to_the_channel(tmp_path, capsys, receiver) -> None:
    url, got = receiver
    status, document = _drill(capsys, got, "-c", _config(tmp_path, _hook(url)))
    assert status == Exit.OK, document
    links = {link["name"]: link for link in document["links"]}
    assert {name: link["outcome"] for name, link in links.items()} == dict.fromkeys(
        ("kill", "log", "counters", "names", "store", "channel hook"), "ok"
    )
    assert document["verdict"].startswith("Your alert arrived after ")
    assert 0 < links["log"]["seconds"] <= links["channel hook"]["seconds"] < 20
    firing = got[0]
    assert firing["status"] == "firing"
    assert firing["title"].startswith("Drill, not an emergency: oomsight-drill (pid ")
    assert (firing["event_id"], firing["subject"]["cgroup"]) == (document["event_id"], document["cgroup"])
    assert [message["status"] for message in got[1:]] == ["resolved"]
    assert not (tmp_path / "state").exists()
    assert _scratch_left() == []


@_live
def test_drill_names_the_link_that_failed(tmp_path, capsys) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        config = _config(tmp_path, _hook(f"http://127.0.0.1:{dead.getsockname()[1]}/secret"))
        assert run(["drill", "-c", config, "--wait", "2", "--exit-code", "--width", "200"]) == Exit.FOUND
    out = capsys.readouterr().out
    assert out.startswith("The link that failed: channel hook: ")
    assert "connection refused" in out
    assert "secret" not in out
    assert _scratch_left() == []


@_live
def test_drill_with_an_agent_watches_that_agent(tmp_path, capsys, receiver) -> None:
    url, got = receiver
    config = _config(tmp_path, _hook(url))
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(str(tmp_path / "notify"))
    ready.settimeout(60)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "agent", "-c", config]
    agent = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    try:
        while not ready.recv(4096).startswith(b"READY=1"):
            pass
        status, document = _drill(capsys, got, "-c", config)
    finally:
        agent.terminate()
        _, said = agent.communicate(timeout=20)
        ready.close()
    assert (status, agent.returncode) == (Exit.OK, Exit.OK), (document, said)
    assert document["by_agent"]
    links = {link["name"]: link for link in document["links"]}
    assert (links["store"]["outcome"], links["channel hook"]["outcome"]) == ("ok", "ok")
    # Whoever else kills something meanwhile is told of by that agent, too.
    assert document["event_id"] in {message["event_id"] for message in got}
    reader = Reader(f"{tmp_path}/state/incidents.db")
    stored = reader.document(document["event_id"])
    reader.close()
    assert stored["enrichment"]["attribution"]["path"] == document["cgroup"]
