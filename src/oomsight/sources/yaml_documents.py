"""
YAML text as documents: one at a time for rules, where a broken or oversized one does not take its neighbours along
(:func:`pieces`, :func:`document`), or all of a text for whoever edits it (:func:`whole`).

PyYAML (extra ``audit``) composes; libyaml, which its wheels bring, does it in C.
"""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple

from oomsight._extras import how_to_get
from oomsight._lazy import lazy
from oomsight.audit.sniff import may_hold
from oomsight.audit.tree import Node, is_bomb

MAX_DOCUMENT_BYTES: Final = 8 << 20
MAX_VALUES: Final = 400_000
"""Values of one document, counted by its line ends and commas: each takes some 450 bytes once it is composed."""
MAX_DEPTH: Final = 1000
"""Values within values, as in libyaml from 0.2.6 on (MAX_NESTING_LEVEL); a manifest has a dozen."""
KNOWS_DEPTH: Final = (0, 2, 6)
"""The first libyaml that ends by itself where it gets too deep. PyYAML brings it from 6.0.4 on; Debian 12 has 0.2.5."""
ITEMS_BYTES: Final = 1 << 18
"""A list of objects bigger than this is read in pieces of about this size, some items each (``kubectl get``)."""
SAMPLE_BYTES: Final = 1 << 16
_ITEMS = lazy(rb"^items:[ \t]*\r?\n(?=- )", 8)
_ITEM = lazy(rb"^- ", 8)
_ANCHOR = lazy(rb"[ \[{,]&[A-Za-z0-9]")
_PIECE_HEAD: Final = b"kind: List\nitems:\n"
_MARKER = lazy(rb"^---(?=[ \t\r\n]|\Z)", 8)  # re.MULTILINE
_JSON_MARKER = lazy(rb"^---(?=[ \t\r\n]|\Z)|^\}[ \t]*\r?\n\s*(?=\{)", 8)  # kubectl takes objects one behind the other
_STEP: Final = 1 << 20


def missing_words() -> str:
    """What YAML needs, and how to get it."""
    return f"YAML files need PyYAML: {how_to_get('audit')}"


class Problem(NamedTuple):
    """Why a document could not be read."""

    line: int
    column: int | None
    words: str
    kind: str = "broken"  #: or ``large``


class Document(NamedTuple):
    """One document of a file; ``root`` or ``problem``, neither for an empty one."""

    first_line: int
    text: str  #: empty where ``problem``
    root: Node | None
    problem: Problem | None = None


class YamlError(ValueError):
    """The text is no YAML; one line with line and column, without the file's name."""


class NoYaml(Exception):  # noqa: N818 - a state of the host, said in one line
    """PyYAML is not installed; ``str()`` says how to get it."""

    def __init__(self) -> None:
        super().__init__(missing_words())


@cache
def loader() -> Any:
    """Return PyYAML's composing loader, the one in C where there is one. :raises NoYaml: it is not installed"""
    try:
        import yaml
    except ImportError:
        raise NoYaml from None
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    # Nobody here asks for the tags that PyYAML derives from a scalar's look, and that takes a third of the time.
    def nothing(_self: object, _parent: object = None, _index: object = None) -> None:
        """Paths that decide tags: there are none."""

    def resolve(_self: object, _kind: object, _value: object, _implicit: object) -> str:
        return "tag:yaml.org,2002:str"

    ways = (nothing, nothing)  # called on the way in and out of a value
    if yaml.__with_libyaml__ and yaml._yaml.get_version() < KNOWS_DEPTH:
        ways = _counting()
    return type(
        "Composer", (base,), {"resolve": resolve, "descend_resolver": ways[0], "ascend_resolver": ways[1]}
    )  # fmt: skip


def _counting() -> tuple[Any, Any]:
    """The two calls, counting how deep we are; a fifth slower to compose, where the stack would end, and we with it."""

    def enter(self: Any, _parent: object, _index: object) -> None:
        self.depth = depth = getattr(self, "depth", 0) + 1
        if depth > MAX_DEPTH:
            raise RecursionError

    def leave(self: Any) -> None:
        self.depth -= 1

    return enter, leave


def pieces(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes | int]]:
    """
    Yield number of the first line and bytes of each document of *data*, cut at its ``---`` lines, objects of JSON
    behind their last brace; its size instead where it is more than :data:`MAX_DOCUMENT_BYTES`; nothing for one as big
    that does not begin like something to audit. A list of objects, however big, comes in pieces of some items each: a
    list of its own with the lines of those items.
    """
    line, start = 1, 0
    for end in chain(_ends(data), (len(data),)):
        if end == start:
            continue
        listed = _ITEMS.search(data, start, end) if end - start > ITEMS_BYTES else None
        if listed is not None and _ANCHOR.search(data, start, end) is None:  # its aliases would be cut off
            yield from _items(data, line + _lines(data, start, listed.end()), listed.end(), end)
        elif end - start <= MAX_DOCUMENT_BYTES:
            yield line, data[start:end]
        elif may_hold(data[start : start + SAMPLE_BYTES]):
            yield line, end - start
        line += _lines(data, start, end)
        start = end


def _ends(data: bytes | mmap.mmap) -> Iterator[int]:
    if data[:1] == b"{" and data[:2] != b"{{":
        return (match.end() if match[0][:1] == b"}" else match.start() for match in _JSON_MARKER.finditer(data))
    return (match.start() for match in _MARKER.finditer(data))


def _lines(data: bytes | mmap.mmap, start: int, end: int) -> int:
    if end - start <= _STEP:
        return data[start:end].count(b"\n")
    return sum(data[at : min(at + _STEP, end)].count(b"\n") for at in range(start, end, _STEP))


def _items(data: bytes | mmap.mmap, line: int, start: int, end: int) -> Iterator[tuple[int, bytes | int]]:
    """Yield the items between *start* and *end* in pieces; *line* is that of *start*."""
    while start < end:
        cut = _ITEM.search(data, min(start + ITEMS_BYTES, end), end)
        until = cut.start() if cut is not None else end
        if until - start <= MAX_DOCUMENT_BYTES:
            yield line - 2, _PIECE_HEAD + data[start:until]
        else:
            yield line, until - start
        line += _lines(data, start, until)
        start = until


def document(first_line: int, piece: bytes | int) -> Document:
    """Return the document in *piece*. Never raises for what a file may hold; :raises NoYaml: no PyYAML"""
    if isinstance(piece, int):
        words = f"a document of {piece >> 20} MiB is not read (at most {MAX_DOCUMENT_BYTES >> 20} MiB)"
        return Document(first_line, "", None, Problem(first_line, None, words, "large"))
    values = piece.count(b"\n") + piece.count(b",")
    if values > MAX_VALUES:
        words = f"a document of some {values:,} values is not read (at most {MAX_VALUES:,})"
        return Document(first_line, "", None, Problem(first_line, None, words, "large"))
    try:
        text = piece.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + piece.count(b"\n", 0, error.start)
        column = error.start - (piece.rfind(b"\n", 0, error.start) + 1) + 1
        words = f"byte 0x{piece[error.start]:02x} is not UTF-8"
        return Document(first_line, "", None, Problem(line, column, words))
    return _composed(first_line, text)


def _composed(first_line: int, text: str) -> Document:
    kind = loader()
    import yaml

    collecting = gc.isenabled()
    gc.disable()  # nodes come in great numbers and without cycles: collecting among them takes longer than composing
    try:
        made = kind(text)
        try:
            raw = made.get_single_node()
        finally:
            made.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = first_line + (mark.line if mark else 0)
        return Document(first_line, "", None, Problem(line, mark.column + 1 if mark else None, _words(error.problem)))
    except yaml.reader.ReaderError as error:
        # The loader in C names no place for a character that YAML does not allow.
        at = next((i for i, char in enumerate(text) if yaml.reader.Reader.NON_PRINTABLE.match(char)), 0)
        line = first_line + text.count("\n", 0, at)
        column = at - text.rfind("\n", 0, at)
        return Document(first_line, "", None, Problem(line, column, _words(error.reason)))
    except yaml.YAMLError as error:
        return Document(first_line, "", None, Problem(first_line, None, _words(str(error))))
    except (RecursionError, MemoryError):
        return Document(first_line, "", None, Problem(first_line, None, "is nested too deeply"))
    finally:
        if collecting:
            gc.enable()
    if raw is None:
        return Document(first_line, text, None)
    if "&" in text and "*" in text and is_bomb(raw):
        words = "its aliases unfold into more values than anybody reads (a YAML bomb)"
        return Document(first_line, "", None, Problem(first_line, None, words, "large"))
    return Document(first_line, text, Node(raw, first_line))


def whole(text: str) -> list[Node]:
    """
    Return the root of every document in *text*, with offsets into it. Raises :class:`YamlError`, also where PyYAML is
    missing.
    """
    try:
        kind = loader()
    except NoYaml as error:
        raise YamlError(str(error)) from None
    import yaml

    try:
        return [Node(raw) for raw in yaml.compose_all(text, kind) if raw is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{getattr(error, 'problem', None) or 'no YAML'}") from None
    except RecursionError:
        raise YamlError("nested too deeply") from None


def _words(problem: str | None) -> str:
    return " ".join((problem or "is not YAML").split())
