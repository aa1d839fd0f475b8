"""The recorder's history as usages: need of every limited or named cgroup over time, with the kills that are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Final, Literal

from oomsight.audit.runtimes.table import RUNTIMES, recognise
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.shares import in_shares
from oomsight.proc.process import parse_statm
from oomsight.rightsize.growth import concluded, judged
from oomsight.rightsize.model import Subject, Usage
from oomsight.rightsize.need import BASES, need_bytes
from oomsight.rightsize.policy import USUAL
from oomsight.rightsize.recommend import recommend
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.record.model import Entity
    from oomsight.rightsize.model import Advice
    from oomsight.rightsize.need import Basis
    from oomsight.rightsize.policy import Policy
    from oomsight.sources.history import History
    from oomsight.sources.history_needs import Held

Per = Literal["cgroup", "process"]
"""What gets a row: a cgroup (unit, container), or all processes of one name."""

MOST_PIDS: Final = 1000  #: of one cgroup, looked at for the biggest
MOST_POINTS: Final = 10_080  #: of one series, as far as there is a choice: a minute over a week
LEAST_ENTITIES: Final = 40  #: for which another process is worth starting
FIELDS: Final = {
    "cgroup": ("usage_bytes", "file_bytes", "shmem_bytes", "swap_bytes", "limit_bytes", "events_oom_kill"),
    "host": ("mem_total_bytes", "mem_available_bytes", "swap_total_bytes", "swap_free_bytes"),
}  # fmt: skip
"""What is asked row by row, …"""
OTHER_FIELDS: Final = ("anon_bytes", "kernel_bytes", "inactive_file_bytes", "working_set_bytes")
"""… and of a cgroup of which that is not all known."""
HOST: Final = Subject(kind="host", name="this host")
_WORTH_BYTES: Final = 8 << 20  #: smaller ones are not worth a limit of their own, unless they have one


def from_history(  # noqa: PLR0917
    path: str | None, since: float, until: float, kills: Sequence[Usage] = (), per: Per = "cgroup",
    policy: Policy = USUAL, chosen: Callable[[Sequence[Subject]], Sequence[Subject]] = list,
) -> tuple[list[Advice], str]:  # fmt: skip
    """
    Return what to set for what the recorder's store at *path* (``None`` = the default one) holds, biggest first, what
    only *kills* know after it, and the host itself, whose swap has a size, last; and the store's name (marked).
    *chosen*: which of all subjects are wanted. Raises :class:`~oomsight.sources.errors.SourceError`.
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
    known = {usage.subject.name: usage for usage in kills}
    kind = "name" if per == "process" else "cgroup"
    everyone = [(entity, _subject(entity)) for entity in history.entities(kind, since, until)]
    machine = history.host(since, until)
    hosts = [HOST] if machine is not None else []
    wanted = {*chosen([*(subject for _, subject in everyone), *(usage.subject for usage in kills), *hosts])}
    everyone = [one for one in everyone if one[1] in wanted]

    def share(number: int, count: int) -> list[Advice | None]:
        mine = everyone[number::count]
        usages = _usages(history, [entity for entity, _ in mine], [subject for _, subject in mine], since, until)
        found: list[Advice | None] = []
        for one in usages:
            usage = one
            if usage is not None and (stored := known.get(usage.subject.name)) is not None:
                kill_count = max(stored.kill_count, usage.kill_count)
                usage = replace(usage, kills=stored.kills, kill_count=kill_count)
            found.append(_advised(usage, policy))
        if number == count - 1:  # has the least of the others to do
            host = _of_host(_columns(history, machine, FIELDS["host"], since, until)) if HOST in wanted else None
            found.append(_advised(judged(host, until) if host is not None else None, policy))
        return found

    found = [one for one in in_shares(share, len(everyone), LEAST_ENTITIES) if one is not None]
    found.sort(key=lambda advice: -(advice.peak_bytes or 0))
    there = {advice.usage.subject.name for advice in found}
    killed = (usage for name, usage in known.items() if usage.subject in wanted and name not in there)
    ordered = [one for one in found if one.usage.subject != HOST]
    ordered += [recommend(usage, policy) for usage in killed]
    ordered += [one for one in found if one.usage.subject == HOST]
    return ordered, f"the recorder's history in {mark(str(history.path), Kind.FILE)}"


def _advised(usage: Usage | None, policy: Policy) -> Advice | None:
    """What to set, without what was measured: all of that goes through a pipe."""
    if usage is None:
        return None
    advice = recommend(usage, policy)
    return replace(advice, usage=replace(usage, needs=(), recorded=None))


def _usages(
    history: History, entities: Sequence[Entity], subjects: Sequence[Subject], since: float, until: float
) -> list[Usage | None]:
    """What each of *entities* needed, ``None`` = it is not worth a limit; its growth as ``leaks`` judges it."""
    from oomsight.foresight.leaks import verdict_on
    from oomsight.pipeline.foresight import cgroups, programs
    from oomsight.pipeline.leaks import POINTS

    if not entities:
        return []
    hierarchy = find_hierarchy(ProcTree().mounts())
    here = CgroupTree(hierarchy) if hierarchy is not None else None
    read, of = (cgroups, partial(_of_cgroup, cgroups=here)) if entities[0].kind == "cgroup" else (programs, _of_name)
    held = dict(history.needs(entities, since, until, MOST_POINTS))
    found = []
    for entity, subject in zip(entities, subjects, strict=True):
        known = held.get(entity)
        found.append(of(subject, known) if known is not None else _otherwise(history, entity, subject, since, until))
    told = [entity for entity, usage in zip(entities, found, strict=True) if usage is not None and not usage.needs]
    verdicts = {one.name: verdict_on(one, until)[0] for one in read(history, told, since, until, POINTS)}
    return [
        usage if usage is None else judged(usage, until) if usage.needs
        else concluded(usage, [verdicts[entity.name]] if entity.name in verdicts else [])
        for entity, usage in zip(entities, found, strict=True)
    ]


Columns = dict[str, Series]
"""Figures over time by the recorder's names; those without a sample are left out."""


def advised(usages: Sequence[Usage], policy: Policy) -> list[Advice]:
    """What to set for each of *usages*, worked out on as many cores as there are."""
    def share(number: int, count: int) -> list[Advice]:
        found = [recommend(usage, policy) for usage in usages[number::count]]
        return [replace(one, usage=replace(one.usage, needs=())) for one in found]  # which is here already

    found = in_shares(share, len(usages), LEAST_ENTITIES)
    return [replace(one, usage=usage) for one, usage in zip(found, usages, strict=True)]


def _columns(history: History, entity: Entity, fields: Sequence[str], since: float, until: float) -> Columns:
    ((_, answers),) = history.together([entity], fields, since, until, MOST_POINTS)
    return _sampled(answers)


def _sampled(answers: Columns) -> Columns:
    return {name: series for name, series in answers.items() if len(series.times)}


def _of_cgroup(subject: Subject, held: Held, cgroups: CgroupTree | None) -> Usage | None:
    path = str(subject.cgroup)
    limit = held.ends.get("limit_bytes", (0.0, inf))[1] if "limit_bytes" in held.ends else inf
    if not _worth(subject, held.ordered[-1], limit):
        return None
    runtime, argv, environ = _program(path, cgroups)
    swap_limit, kills = held.ends.get("swap_limit_bytes"), held.ends.get("events_oom_kill")
    return Usage(
        subject=subject, source="", recorded=held, basis=_basis("charged"),
        limit_bytes=int(limit) if isfinite(limit) else "unlimited",
        swap_limit_bytes=int(swap_limit[1]) if swap_limit is not None and isfinite(swap_limit[1]) else None,
        cache_peak_bytes=int(held.highest.get("usage_bytes", 0)) or None,
        swap_peak_bytes=int(held.highest.get("swap_bytes", 0)) or None,
        kill_count=round(kills[1] - kills[0]) if kills is not None else 0,
        runtime=runtime, command_line=argv, environment=environ,
    )  # fmt: skip


def _of_name(subject: Subject, held: Held) -> Usage | None:
    """All processes of one name together: what a unit of their own would have to allow."""
    if not _worth(subject, held.ordered[-1], inf):
        return None
    swap = int(held.highest.get("swap_bytes", 0)) or None
    return Usage(subject=subject, source="", recorded=held, basis=_basis("process"), swap_peak_bytes=swap)


def _worth(subject: Subject, most: float, limit: float) -> bool:
    """Whether something is worth a limit of its own. A parent without one only sums its children."""
    if subject.kind == "name":
        return most >= _WORTH_BYTES and not subject.name.startswith("(")  # which is the sum of many
    path = str(subject.cgroup)
    return path != "/" and (isfinite(limit) or (most >= _WORTH_BYTES and not path.endswith(".slice")))


def _basis(name: str) -> Basis:
    return next(basis for basis in BASES if basis.name == name)


def _otherwise(history: History, entity: Entity, subject: Subject, since: float, until: float) -> Usage | None:
    """What a cgroup needed of which not all is known that need is best made of."""
    if entity.kind != "cgroup":
        return None
    columns = _columns(history, entity, (*FIELDS["cgroup"], *OTHER_FIELDS), since, until)
    basis, need = _best(columns)
    limit = columns["limit_bytes"].values[-1] if "limit_bytes" in columns else inf
    if need is None or not _worth(subject, max(need.values), limit):
        return None
    kills = columns.get("events_oom_kill")
    return Usage(
        subject=subject, source="", needs=(need,), basis=basis,
        limit_bytes=int(limit) if isfinite(limit) else "unlimited",
        cache_peak_bytes=_highest(columns, "usage_bytes"), swap_peak_bytes=_highest(columns, "swap_bytes"),
        kill_count=round(kills.values[-1] - kills.values[0]) if kills is not None else 0,
    )  # fmt: skip


def _of_host(columns: Columns) -> Usage | None:
    """The host: what is in use without what reclaim can take, and swap; held against RAM and swap."""
    total, available = columns.get("mem_total_bytes"), columns.get("mem_available_bytes")
    if total is None or available is None:
        return None
    ram = int(total.values[-1])
    sizes, free = columns.get("swap_total_bytes"), columns.get("swap_free_bytes")
    swap = int(sizes.values[-1]) if sizes is not None else 0
    free_at = dict(zip(free.times, free.values, strict=True)) if free is not None else {}
    used = {time: max(swap - left, 0.0) for time, left in free_at.items()}
    values = [ram - left + used.get(time, 0.0) for time, left in zip(available.times, available.values, strict=True)]
    return Usage(
        subject=HOST, source="",
        needs=(Series(available.times, values, available.restarts, available.step_seconds),),
        ram_bytes=ram, limit_bytes=ram + swap, swap_peak_bytes=int(max(used.values(), default=0.0)) or None,
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


def _program(
    path: str, cgroups: CgroupTree | None, proc: str = "/proc"
) -> tuple[str | None, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Runtime of the biggest process now in cgroup *path*, its command line, what it reads of its environment."""
    directory = cgroups.directory(path) if cgroups is not None else None
    pids = (read_if_there(f"{directory}/cgroup.procs") or "").split() if directory is not None else []
    sizes = [(parse_statm(read_if_there(f"{proc}/{pid}/statm") or ""), pid) for pid in pids[:MOST_PIDS]]
    known = [(statm.resident_pages, pid) for statm, pid in sizes if statm is not None]
    if not known:
        return None, (), ()
    _, pid = max(known)
    argv = tuple((read_if_there(f"{proc}/{pid}/cmdline") or "").rstrip("\0").split("\0"))
    pairs = (pair.partition("=") for pair in (read_if_there(f"{proc}/{pid}/environ") or "").split("\0"))
    wanted = {name for row in RUNTIMES for name in row.env} | {"NODE_OPTIONS"}
    environ = tuple((name, value) for name, _, value in pairs if name in wanted)
    return recognise(argv, dict(environ)), argv, environ


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
