"""
A YAML document as rules and patches read it: places kept, scalars as they are written, aliases not unfolded.

:class:`Node` looks into the nodes that PyYAML's composer makes and copies nothing: a rule that wants
``spec.containers`` pays for that path only, and a document whose aliases would unfold into billions of values costs
what is written in the file. Values keep their text, because ``010``, ``1e3``, ``on`` and ``12:30:45`` mean different
things to YAML 1.1, YAML 1.2, Go and Python: who reads a value says what it is to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from oomsight._lazy import lazy

_INT = lazy(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "n"})
_NULL: Final = frozenset({"", "~", "null"})
MERGE: Final = "<<"
MAX_UNFOLDED: Final = 500_000
"""Values a document may have once its aliases are unfolded, if they are more than ten times what is written."""


class Place(NamedTuple):
    """Where a value begins."""

    line: int  #: from 1
    column: int  #: from 1


class Node:
    """One value of a document. ``get`` and ``items`` of something that is no mapping find nothing, and so on."""

    __slots__ = ("_keys", "first_line", "raw")

    def __init__(self, raw: Any, first_line: int = 1, keys: dict[int, dict[str, tuple[Any, Any]]] | None = None) -> None:
        self.raw = raw  #: what the composer made: ``id``, ``value``, ``tag``, ``style``, ``start_mark``
        self.first_line = first_line  #: number of the document's first line in its file
        self._keys = {} if keys is None else keys  # of every mapping looked into, by its id; shared by the document

    @property
    def place(self) -> Place:
        """Where the value begins."""
        mark = self.raw.start_mark
        return Place(mark.line + self.first_line, mark.column + 1)

    @property
    def start(self) -> int:
        """Offset of its first character in the text that was composed; that of an alias is its anchor's."""
        return int(self.raw.start_mark.index)

    @property
    def end(self) -> int:
        """Offset behind its last character; of a block, where the next token begins."""
        return int(self.raw.end_mark.index)

    @property
    def is_flow(self) -> bool:
        """Whether it is a mapping in braces or a sequence in brackets."""
        return not self.is_scalar and bool(self.raw.flow_style)

    @property
    def is_mapping(self) -> bool:
        """Whether this is a mapping."""
        return bool(self.raw.id == "mapping")

    @property
    def is_sequence(self) -> bool:
        """Whether this is a sequence."""
        return bool(self.raw.id == "sequence")

    @property
    def is_scalar(self) -> bool:
        """Whether this is a single value."""
        return bool(self.raw.id == "scalar")

    @property
    def plain(self) -> bool:
        """Whether it is written without quotes: then YAML decides its type."""
        return self.is_scalar and not self.raw.style  # None; "" of the loader in C

    @property
    def quoted(self) -> bool:
        """Whether it is written in quotes."""
        return self.is_scalar and self.raw.style in {"'", '"'}

    @property
    def is_null(self) -> bool:
        """Whether nothing is written, or ``null``."""
        return self.plain and self.raw.value.lower() in _NULL

    # -- mappings

    def keys(self) -> dict[str, tuple[Any, Any]]:
        """Return key node and value node by key, merged fragments (``<<``) included; the last of equal keys wins."""
        found = self._keys.get(id(self.raw))
        if found is None:
            found = self._keys[id(self.raw)] = _keys_of(self.raw)
        return found

    def _raw_at(self, path: tuple[str, ...]) -> Any:
        """What the composer made at *path* below this mapping; ``None`` where a key is missing."""
        known, raw = self._keys, self.raw
        for key in path:
            keys = known.get(id(raw))
            if keys is None:
                keys = known[id(raw)] = _keys_of(raw)
            found = keys.get(key)
            if found is None:
                return None
            raw = found[1]
        return raw

    def get(self, *path: str) -> Node | None:
        """Return the value at *path* below this mapping, ``None`` where a key is missing or null."""
        raw = self._raw_at(path)
        if raw is None or (raw.id == "scalar" and not raw.style and raw.value.lower() in _NULL):
            return None
        return Node(raw, self.first_line, self._keys)

    def text_at(self, *path: str) -> str:
        """Return the scalar at *path* as it is written; ``""`` where there is none or it is null."""
        raw = self._raw_at(path)
        if raw is None or raw.id != "scalar" or (not raw.style and raw.value.lower() in _NULL):
            return ""
        return str(raw.value)

    def has(self, key: str) -> bool:
        """Whether *key* is written, null included."""
        return key in self.keys()

    def key_place(self, key: str) -> Place:
        """Return where *key* itself is written; this mapping's place without it."""
        found = self.keys().get(key)
        if found is None:
            return self.place
        return Node(found[0], self.first_line, self._keys).place

    def pairs(self) -> Iterator[tuple[str, Node]]:
        """Yield key and value of a mapping."""
        for key, (_, value) in self.keys().items():
            yield key, Node(value, self.first_line, self._keys)

    def written(self) -> list[tuple[Node, Node]]:
        """Return keys and values of a mapping as they stand there, ``<<`` unread; nothing for what is no mapping."""
        pairs = self.raw.value if self.raw.id == "mapping" else ()
        return [(Node(key, self.first_line, self._keys), Node(value, self.first_line, self._keys)) for key, value in pairs]

    def own(self, *path: str) -> Node | None:
        """Return the value at *path* that is written there, null included, and not merged in; ``None`` = none is."""
        node = self
        for name in path:
            found = [value for key, value in node.written() if key.is_scalar and key.text == name]
            if not found:
                return None
            node = found[-1]
        return node

    # -- sequences

    def entries(self) -> Iterator[Node]:
        """Yield the values of a sequence."""
        if self.raw.id == "sequence":
            for raw in self.raw.value:
                yield Node(raw, self.first_line, self._keys)

    # -- scalars

    @property
    def text(self) -> str:
        """The scalar as it is written; ``""`` for anything else."""
        return str(self.raw.value) if self.is_scalar else ""

    def integer(self) -> int | None:
        """Return a whole number; ``None`` = it is none. A plain ``010`` is 8, as YAML 1.1 and Go read it."""
        text = self.text.strip()
        if not _INT.fullmatch(text):
            return None
        digits = text.replace("_", "")
        sign = -1 if digits.startswith("-") else 1
        digits = digits.lstrip("+-")
        try:
            if digits[:2].lower() in {"0x", "0b", "0o"}:
                return sign * int(digits, 0)
            if len(digits) > 1 and digits[0] == "0":
                return sign * (int(digits, 8) if self.plain else int(digits))
            return sign * int(digits[:40])
        except ValueError:
            return None

    def truth(self) -> bool | None:
        """Return true or false; ``None`` = neither. YAML 1.1 words count: a reader of ``oom_kill_disable: on`` does."""
        word = self.text.lower()
        return True if word in _TRUE else False if word in _FALSE else None

    def words(self) -> list[str]:
        """Return the scalars of a sequence, or the one scalar, as texts."""
        if self.is_scalar:
            return [] if self.is_null else [self.text]
        return [entry.text for entry in self.entries() if entry.is_scalar]


def _keys_of(raw: Any) -> dict[str, tuple[Any, Any]]:
    """Return key node and value node by key; nothing for what is no mapping."""
    if raw.id != "mapping":
        return {}
    found = {pair[0].value: pair for pair in raw.value if pair[0].id == "scalar"}
    if MERGE in found and not found[MERGE][0].style:
        found = {}
        _collect(raw, found, set())
    return found


def _collect(raw: Any, into: dict[str, tuple[Any, Any]], open_: set[int]) -> None:
    """Put the keys of mapping *raw* into *into*; merged ones only where they are not written there."""
    if id(raw) in open_:  # a fragment that merges itself
        return
    open_.add(id(raw))
    own: dict[str, tuple[Any, Any]] = {}
    for key, value in raw.value:
        if key.id != "scalar":
            continue
        if key.value == MERGE and not key.style:
            parts = value.value if value.id == "sequence" else [value]
            for part in parts[:100]:
                if part.id == "mapping":
                    merged: dict[str, tuple[Any, Any]] = {}
                    _collect(part, merged, open_)
                    for name, pair in merged.items():
                        into.setdefault(name, pair)
        else:
            own[key.value] = (key, value)
    into.update(own)
    open_.discard(id(raw))


def unfolded(raw: Any) -> tuple[int, int]:
    """
    Return how many values are written in the document below *raw*, and how many there are with aliases unfolded.

    An alias to something that contains it counts as :data:`MAX_UNFOLDED`: it never ends. Iterative, each written value
    visited once.
    """
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    todo: list[tuple[Any, bool]] = [(raw, False)]
    while todo:
        node, done = todo.pop()
        key = id(node)
        if node.id == "scalar":
            sizes[key] = 1
            continue
        children = node.value if node.id == "sequence" else [part for pair in node.value for part in pair]
        if done:
            open_.discard(key)
            total = 1
            for child in children:
                total += sizes.get(id(child), MAX_UNFOLDED)
            sizes[key] = total
        elif key not in sizes and key not in open_:
            open_.add(key)
            todo.append((node, True))
            todo.extend((child, False) for child in children if id(child) not in sizes and id(child) not in open_)
    return len(sizes), sizes[id(raw)]


def is_bomb(raw: Any) -> bool:
    """Whether unfolding the aliases of the document below *raw* would be refused, as go-yaml does."""
    written, values = unfolded(raw)
    return values > 10 * written and values > MAX_UNFOLDED // 5
