"""Every rule, by id. A new family of rules is one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from oomsight.audit.model import Rule

FAMILIES: Final[tuple[str, ...]] = (
    "oomsight.audit.files",
    "oomsight.audit.kubernetes.limits",
    "oomsight.audit.kubernetes.inside",
    "oomsight.audit.kubernetes.cluster",
    "oomsight.audit.host.kernel",
    "oomsight.audit.host.people",
    "oomsight.audit.host.bounds",
    "oomsight.audit.compose.rules",
    "oomsight.audit.units.rules",
    "oomsight.audit.units.container_rules",
    "oomsight.audit.units.live",
    "oomsight.audit.containers.rules",
    "oomsight.audit.dockerfile.rules",
    "oomsight.audit.estimates",
    "oomsight.audit.program_rules",
    "oomsight.audit.configs.rules",
    "oomsight.audit.live",
)
"""Modules with a table ``RULES``; loaded when the first rule is asked for."""


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule in order of its id. :raises ValueError: two rules have one id"""
    found = sorted((rule for family in FAMILIES for rule in import_module(family).RULES), key=lambda rule: rule.id)
    ids = [rule.id for rule in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"ids used twice: {sorted({name for name in ids if ids.count(name) > 1})}")
    return tuple(found)


def rule(rule_id: str) -> Rule:
    """Return the rule with *rule_id*. :raises KeyError: there is none"""
    for row in rules():
        if row.id == rule_id:
            return row
    raise KeyError(rule_id)
