"""Names from fixture trees and a stand-in daemon: each source by what its runtime writes."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading

import pytest

from oomsight.attribute import Key, Names, Resolver
from oomsight.attribute.model import UNLIMITED
from oomsight.naming.cgroup_path import describe
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes import Places, look_up, survey
from oomsight.sources.runtimes.cri import cgroup_path, observe_bundles
from oomsight.sources.runtimes.docker import Engine, event_facts, observe_docker, observe_docker_files, subject_of
from oomsight.sources.runtimes.machines import observe_machines
from oomsight.sources.runtimes.places import moment
from oomsight.sources.runtimes.podman import observe_storage
from oomsight.sources.runtimes.pods import observe_pods
from oomsight.sources.runtimes.process import cgroup_of, counter_facts, pids_of
from oomsight.sources.runtimes.process import subject_of as process_subject
from oomsight.sources.runtimes.survey import limit_bytes
from oomsight.sources.runtimes.systemd import observe_sessions, unit_name
from oomsight.sources.runtimes.systemd import subject_of as unit_subject
from oomsight.why.evidence import FactKind

ID = "3f4a8c0d1e2f" + "5a" * 26
BOX = "b7" * 32
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
NOW = 1_800_000_000.0


@pytest.fixture
def tree(tmp_path):
    """``tree({path: text})`` makes files and returns the places below them."""

    def make(files: dict[str, object]) -> Places:
        for path, content in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content if isinstance(content, str) else json.dumps(content))
        return Places(str(tmp_path), programs=False)

    return make


def _names(observations):
    return {tuple(seen.key): seen.names for seen in observations}


# -- Docker -----------------------------------------------------------------------------------------------------------

INSPECT = {
    "Id": ID, "Name": "/web-1", "Created": "2026-11-23T13:36:12.222754937Z", "RestartCount": 2,
    "State": {"Running": False, "OOMKilled": True, "Pid": 0, "ExitCode": 137,
              "StartedAt": "2026-11-23T13:36:12.468220218Z", "FinishedAt": "2026-11-23T13:36:47.440629159Z"},
    "Config": {"Image": "nginx:1.25", "Labels": {"team": "payments", "a": "1"}},
    "HostConfig": {"Memory": 33554432},
}  # fmt: skip


@pytest.fixture
def daemon(tmp_path):
    """A stand-in for dockerd: ``daemon({path: (status, body)})`` returns its socket."""
    servers = []

    def start(answers: dict[str, tuple[int, object]]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answers.get(self.path.partition("?")[0], (404, {"message": "none"}))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

        path = str(tmp_path / "docker.sock")
        server = socketserver.UnixStreamServer(path, Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return path

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _docker_places(socket):
    return Places("/nowhere", docker_sockets=(socket,), podman_sockets=())


def test_observe_docker_running_are_inspected_and_ended_listed(daemon):
    socket = daemon({
        "/containers/json": (200, [
            {"Id": ID, "State": "running"},
            {"Id": BOX, "State": "exited", "Names": ["/old"], "Image": "i", "Labels": {}, "Created": 1_700_000_000},
        ]),
        f"/containers/{ID}/json": (200, INSPECT),
    })  # fmt: skip
    found = list(observe_docker(_docker_places(socket), NOW))
    assert _names(found) == {
        ("container", ID): Names(
            container="web-1", image="nginx:1.25", runtime="docker", labels=(("a", "1"), ("team", "payments")),
            limit_bytes=33554432,
        ),
        ("container", BOX): Names(container="old", image="i", runtime="docker", labels=()),
    }  # fmt: skip
    assert [seen.since for seen in found] == [moment(INSPECT["Created"]), 1_700_000_000.0]
    assert found[0].until == moment("2026-11-23T13:36:47.440629159Z")


def test_observe_docker_labels_of_a_kubelet_name_the_pod(daemon):
    labels = {"io.kubernetes.container.name": "api", "io.kubernetes.pod.name": "api-7d9f",
              "io.kubernetes.pod.namespace": "payments", "io.kubernetes.pod.uid": UID}  # fmt: skip
    socket = daemon({"/containers/json": (200, [{"Id": ID, "State": "exited", "Names": ["/k8s_api_x"], "Labels": labels}])})
    (seen,) = observe_docker(_docker_places(socket), NOW)
    assert (seen.names.container, seen.names.pod, seen.names.namespace) == ("api", "api-7d9f", "payments")
    assert seen.names.pod_uid == UID


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [(500, b"x", "answers 500"), (200, b"not json", "no JSON"), (200, {"a": 1}, None), (200, [1, None], None)],
)
def test_observe_docker_odd_answers_are_one_line_or_nothing(daemon, status, body, words):
    places = _docker_places(daemon({"/containers/json": (status, body)}))
    if words is None:
        assert list(observe_docker(places, NOW)) == []
    else:
        with pytest.raises(SourceError, match=words):
            list(observe_docker(places, NOW))


def test_engine_inspect_unknown_container_is_none(daemon):
    assert Engine(daemon({})).inspect("a/../b c") is None


def test_observe_docker_without_socket_says_what_would_give_it():
    with pytest.raises(SourceError, match=r"no socket here.*DOCKER_HOST"):
        list(observe_docker(Places("/nowhere"), NOW))


def test_observe_docker_files_of_a_dead_daemon(tree):
    places = tree({
        "etc/docker/daemon.json": {"data-root": "/srv/docker"},
        f"srv/docker/containers/{ID}/config.v2.json": {**INSPECT, "ID": ID},
        f"srv/docker/containers/{ID}/hostconfig.json": {"Memory": 0},
        f"srv/docker/containers/{BOX}/config.v2.json": "damaged",
    })  # fmt: skip
    (seen,) = observe_docker_files(places, NOW)
    assert (seen.key, seen.names.container, seen.names.limit_bytes) == (Key("container", ID), "web-1", UNLIMITED)


def test_subject_of_docker_state():
    subject = subject_of(INSPECT, "docker", "web-1")
    assert (subject.alive, subject.exit_code, subject.oom_flag, subject.restarts) == (False, 137, True, 2)
    assert subject.ended_by_signal == 9
    assert subject.ended == pytest.approx(moment("2026-11-23T13:36:47.440629Z"))


def test_subject_of_docker_running_has_no_exit_code_or_flag():
    running = {**INSPECT, "State": {"Running": True, "OOMKilled": True, "ExitCode": 0, "Pid": 77, "FinishedAt": "0001-01-01T00:00:00Z"}}
    subject = subject_of(running, "docker", "x")
    assert (subject.alive, subject.pid, subject.exit_code, subject.oom_flag, subject.ended) == (True, 77, None, None, None)


def _event(action, at, **attributes):
    return {"Action": action, "timeNano": int(at * 1e9), "Actor": {"ID": ID, "Attributes": attributes}}


@pytest.mark.parametrize(
    ("actions", "kinds"),
    [
        ([("kill", {"signal": "15"}), ("kill", {"signal": "9"}), ("die", {"exitCode": "137"}), ("stop", {})],
         ["signal_sent", "signal_sent", "exit", "stop_timeout"]),
        ([("kill", {"signal": "9"}), ("die", {"exitCode": "137"})], ["signal_sent", "exit"]),
        ([("oom", {}), ("die", {"exitCode": "137"})], ["runtime_oom", "exit"]),
        ([("kill", {"signal": "15"}), ("die", {"exitCode": "0"}), ("stop", {})], ["signal_sent", "exit"]),
        ([("kill", {"signal": "HUP"}), ("kill", {"signal": "odd"}), ("exec_start", {})], ["signal_sent"]),
    ],
)  # fmt: skip
def test_event_facts_of_stop_kill_and_oom(actions, kinds):
    rows = [_event(action, 100.0 + i, **attributes) for i, (action, attributes) in enumerate(actions)]
    assert [fact.kind.value for fact in event_facts(rows, ID, "docker")] == kinds


# -- podman, CRI-O, containerd ----------------------------------------------------------------------------------------


def test_observe_storage_podman_and_crio(tree):
    def row(container_id, **meta):
        return {"id": container_id, "created": "2026-11-23T13:00:00Z", "metadata": json.dumps(meta)}

    sandbox = "c1" * 32
    places = tree({
        "var/lib/containers/storage/overlay-containers/containers.json": [
            row(ID, **{"image-name": "docker.io/nginx", "name": "web"}),
            row(sandbox, pod=True, uid=UID, namespace="payments",
                **{"pod-name": "k8s_api_payments", "pod-id": sandbox, "metadata-name": "api-7d9f", "name": "k8s_POD_x"}),
            row(BOX, **{"pod-name": "k8s_api_payments", "pod-id": sandbox, "metadata-name": "api", "name": "k8s_api_x",
                        "image-name": "reg/api:7"}),
            row("x"), 7,
        ],
    })  # fmt: skip
    found = _names(observe_storage(places, NOW))
    assert found["container", ID] == Names(container="web", image="docker.io/nginx", runtime="podman")
    pod = {"pod": "api-7d9f", "namespace": "payments", "pod_uid": UID}
    assert found["container", BOX] == Names(container="api", image="reg/api:7", runtime="cri-o", **pod)
    assert found["container", sandbox] == Names(runtime="cri-o", **pod)
    assert found["pod", UID] == Names(**pod)


def _spec(annotations, path, limit=None):
    return {"annotations": annotations, "linux": {"cgroupsPath": path, "resources": {"memory": {"limit": limit}}}}


CRI_ANNOTATIONS = {
    "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "api",
    "io.kubernetes.cri.image-name": "reg/api:7", "io.kubernetes.cri.sandbox-name": "api-7d9f",
    "io.kubernetes.cri.sandbox-namespace": "payments", "io.kubernetes.cri.sandbox-uid": UID,
}  # fmt: skip
TASKS = "run/containerd/io.containerd.runtime.v2.task"


def test_observe_bundles_of_containerd(tree):
    scope = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice:cri-containerd:{ID}"
    places = tree({
        f"{TASKS}/k8s.io/{ID}/config.json": _spec(CRI_ANNOTATIONS, scope, 1 << 28),
        f"{TASKS}/k8s.io/{ID}/init.pid": "4242\n",
        f"{TASKS}/k8s.io/{BOX}/config.json": _spec(
            {**CRI_ANNOTATIONS, "io.kubernetes.cri.container-type": "sandbox"}, f"/kubepods/burstable/pod{UID}/{BOX}"),
        f"{TASKS}/default/batch-7/config.json": _spec({}, "/default/batch-7", 5),
        f"{TASKS}/moby/{'d' * 64}/config.json": _spec({}, f"/docker/{'d' * 64}", 6),
    })  # fmt: skip
    seen = list(observe_bundles(places, NOW))
    found = _names(seen)
    pod = {"pod": "api-7d9f", "namespace": "payments", "pod_uid": UID}
    api = Names(container="api", image="reg/api:7", runtime="containerd", limit_bytes=1 << 28, main_pid=4242, **pod)
    slices = "/kubepods.slice/kubepods-burstable.slice/" + scope.partition(":")[0]
    assert found["container", ID] == api
    assert found["cgroup", f"{slices}/cri-containerd-{ID}.scope"] == api
    assert found["container", BOX].container is None
    assert found["pod", UID] == Names(qos="burstable", **pod)
    assert found["container", "batch-7"] == Names(container="batch-7", runtime="containerd", limit_bytes=5)
    assert found["cgroup", f"/docker/{'d' * 64}"] == Names(runtime="docker", limit_bytes=6)
    resolver = Resolver()
    resolver.observe(seen)
    assert resolver.resolve(f"{slices}/cri-containerd-{ID}.scope").name == "payments/api-7d9f:api"


def test_observe_bundles_of_crio(tree):
    annotations = {
        "io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.container.name": "api",
        "io.kubernetes.pod.name": "api-7d9f", "io.kubernetes.pod.namespace": "payments", "io.kubernetes.pod.uid": UID,
        "io.kubernetes.cri-o.ImageName": "reg/api:7", "io.kubernetes.cri-o.Labels": '{"app": "api"}',
    }  # fmt: skip
    folder = f"run/containers/storage/overlay-containers/{ID}/userdata"
    places = tree({f"{folder}/config.json": _spec(annotations, f"a-b.slice:crio:{ID}"), f"{folder}/pidfile": "99"})
    found = _names(observe_bundles(places, NOW))
    assert found["container", ID] == Names(
        container="api", image="reg/api:7", runtime="cri-o", labels=(("app", "api"),), pod="api-7d9f",
        namespace="payments", pod_uid=UID, limit_bytes=UNLIMITED, main_pid=99,
    )  # fmt: skip
    assert ("cgroup", f"/a.slice/a-b.slice/crio-{ID}.scope") in found


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/docker/x", "/docker/x"), ("kubepods/x/", "/kubepods/x"), ("system.slice:docker:x", "/system.slice/docker-x.scope"),
        (":cri-containerd:x", "/system.slice/cri-containerd-x.scope"), ("a-b-c.slice::x", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
        ("/", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_cgroup_path_of_what_a_bundle_writes(written, path):
    assert cgroup_path(written) == path


# -- names without any API --------------------------------------------------------------------------------------------


def test_observe_pods_by_log_directories_and_links(tree, tmp_path):
    places = tree({f"var/log/pods/payments_api-7d9f_{UID}/api/0.log": "", "var/log/pods/garbage/x": ""})
    links = tmp_path / "var/log/containers"
    links.mkdir()
    (links / f"api-7d9f_payments_api-v2-{ID}.log").symlink_to("/gone")
    (links / "no-match.log").symlink_to("/gone")
    found = _names(observe_pods(places, NOW))
    pod = {"pod": "api-7d9f", "namespace": "payments", "pod_uid": UID}
    assert found == {("pod", UID): Names(**pod), ("container", ID): Names(container="api-v2", **pod)}


def test_observe_sessions_and_users(tree):
    places = tree({
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nbroken\n",
        "run/systemd/sessions/3": "# private\nUID=1000\nUSER=anna\nREALTIME=1795440972000000\nSCOPE=session-3.scope\n",
        "run/systemd/sessions/c2": "UID=0\n", "run/systemd/sessions/3.ref": "",
    })  # fmt: skip
    found = _names(observe_sessions(places, NOW))
    assert found["session", "3"] == Names(user="anna", uid=1000)
    assert found["session", "c2"] == Names(user="root", uid=0)
    assert found["user", "1000"] == Names(user="anna", uid=1000)
    assert ("session", "3.ref") not in found


def test_observe_machines_of_machined_lxc_and_proxmox(tree):
    places = tree({
        "run/systemd/machines/web1": "NAME=web1\nSCOPE=machine-web1.scope\nSERVICE=systemd-nspawn\nLEADER=77\n",
        "var/lib/lxc/db/config": "# x\nlxc.uts.name = db.example\nlxc.cgroup2.memory.max = 512M\n",
        "etc/pve/lxc/104.conf": "hostname: shop\nmemory: 2048\n[snap]\nhostname: old\n",
        "etc/pve/qemu-server/200.conf": "name: win\nmemory: 4096\n",
    })  # fmt: skip
    assert _names(observe_machines(places, NOW)) == {
        ("machine", "web1"): Names(machine="web1", runtime="nspawn", unit="machine-web1.scope", main_pid=77),
        ("machine", "db"): Names(machine="db.example", runtime="lxc", limit_bytes=512 << 20),
        ("machine", "104"): Names(machine="shop", runtime="lxc", limit_bytes=2 << 30),
        ("machine", "200"): Names(machine="win", runtime="qemu"),
    }


def test_survey_of_an_empty_root_says_one_line_per_missing_source(tree):
    seen = survey(tree({}), NOW)
    assert (seen.observations, seen.answered) == ([], [])
    assert len(seen.missing) == 8
    assert all("\n" not in line and ": " in line for line in seen.missing)


# -- cgroups, processes, units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("a/memory.max", "max\n", UNLIMITED), ("a/memory.max", "4096\n", 4096), ("a/memory.max", "x", None),
        ("memory/a/memory.limit_in_bytes", "9223372036854771712\n", UNLIMITED),
        ("memory/a/memory.limit_in_bytes", "33554432\n", 33554432),
    ],
)  # fmt: skip
def test_limit_bytes_of_both_versions(tree, file, text, limit):
    assert limit_bytes(tree({f"sys/fs/cgroup/{file}": text}), "/a") == limit


def test_limit_bytes_does_not_leave_the_tree(tree):
    assert limit_bytes(tree({"sys/memory.max": "1"}), "/../..") is None


def test_look_up_reads_the_limit_of_a_unit(tree):
    places = tree({"sys/fs/cgroup/system.slice/web.service/memory.max": "4096\n"})
    (seen,) = look_up(places, describe("/system.slice/web.service"), NOW)
    assert seen.names == Names(limit_bytes=4096)


def _stat(pid, comm, state="S", start=500):
    return f"{pid} ({comm}) {state} 1 {pid} {pid} 0 -1 4194304 " + "0 " * 4 + "1 1 0 0 20 0 1 0 " + f"{start} 1000 10 " + "0 " * 27 + "9"


def test_process_subject_alive_zombie_and_gone(tree):
    places = tree({
        "proc/41/stat": _stat(41, "java (1)"), "proc/41/cgroup": "4:memory:/a\n0::/b\n", "proc/42/stat": _stat(42, "old", "Z"),
        "proc/uptime": "1000.00 1\n",
    })  # fmt: skip
    alive = process_subject(places, 41, "41", NOW)
    assert (alive.alive, alive.comm, alive.started) == (True, "java (1)", NOW - 1000 + 5)
    zombie = process_subject(places, 42, "42", NOW)
    assert (zombie.alive, zombie.signal) == (False, 9)
    assert process_subject(places, 43, "43", NOW).alive is False
    assert cgroup_of(places, 41) == "/a"
    assert pids_of(places, "old") == []
    assert pids_of(places, "java (1)") == [41]


@pytest.mark.parametrize(
    ("text", "words"),
    [("low 0\noom 0\noom_kill 2\n", "none of them for its own limit"), ("oom 2\noom_kill 2\n", "counted 2 OOM kills")],
)
def test_counter_facts_kill_from_above(tree, text, words):
    (fact,) = counter_facts(tree({"sys/fs/cgroup/a/memory.events": text}), "/a")
    assert (fact.kind, fact.cgroup) == (FactKind.COUNTER, "/a")
    assert words in fact.text


def test_counter_facts_no_kill_or_no_cgroup_is_nothing(tree):
    places = tree({"sys/fs/cgroup/a/memory.events": "oom 1\noom_kill 0\n"})
    assert [*counter_facts(places, "/a"), *counter_facts(places, "/gone"), *counter_facts(places, None)] == []


def test_unit_subject_killed():
    shown = {
        "Id": "web.service", "LoadState": "loaded", "ActiveState": "failed", "Result": "oom-kill", "ExecMainPID": "40",
        "ExecMainCode": "2", "ExecMainStatus": "9", "ControlGroup": "/system.slice/web.service", "NRestarts": "3",
        "ExecMainStartTimestampMonotonic": "1000000", "ExecMainExitTimestampMonotonic": "61000000",
    }  # fmt: skip
    subject = unit_subject(shown, "web", NOW, 100.0)
    assert subject is not None
    assert (subject.alive, subject.signal, subject.exit_code, subject.result) == (False, 9, None, "oom-kill")
    assert (subject.started, subject.ended, subject.pid, subject.restarts) == (NOW - 99, NOW - 39, 40, 3)


def test_unit_subject_running_and_unknown():
    shown = {"Id": "web.service", "LoadState": "loaded", "ActiveState": "active", "MainPID": "7", "ExecMainCode": "0",
             "ExecMainStatus": "0", "Result": "success"}  # fmt: skip
    subject = unit_subject(shown, "web", NOW, 100.0)
    assert subject is not None
    assert (subject.alive, subject.pid, subject.exit_code, subject.signal) == (True, 7, None, None)
    assert unit_subject({"Id": "x.service", "LoadState": "not-found", "ActiveState": "inactive"}, "x", NOW, 1.0) is None


@pytest.mark.parametrize(("text", "unit"), [("web", "web.service"), ("a.scope", "a.scope"), ("x@1", "x@1.service")])
def test_unit_name(text, unit):
    assert unit_name(text) == unit


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-23T13:36:12.222754937Z", 1795440972.222754), ("1795440972000000000", 1795440972.0),
        (1795440972000000000, 1795440972.0), ("0001-01-01T00:00:00Z", None), ("0", None), ("soon", None), (None, None),
        ("2026-11-23T14:36:12+01:00", 1795440972.0),
    ],
)  # fmt: skip
def test_moment_of_rfc3339_and_nanoseconds(value, seconds):
    assert moment(value) == (seconds if seconds is None else pytest.approx(seconds, abs=1e-5))
