"""The JSON documents of ``leaks`` and ``forecast``, written and described from the same tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from oomsight.sinks import schema
from oomsight.sinks.schema import (
    BOOL,
    INT,
    NUMBER,
    SENTENCE,
    TEXT,
    Record,
    array,
    choice,
    constant,
    field,
    optional,
)
from oomsight.trend.backtest import Came
from oomsight.trend.leak import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.foresight.model import Leak, Outlook, Subject
    from oomsight.trend.backtest import Backtest

LEAKS_ID: Final = "oomsight.leaks/1"
FORECAST_ID: Final = "oomsight.forecast/1"


def _iso(moment: float | None) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _last(subject: Any) -> int | None:
    return int(subject.need.values[-1]) if len(subject.need) else None


def _whole(name: str) -> Any:
    return lambda one: None if getattr(one, name) is None else int(getattr(one, name))


SUBJECT: Final = Record(
    "subject", "Something whose memory is on record.",
    field("kind", choice("host", "cgroup", "name", "process", "unit", "container", "series"), "What it is."),
    field("name", TEXT, "As the kernel gives it; empty for the host."),
    field("cgroup", optional(TEXT), "Path of its memory cgroup."),
    field("pid", optional(INT), "Process id, of a process."),
    field("need_bytes", optional(INT), "What cannot be taken back, at the end of the record; of the host RAM and swap.",
          _last),
    field("limit_bytes", optional(INT), "At which there is a kill; null = no limit of its own.", _whole("limit_bytes")),
    field("kills", array(TEXT), "OOM kills in it on record, ISO 8601.", lambda s: [_iso(k) for k in s.kills]),
)  # fmt: skip
GROWTH: Final = Record(
    "growth", "A rate of change that holds now.",
    field("bytes_per_second", NUMBER, "Most likely."),
    field("low_bytes_per_second", NUMBER, "Lower end of its 80 % interval."),
    field("high_bytes_per_second", NUMBER, "Upper end."),
    field("since", TEXT, "When it began, ISO 8601.", lambda g: _iso(g.since)),
    field("until", TEXT, "Last sample it rests on.", lambda g: _iso(g.until)),
    field("grown_bytes", INT, "Along the line, since then.", _whole("grown_bytes")),
    field("level_bytes", INT, "Of the line at its end.", _whole("level_bytes")),
    field("p", NUMBER, "Mann-Kendall: probability of such a trend in values that have none."),
)  # fmt: skip
FINDING: Final = Record(
    "finding", "What a curve is.",
    field("verdict", choice(*(verdict.value for verdict in Verdict)), "In one word."),
    field("confidence", NUMBER, "0 … 1."),
    field("more_memory_helps", optional(BOOL),
          "Whether a higher limit would end the trouble; null = it needs none (level), or it cannot be said yet."),
    field("growth", optional(GROWTH.type), "Its rate; null = not measured."),
    field("evidence", array(TEXT), "What it rests on, one sentence each."),
)  # fmt: skip
LEFT: Final = Record(
    "time_left", "When the limit is reached.",
    field("seconds", NUMBER, "Most likely, from now."),
    field("low_seconds", NUMBER, "Lower end of the 80 % interval."),
    field("high_seconds", optional(NUMBER), "Upper end; null = perhaps never."),
    field("at", TEXT, "Most likely moment, ISO 8601.", lambda left: _iso(left.at)),
    field("limit_bytes", INT, "What is reached.", _whole("limit_bytes")),
    field("headroom_bytes", INT, "Below it now.", _whole("headroom_bytes")),
    field("growth", GROWTH.type, "The rate it rests on."),
    field("method", TEXT, "How it was found."),
)  # fmt: skip
SOURCE: Final = Record(
    "cause", "Who grew in it.",
    field("kind", choice("process", "name", "shmem"), "One process, several of one name, or tmpfs and shared memory."),
    field("name", TEXT, "Process name."),
    field("pid", optional(INT), "Process id; null = several."),
    field("cgroup", optional(TEXT), "Path of its memory cgroup."),
    field("processes", INT, "How many."),
    field("holds_bytes", INT, "Anonymous memory it holds in the end.", _whole("holds_bytes")),
    field("grown_bytes", INT, "Since the growth began.", _whole("grown_bytes")),
    field("bytes_per_second", NUMBER, "On average since then."),
    field("share", optional(NUMBER), "Of all that grew there, 0 … 1."),
)  # fmt: skip
VICTIM: Final = Record(
    "forecast_victim", "Who would be killed then, the cause grown by what is left.",
    field("comm", TEXT, "Process name."),
    field("pid", optional(INT), "Process id."),
    field("points_pages", INT, "Badness, in pages."),
    field("is_cause", BOOL, "Whether it is the one that grows."),
)  # fmt: skip
REMEDY: Final = Record(
    "remedy", "What would buy time.",
    field("kind", choice("limit", "swap", "restart", "confine", "delete"), "What it is."),
    field("text", SENTENCE, "In words."),
    field("seconds", optional(NUMBER), "How much; null = none for the cause, but for all others."),
)  # fmt: skip
LEAK: Final = Record(
    "leak", "A curve that was judged.",
    field("subject", SUBJECT.type, "Whose."),
    field("finding", FINDING.type, "What it is."),
    field("time_left", optional(LEFT.type), "Until its limit; null = has none, or does not leak.", lambda k: k.left),
    field("causes", array(SOURCE.type), "Who grew in it, most first."),
)  # fmt: skip
OUTLOOK: Final = Record(
    "outlook", "What comes for one subject.",
    field("subject", SUBJECT.type, "Which."),
    field("time_left", optional(LEFT.type), "Until it is full; null = it is not filling.", lambda o: o.left),
    field("finding", FINDING.type, "Verdict on its curve."),
    field("causes", array(SOURCE.type), "Who grew in it, most first."),
    field("victim", optional(VICTIM.type), "Who would be killed; null = not known, or nobody may be."),
    field("remedies", array(REMEDY.type), "What would buy how much time."),
)  # fmt: skip
CHECK: Final = Record(
    "check", "One past forecast and what came of it.",
    field("made", TEXT, "ISO 8601.", lambda c: _iso(c.made)),
    field("level_bytes", INT, "What was to be reached.", _whole("level_bytes")),
    field("real", BOOL, "It is the limit; else as far again as it had grown."),
    field("seconds", NUMBER, "Forecast."),
    field("low_seconds", NUMBER, "Lower end of the 80 % interval."),
    field("high_seconds", optional(NUMBER), "Upper end."),
    field("truth_seconds", optional(NUMBER), "What it took; null = not reached on record."),
    field("came", choice(*(came.value for came in Came)), "Against the interval; open = nobody knows."),
)  # fmt: skip
BACKTEST: Final = Record(
    "backtest", "How good forecasts would have been for one subject.",
    field("subject", SUBJECT.type, "Which.", lambda pair: pair[0]),
    field("decided", INT, "Forecasts of which one knows.", lambda pair: len(pair[1].decided)),
    field("inside", optional(NUMBER), "Share of them within the 80 % interval.", lambda pair: pair[1].inside),
    field("error", optional(NUMBER), "Median error of the time left, as a share of it.", lambda pair: pair[1].error),
    field("checks", array(CHECK.type), "All of them.", lambda pair: pair[1].checks),
)  # fmt: skip


class _Document:
    def __init__(self, source: str, since: float, until: float, **parts: Any) -> None:
        self.source, self.since, self.until = source, since, until
        self.__dict__.update(parts)


_HEAD: Final = (
    field("source", TEXT, "Where the curves come from."),
    field("since", TEXT, "First moment looked at, ISO 8601.", lambda d: _iso(d.since)),
    field("until", TEXT, "The moment it is judged at.", lambda d: _iso(d.until)),
)
LEAKS: Final = Record(
    "leaks", "What leaks.",
    field("schema", constant(LEAKS_ID), "Version of this contract.", lambda _: LEAKS_ID), *_HEAD,
    field("leaks", array(LEAK.type), "Fastest first, each told once."),
    field("judged", array(LEAK.type), "Every curve that was judged."),
)  # fmt: skip
FORECAST: Final = Record(
    "forecasts", "What will be full, and when.",
    field("schema", constant(FORECAST_ID), "Version of this contract.", lambda _: FORECAST_ID), *_HEAD,
    field("outlooks", array(OUTLOOK.type), "The host and everything with a limit, the soonest full first."),
    field("backtest", optional(array(BACKTEST.type)), "With --backtest: how good they have been."),
)  # fmt: skip


def leaks_dict(
    source: str, since: float, until: float, leaks: Sequence[Leak], judged: Sequence[Leak]
) -> dict[str, Any]:
    """The document of ``leaks``."""
    return LEAKS.write(_Document(source, since, until, leaks=leaks, judged=judged))


def forecast_dict(
    source: str, since: float, until: float, outlooks: Sequence[Outlook],
    tests: Sequence[tuple[Subject, Backtest]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The document of ``forecast``."""
    return FORECAST.write(_Document(source, since, until, outlooks=outlooks, backtest=tests))


def leaks_schema() -> dict[str, Any]:
    """JSON Schema of ``leaks --format json``."""
    return schema.json_schema(LEAKS, LEAKS_ID, "oomsight leaks --format json")


def forecast_schema() -> dict[str, Any]:
    """JSON Schema of ``forecast --format json``."""
    return schema.json_schema(FORECAST, FORECAST_ID, "oomsight forecast --format json")
