"""oomsight.proc.memcg"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.proc.memcg import MEMCG_FILES, Memcg, ancestors, parse_memcg, parse_v1_limit, parse_v2_limit

V2 = {
    "memory.max": "100663296\n", "memory.high": "max\n", "memory.current": "85721088\n", "memory.swap.max": "0\n",
    "memory.swap.current": "0\n", "memory.oom.group": "1\n", "memory.events": "low 0\nmax 3\noom 1\noom_kill 2\n",
    "memory.stat": "anon 62914560\nfile 20971520\ninactive_file 8388608\nactive_file 4194304\nshmem 8388608\n",
    "cgroup.procs": "157\n12\n155\n",
}  # fmt: skip
V1 = {
    "memory.limit_in_bytes": "100663296\n", "memory.usage_in_bytes": "85721088\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n", "memory.memsw.usage_in_bytes": "85721088\n",
    "memory.swappiness": "0\n", "memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 7\n",
    "memory.stat": "cache 1\nrss 2\ninactive_file 3\ntotal_cache 20971520\ntotal_rss 62914560\n"
    "total_inactive_file 8388608\ntotal_active_file 4194304\n",
}  # fmt: skip


def test_parse_memcg_version_2():
    found = parse_memcg("/app.slice", 2, V2)
    assert (found.limit_bytes, found.high_bytes, found.swap_limit_bytes) == (100663296, "unlimited", 0)
    assert (found.oom_group, found.oom_kill_disable, found.oom_kills, found.pids) == (True, None, 2, (157, 12, 155))
    assert found.page_cache_bytes == 12 << 20
    assert found.working_set_bytes == 85721088 - (8 << 20)
    assert found.need_bytes == 85721088 - (12 << 20)
    assert found.headroom_bytes == 100663296 - found.need_bytes


def test_no_limit_where_a_long_has_32_bits():
    assert parse_v1_limit(f"{0x7FFFFFFF * 4096}\n") == "unlimited"  # PAGE_COUNTER_MAX is LONG_MAX pages there
    assert parse_v1_limit(f"{0x7FFFFFFE * 4096}\n") == 0x7FFFFFFE * 4096


def test_parse_memcg_version_1_uses_sums_with_children():
    found = parse_memcg("/app", 1, V1)
    assert (found.limit_bytes, found.memsw_limit_bytes, found.swappiness) == (100663296, "unlimited", 0)
    assert (found.oom_kill_disable, found.under_oom, found.oom_kills, found.pids) == (True, False, 7, None)
    assert (found.stat["anon"], found.stat["file"], found.page_cache_bytes) == (62914560, 20971520, 12 << 20)


def test_parse_memcg_missing_files_are_unknown_not_zero():
    found = parse_memcg("/x", 2, {"memory.max": None})
    assert found == Memcg(path="/x", version=2)
    assert (found.need_bytes, found.working_set_bytes, found.headroom_bytes) == (None, None, None)


def test_headroom_without_limit_is_unknown():
    assert parse_memcg("/x", 2, V2 | {"memory.max": "max\n"}).headroom_bytes is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [("9223372036854771712\n", "unlimited"), ("9223372036854710272", "unlimited"), ("9223372036854775807", "unlimited"),
     ("4096\n", 4096), ("0", 0), ("x", None)],
)  # fmt: skip
def test_parse_v1_limit_huge_numbers_are_unlimited(text, limit):
    assert parse_v1_limit(text) == limit


def test_parse_v2_limit():
    assert (parse_v2_limit("max\n"), parse_v2_limit("0\n"), parse_v2_limit("")) == ("unlimited", 0, None)


def test_ancestors_up_to_the_root():
    assert ancestors("/a/b") == ["/a/b", "/a", "/"]
    assert ancestors("/") == ["/"]


@given(st.sampled_from((1, 2)), st.text())
def test_parse_memcg_never_raises(version, text):
    assert parse_memcg("/x", version, {row.name: text for row in MEMCG_FILES[version]}).path == "/x"
