"""
What people paste: cut, grepped, quoted pieces of real reports from public threads, hosts renamed, with the facts a
careful reader takes from them. ``facts.json`` has one entry per file: every key of ``events`` is compared, the texts
must be in (``says``) or must not be in (``never``) what the terminal shows. ``source`` is the public address, where it
is known; ``sizes`` are what the kill line prints: total_vm, anon, file, shmem (KiB), uid, oom_score_adj.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.naming.marked import unmark
from oomsight.report import Clock, parse_text
from oomsight.sinks.story import stories
from oomsight.sinks.text import render_text

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident

HERE = Path(__file__).parent
FACTS: dict[str, Any] = json.loads((HERE / "facts.json").read_text())
CLOCK = Clock(reference=datetime(2026, 11, 29, 12, 0))  # noqa: DTZ001 - naive, as the logs are


def explained(name: str) -> list[Incident]:
    """The incidents of one file, in the order they stand in it."""
    data = (HERE / "logs" / f"{name}.log").read_bytes()
    return [explain_report(report) for report in parse_text(data, name, clock=CLOCK)]


def _facts(incident: Incident) -> dict[str, Any]:
    report = incident.report
    selected = report.selected
    return {
        "kind": report.kind.value,
        "victims": [[v.pid, v.comm, v.role] for v in report.victims],
        "sizes": [
            [v.total_vm_kib, v.anon_rss_kib, v.file_rss_kib, v.shmem_rss_kib, v.uid, v.oom_score_adj] for v in report.victims
        ],
        "killed": [[k.pid, k.comm] for k in report.killed],
        "killer": report.killer,
        "chosen": None if selected is None else [selected.pid, selected.comm],
        "trigger": None if report.trigger is None else report.trigger.comm,
        "time": report.when.time,
        "cause": incident.causes[0].code if incident.causes else None,
        "culprit": None if incident.culprit is None else unmark(incident.culprit.name),
        "limit_of": None if incident.oom_owner is None else unmark(incident.oom_owner.short),
        "ran_in": None if incident.owner is None else unmark(incident.owner.short),
        "explained": None if incident.selection is None else incident.selection.explained,
        "notes": sorted({note.code for note in report.notes}),
    }


@pytest.mark.parametrize("name", sorted(p.stem for p in (HERE / "logs").glob("*.log")))
def test_an_excerpt_is_read_as_a_careful_person_would(name: str) -> None:
    told = explained(name)
    wanted = FACTS[name]
    assert len(told) == len(wanted["events"])
    for incident, facts in zip(told, wanted["events"], strict=True):
        found = _facts(incident)
        assert {key: found[key] for key in facts} == facts
    shown = " ".join(render_text(stories(told[::-1], level="normal"), width=100).split())
    assert [text for text in wanted.get("says", []) if text not in shown] == []
    assert [text for text in wanted.get("never", []) if text in shown] == []


def test_addresses_are_public_and_few_are_missing() -> None:
    addresses = [entry["source"] for entry in FACTS.values() if "source" in entry]
    assert [address for address in addresses if not address.startswith(("https://", "http://"))] == []
    assert len(FACTS) - len(addresses) <= 9  # excerpts of the first days


def test_every_file_has_facts_and_every_fact_a_file() -> None:
    assert sorted(FACTS) == sorted(p.stem for p in (HERE / "logs").glob("*.log"))
