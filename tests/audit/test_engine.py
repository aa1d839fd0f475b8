"""The table of rules and what runs it."""

from __future__ import annotations

import re

import pytest

from oomsight.audit.engine import chosen, nobody, run
from oomsight.audit.files import Comment, Unread
from oomsight.audit.model import Finding, Settings, Severity, Where
from oomsight.audit.registry import rule, rules
from oomsight.audit.suppress import apply, suppressions


def test_ids_are_stable_words_and_every_row_is_complete() -> None:
    for row in rules():
        assert re.fullmatch(r"OS\d{3}", row.id)
        for field in ("title", "what", "why", "leads", "how", "source", "sample_name", "failing", "passing"):
            assert getattr(row, field).strip(), (row.id, field)
        assert row.failing != row.passing, row.id
        assert not row.title.endswith("."), row.id


def test_choice_by_prefix_and_ignore_wins() -> None:
    ids = {row.id for row in chosen(rules(), ["OS00"], ["OS004"])}
    assert "OS001" in ids
    assert "OS004" not in ids
    assert all(name.startswith("OS00") for name in ids)
    assert nobody(["OS0", "OS999", ""], rules()) == ["OS999", ""]


def test_run_signs_hits_with_the_rule() -> None:
    subject = Unread("a.yaml", 3, 1, "unexpected end")
    (finding,) = run(rules(), "unread", subject, Settings())
    assert finding.rule == "OS001"
    assert finding.severity is Severity.MEDIUM
    assert str(finding.where) == "a.yaml:3:1"


def _finding(rule_id: str, line: int) -> Finding:
    return Finding(rule_id, Severity.LOW, "x", Where("f", line), "m")


def test_suppression_on_the_line_above_it_and_for_the_file() -> None:
    text = (
        "a: 1  # oomsight: ignore[OS401] here\n"
        "# oomsight: ignore[OS402, OS403] above\n"
        "# another comment\n"
        "\n"
        "b: 2\n"
        "; oomsight: ignore-file[OS404] everywhere\n"
        "c: 3  # oomsight: ignore[OS401]\n"
    )
    found = suppressions(text)
    findings = [_finding("OS401", 1), _finding("OS402", 5), _finding("OS401", 5), _finding("OS404", 99), _finding("OS401", 7)]
    kept, used = apply(findings, found)
    assert [f.suppressed for f in kept] == ["here", "above", None, "everywhere", None]
    assert {c.line for c in used} == {1, 2, 6}
    bad = [c for c in found if list(run([rule("OS003")], "comment", Comment("f", c, False), Settings()))]
    assert [c.line for c in bad] == [7]


def test_a_suppression_must_name_rules() -> None:
    (comment,) = suppressions("x  # oomsight: ignore[everything] because\n")
    (finding,) = run([rule("OS003")], "comment", Comment("f", comment, False), Settings())
    assert "everything" in finding.message


def test_unknown_rule_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        rule("OS999")
