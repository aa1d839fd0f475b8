"""
The objects of the JSON contract, one field table each: what a victim, a zone, a cause … is made of.

:mod:`oomsight.sinks.document` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.naming.cgroup_path import describe
from oomsight.sinks.schema import (
    BOOL,
    INT,
    LIMIT,
    NUMBER,
    SENTENCE,
    TEXT,
    Field,
    Record,
    Table,
    array,
    choice,
    field,
    mapping,
    optional,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oomsight.diagnose.model import RankedTask, ZoneCheck
    from oomsight.naming.cgroup_path import Owner
    from oomsight.report.model import Memcg, Task, Victim, Zone
    from oomsight.report.task_rows import TaskRows


class TaskTable(NamedTuple):
    """What :data:`TASK` is written from: rows, what the selection made of each, and the page size in KiB."""

    tasks: Sequence[Task]
    ranked: Sequence[RankedTask | None]
    page_kib: int

    def column(self, name: str) -> Sequence[int | None]:
        """Return the numbers of a field of the rows."""
        if (rows := _by_column(self.tasks)) is not None:  # one without a column has no values at all
            return rows.column(name) or [None] * len(rows)
        return [getattr(task, name) for task in self.tasks]


def _by_column(tasks: Sequence[Task]) -> TaskRows | None:
    """*tasks* as a table that can be read by column, if they are one."""
    if isinstance(tasks, tuple | list):
        return None
    from oomsight.report.task_rows import TaskRows  # whose room takes ten milliseconds to load, if it is not yet

    return tasks if isinstance(tasks, TaskRows) else None


class ZoneRow(NamedTuple):
    """What :data:`ZONE` is written from: a zone and its check against the failed request."""

    zone: Zone
    check: ZoneCheck | None


# --- small objects -------------------------------------------------------------------------------------------------

_LINE = optional(INT)

SOURCE: Final = Record(
    "source",
    "One source that was read.",
    field("name", TEXT, "File name, <stdin>, journal, kmsg, …"),
    field("lines", INT, "Lines read."),
    field("bytes", INT, "Bytes read, after decompression."),
    field("first_time", optional(TEXT), "Time of the first line that has one."),
    field("last_time", optional(TEXT), "Time of the last line that has one."),
    field("boots", optional(INT), "Boots seen in it."),
    field("notes", array(SENTENCE), "What could not be read, and why."),
)

SPAN: Final = Record(
    "span",
    "Where in the input the event was read.",
    field("name", TEXT, "Name of the source."),
    field("first_line", INT, "First line, counted from 1."),
    field("last_line", INT, "Last line."),
)

NOTE: Final = Record(
    "note",
    "Something odd about the text.",
    field("code", TEXT, "Stable identifier."),
    field("line", _LINE, "Line it is about."),
    field("text", SENTENCE, "In words."),
)


def _inner(owner: Owner) -> str | None:
    return owner.leaf.words if owner.nested is not None else None


OWNER: Final = Record(
    "owner",
    "Who a cgroup belongs to, as far as its path tells.",
    field("path", TEXT, "Cgroup path as printed."),
    field("kind", TEXT, "pod, container, unit, user_session, user, machine, slice, root or cgroup."),
    field("level", TEXT, "What the path itself is: container, pod, qos class, unit, slice, …"),
    field("orchestrator", optional(TEXT), "kubernetes, ecs, nomad, slurm, …"),
    field("runtime", optional(TEXT), "containerd, cri-o, docker, podman, lxc, …"),
    field("container_id", optional(TEXT), "Container id as printed."),
    field("pod_uid", optional(TEXT), "Pod uid with dashes."),
    field("qos", optional(TEXT), "guaranteed, burstable or besteffort."),
    field("unit", optional(TEXT), "systemd unit."),
    field("slice", optional(TEXT), "systemd slice."),
    field("uid", optional(INT), "User id of a user slice."),
    field("session", optional(TEXT), "Login session."),
    field("machine", optional(TEXT), "Virtual machine or system container."),
    field("words", SENTENCE, "The owner in words."),
    field("inner", optional(SENTENCE), "The innermost owner, where one system runs inside another.", _inner),
)

EVIDENCE: Final = Record(
    "evidence",
    "One fact a conclusion rests on.",
    field("text", SENTENCE, "The fact."),
    field("first_line", _LINE, "First line it was read from."),
    field("last_line", _LINE, "Last line it was read from."),
)

ADVICE: Final = Record(
    "advice",
    "One thing to change.",
    field("text", SENTENCE, "What and why."),
    field("command", optional(array(SENTENCE)), "Argument vector to run after reading; not quoted for a shell."),
    field("snippet", optional(SENTENCE), "Configuration text instead of a command."),
)

CAUSE: Final = Record(
    "cause",
    "One cause with its proof and cure; the first is the verdict.",
    field("code", TEXT, "Stable identifier."),
    field("title", SENTENCE, "In words."),
    field("confidence", choice("certain", "likely", "possible"), "How sure it is."),
    field("evidence", array(EVIDENCE.type), "What it rests on."),
    field("advice", array(ADVICE.type), "What to change."),
    field("settles", optional(SENTENCE), "What would settle a possible cause."),
)

TRIGGER: Final = Record(
    "trigger",
    "The task whose allocation failed; neither necessarily the victim nor the culprit.",
    field("comm", optional(TEXT), "Process name."),
    field("pid", optional(INT), "Process id."),
    field("uid", optional(INT), "User id."),
    field("gfp_mask", optional(INT), "Allocation flags as a number (the kernel prints it in hexadecimal)."),
    field("gfp_flags", optional(array(TEXT)), "Names of the flags: as printed, else decoded from the mask."),
    field("order", optional(INT), "2^order pages were asked for; -1 = SysRq-f."),
    field("oom_score_adj", optional(INT), "Its oom_score_adj."),
    field("oom_adj", optional(INT), "Its oom_adj (2.6 kernels)."),
    field("cpu", optional(INT), "CPU it ran on."),
    field("nodemask", optional(TEXT), "NUMA nodes the request was bound to; null = none."),
    field("cpuset", optional(TEXT), "Its cpuset."),
    field("mems_allowed", optional(TEXT), "NUMA nodes of its cpuset."),
    field("kernel_release", optional(TEXT), "Kernel release."),
    field("tainted", optional(TEXT), "Taint flags."),
    field("hardware", optional(TEXT), "Hardware name."),
    field("workqueue", optional(TEXT), "Workqueue of a kernel worker."),
    field("frames", array(TEXT), "Reliable stack frames, innermost first."),
    field("line", _LINE, "Line it was read from."),
)

REQUEST: Final = Record(
    "request",
    "The failed request in words.",
    field("size_kib", optional(INT), "Size in KiB."),
    field("words", SENTENCE, "What was asked for."),
    field("flags", array(TEXT), "Names of the allocation flags."),
    field("zone", optional(TEXT), "Highest zone the request may use."),
)


def _victim_owner(victim: Victim) -> Any:
    return describe(victim.task_memcg)


VICTIM: Final = Record(
    "victim",
    "A process the kernel killed.",
    field("pid", optional(INT), "As printed; a thread id when the leader had exited."),
    field("tgid", optional(INT), "Process id."),
    field("comm", optional(TEXT), "Process name."),
    field("uid", optional(INT), "User id."),
    field("total_vm_kib", optional(INT), "Virtual size."),
    field("anon_rss_kib", optional(INT), "Resident anonymous memory."),
    field("file_rss_kib", optional(INT), "Resident file pages."),
    field("shmem_rss_kib", optional(INT), "Resident shared memory."),
    field("pgtables_kib", optional(INT), "Page tables."),
    field("oom_score_adj", optional(INT), "Its oom_score_adj."),
    field("score", optional(INT), "Score printed by kernels up to 5.0."),
    field("task_memcg", optional(TEXT), "Cgroup it was in."),
    field("role", choice("selected", "child", "group"), "Chosen, killed for its parent, or with its cgroup."),
    field("reaped", optional(BOOL), "Freed by the OOM reaper; null = no line about it, the normal case."),
    field("reaped_left_kib", optional(INT), "Resident memory left after reaping."),
    field("owner", optional(OWNER.type), "Who its cgroup belongs to.", _victim_owner),
    field("line", _LINE, "Line of the kill."),
)

KILLED: Final = Record(
    "killed",
    "What a userspace killer ended.",
    field("pid", optional(INT), "Process id."),
    field("comm", optional(TEXT), "Process name."),
    field("cgroup", optional(TEXT), "Cgroup, when it killed one."),
    field("signal", optional(TEXT), "Signal it sent."),
    field("uid", optional(INT), "User id."),
    field("rss_kib", optional(INT), "Resident size."),
    field("reason", optional(TEXT), "Why, in the killer's words."),
    field("line", _LINE, "Line of the kill."),
)

# --- memory --------------------------------------------------------------------------------------------------------

PART: Final = Record(
    "part",
    "Refines an item; already inside it.",
    field("key", TEXT, "Stable identifier."),
    field("label", SENTENCE, "In words."),
    field("kib", INT, "Size in KiB."),
)

ITEM: Final = Record(
    "item",
    "One addend of an accounting.",
    field("key", TEXT, "Stable identifier: anon, shmem, file, slab_unreclaimable, free, unaccounted, …"),
    field("label", SENTENCE, "In words."),
    field("kib", INT, "Size in KiB."),
    field("parts", array(PART.type), "What is inside."),
    field("note", optional(SENTENCE), "How to read it."),
)

ACCOUNTING: Final = Record(
    "accounting",
    "Where the memory was. The items sum to total_kib, always.",
    field("scope", choice("host", "node", "memcg"), "What it is about."),
    field("name", SENTENCE, "host, node N or the cgroup path."),
    field("total_kib", INT, "Managed RAM, memory of the node, or usage of the cgroup."),
    field("items", array(ITEM.type), "Addends."),
    field("basis", SENTENCE, "How the total was obtained."),
    field("approximate", BOOL, "Counters contradicted each other and were fitted."),
    field("swap_total_kib", optional(INT), "Swap space."),
    field("swap_free_kib", optional(INT), "Free swap space."),
)

CGROUP_STATS: Final = Record(
    "cgroup_stats",
    "Memory statistics of one cgroup.",
    field("path", optional(TEXT), "Cgroup path."),
    field("stats_bytes", mapping(INT), "Values in bytes by the kernel's names.", lambda s: s.stats),
    field("line", _LINE, "Line of the first value."),
)


def _counter(prefix: str, counter: str) -> Iterator[Field]:
    """The three fields of one ``usage …, limit …, failcnt …`` line of the memcg block."""

    def of(name: str) -> Any:
        def get(memcg: Memcg) -> Any:
            line = getattr(memcg, counter)
            return None if line is None else getattr(line, name)

        return get

    yield field(f"{prefix}usage_kib", optional(INT), "In use.", of("usage_kib"))
    yield field(f"{prefix}limit_kib", LIMIT, "Limit; null when not printed.", of("limit_kib"))
    yield field(f"{prefix}failcnt", optional(INT), "Times the limit was hit.", of("failcnt"))


def _own_stats(memcg: Memcg) -> dict[str, int]:
    return memcg.stats[0].stats if memcg.stats else {}


MEMCG: Final = Record(
    "memcg",
    "Counters and statistics of the cgroup whose limit was hit.",
    *_counter("", "memory"),
    *_counter("swap_", "swap"),
    *_counter("memsw_", "memsw"),
    *_counter("kmem_", "kmem"),
    field("min_protection_kib", optional(INT), "memory.min (6.19+)."),
    field("low_protection_kib", optional(INT), "memory.low (6.19+)."),
    field("stats", mapping(INT), "Statistics of the cgroup itself, in bytes.", _own_stats),
    field("cgroups", array(CGROUP_STATS.type), "All of them: one on 5.3+, one per cgroup before.", lambda m: m.stats),
    field("stats_cut", BOOL, "The statistics are cut short, mostly by the kernel."),
)

BUDDY: Final = Record(
    "buddy",
    "Free blocks of one size.",
    field("count", INT, "Blocks.", lambda b: b[0]),
    field("block_kib", INT, "Size of one in KiB.", lambda b: b[1]),
    field("types", TEXT, "Migrate types as printed: U, M, E, H, C, I.", lambda b: b[2]),
)


def _zone(name: str) -> Any:
    return lambda row: getattr(row.zone, name)


def _zone_kib(name: str) -> Any:
    return lambda row: row.zone.kib.get(name)


def _check(name: str) -> Any:
    return lambda row: None if row.check is None else getattr(row.check, name)


ZONE: Final = Record(
    "zone",
    "One zone, with the watermark arithmetic for the failed request.",
    field("node", optional(INT), "NUMA node.", _zone("node")),
    field("name", TEXT, "Zone name.", _zone("name")),
    field("free_kib", optional(INT), "Free.", _zone_kib("free")),
    field("min_kib", optional(INT), "Watermark min.", _zone_kib("min")),
    field("low_kib", optional(INT), "Watermark low.", _zone_kib("low")),
    field("high_kib", optional(INT), "Watermark high.", _zone_kib("high")),
    field("managed_kib", optional(INT), "Managed by the page allocator.", _zone_kib("managed")),
    field("fields_kib", mapping(INT), "Every kB field by its printed name.", lambda row: row.zone.kib),
    field("lowmem_reserve_pages", optional(array(INT)), "Reserve against each zone.", _zone("lowmem_reserve_pages")),
    field("buddy", optional(array(BUDDY.type)), "Free blocks by size.", _zone("buddy")),
    field("all_unreclaimable", optional(BOOL), "Reclaim had given up on it.", _zone("all_unreclaimable")),
    field("eligible", optional(BOOL), "The request could have used it.", _check("eligible")),
    field("usable_kib", optional(INT), "Free minus what the request may not touch.", _check("usable_kib")),
    field("reserve_kib", optional(INT), "lowmem_reserve against this request.", _check("reserve_kib")),
    field("passes", optional(BOOL), "Usable above min and reserve.", _check("passes")),
    field("blocks", optional(INT), "Free blocks of at least the order asked for.", _check("blocks")),
    field("words", optional(SENTENCE), "In words.", _check("words")),
    field("line", _LINE, "Line of the zone.", _zone("line")),
)

# --- processes -----------------------------------------------------------------------------------------------------


def _column(name: str) -> Any:
    return lambda table: table.column(name)


def _kib(name: str) -> Any:
    def get(table: TaskTable) -> list[int | None]:
        return [None if pages is None else pages * table.page_kib for pages in table.column(name)]

    return get


def _pgtables_kib(table: TaskTable) -> list[int | None]:
    columns = [table.column(name) for name in ("pgtables_bytes", "nr_ptes", "nr_pmds")]
    return [
        size >> 10 if size is not None else None if ptes is None else (ptes + (pmds or 0)) * table.page_kib
        for size, ptes, pmds in zip(*columns, strict=True)
    ]


def _comms(table: TaskTable) -> Sequence[str]:
    rows = _by_column(table.tasks)
    return rows.names if rows is not None else [task.comm for task in table.tasks]


def _lines(table: TaskTable) -> Sequence[int | None]:
    rows = _by_column(table.tasks)
    return rows.lines if rows is not None else [task.line for task in table.tasks]


def _ranked(name: str) -> Any:
    return lambda table: [None if one is None else getattr(one, name) for one in table.ranked]


TASK: Final = Table(
    "task",
    "One row of the kernel's task table.",
    field("pid", INT, "Thread that holds the memory.", _column("pid")),
    field("tgid", INT, "Process id.", _column("tgid")),
    field("uid", INT, "User id.", _column("uid")),
    field("comm", TEXT, "Process name.", _comms),
    field("total_vm_kib", INT, "Virtual size.", _kib("total_vm_pages")),
    field("rss_kib", INT, "Resident size.", _kib("rss_pages")),
    field("rss_anon_kib", optional(INT), "Anonymous part (6.8+).", _kib("rss_anon_pages")),
    field("rss_file_kib", optional(INT), "File part (6.8+).", _kib("rss_file_pages")),
    field("rss_shmem_kib", optional(INT), "Shared part (6.8+).", _kib("rss_shmem_pages")),
    field("pgtables_kib", optional(INT), "Page tables.", _pgtables_kib),
    field("swap_kib", optional(INT), "In swap.", _kib("swapents_pages")),
    field("oom_score_adj", optional(INT), "Its oom_score_adj.", _column("oom_score_adj")),
    field("oom_adj", optional(INT), "Its oom_adj (up to 3.5).", _column("oom_adj")),
    field("badness_pages", optional(INT), "Points as the kernel computes them; null = not eligible or not known.",
          _ranked("points_pages")),
    field("rank", optional(INT), "1 = chosen; null = not eligible or not known.", _ranked("rank")),
    field("skipped", optional(SENTENCE), "Why it could not be chosen.", _ranked("skipped")),
    field("line", INT, "Line of the row.", _lines),
)  # fmt: skip

RANKED: Final = Table(
    "ranked",
    "One process as the kernel's selection saw it.",
    field("rank", optional(INT), "1 = chosen; null = not eligible."),
    field("pid", INT, "Thread that holds the memory."),
    field("tgid", INT, "Process id."),
    field("comm", TEXT, "Process name."),
    field("points_pages", optional(INT), "Badness; null = not eligible."),
    field("oom_score_adj", optional(INT), "Its oom_score_adj."),
    field("rss_kib", INT, "Resident size."),
    field("swap_kib", optional(INT), "In swap."),
    field("pgtables_kib", optional(INT), "Page tables."),
    field("adj_points_pages", optional(INT), "Share of the points that comes from oom_score_adj."),
    field("per_mille", optional(INT), "Points in thousandths of T."),
    field("skipped", optional(SENTENCE), "Why it could not be chosen."),
)

SELECTION: Final = Record(
    "selection",
    "The kernel's choice, recomputed.",
    field("rule", TEXT, "Badness era that was used."),
    field("rule_why", SENTENCE, "How the era was recognised."),
    field("total_pages", optional(INT), "T: the pages oom_score_adj is scaled by."),
    field("total_pages_from", optional(SENTENCE), "How T was obtained."),
    field("ranking", RANKED.type, "Every process, best candidate first."),
    field("margin", optional(INT), "Pages between the victim and the next process.", lambda s: s.margin_pages),
    field("explained", BOOL, "The recomputed first is the one the kernel chose."),
    field("reason", optional(SENTENCE), "Why it is not."),
    field("why", SENTENCE, "Why this process, in words."),
)

CONSUMER: Final = Record(
    "consumer",
    "Who or what held memory.",
    field("kind", choice("process", "name", "user", "cgroup", "kernel", "shared"), "What the name names."),
    field("name", TEXT, "Raw name."),
    field("kib", INT, "Resident memory, swap and page tables."),
    field("share_pct", optional(NUMBER), "Of the limit or of managed RAM."),
    field("count", INT, "Processes in it."),
    field("pids", array(INT), "Their ids."),
    field("is_victim", BOOL, "The kernel killed it, or one of it."),
    field("note", optional(SENTENCE), "How to read the size."),
)

ANSWERS: Final = Record(
    "answers",
    "The three questions, in sentences.",
    field("what_used_too_much", array(SENTENCE), "What used too much memory?"),
    field("why_it_grew", array(SENTENCE), "Why did it grow?"),
    field("why_nothing_stopped_it", array(SENTENCE), "Why did nothing stop it earlier?"),
)
