"""The recorder's history becomes usages: a real recorder over a tree of files that look like /proc and cgroups."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oomsight.pipeline.rightsize import from_history, subject_of
from oomsight.record.fields import FIELDS, field_names
from oomsight.record.model import Change
from oomsight.rightsize.overview import line_of
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History

MIB = 1 << 20
GIB = 1 << 30
DAY = 86400.0


WALL = 1_000_000_000_000


@pytest.fixture
def told(tmp_path):
    """What is advised of a history that holds what a test says: figures of cgroups, names and the host by the hour."""

    def tell(rows: dict[tuple[str, str], dict[str, list[float]]], per="cgroup", hours: int = 480) -> dict:
        store = HistoryStore(str(tmp_path / "history"), "b" * 32, clock=lambda: WALL / 1000)
        for hour in range(hours):
            change = Change()
            for number, ((kind, name), figures) in enumerate(rows.items(), 1):
                if not hour:
                    change.new.append((number, {"kind": kind, "name": name}))
                assert set(figures) <= set(field_names(kind)), "figures the recorder has"
                change.rows.append((number, kind, tuple(
                    int(figures[one.name][hour]) // one.scale if one.name in figures else None for one in FIELDS[kind]
                )))  # fmt: skip
            store.write((hour + 1) * 3_600_000, WALL + hour * 3_600_000, change)
        store.close()
        found = from_history(str(tmp_path / "history"), 0, 2e9, per=per)
        assert len(found.advices) == found.asked
        short = from_history(str(tmp_path / "history"), 0, 2e9, per=per, in_full=0)
        assert short.lines == [line_of(advice) for advice in found.advices]
        assert (short.asked, short.source, short.advices) == (found.asked, found.source, [])
        return {advice.usage.subject.name: advice for advice in found.advices}

    return tell


def _wave(level: float, wide: float) -> list[float]:
    return [level + wide * (hour * 7919 % 24) / 24 for hour in range(480)]


def test_a_cgroup_needs_tmpfs_and_swap_and_not_its_cache(told) -> None:
    size = [1000.0 * MIB] * 480
    row = {
        "usage_bytes": size, "file_bytes": [700.0 * MIB] * 480, "shmem_bytes": [100.0 * MIB] * 480,
        "swap_bytes": [50.0 * MIB] * 480, "limit_bytes": [2.0 * GIB] * 480,
    }  # fmt: skip
    found = told({("cgroup", "/system.slice/web.service"): row})["web.service"]
    assert found.peak_bytes == 450 * MIB  # 1000 - 700 + 100 + 50
    assert found.setting("swap").bytes >= 50 * MIB
    assert found.setting("limit").bytes < 2 * GIB
    assert any("page cache" in note for note in found.notes)


def test_short_history_does_not_lower_a_limit(told) -> None:
    row = {"usage_bytes": [100.0 * MIB] * 480, "file_bytes": [0.0] * 480, "shmem_bytes": [0.0] * 480,
           "limit_bytes": [1.0 * GIB] * 480}  # fmt: skip
    found = told({("cgroup", "/a.service"): row}, hours=5)["a.service"]
    assert found.setting("limit").bytes == GIB
    assert "too short to lower" in found.headline
    assert found.setting("high") is None


def test_processes_of_a_name_as_one(told) -> None:
    row = {
        "rss_anon_bytes": _wave(300 * MIB, 20 * MIB),
        "rss_shmem_bytes": [10.0 * MIB] * 480,
        "processes": [4.0] * 480,
    }
    found = told({("name", "postgres"): row, ("name", "(short-lived)"): row, ("name", "sh"): {
        "rss_anon_bytes": [MIB] * 480, "rss_shmem_bytes": [0.0] * 480}}, "process")  # fmt: skip
    assert set(found) == {"postgres"}
    assert 330 * MIB < found["postgres"].setting("limit").bytes < 450 * MIB


@pytest.mark.parametrize(
    ("needed_gib", "swap_gib", "used_gib", "wanted_gib"),
    [(2, 0, 0, 2), (7.9, 0, 0, 2), (8.5, 4, 2, 2.5), (20, 0, 0, 8), (4, 4, 3.4, 4)],
)
def test_swap_of_a_host(told, needed_gib, swap_gib, used_gib, wanted_gib) -> None:
    """8 GiB of RAM: a quarter to breathe, more where need or the swap in use ask for it, never more than RAM."""
    row = {
        "mem_total_bytes": [8.0 * GIB] * 480, "mem_available_bytes": [(8 - needed_gib + used_gib) * GIB] * 480,
        "swap_total_bytes": [swap_gib * GIB] * 480, "swap_free_bytes": [(swap_gib - used_gib) * GIB] * 480,
    }  # fmt: skip
    found = told({("host", "host"): row})["this host"]
    assert found.peak_bytes == pytest.approx(needed_gib * GIB, rel=1e-6)
    assert found.setting("swap").bytes == wanted_gib * GIB
    sizes = [one.limit_bytes - 8 * GIB for one in found.candidates]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    risks = [one.probability for one in found.candidates]
    assert risks == sorted(risks, reverse=True)
    assert {one.cost_bytes for one in found.candidates} >= {-swap_gib * GIB, (wanted_gib - swap_gib) * GIB}


def test_names_of_cgroups() -> None:
    assert subject_of("/system.slice/nginx.service").name == "nginx.service"
    container = subject_of(f"/system.slice/docker-{'ab' * 32}.scope")
    assert (container.kind, container.name) == ("container", "abababababab")
    assert subject_of("/jobs/42").kind == "cgroup"


def test_command_from_a_real_recorder(tmp_path) -> None:
    """Three samples of this machine; every line of advice in text, JSON and Markdown."""
    store = tmp_path / "history"
    command = [str(Path(sys.executable).with_name("oomsight"))]
    subprocess.run(
        [*command, "record", "--interval", "0.2", "--count", "3", "--store", str(store)],
        check=True,
        capture_output=True,
    )
    assert History(str(store)).span() is not None
    for per in ("unit", "process"):
        done = subprocess.run(
            [*command, "rightsize", "--history", str(store), "--per", per, "--format", "json", "-n", "0"],
            capture_output=True, text=True, check=False, env=os.environ | {"OOMSIGHT_STORE": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        advices = json.loads(done.stdout)["advices"]
        host = next(row for row in advices if row["subject"]["kind"] == "host")
        assert [row["key"] for row in host["settings"]] == ["swap"]
        assert any(row["name"].endswith("recommended") for row in host["candidates"])
    text = subprocess.run(
        [*command, "rightsize", "--history", str(store), "--width", "80", "this host"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "What each size means" in text
    assert "RAM: " in " ".join(text.split())
    assert all(len(line) <= 80 for line in text.splitlines())
