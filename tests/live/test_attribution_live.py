"""Names of real containers: Docker's and containerd's, while they run, after they are gone, after a restart of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from oomsight.attribute import Memory, Resolver
from oomsight.sources.runtimes import Places, look_up, survey
from oomsight.sources.runtimes.process import cgroup_of

from .docker_rig import LIMIT_BYTES, busybox_tree, dockerd, eventually, need, own_cgroups

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    with dockerd(tmp_path_factory.mktemp("names")) as running:
        yield running


def _places(docker, **kwargs):
    plain = {"docker_sockets": (docker.socket,), "docker_data": (str(docker.data),), "bundles": (docker.bundles,)}
    return Places(**{**plain, **kwargs})


def test_resolve_docker_container_names_image_limit_and_pid(docker):
    container = docker.run("web-1", "/bin/sleep", "300", options=("--label", "team=payments"))
    pid = docker.state("web-1")["Pid"]
    assert isinstance(pid, int)
    path = cgroup_of(_places(docker), pid)
    assert path == f"/docker/{container}"
    resolver = Resolver(node="n1")
    resolver.observe(survey(_places(docker), time.time()).observations)
    found = resolver.resolve(path, time.time())
    assert (found.container, found.image, found.runtime) == ("web-1", docker.image, "docker")
    assert (found.limit_bytes, found.main_pid, found.node) == (LIMIT_BYTES, pid, "n1")
    assert found.labels == (("team", "payments"),)
    assert found.survived_by_main(pid) is False
    assert found.survived_by_main(pid + 1) is True


def test_resolve_after_the_container_was_killed_and_removed(docker):
    resolver = Resolver()
    container = docker.run("gone", "/bin/sh", "-c", "sleep 0.5; exec tail /dev/zero")
    resolver.observe(survey(_places(docker), time.time()).observations)
    assert docker.ended("gone")["ExitCode"] == 137
    died = time.time()
    docker("rm", "gone")
    # The agent restarts, too: what it wrote is all there is.
    again = Resolver(Memory.load(json.loads(json.dumps(resolver.memory.dump()))))
    again.observe(survey(_places(docker), time.time()).observations)
    for path in (f"/docker/{container}", f"/docker/{container[:12]}…", f"/system.slice/docker-{container}.scope"):
        found = again.resolve(path, died)
        assert (found.container, found.image, found.limit_bytes) == ("gone", docker.image, LIMIT_BYTES)


@pytest.mark.parametrize("source", ["socket", "files", "bundles"])
def test_survey_each_source_alone(docker, source):
    container = docker.run(f"by-{source}", "/bin/sleep", "300")
    only = {
        "socket": _places(docker, docker_data=(), bundles=()),
        "files": _places(docker, docker_sockets=(), bundles=()),
        "bundles": _places(docker, docker_sockets=(), docker_data=()),
    }[source]
    resolver = Resolver()
    resolver.observe(survey(only, time.time()).observations)
    found = resolver.resolve(f"/docker/{container}")
    # containerd knows Docker's containers by id and limit only.
    assert found.container == (None if source == "bundles" else f"by-{source}")
    assert found.limit_bytes == LIMIT_BYTES
    if source == "bundles":
        assert "its name is unknown" in found.words


def test_look_up_a_container_started_a_moment_ago(docker):
    places = _places(docker)
    resolver = Resolver(lookup=lambda owner: look_up(places, owner, time.time()))
    container = docker.run("fresh", "/bin/sleep", "300")
    found = resolver.resolve(f"/docker/{container}", time.time())
    assert (found.container, found.limit_bytes) == ("fresh", LIMIT_BYTES)


def test_look_up_name_with_markup_stays_data(docker):
    label = "x=<script>\x1b[31m{{7*7}}"
    container = docker.run("weird.name_1", "/bin/sleep", "300", options=("--label", label))
    resolver = Resolver()
    resolver.observe(survey(_places(docker), time.time()).observations)
    found = resolver.resolve(f"/docker/{container}")
    assert dict(found.labels or ())["x"] == "<script>\x1b[31m{{7*7}}"


@contextmanager
def _containerd(folder: Path):
    programs = need("containerd", "ctr", "runc")
    state, socket = folder / "state", str(folder / "c.sock")
    config = folder / "config.toml"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    log = folder / "log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [programs["containerd"], "--config", str(config), "--root", str(folder / "root"), "--state", str(state),
             "--address", socket], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ctr(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs["ctr"], "--address", socket, *args], capture_output=True, text=True, timeout=30, check=False
        )

    try:
        try:
            eventually(lambda: ctr("version").returncode == 0, 10)
        except AssertionError:
            pytest.skip(f"containerd does not run here: {log.read_text(errors='replace')[-300:]}")
        yield ctr, str(state / "io.containerd.runtime.v2.task")
    finally:
        for name in ctr("tasks", "ls", "-q").stdout.split():
            ctr("tasks", "rm", "-f", name)
        for name in ctr("containers", "ls", "-q").stdout.split():
            ctr("containers", "rm", name)
        daemon.terminate()
        daemon.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def test_resolve_containerd_container_by_its_bundle(tmp_path):
    folder = tmp_path / "containerd"
    root = folder / "rootfs"
    root.mkdir(parents=True)
    with own_cgroups("default"), _containerd(folder) as (ctr, bundles):
        shutil.unpack_archive(busybox_tree(tmp_path), root)
        limit = ("--memory-limit", str(LIMIT_BYTES))
        started = ctr("run", "-d", *limit, "--rootfs", str(root), "batch-7", "/bin/sleep", "300")
        assert started.returncode == 0, started.stderr
        pid = int(next(line.split()[1] for line in ctr("tasks", "ls").stdout.splitlines() if line.startswith("batch-7")))
        places = Places(docker_sockets=(), docker_data=(), bundles=(bundles,))
        path = cgroup_of(places, pid)
        resolver = Resolver()
        resolver.observe(survey(places, time.time()).observations)
        found = resolver.resolve(path, time.time())
        assert path == "/default/batch-7"
        assert (found.container, found.runtime, found.level) == ("batch-7", "containerd", "container")
        assert (found.limit_bytes, found.main_pid) == (LIMIT_BYTES, pid)
        ctr("tasks", "rm", "-f", "batch-7")
        assert resolver.resolve(path, time.time()).container == "batch-7"
