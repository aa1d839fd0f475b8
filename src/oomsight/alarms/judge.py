"""
The judge: (reading, limits, state, now) -> alerts raised, changed, cleared.

An alarm is raised when its condition has held for its time (at most a quarter of the time left), and cleared when it is
on the other side of its clearing limit for its own: between the two it stays what it is. All alarms of one subject are
one alert; another one that joins, or a warning that turns critical, changes it. A limit and the limit above it are one
story when most of the memory is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from oomsight._named import NamedTuple
from oomsight.alarms.growth import DROP_SHARE, LEAST_SHARE, Pace, add_point, pace_of
from oomsight.alarms.reading import headroom_kib, need_kib
from oomsight.alarms.state import HOST, MOST_SUBJECTS, Subject, Track
from oomsight.alarms.table import ALARMS, BY_CODE, FULL_SHARE, LONG_SECONDS, PRESSED_SHARE, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomsight.alarms.reading import Reading
    from oomsight.alarms.state import State
    from oomsight.alarms.table import Alarm, Limit, Limits
    from oomsight.proc.machine import MemInfo
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.pressure import Stall

QUARTER: Final = 0.25  #: of the time left that an alarm may wait
LEAST_PATIENCE_SECONDS: Final = 0.5  #: so that two readings agree
SAME_STORY: Final = 0.8  #: of the need of the outer cgroup that the inner one holds
PEAK_SECONDS: Final = 7200.0  #: a peak that was given back is remembered
FREED_SECONDS: Final = 3.0  #: after a kill
CLOCK_STEP_SECONDS: Final = 5.0

Moment = Literal["raised", "changed", "still", "cleared"]


class Reason(NamedTuple):
    """One alarm that holds."""

    code: str
    value: float  #: in the alarm's unit
    since: float  #: unix seconds


class Change(NamedTuple):
    """Something to tell."""

    moment: Moment
    subject: str  #: :data:`~oomsight.alarms.state.HOST` or the path of a cgroup
    alert_id: str  #: the same from raised to cleared
    severity: Severity
    reasons: tuple[Reason, ...]  #: as the table orders them; of a cleared alert those that held last
    raised: float  #: unix seconds
    state: Subject
    gone: bool = False  #: cleared because the cgroup is not there any more


class Verdict(NamedTuple):
    """What one reading came to."""

    changes: tuple[Change, ...]
    suspects: tuple[str, ...]  #: subjects to look at more closely: who is in there, and how much does each hold?


def judge(reading: Reading, limits: Limits, state: State, now: float) -> Verdict:
    """Take one reading at *now* (unix seconds), remember it in *state* and return what is to be told."""
    _set_clock(state, now)
    looked: list[str] = []
    if reading.memory is not None:
        looked.append(HOST)
        _measure_host(state.subjects.setdefault(HOST, Subject()), reading.memory, now)
    for memcg in reading.cgroups:
        if memcg.path not in state.subjects and len(state.subjects) >= MOST_SUBJECTS:
            continue
        looked.append(memcg.path)
        _measure_cgroup(state.subjects.setdefault(memcg.path, Subject()), memcg, now)
    memcgs = {memcg.path: memcg for memcg in reading.cgroups}
    for key in looked:
        subject = state.subjects[key]
        values = (
            _host_values(reading.memory, reading.pressure, subject)
            if key == HOST and reading.memory is not None
            else _cgroup_values(memcgs[key], reading.cgroup_pressure.get(key, {}), subject, now)
        )
        for code, value in values:
            alarm = BY_CODE[code]
            limit = limits.of(alarm, key or None)
            _follow(alarm, limit if limits.enabled and limit.enabled else None, subject, value, now)
    changes = list(_changes(state, limits, looked, now))
    for path in reading.gone:
        subject = state.subjects.pop(path, Subject())
        if subject.alert_id is not None:
            changes.append(_change("cleared", path, subject, gone=True))
    suspects = tuple(key for key, subject in state.subjects.items() if limits.enabled and _suspect(key, subject))
    return Verdict(tuple(changes), suspects)


def holding(reading: Reading, limits: Limits) -> dict[str, tuple[Reason, ...]]:
    """
    Conditions that hold in one reading alone, by subject: what ``status`` can say without an agent. Times and rates
    need several readings, so growth and events are not among them.
    """
    from oomsight.alarms.state import State

    state = State()
    judge(reading, limits, state, 0.0)
    found = {}
    for key, subject in state.subjects.items():
        reasons = [Reason(code, t.value, 0.0) for code, t in subject.tracks.items() if t.since is not None]
        if reasons:
            found[key] = tuple(sorted(reasons, key=lambda reason: _ORDER[reason.code]))
    return found


_ORDER: Final = {alarm.code: index for index, alarm in enumerate(ALARMS)}


# -- measuring --------------------------------------------------------------------------------------------------------


def _measure_host(subject: Subject, memory: MemInfo, now: float) -> None:
    need, room = need_kib(memory), headroom_kib(memory)
    total, cached = memory.mem_total_kib, memory.fields.get("Cached")
    subject.limit_bytes = None if total is None else total << 10
    subject.cache_bytes = None if cached is None else max(cached - memory.fields.get("Shmem", 0), 0) << 10
    subject.need_bytes = None if need is None else need << 10
    swapped = (memory.swap_total_kib or 0) - (memory.swap_free_kib or 0)
    _grow(subject, None if need is None else (need + swapped) << 10, None if room is None else room << 10, now)


def _measure_cgroup(subject: Subject, memcg: Memcg, now: float) -> None:
    subject.limit_bytes = memcg.limit_bytes if isinstance(memcg.limit_bytes, int) else None
    subject.usage_bytes = memcg.usage_bytes
    killed = _just_killed(subject, memcg.oom_kills, now)
    if memcg.need_bytes is not None:
        subject.need_bytes, subject.cache_bytes = memcg.need_bytes, memcg.page_cache_bytes
        if killed:  # what is freed now was no collected heap: who takes its place grows from nothing
            subject.points.clear()
            subject.counts.pop("top", None)
            subject.counts.pop("peak", None)
            subject.headroom_bytes = memcg.headroom_bytes
            subject.bytes_per_second = subject.time_left_seconds = None
        else:
            _grow(subject, memcg.need_bytes, memcg.headroom_bytes, now)


def _just_killed(subject: Subject, kills: int | None, now: float) -> bool:
    """Whether the OOM killer ended somebody in a cgroup a moment ago, whose memory goes within seconds."""
    if kills is None:
        return False
    before = subject.counts.get("kill")
    if before is None or kills != before[1]:
        subject.counts["kill"] = before = (now if before is not None else now - FREED_SECONDS, kills)
    return now - before[0] < FREED_SECONDS


def _grow(subject: Subject, need: int | None, room: int | None, now: float) -> None:
    subject.headroom_bytes = room
    if need is None or room is None or subject.limit_bytes is None:
        return
    add_point(subject.points, now, need)
    pace = pace_of(subject.points, subject.limit_bytes)
    peak = _peak_before(subject, need, subject.limit_bytes, now)
    # The next job climbs to about where the last one was.
    if pace is not None and pace.later and need <= peak + LEAST_SHARE * subject.limit_bytes:
        pace = Pace(0.0, 0.0, 0.0)
    subject.bytes_per_second = None if pace is None else pace.bytes_per_second
    subject.time_left_seconds = None if pace is None else pace.time_left_seconds(room, subject.limit_bytes)


def _peak_before(subject: Subject, need: int, limit: int, now: float) -> int:
    """The highest need of the last hours that was given back."""
    _, top = subject.counts.get("top", (now, 0))
    at, peak = subject.counts.get("peak", (now, 0))
    if now - at > PEAK_SECONDS:
        peak = 0
    if need >= top:
        subject.counts["top"] = (now, need)
    elif top - need > DROP_SHARE * limit:
        subject.counts["top"] = (now, need)
        if top >= peak:
            peak = top
            subject.counts["peak"] = (now, peak)
    return peak


def _host_values(
    memory: MemInfo, pressure: Mapping[str, Stall], subject: Subject
) -> Iterator[tuple[str, float | None]]:
    need, total = need_kib(memory), memory.mem_total_kib
    yield "memory_high", 100 * need / total if need is not None and total else None
    swap, free = memory.swap_total_kib, memory.swap_free_kib
    yield "swap_high", 100 * (1 - free / swap) if swap and free is not None else 0.0 if swap == 0 else None
    yield "memory_growth", _left(subject)
    if "full" not in pressure:
        yield "memory_pressure", None
        return
    held = None if need is None else need + (swap or 0) - (free or 0)
    pressed = held is None or not total or held >= PRESSED_SHARE * total
    yield "memory_pressure", pressure["full"].avg10_pct if pressed else 0.0


def _cgroup_values(
    memcg: Memcg, pressure: Mapping[str, Stall], subject: Subject, now: float
) -> Iterator[tuple[str, float | None]]:
    need, limit, high = memcg.need_bytes, memcg.limit_bytes, memcg.high_bytes
    if need is None:  # only looked at from afar
        return
    share = need / limit if isinstance(limit, int) and limit else None
    if share is not None:
        yield "cgroup_near_limit", 100 * share
        yield "cgroup_growth", _left(subject)
    rate = _per_minute(subject, "max", memcg.max_events, now)
    yield "cgroup_at_limit", rate if share is not None and share >= FULL_SHARE else 0.0
    rate = _per_minute(subject, "high", memcg.high_events, now)
    yield "cgroup_throttled", rate if isinstance(high, int) and high and need / high >= FULL_SHARE else 0.0
    if "full" in pressure:
        pressed = max(share or 0.0, need / high if isinstance(high, int) and high else 0.0) >= PRESSED_SHARE
        yield "cgroup_pressure", pressure["full"].avg10_pct if pressed else 0.0


def _left(subject: Subject) -> float | None:
    if subject.bytes_per_second is None:
        return None
    return LONG_SECONDS if subject.time_left_seconds is None else subject.time_left_seconds


def _per_minute(subject: Subject, name: str, count: int | None, now: float) -> float | None:
    """How often it happened since the last look; ``None`` = the first look, or no such counter."""
    if count is None:
        return None
    before = subject.counts.get(name)
    subject.counts[name] = (now, count)
    if before is None or now <= before[0]:
        return None
    return max(count - before[1], 0) * 60 / (now - before[0])


# -- holding ----------------------------------------------------------------------------------------------------------


def _follow(alarm: Alarm, limit: Limit | None, subject: Subject, value: float | None, now: float) -> None:
    """Move one alarm on by one measurement; one that is not known moves nothing. No limit: it is off."""
    track = subject.tracks.get(alarm.code)
    if limit is None:
        subject.tracks.pop(alarm.code, None)
        return
    if value is None:
        return
    beyond = _beyond(alarm, value, limit.raise_at)
    if track is None:
        if not beyond:
            return
        track = subject.tracks[alarm.code] = Track(value)
    track.value = value
    track.since = (track.since if track.since is not None else now) if beyond else None
    if track.raised is None:
        if track.since is None:
            del subject.tracks[alarm.code]
        elif now - track.since >= _patience(limit, subject):
            track.raised = now
    if track.raised is not None:
        track.critical = limit.critical_at is not None and _beyond(alarm, value, limit.critical_at)
        over = value >= limit.clear_at if alarm.downwards else value <= limit.clear_at
        track.over = (track.over if track.over is not None else now) if over else None
        if track.over is not None and now - track.over >= limit.clear_seconds:
            del subject.tracks[alarm.code]


def _beyond(alarm: Alarm, value: float, limit: float) -> bool:
    return value <= limit if alarm.downwards else value >= limit


def _patience(limit: Limit, subject: Subject) -> float:
    left = subject.time_left_seconds
    return limit.for_seconds if left is None else min(limit.for_seconds, max(QUARTER * left, LEAST_PATIENCE_SECONDS))


def still(state: State) -> list[Change]:
    """Every alert that goes on, as a change that changes nothing: receivers forget what they do not hear of again."""
    return [_change("still", key, subject) for key, subject in state.subjects.items() if subject.alert_id is not None]


# -- telling ----------------------------------------------------------------------------------------------------------


def _changes(state: State, limits: Limits, looked: list[str], now: float) -> Iterator[Change]:
    for key in looked:
        subject = state.subjects[key]
        active = subject.active if limits.enabled else []
        if subject.alert_id is None:
            if active and not _told_elsewhere(state, key, subject):
                subject.alert_id, subject.raised = _id(key, now), now
                yield _tell("raised", key, subject, active)
        elif not active:
            yield _change("cleared", key, subject)
            subject.alert_id, subject.raised, subject.told, subject.critical = None, None, [], False
        elif not set(active) <= set(subject.told) or (_critical(subject) and not subject.critical):
            yield _tell("changed", key, subject, active)


def _tell(moment: Moment, key: str, subject: Subject, active: list[str]) -> Change:
    subject.told = sorted({*subject.told, *active}, key=_ORDER.__getitem__)
    subject.critical |= _critical(subject)
    return _change(moment, key, subject)


def _critical(subject: Subject) -> bool:
    return any(track.critical for track in subject.tracks.values() if track.raised is not None)


def _change(moment: Moment, key: str, subject: Subject, *, gone: bool = False) -> Change:
    codes = subject.told if moment == "cleared" else sorted(subject.active, key=_ORDER.__getitem__)
    reasons = []
    for code in codes:
        track = subject.tracks.get(code)
        raised = subject.raised or 0.0
        reasons.append(Reason(code, track.value if track else 0.0, (track.raised if track else None) or raised))
    severity: Severity = "critical" if subject.critical else "warning"
    assert subject.alert_id is not None
    return Change(moment, key, subject.alert_id, severity, tuple(reasons), subject.raised or 0.0, subject, gone)


def _told_elsewhere(state: State, key: str, subject: Subject) -> bool:
    """Whether a cgroup above or below it is told already and holds (nearly) the same memory."""
    need = subject.need_bytes
    if key == HOST or not need:
        return False
    for other, found in state.subjects.items():
        if found.alert_id is None or other in {HOST, key} or not found.need_bytes:
            continue
        inner, outer = (need, found.need_bytes) if _inside(key, other) else (found.need_bytes, need)
        if (_inside(key, other) or _inside(other, key)) and inner >= SAME_STORY * outer:
            return True
    return False


def _inside(path: str, above: str) -> bool:
    return path.startswith(above.rstrip("/") + "/")


def _suspect(key: str, subject: Subject) -> bool:
    """Whether it is worth to know who is in there: before an alarm is raised, so that growth has two ends."""
    if subject.pending or subject.alert_id is not None:
        return True
    alarm = BY_CODE["memory_growth" if key == HOST else "cgroup_growth"]
    return subject.time_left_seconds is not None and subject.time_left_seconds <= alarm.clear_at


def _id(key: str, now: float) -> str:
    from hashlib import blake2b  # OpenSSL comes with it: not for who only looks

    return "al-" + blake2b(f"{key}\x1f{now:.3f}".encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _set_clock(state: State, now: float) -> None:
    """
    Go on with a clock that was set back while nobody looked (a restart): else alarms would wait for as long. Rates
    begin anew, as it is not known when it was set. Steps that are seen: :meth:`~oomsight.alarms.state.State.move`.
    """
    if state.clock - now > CLOCK_STEP_SECONDS:
        state.move(now - state.clock)
        for subject in state.subjects.values():
            subject.points.clear()
            subject.counts.clear()
    state.clock = now
