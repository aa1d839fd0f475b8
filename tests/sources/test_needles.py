"""The first look at a small text: it may say "perhaps" too often, but where it says "no" the parser finds nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from oomsight.report import parse_text
from oomsight.report.grammar import LINE_RULES
from oomsight.report.killers import KILLER_RULES
from oomsight.sources.needles import could_matter

from ..golden.goldens import log
from ..report.mangle import CARRIERS, DAMAGE, messages

EXCERPTS = sorted((Path(__file__).parent.parent / "excerpts" / "logs").glob("*"))
GOLDENS = ("5.10.262-weird_names", "6.12.107-memcg_group", "6.1.192-memcg_v1")


@cache
def _lines(golden: str) -> tuple[str, ...]:
    return tuple(log(golden, "dmesg").decode().splitlines(keepends=True))


def _check(text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    if not could_matter(data):
        assert parse_text(data) == []


@pytest.mark.parametrize("rule", [*LINE_RULES, *KILLER_RULES], ids=lambda rule: rule.sample[:20])
def test_a_line_that_makes_an_incident_alone_shows_a_trace(rule) -> None:
    _check(rule.sample)


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("path", EXCERPTS, ids=lambda path: path.stem)
def test_a_piece_of_an_excerpt_without_a_trace_holds_nothing(path: Path, count: int) -> None:
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines(keepends=True)
    for first in range(0, len(lines), count):
        _check("".join(lines[first : first + count]))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("golden", GOLDENS)
def test_a_piece_of_a_report_without_a_trace_holds_nothing(golden: str, count: int) -> None:
    lines = _lines(golden)
    for first in range(0, len(lines), count):
        _check("".join(lines[first : first + count]))


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_carrier_lets_the_traces_through(carrier: str, golden: str) -> None:
    whole = messages("".join(_lines(golden)))
    assert could_matter(CARRIERS[carrier](whole).encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_lets_the_traces_through(damage: str, golden: str) -> None:
    text = DAMAGE[damage]("".join(_lines(golden)))
    if parse_text(text):
        assert could_matter(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "text",
    ["", "a text about memory and a room for processes\n", "int main(void) { return kill(pid, 9); }\n", '{"MESSAGE": "a"}\n'],
)
def test_other_text_shows_none(text: str) -> None:
    assert not could_matter(text.encode())
