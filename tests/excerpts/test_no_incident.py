"""
Real public texts about memory and the OOM killer that are no incident: source, patches, rules, manuals, tickets, logs of
other failures. ``sources.json`` says where each comes from, and whose words about memory are in it (``said``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oomsight.diagnose.said import sayings
from oomsight.report import parse_text

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent / "no_incident"
SOURCES: dict[str, dict[str, Any]] = json.loads((HERE / "sources.json").read_text())
WAYS: dict[str, Callable[[str], str]] = {
    "whole": str, "quoted": lambda text: text.replace("\n", "\n> "), "crlf": lambda text: text.replace("\n", "\r\n"),
    "one line": lambda text: text.replace("\n", " "), "indented": lambda text: text.replace("\n", "\n    "),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SOURCES)
def test_no_incident_is_invented(name: str, way: str) -> None:
    text = WAYS[way]((HERE / f"{name}.log").read_text())
    assert [(r.kind, r.victims, r.lines) for r in parse_text(text)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_what_others_say_is_told_as_what_it_is(name: str) -> None:
    rows = dict.fromkeys(said.saying for said in sayings((HERE / f"{name}.log").read_bytes()))
    assert [f"{row.of.value}: {row.who}" for row in rows] == SOURCES[name].get("said", [])


def test_every_text_has_a_source() -> None:
    assert sorted(SOURCES) == sorted(p.stem for p in HERE.glob("*.log"))
    assert all(entry["source"].startswith(("https://", "http://")) for entry in SOURCES.values())
