"""Markdown: structure for tickets, and no markup from names or from the prose around them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.naming.marked import mark
from oomsight.sinks import markdown
from oomsight.sinks.blocks import Code, Heading, Paragraph, Row, Table
from oomsight.sinks.blocks import Column as Col
from oomsight.sinks.markdown import markdown_text, render_markdown
from oomsight.sinks.story import story

from .incident_samples import host_incident, killer_incident, pod_incident


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 3.5 MiB (46 %).", "plain, 3.5 MiB (46 %)."),
        ("a *b* <i>c</i> [d](e) `f`", "a \\*b\\* \\<i\\>c\\</i\\> \\[d\\](e) `f`"),
        ("oom_score_adj __GFP_ZERO", "oom_score_adj \\_\\_GFP_ZERO"),
        ("a|b", "a\\|b"),
        ("# no heading", "\\# no heading"),
        ("- no list", "\\- no list"),
        ("1. no list", "1\\. no list"),
        ("1.5 MiB", "1.5 MiB"),
        ("two\nlines\x1b", "two lines\\\\x1b"),
        ("run `oomsight explain -` now", "run `oomsight explain -` now"),
        ("an odd ` tick", "an odd \\` tick"),
        (f"killed {mark('a`b')}", 'killed `"a\\x60b"`'),
        (f"{mark('x')} and `{mark('y')}`", "`x` and \\``y`\\`"),
    ],
)
def test_markdown_text_escapes_what_markdown_acts_on(text: str, shown: str) -> None:
    assert markdown_text(text) == shown


@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_markdown_text_keeps_markup_inside_code_spans(name: str, prose: str) -> None:
    shown = markdown_text(f"{prose.translate({2: None, 3: None})}{mark(name)}")
    assert "\n" not in shown
    unescaped = re.sub(r"\\.|`[^`]*`", "", shown)
    assert not set(unescaped) & set("`<>|*[]")


def test_render_markdown_blocks() -> None:
    table = Table((Col("a"), Col("b", right=True)), (Row((mark("x|y"), "1"), "bad"),), "2 more")
    assert render_markdown([Heading("T", 1), Paragraph("P", "warn"), table, Code("ls ```x")]) == (
        '## T\n\nP\n\n| a | b |\n|---|---:|\n| **`"x\\x7cy"`** | **1** |\n\n… 2 more\n\n````sh\nls ```x\n````\n'
    )


@pytest.mark.parametrize("level", ["brief", "normal", "evidence"])
def test_render_markdown_of_a_hostile_incident_has_no_markup_of_its_own(level) -> None:
    text = render_markdown(story(host_incident("</b>`x`|\n# y\n```\n<script>"), level=level))
    assert "<script>" not in text
    assert "</b>" not in text
    assert not re.search(r"^# y", text, re.MULTILINE)
    assert text.count("```") % 2 == 0


def test_render_markdown_tables_have_equal_columns() -> None:
    rows = [
        line for line in render_markdown(story(pod_incident(), level="evidence")).splitlines() if line.startswith("|")
    ]
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    heads = [i for i, row in enumerate(rows) if re.fullmatch(r"\|(-+:?\|)+", row)]
    assert len(heads) == 4  # facts, memory, consumers, ranking
    for start, end in zip(heads, [*[h - 1 for h in heads[1:]], len(rows)], strict=True):
        assert len(set(bars[start - 1 : end])) == 1


@given(st.text(st.characters(), max_size=30))
@settings(max_examples=50)
def test_render_markdown_any_name_stays_on_its_line(name: str) -> None:
    assert render_markdown(story(killer_incident(name))).count("\n") == render_markdown(
        story(killer_incident("x"))
    ).count("\n")


def test_a_memory_table_has_no_column_that_is_empty() -> None:
    for incident in (pod_incident(), host_incident()):
        shown = render_markdown(story(incident, level="normal")).split("\n")
        at = next(i for i, line in enumerate(shown) if line.startswith("| memory |"))
        rows = [line.strip("|").split("|") for line in shown[at + 2 :][: next(i for i, x in enumerate(shown[at + 2 :]) if not x)]]
        assert all(any(cell.strip() for cell in column) for column in zip(*rows, strict=True))


def test_the_characters_asked_for_are_those_the_pattern_finds() -> None:
    for code in range(0x250):
        assert (chr(code) in markdown._ACTIVE_CHARS) == bool(markdown._ACTIVE.search(chr(code))), code


@pytest.mark.parametrize(("text", "shown"), [("1. a", "1\\. a"), ("# a", "\\# a"), ("a # b 1. c", "a # b 1. c"), ("- a", "\\- a"), ("1.5", "1.5")])
def test_only_the_begin_of_a_line_could_be_a_list(text: str, shown: str) -> None:
    assert markdown_text(text) == shown
