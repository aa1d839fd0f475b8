"""
One light record per incident: enough to order, merge, count and list millions, without keeping them.

The incident itself is made again from its window of the log when it is shown; for JSON its text is made once. Both
are kept aside in a :class:`Spool`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._record import Record, dataclass
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import Killed

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.report.model import OomReport

CLOCK_SLACK_SECONDS: Final = 0.01  #: printk clocks further apart are two events; carriers keep two decimals at least
_KEEP_BYTES: Final = 4 << 20  #: of the spool, in memory; more goes to a temporary file


class Place(NamedTuple):
    """Where something is in the spool."""

    offset: int
    size: int
    first_line: int  #: line number of its first line in the source


@dataclass(slots=True, eq=False, repr=False)
class Entry(Record):
    """What is kept of one incident."""

    order: tuple[int, float, int, float, int]  #: sorts by time, oldest first (see :func:`order_of`)
    id: str
    uptime_s: float | None
    boot_id: str | None
    weight: int  #: how much the text says; of two copies of one event the heavier is kept
    fingerprint: tuple[str, ...]  #: what makes two incidents "the same story again"
    source: str
    first_line: int
    last_line: int
    time: str | None
    cause: str | None
    kind: str
    names: str  #: marked
    where: str  #: marked
    kills: int
    bare: bool = False  #: the text has nothing of it but its kill line or its head
    place: Place | None = None  #: its window (which others may share) or its own text in the spool
    incident: Incident | None = None  #: itself, as long as there are few
    copies: int = 0  #: other copies of the event that were merged into it


_BARE: Final = 10  #: below this weight only the kill line is in the text


def _is_bare(report: OomReport) -> bool:
    """Whether the text has nothing of the event but its kill line, its head, or a daemon's word that it was."""
    if weigh(report) < _BARE:
        return True
    blocks = report.meminfo is not None or report.memcg is not None or bool(report.tasks)
    if blocks or report.victims or report.killed_unnamed is not None or report.failure_mode is not None:
        return False
    return report.trigger is not None or (bool(report.killed) and all(dead.rss_kib is None for dead in report.killed))


def runs(entries: Sequence[Entry], *, bare: bool) -> Iterator[list[Entry]]:
    """
    *entries* in runs of neighbours with the same story; *bare*: only those that are a kill line and nothing else (rate
    limit) or a head and nothing else (a grep), each other one is a run of its own.
    """
    run: list[Entry] = []
    for entry in entries:
        same = bool(run) and entry.fingerprint == run[-1].fingerprint and entry.source == run[-1].source
        if run and not (same and (not bare or (entry.bare and run[-1].bare))):
            yield run
            run = []
        run.append(entry)
    if run:
        yield run


def order_of(incident: Incident, epoch: float | None, source: int, boot: int = 0) -> tuple[int, float, int, float, int]:
    """
    Sort key: by wall time where there is one; else by place in the input: source, boot within it, printk clock, line.
    Events without a date come before (as if older than) all dated ones.
    """
    uptime = incident.report.when.uptime_s
    place = (source << 16) + boot
    return (epoch is not None, epoch or 0.0, place, uptime if uptime is not None else -1.0, incident.source.first_line)


def weigh(report: OomReport) -> int:
    """How much of the event the text holds."""
    return (
        100 * report.complete + len(report.victims) + 10 * (report.trigger is not None) + min(len(report.tasks), 50)
        + 10 * (report.meminfo is not None) + 10 * (report.memcg is not None) + 5 * (report.oom_memcg is not None)
        + 10 * (report.killed_unnamed is not None) + 2 * (report.when.time is not None)
    )  # fmt: skip


def entry_of(incident: Incident, epoch: float | None, source: int) -> Entry:
    """Make the light record of *incident*, the boot not yet known."""
    report = incident.report
    dead = report.victims or report.killed
    first = dead[0] if dead else report.selected
    name = (first.comm or getattr(first, "cgroup", None)) if first is not None else None
    cause = incident.causes[0].code if incident.causes else None
    owner = incident.oom_owner or incident.owner
    inside = describe(first.cgroup) if isinstance(first, Killed) and first.comm is None else None
    names = inside.short if inside is not None else mark(name, Kind.COMM) if name else ""
    return Entry(
        order=order_of(incident, epoch, source), id=incident.id, uptime_s=report.when.uptime_s,
        boot_id=report.when.boot_id, weight=weigh(report),
        fingerprint=(report.kind.value, name or "", report.oom_memcg or "", cause or ""),
        source=report.source.name, first_line=report.source.first_line, last_line=report.source.last_line,
        time=report.when.time or report.when.time_text, cause=cause,
        kind=report.kind.value, names=names, where=owner.short if owner else "",
        kills=len(report.victims), bare=_is_bare(report),
    )  # fmt: skip


class Spool:
    """Bytes put aside: in memory while they are few, in an anonymous temporary file else."""

    def __init__(self) -> None:
        """Start empty."""
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self._kept: dict[int, bytes] = {}  # by offset, what the file system had no room for
        self._end = 0

    def put(self, data: bytes, first_line: int = 0) -> Place:
        """Store *data* and return where it is."""
        place = Place(self._end, len(data), first_line)
        self._end += len(data)
        if self._file is None and self._end > _KEEP_BYTES:
            self._spill()
        if self._file is None:
            self._memory += data
            return place
        try:
            self._file.seek(place.offset)
            self._file.write(data)
        except OSError:
            self._kept[place.offset] = data
        return place

    def get(self, place: Place) -> bytes:
        """Return what :meth:`put` stored there."""
        if place.offset in self._kept:
            return self._kept[place.offset]
        if self._file is None:
            return bytes(self._memory[place.offset : place.offset + place.size])
        self._file.seek(place.offset)
        return self._file.read(place.size)

    def close(self) -> None:
        """Give everything back; nothing can be got any more."""
        self._memory.clear()
        self._kept.clear()
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        """Move to a file; where there is no room for one, which can be the very reason of the kills, stay in memory."""
        from tempfile import TemporaryFile

        try:
            file = TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the run
        except OSError:
            return
        try:
            file.write(self._memory)
        except OSError:
            file.close()
            return
        self._file = file
        self._memory = bytearray()


class Ledger:
    """All entries of a run: merges copies of one event, orders, counts recurrences."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_id: dict[str, list[Entry]] = {}
        self._words: dict[str, str] = {}
        self._fingerprints: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, entry: Entry) -> None:
        """Take *entry*, or merge it into the copy of the same event that is already there."""
        known = self._by_id.setdefault(entry.id, [])
        for i, other in enumerate(known):
            if _same(other, entry):
                known[i] = _merged(other, entry) if other.weight >= entry.weight else _merged(entry, other)
                return
        known.append(entry)
        # A million events say the same few words; entries from another process come with words of their own.
        word = self._words.setdefault
        entry.source, entry.kind = word(entry.source, entry.source), word(entry.kind, entry.kind)
        entry.names, entry.where = word(entry.names, entry.names), word(entry.where, entry.where)
        entry.cause = word(entry.cause, entry.cause) if entry.cause is not None else None
        entry.fingerprint = self._fingerprints.setdefault(entry.fingerprint, entry.fingerprint)

    def newest_first(self) -> list[Entry]:
        """Every event once, newest first."""
        return sorted((e for group in self._by_id.values() for e in group), key=lambda e: e.order, reverse=True)


def _merged(keep: Entry, copy: Entry) -> Entry:
    """*keep*, with the date and boot only its *copy* knows."""
    keep.copies += copy.copies + 1
    if copy.order[0] and not keep.order[0]:
        keep.order, keep.time = copy.order, copy.time
    keep.boot_id = keep.boot_id or copy.boot_id
    keep.uptime_s = copy.uptime_s if keep.uptime_s is None else keep.uptime_s
    return keep


def _same(a: Entry, b: Entry) -> bool:
    if a.boot_id and b.boot_id and a.boot_id != b.boot_id:
        return False
    if a.order[0] and b.order[0] and abs(a.order[1] - b.order[1]) > 3600 * 26:
        return False  # more than any time zone apart
    return a.uptime_s is None or b.uptime_s is None or abs(a.uptime_s - b.uptime_s) <= CLOCK_SLACK_SECONDS


def recurrences(newest_first: Iterable[Entry]) -> dict[int, tuple[int, int]]:
    """For each entry (by ``id()``) its number among those with the same fingerprint, oldest = 1, and their count."""
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in newest_first:
        groups.setdefault(entry.fingerprint, []).append(entry)
    found: dict[int, tuple[int, int]] = {}
    for group in groups.values():
        for i, entry in enumerate(reversed(group), 1):
            found[id(entry)] = (i, len(group))
    return found
