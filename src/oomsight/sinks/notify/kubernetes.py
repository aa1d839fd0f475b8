"""A Kubernetes Event on the pod whose process died, as ``kubectl describe pod`` shows it; HTTPS with the token."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from oomsight.sinks.notify.channel import Message, SendError, body, shown
from oomsight.sinks.notify.http import REFUSED, post

ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
MAX_MESSAGE_CHARS: Final = 1024  #: of an Event's message (the API server cuts longer ones)
RIGHT: Final = "create on events (core group) in the namespaces of the pods"
"""What the service account needs."""

_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TOLD: Final = frozenset({"firing", "repeat"})
_EXISTS: Final = frozenset({409})  # the name is the message's id: it was told before
_GONE: Final = frozenset({403, 404, 422})  # also of a namespace that is being removed: it must not hold up the others


class KubernetesEvents:
    """
    Writes Events through the API server of the cluster this agent runs in.

    Only messages whose pod is known by name are for it. The token is read for each message: kubelet renews it.
    """

    def __init__(self, options: dict[str, Any], environ: Mapping[str, str] = os.environ) -> None:
        self.options = options
        self._environ = environ

    def missing(self) -> str | None:
        """Whether there is a token, and an API server to show it to."""
        try:
            self._token()
            self._server()
        except SendError as error:
            return str(error)
        return None

    def send(self, message: Message) -> bool:
        """Write the Event for *message*; ``False`` when it is about no pod."""
        pod, namespace = message["subject"].get("pod"), message["subject"].get("namespace")
        if message["status"] not in _TOLD or not pod or not namespace:
            return False
        wanted = self.options.get("namespace")
        if wanted is not None and not any(fnmatchcase(namespace, pattern) for pattern in wanted):
            return False
        token = self._token()
        path = f"/api/v1/namespaces/{namespace}/events"
        try:
            post(
                self._server() + path, event_of(message), headers={"Authorization": f"Bearer {token}"},
                timeout_seconds=self.options["timeout_seconds"],
                ca_file=self.options.get("ca_file") or f"{ACCOUNT}/ca.crt", fine=_EXISTS,
                refused=REFUSED | _GONE,
            )  # fmt: skip
        except SendError as error:
            if str(error).endswith("answers 403"):
                words = f"{error}: the service account may not {RIGHT}, or the namespace is being removed"
                raise SendError(words, retry=False) from None
            raise
        return True

    def _token(self) -> str:
        token_file = self.options.get("token_file") or f"{ACCOUNT}/token"
        try:
            with open(token_file, encoding="ascii") as file:
                return file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not a token"
            raise SendError(f"{token_file}: {why.lower()}; give the agent a service account that may {RIGHT}") from None

    def _server(self) -> str:
        if url := self.options.get("url"):
            return str(url).rstrip("/")
        host, port = (self._environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
        if not host:
            raise SendError("not in a cluster: KUBERNETES_SERVICE_HOST is not set; give the channel a url")
        return f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"


def event_of(message: Message) -> dict[str, Any]:
    """Return *message* as a core/v1 Event."""
    subject = message["subject"]
    # Names of objects are lower-case DNS subdomains; a pod's is one, and so is it with our hexadecimal id behind.
    name = f"{subject['pod'][:200]}.oom-{message['id']}"
    text = f"{shown(message['title'])}\n{body(message)}"
    first, last = (f"{datetime.fromtimestamp(message[key], UTC):%Y-%m-%dT%H:%M:%SZ}" for key in ("started", "at"))
    involved = {"apiVersion": "v1", "kind": "Pod", "namespace": subject["namespace"], "name": subject["pod"]}
    if subject.get("pod_uid"):
        involved["uid"] = subject["pod_uid"]
    if subject.get("container") and not _ID.fullmatch(subject["container"]):  # a name, as the pod's manifest has it
        involved["fieldPath"] = f"spec.containers{{{subject['container']}}}"
    node = subject.get("node") or ""
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": subject["namespace"]},
        "involvedObject": involved, "type": "Warning",
        "reason": "MemoryAlert" if message["labels"].get("kind") == "memory" else "OOMKill",
        "message": text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…",
        "count": max(message["kills"], 1), "firstTimestamp": first, "lastTimestamp": last,
        "source": {"component": "oomsight", "host": node}, "reportingComponent": "oomsight", "reportingInstance": node,
    }  # fmt: skip
