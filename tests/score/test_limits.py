"""oomsight.score.limits"""

from oomsight.proc.memcg import Memcg
from oomsight.score.limits import limited_cgroups, nearest_limit
from oomsight.score.rules import recognise

from .samples import machine, process, snapshot

MIB = 1 << 20


def memcg(path, limit, usage=None, cache=0, **more):
    stat = {"inactive_file": cache, "active_file": 0} if usage is not None else {}
    return Memcg(path=path, version=2, limit_bytes=limit, usage_bytes=usage, stat=stat, **more)


def shot():
    return snapshot(
        process(10, 3000, cgroup="/a/x"), process(11, 2000, cgroup="/a/y"), process(12, 10, cgroup="/b"),
        process(13, 1, adj=-1000, cgroup="/c"),
        on=machine(swap=1000, swap_free_pages=512),
        cgroups=(
            memcg("/", "unlimited"), memcg("/a", 40 * MIB, 30 * MIB, cache=10 * MIB), memcg("/a/x", 16 * MIB, 15 * MIB),
            memcg("/a/y", "unlimited", MIB), memcg("/b", 8 * MIB, swap_limit_bytes=MIB, swap_usage_bytes=MIB // 2),
            memcg("/c", 4 * MIB, 1 * MIB), memcg("/empty", MIB, 0),
        ),
    )  # fmt: skip


def test_limited_cgroups_fullest_first_with_victim_and_headroom():
    found = limited_cgroups(shot(), recognise(machine(), ()))
    assert [(c.memcg.path, c.headroom_kib, c.processes) for c in found] == [
        ("/a/x", 1024, 1), ("/a", 20 * 1024, 2), ("/c", 3 * 1024, 1), ("/b", None, 1),
    ]  # fmt: skip
    assert [c.ranking.victim and c.ranking.victim.process.pid for c in found] == [10, 10, None, 12]
    assert [c.full_pct for c in found] == [93.75, 50.0, 25.0, None]


def test_swap_room_is_bounded_by_own_limit_and_free_swap():
    rooms = {c.memcg.path: c.swap_room_kib(shot().machine) for c in limited_cgroups(shot(), recognise(machine(), ()))}
    assert rooms == {"/a/x": 2048, "/a": 2048, "/c": 2048, "/b": 512}


def test_nearest_limit_is_its_own_or_the_next_above():
    assert nearest_limit(shot(), "/a/x").path == "/a/x"
    assert nearest_limit(shot(), "/a/y").path == "/a"
    assert nearest_limit(shot(), "/d") is None
