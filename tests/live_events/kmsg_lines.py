"""Records as /dev/kmsg gives them: shapes of kernel 6.18, cut to what the tests need."""

from __future__ import annotations

from oomsight.live.events import LogRecord

BOOT = "0f" * 16
SIZES = "total-vm:49336kB, anon-rss:7936kB, file-rss:6556kB, shmem-rss:0kB, UID:0 pgtables:80kB oom_score_adj:0"


class Log:
    """Makes records with rising sequence numbers and times."""

    def __init__(self, seq: int = 100, us: int = 5_000_000) -> None:
        self.seq, self.us = seq, us

    def line(self, text: str, *, level: int = 4, gap_us: int = 10, facility: int = 0, boot: str = BOOT) -> LogRecord:
        self.seq += 1
        self.us += gap_us
        prio = facility * 8 + level
        raw = f"{prio},{self.seq},{self.us},-;{text}\n".encode("utf-8", "surrogateescape")
        killer = bool(facility) and text.startswith("oomd kill: ")
        return LogRecord(raw, text, "/dev/kmsg", self.seq, self.us, boot, facility == 0, killer)

    def report(self, pid: int = 7, comm: str = "python3", memcg: str = "/app", rows: int = 1) -> list[LogRecord]:
        """A memcg report without its kill line."""
        texts = [
            f"{comm} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
            f"CPU: 1 UID: 0 PID: {pid} Comm: {comm} Not tainted 6.18.44 #1 PREEMPT(none) ",
            "Call Trace:", " dump_stack_lvl+0x57/0x80", " dump_header+0x43/0x1c0", " mem_cgroup_out_of_memory+0xc0/0x110",
            "memory: usage 8192kB, limit 8192kB, failcnt 250", f"Memory cgroup stats for {memcg}:", "rss 8208384",
            "Tasks state (memory values in pages):",
            "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        ]  # fmt: skip
        texts += [
            f"[{pid + i:7d}]     0 {pid + i:5d}    12334     3623     1984     1639         0    81920        0             0 {comm}"
            for i in range(rows)
        ]
        texts.append(
            f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={memcg},"
            f"task_memcg={memcg},task={comm},pid={pid},uid=0"
        )
        return [self.line(text) for text in texts]

    def kill(self, pid: int = 7, comm: str = "python3", *, gap_us: int = 10) -> LogRecord:
        text = f"Memory cgroup out of memory: Killed process {pid} ({comm}) {SIZES}"
        return self.line(text, level=3, gap_us=gap_us)

    def group(self, memcg: str = "/app") -> LogRecord:
        return self.line(f"Tasks in {memcg} are going to be killed due to memory.oom.group set")

    def reaper(self, pid: int, comm: str = "python3", *, gap_us: int = 100_000) -> LogRecord:
        text = f"oom_reaper: reaped process {pid} ({comm}), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"
        return self.line(text, gap_us=gap_us)
