"""Runs rules over subjects and signs what they find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from oomsight.audit.model import Finding, Rule, Settings


def run(rules: Iterable[Rule], scope: str, subject: Any, settings: Settings) -> Iterator[Finding]:
    """Yield what those of *rules* that are for *scope* find about *subject*."""
    for rule in rules:
        if rule.scope != scope:
            continue
        for hit in rule.find(subject, settings):
            severity = rule.severity if hit.severity is None else hit.severity
            yield Finding(
                rule.id, severity, hit.subject, hit.where, hit.message, hit.evidence, hit.advice, hit.fix
            )  # fmt: skip


def chosen(rules: Iterable[Rule], select: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[Rule, ...]:
    """
    Return *rules* without those left out. Each word of *select* and *ignore* is an id or the beginning of ids
    (``OS4``); no *select* = all; *ignore* wins.
    """
    wanted, unwanted = tuple(select), tuple(ignore)
    return tuple(
        rule for rule in rules if (not wanted or rule.id.startswith(wanted)) and not rule.id.startswith(unwanted)
    )


def nobody(words: Iterable[str], rules: Iterable[Rule]) -> list[str]:
    """Return those of *words* that name no rule at all: typing errors."""
    ids = [rule.id for rule in rules]
    return [word for word in words if not any(name.startswith(word) for name in ids) or not word]
