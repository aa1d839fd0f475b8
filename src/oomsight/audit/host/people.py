"""Rules about logs, pressure, protections, and processes that could take all memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.audit.host.row import host_rule as _rule
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark
from oomsight.proc.memcg import ancestors
from oomsight.score.ranking import rank_host
from oomsight.score.rules import recognise

if TYPE_CHECKING:
    from oomsight.audit.host.facts import HostFacts

DEFAULT_LOG_BYTES: Final = 1 << 17  #: CONFIG_LOG_BUF_SHIFT=17, Debian's and the kernel's default
REPORT_BYTES: Final = 8 << 10  #: of a report without its table
ROW_BYTES: Final = 130  #: a row of the table with its record header
KILLERS: Final = frozenset({"systemd-oomd", "earlyoom", "nohang", "oomd"})
"""Programs that kill before the kernel does, by their process names."""


def _v1(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if any(mount.fs_type == "cgroup" and "memory" in mount.super_options for mount in host.mounts):
        words = "memory is accounted by cgroups of version 1: no memory.high, no memory.oom.group, no PSI per cgroup"
        yield Hit(Where(key="cgroup"), "cgroup", words, ("mounted: cgroup (memory)",),
                  fix=Fix("systemd.unified_cgroup_hierarchy=1 on the kernel command line"))  # fmt: skip


def _no_psi(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if "/proc/pressure/memory" not in host.texts:
        words = "pressure is not measured: neither systemd-oomd nor alerts see thrashing"
        yield Hit(Where(key="psi"), "psi", words, ("/proc/pressure/memory is not there",),
                  fix=Fix("psi=1 on the kernel command line"))  # fmt: skip


def _no_log(host: HostFacts, _: Settings) -> Iterator[Hit]:
    storage = re.search(r"^\s*Storage\s*=\s*(\w+)", host.texts.get("/etc/systemd/journald.conf", ""), re.MULTILINE)
    kept = host.places - ({"/var/log/journal"} if storage and storage[1] in {"none", "volatile"} else set())
    if not kept or (storage and storage[1] == "persistent"):
        if storage and storage[1] == "persistent":
            return
        words = "the kernel log does not survive a reboot: the report is lost when somebody resets the host"
        yield Hit(Where(key="journal"), "journal", words, ("no /var/log/journal, kern.log, messages, syslog",),
                  fix=Fix("mkdir -p /var/log/journal && systemctl restart systemd-journald", "sh"))  # fmt: skip


def _small_ring(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.snapshot is None:
        return
    given = re.search(r"\blog_buf_len=(\d+)([KMG]?)", host.texts.get("/proc/cmdline", ""))
    size = int(given[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[given[2]] if given else DEFAULT_LOG_BYTES
    size = host.log_buffer_bytes or size
    count = sum(1 for process in host.snapshot.processes if process.stat.vsize_bytes)
    need = REPORT_BYTES + count * ROW_BYTES
    if need > size:
        words = f"one OOM report needs about {need >> 10} KiB and the ring buffer holds {size >> 10}: its head is lost"
        yield Hit(Where(key="log_buf_len"), "log_buf_len", words, (f"{count} processes with memory",),
                  fix=Fix(f"log_buf_len={1 if need < 1 << 20 else 4}M on the kernel command line"))  # fmt: skip


def _competing(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.snapshot is None:
        return
    found = sorted({process.comm for process in host.snapshot.processes if process.comm in KILLERS})
    if len(found) > 1:
        words = f"{' and '.join(found)} run side by side: each may kill for the same shortage"
        yield Hit(Where(key="killers"), "userspace killers", words, (f"processes: {', '.join(found)}",),
                  fix=Fix(f"systemctl disable --now {found[0]}", "sh"))  # fmt: skip


def _protected(host: HostFacts, _: Settings) -> Iterator[Hit]:
    snapshot = host.snapshot
    if snapshot is None or not snapshot.machine.ram_pages:
        return
    page_kib, ram = snapshot.machine.page_size >> 10, snapshot.machine.ram_pages
    ranking = rank_host(snapshot, recognise(snapshot.machine, snapshot.processes))
    for process in snapshot.processes:
        adj, pages = process.oom_score_adj or 0, process.stat.rss_pages
        if adj > -900 or pages * 20 < ram:
            continue
        victim = ranking.victim
        instead = f"; {mark(victim.process.comm)} (pid {victim.process.pid}) dies in its place" if victim else ""
        name = mark(process.comm)
        words = f"{name} holds {size_words(pages * page_kib << 10)} and cannot be chosen{instead}"
        severity = Severity.HIGH if pages * 4 > ram else None
        yield Hit(Where(key=f"pid {process.pid}"), name, words, (f"oom_score_adj = {adj}",),
                  ("use -500 at most, and give what must not die a MemoryMin",),
                  Fix("[Service]\nOOMScoreAdjust=-500", "ini"), severity)  # fmt: skip


def _neighbour(host: HostFacts, _: Settings) -> Iterator[Hit]:
    snapshot = host.snapshot
    if snapshot is None or not snapshot.machine.ram_pages or not snapshot.cgroups:
        return
    page_kib = snapshot.machine.page_size >> 10
    for process in snapshot.processes:
        pages = process.stat.rss_pages
        if pages * 4 < snapshot.machine.ram_pages or process.cgroup is None:
            continue
        chain = [snapshot.cgroups[path] for path in ancestors(process.cgroup) if path in snapshot.cgroups]
        if chain and not any(isinstance(memcg.limit_bytes, int) for memcg in chain):
            mib = pages * page_kib >> 10
            name = mark(process.comm)
            words = f"{name} holds {size_words(pages * page_kib << 10)} and nothing limits it: if it grows, the whole host pays"
            yield Hit(Where(key=f"pid {process.pid}"), name, words,
                      (f"cgroup {mark(process.cgroup, Kind.CGROUP)}: no limit up to the root",), (),
                      Fix(f"[Service]\nMemoryHigh={mib * 5 // 4}M\nMemoryMax={mib * 3 // 2}M", "ini"))  # fmt: skip


def _limits_sum(host: HostFacts, _: Settings) -> Iterator[Hit]:
    snapshot = host.snapshot
    if snapshot is None or not snapshot.machine.ram_pages:
        return
    limits = ((path, memcg.limit_bytes) for path, memcg in snapshot.cgroups.items())
    limited = {path: limit for path, limit in limits if isinstance(limit, int)}
    outer = [path for path in limited if not any(above in limited for above in ancestors(path)[1:])]
    total, ram = sum(limited[path] for path in outer), snapshot.machine.ram_pages * snapshot.machine.page_size
    if total > 3 * ram // 2 and len(outer) > 1:
        words = f"limits sum to {size_words(total)}, {total * 100 // ram} % of RAM: the host runs out before they do"
        yield Hit(Where(key="limits"), "limits", words, (f"{len(outer)} cgroups with a limit of their own",))


_V1_MOUNT: Final = "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
_V2_MOUNT: Final = "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
_SCORE: Final = "mm/oom_kill.c oom_badness() (6.1 … 6.18)"

RULES: Final[tuple[Rule, ...]] = (
    _rule(118, "memory cgroups of version 1", Severity.INFO, _v1, "Version 1 is no longer developed.",
          "Without memory.high nothing slows a service down before its limit kills it.",
          "Boot with the unified hierarchy.", "Documentation/admin-guide/cgroup-v2.rst",
          "# /proc/self/mountinfo\n" + _V1_MOUNT, "# /proc/self/mountinfo\n" + _V2_MOUNT),
    _rule(119, "pressure is not measured", Severity.LOW, _no_psi, "PSI is the only direct measure of thrashing.",
          "A thrashing host answers nobody for minutes before the kernel kills.", "Boot with psi=1.",
          "Documentation/accounting/psi.rst", "# /proc/pressure/memory\n(gone)\n", "# /proc/version\nLinux\n"),
    _rule(120, "the kernel log is not kept", Severity.MEDIUM, _no_log, "The report is only in the kernel log.",
          "What cannot be explained happens again.", "Create /var/log/journal, or install rsyslog.", "journald.conf(5)",
          "# /var/log/journal\n(gone)\n", "# /var/log/journal\n\n"),
    _rule(121, "the ring buffer holds less than one report", Severity.LOW, _small_ring,
          "A host with many processes prints long reports.",
          "The first lines, who asked and which limit, are overwritten before anybody reads them.",
          "Boot with log_buf_len=1M.", "kernel/printk/printk.c, mm/oom_kill.c dump_tasks()",
          "# /proc/cmdline\nlog_buf_len=4K\n# /processes\n9 a 10 0 /a max\n",
          "# /proc/cmdline\nlog_buf_len=1M\n# /processes\n9 a 10 0 /a max\n"),
    _rule(122, "several userspace killers", Severity.MEDIUM, _competing, "Each measures and kills by itself.",
          "One shortage costs two or three processes.", "Keep one of them.", "earlyoom(1), systemd-oomd.service(8)",
          "# /processes\n9 earlyoom 5 0 /a max\n10 systemd-oomd 5 0 /b max\n", "# /processes\n9 earlyoom 5 0 /a max\n"),
    _rule(123, "a big process is protected from the OOM killer", Severity.MEDIUM, _protected,
          "Protection does not make memory; it chooses another victim.",
          "The one that fills memory stays, innocents die one after the other, at last the kernel panics.",
          "Reserve -1000 for small things one needs to log in (sshd, udevd).", _SCORE,
          "# /processes\n9 java 4000 -1000 /a max\n10 sshd 5 0 /b max\n",
          "# /processes\n9 java 4000 0 /a max\n10 sshd 5 -1000 /b max\n"),
    _rule(124, "a big process without any limit", Severity.LOW, _neighbour, "Nothing stops it before the host's end.",
          "When it grows the OOM is global, and the victim may be somebody else.",
          "Give its unit MemoryHigh and MemoryMax.", "systemd.resource-control(5)",
          "# /processes\n9 java 4000 0 /a max\n", "# /processes\n9 java 4000 0 /a 5000\n"),
    _rule(125, "limits sum far past RAM", Severity.LOW, _limits_sum, "Limits only protect while they fit together.",
          "All within their limits, the host still runs out; the victim is then chosen among all.",
          "Lower limits, or place less on this host.", "Documentation/admin-guide/cgroup-v2.rst",
          "# /processes\n9 a 10 0 /a 9000\n10 b 10 0 /b 9000\n", "# /processes\n9 a 10 0 /a 900\n10 b 10 0 /b 900\n"),
)  # fmt: skip
"""Rules OS118 to OS125."""
