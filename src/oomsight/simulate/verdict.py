"""A run in plain words: what filled up, who died for it, what lived, which changes help. Names are marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._sizes import size_words
from oomsight.naming.marked import Kind as Name
from oomsight.naming.marked import mark
from oomsight.simulate.sweep import BASE
from oomsight.simulate.units import duration_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.simulate.outcome import Kill, Run
    from oomsight.simulate.sweep import MonteCarlo, Played, Sweep


def place(cgroup: str) -> str:
    """``the machine``, or the cgroup's marked path."""
    return "the machine" if cgroup == "/" else mark(cgroup, Name.CGROUP)


def kill_words(kill: Kill) -> str:
    """One kill as a sentence."""
    at = f"After {duration_words(kill.time_seconds)}"
    if not kill.victims:
        return f"{at} {place(kill.cgroup)} is out of memory and nobody dies: {kill.words}."
    dead = kill.victims[0]
    held = size_words(dead.rss_bytes) + (f" and {size_words(dead.swap_bytes)} in swap" if dead.swap_bytes else "")
    who = f"{mark(dead.name)} (pid {dead.pid}), which holds {held}"
    more = len(kill.victims) - 1
    also = f", and {more} more with it" if more else ""
    if kill.by == "guard":
        return f"{at} {kill.words} and ends {who}, before the kernel has to."
    where = "the machine is out of memory" if kill.cgroup == "/" else (
        f"{place(kill.cgroup)} is at its limit of {size_words(kill.limit_bytes)}")  # fmt: skip
    asked = f" when {mark(kill.trigger)} asks for more" if kill.trigger else ""
    return f"{at} {where}{asked}: the kernel kills {who}{also}."


def verdict(run: Run) -> list[str]:
    """What happened and whether it is a success, in a few sentences."""
    said: list[str] = []
    kills = run.kills
    if kills:
        said.append(kill_words(kills[0]))
    if len(kills) > 1:
        span = kills[-1].time_seconds - kills[0].time_seconds
        names = dict.fromkeys(mark(v.name) for kill in kills[1:] for v in kill.victims)
        listed = ", ".join(list(names)[:4])
        rest = f"{len(kills) - 1} more kill{'s' if len(kills) > 2 else ''}"
        said.append(f"{rest} follow{'s' if len(kills) == 2 else ''} within {duration_words(span)}"
                    + (f" ({listed})." if listed else "."))  # fmt: skip
    for event in run.events:
        if event.kind in {"panic", "stuck", "exited", "refused", "no_more_kills"}:
            name = place(event.name) if event.name.startswith("/") else mark(event.name)
            said.append(f"After {duration_words(event.time_seconds)} {name}: {event.words}.")
            break
    for path, seconds in run.throttled_seconds.items():
        said.append(f"{place(path)} is slowed down by memory.high for {duration_words(seconds)}.")
    protected = " and ".join(mark(name) for name in run.scenario.protect)
    if run.survived:
        verb = "live" if len(run.scenario.protect) > 1 else "lives"
        end = f"{protected} {verb} through {duration_words(run.end_seconds)}."
        if run.restarts_by_guard:
            count = run.restarts_by_guard
            end = f"Nothing crashes; the guard ends {protected} {count} time{'s' if count > 1 else ''}, controlled."
        said.append(end if kills or run.throttled_seconds else f"Nobody is killed: {end}")
    elif run.alert_seconds is not None and run.crash_seconds is not None:
        lead = run.crash_seconds - run.alert_seconds
        said.append(f"An alert at {run.scenario.alert['at']} % would have come {duration_words(lead)} before: "
                    + ("time enough to act." if run.alert_in_time else "too late to act."))  # fmt: skip
    return said


def result_words(run: Run) -> str:
    """The end of a run in a table cell."""
    if run.survived:
        if run.restarts_by_guard:
            return f"controlled: the guard ends it {run.restarts_by_guard}x"
        if run.oom_kills:
            return "lives; others are killed"
        return "lives, slowed down" if run.throttled_seconds else "lives"
    crash = run.crash_seconds
    assert crash is not None
    return f"dies after {duration_words(crash)}"


def comparison_words(played: Sequence[Played]) -> str:
    """Which changes help, in a sentence."""
    base = next((p for p in played if p.name == BASE), None)
    others = [p for p in played if p.name != BASE]
    if base is None or not others:
        return ""
    if base.run.survived:
        return "Nothing that must live dies as it is; no cure is needed."
    good = [p.name for p in others if p.run.survived]
    bad = [p.name for p in others if not p.run.survived]
    parts = []
    if good:
        parts.append(f"{_names(good)} prevent{'s' if len(good) == 1 else ''} it")
    if bad:
        parts.append(f"{_names(bad)} do{'es' if len(bad) == 1 else ''} not")
    return "; ".join(parts) + "."


def _names(names: Sequence[str]) -> str:
    shown = [mark(name, Name.OWNER) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def sweep_words(result: Sweep) -> str:
    """Where a sweep turns."""
    crashed = sum(not point.run.survived for point in result.points)
    count = len(result.points)
    if not crashed:
        return f"No crash at any of {count} values."
    if crashed == count:
        return f"A crash at every one of {count} values."
    turns = "; ".join(f"between {a} and {b}" for a, b in result.turns)
    return f"{crashed} of {count} values crash; it turns {turns}."


def monte_carlo_words(result: MonteCarlo) -> list[str]:
    """How many crashes what would have prevented."""
    crashes, draws = result.crashes, result.draws
    if not crashes:
        return [f"None of {draws:,} runs crashes."]
    said = [f"{crashes:,} of {draws:,} runs crash as it is."]
    for curve in result.curves[1:]:
        extra = f", {curve.by_guard:,} of them by a controlled restart" if curve.by_guard else ""
        worse = f"; it crashes {curve.caused:,} that would have lived" if curve.caused else ""
        said.append(f"{mark(curve.name, Name.OWNER)} prevents {curve.prevented:,} of {crashes:,}{extra}{worse}.")
    alert = result.scenario.alert
    said.append(f"An alert at {alert['at']} % comes at least {duration_words(alert['lead'])} before"
                f" {result.alerted:,} of {crashes:,}.")  # fmt: skip
    return said
