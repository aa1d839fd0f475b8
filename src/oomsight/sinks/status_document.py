"""The JSON document of ``status``, written and described from the same tables; units and ``null`` as everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from oomsight.naming.cgroup_path import describe
from oomsight.sinks import schema
from oomsight.sinks.schema import (
    BOOL,
    INT,
    LIMIT,
    NUMBER,
    SENTENCE,
    TEXT,
    Field,
    Record,
    array,
    choice,
    constant,
    field,
    mapping,
    optional,
)
from oomsight.sinks.status_blocks import verdict

SCHEMA_ID: Final = "oomsight.status/1"


def _memcg(name: str) -> Any:
    return lambda one: getattr(one.cgroup.memcg, name)


def _memory(name: str) -> Any:
    return lambda status: getattr(status.look.memory, name)


def _owner_words(cgroup: str | None) -> str | None:
    owner = describe(cgroup)
    return owner.words if owner is not None and owner.kind != "root" else None


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


PART: Final = Record(
    "part", "One addend of the RAM.",
    field("key", TEXT, "Which, as in the accounting of explain."),
    field("label", TEXT, "What it is."),
    field("kib", INT, "KiB."),
)  # fmt: skip
ACCOUNTING: Final = Record(
    "accounting", "Where the RAM is: the parts sum to the total, the last is the remainder (unaccounted).",
    field("total_kib", INT, "MemTotal, KiB."),
    field("parts", array(PART.type), "Every page in exactly one of them."),
    field("approximate", BOOL, "The lines of meminfo contradicted each other by a little."),
)  # fmt: skip
STALL: Final = Record(
    "stall", "One line of pressure stall information.",
    field("avg10_pct", NUMBER, "Share of the last 10 s."),
    field("avg60_pct", NUMBER, "Share of the last minute."),
    field("avg300_pct", NUMBER, "Share of the last 5 minutes."),
    field("total_us", INT, "Microseconds since boot."),
)  # fmt: skip
HOLDER: Final = Record(
    "holder", "A process, or all of one name in one cgroup.",
    field("name", TEXT, "Process name."),
    field("pid", optional(INT), "Process id; null = several."),
    field("processes", INT, "How many."),
    field("cgroup", optional(TEXT), "Path of its memory cgroup."),
    field("owner", optional(SENTENCE), "Whose that is, in words.", lambda h: _owner_words(h.cgroup)),
    field("need_kib", INT, "Anonymous, shared, swapped out and page tables, KiB: what only its end would free."),
    field("swap_kib", INT, "Of it in swap, KiB."),
    field("kib_per_second", optional(NUMBER), "Growth between the two looks; null = none seen, or not compared."),
)  # fmt: skip
GROWER: Final = Record(
    "grower", "Who has grown between the two looks.",
    field("kind", choice("process", "name"), "One process, or all of that name."),
    field("name", TEXT, "Process name."),
    field("pid", optional(INT), "Process id; null = several."),
    field("processes", INT, "How many."),
    field("cgroup", optional(TEXT), "Path of its memory cgroup; null = not known, or several."),
    field("need_kib", INT, "What it holds, KiB."),
    field("grown_kib", INT, "By how much it grew, KiB."),
    field("kib_per_second", NUMBER, "Per second."),
)  # fmt: skip
LIMITED: Final = Record(
    "limited", "A cgroup with a memory limit and processes.",
    field("path", TEXT, "Path of the cgroup.", _memcg("path")),
    field("owner", optional(SENTENCE), "Whose it is, in words.", lambda one: _owner_words(one.cgroup.memcg.path)),
    field("limit_bytes", LIMIT, "memory.max; v1 memory.limit_in_bytes.", _memcg("limit_bytes")),
    field("high_bytes", LIMIT, "memory.high.", _memcg("high_bytes")),
    field("usage_bytes", optional(INT), "Charged to it, page cache included.", _memcg("usage_bytes")),
    field("need_bytes", optional(INT), "Usage without page cache.", _memcg("need_bytes")),
    field("working_set_bytes", optional(INT), "Usage without inactive page cache, as cAdvisor and kubelet count.",
          _memcg("working_set_bytes")),
    field("page_cache_bytes", optional(INT), "What files in it can give back.", _memcg("page_cache_bytes")),
    field("headroom_bytes", optional(INT), "What may still be needed until the limit kills.", _memcg("headroom_bytes")),
    field("full_pct", optional(NUMBER), "Need as a share of the limit.", lambda one: one.cgroup.full_pct),
    field("oom_kills", optional(INT), "Processes killed in it so far.", _memcg("oom_kills")),
    field("bytes_per_second", optional(NUMBER), "Change of the need between the two looks; null = not compared."),
    field("time_left_seconds", optional(NUMBER), "Until the limit at that rate; null = it does not grow."),
    field("processes", INT, "In it and below.", lambda one: one.cgroup.processes),
    field("victim", optional(TEXT), "Name of who would die there first; null = nobody can.",
          lambda one: one.cgroup.ranking.victim and one.cgroup.ranking.victim.process.comm),
    field("victim_pid", optional(INT), "Its pid.",
          lambda one: one.cgroup.ranking.victim and one.cgroup.ranking.victim.process.pid),
)  # fmt: skip


class _Victim:
    """What :data:`VICTIM` is written from."""

    def __init__(self, status: Any) -> None:
        self.row, self.ranking = status.ranking.victim, status.ranking
        self.page_kib = status.look.snapshot.machine.page_size >> 10


def _pages(get: Any) -> Any:
    return lambda victim: get(victim) * victim.page_kib


VICTIM: Final = Record(
    "victim", "Who would die if the host ran out of memory now (see `oomsight score`).",
    field("pid", INT, "Process id.", lambda v: v.row.process.pid),
    field("comm", TEXT, "Process name.", lambda v: v.row.process.comm),
    field("cgroup", optional(TEXT), "Path of its memory cgroup.", lambda v: v.row.process.cgroup),
    field("oom_score_adj", optional(INT), "Its oom_score_adj.", lambda v: v.row.process.oom_score_adj),
    field("memory_kib", INT, "Resident, swapped out and page tables, KiB.",
          _pages(lambda v: v.row.rss_pages + v.row.swap_pages + v.row.pgtables_pages)),
    field("points", INT, "Badness.", lambda v: v.row.points),
    field("margin_points", optional(INT), "Points ahead of the next; null = there is no next.",
          lambda v: v.ranking.margin_pages),
)  # fmt: skip
FORECAST: Final = Record(
    "forecast", "When something will be full.",
    field("subject", TEXT, "host, or the path of a cgroup."),
    field("seconds", NUMBER, "From now."),
    field("low_seconds", NUMBER, "Lower end of the 80 % interval."),
    field("high_seconds", optional(NUMBER), "Upper end of the 80 % interval; null = perhaps never."),
    field("cause", optional(TEXT), "Name of who grows most in it."),
    field("cause_pid", optional(INT), "Its pid; null = several processes."),
    field("method", TEXT, "How it was found."),
)  # fmt: skip
ALERT: Final = Record(
    "alert", "Something that is wrong now.",
    field("subject", TEXT, "host, or the path of a cgroup."),
    field("severity", choice("warning", "critical"), "How bad."),
    field("text", SENTENCE, "In words."),
    field("since", optional(TEXT), "ISO 8601; null = seen in this look, nobody watched before.",
          lambda a: None if a.since is None else _time(a.since)),
    field("codes", array(TEXT), "Codes of the alarms."),
)  # fmt: skip
HURT: Final = Record(
    "hurt", "A setting that will hurt when memory runs out.",
    field("code", TEXT, "Which."),
    field("weight", choice("bad", "warn", "note"), "How much."),
    field("text", TEXT, "What is, and what it means."),
    field("cure", TEXT, "What to do."),
)  # fmt: skip
LAST: Final = Record(
    "last_incident", "The newest incident in the agent's store.",
    field("id", TEXT, "Its id, for `oomsight incidents show`."),
    field("time", TEXT, "ISO 8601.", lambda last: _time(last.at)),
    field("headline", SENTENCE, "What happened."),
    field("kills", INT, "Processes the kernel killed."),
)  # fmt: skip
UNSEEN: Final = Record(
    "unseen", "What could not be read.",
    field("what", TEXT, "What."),
    field("right", optional(TEXT), "The right that would show it."),
)  # fmt: skip

_STALLS: Final = Record(
    "pressure", "Pressure of one resource; null = this kernel has no such line.",
    field("some", optional(STALL.type), "Some task waits.", lambda lines: lines.get("some")),
    field("full", optional(STALL.type), "All tasks wait.", lambda lines: lines.get("full")),
)  # fmt: skip


def _stall(resource: str) -> Field:
    return field(f"{resource}_pressure", optional(_STALLS.type), f"/proc/pressure/{resource}; null = no PSI.",
                 lambda status: status.look.pressure.get(resource))  # fmt: skip


STATUS: Final = Record(
    "status", "The state of a machine's memory.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("time", TEXT, "When it was read, ISO 8601.", lambda s: _time(s.look.at)),
    field("verdict", SENTENCE, "The state in one sentence.", verdict),
    field("mem_total_kib", optional(INT), "MemTotal.", _memory("mem_total_kib")),
    field("mem_available_kib", optional(INT), "MemAvailable: what can be had without swapping.",
          _memory("mem_available_kib")),
    field("need_kib", optional(INT), "MemTotal - MemAvailable."),
    field("droppable_kib", optional(INT), "Page cache on the LRU lists, which files give back."),
    field("dirty_kib", optional(INT), "Of it, to be written first."),
    field("available_kib_per_second", optional(NUMBER), "Change of MemAvailable between the two looks."),
    field("swap_total_kib", optional(INT), "SwapTotal.", _memory("swap_total_kib")),
    field("swap_free_kib", optional(INT), "SwapFree.", _memory("swap_free_kib")),
    field("compressed_kib", optional(INT), "What zswap and zram hold, uncompressed; null = there is neither.",
          lambda s: s.look.compressed_kib[0] if s.look.compressed_kib else None),
    field("compressed_ram_kib", optional(INT), "The RAM that takes.",
          lambda s: s.look.compressed_kib[1] if s.look.compressed_kib else None),
    field("accounting", optional(ACCOUNTING.type), "Where the RAM is."),
    _stall("memory"), _stall("io"), _stall("cpu"),
    field("seconds", optional(NUMBER), "Between the two looks that growth comes from; null = one look."),
    field("counter_error_kib", INT, "Growth below it cannot be seen: the kernel's counters lag so much."),
    field("growers", array(GROWER.type), "Who has grown, the fastest first."),
    field("grown_seconds", optional(NUMBER), "Over which time of the record; null = none is kept."),
    field("grown", array(GROWER.type), "Who has grown on record, the most first."),
    field("holders", array(HOLDER.type), "Who holds how much, the biggest first."),
    field("cgroups_limited", INT, "Cgroups with a limit.", lambda s: s.limited_all),
    field("limited", array(LIMITED.type), "The fullest of them that have processes."),
    field("victim", optional(VICTIM.type), "Who would die now; null = nobody can.",
          lambda s: _Victim(s) if s.ranking.victim is not None else None),
    field("forecasts", array(FORECAST.type), "When something will be full, the soonest first."),
    field("forecast_missing", optional(TEXT), "Why there is none, or what it lacks."),
    field("alerts", array(ALERT.type), "What is wrong now."),
    field("watched", BOOL, "The alerts are those an agent holds; false = those of this look alone."),
    field("hurts", array(HURT.type), "Settings that will hurt, the worst first."),
    field("sysctl", mapping(INT), "What was read below /proc/sys/vm.", lambda s: s.look.sysctl),
    field("oom_kills", optional(INT), "Kills the kernel counted since boot.", lambda s: s.look.oom_kills),
    field("last_incident", optional(LAST.type), "The newest stored incident.", lambda s: s.last),
    field("unseen", array(UNSEEN.type), "What could not be read."),
)  # fmt: skip


def status_dict(status: Any) -> dict[str, Any]:
    """Return *status* as plain values."""
    return STATUS.write(status)


def status_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`status_dict`."""
    return schema.json_schema(STATUS, SCHEMA_ID, "Output of oomsight status --format json")


