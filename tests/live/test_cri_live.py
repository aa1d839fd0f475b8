"""Pods of a real containerd, by its CRI socket: names, labels, how they ended, and a real OOM kill in one."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oomsight.attribute.resolver import Resolver
from oomsight.sources.runtimes.cri_socket import Runtime, observe_cri, subject_of
from oomsight.sources.runtimes.places import Places
from oomsight.sources.runtimes.survey import survey

from .cri_rig import IMAGE, containerd_with_cri
from .docker_rig import LIMIT_BYTES, eventually
from .test_alerts_live import agent, bench

pytestmark = pytest.mark.live

UID = "6c1b0b5e-8a3f-4b55-9b0c-2f7a55d0c9aa"
PARENT = f"/kubepods/burstable/pod{UID}"
POD_LABELS = {"app": "payments-api", "x": "<b>\x1b[31m", "io.kubernetes.pod.name": "payments-api-7d9f",
              "io.kubernetes.pod.namespace": "payments", "io.kubernetes.pod.uid": UID}  # fmt: skip
HOG = "x=oomsight; while true; do x=$x$x; done"


@pytest.fixture(scope="module")
def cri(tmp_path_factory):
    with containerd_with_cri(tmp_path_factory.mktemp("cri") / "c") as (found, bundles):
        yield found, Places(
            docker_sockets=(), docker_data=(), podman_sockets=(), storages=(), storage_lists=(),
            cri_sockets=(found.socket,), bundles=(bundles,),
        )  # fmt: skip


@pytest.fixture(scope="module")
def pod(cri):
    return cri[0].pod("payments-api-7d9f", "payments", UID, PARENT, POD_LABELS)


def _labels(name: str) -> dict[str, str]:
    kubelet = {key: value for key, value in POD_LABELS.items() if key.startswith("io.")}
    return {**kubelet, "io.kubernetes.container.name": name}


def test_names_of_a_running_pod_come_from_the_socket_alone(cri, pod) -> None:
    client, places = cri
    container = client.container(pod, "api", ["/bin/sleep", "1000"], LIMIT_BYTES, _labels("api"))
    resolver = Resolver()
    resolver.observe(observe_cri(places, time.time()))
    found = resolver.resolve(f"{PARENT}/{container}", time.time())
    assert (found.pod, found.namespace, found.container) == ("payments-api-7d9f", "payments", "api")
    assert (found.image, found.runtime, found.qos) == (IMAGE, "containerd", "burstable")
    assert dict(found.labels or ())["app"] == "payments-api"
    assert dict(found.labels or ())["x"] == "<b>\x1b[31m"
    alive = subject_of(places, container, "api")
    assert alive is not None
    assert (alive.alive, alive.container, alive.restarts, alive.cgroup) == (True, "api", 3, f"{PARENT}/{container}")
    assert alive.pid is not None


def test_container_killed_by_the_kernel_says_so_and_keeps_its_name(cri, pod) -> None:
    client, places = cri
    container = client.container(pod, "worker", ["/bin/sh", "-c", HOG], LIMIT_BYTES, _labels("worker"))
    resolver = Resolver()
    resolver.observe(survey(places, time.time()).observations)
    ended = eventually(lambda: (s := subject_of(places, container, "worker")) is not None and not s.alive and s)
    assert (ended.exit_code, ended.oom_flag, ended.pod) == (137, True, "payments-api-7d9f")
    assert ended.ended is not None
    client("RemoveContainer", (1, container))
    assert subject_of(places, container, "worker") is None
    found = resolver.resolve(f"{PARENT}/{container}", time.time())
    assert (found.pod, found.container, found.limit_bytes) == ("payments-api-7d9f", "worker", LIMIT_BYTES)


def test_runtime_says_who_it_is(cri) -> None:
    assert Runtime(cri[0].socket).name == "containerd"


@contextmanager
def api_server(folder):
    """As much of an API server as a pod's Event takes, with TLS; yields its address, its authority, what it got."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key",
         "-out", folder / "ca.crt"], check=True, capture_output=True,
    )  # fmt: skip
    got: list[tuple[str, str, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            allowed = self.headers["Authorization"] == "Bearer t0ken"
            if allowed:
                got.append((self.path, self.headers["Content-Type"], body))
            self.send_response(201 if allowed else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{http.server_address[1]}", str(folder / "ca.crt"), got
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")
def test_kill_in_a_real_pod_becomes_an_event_on_it(cri, pod, tmp_path) -> None:
    client, _ = cri
    (tmp_path / "token").write_text("t0ken\n")
    with api_server(tmp_path) as (url, ca, got):
        channel = (
            f'[alerts.memory]\nenabled = false\n[[alerts.channel]]\nname = "pods"\ntype = "kubernetes"\nurl = "{url}"\n'
            f'ca_file = "{ca}"\ntoken_file = "{tmp_path}/token"\n'
        )
        with agent(tmp_path, channel, CONTAINER_RUNTIME_ENDPOINT=f"unix://{client.socket}"):
            client.container(pod, "batch", ["/bin/sh", "-c", HOG], LIMIT_BYTES, _labels("batch"))
            path, kind, event = eventually(lambda: got and got[0])
    assert (path, kind) == ("/api/v1/namespaces/payments/events", "application/json")
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": "payments", "name": "payments-api-7d9f", "uid": UID,
        "fieldPath": "spec.containers{batch}",
    }  # fmt: skip
    assert (event["reason"], event["type"], event["count"]) == ("OOMKill", "Warning", 1)
    assert "payments/payments-api-7d9f:batch" in event["message"]
    assert "limit of 32.0 MiB" in event["message"]
