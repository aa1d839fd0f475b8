"""
From usage to settings: a pure function of what was measured, the policy and the moment.

Rules, in this order: what leaks gets no more memory but a date; what was killed at a limit needed at least what was
refused there; everybody else gets the highest need seen plus a margin, and at least the limit whose probability of an
OOM kill is below the target. Page cache is no need (:mod:`oomsight.rightsize.need`). The margin grows where history is
short: a peak of two days says little about a month.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._sizes import MIB, rate_words, size_words
from oomsight.naming.marked import Kind, mark
from oomsight.rightsize.model import Advice, Candidate, Setting, Usage
from oomsight.rightsize.policy import (
    KILLED_FACTOR,
    USUAL,
    Policy,
    margin_of,
    percentile,
    percentiles,
    round_up,
    span_of,
    tail_of,
)
from oomsight.rightsize.swap import recommend_swap
from oomsight.rightsize.words import duration_words, limit_words

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit
    from oomsight.rightsize.tail import Tail

LOWER_SECONDS: Final = 86400.0  #: of history before a limit is lowered: a day has its nightly jobs and its rush
SMALLEST_LIMIT: Final = 16 * MIB  #: below it a shell in the container is killed
RESTART_SHARE: Final = 0.8  #: of the headroom a leak may use before a planned restart


class Decided(NamedTuple):
    """The limit, and what it rests on. Bytes; ``None`` = not known."""

    peak: float | None  #: highest need
    span: float  #: seconds of history
    tail: Tail | None
    margin: float  #: percent
    demand: int | None  #: at a kill
    limit: int | None  #: to be set; of what leaks none
    why: str  #: marked
    kept: bool  #: history is too short to lower it


def decided(usage: Usage, policy: Policy) -> Decided:
    """Return the limit that *usage* should have."""
    values = usage.ordered()
    span = span_of(usage)
    tail = tail_of(usage, span)
    peak = values[-1] if values else None
    margin = margin_of(policy, span)
    demands = [kill.demand_bytes for kill in usage.kills if kill.demand_bytes and kill.role == "limit"]
    demand = max(demands, default=None)
    leaking = usage.leak.growth == "leak"
    limit, why = (None, "") if leaking else _limit(policy, (peak, demand), margin, tail)
    now = usage.limit_bytes
    kept = limit is not None and isinstance(now, int) and limit < now and span < LOWER_SECONDS
    if kept:
        assert isinstance(now, int)
        limit, why = now, f"{duration_words(span)} of history are too short to lower it"
    return Decided(peak, span, tail, margin, demand, limit, why, kept)


def recommend(usage: Usage, policy: Policy = USUAL) -> Advice:
    """Return what to set for *usage*; for a host: how much swap."""
    if usage.subject.kind == "host":
        return recommend_swap(usage, policy)
    values, found = usage.ordered(), decided(usage, policy)
    told = percentiles(usage, [policy.request_percentile])
    settings = tuple(
        one for one in _settings(usage, policy, values, found)
        if not (found.kept and one.key == "high")  # a throttle far below the limit would lower it all the same
    )  # fmt: skip
    candidates = tuple(_candidates(usage, policy, values, found.limit, found.tail))
    return Advice(
        usage=usage, peak_bytes=None if found.peak is None else int(found.peak), percentiles=told,
        span_seconds=found.span, tail=found.tail, margin_pct=found.margin, settings=settings, candidates=candidates,
        headline=_headline(usage, found.limit, settings, kept=found.kept), notes=tuple(_notes(usage, found)),
    )  # fmt: skip


def _limit(
    policy: Policy, seen: tuple[float | None, int | None], margin: float, tail: Tail | None
) -> tuple[int | None, str]:
    """The limit and why; ``None`` = nothing is known. *seen*: highest need, and demand at a kill."""
    peak, demand = seen
    found: list[tuple[float, str]] = []
    if peak is not None:
        found.append((peak * (1 + margin / 100), f"highest need seen, {size_words(peak)}, plus {margin:.0f} %"))
    if tail is not None:
        bound = tail.limit_for(policy.probability, policy.horizon_seconds)
        days = duration_words(policy.horizon_seconds)
        found.append((bound, f"need stays below it for {days} with a probability of {1 - policy.probability:.0%}"))
    if demand is not None:
        words = f"{size_words(demand)} were in use when memory was refused, so the need is higher: plus 25 %"
        found.append((demand * KILLED_FACTOR, words))
    if not found:
        return None, ""
    size, why = max(found)
    return max(round_up(size), SMALLEST_LIMIT), why


def limit_setting(usage: Usage, found: Decided) -> Setting | None:
    """Return the limit to set: as decided, or of what leaks one that it dies by alone; ``None`` = leave it."""
    if usage.leak.growth == "leak":
        return _cap(usage.limit_bytes, usage.ordered())
    if found.limit is None:
        return None
    return Setting(key="limit", value=size_words(found.limit), bytes=found.limit, why=found.why)


def _settings(usage: Usage, policy: Policy, values: Sequence[float], found: Decided) -> Iterator[Setting]:
    limit, margin, wanted = found.limit, found.margin, limit_setting(usage, found)
    if usage.leak.growth == "leak":
        restart = _restart(usage, values)
        yield from (one for one in (restart, wanted) if one is not None)
    elif limit is not None and wanted is not None:
        if values:
            request = min(round_up(percentile(values, policy.request_percentile)), limit)
            words = f"need was below it {policy.request_percentile:g} % of the time"
            yield Setting(key="request", value=size_words(request), bytes=request, why=words)
        yield wanted
        high = round_up((values[-1] if values else limit / (1 + margin / 100)) * (1 + margin / 200))
        if high < limit:
            yield Setting(
                key="high", value=size_words(high), bytes=high,
                why="between the highest need and the limit: above it the kernel reclaims and slows down instead of"
                " killing, and memory.events counts it (version 2)",
            )  # fmt: skip
        if usage.runtime is not None:
            from oomsight.audit.runtimes.model import Inputs  # neither is needed by most
            from oomsight.rightsize.heap import heap_setting

            inputs = Inputs(argv=usage.command_line, env=dict(usage.environment), limit_bytes=limit)
            if (heap := heap_setting(usage.runtime, inputs, limit)) is not None:
                yield heap
        if usage.swap_peak_bytes:
            swap = round_up(usage.swap_peak_bytes * (1 + margin / 100))
            yield Setting(key="swap", value=size_words(swap), bytes=swap,
                          why=f"{size_words(usage.swap_peak_bytes)} of swap were used")  # fmt: skip
    if (adj := adj_setting(usage)) is not None:
        yield adj


def _restart(usage: Usage, values: Sequence[float]) -> Setting | None:
    rate, limit = usage.leak.rate_bytes_per_second, usage.limit_bytes
    if not rate or not isinstance(limit, int) or not values or limit <= values[0]:
        return None
    seconds = RESTART_SHARE * (limit - values[0]) / rate
    return Setting(
        key="restart", value=f"every {duration_words(seconds)}", bytes=None,
        why=f"until the leak is mended: {RESTART_SHARE:.0%} of the room of {size_words(limit - values[0])} is used"
        f" by then at {rate_words(rate)}",
    )  # fmt: skip


def _cap(now: Limit, values: Sequence[float]) -> Setting | None:
    if isinstance(now, int) or not values:
        return None
    cap = round_up(values[-1] * 1.1)
    return Setting(key="limit", value=size_words(cap), bytes=cap,
                   why="not to give it more, but so that it dies alone and not the host with it")  # fmt: skip


def adj_setting(usage: Usage) -> Setting | None:
    """Who died for somebody else should not be first; who held the memory should. ``None`` = leave it."""
    died = sum(kill.role == "victim" for kill in usage.kills)
    held = sum(kill.role == "culprit" for kill in usage.kills)
    now = usage.oom_score_adj or 0
    if died > held and now > -500:
        value = max(now - 300, -500)
        words = f"it died {_times(died)} of host-wide OOM kills although somebody else held the memory"
    elif held > died and now < 500:
        value = min(now + 300, 500)
        words = f"it held the memory {_times(held)} of host-wide OOM kills and somebody else died"
    else:
        return None
    return Setting(key="oom_score_adj", value=str(value), bytes=None, why=words)


def _times(count: int) -> str:
    return "in 1 case" if count == 1 else f"in {count} cases"


def _candidates(
    usage: Usage, policy: Policy, values: Sequence[float], limit: int | None, tail: Tail | None
) -> Iterator[Candidate]:
    if not values:
        return
    now = usage.limit_bytes if isinstance(usage.limit_bytes, int) else None
    base = limit or now or round_up(values[-1])
    wanted: dict[int, str] = {}
    if now is not None:
        wanted[now] = "now"
    if limit is not None:
        wanted[limit] = "recommended" if limit != now else "now = recommended"
    wanted.setdefault(round_up(values[-1]), "highest need seen")
    of = "recommended" if limit else "now" if now else "highest need seen"
    for factor in (1.5, 2.0):
        wanted.setdefault(round_up(base * factor), f"{factor:g} × {of}")
    leak = usage.leak
    for size, name in sorted(wanted.items()):
        seconds = None
        probability = tail.exceeds(size, policy.horizon_seconds) if tail is not None else None
        if leak.growth == "leak" and leak.rate_bytes_per_second:
            seconds = max(size - values[0], 0.0) / leak.rate_bytes_per_second
            probability = 1.0 if seconds < policy.horizon_seconds else None  # if nobody restarts it
        elif now is not None and size >= now and usage.kills and values[-1] <= now and tail is not None:
            # Need was cut off at the limit: peaks above it were never seen, so nothing is known about larger ones.
            probability = None
        cost = None if now is None else (size - now) * usage.replicas
        yield Candidate(name=name, limit_bytes=size, probability=probability, seconds_to_limit=seconds, cost_bytes=cost)


def _headline(usage: Usage, limit: int | None, settings: Sequence[Setting], *, kept: bool) -> str:
    name = mark(usage.subject.full_name, Kind.OWNER)
    if usage.leak.growth == "leak":
        rate = usage.leak.rate_bytes_per_second
        speed = f" ({rate_words(rate)})" if rate else ""
        return f"{name} leaks{speed}: more memory will not help"
    if limit is None:
        if adj := next((one for one in settings if one.key == "oom_score_adj"), None):
            return f"{name}: set its oom_score_adj to {adj.value}; what it needs is not known"
        return f"{name}: nothing is known of its need"
    now = usage.limit_bytes
    if not isinstance(now, int):
        had = "it has none" if now == "unlimited" else "the present one is not known"
        return f"{name}: give it a limit of {size_words(limit)} ({had})"
    if kept:
        return f"{name}: keep its limit of {size_words(now)}; history is too short to lower it"
    if abs(limit - now) <= 0.05 * now:
        return f"{name}: its limit of {size_words(now)} fits"
    word = "raise" if limit > now else "lower"
    return f"{name}: {word} its limit from {size_words(now)} to {size_words(limit)}"


def _notes(usage: Usage, found: Decided) -> Iterator[str]:
    peak, demand = found.peak, found.demand
    if usage.leak.words:
        yield usage.leak.words
    if usage.leak.growth == "growing" and not usage.leak.words:
        yield "It grew over the time looked at; whether it levels off is not certain yet. Look again in some days."
    if usage.basis is not None:
        yield f"Need is {usage.basis.words}."
    if peak is not None and usage.cache_peak_bytes is not None and usage.cache_peak_bytes > 1.2 * peak:
        cache = size_words(usage.cache_peak_bytes - peak)
        yield f"Up to {cache} more was page cache: the kernel takes it back before it kills, so it is not counted."
    if demand is not None and peak is not None and peak <= demand:
        yield "Need was cut off at the limit: how much it would have taken is not known. Look again after a week."
    if usage.kill_count > len(usage.kills):
        yield f"{usage.kill_count} OOM kills were counted in that time."
    if usage.measured and found.tail is None:
        yield f"History is {duration_words(found.span)}: too short to tell a probability."
    if isinstance(usage.limit_bytes, str):
        yield f"Its limit now: {limit_words(usage.limit_bytes)}: only the host, or a limit above it, stops it."
