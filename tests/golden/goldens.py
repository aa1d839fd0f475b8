"""
The golden logs: real reports of real kernels with what was true inside the guest (see each folder's origin.md).

Other tests take their text from here too, so that what they damage or mix is what kernels print.
"""

from __future__ import annotations

import gzip
import json
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oomsight.diagnose.explain import explain_report
from oomsight.report import parse_text
from oomsight.sinks.document import incident_dict

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident
    from oomsight.report.model import OomReport

HERE = Path(__file__).parent
NAMES = tuple(sorted(p.parent.name for p in HERE.glob("*/truth.json")))
_FULL_TABLES = 1  # incidents per golden whose table is kept row by row; of the others a checksum
_MAX_ROWS = 70
# Sentences have their own tests; here they would only drown the facts.
_PROSE = {"summary", "answers", "causes", "consumers", "recurrence", "oom_owner", "page_size_from", "memory_other"}


def carriers(golden: str) -> tuple[str, ...]:
    """Names of the carriers a golden comes in, the richest first."""
    found = {p.name.removesuffix(".gz") for p in (HERE / golden).glob("*.gz")}
    first = [c for c in ("kmsg", "dmesg", "console") if c in found]
    return (*first, *sorted(found.difference(first)))


@cache
def log(golden: str, carrier: str = "") -> bytes:
    """The bytes of one carrier, by default the richest."""
    return gzip.decompress((HERE / golden / f"{carrier or carriers(golden)[0]}.gz").read_bytes())


@cache
def truth(golden: str) -> dict[str, Any]:
    """What was true in the guest."""
    return json.loads((HERE / golden / "truth.json").read_text())


@cache
def reports(golden: str, carrier: str = "") -> tuple[OomReport, ...]:
    """The parsed reports of one carrier; do not change them."""
    return tuple(parse_text(log(golden, carrier), carrier or carriers(golden)[0]))


@cache
def incidents(golden: str, carrier: str = "") -> tuple[Incident, ...]:
    """The explained events of one carrier; do not change them."""
    return tuple(explain_report(r) for r in parse_text(log(golden, carrier), carrier or carriers(golden)[0]))


@cache
def bare(golden: str) -> tuple[str, ...]:
    """The kernel's messages of a golden with nothing around them, one line each."""
    from oomsight.report.carriers import strip_lines

    lines = strip_lines(log(golden, "dmesg").decode("utf-8", "surrogateescape").split("\n"))
    return tuple(t for t in lines.texts if "oomrig" not in t)


def normal(incident: Incident, *, full: bool) -> dict[str, Any]:
    """*incident* as ``explain --format json`` writes it, reduced to its facts."""
    out = {k: v for k, v in incident_dict(incident).items() if k not in _PROSE}
    out["source"].pop("name", None)
    out["causes"] = [f"{c.code}: {c.confidence.value}" for c in incident.causes]
    out["notes"] = [f"{n.code} @{n.line}" for n in incident.report.notes]
    if out["selection"]:
        ranking = out["selection"].pop("ranking", None) or []
        out["selection"]["first"] = [f"{r.pid} {r.comm}: {r.points_pages}" for r in incident.selection.ranking[:3]]  # type: ignore[union-attr]
        out["selection"]["ranked"] = len(ranking)
        out["selection"].pop("why", None)
    rows = [list(t.values()) for t in out["tasks"]]
    columns = list(out["tasks"][0]) if rows else []
    if full and len(rows) <= _MAX_ROWS:
        out["tasks"] = [columns, *rows]
    else:
        out["tasks"] = {"rows": len(rows), "crc32": zlib.crc32(json.dumps(rows).encode())}
    out["zones"] = [_zone(z) for z in out["zones"]]
    if out["memcg"] and not full:
        out["memcg"]["stats"] = {"crc32": zlib.crc32(json.dumps(out["memcg"]["stats"]).encode())}
    return out


def _zone(zone: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in zone.items() if k != "words" and v is not None}


def expected_text(golden: str) -> str:
    """The text of expected.json: one line per list element or member, so that a difference is a line."""
    lines = ["["]
    found = incidents(golden)
    for i, incident in enumerate(found):
        lines.append(" {")
        members = normal(incident, full=i < _FULL_TABLES)
        for j, (key, value) in enumerate(members.items()):
            comma = "," if j < len(members) - 1 else ""
            if isinstance(value, list) and len(value) > 1:
                lines.append(f"  {json.dumps(key)}: [")
                lines += [f"   {json.dumps(v)}{',' if n < len(value) - 1 else ''}" for n, v in enumerate(value)]
                lines.append(f"  ]{comma}")
            else:
                lines.append(f"  {json.dumps(key)}: {json.dumps(value)}{comma}")
        lines.append(" }" + ("," if i < len(found) - 1 else ""))
    return "\n".join([*lines, "]"]) + "\n"
