"""From samples to the rows of a tier: every sample in the finest, one row per step in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.record.model import Change
from oomsight.record.tiers import Tier, combine, step_of

if TYPE_CHECKING:
    from oomsight.record.model import Values

BIG_KIB: Final = 64 << 10
"""What lives shorter than a step gets a row of its own only from this size on; sums by name hold the others."""


class TierRow(NamedTuple):
    """What a tier records for one step."""

    boot_ms: int
    wall_ms: int
    parts: list[tuple[int, str, Values]]  #: what differs from the row before
    gone: list[tuple[int, str]]

    def change(self) -> Change:
        """The row as the next coarser tier takes it in."""
        return Change(rows=self.parts, gone=[entity for entity, _ in self.gone])


class Gatherer:
    """One tier's state. :attr:`held` is what its last row left: entity -> (kind, values)."""

    __slots__ = ("_acc", "_gone", "_last", "_now", "_step", "held", "tier")

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.held: dict[int, tuple[str, Values]] = {}
        self._acc: dict[int, tuple[str, Values]] = {}
        self._now: dict[int, Values] = {}  # the newest values of what is in _acc
        self._gone: set[int] = set()
        self._step: int | None = None
        self._last = (0, 0)

    def feed(self, boot_ms: int, wall_ms: int, change: Change) -> TierRow | None:
        """Take in a sample. Return the row that is complete now, if any."""
        if self.tier.number == 0:
            return self._every(boot_ms, wall_ms, change)
        step, row = step_of(boot_ms, self.tier.step_seconds), None
        if self._step is not None and step != self._step:
            row = self.finish()
        self._step, self._last = step, (boot_ms, wall_ms)
        acc = self._acc
        for entity, kind, values in change.rows:
            before = acc.get(entity)
            acc[entity] = (kind, values if before is None else combine(kind, before[1], values))
            self._now[entity] = values
        for entity in change.gone:
            if entity in self.held:
                self._gone.add(entity)
            elif entity in acc:
                kind, values = acc[entity]
                if kind == "process" and (values[0] or 0) < BIG_KIB:
                    del acc[entity], self._now[entity]
                else:
                    self._gone.add(entity)
        return row

    def waiting(self) -> list[int]:
        """Entities sampled since the last row."""
        return list(self._acc)

    def finish(self) -> TierRow | None:
        """The row of the step so far; ``None`` = nothing was sampled since the last."""
        if self._step is None:
            return None
        parts = []
        # What ended after it was sampled is in this row with its peak, and gone in the next.
        gone = [(entity, self.held.pop(entity)[0])
                for entity in self._gone if entity in self.held and entity not in self._acc]  # fmt: skip
        left: dict[int, tuple[str, Values]] = {}
        for entity, (kind, values) in self._acc.items():
            if self.held.get(entity) != (kind, values):
                parts.append((entity, kind, values))
                self.held[entity] = (kind, values)
            newest = self._now[entity]
            if newest != values and entity not in self._gone:
                left[entity] = (kind, newest)
        self._now = {entity: values for entity, (_, values) in left.items()}
        self._acc = left
        self._gone = {entity for entity in self._gone if entity in self.held}
        self._step = None
        return TierRow(*self._last, parts, gone)

    def _every(self, boot_ms: int, wall_ms: int, change: Change) -> TierRow:
        held = self.held
        latest = {entity: (entity, kind, values) for entity, kind, values in change.rows}  # the last of a sample counts
        gone = [(entity, held.pop(entity)[0]) for entity in change.gone if entity in held]
        for entity in change.gone:
            latest.pop(entity, None)
        for entity, kind, values in latest.values():
            held[entity] = (kind, values)
        return TierRow(boot_ms, wall_ms, list(latest.values()), gone)
