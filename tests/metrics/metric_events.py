"""Event documents as subscribers of the agent get them, made by the real merger and writer of documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "live_events"))
from kmsg_lines import Log

from oomsight.live.counters import Finding
from oomsight.live.merge import Merger
from oomsight.sinks.live_event import event_dict, note_dict

SEEN = "2026-11-23T12:00:00+00:00"
NOW = 1_795_430_000.0
POD_UID = "3f7d0a52-9f1c-4c1e-a0cb-5f1f7e0e9c11"
CONTAINER_ID = "5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + POD_UID.replace("-", "_") + ".slice"
CONTAINER = f"{POD}/cri-containerd-{CONTAINER_ID}.scope"
UNIT = "/system.slice/nginx.service"


def told(pid: int = 7, comm: str = "python3", memcg: str = UNIT, *, us: int = 5_000_000) -> list[dict[str, Any]]:
    """The documents of one kill: provisional, complete."""
    log, merger = Log(us=us), Merger()
    for record in log.report(pid, comm, memcg):
        merger.feed(record, 1.0)
    found = [*merger.feed(log.kill(pid, comm), 1.0), *merger.flush()]
    return [event_dict(event, SEEN) for event in found]


def complete(pid: int = 7, comm: str = "python3", memcg: str = UNIT, **kwargs: Any) -> dict[str, Any]:
    """The complete document."""
    return {**told(pid, comm, memcg)[-1], **kwargs}


def by_oomd(cgroup: str = UNIT) -> dict[str, Any]:
    """A kill by a userspace killer."""
    document = complete(9)
    killed = {"pid": 9, "comm": None, "cgroup": cgroup, "signal": None}
    incident = {**document["incident"], "kind": "userspace_killer", "killer": "systemd-oomd", "victims": [],
                "killed": [killed], "constraint": None, "task_memcg": cgroup}  # fmt: skip
    return {**document, "kills": [], "event_id": "ev-oomd", "incident": incident}


def note(code: str = "records_lost") -> dict[str, Any]:
    """A remark."""
    return note_dict(Finding(code, "/dev/kmsg: the kernel overwrote 3 records", {"records": 3}), SEEN, None)


def named(**names: Any) -> dict[str, Any]:
    """Enrichment as the agent's attribution adds it."""
    keys = ("container", "container_id", "pod", "namespace", "pod_uid", "unit", "machine", "level", "image", "runtime")
    return {"attribution": {**dict.fromkeys(keys), **names}}
