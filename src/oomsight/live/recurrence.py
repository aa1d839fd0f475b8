"""The same story again: how often, since when, how far apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one incident stands among those with its fingerprint."""

    number: int  #: 1 = the first
    count: int  #: of all
    first: datetime  #: of the first of the run it belongs to


def places(incidents: Iterable[tuple[str, datetime, str]]) -> dict[str, Place]:
    """
    Return the place of each incident by event id, from (event id, time with zone, fingerprint).

    A run ends where nothing happened for a week: "7th kill since Monday" is news, "of all times" is not.
    """
    groups: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for event_id, time, fingerprint in incidents:
        groups[fingerprint].append((time, event_id))
    found: dict[str, Place] = {}
    for group in groups.values():
        group.sort()
        run: list[tuple[datetime, str]] = []
        for time, event_id in [*group, (datetime.max.replace(tzinfo=group[-1][0].tzinfo), "")]:
            if run and (not event_id or time - run[-1][0] > WEEK):
                for number, (_, member) in enumerate(run, 1):
                    found[member] = Place(number, len(run), run[0][0])
                run = []
            run.append((time, event_id))
    return found


def sentence(place: Place, what: str, where: str | None, now: datetime) -> str | None:
    """Return ``7th kill of NAME in PLACE since Monday, same cause.`` (marked as given); ``None`` = the only one."""
    if place.count < 2:
        return None
    inside = f" in {where}" if where else ""
    day = day_words(place.first, now)
    since = day if day == "today" else f"since {day}"
    return f"{ordinal(place.number)} kill of {what}{inside} {since}, same cause."


def ordinal(number: int) -> str:
    """Return ``1st``, ``22nd``, ``113th``."""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{suffix}"


def day_words(moment: datetime, now: datetime) -> str:
    """Return ``today``, ``yesterday``, ``Monday`` (of the last six days) or the date, in the zone of *now*."""
    day, today = moment.astimezone(now.tzinfo).date(), now.date()
    age = (today - day).days
    if age < 2:
        return "yesterday" if age == 1 else "today"
    return day.strftime("%A") if age < 7 else day.isoformat()
