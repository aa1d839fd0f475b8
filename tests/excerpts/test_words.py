"""
What was found wrong or clumsy when outputs were read slowly: each sentence is held against the report it is told of.
The reports are those of ``tests/golden`` (real kernels) and of ``logs`` (public threads).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.report import parse_text
from oomsight.sinks.story import stories
from oomsight.sinks.text import render_text

TESTS = Path(__file__).parent.parent


def told(name: str, at: int = -1) -> str:
    """All that the terminal shows of event *at* of a golden capture or an excerpt, on one line."""
    log = TESTS / "excerpts" / "logs" / f"{name}.log"
    if log.exists():
        data = log.read_bytes()
    else:
        forms = (TESTS / "golden" / name / f"{form}.gz" for form in ("dmesg", "console"))
        data = gzip.decompress(next(form for form in forms if form.exists()).read_bytes())
    incident = explain_report(parse_text(data, name)[at])
    return " ".join(render_text(stories([incident], level="normal"), width=100).split())


@pytest.mark.parametrize(
    ("name", "at", "says", "never"),
    [
        # keepalive (-1000) survived the group kill
        ("6.12.107-memcg_group", -1, "whatever may be killed in it died with it", "All of cgroup"),
        # a cgroup ran out, not the kernel
        ("5.10.262-panic_on_oom2", -1, "The kernel panicked instead of killing a process: app.service reached its memory limit "
         "of 32.0 MiB, and it is set to (panic_on_oom)", "The kernel ran out of memory"),
        ("7.3.4-panic_on_oom1", -1, "instead of killing a process: the machine", "The kernel ran out"),
        # nobody was killed, and the text says so
        ("7.3.4-sysrq_f", -1, "(SysRq-f); it ignored that and killed nobody.", "whom it killed is not in this text"),
        ("7.3.4-sysrq_f", -1, "SysRq-f asked for a kill; the kernel ignored it and killed nobody", "The OOM killer ran"),
        # one address space, two processes: both died, and the memory is not there twice
        ("6.12.107-threads_sharedmm", -1, "java (pid 139) shares that memory, so the kernel killed it too",
         "really held by java"),
        ("6.12.107-threads_sharedmm", -1, "java-vfork (pid 170) held 196.6 MiB (72 % of RAM) and is the process that was killed",
         "pid 139) held 196.6 MiB (72 % of RAM); not killed"),
        # heap and pool must fit into the limit advised beside them
        ("6.12.107-kill_allocating", 0, "MemoryMax=120M", "innodb_buffer_pool_size = 171M"),
        ("6.12.107-kill_allocating", 0, "innodb_buffer_pool_size = 72M", "Vm.oom_kill"),
        ("6.12.107-kill_allocating", -1, "See whether the kernel killed for want of memory at that time", "min_free_kbytes"),
        ("6.12.107-kill_allocating", -1, "oomsight explain", "Look for the driver"),
        ("7.3.4-kill_allocating", 0, "fewer than the first", "Margin to the next process: -"),
        ("7.3.4-nokillable_memcg", -1, "Take oom_score_adj -1000 from immune (pid", "are protected"),
        ("7.3.4-nokillable_memcg", -1, "protected (-1000): 1 of 1 listed process", "process points adj role"),
        ("6.18.15-order_dgram", -1, "hold only 9.9 MiB of it", "KiB of it; the rest"),
        ("6.18.15-order_dgram", 0, "<1 %", " 0 % "),
        ("6.18.15-order_dgram", 0, "Most of it is in no cache that slabtop shows", "slabtop -o"),
        ("6.18.15-order_dgram", 0, "look for sockets whose data nobody reads", "sockets, files, cgroups"),
        ("6.12.107-numa_mempolicy", -1, "on 1 node + swap", "on 1 nodes"),
        ("6.12.107-adj_biased", -1, "Bound biggest-immune", "4. Run it in a cgroup"),
        ("6.1.192-global_noswap", -1, "both zones the request could use are below their watermarks", "zone(s)"),
        ("7.3.4-negatives", 0, "It asked for 8.0 GiB of zeroed kernel memory", "unknown number of pages"),
        ("7.3.4-negatives", 0, "No machine of this size can give that much", "32-bit"),
        ("7.3.4-negatives", 0, "the size of this one request decided", "network receive"),
        # a mem-info that SysRq-m printed belongs to no kill
        ("7.3.4-negatives", 1, "spoofed (pid 4242, 1 KiB) was killed", "80 % of RAM"),
        # a kill line cut behind the pid still says who died
        ("kubedirector-wrapped-at-width", -1, "cp (pid 62769", "The kernel killed bash"),
        ("kubedirector-wrapped-at-width", -1, "of it 491.5 MiB not yet written to disk", "as in Linux 5.9"),
        ("android-3.18-lowmemorykiller-lines", 0, "The kernel's lowmemorykiller ended syz-fuzzer", "lmkd"),
        ("android-3.18-lowmemorykiller-lines", 0, "cache 72404kB is below limit 73728kB", "ro.lmkd"),
        ("earlyoom-1.7-percent", 0, 'It was picked by its rank: "badness 1264"', "gives as its reason"),
    ],
)  # fmt: skip
def test_what_was_read_slowly(name: str, at: int, says: str, never: str) -> None:
    shown = told(name, at)
    assert says in shown
    assert never not in shown


def test_the_headline_is_not_said_twice() -> None:
    for name in ("talos-oom-controller", "kasan-alloc-order-4", "slurm-stepid-then-srun"):
        shown = told(name)
        headline = shown.split("━")[0].strip()
        assert shown.count(headline) == 1


def test_no_step_of_the_advice_repeats_another() -> None:
    for golden in sorted((TESTS / "golden").glob("*/dmesg.gz")):
        for report in parse_text(gzip.decompress(golden.read_bytes()), golden.parent.name):
            steps = [advice.text for cause in explain_report(report).causes for advice in cause.advice]
            ends = [(one, other) for one in steps for other in steps if one != other and other.endswith(one)]
            assert ends == [], golden.parent.name
