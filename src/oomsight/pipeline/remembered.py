"""What the recorder saw before a kill: why it grew, from evidence, as sentences for the incident."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import rate_words
from oomsight._state import default_history
from oomsight.diagnose.model import Advice, Confidence, Evidence
from oomsight.diagnose.wording import process, size
from oomsight.naming.marked import Kind, mark
from oomsight.simulate.units import duration_words
from oomsight.sources.history import History, HistoryError
from oomsight.trend.rise import Rise, rise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.diagnose.model import Incident
    from oomsight.record.model import Entity
    from oomsight.report.model import OomReport

WINDOWS: Final = (600.0, 7200.0, 2 * 86400.0, 14 * 86400.0)
"""Seconds before the kill that are looked at: more only if the growth began before the first sample of the fewer."""
MOST_POINTS: Final = 1200
NEED: Final = "need_bytes"
BORN_SECONDS: Final = 6.0  #: a first sample this much later than others' could have been: it was not there before
YOUNG_SECONDS: Final = 10.0  #: what has been on record for less may have grown between its first two samples
SLACK_SECONDS: Final = 5.0  #: between the kernel's clock and the recorder's
OTHERS: Final = 2  #: named besides the victim
WORTH: Final = 0.2  #: growth of another is worth a sentence from this share of the whole growth on
MOST_COMMAND: Final = 160  #: characters of a command line that are told
EVEN_SECONDS: Final = 60.0  #: even growth for this long would have gone on
STOPPED_SECONDS: Final = 60.0  #: before the kill; for less it waits at its limit, which takes back page cache
SLOW_SECONDS: Final = 600.0  #: even growth for this long is no burst
_HOW: Final = {"even": "steadily", "uneven": "unevenly"}
UNSAID: Final = "One report is one moment"
"""Part of the sentences that a record makes needless."""


class _Grown(NamedTuple):
    entity: Entity
    rise: Rise
    born: bool  #: it was not there before its first sample


class Remembered:
    """A recorder's history asked about kills. Opened when first needed; where there is none, it knows nothing."""

    def __init__(self, path: str) -> None:
        """*path*: the recorder's directory."""
        self.path = path
        self._history: History | None = None
        self._there = os.path.isdir(path)

    def add_to(self, incident: Incident) -> bool:
        """Put what is known at the front of the incident's ``why_it_grew``. Return whether anything is."""
        said, rises = self._asked(incident.report)
        if said:
            others = [text for text in incident.answers.why_it_grew if UNSAID not in text]
            incident.answers.why_it_grew = said + others
            _weigh(incident, rises)
            if rises:
                self._point(incident, max(rises, key=lambda one: one.rise.grown))
        return bool(said)

    def _point(self, incident: Incident, most: _Grown) -> None:
        """What would settle a cause, where it is on record: the growth of a suspected leak, the settings of a heap."""
        for cause in incident.causes:
            if cause.code == "heap_exceeds_limit" and cause.settles and most.entity.cmdline:
                cause.settles += f"; on record it is {mark(most.entity.cmdline[:MOST_COMMAND])}"
            if cause.code == "leak_suspected":
                cause.settles = (
                    "the same growth after a restart with constant work is a leak, a single one may be a burst; "
                    "`oomsight leaks` judges all that is on record"
                )
                cause.advice = [Advice(
                    "before raising a limit, look at how it grew, which is on record", self._question(most, incident)
                )]  # fmt: skip

    def _question(self, most: _Grown, incident: Incident) -> tuple[str, ...]:
        """The command that shows how it went up to the kill."""
        kill = datetime.fromisoformat(incident.report.when.time or "").timestamp()
        since, until = max(most.rise.since - 60, kill - WINDOWS[-1]), kill + SLACK_SECONDS
        moments = (datetime.fromtimestamp(one).astimezone().strftime("%Y-%m-%d %H:%M:%S") for one in (since, until))
        where = ("--store", self.path) if os.path.abspath(self.path) != default_history() else ()
        return ("oomsight", "history", str(most.entity.pid), "--since", next(moments), "--until", next(moments), *where)

    def sentences(self, report: OomReport) -> list[str]:
        """Why it grew, as marked sentences; empty = not on record, or no time is known."""
        return self._asked(report)[0]

    def _asked(self, report: OomReport) -> tuple[list[str], list[_Grown]]:
        rises: list[_Grown] = []
        if not self._there or report.when.time is None:
            return [], rises
        try:
            kill = datetime.fromisoformat(report.when.time).timestamp() + SLACK_SECONDS
            history = self._open(kill)
        except (ValueError, HistoryError):
            return [], rises
        return (list(_told(history, report, kill, rises)) if history is not None else []), rises

    def _open(self, kill: float) -> History | None:
        if self._history is None:
            self._history = History(self.path)
        span = self._history.span()
        if span is not None and kill > span[1] + SLACK_SECONDS:  # recorded since it was opened
            self._history = History(self.path)
            span = self._history.span()
        return self._history if span is not None and span[0] <= kill <= span[1] + WINDOWS[0] else None


def _weigh(incident: Incident, rises: list[_Grown]) -> None:
    """What the record says for or against a leak or a burst: evidence of the causes that one report cannot prove."""
    if not rises:
        return
    most = max(rises, key=lambda one: one.rise.grown)
    found, name = most.rise, process(most.entity.name, most.entity.pid)
    slow = found.shape == "even" and found.seconds >= SLOW_SECONDS
    how = "at once" if found.shape == "at once" else f"{_HOW[found.shape]} for {duration_words(found.seconds)}"
    text = f"recorded: {name} grew {how}, by {size(int(found.grown) >> 10)}"
    for cause in incident.causes:
        if cause.code in {"leak_suspected", "traffic_spike"}:
            cause.evidence.append(Evidence(text))
        if cause.confidence is Confidence.POSSIBLE and (
            (cause.code == "leak_suspected" and slow) or (cause.code == "traffic_spike" and found.shape == "at once")
        ):
            cause.confidence = Confidence.LIKELY
    if slow:
        incident.answers.why_it_grew.append(
            f"Growth as even as that of {name} for {duration_words(found.seconds)} is what a leak looks like, and not "
            "what a burst of work does."
        )
    elif found.shape == "at once":
        incident.answers.why_it_grew.append("What comes at once is a burst of work or one big request, no slow leak.")


def _told(history: History, report: OomReport, kill: float, rises: list[_Grown]) -> Iterator[str]:
    victims = {victim.pid: victim.comm for victim in report.victims}
    since = kill - WINDOWS[0]
    processes = history.entities("process", since, kill)
    # A log of another machine may tell of the same moment: the victim or its cgroup has to be on record.
    known = [e for e in processes if e.pid in victims and _same_name(victims[e.pid], e.name)]
    limited = report.oom_memcg or (report.task_memcg if report.memcg is not None else None)
    cgroup = next((e for e in history.entities("cgroup", since, kill) if limited and e.name == limited), None)
    if not known and (cgroup is None or cgroup.name == "/"):
        return
    whole = None
    if cgroup is not None and cgroup.name != "/":
        whole = _grown(history, cgroup, "usage_bytes", kill)
        yield _cgroup_sentence(history, cgroup, whole, kill)
    elif (host := _host_sentence(history, kill)) is not None:
        yield host
    grown = [found for e in known if (found := _grown(history, e, NEED, kill)) is not None]
    rises += grown
    for one in grown:
        yield _process_sentence(one, whole, kill)
    below = limited if cgroup is not None else None
    others = [e for e in processes if e not in known and _in(e, below)][:40]
    if whole is not None and (words := _room(whole.rise, kill)):
        yield words
    yield from _others(history, others, grown, kill)
    if not grown and known:
        entity = known[0]
        yield (
            f"{_capital(process(entity.name, entity.pid))} did not grow on record before it was killed: "
            f"it held {size(_kib(entity.last_main))} of private memory when last seen."
        )
    elif not known and report.victims:
        victim = report.victims[0]
        yield f"{_capital(process(victim.comm, victim.pid))} did not live long enough to be recorded by itself."


def _room(whole: Rise, kill: float) -> str | None:
    """What a higher limit would have been worth, of what grew evenly up to the kill."""
    if whole.shape != "even" or whole.seconds < EVEN_SECONDS or kill - SLACK_SECONDS - whole.until > STOPPED_SECONDS:
        return None
    quarter = whole.high / 4
    return (
        f"At that rate a limit a quarter higher ({size(int(quarter) >> 10)} more) would have been reached "
        f"{duration_words(quarter / whole.per_second)} later."
    )


def _others(history: History, entities: list[Entity], grown: list[_Grown], kill: float) -> Iterator[str]:
    """Those that grew beside the victim, biggest growth first."""
    most = max((one.rise.grown for one in grown), default=0.0)
    found = [one for e in entities if (one := _grown(history, e, NEED, kill)) is not None]
    found = [one for one in found if one.rise.grown >= max(WORTH * most, 1 << 20) and kill - one.rise.until < 60]
    for one in sorted(found, key=lambda one: -one.rise.grown)[:OTHERS]:
        yield _process_sentence(one, None, kill, also=bool(grown))


def _grown(history: History, entity: Entity, field: str, kill: float) -> _Grown | None:
    found, born = None, False
    span = history.span()
    for seconds in WINDOWS:
        series = history.series(entity, field, kill - seconds, kill, MOST_POINTS)
        found = rise(series, kill)
        if found is None or found.whole:
            break
        if series.times[0] > kill - seconds + BORN_SECONDS:
            first, started = series.times[0], entity.started
            born = (span is not None and span[0] < first - BORN_SECONDS) or (
                started is not None and first - started <= BORN_SECONDS
            )
            break
    return _Grown(entity, found, born) if found is not None else None


def _cgroup_sentence(history: History, cgroup: Entity, whole: _Grown | None, kill: float) -> str:
    limits = history.series(cgroup, "limit_bytes", kill - WINDOWS[0], kill, 100)
    limit = limits.values[-1] if len(limits) else float("inf")
    of = f", its limit being {size(int(limit) >> 10)}" if limit < float("inf") else ""
    name = mark(cgroup.name, Kind.CGROUP)
    if whole is None:
        lived = kill - SLACK_SECONDS - (limits.times[0] if len(limits) else 0.0)
        if lived < YOUNG_SECONDS:
            return f"Cgroup {name} came on record only with the kill, too late to see it grow{of}."
        return f"On record, cgroup {name} did not grow in the minutes before{of}."
    return f"On record, cgroup {name} {_went(whole, kill)}{of}."


def _host_sentence(history: History, kill: float) -> str | None:
    host = history.host(kill - WINDOWS[0], kill)
    if host is None:
        return None
    series = history.series(host, "mem_available_bytes", kill - WINDOWS[0], kill, MOST_POINTS)
    if len(series) < 2:
        return None
    top = max(range(len(series)), key=lambda i: series.values[i])
    low = min(series.values[top:])
    if series.values[top] - low < 1 << 20:
        return None
    words = duration_words(kill - SLACK_SECONDS - series.times[top])
    return (
        f"On record, available memory of the host fell from {size(int(series.values[top]) >> 10)} to "
        f"{size(int(low) >> 10)} within {words} before the kill."
    )


def _process_sentence(one: _Grown, whole: _Grown | None, kill: float, *, also: bool = False) -> str:
    name = process(one.entity.name, one.entity.pid)
    share = ""
    if whole is not None:
        started = one.entity.started
        came = started is not None and started >= whole.rise.since - BORN_SECONDS  # all it holds is part of the growth
        part = min(round(100 * (one.rise.high if came else one.rise.grown) / whole.rise.grown), 100)
        share = f"; {'all it held' if came else 'that'} is {part} % of the growth of its cgroup"
    start = f"{name} also" if also else name
    return f"{_capital(start)} {_went(one, kill)}{share}."


def _went(one: _Grown, kill: float) -> str:
    """How it grew, as the rest of a sentence."""
    found = one.rise
    low, high = size(int(found.low) >> 10), size(int(found.high) >> 10)
    clock = datetime.fromtimestamp(found.since).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if found.shape == "at once":
        words = f"grew at once, from {low} to {high} within {duration_words(max(found.seconds, 1))}, from {clock} on"
    else:
        words = f"grew from {low} to {high} in {duration_words(found.seconds)}, {_HOW[found.shape]}"
        words += f", by {rate_words(found.per_second)}"
        words += (
            f" since {clock}" if found.whole or not found.low
            else f" from its start on ({clock})" if one.born
            else f", and had begun before the record does ({clock})"
        )  # fmt: skip
    if found.whole and found.level_seconds >= 60 and found.level_seconds >= found.seconds / 4:
        words += f"; for {duration_words(found.level_seconds)} before that it was level"
    if kill - SLACK_SECONDS - found.until > STOPPED_SECONDS:
        words += f"; it had stopped growing {duration_words(kill - SLACK_SECONDS - found.until)} before the kill"
    return words


def _in(entity: Entity, cgroup: str | None) -> bool:
    """Whether a process is in a cgroup or below; every process is in none."""
    return cgroup is None or entity.cgroup == cgroup or (entity.cgroup or "").startswith(cgroup.rstrip("/") + "/")


def _same_name(a: str | None, b: str) -> bool:
    return a is None or a[:15] == b[:15]


def _kib(value: float | None) -> int | None:
    return None if value is None else int(value) >> 10


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
