"""
Every golden and every excerpt as a document: JSON that the published schema accepts, and with names taken out nothing
left of hosts, users, programs, cgroups, units, ids, addresses and paths, while verdict and numbers stay.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.diagnose.redact import redact
from oomsight.naming.cgroup_layouts import ELIDED
from oomsight.naming.redact import Pseudonyms, is_public
from oomsight.report import parse_text
from oomsight.report.task_rows import TaskRows
from oomsight.sinks.document import document_json, incident_dict, incident_json, json_schema
from oomsight.sinks.markdown import render_markdown
from oomsight.sinks.story import story
from oomsight.sinks.text import render_text

from ..golden.goldens import NAMES, log
from .test_excerpts import CLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oomsight.diagnose.model import Incident
    from oomsight.report.model import OomReport

LOGS = Path(__file__).parent / "logs"
ALL = [*NAMES, *sorted(p.stem for p in LOGS.glob("*.log"))]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

# What identifies somebody wherever it stands in the log: addresses, ids, units.
_TELLING = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b|[\w.+-]+@[\w-]+\.[\w.]+"
    r"|(?<!\w)[0-9a-f]{12,64}(?!\w)|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}"
    r"|[\w@\\.:-]+\.(?:service|scope|slice|timer|mount|socket)\b"
)
# Fixed words of layouts, which stay by design, and programs called like words of our own sentences.
_FIXED = re.compile(
    r"(?:system|user|app|init|machine|session|kubelet|background)\.(?:slice|scope|service)|user-\d+\.slice"
    r"|user@\d+\.service|(?:kubelet-)?kubepods(?:-burstable|-besteffort)?(?:\.slice)?"
    r"|burstable|besteffort|mesos|system|docker|lxc(?:\.payload)?|ecs|nomad|libpod_parent|lxc\.monitor|UB \d+|ns|restricted|actions_job"
)
_WORDS = {"sleep", "host", "other", "back", "app", "job", "exe", "top", "mem", "rms", "tab", "pool", "wind", "pulse", "agent", "update"}


@cache
def reports(name: str) -> tuple[OomReport, ...]:
    data = log(name) if name in NAMES else (LOGS / f"{name}.log").read_bytes()
    return tuple(parse_text(data, f"/home/alice/{name}.log", clock=CLOCK))


@cache
def incidents(name: str) -> tuple[Incident, ...]:
    return tuple(map(explain_report, reports(name)))


@pytest.mark.parametrize("name", ALL)
def test_the_document_is_what_the_schema_says(name: str) -> None:
    written = json.loads(document_json("0.1.0", [], list(incidents(name))))
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []


def secrets(name: str) -> set[str]:
    """Names in the log that a redacted document must not hold."""
    found = {"alice"}
    for report in reports(name):
        found |= {w.host for w in (report.when, *(v.time for v in report.victims)) if w is not None and w.host}
        found |= set(TaskRows.of(report.tasks).names)
        roles = (*report.victims, *report.killed, report.selected, report.trigger)
        found |= {role.comm for role in roles if role is not None and role.comm}
        stats = report.memcg.stats if report.memcg else []
        cpuset = report.trigger.cpuset if report.trigger else None
        paths = (report.oom_memcg, report.task_memcg, report.group_memcg, cpuset, *(k.cgroup for k in report.killed))
        found |= {part for path in (*paths, *(s.path for s in stats)) if path for part in path.split("/")}
    data = log(name) if name in NAMES else (LOGS / f"{name}.log").read_bytes()
    found |= set(_TELLING.findall(data.decode("utf-8", "surrogateescape")))
    found = {secret.strip() for secret in found}
    kept = {s for s in found if len(s) < 3 or s.isdigit() or is_public(s.partition(".service")[0]) or _FIXED.fullmatch(s)}
    return found - kept - _WORDS - ELIDED


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("name", ALL)
def test_a_redacted_document_gives_no_name_away(name: str) -> None:
    names, hidden_names = Pseudonyms(b"key"), secrets(name)
    for incident in incidents(name):
        assert incident_json(incident) == json.dumps(incident_dict(incident), separators=(",", ":"))
        hidden = redact(incident, names)
        before, after = json.loads(incident_json(incident)), json.loads(incident_json(hidden))
        assert [(c["code"], c["confidence"]) for c in after["causes"]] == [(c["code"], c["confidence"]) for c in before["causes"]]
        assert list(numbers(after)) == list(numbers(before))
        shown = [incident_json(hidden)]
        for level in ("brief", "normal", "evidence"):
            shown += [render_text(story(hidden, level=level), width=500), render_markdown(story(hidden, level=level))]
        for text in shown:
            flat = re.sub(r"\s+", " ", text)
            left = [s for s in hidden_names if _stands_in(s, flat)]
            assert left == []


def _stands_in(secret: str, flat: str) -> bool:
    one_line = re.escape(re.sub(r"\s+", " ", secret))
    return re.search(rf"(?<![\w.-]){one_line}(?![\w-])", flat) is not None
