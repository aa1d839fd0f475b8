"""V8's heap as Node itself reports it, by flags, variables and memory."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from oomsight._sizes import GIB, MIB
from oomsight.audit.runtimes import Inputs, estimate

SCRIPT = "console.log(require('node:v8').getHeapStatistics().heap_size_limit)"


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        ((), {}),
        (("--max-old-space-size=100",), {}),
        (("--max_old_space_size=600",), {}),
        (("--max-old-space-size=4000",), {}),
        (("--max-old-space-size=256", "--max-semi-space-size=64"), {}),
        ((), {"NODE_OPTIONS": "--max-old-space-size=333"}),
        (("--max-old-space-size=100",), {"NODE_OPTIONS": "--max-old-space-size=333"}),
        (("--stack-size=900", "--max-old-space-size=100"), {}),
    ],
)
def test_heap_is_what_this_node_says(flags: tuple[str, ...], env: dict[str, str]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    done = subprocess.run(
        [node, *flags, "-e", SCRIPT], env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    ram = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    found = estimate("node", Inputs(argv=("node", *flags, "app.js"), env=env, ram_bytes=ram, cpus=2))
    heap = found.term("old generation").bytes_high + found.term("young generation").bytes_high
    assert heap == int(done.stdout)


@pytest.mark.parametrize(
    ("limit_mib", "old_mib"), [(256, 256), (384, 256), (512, 256), (1024, 512), (2048, 1024), (8192, 2048), (16384, 4096)]
)
def test_default_heap_by_limit(limit_mib: int, old_mib: int) -> None:
    """Measured with Node 20.20 in cgroups of 256 to 1024 MiB; V8 gives no less than 256 MiB and no more than 4 GiB."""
    found = estimate("node", Inputs(argv=("node", "a.js"), limit_bytes=limit_mib * MIB, ram_bytes=64 * GIB))
    assert found.term("old generation").bytes_high == old_mib * MIB


@pytest.mark.parametrize(
    ("version", "cgroup", "sees"), [("10.24.1", 1, False), ("v12.0.0", 1, True), ("16.20.0", 2, False), ("18.17.0", 2, True),
                                    ("20.2.0", 2, False), ("v20.20.2", 2, True), ("22.1.0", 2, True), (None, 2, True)]
)  # fmt: skip
def test_which_release_sees_its_limit(version: str | None, cgroup: int, sees: bool) -> None:
    found = estimate(
        "node",
        Inputs(argv=("node", "a.js"), version=version, cgroup_version=cgroup, limit_bytes=GIB, ram_bytes=32 * GIB),
    )
    assert found.sees_limit is sees
    assert found.term("old generation").bytes_high == (512 * MIB if sees else 4 * GIB)


def test_a_limit_below_the_least_heap_is_exceeded() -> None:
    found = estimate("node", Inputs(argv=("node", "a.js"), limit_bytes=192 * MIB, ram_bytes=GIB))
    assert found.verdict == "exceeds"
    assert any("256 MiB" in note for note in found.notes)


def test_the_scripts_own_options_are_not_nodes() -> None:
    found = estimate("node", Inputs(argv=("node", "a.js", "--max-old-space-size=9"), ram_bytes=GIB))
    assert found.term("old generation").bytes_high == 512 * MIB


def test_workers_have_heaps_of_their_own() -> None:
    argv = ("node", "--max-old-space-size=100", "a.js")
    one = estimate("node", Inputs(argv=argv, ram_bytes=GIB))
    four = estimate("node", Inputs(argv=argv, ram_bytes=GIB, counts={"workers": 4}))
    assert four.term("worker threads").bytes_high > 4 * 100 * MIB
    assert four.low_bytes > one.low_bytes
