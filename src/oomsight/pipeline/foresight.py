"""The recorder's history as subjects of `leaks` and `forecast`: curves of need, limits, who grew, who lives there."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._record import replaced
from oomsight.foresight.model import SHMEM, Source, Subject, Task
from oomsight.foresight.need import combined, host_of, need_of
from oomsight.foresight.outlook import outlook
from oomsight.foresight.victim import inside
from oomsight.pipeline.curves import Known, cgroup_curves, edges, glimpses, joined, program_curves, rises
from oomsight.pipeline.shares import in_shares
from oomsight.record.codec import plain
from oomsight.record.fields import INDEX, MAIN
from oomsight.trend.exhaust import YOUNG
from oomsight.trend.windows import given_back, soonest

if TYPE_CHECKING:
    from oomsight.foresight.model import Outlook
    from oomsight.record.model import Entity, Picture
    from oomsight.sources.history import History
    from oomsight.trend.exhaust import Exhaustion
    from oomsight.trend.series import Series

MOST_POINTS: Final = (2000, 2000, 2000)  #: of a curve: before the last six hours, before the last ten minutes, and then
COARSE_POINTS: Final = (800, *MOST_POINTS[1:])
"""As many of the six hours, and before them the ten-minute rows of a week: half its work, and the windows of a forecast
that reach so far back are cut into sixty stretches anyway. A back-test stands at moments of the past and needs all."""
MOST_SUBJECTS: Final = 200  #: of each kind, those that changed most
LEAST_CURVES: Final = 40  #: for which another process is worth starting
LEAST_BYTES: Final = 1 << 20  #: growth by less is nobody's leak
QUICK_POINTS: Final = 18  #: of each part, to see who is worth all of them: a sample per 20 minutes of six hours
LEAST_SHARE: Final = 0.1  #: of the headroom that must have gone for that
ENDED_SECONDS: Final = 90.0  #: what was last seen so long before the end had ended, …
GONE_SECONDS: Final = 15.0  #: … or three samples, if that is not less than this
EDGE_SHARE: Final = 0.05  #: of a period, by which chunks may reach beyond it
HELD_SECONDS: Final = 15.0  #: a sample is so old at most, beside coarse ones
ROW_SECONDS: Final = 0.5  #: less than samples are apart
MOST_CAUSES: Final = 5  #: of a growth that are told
SHARED_POINTS: Final = 200
MAJORITY: Final = 0.7  #: of its name's growth that makes one process the cause
NEED_FIELDS: Final = ("usage_bytes", "file_bytes", "shmem_bytes")
CGROUP_FIELDS: Final = (*NEED_FIELDS, "anon_bytes", "limit_bytes", "events_oom_kill")
HOST_FIELDS: Final = ("mem_total_bytes", "mem_available_bytes", "swap_total_bytes", "swap_free_bytes", "oom_kill")


def host(history: History, since: float, until: float, most: Sequence[int] = MOST_POINTS) -> Subject | None:
    """The host's RAM and swap; ``None`` = not on record then. *most*: points of the curve, as for :func:`fine`."""
    machine = history.host(since, until)
    if machine is None:
        return None
    figures = fine(history, machine, HOST_FIELDS, since, until, most=most)
    found = host_of(figures)
    if found is None:
        return None
    free = figures["swap_free_bytes"]
    swap = free.values[-1] if len(free) and free.values[-1] > 0 else None
    kills = rises(zip(figures["oom_kill"].times, figures["oom_kill"].values, strict=True))
    return Subject("host", "", None, None, found[0], found[1], swap, kills=kills)


def swap_free(history: History, since: float, until: float) -> float | None:
    """Bytes of swap that were free in the end, by the last minutes on record; ``None`` = none, or not known."""
    machine = host(history, max(since, until - 600), until) or host(history, since, until)
    return machine.swap_free_bytes if machine is not None else None


def grown(history: History, kind: str, since: float, until: float, part: str = "") -> list[Entity]:
    """
    Cgroups, names or processes on record that grew by an amount that may be a leak, most first; of cgroups those with
    *part* in their path.
    """
    return [entity for entity in _by_growth(history, kind, since, until, part) if _change(entity) >= LEAST_BYTES]


def _by_growth(
    history: History, kind: str, since: float, until: float, part: str, *, gone_too: bool = True
) -> list[Entity]:
    if kind != "cgroup":
        return history.entities(kind, since, until, MOST_SUBJECTS, by_growth=True)
    found = history.entities(kind, since, until, by_growth=True)
    if not gone_too:  # before the cut: pods of yesterday must not take the places of those that run
        there = _there(history, kind, until, ENDED_SECONDS)
        found = [one for one in found if one.key in there]
    return [one for one in found if one.cgroup not in {None, "/"} and part in (one.cgroup or "")][:MOST_SUBJECTS]


def limited(
    history: History, since: float, until: float, *, swap: float | None = None, among: int = MOST_SUBJECTS,
    part: str = "", gone_too: bool = True,
) -> Iterator[Subject]:  # fmt: skip
    """
    Cgroups that have a limit, *among* so many that used most of the headroom they had, with *part* in their path;
    without *gone_too* only those that were there in the end. *swap*: bytes of it that are free on the host. Of those
    that stay far from their limit only a few points are read.
    """
    entities = _by_growth(history, "cgroup", since, until, part, gone_too=gone_too)
    glanced = sorted(_glanced(history, entities, since, until), key=_used, reverse=True)[:among]
    level = {one.entity.key for one in glanced if not _may_fill(one)}
    closer = cgroups(history, [one.entity for one in glanced if one.entity.key not in level], since, until)
    by_name = {one.name: one for one in closer}  # by path: no two have the same
    for one in glanced:
        if one.entity.key in level and one.need is not None:
            yield _subject(one, one.need, swap)
        elif (found := by_name.get(one.entity.name)) is not None:
            yield replaced(found, limit_bytes=found.limit_bytes or one.limit_bytes, swap_free_bytes=swap)


def cgroups(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int] = MOST_POINTS
) -> Iterator[Subject]:
    """The curves of cgroups. *most*: points of a curve, as for :func:`fine`."""
    return (subject for _, subject in each_cgroup(history, entities, since, until, most))


def each_cgroup(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int]
) -> Iterator[tuple[Entity, Subject]]:
    """As :func:`cgroups`, each with what it is in the record."""
    for known in cgroup_curves(history, entities, since, until, most):
        need = known.need
        if need is None:
            need = _need(fine(history, known.entity, CGROUP_FIELDS, since, until, most=most))
        if need is None or not len(need):
            continue
        if known.kills:  # who is killed begins anew
            need = replaced(need, restarts=tuple(sorted({*need.restarts, *known.kills})))
        yield known.entity, _subject(known, need, None)


def _subject(known: Known, need: Series, swap: float | None) -> Subject:
    limit = known.limit_bytes if known.limit_bytes is not None and math.isfinite(known.limit_bytes) else None
    return Subject("cgroup", known.entity.name, known.entity.cgroup, None, need, limit, swap, known.kills)


def _glanced(history: History, entities: Sequence[Entity], since: float, until: float) -> list[Known]:
    """What limited cgroups held in a few moments of each part of a period, to see who is worth all of them."""
    def share(number: int, count: int) -> list[Known | None]:
        found: list[Known | None] = []
        for one in glimpses(history, entities[number::count], since, until, QUICK_POINTS):
            limit = one.limit_bytes
            if limit is None:
                limits = history.series(one.entity, "limit_bytes", max(since, until - 600), until, 10)
                limit = limits.values[-1] if len(limits) else math.inf
            found.append(one._replace(limit_bytes=limit) if math.isfinite(limit) else None)
        return found

    return [one for one in in_shares(share, len(entities), LEAST_CURVES) if one is not None]


def ended(subject: Subject, until: float) -> bool:
    """Whether it was last seen so many samples before *until* that it was there no more."""
    times = subject.need.times
    apart = times[-1] - times[-2] if len(times) > 1 else ENDED_SECONDS
    return len(times) > 0 and times[-1] < until - min(max(3 * apart, GONE_SECONDS), ENDED_SECONDS)


def _need(figures: dict[str, Series]) -> Series | None:
    need = need_of(figures)
    if need is None and (anon := figures.get("anon_bytes")) is not None and len(anon):
        need = combined(anon, [(figures.get("shmem_bytes"), 1.0)])
    return need


def _used(one: Known) -> float:
    """Over what share of its headroom it moved."""
    if one.need is None or not len(one.need) or one.limit_bytes is None:
        return math.inf
    peak = max(one.need.values)
    room = one.limit_bytes - peak
    return (peak - min(one.need.values)) / room if room > 0 else math.inf


def _may_fill(one: Known) -> bool:
    """
    Whether it moved over a share of its headroom, which is worth a closer look. A forecast reaches five times as far
    as the growth it rests on, so that growth has to be a sixth of the headroom; thinned points show a little less.
    What is younger than a few glimpses has not shown yet whether it moves.
    """
    return one.need is None or len(one.need) < YOUNG or _used(one) >= LEAST_SHARE


def programs(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int] = MOST_POINTS
) -> Iterator[Subject]:
    """The curves of names or processes, all of one kind. *most*: points of a curve, as for :func:`fine`."""
    return (subject for _, subject in each_program(history, entities, since, until, most))


def each_program(
    history: History, entities: Sequence[Entity], since: float, until: float, most: Sequence[int]
) -> Iterator[tuple[Entity, Subject]]:
    """As :func:`programs`, each with what it is in the record."""
    for entity, need in program_curves(history, entities, since, until, most):
        if len(need):
            yield entity, program(entity, need)


def program(entity: Entity, need: Series) -> Subject:
    """A name or process that needed that."""
    return Subject(entity.kind, entity.name, entity.cgroup, entity.pid, need, None)


def causes(history: History, cgroup: str | None, since: float, until: float) -> list[Source]:
    """
    Who in *cgroup* (``None`` = on the host) holds more at *until* than at *since*, most first. Programs count as a
    whole: a worker that takes the place of another has grown by what it holds more.
    """
    by_name: dict[str, list[_Gain]] = {}
    there = _there(history, "process", until, ROW_SECONDS)  # workers that live for seconds are gone a moment later
    members = [one for one in history.entities("process", since, until)
               if inside(one.cgroup, cgroup) and one.last_main is not None]  # fmt: skip
    # Their figures are those of whole chunks: the ends of a short period are looked up, and what was killed soon after.
    edge = (until - since) * EDGE_SHARE
    before = [one for one in members if (one.first or since) < since - edge]
    after = [one for one in members if one.key in there and ((one.last or until) > until + edge or not one.last_main)]
    first, last = _held(history, before, since, edge), _held(history, after, until, edge)
    for entity in members:
        born, alive = _born(entity, since), entity.key in there
        began = 0.0 if born else first.get(entity.key, entity.first_main or 0.0)
        held = last.get(entity.key, entity.last_main or 0.0) if alive else 0.0
        by_name.setdefault(entity.name, []).append(_Gain(held - began, held, entity, born, alive))
    grown = {name: sum(one.bytes for one in members) for name, members in by_name.items()}
    shared = _shared(history, cgroup, since, until)
    whole = sum(amount for amount in grown.values() if amount > 0) + (shared.grown_bytes if shared is not None else 0.0)
    found = [_source(name, by_name[name], amount, until - since, whole)
             for name, amount in grown.items() if amount >= LEAST_BYTES / 4]  # fmt: skip
    if shared is not None:
        found.append(shared._replace(share=shared.grown_bytes / whole))
    return sorted(found, key=lambda source: -source.grown_bytes)


def _shared(history: History, cgroup: str | None, since: float, until: float) -> Source | None:
    """What lies in tmpfs and shared memory, if it grew: nobody's private memory, and no restart frees it."""
    if cgroup is None:
        owner = history.host(since, until)
    else:
        owner = next((one for one in history.entities("cgroup", since, until) if one.name == cgroup), None)
    if owner is None:
        return None
    series = history.series(owner, "shmem_bytes", since, until, SHARED_POINTS)
    grown = series.values[-1] - series.values[0] if len(series) else 0.0
    if grown < LEAST_BYTES / 4:
        return None
    return Source("shmem", SHMEM, None, cgroup, 0, series.values[-1], grown, grown / max(until - since, 1.0), None)


@lru_cache(maxsize=2)  # what is full or leaks mostly grew until the same moment
def _there(history: History, kind: str, moment: float, seconds: float) -> frozenset[str]:
    """Keys of those that were there at *moment*, or so many *seconds* before."""
    return frozenset(one.key for one in history.entities(kind, moment - seconds, moment))


def _held(history: History, members: Sequence[Entity], moment: float, slack: float) -> dict[str, float]:
    """What each of *members* held at *moment*, or *slack* seconds before, by key; who is not in was not seen."""
    columns = history.columns(members, (INDEX["process"][MAIN["process"]],), moment - max(slack, HELD_SECONDS), moment)
    newest = {key: max(zip(one.times, one.columns[0], strict=True)) for key, one in columns.items() if one.times}
    return {key: 1024.0 * kib for key, (_, coded) in newest.items() if (kib := plain(coded)) is not None}


def _born(entity: Entity, since: float) -> bool:
    """Whether it began after *since*."""
    began = entity.started if entity.started is not None else entity.first
    return began is not None and began > since


class _Gain(NamedTuple):
    """One process's part of its program's growth."""

    bytes: float
    held: float  #: in the end
    entity: Entity
    born: bool  #: in the period
    alive: bool  #: in the end


def _source(name: str, members: Sequence[_Gain], grown: float, seconds: float, whole: float) -> Source:
    """The program as a cause, or the one process that makes most of its growth and took nobody's place."""
    there = [one for one in members if one.alive]
    most = max(there, key=lambda one: one.bytes)
    instead = most.born and len(there) < len(members)
    one = len(there) == 1 or (most.bytes >= MAJORITY * grown and not instead)
    amount = grown if instead or not one else most.bytes
    holds = sum(one.held for one in ([most] if one else there))
    return Source(
        "process" if one else "name", name, most.entity.pid if one else None, most.entity.cgroup,
        1 if one else len(there), holds, amount, amount / max(seconds, 1.0), min(amount / whole, 1.0),
    )  # fmt: skip


def tasks(history: History, moment: float) -> list[Task]:
    """The processes at *moment*."""
    picture: Picture = history.at(moment)
    found = []
    for entity, values in picture.processes:
        get = values.get
        rss = get("rss_anon_bytes", 0.0) + get("rss_file_bytes", 0.0) + get("rss_shmem_bytes", 0.0)
        adj = int(get("oom_score_adj", 0))
        found.append(Task(entity.name, entity.pid, entity.cgroup, rss, get("swap_bytes", 0.0),
                          get("pgtables_bytes", 0.0), adj, get("need_bytes", 0.0)))  # fmt: skip
    return found


def _left(subject: Subject, until: float) -> Exhaustion | None:
    """When *subject* is full, unless what grew in it has just gone."""
    left = soonest(subject.need, subject.limit_bytes, until)
    return None if left is None or given_back(left, subject.need) else left


def outlooks(history: History, subjects: Sequence[Subject], until: float, page_size: int) -> list[Outlook]:
    """What comes for each of *subjects*, and by whose doing, worked out on as many cores as there are."""
    def share(number: int, count: int) -> list[Outlook]:
        found, living = [], list[Task]()
        for subject in subjects[number::count]:
            left = _left(subject, until)
            grown_in = []
            if left is not None:
                grown_in = causes(history, subject.cgroup, left.growth.since, left.growth.until)[:MOST_CAUSES]
                living = living or tasks(history, until)
            found.append(outlook(subject, until, left, grown_in, living, page_size))
        return found

    return in_shares(share, len(subjects), LEAST_CURVES)


def nearest(
    history: History, since: float, until: float, most: int, *, among: int = MOST_SUBJECTS,
    budget_seconds: float = math.inf,
) -> list[tuple[Subject, Exhaustion]]:  # fmt: skip
    """
    The host and the limited cgroups (*among* those that grew most) that are filling, the *most* soonest full. After
    *budget_seconds* of processor time no further one is looked at: on a machine that is in trouble the clock runs on.
    """
    end = time.process_time() + budget_seconds
    found = []
    machine = host(history, since, until)
    swap = machine.swap_free_bytes if machine is not None else None
    filling = limited(history, since, until, swap=swap, among=among, gone_too=False)
    for subject in chain([machine] if machine is not None else [], filling):
        left = _left(subject, until) if not ended(subject, until) else None
        if left is not None:
            found.append((subject, left))
        if time.process_time() > end:
            break
    return sorted(found, key=lambda one: one[1].seconds)[:most]


def fine(
    history: History, entity: Entity, fields: Sequence[str], since: float, until: float, *,
    most: Sequence[int] = MOST_POINTS,
) -> dict[str, Series]:
    """
    Figures of *entity*, the last ten minutes of them as dense as they are, the last six hours denser than what is
    before: what fills within minutes has to show, and a week has to fit. *most*: points of each of the three.
    """
    parts = list(pairwise(edges(since, until)))
    pieces = [
        history.several(entity, fields, a, b, points)
        for (a, b), points in zip(parts, most[-len(parts) :], strict=True)
    ]
    return {field: joined([piece[field] for piece in pieces]) for field in fields}


def _change(entity: Entity) -> float:
    """By how much it grew at most: to its peak, as what was killed for it holds nothing at the end."""
    return (entity.peak_main or 0.0) - (entity.first_main or 0.0)
