"""
Kernels we have no captures of, in the shapes their sources print (reports written for these tests, numbers invented).

Each row of :data:`ERAS` is one report of a host with T = 1,000,000 pages of RAM and swap together, or of a cgroup.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.report import parse_text
from oomsight.report.model import EventKind, OomReport

MEM_32 = """\
Mem-Info:
Node 0 DMA per-cpu:
CPU    0: hi:    0, btch:   1 usd:   0
active_anon:610000 inactive_anon:60000 isolated_anon:0
 active_file:120 inactive_file:80 isolated_file:0
 unevictable:0 dirty:0 writeback:0 unstable:0
 free:6100 slab_reclaimable:2000 slab_unreclaimable:3000
 mapped:900 shmem:70 pagetables:2500 bounce:0
Node 0 DMA free:15000kB min:200kB low:248kB high:300kB active_anon:0kB inactive_anon:0kB active_file:0kB inactive_file:0kB unevictable:0kB isolated(anon):0kB isolated(file):0kB present:15300kB mlocked:0kB dirty:0kB writeback:0kB mapped:0kB shmem:0kB slab_reclaimable:0kB slab_unreclaimable:0kB kernel_stack:0kB pagetables:0kB unstable:0kB bounce:0kB writeback_tmp:0kB pages_scanned:0 all_unreclaimable? yes
lowmem_reserve[]: 0 3000 3000 3000
Node 0 DMA: 2*4kB 2*8kB 1*16kB 1*32kB 1*64kB 0*128kB 0*256kB 0*512kB 0*1024kB 1*2048kB 3*4096kB = 14472kB
270 total pagecache pages
0 pages in swap cache
Swap cache stats: add 9, delete 9, find 1/2
Free swap  = 0kB
Total swap = 1200000kB
710000 pages RAM
10000 pages reserved
300 pages shared
650000 pages non-shared
"""
CGROUP_39 = """\
Task in /lxc/web killed as a result of limit of /lxc
memory: usage 204800kB, limit 204800kB, failcnt 1891
memory+swap: usage 204800kB, limit 18014398509481983kB, failcnt 0
kmem: usage 0kB, limit 18014398509481983kB, failcnt 0
Memory cgroup stats for /lxc: cache:0KB rss:0KB rss_huge:0KB mapped_file:0KB swap:0KB inactive_anon:0KB active_anon:0KB inactive_file:0KB active_file:0KB unevictable:0KB
Memory cgroup stats for /lxc/web: cache:1200KB rss:203600KB rss_huge:4096KB mapped_file:900KB swap:0KB inactive_anon:100KB active_anon:203500KB inactive_file:700KB active_file:500KB unevictable:0KB
"""


def table(columns: str, *rows: str) -> str:
    return "".join(line + "\n" for line in (f"[ pid ]   {columns} name", *rows))


@dataclass(frozen=True, slots=True)
class Era:
    """One report and what must be read from it."""

    name: str
    text: str
    rule: str | None  #: the badness rule its shape stands for; None = no table to tell
    victim: tuple[object, ...]  #: pid, comm, total_vm, anon, file, shmem KiB, uid, oom_score_adj, role
    trigger: tuple[object, ...] | None  #: comm, gfp_mask, order, oom_score_adj, oom_adj
    selected: tuple[object, ...] | None = None  #: pid, comm, score
    kind: EventKind = EventKind.GLOBAL
    columns: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    score_fits: bool = False  #: our arithmetic gives the printed score


ERAS = (
    Era(
        "2.6.11",
        "oom-killer: gfp_mask=0xd0\nDMA per-cpu:\ncpu 0 hot: low 2, high 6, batch 1\ncpu 0 cold: low 0, high 2, batch 1\n\n"
        "Free pages:        1240kB (0kB HighMem)\n"
        "Active:31200 inactive:210 dirty:0 writeback:0 unstable:0 free:310 slab:1500 mapped:31000 pagetables:90\n"
        "DMA free:512kB min:88kB low:108kB high:132kB active:0kB inactive:0kB present:16384kB\nprotections[]: 0 0 0\n"
        "Out of Memory: Killed process 2311 (httpd).\n",
        None, (2311, "httpd", None, None, None, None, None, None, "selected"), (None, 0xD0, None, None, None),
        facts={"pages.free": 310, "pages.pagetables": 90, "zone.free": 512},
    ),
    Era(
        "2.6.18",
        "oom-killer: gfp_mask=0x201d2, order=0\n\nCall Trace:\n [<ffffffff802b7d1f>] out_of_memory+0x8b/0x203\n"
        "Mem-info:\nActive:31200 inactive:210 dirty:0 writeback:0 unstable:0 free:310 slab:1500 mapped:31000 pagetables:90\n"
        "Out of Memory: Kill process 2311 (httpd) score 52110 and children.\nOut of memory: Killed process 2312 (httpd).\n",
        None, (2312, "httpd", None, None, None, None, None, None, "child"), (None, 0x201D2, 0, None, None),
        (2311, "httpd", 52110),
    ),
    Era(
        "2.6.24",
        "mysqld invoked oom-killer: gfp_mask=0x1201d2, order=0, oomkilladj=-3\nPid: 1900, comm: mysqld Not tainted 2.6.24-19-server #1\n"
        "Out of memory: kill process 2311 (apache2) score 4120 or a child\nKilled process 2312 (apache2)\n",
        None, (2312, "apache2", None, None, None, None, None, None, "child"), ("mysqld", 0x1201D2, 0, None, -3),
        (2311, "apache2", 4120), facts={"release": "2.6.24-19-server", "pid": 1900},
    ),
    Era(
        "2.6.33 vsz",
        "java invoked oom-killer: gfp_mask=0x280da, order=0, oom_adj=0\njava cpuset=/ mems_allowed=0\n" + MEM_32
        + table("uid  tgid total_vm      rss cpu oom_adj",
                "[  901]     0   901     4900       61   0     -17 sshd", "[ 2311]   500  2311   700000   600000   1       0 java")
        + "Out of memory: kill process 2311 (java) score 350123 or a child\n"
        "Killed process 2311 (java) vsz:2800000kB, anon-rss:2399000kB, file-rss:1000kB\n",
        "2.6.32", (2311, "java", 2800000, 2399000, 1000, None, 500, None, "selected"), ("java", 0x280DA, 0, None, 0),
        (2311, "java", 350123), columns=6, facts={"cpuset": "/", "counts.ram": 710000, "swap_free": 0, "adj.901": -17},
    ),
    Era(
        "RHEL 6",
        "java invoked oom-killer: gfp_mask=0x280da, order=0, oom_adj=0, oom_score_adj=0\njava cpuset=/ mems_allowed=0\n"
        "Pid: 2311, comm: java Not tainted 2.6.32-431.el6.x86_64 #1\nCall Trace:\n [<ffffffff8112225a>] ? dump_header+0x8a/0x1b0\n"
        " [<ffffffff81122b20>] ? out_of_memory+0x220/0x3c0\n" + MEM_32
        + table("uid  tgid total_vm      rss cpu oom_adj oom_score_adj",
                "[  901]     0   901     4900       61   0     -17         -1000 sshd",
                "[ 2311]   500  2311   700000   600000   1       0             0 java")
        + "Out of memory: Kill process 2311 (java) score 600 or sacrifice child\n"
        "Killed process 2311, UID 500, (java) total-vm:2800000kB, anon-rss:2399000kB, file-rss:1000kB\n",
        "3.2", (2311, "java", 2800000, 2399000, 1000, None, 500, 0, "selected"), ("java", 0x280DA, 0, 0, 0),
        (2311, "java", 600), columns=7, facts={"release": "2.6.32-431.el6.x86_64", "adj.901": -17}, score_fits=True,
    ),
    Era(
        "3.2 per mille, child sacrificed",
        "perl invoked oom-killer: gfp_mask=0x201da, order=0, oom_adj=0, oom_score_adj=0\nperl cpuset=/ mems_allowed=0\n"
        "Pid: 2299, comm: perl Not tainted 3.2.0-4-amd64 #1 Debian 3.2.57-3\n" + MEM_32
        + table("uid  tgid total_vm      rss cpu oom_adj oom_score_adj",
                "[ 2311]    33  2311   700000   500000   1       0           100 apache2",
                "[ 2312]    33  2312    90000     5000   1       0             0 cgi")
        + "Out of memory: Kill process 2311 (apache2) score 600 or sacrifice child\n"
        "Killed process 2312 (cgi) total-vm:360000kB, anon-rss:19000kB, file-rss:1000kB\n",
        "3.2", (2312, "cgi", 360000, 19000, 1000, None, 33, 0, "child"), ("perl", 0x201DA, 0, 0, 0),
        (2311, "apache2", 600), columns=7, score_fits=True,
    ),
    Era(
        "RHEL 7, cgroup",
        "worker invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=300\nworker cpuset=web mems_allowed=0-1\n"
        "CPU: 3 PID: 2400 Comm: worker Not tainted 3.10.0-1160.el7.x86_64 #1\nHardware name: Paper\nCall Trace:\n"
        " [<ffffffff81685eac>] dump_stack+0x19/0x1b\n [<ffffffff811f3016>] mem_cgroup_oom_synchronize+0x546/0x570\n" + CGROUP_39
        + table("uid  tgid total_vm      rss nr_ptes swapents oom_score_adj",
                "[ 2300]    48  2300    20000      900      30        0             0 httpd",
                "[ 2311]    48  2311    90000    40000     160        0           300 worker")
        + "Memory cgroup out of memory: Kill process 2311 (worker) score 1083 or sacrifice child\n"
        "Killed process 2311 (worker) total-vm:360000kB, anon-rss:159000kB, file-rss:1000kB\n",
        "3.5", (2311, "worker", 360000, 159000, 1000, None, 48, 300, "selected"), ("worker", 0xD0, 0, 300, None),
        (2311, "worker", 1083), EventKind.MEMCG, 7,
        {"oom_memcg": "/lxc", "task_memcg": "/lxc/web", "limit": 204800, "memsw": "unlimited", "release": "3.10.0-1160.el7.x86_64",
         "stats": ("/lxc/web", 203600 * 1024), "pid": 2400, "mems": "0-1"}, score_fits=True,
    ),
    Era(
        "3.15 sentence in three records",
        "worker invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\nTask in /lxc/web\n killed as a result of limit of /lxc\n"
        + CGROUP_39.split("\n", 1)[1]
        + table("uid  tgid total_vm      rss nr_ptes swapents oom_score_adj",
                "[ 2311]    48  2311    90000    40000     160        0             0 worker")
        + "Memory cgroup out of memory: Kill process 2311 (worker) score 784 or sacrifice child\n"
        "Killed process 2311 (worker) total-vm:360000kB, anon-rss:159000kB, file-rss:1000kB\n",
        "3.14", (2311, "worker", 360000, 159000, 1000, None, 48, 0, "selected"), ("worker", 0xD0, 0, 0, None),
        (2311, "worker", 784), EventKind.MEMCG, 7, {"oom_memcg": "/lxc", "task_memcg": "/lxc/web"}, score_fits=True,
    ),
    Era(
        "4.4 without flag names",
        "node invoked oom-killer: gfp_mask=0x24280ca, order=0, oom_score_adj=0\nnode cpuset=/ mems_allowed=0\n" + MEM_32
        + table("uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj",
                "[ 2311]  1000  2311   700000   600000    1300       6     8694             0 node",
                "[ 2312]  1000  2312     9000      100      30       3        0             0 bash")
        + "Out of memory: Kill process 2311 (node) score 610 or sacrifice child\n"
        "Killed process 2311 (node) total-vm:2800000kB, anon-rss:2399000kB, file-rss:1000kB\n",
        "4.0", (2311, "node", 2800000, 2399000, 1000, None, 1000, 0, "selected"), ("node", 0x24280CA, 0, 0, None),
        (2311, "node", 610), columns=8, score_fits=True,
    ),
    Era(
        "4.9 with nodemask",
        "node invoked oom-killer: gfp_mask=0x24280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), nodemask=0-1, order=0, oom_score_adj=0\n"
        "node cpuset=/ mems_allowed=0-1\nCPU: 1 PID: 2311 Comm: node Tainted: G        W       4.9.0-8-amd64 #1\n" + MEM_32
        + table("uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj",
                "[ 2311]  1000  2311   700000   600000    1300       6     8694             0 node")
        + "Out of memory: Kill process 2311 (node) score 610 or sacrifice child\n"
        "Killed process 2311 (node) total-vm:2800000kB, anon-rss:2399000kB, file-rss:1000kB, shmem-rss:0kB\n"
        "oom_reaper: reaped process 2311 (node), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB\n",
        "4.0", (2311, "node", 2800000, 2399000, 1000, 0, 1000, 0, "selected"), ("node", 0x24280CA, 0, 0, None),
        (2311, "node", 610), columns=8,
        facts={"flags": ("GFP_HIGHUSER_MOVABLE", "__GFP_ZERO"), "nodemask": "0-1", "reaped": True, "tainted": "G        W",
               "release": "4.9.0-8-amd64"}, score_fits=True,
    ),
    Era(
        "4.14 with two blanks",
        "node invoked oom-killer: gfp_mask=0x14280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), nodemask=(null),  order=0, oom_score_adj=0\n"
        + MEM_32
        + table("uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj",
                "[ 2311]  1000  2311   700000   600000    1300       6     8694             0 node")
        + "Out of memory: Kill process 2311 (node) score 610 or sacrifice child\n"
        "Killed process 2311 (node) total-vm:2800000kB, anon-rss:2399000kB, file-rss:1000kB, shmem-rss:0kB\n",
        "4.0", (2311, "node", 2800000, 2399000, 1000, 0, 1000, 0, "selected"), ("node", 0x14280CA, 0, 0, None),
        (2311, "node", 610), columns=8, facts={"nodemask": None}, score_fits=True,
    ),
    Era(
        "RHEL 8",
        "node invoked oom-killer: gfp_mask=0x6280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), nodemask=(null), order=0, oom_score_adj=0\n"
        "node cpuset=/ mems_allowed=0\nCPU: 1 PID: 2311 Comm: node Kdump: loaded Not tainted 4.18.0-305.el8.x86_64 #1\n" + MEM_32
        + "Tasks state (memory values in pages):\n"
        + table("uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj",
                "[ 2311]  1000  2311   700000   600000  5324800     8700             0 node")
        + "Out of memory: Kill process 2311 (node) score 610 or sacrifice child\n"
        "Killed process 2311 (node) total-vm:2800000kB, anon-rss:2399000kB, file-rss:1000kB, shmem-rss:0kB\n",
        "4.17", (2311, "node", 2800000, 2399000, 1000, 0, 1000, 0, "selected"), ("node", 0x6280CA, 0, 0, None),
        (2311, "node", 610), columns=7, facts={"release": "4.18.0-305.el8.x86_64", "pid": 2311}, score_fits=True,
    ),
    Era(
        "5.0, child sacrificed",
        "node invoked oom-killer: gfp_mask=0x6280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), order=0, oom_score_adj=0\n" + MEM_32
        + "Tasks state (memory values in pages):\n"
        + table("uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj",
                "[ 2311]  1000  2311   700000   600000  5324800     8700             0 node",
                "[ 2312]  1001  2312     9000      100    40960        0             0 sh")
        + "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/u,task=node,pid=2311,uid=1000\n"
        "Out of memory: Kill process 2311 (node) score 610 or sacrifice child\n"
        "Killed process 2312 (sh) total-vm:36000kB, anon-rss:300kB, file-rss:100kB, shmem-rss:0kB\n",
        "4.17", (2312, "sh", 36000, 300, 100, 0, 1001, 0, "child"), ("node", 0x6280CA, 0, 0, None), (2311, "node", 610),
        columns=7, score_fits=True,
    ),
    Era(
        "grsecurity",
        "Task in /mysql killed as a result of limit of /mysql\nmemory: usage 204800kB, limit 204800kB, failcnt 7\n"
        "Memory cgroup out of memory: Kill process 2311 (mysqld) score 990 or sacrifice child\n"
        "Killed process 2311 (mysqld) total-vm:900000kB, anon-rss:200000kB, file-rss:4000kB\n"
        "grsec: Denied untrusted exec of /tmp/x by /bin/sh[sh:77] uid/euid:33/33 gid/egid:33/33\n",
        None, (2311, "mysqld", 900000, 200000, 4000, None, None, None, "selected"), None, (2311, "mysqld", 990), EventKind.MEMCG,
        facts={"oom_memcg": "/mysql", "limit": 204800},
    ),
)  # fmt: skip


def one(text: str) -> OomReport:
    (report,) = parse_text(text)
    return report


@pytest.mark.parametrize("era", ERAS, ids=lambda e: e.name)
@pytest.mark.parametrize("clock", ["", "[ 1916.749471] ", "Nov 23 09:43:57 db1 kernel: "])
def test_era_every_field_is_read(era: Era, clock: str) -> None:
    report = one("".join(f"{clock}{line}\n" for line in era.text.splitlines() if line))
    (v,) = report.victims
    assert (v.pid, v.comm, v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib, v.shmem_rss_kib, v.uid, v.oom_score_adj, v.role) == era.victim
    t = report.trigger
    assert (t and (t.comm, t.gfp_mask, t.order, t.oom_score_adj, t.oom_adj)) == era.trigger
    assert report.kind == era.kind
    if era.selected is not None:
        assert report.selected is not None
        assert (report.selected.pid, report.selected.comm, v.score) == era.selected
    assert len(report.table_columns or ()) == era.columns
    assert {name: _fact(report, name) for name in era.facts} == era.facts


def _fact(report: OomReport, name: str) -> object:
    t, info, memcg, v = report.trigger, report.meminfo, report.memcg, report.victims[0]
    if name.startswith("adj."):
        return next(task.oom_adj for task in report.tasks if task.pid == int(name[4:]))
    return {
        "pages.free": lambda: info and info.pages["free"],
        "pages.pagetables": lambda: info and info.pages["pagetables"],
        "zone.free": lambda: info and info.zones[0].kib["free"],
        "counts.ram": lambda: info and info.counts["ram"],
        "swap_free": lambda: info and info.free_swap_kib,
        "release": lambda: t and t.kernel_release,
        "pid": lambda: t and t.pid,
        "cpuset": lambda: t and t.cpuset,
        "mems": lambda: t and t.mems_allowed,
        "flags": lambda: t and t.gfp_flags,
        "nodemask": lambda: t and t.nodemask,
        "tainted": lambda: t and t.tainted,
        "reaped": lambda: v.reaped,
        "oom_memcg": lambda: report.oom_memcg,
        "task_memcg": lambda: report.task_memcg,
        "limit": lambda: memcg and memcg.memory and memcg.memory.limit_kib,
        "memsw": lambda: memcg and memcg.memsw and memcg.memsw.limit_kib,
        "stats": lambda: memcg and (memcg.stats[1].path, memcg.stats[1].stats["rss"]),
    }[name]()


@pytest.mark.parametrize("era", [e for e in ERAS if e.rule], ids=lambda e: e.name)
def test_era_is_known_by_its_shape(era: Era) -> None:
    selection = explain_report(one(era.text)).selection
    assert selection is not None
    assert selection.rule == era.rule


@pytest.mark.parametrize("era", [e for e in ERAS if e.score_fits], ids=lambda e: e.name)
def test_old_rule_gives_the_printed_score(era: Era) -> None:
    report = one(era.text)
    selection = explain_report(report).selection
    assert selection is not None
    assert era.selected is not None
    first = selection.ranking[0]
    assert (first.pid, first.comm, first.per_mille) == era.selected


ANDROID = (
    ("lowmemorykiller: Killing 'com.example.app' (4242), adj 900,\n   to free 51200kB on behalf of 'kswapd0' (63) because\n"
     "   cache 73728kB is below limit 73728kB for oom_score_adj 529\n   Free memory is 1024kB above reserved\n", "com.example.app", "lowmemorykiller"),
    ("send sigkill to 4242 (example.app), adj 9, size 12345\n", "example.app", "lowmemorykiller"),
    ("lowmemorykiller: send sigkill to 4242 (example.app), adj 9, size 12345\n", "example.app", "lowmemorykiller"),
    ("lowmemorykiller: Kill 'com.example.app' (4242), uid 10077, oom_score_adj 900 to free 51200kB rss, 900kB swap; reason: low watermark is"
     " breached\n", "com.example.app", "lmkd"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "comm", "killer"), ANDROID)
def test_android_killers_are_no_kernel_kills(text: str, comm: str, killer: str) -> None:
    reports = parse_text(text)
    assert [v for r in reports for v in r.victims] == []
    assert [(r.kind, r.killer, r.killed[0].pid, r.killed[0].comm) for r in reports] == [
        (EventKind.USERSPACE_KILLER, killer, 4242, comm)
    ]
