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


def shown(text: str | bytes, name: str = "log", at: int = -1) -> str:
    """All that the terminal shows of event *at* of *text*, on one line."""
    incident = explain_report(parse_text(text, name)[at])
    return " ".join(render_text(stories([incident], level="normal"), width=100).split())


def told(name: str, at: int = -1) -> str:
    """The same of a golden capture or an excerpt."""
    log = TESTS / "excerpts" / "logs" / f"{name}.log"
    if log.exists():
        data = log.read_bytes()
    else:
        forms = (TESTS / "golden" / name / f"{form}.gz" for form in ("dmesg", "console"))
        data = gzip.decompress(next(form for form in forms if form.exists()).read_bytes())
    return shown(data, name, at)


@pytest.mark.parametrize(
    ("name", "at", "says", "never"),
    [
        # nodes ran out: the page cache of the whole machine is beside the point, its processes are named as that
        ("6.18.15-numa_cpuset", -1, "On the whole machine, of 463.2 MiB of RAM", "Page cache was given back first"),
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
        # memory was free: neither the machine nor its page cache is to blame
        ("docker-fork-bomb-slub", 0, "whether a limit on kernel memory refused the page", "came to its end before any limit"),
        ("docker-fork-bomb-slub", 0, "as far as this text counts it: 10.5 GiB", "could not drop in time"),
        ("rpi-arm-cma", -1, "although 3.4 GiB (92 % of RAM) was free: what it may use of that is set aside for CMA",
         "the machine (3.7 GiB"),
        ("rpi-arm-cma", -1, "the memory that this request may use came to its end", "the machine's memory came to its end"),
        ("rpi-arm-cma", -1, "5,520 KiB usable of 519,112 KiB free", "RAM 982087"),
        # node 2 ran out, of which the text has no number
        ("mempolicy-mail-wrapped-rows", -1, "What the allowed NUMA nodes held is not in this text", "More than any process held"),
        ("mempolicy-mail-wrapped-rows", -1, "805.9 MiB", "culprit"),
        ("mempolicy-mail-wrapped-rows", -1, "7.8 GiB of it was free", "not given back in time"),
        ("syz-manager-two-nodes-no-swap-left", -1, "First thing to change: look at what filled the swap", "change: RAM and swap"),
        ("lkml-oomkilladj-2.6.23", -1, "Kernels of this age print the table only with this set", "switched off or filtered"),
        ("k8s-memory-and-swap-limit", -1, "See inside the container which mount holds it", "See which mount"),
        ("k8s-memory-and-swap-limit", -1, "13.2 GiB is half of what was in use", "remount"),
        # what oom_score_adj is a share of is not in the text
        ("scylla-table-with-header", -1, "so another may come first", "would be the first choice"),
        ("scylla-table-with-header", -1, "points are without oom_score_adj", "T = "),
        ("php-fpm-rows-only", -1, "would be the first choice", "points are without"),
        ("unraid-mongod-in-docker", 0, "held 1.2 GiB, the most of those listed, and is the process that was killed.", ", ."),
        ("talos-rows-without-address", -1, "the most of those listed.", "listed,."),
        # flags without their names: a kernel before 4.6, on which cgroups are of v1
        ("k8s-minion-lines-picked", -1, "memory.limit_in_bytes", "memory.max)"),
        ("kvm-pod-without-kill-line", -1, "which was in container 0f32894de86e in pod 968a06fb.", "T = 4,256,085 pages (limit 4256085"),
        ("postgres-shared-buffers-indented", 0, "83.9 GiB of that is shared memory", "Internal:"),
        ("nohang-block", -1, 'its reason: "avg (62.99) > sigterm_psi (60.0)"', "do not count this kill"),
        ("oomd-marked", -1, "1. To have it end others before systemd-journald.service. systemctl set-property "
         "systemd-journald.service ManagedOOMPreference=avoid", "1. The kernel's counters"),
        ("oomd-marked", -1, "of system.slice (80.00 % now) above the 85.03 % it saw", "/proc/vmstat) do not"),
        ("earlyoom-1.7-percent", -1, "--avoid '^", "do not count this kill"),
        ("earlyoom-1.7-percent", 0, 'It was picked by its rank: "badness 1264"', "gives as its reason"),
    ],
)  # fmt: skip
def test_what_was_read_slowly(name: str, at: int, says: str, never: str) -> None:
    text = told(name, at)
    assert says in text
    assert never not in text


OLD = """\
oom-killer: gfp_mask=0x1d2
Mem-info:
Active:29519 inactive:29110 dirty:0 writeback:0 unstable:0 free:740 slab:2624 mapped:56916 pagetables:475
DMA free:1080kB min:1124kB low:1152kB high:1184kB active:5908kB inactive:5868kB present:16384kB
Normal free:1880kB min:1916kB low:2392kB high:2872kB active:112168kB inactive:110572kB present:245632kB
HighMem free:0kB min:128kB low:160kB high:192kB active:0kB inactive:0kB present:0kB
Swap cache: add 148280, delete 148280, find 5392/7941, race 0+4[ 4325.465000] Free swap  = 0kB
Total swap = 506036kB
Out of Memory: Killed process 7346 (Xorg).
"""
GROUP = """\
[   37.1] Memory cgroup stats for /test1: cache:0KB rss:49484KB rss_huge:30720KB shmem:0KB mapped_file:0KB dirty:0KB
[   37.2] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/test1,task_memcg=/test1,task=a,pid=9,uid=0
[   37.3] Memory cgroup out of memory: Killed process 9 (a) total-vm:14456kB, anon-rss:10324kB, file-rss:504kB, shmem-rss:0kB
[   37.4] Tasks in /test1 are going to be killed due to memory.oom.group set
"""
BIG = "swapper/0: page allocation failure: order:5, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0\n"
BOUND = """\
oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=(null),cpuset=vm,mems_allowed=0,global_oom,task_memcg=/vm,task=kvm,pid=7,uid=0
Out of memory: Killed process 7 (kvm) total-vm:192kB, anon-rss:164kB, file-rss:0kB, shmem-rss:0kB
"""
KILL = "Out of memory: Killed process 7 (a) total-vm:192kB, anon-rss:164kB, file-rss:0kB, shmem-rss:0kB\n"


@pytest.mark.parametrize(
    ("text", "says", "never"),
    [
        (OLD, "kernels as old as this one print no table of processes", "vm.oom_dump_tasks"),
        (OLD, "pages of user memory, page cache or an area of vmalloc", "pages of kernel memory"),
        (OLD, "There is 494.2 MiB of swap; all of it was in use", "holds only a part"),  # two records on one line
        (OLD, "both zones the request could use", "all 3 zones"),
        # memory.oom.group is of v2, whose statistics were printed with the names of v1 up to 5.2
        (GROUP, "`memory.high` and the `high` and `max` counters", "cgroup of version 1"),
        (BIG, "does not try hard for blocks this big", "network drivers"),
        (BIG, "vm.compact_memory=1", "min_free_kbytes"),
        (BOUND, "the memory of the allowed nodes came to its end before any limit", "the machine's memory came"),
        (KILL, "the machine's memory came to its end before any limit", "Whether a limit was involved"),
        ("oom_reaper: reaped process 7 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n",
         "a (pid 7) was an OOM victim; its kill is not in this text", "does not show whom it killed"),
    ],
)  # fmt: skip
def test_what_was_read_slowly_of_rare_texts(text: str, says: str, never: str) -> None:
    words = shown(text)
    assert says in words
    assert never not in words


def test_the_headline_is_not_said_twice() -> None:
    for name in ("talos-oom-controller", "kasan-alloc-order-4", "slurm-stepid-then-srun"):
        text = told(name)
        headline = text.split("━")[0].strip()
        assert text.count(headline) == 1


def test_no_step_of_the_advice_repeats_another() -> None:
    for golden in sorted((TESTS / "golden").glob("*/dmesg.gz")):
        for report in parse_text(gzip.decompress(golden.read_bytes()), golden.parent.name):
            steps = [advice.text for cause in explain_report(report).causes for advice in cause.advice]
            ends = [(one, other) for one in steps for other in steps if one != other and other.endswith(one)]
            assert ends == [], golden.parent.name


NODE = "n kernel: [  139.2013"
ALL_PODS = f"""
  Warning  OOMKilling  65s  kernel-monitor  Memory cgroup out of memory: Killed process 7788 (bash) total-vm:7169492kB, anon-rss:7165824kB, file-rss:44kB, shmem-rss:0kB, UID:0 pgtables:14076kB oom_score_adj:1000
May 19 18:14:43 {NODE}53] bash invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=1000
May 19 18:14:43 {NODE}60] CPU: 0 PID: 7788 Comm: bash Not tainted 5.15.0-1087-azure #96-Ubuntu
May 19 18:14:43 {NODE}61] memory: usage 7464436kB, limit 7464436kB, failcnt 1133
May 19 18:14:43 {NODE}62] Memory cgroup stats for /kubepods.slice:
May 19 18:14:43 {NODE}63] anon 7601418240
May 19 18:14:43 {NODE}81] Tasks state (memory values in pages):
May 19 18:14:43 {NODE}82] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
May 19 18:14:43 {NODE}88] [   7620]     0  7620     2866     1264    61440        0          1000 nginx
May 19 18:14:43 {NODE}99] [   7788]     0  7788  1792373  1791695 14413824        0          1000 bash
May 19 18:14:43 {NODE}99] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c.scope,mems_allowed=0,oom_memcg=/kubepods.slice,task_memcg=/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda5d8fdd1_1369_469e_8a7d_2c1047529435.slice/cri-containerd-9192cb33411ff69d015a3577db136757f5b145064a1703efea3d0e12e8a64987.scope,task=bash,pid=7788,uid=0
May 19 18:14:43 {NODE}99] Memory cgroup out of memory: Killed process 7788 (bash) total-vm:7169492kB, anon-rss:7165824kB, file-rss:956kB, shmem-rss:0kB, UID:0 pgtables:14076kB oom_score_adj:1000
May 19 18:14:43 {NODE}99] Tasks in /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda5d8fdd1_1369_469e_8a7d_2c1047529435.slice/cri-containerd-9192cb33411ff69d015a3577db136757f5b145064a1703efea3d0e12e8a64987.scope are going to be killed due to memory.oom.group set
May 19 18:14:43 {NODE}99] Memory cgroup out of memory: Killed process 7620 (nginx) total-vm:11464kB, anon-rss:1156kB, file-rss:3900kB, shmem-rss:0kB, UID:0 pgtables:60kB oom_score_adj:1000
May 19 18:14:43 {NODE}99] Memory cgroup out of memory: Killed process 7788 (bash) total-vm:7169492kB, anon-rss:7165824kB, file-rss:44kB, shmem-rss:0kB, UID:0 pgtables:14076kB oom_score_adj:1000
"""


def test_limit_of_all_pods_of_a_node() -> None:
    """An event of Kubernetes and the kernel's report are one kill; the victim stands in its group's list once more."""
    (report,) = parse_text(ALL_PODS)
    assert [(v.pid, v.comm, v.role) for v in report.victims] == [(7788, "bash", "selected"), (7620, "nginx", "group")]
    assert {"report_repeated", "kill_line_repeated"} <= {n.code for n in report.notes}
    words = shown(ALL_PODS)
    assert "and 1 other process were killed: kubepods.slice reached its memory limit of 7.1 GiB" in words
    assert "First thing to change: lower the pods' requests and limits, or move pods" in words
    assert "Pod a5d8fdd1-1369-469e-8a7d-2c1047529435 has no limit of its own" in words
    assert "set the limit to" not in words
    assert "More memory on the host will not help" not in words
    assert "memory.oom.group is set on container 9192cb33411f in pod a5d8fdd1: whatever" in words
