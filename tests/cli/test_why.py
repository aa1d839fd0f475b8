"""``oomsight why`` end to end on log files and other roots; nothing here depends on this host's own state."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.cli.why import host_places, stored_kills
from oomsight.sinks.why import verdict_schema

ID = "3f4a8c0d1e2f" + "5a" * 26
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
STOP = """\
2026-11-23T10:00:00.000000+00:00 host systemd[1]: Stopping flux.service...
2026-11-23T10:01:30.000000+00:00 host systemd[1]: flux.service: State 'stop-sigterm' timed out. Killing.
2026-11-23T10:01:30.000100+00:00 host systemd[1]: flux.service: Killing process 1640 (flux-broker-0) with signal SIGKILL.
2026-11-23T10:01:30.500000+00:00 host systemd[1]: flux.service: Main process exited, code=killed, status=9/KILL
2026-11-23T10:01:30.500100+00:00 host systemd[1]: flux.service: Failed with result 'timeout'.
"""
OOM = """\
2026-11-23T10:00:00.000000+00:00 host kernel: [  100.000000] java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
2026-11-23T10:00:00.000010+00:00 host kernel: [  100.000010] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={limit},task_memcg={task},task=java,pid=4242,uid=0
2026-11-23T10:00:00.000020+00:00 host kernel: [  100.000020] Memory cgroup out of memory: Killed process 4242 (java) total-vm:34544kB, anon-rss:32384kB, file-rss:1328kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0
"""
WEB = "/system.slice/web.service"


@pytest.fixture
def log(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "syslog"
        path.write_text(text)
        return str(path)

    return write


def _json(capsys, *args: str):
    status = run(["why", *args, "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, verdict_schema())
    return status, found


def test_why_unit_in_a_log_file_is_stop_timeout(log, capsys, tmp_path):
    status, found = _json(capsys, "flux.service", "--log", log(STOP), "--root", str(tmp_path))
    assert status == Exit.OK
    assert (found["kind"], found["ended_by"], found["confidence"]) == ("unit", "stop_timeout", "certain")
    assert found["time"].startswith("2026-11-23T")
    assert [fact["kind"] for fact in found["evidence"]] == ["stop_timeout", "signal_sent", "exit", "result"]


def test_why_unit_killed_by_the_kernel_in_a_log_file(log, capsys, tmp_path):
    text = OOM.format(limit=WEB, task=WEB) + (
        "2026-11-23T10:00:00.100000+00:00 host systemd[1]: web.service: A process of this unit has been killed by the OOM killer.\n"
        "2026-11-23T10:00:00.200000+00:00 host systemd[1]: web.service: Main process exited, code=killed, status=9/KILL\n"
        "2026-11-23T10:00:00.200100+00:00 host systemd[1]: web.service: Failed with result 'oom-kill'.\n"
    )
    _, found = _json(capsys, "web.service", "--log", log(text), "--root", str(tmp_path))
    assert (found["ended_by"], found["confidence"]) == ("kernel_oom", "certain")
    assert found["owner"]["unit"] == "web.service"
    assert found["advice"][0]["command"] == ["oomsight", "explain", "--pid", "4242", str(tmp_path / "syslog")]


def test_why_no_verdict_says_that_docker_killed_what_its_event_only_reports(log, capsys, tmp_path):
    ident = "3f" * 32
    event = f"2019-05-04T18:05:45.011072877-05:00 container oom {ident} (image=web:1, name=web)\n"
    _, found = _json(capsys, ident, "--log", log(event), "--root", str(tmp_path))
    (fact,) = found["evidence"]
    assert (fact["kind"], fact["text"]) == ("runtime_oom", "docker was told of an OOM kill in the container")


@pytest.mark.parametrize("target", ["4242", "java"])
def test_why_process_by_pid_or_name_in_a_log_file(log, capsys, tmp_path, target):
    (tmp_path / "proc").mkdir()
    _, found = _json(capsys, target, "--log", log(OOM.format(limit=WEB, task=WEB)), "--root", str(tmp_path))
    assert (found["ended_by"], found["confidence"]) == ("kernel_oom", "certain")


def test_why_name_that_runs_again_is_about_the_one_a_log_without_times_has(log, capsys, tmp_path):
    own = Path("/proc/self/comm").read_text().strip()  # a process of this name certainly runs
    text = f'sending SIGKILL to process 2 uid 0 "{own}": badness 668, VmRSS 88 MiB\n'
    assert run(["why", own, "--log", log(text), "--format", "json"]) == Exit.OK
    done = capsys.readouterr()
    assert json.loads(done.out)["ended_by"] == "earlyoom"
    assert done.err == f"oomsight: a process called {own} runs now; this is about one that was ended\n"


def test_why_pod_by_name_from_the_kubelets_directories(log, capsys, tmp_path):
    (tmp_path / f"var/log/pods/payments_api-7d9f_{UID}/api").mkdir(parents=True)
    task = f"/kubepods/burstable/pod{UID}/{ID}"
    _, found = _json(capsys, "payments/api-7d9f", "--log", log(OOM.format(limit="/", task=task)), "--root", str(tmp_path))
    assert (found["kind"], found["ended_by"]) == ("pod", "kernel_oom")
    assert (found["owner"]["name"], found["owner"]["qos"]) == ("payments/api-7d9f", None)


def test_why_pod_evicted_by_the_kubelet(log, capsys, tmp_path):
    text = (
        'Nov 23 10:00:00 n1 kubelet[1]: W1123 eviction_manager.go:350] "Eviction manager: must evict pod(s) to reclaim" resourceName="memory"\n'
        'Nov 23 10:00:02 n1 kubelet[1]: I1123 eviction_manager.go:627] "Eviction manager: pod is evicted successfully" pod="sre/logs-d484"\n'
    )
    _, found = _json(capsys, "sre/logs-d484", "--log", log(text), "--root", str(tmp_path))
    assert (found["kind"], found["ended_by"], found["confidence"]) == ("pod", "kubelet_eviction", "certain")
    assert "to get back memory" in found["evidence"][0]["text"]


def test_why_container_of_a_dead_dockerd_on_another_root(log, capsys, tmp_path):
    folder = tmp_path / "var/lib/docker/containers" / ID
    folder.mkdir(parents=True)
    state = {"Running": False, "OOMKilled": True, "ExitCode": 137, "StartedAt": "2026-11-23T09:00:00Z",
             "FinishedAt": "2026-11-23T10:00:00.3Z"}  # fmt: skip
    (folder / "config.v2.json").write_text(json.dumps({"ID": ID, "Name": "/web-1", "State": state, "Config": {"Image": "i:1"}}))
    (folder / "hostconfig.json").write_text('{"Memory": 33554432}')
    path = log(OOM.format(limit=f"/docker/{ID}", task=f"/docker/{ID}"))
    for target in ("web-1", ID, ID[:12]):
        _, found = _json(capsys, target, "--log", path, "--root", str(tmp_path))
        assert (found["kind"], found["ended_by"], found["confidence"]) == ("container", "kernel_oom", "certain")
        assert (found["owner"]["container"], found["owner"]["image"]) == ("web-1", "i:1")
        assert found["owner"]["limit_bytes"] == 33554432


def test_why_text_tells_verdict_evidence_and_next_step(log, capsys, tmp_path):
    assert run(["why", "flux.service", "--log", log(STOP), "--root", str(tmp_path), "--width", "100"]) == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith("Flux.service") is False  # a name keeps its own letters
    assert "flux.service was asked to stop, did not in time, and was killed with SIGKILL" in out
    for words in ("Confidence: certain", "Evidence, in order", "TimeoutStopSec="):
        assert words in out


def test_why_markdown_has_names_in_code_spans(log, capsys, tmp_path):
    assert run(["why", "flux.service", "--log", log(STOP), "--root", str(tmp_path), "--format", "markdown"]) == Exit.OK
    assert capsys.readouterr().out.startswith("## `flux.service` was asked to stop")


def test_why_hostile_name_cannot_reach_the_terminal(log, capsys, tmp_path):
    text = OOM.format(limit=WEB, task=WEB).replace("(java)", "(\x1b[31mx)").replace("task=java", "task=\x1b[31mx")
    assert run(["why", "4242", "--log", log(text), "--root", str(tmp_path)]) == Exit.OK
    assert "\x1b" not in capsys.readouterr().out


def test_why_unknown_target_is_one_line_and_status_4(log, capsys, tmp_path):
    assert run(["why", "no-such-thing", "--log", log(STOP), "--root", str(tmp_path)]) == Exit.INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("oomsight: nothing on this host is called 'no-such-thing'")


def test_why_exit_code_says_that_an_end_was_found(log, capsys, tmp_path):
    path = log(STOP)
    assert run(["why", "flux.service", "--log", path, "--root", str(tmp_path), "--exit-code"]) == Exit.FOUND
    capsys.readouterr()


def test_why_as_forces_the_kind(log, capsys, tmp_path):
    path = log(STOP)
    _, found = _json(capsys, "flux", "--as", "unit", "--log", path, "--root", str(tmp_path))
    assert (found["kind"], found["ended_by"]) == ("unit", "stop_timeout")
    assert run(["why", "flux", "--as", "pod", "--log", path, "--root", str(tmp_path)]) == Exit.INPUT


@pytest.mark.parametrize(
    ("environ", "docker"),
    [({"DOCKER_HOST": "unix:///x/d.sock"}, "/x/d.sock"), ({"DOCKER_HOST": "tcp://h:1"}, "run/docker.sock"), ({}, "run/docker.sock")],
)
def test_host_places_takes_local_sockets_from_the_environment(environ, docker):
    assert host_places("/", environ).docker_sockets[0] == docker


def test_host_places_of_another_root_ask_no_programs_and_no_socket_of_ours(tmp_path):
    places = host_places(str(tmp_path), {"DOCKER_HOST": "unix:///x/d.sock"})
    assert (places.programs, places.docker_sockets[0]) == (False, "run/docker.sock")


def test_stored_kills_of_the_agent():
    base = {"wall_us": 5_000_000, "kills": 1, "name": "java", "pid": 42, "cgroup": WEB, "id": "oom-1"}
    rows = [SimpleNamespace(**base), SimpleNamespace(**{**base, "kills": 0})]
    (fact,) = stored_kills(rows)
    assert (fact.at, fact.pid, fact.comm, fact.cgroup, fact.incident) == (5.0, 42, "java", WEB, "oom-1")
