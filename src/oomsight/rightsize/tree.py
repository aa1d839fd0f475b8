"""A YAML text as nodes that know their place in it, and edits of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple


@dataclass(slots=True)
class Tree:
    """One YAML node and its place in the text."""

    kind: Literal["map", "list", "text"]
    start: int  #: offset of its first character
    end: int  #: offset behind its last one
    line: int  #: from 0
    column: int  #: from 0
    flow: bool = False
    text: str = ""
    quoted: bool = False
    pairs: list[tuple[Tree, Tree]] = field(default_factory=list)
    items: list[Tree] = field(default_factory=list)

    def get(self, *path: str) -> Tree | None:
        """Return the value at *path* of mappings; ``None`` = not there."""
        node: Tree | None = self
        for name in path:
            if node is None or node.kind != "map":
                return None
            node = next((value for key, value in node.pairs if key.text == name), None)
        return node


class Edit(NamedTuple):
    """Replace ``text[start:end]``."""

    start: int
    end: int
    text: str
