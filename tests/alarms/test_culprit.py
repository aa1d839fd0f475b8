"""Who is named: who grew, who is biggest, and nobody where nobody stands out."""

from __future__ import annotations

from oomsight.alarms.culprit import Census, Holder, blame, pools_of_host
from oomsight.proc.machine import parse_meminfo


def _census(at: float, *rows: tuple[int, str, int], **pools: int) -> Census:
    return Census(at, [Holder(pid, pid, comm, kib << 10, "/a") for pid, comm, kib in rows],
                  {name: mib << 10 for name, mib in pools.items()})  # fmt: skip


def test_the_one_that_grew_is_not_the_biggest() -> None:
    found = blame(_census(0, (1, "db", 900), (2, "leak", 10)), _census(60, (1, "db", 900), (2, "leak", 90)))
    assert (found.grower.name, found.grower.pid, found.grower.grown_kib >> 10) == ("leak", 2, 80)
    assert (found.biggest.name, found.seconds) == ("db", 60)


def test_workers_that_grow_together_are_one_name() -> None:
    before = _census(0, *((pid, "worker", 10) for pid in range(1, 9)), (20, "db", 50))
    found = blame(before, _census(60, *((pid, "worker", 20) for pid in range(1, 9)), (20, "db", 52)))
    assert (found.grower.kind, found.grower.name, found.grower.processes, found.grower.pid) == ("name", "worker", 8, None)
    assert found.biggest == found.grower


def test_pid_used_again_has_grown_from_nothing() -> None:
    now = Census(60, [Holder(1, 999, "new", 50 << 10, "/a")])
    assert blame(_census(0, (1, "old", 50)), now).grower.grown_kib == 50 << 10


def test_tmpfs_that_grows_is_nobodys_process() -> None:
    found = blame(_census(0, (1, "cp", 5), shmem=10, kernel=3), _census(60, (1, "cp", 6), shmem=200, kernel=3))
    assert (found.grower.kind, found.grower.name) == ("pool", "shmem")


def test_shared_memory_that_a_process_maps_is_named_by_it() -> None:
    def census(at: float, mapped_mib: int, other_mib: int) -> Census:
        holders = [Holder(1, 1, "db", mapped_mib << 10, "/a", mapped_mib << 10), Holder(2, 2, "idle", other_mib << 10, "/a")]
        return Census(at, holders, {"shmem": (mapped_mib + 12) << 10})

    # The other one was swapped out meanwhile, so all processes together grew by less than shared memory did.
    found = blame(census(0, 180, 40), census(10, 203, 30))
    assert (found.grower.kind, found.grower.name, found.grower.grown_kib >> 10) == ("process", "db", 23)
    assert found.biggest.name == "db"


def test_nobody_is_named_where_nobody_grew_or_everybody_did() -> None:
    same = _census(0, (1, "a", 10), (2, "b", 20))
    assert blame(same, _census(60, (1, "a", 10), (2, "b", 20))).grower is None
    crowd = [(n, f"p{n}", 10) for n in range(10)]
    assert blame(_census(0, *crowd), _census(60, *((n, name, 15) for n, name, _ in crowd))).grower is None
    assert blame(None, same).biggest.name == "b"
    assert blame(None, Census(0, [])) == (None, None, 0.0)


def test_a_cgroup_that_is_empty_already_names_nobody() -> None:
    assert blame(None, _census(0, shmem=0, kernel=0, hugetlb=0)).biggest is None


def test_pools_of_the_host() -> None:
    memory = parse_meminfo("MemTotal: 9 kB\nShmem: 5 kB\nSUnreclaim: 3 kB\nKernelStack: 1 kB\nHugetlb: 2 kB\n")
    assert pools_of_host(memory) == {"shmem": 5, "kernel": 4, "hugetlb": 2}
