"""Compose files audited: with their override, what they include, and what lies beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.compose.read import Beside, ComposeFile, included, is_compose, services
from oomsight.audit.documents import Auditor, Outcome, judged
from oomsight.audit.env_file import read_env_file
from oomsight.audit.files import Unread
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.audit_beside import compose_beside, config_beside, document_beside, image_beside, text_beside
from oomsight.sources.audit_files import content
from oomsight.sources.yaml_documents import document, pieces

if TYPE_CHECKING:
    from oomsight.audit.tree import Node

MAX_INCLUDED: Final = 100
"""Files one compose file includes, those of the included ones among them."""


def override(path: str) -> Iterator[tuple[Node, str]]:
    """Yield the compose documents of an override file; what is wrong with it is said when it is audited alone."""
    with content(path) as data:
        for line, piece in pieces(data):
            root = document(line, piece).root
            if root is not None and is_compose(root):
                yield root, path


def audit_compose(files: list[tuple[Node, str]], name: str, auditor: Auditor, outcome: Outcome) -> None:
    """Add what is found about the compose *files*, the override first, *name* last, and about what that includes."""
    _services(files, name, auditor, outcome)
    seen = {os.path.normpath(name)}
    todo = [(files[-1][0], name)]
    while todo:
        root, path = todo.pop()
        for other, where in included(root, path):
            if other in seen or len(seen) > MAX_INCLUDED:
                continue
            seen.add(other)
            found = None if "://" in other else document_beside(other)
            if found is None or found.root is None:
                words = f"the included {mark(other, Kind.FILE)} is not here: its services are not audited"
                outcome.findings += auditor.unread(Unread(path, where.line, where.column, words))
            elif other not in auditor.audited:  # else it is audited itself
                here = Outcome()
                _services([(found.root, other)], other, auditor, here)
                here.findings = judged(here.findings, found.text, found.first_line, other, auditor)
                outcome.add(here)
                todo.append((found.root, other))


def _services(files: list[tuple[Node, str]], name: str, auditor: Auditor, outcome: Outcome) -> None:
    beside = Beside(text_beside, compose_beside, image_beside, config_beside)
    variables = read_env_file(text_beside(os.path.join(os.path.dirname(name), ".env")) or "")
    found = tuple(services(files, beside, variables))
    for service in found:
        outcome.seen["compose"] += 1
        outcome.findings += auditor.run("compose", service)
        outcome.findings += auditor.programs([service.program()])
    outcome.findings += auditor.run("composefile", ComposeFile(name, found))
