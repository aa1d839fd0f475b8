"""
A real Prometheus scrapes a real agent on loopback, a real kill fires our rule, and a real Alertmanager is told.

Everything is started on free ports in a temporary directory and ended by fixtures.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from .metric_names import DEPLOY

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import live_kit as bench

pytestmark = [pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")]

SRC = Path(__file__).parents[2] / "src"
WAIT_SECONDS = 60.0


def program(*names: str) -> str:
    """The first of *names* that is installed; skips with the reason."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed (Debian: prometheus, prometheus-alertmanager)")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def fetch(url: str):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()
    return None


def until(what, *, seconds=WAIT_SECONDS):
    """The first true value of ``what()``; fails after *seconds*."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.1)
    return found


@pytest.fixture
def start(tmp_path):
    """Starts programs whose output goes to files; ends them all."""
    running = []

    def run(*command, **environ):
        log = tmp_path / f"{len(running)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environ}, cwd=tmp_path)
        running.append(process)
        return log

    yield run
    for process in reversed(running):
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def container_cgroup(container_id: str):
    """A limited cgroup at a path as Docker makes it."""
    version, root = bench.memory_root()
    top = Path(root, f"oomsight-prom-{os.getpid()}")
    group = top / "docker" / container_id
    try:
        for path in (top, group.parent, group):
            path.mkdir()
            if version == 2 and path != group:
                (path / "cgroup.subtree_control").write_text("+memory")
        (group / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(bench.LIMIT_BYTES))
        if version == 2:
            (group / "memory.swap.max").write_text("0")
        yield group
    finally:
        for path in (group, group.parent, top):
            with contextlib.suppress(OSError):
                until(lambda path=path: not path.exists() or path.rmdir() is None, seconds=5)


def test_real_kill_is_scraped_alerted_and_delivered(start, tmp_path) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed (extra agent)")
    prometheus, alertmanager = program("prometheus"), program("prometheus-alertmanager", "alertmanager")
    agent_port, prometheus_port, alert_port = free_port(), free_port(), free_port()

    token = secrets.token_hex(16)
    (tmp_path / "token").write_text(token)
    (tmp_path / "agent.toml").write_text(
        "[sources]\njournal = false\nhistory = false\n"
        f'[metrics]\nlisten = "127.0.0.1:{agent_port}"\ntoken_file = "{tmp_path}/token"\n'
    )
    code = "from oomsight.cli.main import main; main()"
    args = ("agent", "-c", "agent.toml", "--store", str(tmp_path / "incidents.db"))
    agent_log = start(sys.executable, "-c", code, *args, PYTHONPATH=str(SRC))

    (tmp_path / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    start(alertmanager, "--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{alert_port}",
          "--cluster.listen-address=", f"--storage.path={tmp_path}/am")  # fmt: skip
    shutil.copy(DEPLOY / "prometheus" / "oomsight.rules.yml", tmp_path)
    config = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    config = config.replace("15s", "1s\n  evaluation_interval: 1s").replace("127.0.0.1:9873", f"127.0.0.1:{agent_port}")
    config = config.replace("    # authorization:\n    #   credentials_file: /etc/prometheus/oomsight.token",
                            f"    authorization:\n      credentials_file: {tmp_path}/token")  # fmt: skip
    config += f'alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alert_port}"]}}]}}]}}\n'
    (tmp_path / "prometheus.yml").write_text(config)
    start(prometheus, "--config.file=prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
          f"--web.listen-address=127.0.0.1:{prometheus_port}", "--rules.alert.resend-delay=2s")  # fmt: skip

    def query(expr: str):
        text = fetch(f"http://127.0.0.1:{prometheus_port}/api/v1/query?query={urllib.request.quote(expr)}")
        return json.loads(text)["data"]["result"] if text else None

    until(lambda: (found := query('up{job="oomsight"}')) and found[0]["value"][1] == "1")
    assert query("oomsight_agent_source_up{source='/dev/kmsg'}")[0]["value"][1] == "1", agent_log.read_text()

    # Prometheus drops what fires before it has discovered an Alertmanager, and says it again only after a minute.
    def discovered():
        text = fetch(f"http://127.0.0.1:{prometheus_port}/api/v1/alertmanagers")
        return text and json.loads(text)["data"]["activeAlertmanagers"]

    until(discovered)
    until(lambda: fetch(f"http://127.0.0.1:{alert_port}/-/ready"))

    container_id = secrets.token_hex(32)
    with container_cgroup(container_id) as group:
        bench.kill_one(group)
    name = container_id[:12]
    kills = until(lambda: query(f'oomsight_oom_kills_total{{container="{name}"}}'))
    assert kills[0]["value"][1] == "1"
    assert kills[0]["metric"]["cause"] == "memcg_limit"
    assert kills[0]["metric"]["constraint"] == "CONSTRAINT_MEMCG"
    firing = until(lambda: query(f'ALERTS{{alertname="OomKill", alertstate="firing", container="{name}"}}'))
    assert firing[0]["metric"]["severity"] == "warning"

    def delivered():
        text = fetch(f"http://127.0.0.1:{alert_port}/api/v2/alerts")
        return [a for a in json.loads(text or "[]") if a["labels"].get("container") == name]

    (alert,) = until(delivered)
    assert alert["annotations"]["summary"] == f"OOM kill on 127.0.0.1:{agent_port}: memcg_limit in {name}"
    # The container is gone, its series stays.
    assert not group.exists()
    assert query(f'oomsight_oom_kills_total{{container="{name}"}}')[0]["value"][1] == "1"
