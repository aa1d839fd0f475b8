"""What the agent knows about itself: sources, lost records, queues; for ``status``, metrics and the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class SourceHealth:
    """One source of events."""

    name: str
    usable: bool
    words: str = ""  #: why not, and which right would help; one line, empty when usable
    records: int = 0
    lost: int = 0  #: records overwritten before they were read
    overruns: int = 0  #: times that happened
    restarts: int = 0


@dataclass(slots=True)
class Health:
    """The agent's state. Times are seconds since 1970; ``None`` = never."""

    started: float
    sources: dict[str, SourceHealth] = field(default_factory=dict)
    events: int = 0  #: complete events told
    kills: int = 0  #: distinct victims seen since the start
    last_event: float | None = None
    missed: int = 0  #: kills the kernel counted and nobody saw
    queue: int = 0  #: events waiting for the store
    dropped: int = 0  #: events a full queue could not keep
    store: str = "off"  #: ok, off, or what is wrong
    subscriber_errors: dict[str, int] = field(default_factory=dict)
    turned: float | None = None  #: when the agent's loop last went round, on the monotonic clock

    @property
    def degraded(self) -> bool:
        """Whether something does not work as it should."""
        log = [s for s in self.sources.values() if s.name in {"/dev/kmsg", "journal"}]
        return not any(s.usable for s in log) or self.store not in {"ok", "off"} or self.dropped > 0

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "started": self.started, "events": self.events, "kills": self.kills, "last_event": self.last_event,
            "missed": self.missed, "queue": self.queue, "dropped": self.dropped, "store": self.store,
            "degraded": self.degraded, "subscriber_errors": dict(self.subscriber_errors),
            "sources": [
                {"name": s.name, "usable": s.usable, "words": s.words, "records": s.records, "lost": s.lost,
                 "overruns": s.overruns, "restarts": s.restarts}
                for s in self.sources.values()
            ],
        }  # fmt: skip

    def status(self) -> str:
        """Return the one line systemd shows (``STATUS=``)."""
        used = ", ".join(s.name for s in self.sources.values() if s.usable) or "no source"
        kills = f"{self.kills} kill{'s' if self.kills != 1 else ''}"
        trouble = f"; store: {self.store}" if self.store not in {"ok", "off"} else ""
        missed = f"; {self.missed} not in the log" if self.missed else ""
        return f"{kills} since start, watching {used}{missed}{trouble}"

    def missing(self) -> Iterator[str]:
        """Yield one line per source that cannot be used: what and which right would give it."""
        for source in self.sources.values():
            if not source.usable:
                yield f"{source.name}: {source.words}"
