"""
How much swap a host should have: enough that what it needed at its highest, plus the margin, fits into RAM and swap,
and in any case a little, so that pages nobody uses can leave RAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import GIB, size_words
from oomsight.rightsize.model import Advice, Candidate, Setting, Usage
from oomsight.rightsize.policy import Policy, margin_of, percentiles, span_of, tail_of
from oomsight.rightsize.words import duration_words

if TYPE_CHECKING:
    from oomsight.rightsize.tail import Tail

LEAST_SHARE: Final = 4  #: RAM divided by it is swap enough to breathe …
LEAST_BYTES: Final = GIB  #: … but not less than this, …
ENOUGH_BYTES: Final = 4 * GIB  #: … nor more than this without a need that was seen
MOST_RAM_SHARE: Final = 1.0  #: more swap than RAM only stretches the thrashing


def recommend_swap(usage: Usage, policy: Policy) -> Advice:
    """Return the swap size for the host *usage* is of (``ram_bytes`` known; ``limit_bytes`` = RAM and swap)."""
    values = usage.ordered()
    span = span_of(usage)
    margin, tail = margin_of(policy, span), tail_of(usage, span)
    ram = usage.ram_bytes or 0
    now = max((usage.limit_bytes if isinstance(usage.limit_bytes, int) else ram) - ram, 0)
    peak = values[-1] if values else 0.0
    wanted, why = _size(ram, peak, margin, usage.swap_peak_bytes or 0)
    settings = (Setting(key="swap", value=size_words(wanted), bytes=wanted, why=why),)
    name = usage.subject.name
    had = size_words(now) if now else "no swap"
    if abs(wanted - now) <= GIB // 2:
        headline = f"{name}: {had} fits"
    else:
        words = f"{size_words(wanted)} of swap"
        headline = f"{name}: {words} instead of {had}" if now else f"{name}: add {words}"
    notes = ["Need is what is in use without the page cache the kernel can take back, and what is in swap."]
    if tail is None:
        notes.append(f"History is {duration_words(span)}: too short to tell a probability.")
    if peak * (1 + margin / 100) > ram * (1 + MOST_RAM_SHARE):
        notes.append("More swap than RAM would only stretch the thrashing: it needs more RAM, or less work.")
    return Advice(
        usage=usage, peak_bytes=int(peak) if values else None,
        percentiles=percentiles(usage),
        span_seconds=span, tail=tail, margin_pct=margin, settings=settings,
        candidates=tuple(_candidates(ram, now, wanted, tail, policy)), headline=headline, notes=tuple(notes),
    )  # fmt: skip


def _size(ram: int, peak: float, margin: float, used: int) -> tuple[int, str]:
    least = min(max(ram // LEAST_SHARE, LEAST_BYTES), ENOUGH_BYTES)
    found = [(float(least), "so that pages nobody uses can leave RAM, and the step from full to killed takes longer")]
    over = peak * (1 + margin / 100) - ram
    if over > 0:
        words = f"highest need seen, {size_words(peak)}, plus {margin:.0f} % is {size_words(over)} more than RAM"
        found.append((min(over, ram * MOST_RAM_SHARE), words))
    if used:
        found.append((used * (1 + margin / 100), f"{size_words(used)} of swap were used, plus {margin:.0f} %"))
    size, why = max(found)
    return int(-(-size // (GIB // 2)) * (GIB // 2)), why


def _candidates(ram: int, now: int, wanted: int, tail: Tail | None, policy: Policy) -> Iterator[Candidate]:
    rows = {0: "no swap"}
    rows[now] = "now" if now else "no swap, as now"
    rows[wanted] = "recommended" if wanted != now else "now = recommended"
    rows.setdefault(2 * wanted, "2 × recommended")
    for size, name in sorted(rows.items()):
        probability = tail.exceeds(ram + size, policy.horizon_seconds) if tail is not None else None
        yield Candidate(name=name, limit_bytes=ram + size, probability=probability, seconds_to_limit=None,
                        cost_bytes=size - now)  # fmt: skip
