"""A name that nobody has: the one that was meant."""

from __future__ import annotations

from collections.abc import Iterable


def hint_of(name: str, known: Iterable[str], otherwise: str) -> str:
    """
    What to try: the nearest of *known*, or of the last parts of their paths; *otherwise* if none is near, or if *name*
    itself is known, so that something else is the matter with it.
    """
    from difflib import get_close_matches

    names = dict.fromkeys(part for one in known for part in (one, one.rstrip("/").rpartition("/")[2]) if part)
    near = get_close_matches(name, names, 1) if name not in names else []
    return f"did you mean '{near[0]}'?" if near else otherwise
