"""A channel's configuration -> the channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from oomsight.sinks.notify.apprise_channel import AppriseChannel
from oomsight.sinks.notify.exec_hook import ExecHook
from oomsight.sinks.notify.kubernetes import KubernetesEvents
from oomsight.sinks.notify.webhook import Alertmanager, Webhook

if TYPE_CHECKING:
    from oomsight.alerts.rules import ChannelSpec
    from oomsight.sinks.notify.channel import Channel

_OPENERS: Final[Mapping[str, Callable[[dict[str, Any]], Channel]]] = {
    "exec": ExecHook, "webhook": Webhook, "alertmanager": Alertmanager, "apprise": AppriseChannel,
    "kubernetes": KubernetesEvents,
}  # fmt: skip


def open_channel(spec: ChannelSpec) -> Channel:
    """Return the channel *spec* describes. Nothing is connected or read yet."""
    return _OPENERS[spec.type](dict(spec.options))
