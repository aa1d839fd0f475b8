"""The recorder's history as usages: need of every limited or named cgroup over time, with the kills that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from oomsight._record import replaced
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.shares import in_shares, nothing_collected
from oomsight.rightsize.growth import concluded, judged, steady
from oomsight.rightsize.model import Subject, Usage
from oomsight.rightsize.need import BASES, need_bytes
from oomsight.rightsize.overview import line
from oomsight.rightsize.policy import USUAL
from oomsight.rightsize.recommend import recommend
from oomsight.sources.errors import SourceError
from oomsight.sources.history_needs import Held
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.foresight.model import Subject as Curve
    from oomsight.record.model import Entity
    from oomsight.rightsize.model import Advice
    from oomsight.rightsize.need import Basis
    from oomsight.rightsize.overview import Line
    from oomsight.rightsize.policy import Policy
    from oomsight.sources.history import History
    from oomsight.trend.leak import Finding

Per = Literal["cgroup", "process"]
"""What gets a row: a cgroup (unit, container), or all processes of one name."""

MOST_POINTS: Final = 10_080  #: of one series, as far as there is a choice: a minute over a week
LEAST_ENTITIES: Final = 10  #: for which another process is worth starting
FIELDS: Final = (
    "usage_bytes", "file_bytes", "shmem_bytes", "swap_bytes", "limit_bytes", "events_oom_kill", "anon_bytes",
    "kernel_bytes", "inactive_file_bytes", "working_set_bytes",
)  # fmt: skip
"""What is asked of a cgroup of which not all is known that need is best made of."""
HOST: Final = Subject(kind="host", name="this host")
_UNNAMED: Final = Subject(kind="cgroup", name="")  #: until it is known which of them are told of
_WORTH_BYTES: Final = 8 << 20  #: smaller ones are not worth a limit of their own, unless they have one


class Found(NamedTuple):
    """What a history says."""

    advices: list[Advice]  #: as many as were asked for, …
    asked: int  #: how many there are
    meant: list[Subject]  #: who they are, where some were chosen
    source: str  #: marked
    lines: list[Line] | None = None  #: … or where these are too many, a line of each


@nothing_collected()
def from_history(  # noqa: PLR0917
    path: str | None, since: float, until: float, kills: Sequence[Usage] = (), per: Per = "cgroup",
    policy: Policy = USUAL, chosen: Callable[[Sequence[Subject]], Sequence[Subject]] | None = None,
    most: int | None = None, in_full: int | None = None,
) -> Found:  # fmt: skip
    """
    Return what to set for what the recorder's store at *path* (``None`` = the default one) holds, biggest first, what
    only *kills* know after it, and the host itself, whose swap has a size, last. *chosen*: which of all subjects are
    wanted (``None`` = all), of which the first *most* are worked out; of more than *in_full* only a line each.
    Raises :class:`~oomsight.sources.errors.SourceError`.
    """
    from importlib import import_module

    try:
        module = import_module("oomsight.sources.history")
    except ImportError:
        raise SourceError("history", "this build has no recorder", "--prometheus URL, or --from incidents") from None
    try:
        history = module.History(path)
    except module.HistoryNewer as error:
        raise SourceError("history", str(error), "update this oomsight, or --prometheus URL") from None
    except module.HistoryError as error:
        raise SourceError(
            "history", f"{error}", "start the recorder (oomsight record), or --prometheus URL, or --from incidents"
        ) from None
    kind = "name" if per == "process" else "cgroup"
    machine = history.host(since, until)
    everyone = history.described(kind, since, until, MOST_POINTS)
    if chosen is not None:
        of = {_subject(one): one for one in everyone}
        wanted = {*chosen([*of, *(usage.subject for usage in kills), *([HOST] if machine is not None else [])])}
        everyone = [one for subject, one in of.items() if subject in wanted]
        kills = [usage for usage in kills if usage.subject in wanted]
        machine = machine if HOST in wanted else None
    rows = _with_kills(_rows(history, everyone, since, until), kills)
    hosts = 1 if machine is not None else 0
    if machine is not None and (most is None or len(rows) < most):
        rows += (found := [(machine, usage) for usage in _of_host(history, machine, since, until)])
        hosts = 1 - len(found)
    picked = rows[:most]

    import_module("oomsight.pipeline.leaks")  # once for all shares

    lines: list[Line] | None = None
    advices: list[Advice] = []
    if in_full is not None and len(picked) > in_full:
        lines = in_shares(lambda number, count: _lines(history, picked[number::count], since, until, policy),
                          len(picked), LEAST_ENTITIES)  # fmt: skip
    else:
        advices = in_shares(lambda number, count: _advices(history, picked[number::count], since, until, policy),
                            len(picked), LEAST_ENTITIES)  # fmt: skip
    source = f"the recorder's history in {mark(str(history.path), Kind.FILE)}"
    meant = [] if chosen is None else [_subject(entity) if entity is not None else one.subject for entity, one in rows]
    return Found(advices, len(rows) + hosts, meant, source, lines)


def _rows(
    history: History, everyone: Sequence[Entity], since: float, until: float
) -> list[tuple[Entity | None, Usage]]:
    """What each needed that is worth a limit, biggest first; nothing else is known of it yet."""
    found: list[tuple[Entity | None, Usage]] = []
    for entity, held in history.needs(everyone, since, until, MOST_POINTS):
        if held is None:
            usage = _otherwise(history, entity, since, until)
        elif not _worth(entity, held.peak_bytes, held.end("limit_bytes", 1) if entity.kind == "cgroup" else None):
            usage = None
        else:
            usage = Usage(subject=_UNNAMED, source="", recorded=held)
        if usage is not None:
            found.append((entity, usage))
    found.sort(key=lambda one: (-_highest_need(one[1]), one[0].name if one[0] is not None else ""))
    return found


def _with_kills(
    rows: list[tuple[Entity | None, Usage]], kills: Sequence[Usage]
) -> list[tuple[Entity | None, Usage]]:
    """*rows* with what is stored of their kills, and after them what only these know."""
    if not kills:
        return rows
    there = {_subject(entity).name: at for at, (entity, _) in enumerate(rows) if entity is not None}
    for stored in kills:
        if (at := there.get(stored.subject.name)) is None:
            rows.append((None, stored))
        else:
            rows[at] = rows[at][0], replaced(rows[at][1], kills=stored.kills, kill_count=stored.kill_count)
    return rows


def _highest_need(usage: Usage) -> float:
    return usage.recorded.peak_bytes if usage.recorded is not None else max(usage.needs[0].values)


def _advices(
    history: History, rows: Sequence[tuple[Entity | None, Usage]], since: float, until: float, policy: Policy
) -> list[Advice]:
    """What to set for each of *rows*, its growth as ``leaks`` judges it; what was measured is left out."""
    from oomsight.pipeline.rightsize_program import cgroups_here, program_in

    here = cgroups_here()
    seen = [entity for entity, usage in rows if entity is not None and usage.recorded is not None]
    verdicts = _verdicts(history, seen, since, until)
    found = []
    for entity, one in rows:
        usage = one
        if entity is not None and isinstance(usage.recorded, Held):
            usage = _measured(entity, usage, usage.recorded)
            if entity.key in verdicts:
                finding = verdicts[entity.key]
                usage = concluded(usage, [finding]) if finding is not None else steady(usage)
        elif usage.needs:
            usage = judged(usage, until)
        if usage.subject.kind not in {"name", "host"} and entity is not None:
            runtime, argv, environ = program_in(str(entity.cgroup), here)
            usage = replaced(usage, runtime=runtime, command_line=argv, environment=environ)
        advice = recommend(usage, policy)
        found.append(replaced(advice, usage=replaced(usage, needs=(), recorded=None)))
    return found


def _lines(
    history: History, rows: Sequence[tuple[Entity | None, Usage]], since: float, until: float, policy: Policy
) -> list[Line]:
    """The line of each of *rows*: of its growth only whether it leaks."""
    seen = [entity for entity, usage in rows if entity is not None and usage.recorded is not None]
    leaking = _leaking(history, [one for one in seen if one.kind != "host"], since, until)
    found = []
    for entity, one in rows:
        usage, leaks = one, False
        if entity is not None and isinstance(usage.recorded, Held):
            usage, leaks = _measured(entity, usage, usage.recorded), entity.key in leaking
        elif usage.needs:
            leaks = judged(usage, until).leak.growth == "leak"
        found.append(line(usage, policy, leaks=leaks))
    return found


def _measured(entity: Entity, usage: Usage, held: Held) -> Usage:
    """*usage* with all that is on record of it."""
    if entity.kind == "host":
        return usage
    subject, swap = _subject(entity), int(held.extreme("swap_bytes") or 0) or None
    if entity.kind == "name":  # all processes of one name: what a unit of their own would have to allow
        return replaced(usage, subject=subject, basis=_basis("process"), swap_peak_bytes=swap)
    limit, swap_limit = held.end("limit_bytes", 1), held.end("swap_limit_bytes", 1)
    begin, end = (held.end("events_oom_kill", side) for side in (0, 1))
    counted = round(end - begin) if begin is not None and end is not None else 0
    return replaced(
        usage, subject=subject, basis=_basis("charged"),
        limit_bytes=int(limit) if limit is not None and isfinite(limit) else "unlimited",
        swap_limit_bytes=int(swap_limit) if swap_limit is not None and isfinite(swap_limit) else None,
        cache_peak_bytes=int(held.extreme("usage_bytes") or 0) or None, swap_peak_bytes=swap,
        kill_count=max(counted, usage.kill_count),
    )  # fmt: skip


def _verdicts(
    history: History, entities: Sequence[Entity], since: float, until: float
) -> dict[str, Finding | None]:
    """What the curve of each is, by key; ``None`` = it surely falls. The host, and others of one kind."""
    from oomsight.foresight.leaks import surely_falls, verdict_on
    from oomsight.pipeline.foresight import host
    from oomsight.pipeline.leaks import POINTS

    others = [one for one in entities if one.kind != "host"]
    found = {key: None if surely_falls(curve, until) else verdict_on(curve, until)[0]
             for key, curve in _curves(history, others, since, until)}  # fmt: skip
    for machine in (one for one in entities if one.kind == "host"):
        if (whole := host(history, since, until, POINTS)) is not None:
            found[machine.key] = verdict_on(whole, until)[0]
    return found


def _leaking(history: History, entities: Sequence[Entity], since: float, until: float) -> set[str]:
    """The keys of those, all of one kind, whose verdict is a leak."""
    from oomsight.foresight.leaks import surely_leaks

    return {key for key, curve in _curves(history, entities, since, until) if surely_leaks(curve, until)}


def _curves(
    history: History, entities: Sequence[Entity], since: float, until: float
) -> Iterator[tuple[str, Curve]]:
    """The curve of each, by key, as ``leaks`` looks at it; all are of one kind, and not the host."""
    from oomsight.pipeline.foresight import each_cgroup, each_program
    from oomsight.pipeline.leaks import POINTS

    read = each_program if entities and entities[0].kind == "name" else each_cgroup
    return ((entity.key, curve) for entity, curve in read(history, entities, since, until, POINTS))


Columns = dict[str, Series]
"""Figures over time by the recorder's names; those without a sample are left out."""


def advised(usages: Sequence[Usage], policy: Policy) -> list[Advice]:
    """What to set for each of *usages*, worked out on as many cores as there are."""
    def share(number: int, count: int) -> list[Advice]:
        found = [recommend(usage, policy) for usage in usages[number::count]]
        return [replaced(one, usage=replaced(one.usage, needs=())) for one in found]  # which is here already

    found = in_shares(share, len(usages), LEAST_ENTITIES)
    return [replaced(one, usage=usage) for one, usage in zip(found, usages, strict=True)]


def _columns(history: History, entity: Entity, fields: Sequence[str], since: float, until: float) -> Columns:
    ((_, answers),) = history.together([entity], fields, since, until, MOST_POINTS)
    return _sampled(answers)


def _sampled(answers: Columns) -> Columns:
    return {name: series for name, series in answers.items() if len(series.times)}


def _worth(entity: Entity, most: float, limit: float | None) -> bool:
    """Whether something is worth a limit of its own. A parent without one only sums its children."""
    if entity.kind == "name":
        return most >= _WORTH_BYTES and not entity.name.startswith("(")  # which is the sum of many
    limited = limit is not None and isfinite(limit)
    return entity.cgroup != "/" and (limited or (most >= _WORTH_BYTES and not str(entity.cgroup).endswith(".slice")))


def _basis(name: str) -> Basis:
    return next(basis for basis in BASES if basis.name == name)


def _otherwise(history: History, entity: Entity, since: float, until: float) -> Usage | None:
    """What a cgroup needed of which not all is known that need is best made of."""
    if entity.kind != "cgroup":
        return None
    columns = _columns(history, entity, FIELDS, since, until)
    basis, need = _best(columns)
    limit = columns["limit_bytes"].values[-1] if "limit_bytes" in columns else inf
    if need is None or not _worth(entity, max(need.values), limit):
        return None
    kills = columns.get("events_oom_kill")
    return Usage(
        subject=_subject(entity), source="", needs=(need,), basis=basis,
        limit_bytes=int(limit) if isfinite(limit) else "unlimited",
        cache_peak_bytes=_highest(columns, "usage_bytes"), swap_peak_bytes=_highest(columns, "swap_bytes"),
        kill_count=round(kills.values[-1] - kills.values[0]) if kills is not None else 0,
    )  # fmt: skip


def _of_host(history: History, machine: Entity, since: float, until: float) -> Iterator[Usage]:
    """The host: what is in use without what reclaim can take, and swap; held against RAM and swap."""
    for _, held in history.needs([machine], since, until, MOST_POINTS):
        if held is None:
            continue
        ram, swap = (int(held.end(name, 1) or 0) for name in ("mem_total_bytes", "swap_total_bytes"))
        yield Usage(
            subject=HOST, source="", recorded=held, ram_bytes=ram, limit_bytes=ram + swap,
            swap_peak_bytes=max(swap - int(held.extreme("swap_free_bytes") or 0), 0) or None,
        )  # fmt: skip


def _best(columns: Columns) -> tuple[Basis | None, Series | None]:
    """The most exact sum that stands for need, over time."""
    for basis in BASES:
        need = _need(basis, columns)
        if need is not None:
            return basis, need
    return None, None


def _highest(columns: Columns, name: str) -> int | None:
    series = columns.get(name)
    return (int(max(series.values)) or None) if series is not None else None


def _need(basis: Basis, known: Columns) -> Series | None:
    if not all(name in known for name in (*basis.plus, *basis.minus)):
        return None
    first = known[basis.plus[0]]
    columns = {name: dict(zip(one.times, one.values, strict=True)) for name, one in known.items()}
    points = [
        (time, need)
        for time in first.times
        if (need := need_bytes({name: values.get(time) for name, values in columns.items()}, basis)) is not None
    ]
    if not points:
        return None
    return Series([t for t, _ in points], [v for _, v in points], first.restarts, first.step_seconds)


def _subject(entity: Entity) -> Subject:
    if entity.kind == "host":
        return HOST
    return subject_of(str(entity.cgroup)) if entity.kind == "cgroup" else Subject(kind="name", name=entity.name)


def subject_of(path: str) -> Subject:
    """Return whose cgroup *path* is, as far as the path tells."""
    owner = describe(path)
    leaf = owner.leaf if owner is not None else None
    container = getattr(leaf, "container_id", None)
    if container:
        return Subject(kind="container", name=str(container)[:12], container=str(container)[:12], cgroup=path)
    unit = getattr(leaf, "unit", None)
    if unit and path.rsplit("/", 1)[-1] == unit:
        return Subject(kind="unit", name=str(unit), cgroup=path)
    return Subject(kind="cgroup", name=path, cgroup=path)
