"""The machine, its cgroups and victims as families."""

from __future__ import annotations

from oomsight.metrics.host import Cost, Sample, Victim, host_families, place_by_path
from oomsight.metrics.labels import Place
from oomsight.proc.machine import parse_meminfo
from oomsight.proc.memcg import Memcg
from oomsight.proc.pressure import parse_pressure

from .metric_events import CONTAINER, CONTAINER_ID, UNIT

MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\nSwapTotal:         0 kB\nSwapFree:          0 kB\nSUnreclaim:       10 kB\n"
PSI = "some avg10=1.50 avg60=0.20 avg300=0.00 total=1500000\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=250000\n"


def found(sample: Sample, **kwargs) -> dict[str, dict[tuple[str, ...], float]]:
    return {family.metric.name: family.samples for family in host_families(sample, **kwargs)}


def group(path: str, limit: int, need: int, cache: int = 0) -> Memcg:
    return Memcg(path=path, version=2, limit_bytes=limit, usage_bytes=need + cache,
                 stat={"inactive_file": cache, "active_file": 0})  # fmt: skip


def test_host_families_memory_in_bytes_and_what_the_kernel_does_not_print_is_missing() -> None:
    families = found(Sample(memory=parse_meminfo(MEMINFO), oom_kills=3))
    assert families["oomsight_memory_available_bytes"] == {(): 409600.0}
    assert families["oomsight_swap_total_bytes"] == {(): 0.0}
    assert families["oomsight_kernel_oom_kills_total"] == {(): 3.0}
    assert "oomsight_memory_shmem_bytes" not in families


def test_host_families_nothing_readable_is_nothing() -> None:
    assert host_families(Sample()) == []


def test_host_families_pressure_as_seconds_and_shares() -> None:
    families = found(Sample(pressure={"memory": parse_pressure(PSI)}))
    assert families["oomsight_pressure_stall_seconds_total"] == {("memory", "some"): 1.5, ("memory", "full"): 0.25}
    assert families["oomsight_pressure_ratio"]["memory", "some", "10s"] == 0.015
    assert families["oomsight_pressure_ratio"]["memory", "full", "300s"] == 0.0


def test_host_families_headroom_does_not_count_page_cache_as_need() -> None:
    families = found(Sample(cgroups=[group(UNIT, 1000, 600, 300)]))
    key = (UNIT, "nginx.service", "", "", "")
    assert families["oomsight_cgroup_memory_headroom_bytes"] == {key: 400.0}
    assert families["oomsight_cgroup_memory_usage_bytes"] == {key: 900.0}
    assert families["oomsight_cgroup_memory_full_ratio"] == {key: 0.6}
    assert families["oomsight_cgroups_limited"] == {(): 1.0}


def test_host_families_only_the_fullest_are_named_and_other_is_the_nearest_of_the_rest() -> None:
    cgroups = [group(f"/g{n}", 1000, n * 100) for n in range(1, 8)]
    families = found(Sample(cgroups=cgroups), most_cgroups=2)
    named = {key[0]: value for key, value in families["oomsight_cgroup_memory_headroom_bytes"].items()}
    assert named == {"/g7": 300.0, "/g6": 400.0, "other": 500.0}
    assert families["oomsight_cgroup_memory_full_ratio"]["other", "", "", "", ""] == 0.5
    assert {key[0] for key in families["oomsight_cgroup_memory_limit_bytes"]} == {"/g7", "/g6"}
    assert families["oomsight_cgroups_limited"] == {(): 7.0}


def test_host_families_victims_with_whose_they_are() -> None:
    victims = [Victim("host", "java", 12, CONTAINER, 5000, 100), Victim("/x", "sh", 13, None, 10, None)]
    families = found(Sample(victims=victims), locate=lambda _path: Place("", "app", "shop", "web-1"))
    assert families["oomsight_predicted_victim_info"] == {
        ("host", "java", "", "app", "shop", "web-1"): 1.0, ("/x", "sh", "", "", "", ""): 1.0,
    }  # fmt: skip
    assert families["oomsight_predicted_victim_pid"] == {("host",): 12.0, ("/x",): 13.0}
    assert families["oomsight_predicted_victim_margin_bytes"] == {("host",): 100.0}


def test_host_families_tell_how_old_and_how_dear_a_sample_is() -> None:
    families = found(Sample(costs={"victims": Cost(31.0, 0.25)}))
    assert families["oomsight_agent_sample_age_seconds"] == {("victims",): 31.0}
    assert families["oomsight_agent_sample_cost_seconds"] == {("victims",): 0.25}


def test_place_by_path_what_the_path_tells() -> None:
    assert place_by_path(UNIT) == Place("nginx.service")
    assert place_by_path(CONTAINER) == Place("", CONTAINER_ID[:12], "unknown", "unknown")
    assert place_by_path("/") == Place()
