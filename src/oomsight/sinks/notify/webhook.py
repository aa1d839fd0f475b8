"""Channels that are one POST: a webhook of any kind, and Alertmanager's API version 2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from oomsight.sinks.notify.channel import Message, SendError, body, missing_secret, public, secret, shown
from oomsight.sinks.notify.http import post

SKEW_SECONDS: Final = 120.0  #: between our clock and Alertmanager's, at most


class Webhook:
    """POSTs the message as JSON (schema ``oomsight.alert/1``); ``Idempotency-Key`` is the message's id."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def missing(self) -> str | None:
        """Whether its address, token and certificates can be read."""
        return missing_secret(self.options, "url", "token")

    def send(self, message: Message) -> bool:
        """Send *message*."""
        self._post("", public(message), {"Idempotency-Key": message["id"]})
        return True

    def _post(self, path: str, value: Any, headers: dict[str, str]) -> None:
        url = secret(self.options, "url")
        if not url:
            raise SendError("its address is empty")
        if token := secret(self.options, "token"):
            headers = {**headers, "Authorization": f"Bearer {token}"}
        post(
            url.rstrip("/") + path if path else url, value, headers=headers, ca_file=self.options.get("ca_file"),
            timeout_seconds=self.options["timeout_seconds"],
        )  # fmt: skip


class Alertmanager(Webhook):
    """
    Keeps one alert per group: firing until the group is over, with the same labels throughout.

    ``endsAt`` says when the alert ends by itself should we die before we can end it.
    """

    def send(self, message: Message) -> bool:
        """Send *message*."""
        self._post("/api/v2/alerts", [alert_of(message)], {})
        return True


def alert_of(message: Message) -> dict[str, Any]:
    """Return *message* as Alertmanager's ``postableAlert``."""
    over = message["status"] == "resolved"
    annotations = {
        "summary": shown(message["title"]), "description": body(message), "kills": str(message["kills"]),
        "event_id": message["event_id"] or "", "incident": message["subject"].get("incident_id") or "",
    }  # fmt: skip
    return {
        "labels": {key: _utf8(value) for key, value in message["labels"].items()},
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _iso(message["started"]),
        "endsAt": _iso(_over(message) if over else message["at"] + message["hold_seconds"]),
    }


def _over(message: Message) -> float:
    """When it ended: past for the receiver's clock, too, or Alertmanager keeps the later end it was told before."""
    return max(float(message["at"]) - SKEW_SECONDS, float(message["started"]) + 0.001)


def _utf8(text: str) -> str:
    """Label values are UTF-8; an odd byte becomes a visible escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
