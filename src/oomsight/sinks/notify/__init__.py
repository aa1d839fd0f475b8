"""Channels that messages go out through, each with a queue on disk: what cannot be told now is told later."""

from oomsight.sinks.notify.channel import Channel, SendError
from oomsight.sinks.notify.open import open_channel
from oomsight.sinks.notify.sender import Delivery, Sender
from oomsight.sinks.notify.spool import Spool

__all__ = ["Channel", "Delivery", "SendError", "Sender", "Spool", "open_channel"]
