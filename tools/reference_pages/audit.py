"""Audit rules, one page each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.registry import rules
from oomsight.audit.settings import KEYS as AUDIT_KEYS
from reference_pages.markdown import code, prose, table

if TYPE_CHECKING:
    from oomsight.audit.model import Rule


AUDIT_GROUPS: Final = {
    "OS0": "The files themselves", "OS1": "Hosts", "OS2": "systemd units", "OS3": "Containers: compose, Dockerfiles",
    "OS4": "Kubernetes", "OS5": "Runtimes against their limit",
}  # fmt: skip
"""How ids of rules begin -> what those rules are about."""


def audit_page() -> Iterator[str]:
    """Every rule of ``oomsight audit`` and the configuration file."""
    yield "What `oomsight audit` looks for. Ids are stable; each has a page. How to use it:"
    yield "[audit a repository](../../how-to/audit.md)."
    yield ""
    for prefix, title in AUDIT_GROUPS.items():
        if rows := [row for row in rules() if row.id.startswith(prefix)]:
            yield f"## {title}"
            yield ""
            yield from table(
                ("rule", "severity", "found"),
                [(f"[{row.id}]({row.id}.md)", row.severity.word, prose(row.title)) for row in rows],
            )
    yield "## Configuration"
    yield ""
    yield "`.oomsight.toml`, in the directory where `oomsight audit` is run or in the one audited; `--config` names"
    yield "another. Table `[audit]`:"
    yield ""
    yield from table(("key", "meaning"), [(code(key.name), prose(key.help)) for key in AUDIT_KEYS])


def _sample(name: str, text: str) -> Iterator[str]:
    language = "yaml" if name.endswith((".yaml", ".yml")) else "ini" if name.endswith(".service") else "text"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    yield f"{fence}{language}"
    yield from text.rstrip("\n").split("\n")
    yield fence
    yield ""


def rule_page(row: Rule) -> Callable[[], Iterator[str]]:
    """Return the writer of a rule's page."""

    def page() -> Iterator[str]:
        yield f"Severity: **{row.severity.word}**. [All rules](README.md)"
        yield ""
        for title, text in (
            ("What", row.what), ("Why", row.why), ("How it leads to an OOM kill", row.leads),
            ("How to fix it", row.how),
        ):  # fmt: skip
            yield f"## {title}"
            yield ""
            yield prose(text[:1].upper() + text[1:])
            yield ""
        yield "## Found in"
        yield ""
        yield from _sample(row.sample_name, row.failing)
        yield "## Not found in"
        yield ""
        yield from _sample(row.sample_name, row.passing)
        yield "## Source"
        yield ""
        yield prose(row.source)
        yield ""

    return page
