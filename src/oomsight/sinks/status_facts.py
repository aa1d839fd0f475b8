"""The lines of ``status`` that say one thing each: what is left, who grows, who would die, what is full when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from oomsight.alarms.event import place_words, size, span
from oomsight.foresight.model import SHMEM
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.blocks import human_kib, human_pct

if TYPE_CHECKING:
    from oomsight.proc.pressure import Stall
    from oomsight.status.growth import Grower
    from oomsight.status.model import Forecast, Status

FEW_WORDS: Final = 4
"""How brief a status is before its lines are shortened, …"""
ONE_LINE: Final = 7
"""… and before each is one line of 80 columns, as far as names allow."""


def facts_of(status: Status, brief: int = 0) -> Iterator[tuple[str, str]]:
    """Label and words (marked) of each; *brief*: how far to shorten them."""
    few, briefest = brief >= FEW_WORDS, brief >= ONE_LINE
    memory = status.look.memory
    available = memory.mem_available_kib
    if available is not None:
        words = f"{human_kib(available)} without swapping"
        if status.droppable_kib:
            held = "page cache" if few else "held by files in the page cache"
            words += f", {human_kib(min(status.droppable_kib, available))} of it {held}"
        if status.dirty_kib and status.dirty_kib > 1024 and not few:
            words += f" ({human_kib(status.dirty_kib)} to be written first)"
        yield "Available", words
    yield "Swap", _swap_words(status, brief=briefest)
    yield "Pressure", _pressure_words(status)
    yield "Growing", _growing_words(status, most=1 if briefest else 2 if few else 3)
    yield "Would die", _victim_words(status)
    if briefest:
        yield from (("Forecast", _forecast_brief(one, len(status.forecasts) - 1)) for one in status.forecasts[:1])
    else:
        yield from (("Forecast", _forecast_words(one)) for one in status.forecasts)
    if status.forecast_missing and brief < FEW_WORDS - 1:
        yield "Forecast", status.forecast_missing
    yield "OOM kills", _kills_words(status, brief=brief)


def alerts_words(status: Status) -> str:
    """Of whom there are alerts, in a few words."""
    now = status.look.at
    words = []
    for alert in status.alerts[:2]:
        where = "the host" if alert.subject == "host" else place_words(alert.subject)
        since = f" for {span(now - alert.since)}" if alert.since is not None else ""
        words.append(f"{where} ({alert.severity}{since})")
    more = f" and {len(status.alerts) - 2} more" if len(status.alerts) > 2 else ""
    return ", ".join(words) + more


def rate_words(kib_per_second: float) -> str:
    """A rate: per minute, or per second from a MiB a second on."""
    per_minute = kib_per_second * 60
    if per_minute >= 60 * 1024:
        return f"{size(int(kib_per_second * 1024))}/s"
    return f"{size(int(per_minute * 1024))}/min"


def _full(forecast: Forecast) -> tuple[str, str]:
    """What will be full, and the interval."""
    where = "RAM and swap" if forecast.subject == "host" else place_words(forecast.subject)
    high = "no end" if forecast.high_seconds is None else span(forecast.high_seconds)
    return where, f"{span(forecast.low_seconds)} to {high}"


def _cause(name: str) -> str:
    return name if name == SHMEM else mark(name)


def _full_now(forecast: Forecast) -> bool:
    """At its limit, with tasks that wait for memory instead of being killed."""
    return forecast.high_seconds is not None and forecast.high_seconds < 1


def _forecast_words(forecast: Forecast) -> str:
    where, around = _full(forecast)
    pid = f" (pid {forecast.cause_pid})" if forecast.cause_pid is not None else ""
    cause = f", by {_cause(forecast.cause)}{pid}" if forecast.cause is not None else ""
    when = "is full now" if _full_now(forecast) else f"full in about {span(forecast.seconds)} (80 %: {around})"
    return f"{where} {when}{cause}"


def _forecast_brief(forecast: Forecast, more: int) -> str:
    where, around = _full(forecast)
    cause = f", {_cause(forecast.cause)}" if forecast.cause is not None else ""
    when = "is full now" if _full_now(forecast) else f"in {span(forecast.seconds)} ({around})"
    return f"{where} {when}{cause}{f'; {more} more' if more else ''}"


def _swap_words(status: Status, *, brief: bool) -> str:
    memory = status.look.memory
    total, free = memory.swap_total_kib, memory.swap_free_kib
    if total is None or free is None:
        return "not known"
    if not total:
        return "none"
    used = total - free
    words = f"{human_kib(used)} of {human_kib(total)} in use ({human_pct(used, total) or '0 %'})"
    if (compressed := status.look.compressed_kib) is not None and not brief:
        stored, taken = compressed
        how = "zswap" if status.look.zram_kib is None else "zram"
        words += f"; {how} holds {human_kib(stored)} in {human_kib(taken)} of RAM"
    return words


def _pressure_words(status: Status) -> str:
    found = status.look.pressure
    if not found:
        return "not known: this kernel has no PSI, or it is switched off"
    parts = [f"{name} {_stalls(lines)}" for name, lines in found.items()]
    return ", ".join(parts) + " (some/all tasks waited, 10 s)"


def _stalls(lines: dict[str, Stall] | object) -> str:
    shares = [f"{lines[kind].avg10_pct:.0f}" for kind in ("some", "full") if kind in lines]  # type: ignore[index,operator]
    return "/".join(shares) + " %"


def _growing_words(status: Status, most: int = 3) -> str:
    """Who grows now and how fast, with what is on record of the minutes before; then who grew only before."""
    before = {_same(one): one for one in status.grown} if status.grown_seconds is not None else {}
    in_all = f" in {span(status.grown_seconds or 0)}"
    parts, now = [], {_same(grower) for grower in status.growers}
    names, groups = {name for name, _ in now}, {name for name, pid in now if pid is None}
    for grower in status.growers[:most]:
        longer = before.get(_same(grower))
        whole = f", +{human_kib(longer.grown_kib)}{in_all}" if longer is not None else ""
        parts.append(f"{_grower(grower)} {rate_words(grower.kib_per_second)}{whole}")
    words = ", ".join(parts) if len(parts) == 1 or not before else "; ".join(parts)
    if len(status.growers) > most:
        words += f" and {len(status.growers) - most} more"
    if most < 3 and parts:
        return f"{words} (within {span(status.seconds)})" if most > 1 and status.seconds is not None else words
    earlier = ", ".join(f"{_grower(one)} +{human_kib(one.grown_kib)}" for (name, pid), one in before.items()
                        if name not in (names if pid is None else groups) and (name, pid) not in now)  # fmt: skip
    tail = f"; not now, but{in_all}: {earlier}" if earlier else ""
    if status.seconds is None:
        return f"not known from one look{f'; {in_all.strip()}: {earlier}' if earlier else ''}"
    within = f"within {status.seconds:.1f} s" if status.seconds < 10 else f"within {span(status.seconds)}"
    if not status.growers:
        error = status.counter_error_kib
        blind = f" (what grew less than {human_kib(error)} is not seen)" if error else ""
        return f"nobody {within}{blind}{tail}"
    return f"{words} ({'rates ' if before else ''}{within}){tail}"


def _same(grower: Grower) -> tuple[str, int | None]:
    return grower.name, grower.pid


def _grower(grower: Grower) -> str:
    name = mark(grower.name)
    return f"{name} ({grower.pid})" if grower.pid is not None else f"{grower.processes} × {name}"


def _victim_words(status: Status) -> str:
    ranking = status.ranking
    first = ranking.victim
    partly = bool(status.look.snapshot.unseen)
    if first is None:
        return "not known: no process seen here can be killed" if partly else "nobody: every process is exempt"
    page_kib = status.look.snapshot.machine.page_size >> 10
    kib = (first.rss_pages + first.swap_pages + first.pgtables_pages) * page_kib
    words = f"{mark(first.process.comm)} (pid {first.process.pid}, {human_kib(kib)})"
    if first.process.oom_score_adj:
        words += f", oom_score_adj {first.process.oom_score_adj}"
    if len(ranking.rows) > 1:
        second = ranking.rows[1]
        margin = human_kib((ranking.margin_pages or 0) * page_kib)
        words += f", {margin} ahead of {mark(second.process.comm)} ({second.process.pid})"
    return f"of those seen here {words}" if partly else words


def _kills_words(status: Status, *, brief: int) -> str:
    count = status.look.oom_kills
    words = "not counted by this kernel" if count is None else f"{count:,} since boot"
    if status.last is not None:
        then, now = (datetime.fromtimestamp(at).astimezone() for at in (status.last.at, status.look.at))
        when = then.strftime("%H:%M" if then.date() == now.date() and brief >= FEW_WORDS else "%Y-%m-%d %H:%M")
        show = f"oomsight incidents show {mark(status.last.id, Kind.ID)}"
        if brief >= FEW_WORDS:
            return f"{words}; last {when}: oomsight incidents show last"
        return f"{words}; last stored {when}: {status.last.headline} ({show})"
    return f"{words}; {status.last_missing}" if status.last_missing and brief < FEW_WORDS - 1 else words


