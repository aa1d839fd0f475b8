"""Small kernel logs of invented events, in several carriers, and sources that yield them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from oomsight.sources.errors import SourceError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def event(pid: int, comm: str = "java", cgroup: str = "/system.slice/app.service", anon_kib: int = 50_000) -> list[str]:
    """The kernel's messages about one kill in a memory cgroup."""
    pages = anon_kib // 4
    return [
        f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        f"CPU: 0 UID: 0 PID: {pid} Comm: {comm} Not tainted 6.12.107 #1",
        "memory: usage 102400kB, limit 102400kB, failcnt 33",
        "swap: usage 0kB, limit 0kB, failcnt 0",
        f"Memory cgroup stats for {cgroup}:",
        f"anon {anon_kib * 1024}",
        "file 0",
        "Tasks state (memory values in pages):",
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        f"[{pid:7d}]     0 {pid:5d} {2 * pages:8d} {pages:8d} {pages:8d}        0         0   118784        0             0 {comm}",
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={cgroup},"
        f"task_memcg={cgroup},task={comm},pid={pid},uid=0",
        f"Memory cgroup out of memory: Killed process {pid} ({comm}) total-vm:{8 * pages}kB, anon-rss:{anon_kib}kB,"
        " file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:116kB oom_score_adj:0",
    ]


def dmesg(messages: list[str], uptime: float) -> str:
    """As ``dmesg`` prints them: no date."""
    return "".join(f"[{uptime + i / 1000:12.6f}] {line}\n" for i, line in enumerate(messages))


def syslog(messages: list[str], moment: datetime, uptime: float | None = None, host: str = "web") -> str:
    """As rsyslog writes them: no year, no zone; the printk clock where *uptime* is given."""
    head = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} {host} kernel: "
    clock = (lambda i: "") if uptime is None else (lambda i: f"[{uptime + i / 1000:12.6f}] ")
    return "".join(f"{head}{clock(i)}{line}\n" for i, line in enumerate(messages))


def iso(messages: list[str], moment: datetime, uptime: float | None = None) -> str:
    """As ``journalctl -o short-iso`` prints them: date with zone."""
    head = f"{moment.isoformat(timespec='seconds')} web kernel: "
    clock = "" if uptime is None else f"[{uptime:12.6f}] "
    return "".join(f"{head}{clock}{line}\n" for line in messages)


def export(messages: list[str], moment: datetime, uptime: float) -> str:
    """As ``journalctl -o export`` writes them: every field of an entry on a line of its own."""
    usec, clock = int(moment.timestamp() * 1_000_000), round(uptime * 1_000_000)
    return "".join(
        f"__CURSOR=s=1;i={i}\n__REALTIME_TIMESTAMP={usec + i}\n__MONOTONIC_TIMESTAMP={clock + i}\n"
        f"_SOURCE_MONOTONIC_TIMESTAMP={clock + i}\n_TRANSPORT=kernel\nPRIORITY=4\nSYSLOG_IDENTIFIER=kernel\n"
        f"MESSAGE={line}\n_HOSTNAME=web\n\n"
        for i, line in enumerate(messages)
    )


def ago(**span: float) -> datetime:
    """The moment that long before :data:`NOW`."""
    return NOW - timedelta(**span)


@dataclass
class Text:
    """A source of bytes in memory; with *breaks* it fails at its end, with *absent* at once."""

    data: str | bytes
    name: str = "kern.log"
    breaks: bool = False
    absent: bool = False
    block: int = 65_536
    kind: str = "file"
    follows: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int | None:
        """Its size."""
        return len(self.data)

    def blocks(self, progress=None) -> Iterator[bytes]:
        """Its bytes, in blocks."""
        if self.absent:
            raise SourceError(self.name, "permission denied", "sudo")
        data = self.data.encode() if isinstance(self.data, str) else self.data
        for at in range(0, len(data), self.block):
            yield data[at : at + self.block]
            if progress:
                progress(at)
        if self.breaks:
            raise SourceError(self.name, "input/output error")
