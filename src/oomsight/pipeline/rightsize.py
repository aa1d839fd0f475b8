"""The recorder's history as usages: need of every limited or named cgroup over time, with the kills that are stored."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal

from oomsight.audit.runtimes.table import RUNTIMES, recognise
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.shares import in_shares
from oomsight.proc.process import parse_statm
from oomsight.record.answers import thinned
from oomsight.record.dense import summed
from oomsight.rightsize.growth import judged
from oomsight.rightsize.model import Subject, Usage
from oomsight.rightsize.need import BASES, need_bytes
from oomsight.rightsize.recommend import recommend
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.rightsize.model import Advice
    from oomsight.rightsize.need import Basis
    from oomsight.rightsize.policy import Policy

Per = Literal["cgroup", "process"]
"""What gets a row: a cgroup (unit, container), or all processes of one name."""

MOST_PIDS: Final = 1000  #: of one cgroup, looked at for the biggest
MOST_POINTS: Final = 10_080  #: of one series, as far as there is a choice: a minute over a week
KEPT_POINTS: Final = 21_600  #: from which on there are too many: a minute over fifteen days
LEAST_ENTITIES: Final = 40  #: for which another process is worth starting
FIELDS: Final = {
    "cgroup": ("usage_bytes", "file_bytes", "shmem_bytes", "swap_bytes", "limit_bytes", "swap_limit_bytes",
               "events_oom_kill"),
    "name": ("rss_anon_bytes", "rss_shmem_bytes", "swap_bytes", "pgtables_bytes"),
    "host": ("mem_total_bytes", "mem_available_bytes", "swap_total_bytes", "swap_free_bytes"),
}  # fmt: skip
"""What is asked of each kind, …"""
OTHER_FIELDS: Final = ("anon_bytes", "kernel_bytes", "inactive_file_bytes", "working_set_bytes")
"""… and of a cgroup of which that is not all known."""
_WORTH_BYTES: Final = 8 << 20  #: smaller ones are not worth a limit of their own, unless they have one


def from_history(
    path: str | None, since: float, until: float, kills: Sequence[Usage] = (), per: Per = "cgroup"
) -> tuple[list[Usage], str]:
    """
    Return the usages the recorder's store at *path* (``None`` = the default one) holds, biggest first, their growth
    judged, and its name (marked); the host itself, whose swap has a size, comes last. Kills of *kills* are joined by
    subject. Raises :class:`~oomsight.sources.errors.SourceError`.
    """
    from importlib import import_module

    try:
        module = import_module("oomsight.sources.history")
    except ImportError:
        raise SourceError("history", "this build has no recorder", "--prometheus URL, or --from incidents") from None
    try:
        history = module.History(path)
    except module.HistoryError as error:
        raise SourceError(
            "history", f"{error}", "start the recorder (oomsight record), or --prometheus URL, or --from incidents"
        ) from None
    hierarchy = find_hierarchy(ProcTree().mounts())
    cgroups = CgroupTree(hierarchy) if hierarchy is not None else None
    known = {usage.subject.name: usage for usage in kills}
    kind = "name" if per == "process" else "cgroup"
    everyone = history.entities(kind, since, until)

    def share(number: int, count: int) -> list[Usage]:
        usages, moments = list[Usage](), list[Sequence[float]]()
        for entity, series in history.together(everyone[number::count], FIELDS[kind], since, until, MOST_POINTS):
            columns = _sampled(series)
            if kind == "cgroup" and not {"usage_bytes", "file_bytes", "shmem_bytes"} <= columns.keys():
                columns |= _columns(history, entity, OTHER_FIELDS, since, until)
            usage = _of_name(entity, columns) if kind == "name" else _of_cgroup(entity, columns, cgroups)
            if usage is not None:
                usages.append(_in_step(judged(usage, until), moments))
        return usages

    found = in_shares(share, len(everyone), LEAST_ENTITIES)
    for place, usage in enumerate(found):
        if (stored := known.pop(usage.subject.name, None)) is not None:
            kill_count = max(stored.kill_count, usage.kill_count)
            found[place] = replace(usage, kills=stored.kills, kill_count=kill_count)
    found.sort(key=lambda usage: -max(max(series.values) for series in usage.needs))
    machine = history.host(since, until)
    host = _of_host(_columns(history, machine, FIELDS["host"], since, until)) if machine is not None else None
    hosts = [judged(host, until)] if host is not None else []
    return [*found, *known.values(), *hosts], f"the recorder's history in {mark(str(history.path), Kind.FILE)}"


Columns = dict[str, Series]
"""Figures over time by the recorder's names; those without a sample are left out."""


def _in_step(usage: Usage, moments: list[Sequence[float]]) -> Usage:
    """*usage* with the times of another, of *moments*, if they are the same: as a rule all are sampled together."""
    needs = []
    for one in usage.needs:
        times = next((known for known in moments if known == one.times), None)
        if times is None:
            moments[:] = [*moments[-3:], times := one.times]
        needs.append(replace(one, times=times))
    return replace(usage, needs=tuple(needs))


def advised(usages: Sequence[Usage], policy: Policy) -> list[Advice]:
    """What to set for each of *usages*, worked out on as many cores as there are."""
    def share(number: int, count: int) -> list[Advice]:
        found = [recommend(usage, policy) for usage in usages[number::count]]
        return [replace(one, usage=replace(one.usage, needs=())) for one in found]  # which is here already

    found = in_shares(share, len(usages), LEAST_ENTITIES)
    return [replace(one, usage=usage) for one, usage in zip(found, usages, strict=True)]


def _columns(history: Any, entity: Any, fields: Sequence[str], since: float, until: float) -> Columns:
    ((_, answers),) = history.together([entity], fields, since, until, MOST_POINTS)
    return _sampled(answers)


def _sampled(answers: Columns) -> Columns:
    return {name: series for name, series in answers.items() if len(series.times)}


def _of_cgroup(entity: Any, columns: Columns, cgroups: CgroupTree | None) -> Usage | None:
    path = str(entity.cgroup)
    if path == "/":
        return None
    runtime, argv, environ = _program(path, cgroups)
    limit, swap_limit = columns.get("limit_bytes"), columns.get("swap_limit_bytes")
    limit_now = limit.values[-1] if limit is not None and isfinite(limit.values[-1]) else None
    basis, need = _best(columns)
    # A parent without a limit of its own only sums its children.
    if need is None or (limit_now is None and (max(need.values) < _WORTH_BYTES or path.endswith(".slice"))):
        return None
    kills = columns.get("events_oom_kill")
    swap_most = swap_limit.values[-1] if swap_limit is not None and isfinite(swap_limit.values[-1]) else None
    return Usage(
        subject=subject_of(path), source="", needs=(need,), basis=basis,
        limit_bytes="unlimited" if limit_now is None else int(limit_now),
        swap_limit_bytes=None if swap_most is None else int(swap_most),
        cache_peak_bytes=_highest(columns, "usage_bytes"), swap_peak_bytes=_highest(columns, "swap_bytes"),
        kill_count=round(kills.values[-1] - kills.values[0]) if kills is not None else 0,
        runtime=runtime, command_line=argv, environment=environ,
    )  # fmt: skip


def _of_name(entity: Any, columns: Columns) -> Usage | None:
    """All processes of one name together: what a unit of their own would have to allow."""
    basis, need = _best(columns)
    if need is None or max(need.values) < _WORTH_BYTES or entity.name.startswith("("):  # a sum of many, no name
        return None
    adj = columns.get("oom_score_adj")
    return Usage(
        subject=Subject(kind="name", name=str(entity.name)), source="", needs=(need,), basis=basis,
        swap_peak_bytes=_highest(columns, "swap_bytes"), oom_score_adj=int(adj.values[-1]) if adj is not None else None,
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
        subject=Subject(kind="host", name="this host"), source="",
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
    columns = {name: known[name] for name in (*basis.plus, *basis.minus, *basis.optional) if name in known}
    first = columns[basis.plus[0]]
    if all(one.times is first.times for one in columns.values()):  # known in the same rows
        total, level = summed([(columns[name].values, name in basis.minus) for name in columns])
        values = [value if (value := one + level) > 0 else 0.0 for one in total]
        return _thinned(first, list(first.times), values)
    by_time = {name: dict(zip(one.times, one.values, strict=True)) for name, one in columns.items()}
    points = [
        (time, need)
        for time in first.times
        if (need := need_bytes({name: values.get(time) for name, values in by_time.items()}, basis)) is not None
    ]
    if not points:
        return None
    return _thinned(first, [t for t, _ in points], [v for _, v in points])


def _thinned(first: Series, times: list[float], values: list[float]) -> Series:
    if len(times) > KEPT_POINTS:
        times, values = thinned(times, values, MOST_POINTS, "max")
    return Series(array("d", times), array("d", values), first.restarts, first.step_seconds)  # a third of the memory


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
