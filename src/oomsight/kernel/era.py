"""
Which badness rule a report was made by: read off its shape, the release only where the shape leaves it open.

Distributions back-port lines and formulas alike, so what a report *looks like* tells more than the release it names.
Sources: dump_tasks(), dump_oom_summary() and __oom_kill_process() in mm/oom_kill.c of the releases named in each row.
"""

from __future__ import annotations

from oomsight._lazy import remembered
from oomsight._named import NamedTuple
from oomsight.kernel.badness import BADNESS_RULES, Rule, backported
from oomsight.kernel.release import NEWEST, Release, overlaps, parse_release, release_text

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final


class _Shape(NamedTuple):
    """A visible feature of a report and the release lines that print it."""

    words: str
    since: Release
    until: Release | None


_COLUMN_SHAPES: Final[tuple[tuple[str, _Shape], ...]] = (  # first column present wins; mm/oom_kill.c dump_tasks()
    ("rss_anon", _Shape("the task table has rss_anon (>= 6.8)", (6, 8), None)),
    ("pgtables_bytes", _Shape("the task table has pgtables_bytes without rss_anon (4.15-6.7)", (4, 15), (6, 7))),
    ("nr_pmds", _Shape("the task table has nr_pmds (4.0-4.14)", (4, 0), (4, 14))),
    ("nr_ptes", _Shape("the task table has nr_ptes (3.6-3.19)", (3, 6), (3, 19))),
    ("oom_score_adj", _Shape("the task table has oom_adj and oom_score_adj (2.6.36-3.5)", (2, 6, 36), (3, 5))),
    ("oom_adj", _Shape("the task table has only oom_adj (2.6.32-2.6.35)", (2, 6, 32), (2, 6, 35))),
)
_KILL_LINE_SHAPES: Final[tuple[tuple[frozenset[str], _Shape], ...]] = (
    (frozenset({"uid", "pgtables"}), _Shape("the kill line has UID and pgtables (>= 5.4)", (5, 4), None)),
    (frozenset({"shmem-rss"}), _Shape("the kill line has shmem-rss but no UID (4.5-5.3)", (4, 5), (5, 3))),
    (frozenset({"total-vm"}), _Shape("the kill line has total-vm but no shmem-rss (2.6.36-4.4)", (2, 6, 36), (4, 4))),
    (frozenset({"vsz"}), _Shape("the kill line has vsz (2.6.33-2.6.35)", (2, 6, 33), (2, 6, 35))),
)
_OOM_KILL_LINE: Final = _Shape("there is an oom-kill: line (>= 5.0)", (5, 0), None)
_ANNOUNCED: Final = _Shape("the kill is announced with a score (<= 5.1)", (2, 6, 18), (5, 1))
_GFP_SHAPES: Final = {
    "A0": _Shape("the gfp bits are those of 2.6", (2, 6, 11), (2, 6, 30)),
    "A": _Shape("the gfp bits are those of 4.3 and older", (2, 6, 11), (4, 3)),
    "B": _Shape("the gfp bits are those of 4.4-4.9", (4, 4), (4, 9)),
    "C": _Shape("the gfp bits are those of 4.10-4.17", (4, 10), (4, 17)),
    "D": _Shape("the gfp bits are those of 4.18-5.1", (4, 18), (5, 1)),
    "E": _Shape("the gfp bits are those of 5.2 and later", (5, 2), None),
}


def _shapes(
    columns: tuple[str, ...] | None, has_oom_kill_line: bool, kill_line_fields: frozenset[str], gfp_layout: str | None
) -> Iterator[_Shape]:
    """Features seen, the most telling first."""
    present = columns or ()
    yield from [shape for column, shape in _COLUMN_SHAPES if column in present][:1]
    if has_oom_kill_line:
        yield _OOM_KILL_LINE
    fields = {field.lower() for field in kill_line_fields}
    yield from [shape for wanted, shape in _KILL_LINE_SHAPES if wanted & fields][:1]
    if "score" in fields:
        yield _ANNOUNCED
    if gfp_layout in _GFP_SHAPES:
        yield _GFP_SHAPES[gfp_layout]


@remembered(256)  # reports of one machine all have one shape
def rule_for_shape(
    columns: tuple[str, ...] | None,
    has_oom_kill_line: bool,
    kill_line_fields: frozenset[str],
    gfp_layout: str | None,
    release: str | None,
) -> tuple[Rule, str]:
    """
    The badness rule a report was made by, and why in words.

    ``columns``: header words of the task table (``None`` = not seen); ``kill_line_fields``: field names of the
    ``Killed process`` line (``total-vm``, ``shmem-rss``, ``UID``, ``pgtables``), ``score`` where it was announced;
    ``gfp_layout``: of :func:`~oomsight.kernel.gfp.layout_of`; ``release``: kernel release text.
    Shape decides, release only between rules that the shape leaves open, because distributions
    back-port lines and formulas. With neither, the newest.
    """
    since: Release = (2, 6, 11)
    until: Release | None = None
    reasons: list[str] = []
    for shape in _shapes(columns, has_oom_kill_line, kill_line_fields, gfp_layout):
        if not overlaps(since, until, shape.since, shape.until):
            reasons.append(f"although {shape.words}")  # a back-port: the more telling feature stays
            continue
        narrower = shape.since > since or (shape.until is not None and (until is None or shape.until < until))
        since = max(since, shape.since)
        until = min(until or NEWEST, shape.until or NEWEST)
        until = None if until == NEWEST else until
        if narrower:
            reasons.append(shape.words)
    fits = [rule for rule in BADNESS_RULES if overlaps(since, until, rule.since, rule.until)]
    if len(fits) == 1:
        return fits[0], "; ".join(reasons)
    names = f"rules {fits[0].name} to {fits[-1].name}"
    key = parse_release(release)
    if (backport := backported(release)) in fits:
        return backport, "; ".join([*reasons, f"{names} fit, RHEL 6 took the one in long integers"])
    if key is None:
        return fits[-1], "; ".join([*reasons, f"{names} fit and no release is known: the newest is assumed"])
    for rule in fits:
        if rule.contains(key):
            return rule, "; ".join([*reasons, f"{names} fit, release {release_text(key)} decides"])
    # The release lies outside of what the shape allows: lines were back-ported, so take the rule nearest to it.
    nearest = fits[0] if key < fits[0].since else fits[-1]
    return nearest, "; ".join([*reasons, f"{names} fit, {nearest.name} is nearest to release {release_text(key)}"])
