"""A cgroup OOM report of a 6.12 kernel in our own hand, with any names and numbers in its places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Written:
    """What the report says. Numbers are consistent: pages of 4 KiB, the victim is the bigger of two tasks."""

    victim: str = "worker"
    trigger: str = "asker"
    oom_memcg: str = "/app.slice"
    task_memcg: str = "/app.slice/web.service"
    pid: int = 4242
    uid: int = 1000
    adj: int = 0
    rss_pages: int = 14_000
    cpuset: str = "web.service"

    def lines(self) -> list[str]:
        """The kernel's messages, raw, one record each."""
        kib = self.rss_pages * 4
        return [
            f"{self.trigger} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=100",
            f"CPU: 1 UID: 1001 PID: 4300 Comm: {self.trigger} Not tainted 6.12.9-test #1",
            "Hardware name: Paper Machine",
            "Call Trace:",
            " <TASK>",
            " dump_header+0x4a/0x220",
            " mem_cgroup_out_of_memory+0x12b/0x150",
            " </TASK>",
            f"memory: usage {kib + 4096}kB, limit {kib + 4096}kB, failcnt 71",
            "swap: usage 0kB, limit 9007199254740988kB, failcnt 0",
            f"Memory cgroup stats for {self.oom_memcg}:",
            f"anon {kib * 1024}",
            "file 0",
            "pgfault 31337",
            "Tasks state (memory values in pages):",
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
            f"[{self.pid:7d}] {self.uid:5d} {self.pid:5d} {self.rss_pages + 500:8d} {self.rss_pages:8d} {self.rss_pages:8d}"
            f" {0:8d} {0:9d} {151552:8d} {0:8d} {self.adj:13d} {self.victim}",
            f"[   4300]  1001  4300      900      700      700        0         0    45056        0           100 {self.trigger}",
            f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={self.cpuset},mems_allowed=0,"
            f"oom_memcg={self.oom_memcg},task_memcg={self.task_memcg},task={self.victim},pid={self.pid},uid={self.uid}",
            f"Memory cgroup out of memory: Killed process {self.pid} ({self.victim}) total-vm:{kib + 2000}kB,"
            f" anon-rss:{kib}kB, file-rss:0kB, shmem-rss:0kB, UID:{self.uid} pgtables:148kB oom_score_adj:{self.adj}",
        ]  # fmt: skip


def escaped(raw: str) -> str:
    """As /dev/kmsg shows a record: bytes below 32 or above 126 and the backslash as ``\\xHH``."""
    data = raw.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if 32 <= b < 127 and b != 0x5C else f"\\x{b:02x}" for b in data)


def kmsg(lines: Iterable[str]) -> bytes:
    """The records as read from /dev/kmsg."""
    return "".join(f"4,{500 + i},{17_000_000 + i},-;{escaped(line)}\n" for i, line in enumerate(lines)).encode()


def console(lines: Iterable[str]) -> bytes:
    """The records as a serial console gets them: raw bytes, each line of a record with the clock."""
    out = b""
    for i, line in enumerate(lines):
        for piece in line.encode("utf-8", "surrogateescape").split(b"\n"):
            out += f"[   17.{i:06d}] ".encode() + piece + b"\n"
    return out


def journal(lines: Iterable[str]) -> bytes:
    """The records as ``journalctl -o json`` writes them: byte arrays where they are not clean UTF-8."""
    import json

    out = []
    for i, line in enumerate(lines):
        clean = line.isprintable()
        message: object = line if clean else list(line.encode("utf-8", "surrogateescape"))
        out.append(json.dumps({
            "__REALTIME_TIMESTAMP": str(1_795_431_940_000_000 + i), "_TRANSPORT": "kernel", "_HOSTNAME": "db1",
            "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": str(17_000_000 + i), "MESSAGE": message,
        }))  # fmt: skip
    return ("\n".join(out) + "\n").encode()
