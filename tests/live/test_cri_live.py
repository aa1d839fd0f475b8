"""Pods of a real containerd, by its CRI socket: names, labels, how they ended, and a real OOM kill in one."""

from __future__ import annotations

import time

import pytest

from oomsight.attribute.resolver import Resolver
from oomsight.sources.runtimes.cri_socket import Runtime, observe_cri, subject_of
from oomsight.sources.runtimes.places import Places
from oomsight.sources.runtimes.survey import survey

from .cri_rig import IMAGE, containerd_with_cri
from .docker_rig import LIMIT_BYTES, eventually

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
