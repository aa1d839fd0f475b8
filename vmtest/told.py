"""What the agent told while a guest ran out of memory, held against when the kernel killed. Text in, checks out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Told(NamedTuple):
    """One message, as the exec channel of ``agent_start`` in guest.sh wrote it."""

    uptime_seconds: float
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expectation:
    """An alarm that has to be told: its code, its cgroup (``host`` = the machine), who is to be named."""

    code: str
    subject: str
    culprit: str


def messages(text: bytes | None) -> Iterator[Told]:
    """The lines ``UPTIME JSON`` of agent_told.txt; a torn line is none."""
    for line in (text or b"").decode(errors="replace").splitlines():
        uptime, _, document = line.partition(" ")
        try:
            yield Told(float(uptime), json.loads(document).get("event") or {})
        except ValueError:
            continue


def named(event: dict[str, Any]) -> set[str]:
    """Whom a memory event names: who grew, who holds most."""
    return {who["name"] for key in ("grower", "biggest") if (who := event.get(key))}


def first_told(told: Sequence[Told], wanted: Expectation) -> Told | None:
    """The first message that raises *wanted*, whoever it names."""
    for one in told:
        event = one.event
        subject = event.get("cgroup") or ("host" if event.get("scope") == "host" else None)
        codes = {reason["code"] for reason in event.get("reasons", ())}
        if event.get("type") == "memory" and subject == wanted.subject and wanted.code in codes:
            return one
    return None


def victims_told(told: Sequence[Told]) -> list[int]:
    """Pids of every kill that was told, in order."""
    return [kill["pid"] for one in told for kill in one.event.get("kills") or ()]
