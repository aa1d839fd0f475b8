"""
Heap flags in manifests, compose files and units that do not fit the new limit: found where they are written, replaced
by the largest that does. A heap that fits is left as it is: how big it should be is its owner's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import MIB
from oomsight.audit.runtimes.model import Inputs
from oomsight.audit.runtimes.units import go_size, jvm_size
from oomsight.rightsize.heap import heap_setting

if TYPE_CHECKING:
    from oomsight.audit.tree import Node
    from oomsight.rightsize.model import Advice


class Edit(NamedTuple):
    """Replace ``text[start:end]``."""

    start: int
    end: int
    text: str


class Flag(NamedTuple):
    """A heap flag as it is written; its group is the size."""

    runtime: str
    pattern: re.Pattern[str]
    argv: str  #: program a command line of which would hold it
    size_bytes: str  #: how the size is read: jvm, mib, go


FLAGS: Final = (
    Flag("jvm", re.compile(r"-Xmx(\d+[kKmMgGtT]?)(?![\w.])"), "java", "jvm"),
    Flag("node", re.compile(r"--max[-_]old[-_]space[-_]size[= ](\d+)(?!\w)"), "node", "mib"),
    Flag("go", re.compile(r"(?<![\w.])(?:GOMEMLIMIT=)?(\d+(?:[KMGT]i)?B)(?!\w)"), "app", "go"),
)
_ENV: Final = frozenset({"env", "environment"})
_WORDS: Final = frozenset({"command", "args", "entrypoint", *_ENV})


def _bytes(flag: Flag, text: str) -> int | None:
    match flag.size_bytes:
        case "jvm":
            return jvm_size(text)
        case "mib":
            return int(text) * MIB
        case _:
            return go_size(text)


def fitted(text: str, advice: Advice, *, go: bool = False) -> str | None:
    """
    Return *text* with its heap flag lowered to fit the recommended limit; ``None`` = nothing to change. *go*: the text
    is the value of GOMEMLIMIT, which has no flag in front.
    """
    limit = advice.setting("limit")
    if limit is None or not limit.bytes:
        return None
    for flag in FLAGS:
        found = flag.pattern.search(text)
        if found is None or (flag.runtime == "go" and not go and not found[0].startswith("GOMEMLIMIT=")):
            continue
        now = _bytes(flag, found[1])
        argv = (flag.argv, *(word for word in text.split() if word.startswith("-")))
        heap = heap_setting(flag.runtime, Inputs(argv=argv, limit_bytes=limit.bytes), limit.bytes)
        if now is None or heap is None or heap.bytes is None or now <= heap.bytes:
            continue
        value = heap.value if found[0] != found[1] else heap.value.partition("=")[2]
        return text[: found.start()] + value + text[found.end() :]
    return None


def heap_in_line(line: str, advice: Advice) -> str | None:
    """Return a line of a unit file with its heap flag lowered; ``None`` = nothing to change."""
    return fitted(line, advice)


def heap_edits(text: str, container: Node, advice: Advice) -> tuple[list[Edit], list[str]]:
    """Return the edits of heap flags in a container or service, and what was changed in words."""
    edits, said = [], []
    for node, go in _scalars(container):
        new = fitted(node.text, advice, go=go)
        if new is None:
            continue
        written = text[node.start : node.end]
        inside = container.start <= node.start and node.end <= container.end
        if not inside or written not in {node.text, f'"{node.text}"', f"'{node.text}'"}:  # an alias, a block, escapes
            said.append(f"its heap does not fit the limit and is written in a way that takes a hand: make it {new}")
            continue
        edits.append(Edit(node.start, node.end, f"{written[0]}{new}{written[0]}" if node.quoted else new))
        said.append(f"its heap did not fit the limit: {new}")
    return edits, said


def _scalars(container: Node) -> Iterator[tuple[Node, bool]]:
    """Yield the texts of commands and variables, and whether each is the value of GOMEMLIMIT."""
    for key, value in container.written():
        if key.text in _WORDS:
            yield from _below(value)


def _below(node: Node) -> Iterator[tuple[Node, bool]]:
    if node.is_scalar:
        yield node, False
    elif node.is_sequence:
        for item in node.entries():
            name, value = item.own("name"), item.own("value")
            if name is not None and value is not None and value.is_scalar:  # Kubernetes: - name: …, value: …
                yield value, name.text == "GOMEMLIMIT"
            elif item.is_scalar:
                yield item, False
    else:
        for key, value in node.written():
            if value.is_scalar:
                yield value, key.text == "GOMEMLIMIT"
