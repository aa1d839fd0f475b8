"""Terminal text: width, colour, ASCII, hostile names, and what it says about known incidents."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.naming.marked import mark
from oomsight.sinks.blocks import Bar, Bullets, Code, Column, Heading, Item, KeyValues, Paragraph, Row, Segment, Table
from oomsight.sinks.safe import display_width
from oomsight.sinks.story import overview, story
from oomsight.sinks.text import bar_columns, render_text

from .incident_samples import CONTAINER, empty_incident, host_incident, killer_incident, pod_incident

HOSTILE = "\x1b[31mx`|</b>\n\u202ey"
_SGR = re.compile(r"\x1b\[[0-9;]+m")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
@pytest.mark.parametrize("level", ["brief", "normal", "evidence"])
@pytest.mark.parametrize("make", [host_incident, pod_incident, empty_incident, killer_incident])
def test_render_text_fits_the_width(make, level, width) -> None:
    blocks = [block for block in story(make(), level=level) if not isinstance(block, Bullets)]
    for line in render_text(blocks, width=width).splitlines():
        assert display_width(line) <= width


def test_render_text_does_not_break_commands() -> None:
    command = "systemctl set-property " + "x" * 90 + ".service MemoryMax=96M"
    assert f"    {command}\n" in render_text([Code(command)], width=60)


@pytest.mark.parametrize("level", ["brief", "normal", "evidence"])
def test_render_text_of_hostile_names_holds_no_control(level) -> None:
    text = render_text(story(host_incident(HOSTILE, "\x1b]0;title\x07.log"), level=level))
    assert not set(text.replace("\n", "")) & {chr(c) for c in [*range(32), 127, *range(128, 160), 0x202E]}
    assert '"\\x1b[31mx`|</b>\\x0a\\u202ey"' in text


def test_render_text_ascii_is_ascii() -> None:
    assert render_text(story(host_incident("日本語"), level="evidence"), unicode=False).isascii()


def test_render_text_colour_only_adds_sgr() -> None:
    blocks = story(host_incident(), level="evidence")
    coloured = render_text(blocks, colour=True)
    assert "\x1b[1;31m" in coloured
    assert _SGR.sub("", coloured) == render_text(blocks)


def test_render_text_headline_summary_and_facts_in_order() -> None:
    lines = render_text(story(host_incident()), width=100).splitlines()
    assert lines[0] == "python3 (pid 161) was killed: the whole machine ran out of memory"
    assert lines[1] == "━" * 100
    assert lines[2].startswith("The kernel killed python3 because RAM (274.7 MiB) was full")
    facts = [line for line in lines if line.startswith(("Killed ", "When ", "Read from "))]
    assert facts[0].startswith(
        "Killed            python3 (pid 161), 125.6 MiB resident (anonymous 125.2 MiB, shared 392"
    )
    assert facts[1] == "When              3.59 s after boot"
    assert facts[2] == "Read from         dmesg.txt, lines 2–104"


def test_render_text_memory_bar_in_letters_and_numbers() -> None:
    text = render_text(story(host_incident()), width=80)
    bar = next(line for line in text.splitlines() if "▕" in line)
    assert bar == "  ▕A███████████████████████████████████████████████████████████S▓▓▓▓▓L▒▒B▒K??F·▏"
    assert " A anonymous (heap, stack)   219.2 MiB   80 %" in text
    assert " ? unaccounted                 8.5 MiB    3 %" in text


def test_render_text_ranking_names_every_role() -> None:
    text = render_text(story(host_incident()), width=100)
    assert re.search(r"1 +python3 +161 +32,235 .* killed, culprit, trigger$", text, re.MULTILINE)
    assert "Passed over (oom_score_adj -1000): sshd (1.3 MiB)." in text
    assert "Margin to the next process: 16,658 pages (65.1 MiB)." in text


def test_render_text_evidence_has_line_numbers_normal_has_not() -> None:
    proof = render_text(story(host_incident(), level="evidence"), width=120)
    assert "free 2688 KiB, page cache 0 KiB (lines 44–80)" in proof
    assert "oom_score_adj 0 (line 104)" in proof
    assert "Total swap = 0 KiB (line 79)" in proof
    assert "(lines 44–80)" not in render_text(story(host_incident()), width=120)


def test_render_text_drops_columns_before_it_shortens_names_to_nothing() -> None:
    columns = (Column("name", flexible=True), Column("size", right=True), Column("extra", drop=1))
    table = Table(columns, (Row((mark("a" * 50), "1.0 MiB", "x" * 20)),))
    assert (
        render_text([table], width=40)
        == "name                                size\n" + "a" * 15 + "…" + "a" * 15 + "  1.0 MiB\n"
    )


def test_render_text_names_a_cgroup_by_its_owner() -> None:
    text = render_text(story(pod_incident()), width=160)
    assert "Memory of container 5b0b1c4f2d8e in pod 3f7d0a52: 48.0 MiB" in text
    assert CONTAINER in text.replace("\n                  ", "")


def test_render_text_of_plain_blocks() -> None:
    blocks = [
        Heading("Title", 1),
        Paragraph("Text."),
        KeyValues((("Killed", "a"), ("Killed", "b"), ("When", "now"))),
        Heading("Part"),
        Bullets((Item("one", below=(Code("ls -l"),)), Item("two")), numbered=True),
        Bar("RAM: 2 KiB", 2, (Segment("A", "anon", 1, 0), Segment("F", "free", 1, 12, "in lists"))),
    ]
    assert render_text(blocks, width=40, unicode=False) == (
        "Title\n========================================\nText.\n\nKilled  a\n        b\nWhen    now\n\n"
        "-- Part --------------------------------\n  1. one\n         ls -l\n  2. two\n\n"
        "  RAM: 2 KiB\n  [A#################F.................]\n"
        "   A anon      1 KiB   50 %\n   F free      1 KiB   50 %\n       in lists\n"
    )


@given(st.lists(st.integers(0, 10**9), max_size=12), st.integers(20, 160))
def test_bar_columns_add_up(kib: list[int], columns: int) -> None:
    widths = bar_columns(kib, columns)
    assert len(widths) == len(kib)
    assert sum(widths) == (columns if sum(kib) else 0)
    for part, width in zip(kib, widths, strict=True):
        assert width >= 0
        assert part or not width
        assert part * 100 < sum(kib) or not part or width >= 1


@given(st.text(st.characters(), max_size=30))
@settings(max_examples=50)
def test_render_text_never_lets_a_name_break_the_page(name: str) -> None:
    text = render_text(story(killer_incident(name)), width=60)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert text.splitlines()[-1].startswith("Incident ")


def test_overview_has_one_row_per_incident() -> None:
    text = render_text(overview([host_incident(), pod_incident(), killer_incident(), empty_incident()]), width=120)
    rows = text.splitlines()[3:]
    assert [re.split(r"  +", row.strip())[0] for row in rows] == ["1", "2", "3", "4"]
    assert "node (pid 165)" in rows[1]
    assert "memcg_limit" in rows[1]
    assert "not in this text" in rows[3]
