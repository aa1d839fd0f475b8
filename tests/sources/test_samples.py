"""Samples of the host: read from where it is told, as often as the budget allows."""

from __future__ import annotations

import pytest

from oomsight.metrics.host import Victim
from oomsight.sources import samples as samples_module
from oomsight.sources.samples import HostSamples, Kept, own_usage


@pytest.fixture
def clock(monkeypatch):
    """Both clocks of the module, to be set."""
    now = {"monotonic": 100.0, "thread": 0.0}
    monkeypatch.setattr(samples_module.time, "monotonic", lambda: now["monotonic"])
    monkeypatch.setattr(samples_module.time, "thread_time", lambda: now["thread"])
    return now


def test_kept_is_read_again_after_its_time(clock) -> None:
    reads = []
    kept = Kept(lambda: reads.append(1) or len(reads), 10.0)
    assert [kept.get(), kept.get()] == [1, 1]
    clock["monotonic"] += 9.9
    assert kept.get() == 1
    clock["monotonic"] += 0.2
    assert kept.get() == 2


def test_kept_a_dear_sample_is_kept_for_longer(clock) -> None:
    reads = []

    def read() -> int:
        clock["thread"] += 0.5
        reads.append(1)
        return len(reads)

    kept = Kept(read, 10.0, share=0.001)
    kept.get()
    clock["monotonic"] += 499.0
    assert kept.get() == 1  # 0.5 s of CPU time are worth 500 s
    assert kept.cost == (499.0, 0.5)
    clock["monotonic"] += 2.0
    assert kept.get() == 2


def write(root, files) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def host(tmp_path):
    """A small host of files: two processes, cgroup v2 with one limited cgroup of three."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    write(proc, {
        "meminfo": "MemTotal:       1000000 kB\nMemFree:  10 kB\nMemAvailable: 500000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
        "vmstat": "nr_free_pages 3\noom_kill 7\n", "version": "Linux version 6.12.1 (x)\n",
        "pressure/memory": "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n",
    })  # fmt: skip
    for pid, comm, kib in ((10, "small", 4000), (11, "big", 80000)):
        fields = ["S", "1", *["0"] * 4, "0", *["0"] * 8, "20", "0", "1", "0", str(pid), "100000000", str(kib // 4)]
        status = (f"Name:\t{comm}\nUid:\t0\t0\t0\t0\nVmLck:\t       0 kB\nVmRSS:\t    {kib} kB\nRssAnon:\t    {kib} kB\n"
                  "RssFile:\t       0 kB\nRssShmem:\t       0 kB\nVmPTE:\t      40 kB\nVmSwap:\t       0 kB\n")  # fmt: skip
        write(proc, {
            f"{pid}/stat": f"{pid} ({comm}) {' '.join(fields)} 0 0 0\n", f"{pid}/status": status,
            f"{pid}/oom_score": "700\n", f"{pid}/oom_score_adj": "0\n", f"{pid}/cgroup": "0::/a/limited\n",
        })  # fmt: skip
    for name, limit in (("", "max"), ("a/", "max"), ("a/limited/", "100000000"), ("b/", "max")):
        write(cgroup, {
            f"{name}memory.max": f"{limit}\n", f"{name}memory.current": "90000000\n", f"{name}cgroup.controllers": "memory\n",
            f"{name}memory.stat": "anon 80000000\ninactive_file 6000000\nactive_file 4000000\n",
        })  # fmt: skip
    return HostSamples(str(proc), cgroup_root=str(cgroup))


def test_sample_reads_the_host_its_limited_cgroups_and_the_victims(host) -> None:
    sample = host.sample()
    assert sample.memory.mem_available_kib == 500000
    assert sample.oom_kills == 7
    assert sample.pressure["memory"]["some"].avg10_pct == 1.0
    assert [(c.path, c.limit_bytes, c.headroom_bytes) for c in sample.cgroups] == [("/a/limited", 100000000, 20000000)]
    big = (80000 + 40) << 10
    assert sample.victims == [
        Victim("host", "big", 11, "/a/limited", big, 76000 << 10),
        Victim("/a/limited", "big", 11, "/a/limited", big, 76000 << 10),
    ]
    assert set(sample.costs) == {"host", "cgroups", "victims"}


def test_sample_without_anything_to_read_is_empty(tmp_path) -> None:
    sample = HostSamples(str(tmp_path)).sample()
    assert (sample.memory, sample.oom_kills, sample.cgroups, list(sample.victims)) == (None, None, None, [])


def test_sample_victims_can_be_switched_off(host) -> None:
    off = HostSamples(host.proc, victim_seconds=0).sample()
    assert list(off.victims) == []
    assert "victims" not in off.costs


def test_own_usage_is_ours() -> None:
    cpu, resident = own_usage()
    assert cpu > 0
    assert 5 << 20 < resident < 2 << 30
