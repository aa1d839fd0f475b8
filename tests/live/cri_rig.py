"""A real containerd with its CRI plugin, and what kubelet would ask of it: pods and containers of busybox."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from oomsight.attribute.cri_messages import TEXT, Row, decode, encode
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.grpc_unix import call

from .docker_rig import busybox_tree, eventually, need, own_cgroups

IMAGE = "localhost/oomsight-test:1"
NODE = 2  # NamespaceMode: the host's network, which needs no CNI plugin

CONFIG = """
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  enable_selinux = false
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/none"
    conf_dir = "{folder}/none"
"""


def _image_archive(folder: Path) -> Path:
    """A ``docker save`` of busybox."""
    layer = busybox_tree(folder).read_bytes()
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sleep", "100000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "test"}],
    }).encode()  # fmt: skip
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    path = folder / "image.tar"
    with tarfile.open(path, "w") as tar:
        for file, data in ((name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            member = tarfile.TarInfo(file)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _pairs(values: dict[str, str], number: int) -> list[tuple[int, bytes]]:
    return [(number, encode((1, key), (2, value))) for key, value in values.items()]


class Cri:
    """The CRI of one containerd."""

    def __init__(self, socket: str) -> None:
        self.socket = socket

    def __call__(self, method: str, *fields: tuple[int, str | bytes | int]) -> str:
        """Call *method*; its answer's first field, a text, is returned (the id of what was made)."""
        answer = call(self.socket, f"/runtime.v1.RuntimeService/{method}", encode(*fields), timeout_seconds=60)
        return decode(answer, {1: Row("id", TEXT)})["id"] if method.startswith(("Run", "Create")) else ""

    def pod(self, name: str, namespace: str, uid: str, parent: str, labels: dict[str, str]) -> tuple[str, bytes]:
        """Run a sandbox; its id, and its configuration for the containers."""
        security = encode((1, encode((1, NODE), (2, NODE), (3, NODE))))
        config = encode(
            (1, encode((1, name), (2, uid), (3, namespace))),
            *_pairs(labels, 6),
            (8, encode((1, parent), (2, security))),
        )
        return self("RunPodSandbox", (1, config)), config

    def container(
        self, pod: tuple[str, bytes], name: str, command: list[str], limit: int, labels: dict[str, str]
    ) -> str:
        """Start a container in *pod* and return its id."""
        security = encode((3, encode((1, NODE), (2, NODE), (3, NODE))))
        config = encode(
            (1, encode((1, name), (2, 3))),
            (2, encode((1, IMAGE))),
            *((3, word) for word in command),
            *_pairs(labels, 9),
            (15, encode((1, encode((4, limit), (10, limit))), (2, security))),
        )
        found = self("CreateContainer", (1, pod[0]), (2, config), (3, pod[1]))
        self("StartContainer", (1, found))
        return found


def _end_shims(socket: str) -> None:
    """End the shims of the containerd at *socket*: on a busy machine one may be left whose task was not removed in time."""
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = one.read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and socket.encode() in words:
                os.kill(int(one.parent.name), signal.SIGKILL)


@contextmanager
def containerd_with_cri(folder: Path) -> Iterator[tuple[Cri, str]]:
    """A containerd below *folder*; the second value is where its bundles are. Skips with the reason."""
    programs = need("containerd", "ctr", "runc")
    folder.mkdir()
    socket, state = str(folder / "c.sock"), folder / "state"
    config, log = folder / "config.toml", folder / "log"
    config.write_text(CONFIG.format(image=IMAGE, folder=folder))
    archive = _image_archive(folder)
    with own_cgroups("kubepods"), own_cgroups("k8s.io"):
        with log.open("wb") as out:
            daemon = subprocess.Popen(
                [programs["containerd"], "--config", str(config), "--root", str(folder / "root"), "--state",
                 str(state), "--address", socket], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        def ctr(*args: str) -> subprocess.CompletedProcess[str]:
            command = [programs["ctr"], "--address", socket, "-n", "k8s.io", *args]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        cri = Cri(socket)

        def answers() -> bool:
            try:
                cri("Version")
            except SourceError:
                return False
            return True

        try:
            try:
                eventually(answers, 20)
            except AssertionError:
                pytest.skip(f"containerd's CRI does not run here: {log.read_text(errors='replace')[-400:]}")
            imported = ctr("images", "import", "--snapshotter", "native", str(archive))
            assert imported.returncode == 0, imported.stderr
            yield cri, str(state / "io.containerd.runtime.v2.task")
        finally:
            for name in ctr("tasks", "ls", "-q").stdout.split():
                ctr("tasks", "rm", "-f", name)
            for name in ctr("containers", "ls", "-q").stdout.split():
                ctr("containers", "rm", name)
            daemon.terminate()
            daemon.wait(timeout=30)
            _end_shims(socket)
            shutil.rmtree(folder, ignore_errors=True)
