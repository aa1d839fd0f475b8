"""Names of metrics in queries: those that exist and those a text mentions."""

from __future__ import annotations

import re
from pathlib import Path

from oomsight.metrics.table import BY_NAME

DEPLOY = Path(__file__).parents[2] / "deploy"

_NAME = re.compile(r"\boomsight_[a-z0-9_]+")
_SELECTOR = re.compile(r"\b(oomsight_[a-z0-9_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_SCRAPED = {"instance", "job"}


def unknown(query: str) -> list[str]:
    """What *query* names and the table does not have: metrics, and labels a metric does not carry."""
    found = [name for name in _NAME.findall(query) if name not in BY_NAME]
    for name, inside in _SELECTOR.findall(query):
        labels = set(BY_NAME[name].labels) | _SCRAPED if name in BY_NAME else set()
        found += [f"{name}{{{label}}}" for label in _MATCHER.findall(inside) if label not in labels]
    return found
