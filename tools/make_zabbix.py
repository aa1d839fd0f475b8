#!/usr/bin/env python3
"""
Write deploy/zabbix/oomsight.yaml, a Zabbix 6.0 template, from the table of metrics: ``make_zabbix.py`` writes,
``make_zabbix.py --check`` compares. A test runs ``--check``.

Every item is a trapper item that the agent's section [zabbix] sends to. Ids are made from the keys, so that a template
imported again updates what is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from oomsight.alarms.table import ALARMS
from oomsight.diagnose.causes import CAUSES
from oomsight.metrics.table import BY_NAME, Metric
from oomsight.proc.pressure import RESOURCES
from oomsight.report.model import EventKind
from oomsight.sinks.zabbix import DISCOVERY, INCIDENT_KEY, item_key, known_keys

TARGET: Final = Path(__file__).resolve().parents[1] / "deploy" / "zabbix" / "oomsight.yaml"
NAME: Final = "Linux OOM by oomsight"
GROUP: Final = "Templates/oomsight"
UNITS: Final = {"bytes": "B", "seconds": "s", "ratio": "", "": ""}
CLOSED: Final = {
    "alarm": [alarm.code for alarm in ALARMS],
    "cause": [rule.code for rule in CAUSES],
    "kind": [kind.value for kind in EventKind],
    "resource": list(RESOURCES),
    "stall": ["some", "full"],
    "window": ["10s", "60s", "300s"],
    "exporter": ["zabbix"],
    "sample": ["host", "cgroups", "victims"],
    "queue": ["store"],
}
"""Labels whose values are known beforehand: one item each. The others are found by discovery."""

# Expression of a trigger: what to say, how bad, how long without data counts as none.
TRIGGERS: Final = {
    INCIDENT_KEY: [("nodata(/{T}/{K},5m)=0", "OOM kill: {ITEM.LASTVALUE}", "HIGH")],
    "oomsight.memory_available": [
        ("max(/{T}/{K},5m)/last(/{T}/oomsight.memory_total)<0.2", "RAM is more than 80 % used", "WARNING")
    ],
    "oomsight.swap_free": [
        (
            "last(/{T}/oomsight.swap_total)>0 and max(/{T}/{K},5m)/last(/{T}/oomsight.swap_total)<0.7",
            "Swap is more than 30 % used", "WARNING",
        )
    ],
    "oomsight.pressure[memory,full,60s]": [
        ("min(/{T}/{K},2m)>0.05", "All tasks wait for memory more than 5 % of the time", "WARNING")
    ],
    "oomsight.agent_degraded": [("min(/{T}/{K},5m)=1", "The oomsight agent is degraded", "WARNING")],
    "oomsight.agent_start_time": [("nodata(/{T}/{K},5m)=1", "The oomsight agent sends nothing", "HIGH")],
    "oomsight.agent_kills_not_in_log": [("change(/{T}/{K})>0", "Processes were killed that no log shows", "WARNING")],
    "oomsight.cgroup_memory_full[{#CGROUP}]": [
        ("min(/{T}/{K},5m)>0.9", "{#CONTAINER}{#UNIT} {#CGROUP} needs more than 90 % of its memory limit", "WARNING")
    ],
    "oomsight.agent_records_lost[{#SOURCE}]": [
        ("change(/{T}/{K})>0", "Messages of {#SOURCE} were overwritten unread", "WARNING")
    ],
} | {
    f"oomsight.alerts_held[{alarm.code}]": [
        (
            "last(/{T}/{K})>0",
            ("Host: " if alarm.scope == "host" else "A cgroup: ") + alarm.title,
            "HIGH" if alarm.critical_at is not None else "WARNING",
        )
    ]
    for alarm in ALARMS
}  # fmt: skip


def uuid(text: str) -> str:
    """An id as Zabbix wants it (UUID version 4 without dashes), always the same for *text*."""
    found = list(blake2b(text.encode(), digest_size=16).hexdigest())
    found[12], found[16] = "4", "89ab"[int(found[16], 16) % 4]
    return "".join(found)


def triggers(key: str) -> Iterator[dict[str, Any]]:
    """Triggers of the item *key*."""
    for expression, name, priority in TRIGGERS.get(key, []):
        text = expression.replace("{T}", NAME).replace("{K}", key)
        yield {"uuid": uuid(f"trigger {key} {name}"), "expression": text, "name": name, "priority": priority}


def item(metric: Metric, key: str, what: str = "") -> dict[str, Any]:
    """One trapper item."""
    text = metric.kind == "info"
    found = {
        "uuid": uuid(f"item {key}"),
        "name": f"{metric.help.split(';')[0].rstrip('.')}{what}"[:255],
        "type": "TRAP",
        "key": key,
        "delay": "0",
        "value_type": "TEXT" if text else "FLOAT",
        "description": f"{metric.help} Source: {metric.source}.",
        "tags": [{"tag": "component", "value": key.removeprefix("oomsight.").split("_")[0].split("[")[0]}],
    }
    if text:
        found["trends"] = "0"
    elif UNITS[metric.unit]:
        found["units"] = "unixtime" if "timestamp" in metric.name or "start_time" in metric.name else UNITS[metric.unit]
    if here := list(triggers(key)):
        found["triggers"] = here
    return found


def products(metric: Metric, labels: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every combination of the values of *labels*."""
    if not labels:
        yield ()
        return
    for value in CLOSED[labels[0]]:
        for rest in products(metric, labels[1:]):
            yield (value, *rest)


def template() -> dict[str, Any]:
    """The whole export."""
    incident = {
        "uuid": uuid(f"item {INCIDENT_KEY}"), "name": "OOM incident", "type": "TRAP", "key": INCIDENT_KEY,
        "delay": "0", "value_type": "TEXT", "trends": "0", "description": "Headline of each incident, when it happens.",
        "tags": [{"tag": "component", "value": "oom"}], "triggers": list(triggers(INCIDENT_KEY)),
    }  # fmt: skip
    plain: list[dict[str, Any]] = [incident]
    found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in DISCOVERY}
    by_label = {BY_NAME[name].labels[0]: rule for rule, name in DISCOVERY.items()}
    for metric, key in known_keys():
        labels = [part.strip("{#}").lower() for part in key.partition("[")[2].rstrip("]").split(",") if part]
        if not labels or all(label in CLOSED for label in labels):
            plain += [
                item(metric, item_key(metric, values), f": {' '.join(values)}" if values else "")
                for values in products(metric, labels)
            ]
        elif labels[0] in by_label:
            what = " ".join(f"{{#{label.upper()}}}" for label in labels)
            found[by_label[labels[0]]].append(item(metric, key, f": {what}"))
    rules = [
        {
            "uuid": uuid(f"rule {rule}"), "name": f"Discovery of {rule.split('.')[1]}", "type": "TRAP", "key": rule,
            "delay": "0", "lifetime": "7d",
            "item_prototypes": [
                {("trigger_prototypes" if name == "triggers" else name): value for name, value in row.items()}
                for row in rows
            ],
        }
        for rule, rows in found.items()
    ]  # fmt: skip
    words = "Kills, headroom, pressure and the next victim, sent by `oomsight agent` with a section [zabbix]."
    return {
        "zabbix_export": {
            "version": "6.0",
            "groups": [{"uuid": uuid(f"group {GROUP}"), "name": GROUP}],
            "templates": [
                {
                    "uuid": uuid(f"template {NAME}"), "template": NAME, "name": NAME, "description": words,
                    "groups": [{"name": GROUP}], "items": plain, "discovery_rules": rules,
                }
            ],
        }
    }  # fmt: skip


def yaml(value: object, indent: int = 0) -> Iterator[str]:
    """*value* as YAML lines: block style, every text in double quotes (JSON's, which are YAML's)."""
    pad = "  " * indent
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                yield f"{pad}{key}:"
                yield from yaml(inner, indent + 1)
            else:
                yield f"{pad}{key}: {json.dumps(inner, ensure_ascii=False)}"
    elif isinstance(value, list):
        for inner in value:
            lines = list(yaml(inner, indent + 1))
            yield f"{pad}- {lines[0].strip()}"
            yield from lines[1:]


def text() -> str:
    """The file."""
    head = "# Written by tools/make_zabbix.py from the table of metrics; changes here are lost.\n"
    return head + "\n".join(yaml(template())) + "\n"


def main(args: Sequence[str]) -> int:
    """Write the template, or with ``--check`` compare it; return the exit status."""
    if args not in ([], ["--check"]):
        print("usage: make_zabbix.py [--check]", file=sys.stderr)
        return 2
    if args:
        same = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text()
        if not same:
            print("deploy/zabbix/oomsight.yaml is not what the table says; run: tools/make_zabbix.py", file=sys.stderr)
        return not same
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
