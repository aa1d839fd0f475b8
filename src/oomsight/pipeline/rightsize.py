"""The recorder's history as usages: need of every limited or named cgroup over time, with the kills that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from oomsight.audit.runtimes.table import RUNTIMES, recognise
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.proc.process import parse_statm
from oomsight.rightsize.model import Subject, Usage
from oomsight.rightsize.need import BASES, need_bytes
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree, read_if_there
from oomsight.trend.series import Series

if TYPE_CHECKING:
    from oomsight.rightsize.need import Basis

MOST_PIDS: Final = 1000  #: of one cgroup, looked at for the biggest
MOST_POINTS: Final = 20_000  #: of one series
_WORTH_BYTES: Final = 8 << 20  #: smaller ones are not worth a limit of their own, unless they have one


def from_history(
    path: str | None, since: float, until: float, kills: Sequence[Usage] = ()
) -> tuple[list[Usage], str]:
    """
    Return the usages the recorder's store at *path* (``None`` = the default one) holds, biggest first, and its name
    (marked). Kills of *kills* are joined by subject. Raises :class:`~oomsight.sources.errors.SourceError`.
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
    found = []
    for entity in history.entities("cgroup", since, until):
        usage = _usage(history, entity, since, until, cgroups)
        if usage is None:
            continue
        if (stored := known.pop(usage.subject.name, None)) is not None:
            usage = replace(usage, kills=stored.kills, kill_count=max(stored.kill_count, usage.kill_count))
        found.append(usage)
    found.sort(key=lambda usage: -max(max(series.values) for series in usage.needs))
    return [*found, *known.values()], f"the recorder's history in {mark(str(history.path), Kind.FILE)}"


def _usage(
    history: Any, entity: Any, since: float, until: float, cgroups: CgroupTree | None
) -> Usage | None:
    path = str(entity.cgroup)
    if path == "/":
        return None

    def series(name: str) -> Series | None:
        one: Series = history.series(entity, name, since, until, MOST_POINTS)
        return one if len(one.times) else None

    runtime, argv, environ = _program(path, cgroups)
    limit = series("limit_bytes")
    limit_now = limit.values[-1] if limit is not None and isfinite(limit.values[-1]) else None
    for basis in BASES:
        need = _need(basis, series)
        if need is not None:
            break
    else:
        return None
    # A parent without a limit of its own only sums its children.
    if limit_now is None and (max(need.values) < _WORTH_BYTES or path.endswith(".slice")):
        return None
    usage, swap, kills = (series(name) for name in ("usage_bytes", "swap_bytes", "events_oom_kill"))
    swapped = int(max(swap.values)) if swap is not None else 0
    return Usage(
        subject=subject_of(path), source="", needs=(need,), basis=basis,
        limit_bytes="unlimited" if limit_now is None else int(limit_now),
        cache_peak_bytes=int(max(usage.values)) if usage is not None else None, swap_peak_bytes=swapped or None,
        kill_count=round(kills.values[-1] - kills.values[0]) if kills is not None else 0,
        runtime=runtime, command_line=argv, environment=environ,
    )  # fmt: skip


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


def _need(basis: Basis, series: Any) -> Series | None:
    columns = {}
    for name in (*basis.plus, *basis.minus):
        if (one := series(name)) is None:
            return None
        columns[name] = one
    columns |= {name: one for name in basis.optional if (one := series(name)) is not None}
    first = columns[basis.plus[0]]
    by_time = {name: dict(zip(one.times, one.values, strict=True)) for name, one in columns.items()}
    points = [
        (time, need)
        for time in first.times
        if (need := need_bytes({name: values.get(time) for name, values in by_time.items()}, basis)) is not None
    ]
    if not points:
        return None
    return Series([t for t, _ in points], [v for _, v in points], first.restarts, first.step_seconds)


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
