"""What a reader makes of stored values: figures in the units of their names, fewer points, which tier answers."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter, lt
from typing import Any, Final, Protocol, TypeVar

from oomsight._record import replaced
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import unmark
from oomsight.record.codec import plain
from oomsight.record.fields import DERIVED, FIELDS, INDEX, MAIN, STORED_KIND, shown
from oomsight.record.model import Entity
from oomsight.record.tiers import TIERS


class Stretch(Protocol):
    """A piece of the history of one density."""

    @property
    def tier(self) -> int: ...
    @property
    def first(self) -> float: ...
    @property
    def last(self) -> float: ...


S = TypeVar("S", bound=Stretch)
_SCALED: Final = {kind: [(field.name, field.scale) for field in fields] for kind, fields in FIELDS.items()}
N = TypeVar("N", int, float)
HOLE_SECONDS: Final = 60.0  #: or four steps without a row between two pieces of a tier: they are not usual
WORTH_SECONDS: Final = 600.0
"""
For less, another tier is not opened. Minutes are packed an hour at once, tens of minutes four hours: what is not yet in
them may be two hours, which in seconds are more rows than the rest of the week.
"""


def choose(held: Sequence[S], since: float, until: float, max_points: int | None) -> list[tuple[S, float, float]]:
    """
    Pieces that cover a period, and the part of it each answers for, by time: of the tier that is just fine enough for
    *max_points* (``None``: the finest); before what that still has a coarser one, after its last row the next finer
    ones, each where it saves the finest :data:`WORTH_SECONDS` or more, or where the finest does not reach back so far.
    """
    wanted = 0
    if max_points:
        step = (until - since) / max_points
        wanted = max((tier.number for tier in TIERS if tier.step_seconds <= max(step, 1)), default=0)
    by_tier: dict[int, list[S]] = {}
    for piece in held:
        by_tier.setdefault(piece.tier, []).append(piece)
    chosen: list[tuple[S, float, float]] = []
    finest = min((piece.first for piece in by_tier.get(0, ())), default=until)
    begin, end = until, since  # covered so far; nothing yet
    for tier in (*range(wanted, len(TIERS)), *range(wanted - 1, -1, -1)):
        pieces = by_tier.get(tier)
        if not pieces:
            continue
        first, last = min(piece.first for piece in pieces), max(piece.last for piece in pieces)
        if 0 < tier < wanted and chosen and last - end < WORTH_SECONDS and finest <= end:
            continue  # the finest has all of it, in few rows
        spans: list[tuple[float, float]] = []
        if begin >= end and not chosen:
            spans.append((since, until))
            begin, end = first, last
        else:
            if first < begin:
                spans.append((since, min(begin - 1e-6, until)))
                begin = first
            if last > end:
                spans.append((max(end + 1e-6, since), until))
                end = last
        for low, high in spans:
            chosen += [(p, low, high) for p in pieces if low <= high and p.last >= low and p.first <= high]
    chosen += _filling(by_tier, wanted, since, until)
    return sorted(chosen, key=lambda one: (max(one[0].first, one[1]), one[0].first))


def _filling(
    by_tier: Mapping[int, Sequence[S]], wanted: int, since: float, until: float
) -> Iterator[tuple[S, float, float]]:
    """What coarser tiers say of the time between two pieces of the *wanted* one: of a full disk they keep more."""
    usual, end = max(4 * TIERS[wanted].step_seconds, HOLE_SECONDS), math.inf
    for piece in sorted(by_tier.get(wanted, ()), key=lambda one: one.first):
        if piece.first - end > usual and piece.first > since and end < until:
            for tier in TIERS[wanted + 1 :]:
                # A row stands for a step, and what is beside the hole has rows of its own.
                low, high = max(end + tier.step_seconds, since), min(piece.first - tier.step_seconds, until)
                there = [one for one in by_tier.get(tier.number, ()) if one.last >= low and one.first <= high]
                if there and low <= high:
                    yield from ((one, low, high) for one in there)
                    break
        end = piece.last if end == math.inf else max(end, piece.last)


def key_of(kind: str, ident: str, boot: str) -> str:
    """What names an entity in every part of the history; *ident* is what tells it from others of its kind."""
    if kind == "process":
        return f"process:{boot[:12]}:{ident}"
    return f"{kind}:{ident}" if ident else kind


def entity_of(kind: str, key: str, words: dict[str, Any], shift_ms: int) -> Entity:
    """The entity that *words* describe; *shift_ms* makes time since boot wall clock."""
    age = words.get("age")
    started = shift_ms / 1000 + age if isinstance(age, int | float) else None
    cgroup = words.get("name") if kind == "cgroup" else words.get("cgroup")
    unseen = tuple(str(what) for what in words.get("unseen", ()))
    return Entity(kind, key, str(words.get("name", "")), words.get("pid"), started, cgroup, words.get("cmd"), unseen)


def looked_at_as(entity: Entity, kind: str) -> Entity | None:
    """*entity* looked at as *kind*: a cgroup as its container or unit; ``None`` = it is none."""
    if kind not in STORED_KIND:
        return entity
    owner = describe(entity.name)
    if owner is None or owner.level != kind:
        return None
    name = (owner.unit or unmark(owner.short)) if kind == "unit" else unmark(owner.short)
    return replaced(entity, kind=kind, name=name)


def figures(kind: str, state: Sequence[int]) -> dict[str, float]:
    """Coded values by name and in the units of their names, sums included; what is not known is left out."""
    found: dict[str, float] = {}
    for (name, scale), coded in zip(_SCALED[kind], state, strict=False):
        if coded > 0:
            found[name] = (coded - 1) * scale
        elif (value := shown(plain(coded), scale)) is not None:
            found[name] = value
    for name, parts in DERIVED.get(kind, {}).items():
        if any(part in found for part in parts):
            found[name] = sum(found.get(part, 0) for part in parts)
    return found


def main_figure(kind: str, coded: int) -> float | None:
    """A coded main figure of *kind* in the unit of its name."""
    return shown(plain(coded), FIELDS[kind][INDEX[kind][MAIN[kind]]].scale)


_ASCENDING: Final[deque[list[float]]] = deque(maxlen=4)  #: as many figures are known of the same moments


def ascending(times: list[float], values: list[N]) -> tuple[list[float], list[N]]:
    """Points ascending in time, one per moment: the first."""
    if any(times == known for known in _ASCENDING):
        return times, values
    if all(map(lt, times, times[1:])):
        _ASCENDING.append(times[:])
        return times, values
    found: tuple[list[float], list[N]] = [], []
    for moment, value in sorted(zip(times, values, strict=True), key=itemgetter(0)):
        if not found[0] or moment > found[0][-1]:
            found[0].append(moment)
            found[1].append(value)
    return found


def thinned(times: list[float], values: list[N], most: int | None, rule: str) -> tuple[list[float], list[N]]:
    """
    At most *most* of the points: of each equal part of the time the highest, lowest or last, by *rule*; of equal
    ones the last.
    """
    if most is None or len(times) <= most:
        return times, values
    ends, several = _parts(times, most)
    kept = ends
    if rule != "last":
        pick, kept = min if rule == "min" else max, ends[:]
        for part, cut in several:
            kept[part] -= (some := values[cut]).index(pick(some))
    return list(map(times.__getitem__, kept)), list(map(values.__getitem__, kept))


_Cuts = tuple[list[int], list[tuple[int, slice]]]
_KNOWN: Final[deque[tuple[list[float], int, _Cuts]]] = deque(maxlen=4)


def _parts(times: list[float], most: int) -> _Cuts:
    """
    The equal parts of a time that have samples: the last of each; and of those that have more than one which of the
    parts it is, and the slice from its last back to its first. Remembered, as many figures are known of the same
    moments.
    """
    for known, parts, found in _KNOWN:
        if parts == most and known == times:
            return found
    first, width = times[0], (times[-1] - times[0]) / most or 1.0
    ends, several, low = list[int](), list[tuple[int, slice]](), 0
    for part in range(1, most + 1):
        high = bisect_left(times, first + part * width, low) if part < most else len(times)
        if high > low + 1:
            several.append((len(ends), slice(high - 1, low - 1 if low else None, -1)))
        if high > low:
            ends.append(high - 1)
        low = high
    _KNOWN.append((times[:], most, (ends, several)))
    return ends, several
