"""A real dockerd or containerd of its own for one test module: started here, stopped here, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

APPLETS = ("sh", "sleep", "tail", "cat", "true")
LIMIT = "32m"
LIMIT_BYTES = 32 << 20
PACKAGES = {
    "dockerd": "docker.io", "docker": "docker.io", "ctr": "containerd", "systemctl": "systemd", "unshare": "util-linux",
    "nsenter": "util-linux", "busybox": "busybox-static",
}  # fmt: skip
"""Debian's package of a program, where it is called differently."""


def need(*programs: str) -> dict[str, str]:
    """Paths of *programs*; skips with a reason where one, or a right, is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: containers and /dev/kmsg")
    places = "/usr/sbin:/usr/bin:/sbin:/bin"
    found = {program: shutil.which(program, path=places) for program in programs}
    missing = [program for program, path in found.items() if path is None]
    if missing:
        packages = dict.fromkeys(PACKAGES.get(program, program) for program in missing)
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: {', '.join(packages)})")
    return {program: path for program, path in found.items() if path is not None}


def eventually(what: Callable[[], object], seconds: float = 60.0) -> object:
    """The first true value of ``what()``; fails after *seconds*."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def busybox_tree(folder: Path) -> Path:
    """A tar file with busybox and its applets."""
    busybox = shutil.which("busybox", path="/bin:/usr/bin")
    if busybox is None:
        pytest.skip("not installed: busybox-static")
    archive = folder / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(tmp)
    return archive


@contextmanager
def own_cgroups(name: str) -> Iterator[None]:
    """Remove the parent cgroup *name* that a runtime makes and never removes, where it was not there before."""
    parents = [folder / name for folder in Path("/sys/fs/cgroup").glob("*/")]
    ours = [parent for parent in parents if not parent.exists()]
    try:
        yield
    finally:
        for parent in ours:
            for folder, _, _ in os.walk(parent, topdown=False):
                with suppress(OSError):  # not empty: somebody else uses it by now
                    os.rmdir(folder)


class Docker:
    """A running dockerd."""

    image = "oomsight-test:1"

    def __init__(self, folder: Path, client: str) -> None:
        self.folder, self.client = folder, client
        self.socket = str(folder / "docker.sock")
        self.data = folder / "data"
        self.bundles = str(folder / "exec" / "containerd" / "daemon" / "io.containerd.runtime.v2.task")

    def __call__(self, *args: str) -> str:
        done = subprocess.run(
            [self.client, "-H", f"unix://{self.socket}", *args], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout.strip()

    def run(self, name: str, *command: str, limit: str = LIMIT, options: tuple[str, ...] = ()) -> str:
        """Start a container and return its id."""
        limits = ("-m", limit, "--memory-swap", limit) if limit else ()
        return self("run", "-d", "--name", name, "--network=none", *limits, *options, self.image, *command)

    def state(self, name: str) -> dict[str, object]:
        return json.loads(self("inspect", "-f", "{{json .State}}", name))

    def ended(self, name: str) -> dict[str, object]:
        """Wait for the end and return the state."""
        return eventually(lambda: (state := self.state(name))["Status"] == "exited" and state)  # type: ignore[return-value]


@contextmanager
def dockerd(folder: Path) -> Iterator[Docker]:
    """A dockerd of our own below *folder*, without network."""
    programs = need("dockerd", "docker", "containerd", "runc")
    with own_cgroups("docker"):
        yield from _dockerd(folder, programs)


def _dockerd(folder: Path, programs: dict[str, str]) -> Iterator[Docker]:
    docker = Docker(folder, programs["docker"])
    log = folder / "dockerd.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [programs["dockerd"], "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
             f"--data-root={docker.data}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}",
             "-H", f"unix://{docker.socket}"],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        for _ in range(500):
            if daemon.poll() is not None:
                pytest.skip(f"dockerd does not run here: {log.read_text(errors='replace')[-300:]}")
            if b"API listen" in log.read_bytes():
                break
            time.sleep(0.02)
        docker("import", str(busybox_tree(folder)), docker.image)
        yield docker
    finally:
        if daemon.poll() is None:
            names = subprocess.run(
                [docker.client, "-H", f"unix://{docker.socket}", "ps", "-aq"], capture_output=True, text=True, check=False
            ).stdout.split()
            if names:
                subprocess.run(
                    [docker.client, "-H", f"unix://{docker.socket}", "rm", "-f", *names], capture_output=True, check=False
                )
            daemon.terminate()
        daemon.wait(timeout=30)
        # Sockets and netns mounts of the daemon stay below its own exec root.
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            points = [line.split()[4] for line in mounts if str(folder) in line]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
