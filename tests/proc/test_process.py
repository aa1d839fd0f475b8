"""oomsight.proc.process"""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.proc.fields import memory_sizes, rss_and_start, stat_fields, status_fields
from oomsight.proc.process import (
    SmapsRollup,
    Stat,
    Statm,
    Status,
    memory_cgroup,
    parse_int,
    parse_smaps_rollup,
    parse_stat,
    parse_statm,
    parse_status,
)

# /proc/PID/stat of a Debian 6.12.107, scenario memcg_nested (comm changed in the tests)
TAIL = (
    " S 1 1 1 0 -1 4194560 204 977 0 0 2 65 3 11 20 -5 3 0 57 2314240 455 18446744073709551615 4198400 5785993"
    " 140731658820992 0 0 0 0 4 65538 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
STATUS = """Name:\tb-grow
Umask:\t0022
State:\tS (sleeping)
Uid:\t1001\t0\t0\t0
VmPeak:\t  141816 kB
VmLck:\t      16 kB
VmPin:\t       0 kB
VmHWM:\t   83968 kB
VmRSS:\t   83964 kB
RssAnon:\t   81916 kB
RssFile:\t    2040 kB
RssShmem:\t       8 kB
VmData:\t  140000 kB
VmStk:\t     132 kB
VmExe:\t       4 kB
VmLib:\t    1024 kB
VmPTE:\t     208 kB
VmSwap:\t    4096 kB
HugetlbPages:\t    2048 kB
Threads:\t1
CapEff:\t000001ffffffffff
"""


def test_parse_stat_all_fields():
    assert parse_stat("157 (b-grow)" + TAIL) == Stat(
        157, "b-grow", "S", 1, 4194560, 2, 65, -5, 3, 57, 2314240, 455
    )


@pytest.mark.parametrize("comm", ["a) b", ") (", "a) R 1 2 3 (", "tmux: server", "", "\udcff(x", ":(){ :|:& };:", ")\n("])
def test_parse_stat_comm_with_brackets_and_spaces(comm):
    assert parse_stat(f"9 ({comm}){TAIL}")[:4] == (9, comm, "S", 1)


def test_parse_stat_flags_tell_kernel_threads_and_exits():
    kthread, exiting = (parse_stat("2 (x)" + TAIL.replace("4194560", str(flags))) for flags in (2129984, 4194564))
    assert (kthread.is_kthread, kthread.is_exiting) == (True, False)
    assert (exiting.is_kthread, exiting.is_exiting) == (False, True)


@pytest.mark.parametrize("text", ["", "1", "1 (x", "x (y) S 1", "1 (x) S", "1 (x)" + TAIL[:40]])
def test_parse_stat_cut_text_is_none(text):
    assert parse_stat(text) is None


def test_parse_status_modern_lines():
    assert parse_status(STATUS) == Status(1001, 16, 83964, 81916, 2040, 8, 208, None, 4096, 2048, 0x1FFFFFFFFFF)


def test_parse_status_of_4_0_to_4_14_has_page_middle_directories():
    text = STATUS.replace("VmSwap", "VmPMD:\t      12 kB\nVmSwap")
    assert (parse_status(text).vm_pte_kib, parse_status(text).vm_pmd_kib) == (208, 12)


def test_parse_status_kernel_thread_has_no_memory_lines():
    assert parse_status("Name:\tkthreadd\nUid:\t0\t0\t0\t0\nThreads:\t1\n") == Status(uid=0)


def test_parse_status_unknown_line_in_the_block_hides_nothing():
    text = STATUS.replace("VmData", "VmNew:\t       1 kB\nVmData")
    assert parse_status(text) == parse_status(STATUS)


def test_parse_statm_seven_numbers():
    assert parse_statm("565 457 433 388 0 77 0\n") == Statm(565, 457, 433, 388, 77)
    assert parse_statm("565 x") is None


def test_parse_smaps_rollup_of_6_12():
    text = (
        "00400000-7fff0000 ---p 00000000 00:00 0                          [rollup]\nRss:               12292 kB\n"
        "Pss:                9876 kB\nPss_Dirty:          100 kB\nPss_Anon:           4000 kB\nPss_File:           5000 kB\n"
        "Pss_Shmem:           876 kB\nShared_Clean:      3000 kB\nPrivate_Clean:     1000 kB\nPrivate_Dirty:     4100 kB\n"
        "Swap:                 40 kB\nSwapPss:              20 kB\nLocked:                0 kB\n"
    )
    assert parse_smaps_rollup(text) == SmapsRollup(12292, 9876, 4000, 5000, 876, 1000, 4100, 40, 20, 0)
    assert parse_smaps_rollup("") is None


V1 = "9:name=systemd:/a.service\n4:cpu,memory:/docker/0:1\n3:cpuset:/\n0::/unified\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [(V1, "/docker/0:1"), ("0::/\n", "/"), ("0::/a:b/memory:/c\n", "/a:b/memory:/c"), ("0::/gone (deleted)\n", "/gone"),
     ("0::/u\n5:memory:/m\n", "/m"), ("3:cpuset:/x\n", None), ("7:name=memory:/x\n", None), ("", None)],
)  # fmt: skip
def test_memory_cgroup_is_where_memory_is_charged(text, path):
    assert memory_cgroup(text) == path


def test_parse_int_of_files_with_one_number():
    assert (parse_int("-998\n"), parse_int("x"), parse_int(""), parse_int(None)) == (-998, None, None, None)


@given(st.text())
def test_parsers_never_raise(text):
    for parse in (parse_stat, parse_status, parse_statm, parse_smaps_rollup, memory_cgroup, parse_int):
        parse(text)
        parse("1 (x) " + text)
        parse("\nVmLck:\t" + text + " kB\n0::" + text)


@given(st.text(st.characters(exclude_characters="\n")))
def test_parse_stat_any_comm_survives(comm):
    assert parse_stat(f"1 ({comm}){TAIL}").comm == comm


def test_memory_sizes_are_what_status_fields_says():
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            data = Path(f"/proc/{pid}/status").read_bytes()
        except OSError:
            continue
        sizes, (_, _, rss, anon, file, shmem, tables, _, swap, *_) = memory_sizes(data), status_fields(data.decode("utf-8", "replace"))
        assert sizes == (None if rss is None else (rss, swap, tables, sum(map(bool, (anon, file, shmem, swap)))))


def test_memory_sizes_leaves_what_is_unusual_to_the_long_way():
    usual = (b"Name:\tx\nVmRSS:\t    4096 kB\nRssAnon:\t    1024 kB\nRssFile:\t       0 kB\nRssShmem:\t    3072 kB\n"
             b"VmData:\t       0 kB\nVmStk:\t       0 kB\nVmExe:\t       0 kB\nVmLib:\t       0 kB\nVmPTE:\t      40 kB\n"
             b"VmSwap:\t      12 kB\nHugetlbPages:\t       0 kB\nThreads:\t1\n")  # fmt: skip
    assert memory_sizes(usual) == (4096, 12, 40, 3)
    assert memory_sizes(usual.replace(b"    4096", b"104857600")) == ()  # nine digits: 100 GiB
    assert memory_sizes(usual.replace(b"VmStk:\t       0 kB\n", b"")) == ()
    assert memory_sizes(b"Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n") is None
    assert memory_sizes(b"Name:\tx\nState:\tZ (zombie)\nThreads:\t2\n") == ()
    assert memory_sizes(b"") == ()


def test_rss_and_start_are_those_of_stat_fields():
    data = Path("/proc/self/stat").read_bytes()
    fields = stat_fields(data.decode())
    assert fields is not None
    assert rss_and_start(data) == (fields[11], fields[9])
    assert rss_and_start(data.replace(b"(", b"(a) 7 (", 1)) == (fields[11], fields[9])
    for cut in (b"", b"7 (x)", data[: data.rindex(b")") + 20]):
        with pytest.raises(ValueError, match="no line of"):
            rss_and_start(cut)
