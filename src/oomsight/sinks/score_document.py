"""The JSON document of ``score``, written and described from the same tables; units and ``null`` as everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.kernel.badness import per_mille
from oomsight.naming.cgroup_path import describe
from oomsight.sinks import schema
from oomsight.sinks.records import OWNER
from oomsight.sinks.schema import (
    BOOL,
    INT,
    LIMIT,
    NUMBER,
    SENTENCE,
    TEXT,
    Record,
    array,
    choice,
    constant,
    field,
    mapping,
    optional,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.proc.process import SmapsRollup
    from oomsight.score.answer import Answer, Detail
    from oomsight.score.factors import Factors
    from oomsight.score.limits import LimitedCgroup
    from oomsight.score.model import Machine, Ranked, Ranking

SCHEMA_ID: Final = "oomsight.score/1"


class ProcessRow(NamedTuple):
    """What :data:`PROCESS` is written from."""

    row: Ranked
    ranking: Ranking
    page_kib: int
    pss: SmapsRollup | None


def _stat(name: str) -> Any:
    return lambda r: getattr(r.row.process.stat, name)


def _status(name: str) -> Any:
    return lambda r: getattr(r.row.process.status, name)


def _process(name: str) -> Any:
    return lambda r: getattr(r.row.process, name)


def _ranked(name: str) -> Any:
    return lambda r: getattr(r.row, name)


def _share(r: ProcessRow) -> int | None:
    if r.row.points is None:
        return None
    return per_mille(r.row.points, r.ranking.total.pages) if r.ranking.rules.rule.unit == "pages" else r.row.points


PROCESS: Final = Record(
    "process",
    "One process as the OOM killer sees it.",
    field("rank", optional(INT), "1 = dies first; null = never chosen.", _ranked("rank")),
    field("pid", INT, "Process id.", _process("pid")),
    field("comm", TEXT, "Name in the kernel, raw.", _process("comm")),
    field("state", TEXT, "R, S, D, T, Z, …", _stat("state")),
    field("threads", INT, "Threads.", _stat("num_threads")),
    field("uid", optional(INT), "Real user id.", _status("uid")),
    field("cgroup", optional(TEXT), "Cgroup its memory is charged to.", _process("cgroup")),
    field("owner", optional(OWNER.type), "Whose cgroup that is.", lambda r: describe(r.row.process.cgroup)),
    field("rss_kib", INT, "Resident, as badness counts it.", lambda r: r.row.rss_pages * r.page_kib),
    field("rss_anon_kib", optional(INT), "Anonymous part (4.5+).", _status("rss_anon_kib")),
    field("rss_file_kib", optional(INT), "Mapped files (4.5+).", _status("rss_file_kib")),
    field("rss_shmem_kib", optional(INT), "Shared memory and tmpfs (4.5+).", _status("rss_shmem_kib")),
    field("swap_kib", optional(INT), "Swapped out.", _status("vm_swap_kib")),
    field("pgtables_kib", INT, "Page tables.", lambda r: r.row.pgtables_pages * r.page_kib),
    field("hugetlb_kib", optional(INT), "Huge pages, which badness does not count.", _status("hugetlb_kib")),
    field("locked_kib", optional(INT), "Locked in memory.", _status("vm_lck_kib")),
    field("pss_kib", optional(INT), "Proportional set size; null = not asked for or no right.",
          lambda r: r.pss.pss_kib if r.pss else None),
    field("swap_pss_kib", optional(INT), "Proportional swap.", lambda r: r.pss.swap_pss_kib if r.pss else None),
    field("oom_score_adj", optional(INT), "-1000 … 1000.", _process("oom_score_adj")),
    field("oom_score", optional(INT), "What /proc showed.", _process("oom_score")),
    field("points", optional(INT), "Badness, in the unit of the rule; null = never chosen.", _ranked("points")),
    field("adj_points", INT, "The part oom_score_adj makes of it.", _ranked("adj_points")),
    field("error_pages", INT, "How far the kernel's counters may be off, either way.", _ranked("error_pages")),
    field("per_mille", optional(INT), "Share of T.", _share),
    field("skipped", optional(TEXT), "Why it is never chosen.", _ranked("skipped")),
)  # fmt: skip

KILL: Final = Record(
    "kill",
    "One process that would get SIGKILL.",
    field("pid", INT, "Process id."),
    field("role", TEXT, "selected, child, shared, group or allocating."),
    field("logged", BOOL, "Whether the kernel would print a line about it."),
)

PREDICTION: Final = Record(
    "prediction",
    "What the OOM would come to.",
    field("outcome", choice("killed", "aborted", "exiting", "no_killable", "panic", "waits"), "How it would end."),
    field("kills", array(KILL.type), "Everybody who would die."),
    field("remarks", array(SENTENCE), "What changes the picture."),
)

HOST: Final = Record(
    "host",
    "The machine.",
    field("ram_kib", INT, "MemTotal.", lambda m: _kib(m, m.ram_pages)),
    field("available_kib", optional(INT), "MemAvailable.", lambda m: _kib(m, m.available_pages)),
    field("swap_total_kib", INT, "SwapTotal.", lambda m: _kib(m, m.swap_pages)),
    field("swap_free_kib", optional(INT), "SwapFree.", lambda m: _kib(m, m.swap_free_pages)),
    field("page_size_bytes", INT, "Page size.", lambda m: m.page_size),
    field("cpus", optional(INT), "Online CPUs."),
    field("release", optional(TEXT), "Kernel release."),
    field("swappiness", optional(INT), "vm.swappiness."),
    field("panic_on_oom", INT, "vm.panic_on_oom."),
    field("oom_kill_allocating_task", BOOL, "vm.oom_kill_allocating_task."),
)

RULE: Final = Record(
    "rule",
    "The kernel's formula and how well it reproduces this machine.",
    field("name", TEXT, "First kernel that has it.", lambda r: r.rule.name),
    field("words", TEXT, "The formula.", lambda r: r.rule.words),
    field("unit", choice("points", "per_mille", "pages"), "Unit of points.", lambda r: r.rule.unit),
    field("source", TEXT, "Kernel source.", lambda r: r.rule.source),
    field("recognised_by", SENTENCE, "How it was recognised.", lambda r: r.words),
    field("counters", TEXT, "How this kernel counts pages.", lambda r: r.era.words),
    field("compared", INT, "Processes whose /proc/PID/oom_score could be compared."),
    field("matched", INT, "Of those, how many it reproduces."),
)


def _kib(machine: Machine, pages: int | None) -> int | None:
    return None if pages is None else pages * (machine.page_size >> 10)


def _limit_kib(value: int | str | None) -> int | str | None:
    return value >> 10 if isinstance(value, int) else value


def _memcg(name: str) -> Any:
    return lambda c: _limit_kib(getattr(c.cgroup.memcg, name))


class CgroupRow(NamedTuple):
    """What :data:`CGROUP` is written from."""

    cgroup: LimitedCgroup
    machine: Machine


def _victim(c: CgroupRow) -> ProcessRow | None:
    ranking = c.cgroup.ranking
    return None if ranking.victim is None else ProcessRow(ranking.victim, ranking, c.machine.page_size >> 10, None)


CGROUP: Final = Record(
    "cgroup",
    "One cgroup with a memory limit, its descendants included.",
    field("path", TEXT, "Path in its hierarchy.", lambda c: c.cgroup.memcg.path),
    field("owner", optional(OWNER.type), "Whose it is.", lambda c: describe(c.cgroup.memcg.path)),
    field("version", INT, "Cgroup version.", lambda c: c.cgroup.memcg.version),
    field("limit_kib", LIMIT, "Its limit.", _memcg("limit_bytes")),
    field("high_kib", LIMIT, "memory.high (v2).", _memcg("high_bytes")),
    field("usage_kib", optional(INT), "Charged now, page cache included.", _memcg("usage_bytes")),
    field("working_set_kib", optional(INT), "Usage without inactive page cache.", _memcg("working_set_bytes")),
    field("page_cache_kib", optional(INT), "Droppable page cache.", _memcg("page_cache_bytes")),
    field("need_kib", optional(INT), "Usage without page cache.", _memcg("need_bytes")),
    field("headroom_kib", optional(INT), "Limit less need.", lambda c: c.cgroup.headroom_kib),
    field("full_pct", optional(NUMBER), "Need as a percentage of the limit.", lambda c: c.cgroup.full_pct),
    field("swap_room_kib", optional(INT), "What it could still swap out.", lambda c: c.cgroup.swap_room_kib(c.machine)),
    field("swap_limit_kib", LIMIT, "memory.swap.max (v2).", _memcg("swap_limit_bytes")),
    field("memsw_limit_kib", LIMIT, "Limit of memory and swap together (v1).", _memcg("memsw_limit_bytes")),
    field("oom_group", optional(BOOL), "All die together (v2).", lambda c: c.cgroup.memcg.oom_group),
    field("oom_kill_disable", optional(BOOL), "Nobody dies, tasks wait (v1).",
          lambda c: c.cgroup.memcg.oom_kill_disable),
    field("oom_kills", optional(INT), "Processes killed in it so far.", lambda c: c.cgroup.memcg.oom_kills),
    field("processes", INT, "Processes in it.", lambda c: c.cgroup.processes),
    field("total_pages", INT, "T of its OOM.", lambda c: c.cgroup.ranking.total.pages),
    field("victim", optional(PROCESS.type), "Who would die.", _victim),
    field("rivals", array(INT), "Pids that could die instead within the counters' error.",
          lambda c: [row.process.pid for row in c.cgroup.ranking.rivals]),
)  # fmt: skip

MOVE: Final = Record(
    "move",
    "What a span of oom_score_adj would make of the process.",
    field("first_adj", INT, "First value of the span."),
    field("last_adj", INT, "Last value."),
    field("rank", optional(INT), "The rank it gives; null = never chosen."),
    field("ahead_of", optional(INT), "Pid it would die before; null = nobody."),
)

FACTORS: Final = Record(
    "factors",
    "One process in one OOM, factor by factor.",
    field("scope", choice("host", "cgroup"), "What runs out.", lambda f: f.ranking.scope),
    field("cgroup", optional(TEXT), "The cgroup that does.", lambda f: _scope_path(f.ranking)),
    field("rank", optional(INT), "1 = dies first.", lambda f: f.row.rank),
    field("of", INT, "Processes that could be chosen.", lambda f: len(f.ranking.rows)),
    field("skipped", optional(TEXT), "Why it is never chosen.", lambda f: f.row.skipped),
    field("total_pages", INT, "T.", lambda f: f.ranking.total.pages),
    field("points", optional(INT), "Badness.", lambda f: f.points.total if f.points else None),
    field("per_mille", optional(INT), "Share of T."),
    field("terms", mapping(INT), "Addends of the points by the kernel's names.",
          lambda f: {term.name: term.points for term in f.points.terms} if f.points else {}),
    field("oom_score", optional(INT), "What /proc should show."),
    field("adj_works", BOOL, "False = T is below 1000 pages and only -1000 has an effect."),
    field("moves", array(MOVE.type), "What oom_score_adj would do."),
)  # fmt: skip


def _scope_path(ranking: Ranking) -> str | None:
    return ranking.path if ranking.scope == "cgroup" else None


def _all_factors(detail: Detail) -> list[Factors]:
    return [detail.host, *detail.cgroups]


DETAIL: Final = Record(
    "detail",
    "One process in every OOM that could reach it.",
    field("pid", INT, "Process id.", lambda d: d.host.row.process.pid),
    field("comm", TEXT, "Name.", lambda d: d.host.row.process.comm),
    field("ooms", array(FACTORS.type), "The host's first, then each limited cgroup above it.", _all_factors),
)

UNSEEN: Final = Record(
    "unseen",
    "Something that could not be seen.",
    field("what", TEXT, "What."),
    field("right", optional(TEXT), "The right that would show it."),
)


def process_rows(rows: Sequence[Ranked], answer: Answer) -> list[ProcessRow]:
    """Return *rows* of the answer's ranking with what their records need."""
    page_kib, pss, ranking = answer.snapshot.machine.page_size >> 10, answer.pss or {}, answer.ranking
    assert ranking is not None
    return [ProcessRow(row, ranking, page_kib, pss.get(row.process.pid)) for row in rows]


RANKING: Final = Record(
    "ranking",
    "Everybody one OOM would look at.",
    field("scope", choice("host", "cgroup"), "What runs out.", lambda a: a.ranking.scope),
    field("cgroup", optional(TEXT), "The cgroup that does.", lambda a: _scope_path(a.ranking)),
    field("asked_cgroup", optional(TEXT), "The cgroup asked for, if it has no limit of its own."),
    field("total_pages", INT, "T.", lambda a: a.ranking.total.pages),
    field("total_from", TEXT, "How T came about.", lambda a: a.ranking.total.how),
    field("victim", optional(INT), "Pid that would die.", lambda a: a.ranking.victim and a.ranking.victim.process.pid),
    field("margin", optional(INT), "Points to the next; 0 = a tie.", lambda a: a.ranking.margin_pages),
    field("rivals", array(INT), "Pids that could die instead within the counters' error.",
          lambda a: [row.process.pid for row in a.ranking.rivals]),
    field("prediction", optional(PREDICTION.type), "What it would come to."),
    field("count", INT, "Processes that could be chosen, shown or not.", lambda a: len(a.ranking.rows)),
    field("processes", array(PROCESS.type), "Those that could be chosen, first to die first.",
          lambda a: process_rows(a.ranking.rows[: a.limit], a)),
    field("exempt", array(PROCESS.type), "Those that never are, biggest first; without kernel threads.",
          lambda a: process_rows(a.ranking.exempt[: a.limit], a)),
)  # fmt: skip


class _Document(NamedTuple):
    version: str
    answer: Answer


DOCUMENT: Final = Record(
    "document",
    "One answer of oomsight score.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "Version that wrote it.", lambda d: d.version),
    field("host", HOST.type, "The machine.", lambda d: d.answer.snapshot.machine),
    field("rule", RULE.type, "The kernel's formula.", lambda d: d.answer.rules),
    field("ranking", optional(RANKING.type), "Who would die.", lambda d: d.answer if d.answer.ranking else None),
    field("cgroups", optional(array(CGROUP.type)), "Limited cgroups, fullest first.", lambda d: cgroup_rows(d.answer)),
    field("details", array(DETAIL.type), "Processes asked for.", lambda d: d.answer.details),
    field("unseen", array(UNSEEN.type), "What could not be seen.", lambda d: d.answer.unseen),
)


def cgroup_rows(answer: Answer) -> list[CgroupRow] | None:
    """Return the limited cgroups to show; ``None`` = not asked for."""
    if answer.cgroups is None:
        return None
    return [CgroupRow(cgroup, answer.snapshot.machine) for cgroup in answer.cgroups[: answer.limit]]


def score_document(version: str, answer: Answer) -> dict[str, Any]:
    """Return the answer as the JSON object of the contract, every key present."""
    return DOCUMENT.write(_Document(version, answer))


def score_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`score_document`, generated from the tables above."""
    return schema.json_schema(DOCUMENT, SCHEMA_ID, "oomsight score --format json")


def score_json(version: str, answer: Answer, *, indent: int | None = 2) -> str:
    """Return the document as JSON text ending in a newline. Pure ASCII: odd bytes are ``\\udcXX``."""
    import json

    return json.dumps(score_document(version, answer), indent=indent) + "\n"
