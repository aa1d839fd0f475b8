"""The machine a minute ago, from the recorder's history: growth that a fraction of a second does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.record.formula import UNKNOWN
from oomsight.sources.history import History, HistoryError
from oomsight.sources.status_look import USER_HZ
from oomsight.status.model import Earlier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomsight.record.model import Entity

SECONDS: Final = 60.0  #: how long ago; longer would water down what began just now
LATE_SECONDS: Final = 30.0  #: an older record is none of a minute ago
LAST_SHARE: Final = 0.4  #: of the time that growth comes from, in which it has to go on …
STOPPED: Final = 0.1  #: … at more than this share of its rate
LEAST_SECONDS: Final = 10.0  #: a recorder that began a moment ago: a younger record shows no more than two looks


def earlier_on_record(path: str, boot_id: str, now: float, ticks: int | None) -> Earlier | None:
    """
    The state about :data:`SECONDS` before *now* of this boot, as recorded in *path*, later where the recorder began
    later; ``None`` = nobody recorded it.

    *ticks*: since boot, now.
    """
    try:
        history = History(path)
        picture = history.at(_moment(history, now))
    except HistoryError:
        return None
    if now - picture.time > SECONDS + LATE_SECONDS or not boot_id:
        return None
    processes: dict[int, tuple[int | None, int]] = {}
    for entity, values in picture.processes:
        boot, start = _identity(entity)
        if entity.pid is None or not boot_id.startswith(boot):
            return None
        processes[entity.pid] = (start, int(values.get("need_bytes", 0)) >> 10)
    cgroups = {entity.name: need for entity, values in picture.cgroups if (need := _need(values)) is not None}
    available = picture.host.get("mem_available_bytes")
    then = None if ticks is None else ticks - int((now - picture.time) * USER_HZ)
    return Earlier(picture.time, then, processes, cgroups, None if available is None else int(available) >> 10,
                   _stopped(history, cgroups, picture.time, now))  # fmt: skip


def _stopped(history: History, then: Mapping[str, int], since: float, now: float) -> frozenset[str]:
    """Cgroups that grew since then, but not in the last part of that time: a program that has started is no leak."""
    found, begin = set[str](), now - (now - since) * LAST_SHARE
    entities = [one for one in history.entities("cgroup", begin, now) if one.name in then]
    if not entities:  # nothing was recorded lately
        return frozenset()
    lately = history.columns(entities, (), begin, now, need=True)
    for entity in entities:
        rows = sorted(zip(lately[entity.key].times, lately[entity.key].columns[0], strict=True))
        needs = [need >> 10 for _, need in rows if need != UNKNOWN]
        if len(needs) < 2 or rows[-1][0] - rows[0][0] < (now - begin) / 2:
            continue
        whole = needs[-1] - (then[entity.name] >> 10)
        if whole > 0 and needs[-1] - needs[0] < STOPPED * LAST_SHARE * whole:
            found.add(entity.name)
    return frozenset(found)


def _moment(history: History, now: float) -> float:
    """A minute ago; where nothing was recorded about then, the first moment after it that is not too young."""
    asked = now - SECONDS
    since = history.hours(asked - LATE_SECONDS, now - LEAST_SECONDS)
    return asked if not since or since[0] <= asked else since[0]


def _identity(entity: Entity) -> tuple[str, int | None]:
    """(beginning of the boot's id, start in ticks) of a process, from its key."""
    _, _, rest = entity.key.partition(":")
    boot, _, ident = rest.partition(":")
    start = ident.rpartition(":")[2]
    return boot, int(start) if start.isdecimal() else None


def _need(values: Mapping[str, float]) -> int | None:
    """Usage without page cache, as :attr:`~oomsight.proc.memcg.Memcg.need_bytes`."""
    usage, file, shmem = (values.get(name) for name in ("usage_bytes", "file_bytes", "shmem_bytes"))
    if usage is None or file is None:
        return None
    return max(int(usage - file + (shmem or 0)), 0)
