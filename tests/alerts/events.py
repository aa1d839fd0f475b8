"""Events as the agent publishes them: made by the real parser from the bundled real kill in a pod."""

from __future__ import annotations

import copy
from functools import lru_cache
from importlib.resources import files
from typing import Any

from oomsight.diagnose.explain import explain_report
from oomsight.live.events import Kill, LiveEvent, Stage
from oomsight.report import parse_text
from oomsight.sinks.live_event import event_dict

SEEN = "2026-11-23T10:00:00+00:00"
NAMES = {
    "path": "/kubepods.slice/x", "name": "payments/api-7d9f:api", "level": "container", "container": "api",
    "container_id": "5b0b1c4f2d8e", "image": "registry.local/api:3", "pod": "api-7d9f", "namespace": "payments",
    "pod_uid": "3f7d0a52-9f1c-4c1e-a0cb-5f1f7e0e9c11", "unit": "cri-5b0b.scope", "user": None, "machine": None,
    "node": "node-1", "runtime": "containerd", "words": "container api (image registry.local/api:3) of pod payments/api-7d9f",
}  # fmt: skip


@lru_cache
def _plain() -> dict[str, Any]:
    text = files("oomsight.data").joinpath("captures/pod.log").read_bytes()
    incident = explain_report(next(iter(parse_text(text, "kmsg"))))
    kills = (Kill("ev-1", 165, "node", 3_687_060),)
    return event_dict(LiveEvent("ev-1", Stage.COMPLETE, incident, kills, "b" * 32, 3_687_060, "/dev/kmsg"), SEEN)


def event(number: int = 1, *, comm: str | None = None, kind: str | None = None, names: dict[str, Any] | None = NAMES,
          cgroup: str | None = None, **changes: Any) -> dict[str, Any]:  # fmt: skip
    """A complete event; *number* makes it another one."""
    made = copy.deepcopy(_plain())
    incident = made["incident"]
    made["event_id"] = f"ev-{number}"
    made["enrichment"] = None if names is None else {"attribution": {**NAMES, **names}, "main_process_survived": None}
    if comm is not None:
        for part in ("headline", "summary"):
            incident[part] = incident[part].replace("node (pid", f"{comm} (pid")
        incident["victims"][0]["comm"] = incident["culprit"]["name"] = comm
        incident["causes"][0]["advice"][0]["text"] = f"restart {comm} now"
    if kind is not None:
        incident["kind"] = kind
    if cgroup is not None:
        incident["task_memcg"] = incident["oom_memcg"] = cgroup
    return {**made, **changes}


def note(code: str = "kills_not_in_log", text: str = "the kernel counted 3 kills, the log shows 2") -> dict[str, Any]:
    """A remark of the agent."""
    return {"schema": "oomsight.event/1", "type": "note", "code": code, "seen": SEEN, "boot_id": None, "text": text,
            "numbers": {}}  # fmt: skip
