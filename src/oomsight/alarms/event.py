"""
An alert as the agent hands it round: the document of type ``memory``, beside incidents and notes.

Sentences are marked text until the document is made; in it names stand as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from oomsight._sizes import steady_size_words
from oomsight.alarms.culprit import POOLS
from oomsight.alarms.state import HOST
from oomsight.alarms.table import BY_CODE, LONG_SECONDS
from oomsight.naming.cgroup_path import short_words
from oomsight.naming.marked import Kind, mark, unmark

if TYPE_CHECKING:
    from oomsight.alarms.culprit import Blame, Who
    from oomsight.alarms.judge import Change, Reason

SCHEMA_ID: Final = "oomsight.event/1"
TYPE: Final = "memory"
TELLING_SHARE: Final = 0.01  #: of all that is needed, that the most grown must have grown by to be named first
SWAP_BYTES: Final = 1 << 20  #: of free swap and more are told as room


def memory_event(
    change: Change, blame: Blame | None, seen: str, boot_id: str | None, *,
    names: Mapping[str, Any] | None = None, victim: Who | None = None,
) -> dict[str, Any]:  # fmt: skip
    """
    Return *change* as plain values. *seen*: ISO 8601 moment; *names*: what is known of the cgroup; *victim*: who would
    die first.
    """
    subject = change.state
    host = change.subject == HOST
    return {
        "schema": SCHEMA_ID, "type": TYPE, "event_id": f"{change.alert_id}-{change.moment}-{seen}",
        "alert_id": change.alert_id, "moment": change.moment, "severity": change.severity, "seen": seen,
        "boot_id": boot_id, "raised": change.raised, "scope": "host" if host else "cgroup",
        "cgroup": None if host else change.subject, "limit_bytes": subject.limit_bytes,
        "need_bytes": subject.need_bytes, "cache_bytes": subject.cache_bytes, "headroom_bytes": subject.headroom_bytes,
        "bytes_per_second": subject.bytes_per_second, "time_left_seconds": subject.time_left_seconds,
        "gone": change.gone,
        "reasons": [{"code": r.code, "title": BY_CODE[r.code].title, "value": r.value,
                     "unit": BY_CODE[r.code].unit, "since": r.since} for r in change.reasons],
        "grower": _who(blame.grower if blame else None), "biggest": _who(blame.biggest if blame else None),
        "seconds": blame.seconds if blame else None,
        "victim": victim.name if victim else None, "victim_pid": victim.pid if victim else None,
        "enrichment": {"attribution": dict(names)} if names else None,
        "headline": unmark(headline(change, blame, names)), "lines": [unmark(x) for x in lines(change, blame, victim)],
    }  # fmt: skip


def _who(who: Who | None) -> dict[str, Any] | None:
    if who is None:
        return None
    return {"kind": who.kind, "name": who.name, "pid": who.pid, "processes": who.processes, "cgroup": who.cgroup,
            "bytes": who.kib << 10, "grown_bytes": who.grown_kib << 10}  # fmt: skip


# -- words ------------------------------------------------------------------------------------------------------------


def place_words(path: str, names: Mapping[str, Any] | None = None) -> str:
    """The shortest name of a cgroup (marked): what runtimes call it, else what its path tells."""
    if names is not None and (names.get("pod") or names.get("container")) and names.get("name"):
        return mark(str(names["name"]), Kind.OWNER)
    return short_words(path)


def who_words(who: Who) -> str:
    """Return *who* in few words (marked)."""
    if who.kind == "pool":
        return POOLS[who.name]
    if who.kind == "name":
        return f"{who.processes:,} × {mark(who.name)}"
    return f"{mark(who.name)} (pid {who.pid})"


def headline(change: Change, blame: Blame | None, names: Mapping[str, Any] | None = None) -> str:
    """One sentence: where, how bad, who (marked)."""
    subject = change.state
    where = "This machine" if change.subject == HOST else place_words(change.subject, names)
    if change.gone:
        return f"{where}: over, the cgroup is gone"
    if change.moment == "cleared":
        told = all(reason.code.endswith("growth") for reason in change.reasons)
        return f"{where}: {'grows no more' if told else 'enough memory again'}{_room(change)}"
    text = f"{where}: {_reason_words(change.reasons[0], change)}"
    if change.subject != HOST and subject.limit_bytes is not None and change.reasons[0].code != "cgroup_near_limit":
        text += f", limit {size(subject.limit_bytes)}"
    left = subject.time_left_seconds
    if left is not None and left >= 1 and not change.reasons[0].code.endswith("growth"):
        text += f", full in about {span(left)}"
    if blame is not None and blame.grower is not None and _tells(blame.grower, change):
        grower = blame.grower
        text += f"; {who_words(grower)} grew {size(grower.grown_kib << 10)} in {span(blame.seconds)}"
    elif blame is not None and blame.biggest is not None:
        text += f"; most is held by {who_words(blame.biggest)}, {size(blame.biggest.kib << 10)}"
    return text


def _tells(grower: Who, change: Change) -> bool:
    """Whether who grew is worth the first sentence: the most of next to nothing explains nothing."""
    need = change.state.need_bytes
    growing = any(reason.code.endswith("growth") for reason in change.reasons)
    return growing or need is None or grower.grown_kib << 10 >= TELLING_SHARE * need


def _room(change: Change) -> str:
    subject = change.state
    if subject.headroom_bytes is None:
        return ""
    ram = (subject.limit_bytes or 0) - (subject.need_bytes or 0)
    with_swap = change.subject == HOST and subject.need_bytes is not None and subject.headroom_bytes - ram >= SWAP_BYTES
    return f", {size(subject.headroom_bytes)} left{' with swap' if with_swap else ''}"


def _reason_words(reason: Reason, change: Change) -> str:
    subject, value = change.state, reason.value
    match reason.code:
        case "memory_high":
            return f"{value:.0f} % of RAM needed{_room(change)}"
        case "swap_high":
            return f"{value:.0f} % of swap in use"
        case "memory_growth" | "cgroup_growth" if value >= LONG_SECONDS:
            return f"grows no more{_room(change)}"
        case "memory_growth" | "cgroup_growth":
            rate = size(int((subject.bytes_per_second or 0) * 60))
            return f"out of memory in about {span(value)} (growing by {rate} a minute{_room(change)})"
        case "memory_pressure" | "cgroup_pressure":
            return f"all tasks stood still for want of memory {value:.0f} % of the time"
        case "cgroup_near_limit":
            limit = f" of {size(subject.limit_bytes)}" if subject.limit_bytes is not None else ""
            return f"needs {value:.0f} % of its limit{limit}{_room(change)}"
        case "cgroup_at_limit":
            return f"ran into its limit{_times(value)}"
        case _:
            return f"throttled above memory.high{_times(value)}"


def _times(per_minute: float) -> str:
    """How often, while it still happens: the alarm holds on for a while after the last time."""
    return f" {per_minute:,.0f} times a minute" if per_minute >= 0.5 else " a moment ago"


def lines(change: Change, blame: Blame | None, victim: Who | None) -> Iterator[str]:
    """What a message says below its headline (marked)."""
    subject = change.state
    if change.moment == "cleared":
        return
    for reason in change.reasons[1:]:
        yield f"Also: {_reason_words(reason, change)}"
    if subject.need_bytes is not None and subject.limit_bytes is not None:
        cached = subject.cache_bytes
        cache = f"; {size(cached)} of page cache besides, which can be dropped" if cached else ""
        what = "of RAM" if change.subject == HOST else "allowed"
        yield f"Needed: {size(subject.need_bytes)} of {size(subject.limit_bytes)} {what}{cache}"
    if blame is not None and blame.biggest is not None and blame.grower is not None and _tells(blame.grower, change):
        grower, biggest = blame.grower, blame.biggest
        if (grower.kind, grower.name) == (biggest.kind, biggest.name):
            yield f"Who grew is also who holds most: {who_words(biggest)}, {size(biggest.kib << 10)}"
        else:
            yield f"Who holds most did not grow most: {who_words(biggest)}, {size(biggest.kib << 10)}"
        if grower.cgroup not in {None, "/", change.subject}:
            yield f"{who_words(grower)} runs in: {short_words(grower.cgroup or '')}"
    if victim is not None:
        yield f"Would be killed first: {who_words(victim)}, {size(victim.kib << 10)}"
    cgroup = f"oomsight score --cgroup {mark(change.subject, Kind.CGROUP)}"
    yield f"Look: `{'oomsight status' if change.subject == HOST else cgroup}`"


def size(count: int | None) -> str:
    """Return bytes as ``580 KiB``, ``47.7 MiB``, ``1.9 GiB``; ``?`` where they are not known."""
    return "?" if count is None else steady_size_words(count)


def span(seconds: float) -> str:
    """Return a length of time: ``40 s``, ``12 min``, ``3 h``, ``2 days``."""
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    for least, unit, word in ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds:.0f} s"


def exact_span(seconds: float) -> str:
    """Return a length of time that somebody set, exactly: ``0.5 s``, ``90 s``, ``5 min``, ``2 h``."""
    for unit, word in ((3600, "h"), (60, "min")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f} {word}"
    return f"{seconds:g} s"
