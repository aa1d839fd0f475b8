"""What the exporters that push (OTLP, Zabbix) have in common, for the loop that drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from oomsight.metrics.family import Family


class ExportError(Exception):
    """A request failed; ``str()`` is one line."""

    def __init__(self, words: str, *, permanent: bool = False, retry_seconds: float | None = None) -> None:
        """*permanent*: the same items would fail again. *retry_seconds*: the receiver says when to come back."""
        super().__init__(words)
        self.permanent = permanent
        self.retry_seconds = retry_seconds


class Transport(Protocol):
    """One receiver. Its methods block up to their time-out and raise :class:`ExportError`."""

    name: str

    def item(self, document: Mapping[str, Any], now: float) -> object | None:
        """What to send of an event or note, small enough to queue; ``None`` = nothing."""

    def send_items(self, items: Sequence[Any]) -> int:
        """Send what :meth:`item` made; return how many the receiver refused for good."""

    def send_metrics(self, families: Sequence[Family], since: float, now: float) -> None:
        """Send the state of everything; counters count from *since*. Times are seconds since 1970."""
