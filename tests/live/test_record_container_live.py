"""The recorder in real containers of a dockerd of our own: what it sees there, what it says of the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .docker_rig import Docker, dockerd

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
HOST = ("--pid=host", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro")
BARE = ("--read-only", "--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
OUTSIDE = "processes and limits outside this container"


@pytest.fixture(scope="module")
def docker(tmp_path_factory) -> Iterator[Docker]:
    with dockerd(tmp_path_factory.mktemp("docker")) as running:
        yield running


@pytest.fixture
def volume(tmp_path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    return folder


def oomsight(docker: Docker, volume: Path, options: tuple[str, ...], *command: str) -> tuple[str, str]:
    """What it writes to both outputs, run by this machine's Python within 128 MiB."""
    folders = dict.fromkeys(["/usr", "/lib", "/lib64", str(ROOT / "src"), sys.prefix, sys.base_prefix])
    shared = [word for folder in folders if os.path.isdir(folder) for word in ("-v", f"{folder}:{folder}:ro")]
    done = subprocess.run(
        [docker.client, "-H", f"unix://{docker.socket}", "run", "--rm", "--network=none", "-m", "128m", *shared, *options,
         "-v", f"{volume}:/var/lib/oomsight", "-e", f"PYTHONPATH={ROOT / 'src'}", "-e", "PYTHONDONTWRITEBYTECODE=1",
         docker.image, sys.executable, "-m", "oomsight", *command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("options", "unseen"),
    [(BARE, OUTSIDE), ((*BARE, "--pid=host"), "cgroups outside this container"), ((*BARE, *HOST), None), (HOST, None)],
    ids=["alone", "host's processes", "host's processes and cgroups", "as root"],
)
def test_what_it_sees_is_recorded_and_what_it_does_not_is_said(docker, volume, options, unseen) -> None:
    docker.run("neighbour", "sleep", "60")
    try:
        _, said = oomsight(docker, volume, options, "record", "--count", "3", "--interval", "0.2")
        shown, _ = oomsight(docker, volume, options, "history", "--at", "now", "--top", "2000")
        others, _ = oomsight(docker, volume, options, "history", "--by", "container", "--top", "2000", "--format", "json")
    finally:
        docker("rm", "-f", "neighbour")
    assert (f"not recorded: {unseen}" in said, f"Not recorded: {unseen}" in shown) == (unseen is not None,) * 2
    assert ("not recorded" in said) == (unseen is not None)
    assert (others.count('"container"') > 1) == (unseen is None)
    assert ("dockerd" in shown) == (unseen != OUTSIDE)
    assert os.listdir(volume) == ["history"]
