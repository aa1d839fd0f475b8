"""oomsight.proc.machine"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.proc.machine import (
    MemInfo,
    Mount,
    parse_cpu_list,
    parse_meminfo,
    parse_mountinfo,
    parse_version,
    parse_vmstat,
    parse_zoneinfo,
)

MEMINFO = (
    "MemTotal:         372444 kB\nMemFree:           88920 kB\nMemAvailable:      88176 kB\nActive(anon):       2772 kB\n"
    "SwapTotal:         98300 kB\nSwapFree:              0 kB\nHugePages_Total:       4\nHugepagesize:       2048 kB\n"
)
ZONEINFO = """Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 65008
  pages free     1597
        boost    0
        min      69
        low      86
        high     103
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 340, 340, 340)
      nr_free_pages 1597
  pagesets
    cpu: 0
              count: 12
              high:  13
Node 1, zone   Normal
  pages free     0
        min      0
        low      0
        high     0
        spanned  0
        present  0
        managed  0
        protection: (0, 0)
"""


def test_parse_meminfo_totals_and_counts():
    found = parse_meminfo(MEMINFO)
    assert found[:5] == (372444, 88920, 88176, 98300, 0)
    assert found.fields["HugePages_Total"] == 4
    assert found.fields["Active(anon)"] == 2772


def test_parse_meminfo_of_a_node_and_of_nothing():
    assert parse_meminfo("Node 0 MemTotal:         372444 kB\n").mem_total_kib == 372444
    assert parse_meminfo("") == MemInfo(None, None, None, None, None, {})


def test_parse_vmstat_names_and_numbers():
    assert parse_vmstat("nr_free_pages 1597\noom_kill 2\nodd line here\nworkingset -1\n") == {
        "nr_free_pages": 1597, "oom_kill": 2, "workingset": -1,
    }  # fmt: skip


def test_parse_zoneinfo_marks_and_reserves():
    dma, normal = parse_zoneinfo(ZONEINFO)
    assert (dma.node, dma.name, dma.free_pages, dma.min_pages, dma.low_pages, dma.high_pages) == (0, "DMA", 1597, 69, 86, 103)
    assert (dma.spanned_pages, dma.present_pages, dma.managed_pages, dma.cma_pages) == (4095, 3998, 3840, 0)
    assert dma.protection_pages == (0, 340, 340, 340)
    assert (normal.node, normal.name, normal.present_pages, normal.cma_pages) == (1, "Normal", 0, None)


MOUNTINFO = r"""24 1 0:22 / /proc rw,relatime shared:13 - proc proc rw,hidepid=invisible,gid=10
30 25 0:27 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
31 25 0:28 / /mnt/a\040b\134c rw master:1 propagate_from:2 - tmpfs none rw
garbage
"""


def test_parse_mountinfo_options_and_escapes():
    proc, memory, other = parse_mountinfo(MOUNTINFO)
    assert proc == Mount("/", "/proc", ("rw", "relatime"), "proc", "proc", ("rw", "hidepid=invisible", "gid=10"))
    assert (memory.root, memory.fs_type, memory.super_options) == ("/docker/abc", "cgroup", ("rw", "memory"))
    assert other.mount_point == "/mnt/a b\\c"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8\n", {0, 1, 2, 3, 8}), ("0\n", {0}), ("", set()), ("x", None), ("0-", None), ("0-999999999999", None), ("0-9999999", None)],
)
def test_parse_cpu_list(text, cpus):
    assert parse_cpu_list(text) == cpus


def test_parse_version_release():
    assert parse_version("Linux version 6.12.107+deb13-cloud-amd64 (debian-kernel@x) #1") == "6.12.107+deb13-cloud-amd64"
    assert parse_version("") is None


@given(st.text())
def test_parsers_never_raise(text):
    for parse in (parse_meminfo, parse_vmstat, parse_zoneinfo, parse_mountinfo, parse_cpu_list, parse_version):
        parse(text)
        parse("Node 0, zone DMA\n" + text)


def test_parsers_leave_out_numbers_no_kernel_prints():
    digits = "9" * 5000  # Python refuses to read more than 4300
    assert parse_meminfo(f"MemTotal: {digits} kB\n").mem_total_kib is None
    assert parse_vmstat(f"a {digits}\n") == {}
    assert parse_zoneinfo(f"Node 0, zone DMA\n  pages free {digits}\n")[0].free_pages is None
