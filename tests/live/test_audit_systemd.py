"""The audit of units as a real systemd has them: PID 1 in namespaces of its own, over a copy-on-write view of the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .docker_rig import eventually, need, own_cgroups

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
CGROUP = "oomsight-systemd"
SERVICE = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n"
UNITS = {
    "good.service": "MemoryMax=64M\n",
    "changed.service": "MemoryMax=64M\n",
    "raised.service": "MemoryMax=64M\n",
    "misread.service": "MemoryMax=64MB\n",
    "immortal.service": "MemoryMax=64M\nOOMScoreAdjust=-1000\n",
    "bare.service": "",
}
Inside = Callable[..., str]


@pytest.fixture(scope="module")
def systemd(tmp_path_factory) -> Iterator[Inside]:
    """Runs a command beside a systemd of our own."""
    need("unshare", "nsenter", "systemctl")
    if not os.path.exists("/sys/fs/cgroup/systemd") or not os.path.exists("/sys/fs/cgroup/memory"):
        pytest.skip("needs cgroups of version 1 with the hierarchy of systemd")
    units, work = tmp_path_factory.mktemp("units"), tmp_path_factory.mktemp("work")
    for name, lines in UNITS.items():
        (units / name).write_text(SERVICE + lines)
    (units / "oomsight-test.target").write_text(f"[Unit]\nWants={' '.join(UNITS)}\n")
    with own_cgroups(CGROUP):
        rig = subprocess.Popen(
            ["sh", str(HERE / "systemd_rig.sh"), str(work), str(units), CGROUP], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            pid = eventually(lambda: _first_child(rig))

            def inside(*command: str) -> str:
                root = f"/proc/{pid}/root"
                return subprocess.run(
                    ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "-C", f"--root={root}", f"--wd={root}",
                     "env", f"PYTHONPATH={SRC}", *command],
                    capture_output=True, text=True, timeout=120, check=False,
                ).stdout  # fmt: skip

            eventually(lambda: all(
                line == "active" for line in inside("systemctl", "is-active", *UNITS).split()
            ) and len(inside("systemctl", "is-active", *UNITS).split()) == len(UNITS))  # fmt: skip
            yield inside
        finally:
            # PID 1 takes all of its namespace along, and only then unshare ends: the cgroups are empty.
            for child in _children(rig.pid) or [rig.pid]:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            rig.communicate(timeout=60)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _first_child(rig: subprocess.Popen[str]) -> int | None:
    """PID 1 of the namespace, once it is systemd; skips where this host does not allow it."""
    if rig.poll() is not None:
        pytest.skip(f"no systemd in namespaces here: {(rig.stderr.read() if rig.stderr else '').strip()[-300:]}")
    for child in _children(rig.pid):
        with suppress(OSError):
            if "systemd" in Path(f"/proc/{child}/comm").read_text():
                return child
    return None


def found(inside: Inside) -> dict[str, set[str]]:
    """Rules by unit."""
    answer = inside(sys.executable, "-m", "oomsight.cli.main", "audit", "--select", "OS2", "--format", "json")
    rules: dict[str, set[str]] = {}
    for finding in json.loads(answer)["findings"]:
        rules.setdefault(finding["subject"], set()).add(finding["rule"])
    return rules


def test_units_as_systemd_has_them(systemd) -> None:
    before = found(systemd)
    assert before == {"misread.service": {"OS202"}, "immortal.service": {"OS204"}, "bare.service": {"OS201"}}
    systemd("sh", "-c", "sed -i s/64M/128M/ /etc/systemd/system/changed.service; touch -d 'now + 1 hour' "
            "/etc/systemd/system/changed.service")  # fmt: skip
    systemd("sh", "-c", "echo 1G > /sys/fs/cgroup/memory/system.slice/raised.service/memory.limit_in_bytes")
    assert found(systemd) == before | {"changed.service": {"OS212"}, "raised.service": {"OS214"}}
    systemd("systemctl", "daemon-reload")
    systemd("systemctl", "set-property", "--runtime", "raised.service", "MemoryMax=64M")
    assert found(systemd) == before
