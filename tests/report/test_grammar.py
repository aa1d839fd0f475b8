"""The line grammar, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report import grammar
from oomsight.report.grammar import (
    ALLOC,
    HEAD,
    INNER_RULES,
    KILL,
    LINE_RULES,
    LineRule,
    alternatives,
    classify,
    key_values,
)


@pytest.mark.parametrize("rule", LINE_RULES, ids=lambda r: r.name)
def test_rule_matches_its_own_sample_and_names_it(rule: object) -> None:
    assert re.match(rule.start, rule.sample)  # type: ignore[attr-defined]
    assert classify(rule.sample) == rule.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", LINE_RULES, ids=lambda r: r.name)
def test_every_alternative_of_a_rule_begins_with_a_character_or_a_set(rule: LineRule) -> None:
    found = alternatives(rule.start)
    assert "|".join(found) == rule.start
    # What begins otherwise is tried on every line (see the comment at the table's end): the one exception is rare.
    assert [a for a in found if a[0] in "(.^" or re.match(r"(?:\[[^]]+\]|\\.|[^\\\[])[*+?{]", a)] in ([], [r".*: OOM victim \d+ \("])


_WHOLE = grammar._shapes(tuple((rule.name, start) for rule in LINE_RULES for start in alternatives(rule.start)))
_SAMPLES = [rule.sample for rule in LINE_RULES]
_LOGS = sorted(path for path in (Path(__file__).parents[1] / "excerpts" / "logs").rglob("*") if path.is_file())
_LINES = sorted({line.lstrip() for path in _LOGS for line in path.read_text("utf-8", "surrogateescape").split("\n")})


def _by_the_whole_table(line: str) -> str | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grammar, "_OWN", {})
        patch.setattr(grammar, "_WIDE", _WHOLE)
        return classify(line)


@given(st.sampled_from(_SAMPLES + _LINES), st.sampled_from(_SAMPLES), st.data())
def test_shapes_by_first_character_are_those_of_the_whole_table(one: str, other: str, data: st.DataObject) -> None:
    mixed = one[: data.draw(st.integers(0, len(one)))] + other[data.draw(st.integers(0, len(other))) :]
    for line in (one, other, mixed, mixed.lstrip()):
        assert classify(line) == _by_the_whole_table(line)


def test_rules_have_unique_names_and_sources() -> None:
    names = [r.name for r in LINE_RULES]
    assert len(set(names)) == len(names)
    assert all(r.source and re.fullmatch(r"\d\.\d+(\.\d+)?", r.since) for r in LINE_RULES)


@pytest.mark.parametrize(("name", "pattern", "sample"), INNER_RULES, ids=lambda v: v if isinstance(v, str) and len(v) < 9 else "")
def test_inner_rule_matches_its_own_sample_and_names_it(name: str, pattern: re.Pattern[str], sample: str) -> None:
    assert pattern.search(sample)
    assert classify(sample) == name


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("oom-killer: gfp_mask=0xd0", "head"),
        ("invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0", "head"),
        ("memory: usage 1 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0", "head"),
        ("Memory cgroup stats for / invoked oom-killer: gfp_mask=0x0:", "memcg_stats"),
        ("the kernel invoked oom-killer because memory was short", None),
        ("Out of Memory: Kill process 7 (a) score 5 and children.", "kill"),
        ("Killed process 9682, UID 27, (mysqld) total-vm:47388kB, anon-rss:3744kB, file-rss:80kB", "kill"),
        ("Out of memory: Killed process %d (%s) total-vm:%lukB", None),
        ("oom-kill:constraint=%s,nodemask=%*pbl", None),
        ("java cpuset=/ mems_allowed=0-1", "cpuset"),
        ("[  901]     0   901     4900       61   0     -17 sshd", "row"),
        ("[   17.316920] x", None),
        ("anon 100442112", "stat"),
        ("anon 18446744073709551615", "stat"),
        ("anon 184467440737095516159", None),
        ("Normal: empty", "buddy"),
        ("Node 1 Movable free:12kB min:1kB", "zone"),
        ("Kernel panic - not syncing: Fatal exception", "panic"),
        ("ping: page allocation stalls for 10000ms, order:0, mode:0x14000c0", "alloc"),
        ("usb 1-1: new high-speed USB device", None),
        ("", None),
    ],
)
def test_classify(text: str, kind: str | None) -> None:
    assert classify(text) == kind


def test_head_gives_the_name_with_its_own_blanks() -> None:
    assert HEAD.match("a invoked b invoked oom-killer: gfp_mask=0x0")["comm"] == "a invoked b"  # type: ignore[index]
    assert HEAD.match("oom-killer: gfp_mask=0xd0")["comm"] is None  # type: ignore[index]


def test_kill_and_announcement_differ() -> None:
    assert KILL.search("Killed process 12 (a) total-vm:1kB")["ed"] == "ed"  # type: ignore[index]
    assert KILL.search("Kill process 12 (a) score 1 or sacrifice child")["ed"] is None  # type: ignore[index]
    assert KILL.search("Skill process 12 (a)") is None
    assert ALLOC.match("x: page allocation failure: order:0")["comm"] == "x"  # type: ignore[index]


def test_key_values_end_at_comma_blank_or_end() -> None:
    assert key_values("a invoked oom-killer: gfp_mask=0xd0, order=-1, oom_adj=-17 x=") == {
        "order": "-1", "oom_adj": "-17",
    }  # fmt: skip


@pytest.mark.parametrize("word", grammar.FIXED)
@pytest.mark.parametrize("rest", ["", " ", "5", "5 inactive_anon:6", " 5", "5\tx", "5x", "x 5", "\u0665", " a invoked oom-killer: gfp_mask=0x1, order=0"])
def test_a_fixed_word_is_the_shape_that_the_table_gives(word: str, rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = classify(f"{word}:{rest}")
    monkeypatch.setattr(grammar, "FIXED", {})
    assert found == classify(f"{word}:{rest}")
