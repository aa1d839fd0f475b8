"""One channel at work: a thread that takes messages from the spool until they are told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from oomsight.sinks.notify.channel import SendError

if TYPE_CHECKING:
    from oomsight.sinks.notify.channel import Channel
    from oomsight.sinks.notify.spool import Spool

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 300.0
OLDEST_SECONDS: Final = 7 * 86400.0  #: older ones that still fail are given up: they may be what holds up the rest


WAITING: Final = "waiting"  #: :attr:`Delivery.status` after a first attempt that failed: it is tried again


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one message."""

    channel: str
    message_id: str
    event_id: str | None
    status: str  #: told, "not for it" (the channel has no use for it), refused (never will be taken), or WAITING
    at: float  #: unix seconds
    waited_seconds: float  #: from the decision to now
    attempts: int
    words: str = ""  #: what the receiver said last, if it did not take it at first


def pause_seconds(attempts: int, chance: float, after_seconds: float | None = None) -> float:
    """
    Return how long to wait after *attempts* failures in a row: doubling, up to five minutes, *chance* (0..1) spreads it
    from half to one and a half so that many hosts do not come back at one moment. Never before *after_seconds*.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 16), LONGEST_PAUSE_SECONDS)
    return max(pause * (0.5 + chance), after_seconds or 0.0)


class Sender:
    """
    Tells what is put into it, in order, however long it takes. ``say`` gets a line when the channel fails and when it
    works again; *told* gets every :class:`Delivery`.
    """

    def __init__(
        self, name: str, channel: Channel, spool: Spool, *, say: Callable[[str], None],
        told: Callable[[Delivery], None] = lambda _: None, scale: float = 1.0,
    ) -> None:  # fmt: skip
        """Begin at once with what the spool holds. *scale* shortens the pauses (tests, drills)."""
        self.name = name
        self.trouble = ""  #: why the last attempt failed; empty = it did not
        self.sent = 0
        self.refused = 0
        self._channel, self._spool, self._say, self._told, self._scale = channel, spool, say, told, scale
        self._attempts = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"channel {name}", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._spool)

    @property
    def dropped(self) -> int:
        """Messages a full spool had no room for."""
        return self._spool.dropped

    def put(self, message: Mapping[str, Any]) -> None:
        """Queue *message*: on disk when this returns, where there is one that can be written."""
        with self._wake:
            before, dropped = self._spool.trouble, self._spool.dropped
            self._spool.put(message)
            if self._spool.trouble and not before:
                self._say(f"alerts: {self._spool.trouble}; messages wait in memory")
            if self._spool.dropped and not dropped:
                self._say(f"alerts: channel {self.name}: more than {self._spool.limit:,} messages wait; the oldest go")
            self._wake.notify()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Tell what can be told within *timeout_seconds*; the rest stays in the spool."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_seconds)

    # -----------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while (found := self._spool.peek()) is None and not self._closing:
                    self._wake.wait()
            if found is None:
                return
            pause = self._attempt(*found)
            if pause is None:
                continue
            if self._closing:
                return
            self._pause(pause * self._scale)

    def _attempt(self, name: str, message: dict[str, Any]) -> float | None:
        """Try to tell *message*; return how long to wait before the next attempt, ``None`` = it is done with."""
        self._attempts += 1
        before = self.trouble
        try:
            told = self._channel.send(message)
        except SendError as error:
            self.trouble = str(error)
            if error.retry and time.time() - message.get("at", time.time()) < OLDEST_SECONDS:
                if not before:
                    self._say(f"alerts: channel {self.name}: {error}; it is tried again, nothing is lost")
                if self._attempts == 1:
                    self._told(self._delivery(message, WAITING))
                return pause_seconds(self._attempts, random.random(), error.after_seconds)
            self._say(f"alerts: channel {self.name}: {error}; the message {message['id']} is given up")
            self.refused += 1
            self._done(name, message, "refused")
            return None
        except Exception as error:  # a channel's bug must not end the thread, nor be tried for ever
            self._say(f"alerts: channel {self.name}: {type(error).__name__}: {error}; message {message['id']} given up")
            self.trouble = type(error).__name__
            self.refused += 1
            self._done(name, message, "refused")
            return None
        if before and told:
            left = len(self._spool) - 1
            more = f"{left:,} more message{'s' * (left != 1)} to go" if left else "nothing waits any more"
            self._say(f"alerts: channel {self.name} works again; {more}")
        if told:
            self.sent += 1
        self._done(name, message, "told" if told else "not for it")
        if told:
            self.trouble = ""
        return None

    def _done(self, name: str, message: dict[str, Any], status: str) -> None:
        with self._wake:
            self._spool.remove(name)
        delivery = self._delivery(message, status)
        self._attempts = 0
        self._told(delivery)

    def _delivery(self, message: Mapping[str, Any], status: str) -> Delivery:
        now = time.time()
        return Delivery(
            self.name, message["id"], message.get("event_id"), status, now, max(now - message.get("at", now), 0.0),
            self._attempts, self.trouble,
        )  # fmt: skip

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._wake:
            while not self._closing and (left := until - time.monotonic()) > 0:
                self._wake.wait(left)
