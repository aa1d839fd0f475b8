"""
Tiers: how dense and for how long; what a coarser tier keeps of a step; which files go when there is not enough room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.fields import FIELDS

if TYPE_CHECKING:
    from oomsight.record.model import Values


class Tier(NamedTuple):
    """One density."""

    number: int
    step_seconds: float  #: 1 = every sample
    keep_seconds: float
    chunk_rows: int  #: rows gathered before they are packed
    file_seconds: float  #: period of one file; what is removed is a file
    share: float  #: of the room, as far as there is not enough for all


_HOUR, _DAY = 3600.0, 86400.0

TIERS: Final = (
    Tier(0, 1, 2 * _HOUR, 120, 600, 0.35),
    Tier(1, 10, 2 * _DAY, 120, 3 * _HOUR, 0.25),
    Tier(2, 60, 14 * _DAY, 60, _DAY, 0.25),
    Tier(3, 600, 400 * _DAY, 24, 14 * _DAY, 0.15),
)
"""Finest first."""

_RULES: Final = {kind: tuple(field.rule for field in fields) for kind, fields in FIELDS.items()}
_PLACES: Final = range(max(map(len, FIELDS.values())))


def combine(kind: str, before: Values, now: Values) -> Values:
    """What a step keeps of two samples: the highest, the lowest or the last, by figure. What is known counts."""
    if before == now:
        return now
    out, rules = list(now), _RULES[kind]
    for i in compress(_PLACES, map(ne, before, now)):  # most figures stay as they are
        a, b, rule = before[i], now[i], rules[i]
        if b is None or (a is not None and ((rule == "max" and a > b >= 0) or (rule == "min" and 0 <= a < b))):
            out[i] = a
    return tuple(out)


def step_of(boot_ms: int, step_seconds: float) -> int:
    """Number of the step a moment is in."""
    return boot_ms // int(step_seconds * 1000)


class StoredFile(NamedTuple):
    """One file of a tier, as far as retention needs to know it."""

    name: str
    tier: int
    bytes: int
    newest: float  #: unix seconds of its last row


def expired(files: Sequence[StoredFile], now: float, max_bytes: int | None) -> list[str]:
    """
    Which files have to go: those older than their tier is kept, then, while all are bigger than *max_bytes* together,
    the oldest of the tier that is farthest above its share. The newest file of a tier always stays.
    """
    keep = {tier.number: tier.keep_seconds for tier in TIERS}
    share = {tier.number: tier.share for tier in TIERS}
    by_tier: dict[int, list[StoredFile]] = {}
    for file in sorted(files, key=lambda file: file.newest):
        by_tier.setdefault(file.tier, []).append(file)
    gone = []
    for tier, held in by_tier.items():
        while len(held) > 1 and held[0].newest < now - keep.get(tier, 0):
            gone.append(held.pop(0).name)
    if max_bytes is None:
        return gone
    sizes = {tier: _bytes(held) for tier, held in by_tier.items()}
    while sum(sizes.values()) > max_bytes:
        able = [tier for tier, held in by_tier.items() if len(held) > 1]
        if not able:
            break
        most = max(able, key=lambda tier: sizes[tier] / share.get(tier, 0.1))
        file = by_tier[most].pop(0)
        sizes[most] -= file.bytes
        gone.append(file.name)
    return gone


def _bytes(files: Iterable[StoredFile]) -> int:
    return sum(file.bytes for file in files)
