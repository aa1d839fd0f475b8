"""
YAML text as documents, one at a time: a broken or oversized one does not take its neighbours along.

PyYAML (extra ``audit``) composes; libyaml, which its wheels bring, does it in C.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from oomsight._lazy import lazy
from oomsight.audit.tree import Node, is_bomb

MAX_DOCUMENT_BYTES: Final = 8 << 20
_MARKER = lazy(rb"^---(?=[ \t\r\n]|\Z)", 8)  # re.MULTILINE
_STEP: Final = 1 << 20
MISSING: Final = "YAML files need PyYAML: pip install 'oomsight[audit]' (Debian: python3-yaml)"


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


class NoYaml(Exception):  # noqa: N818 - a state of the host, said in one line
    """PyYAML is not installed; ``str()`` says how to get it."""

    def __init__(self) -> None:
        super().__init__(MISSING)


def loader() -> Any:
    """Return PyYAML's composing loader, the one in C where there is one. :raises NoYaml: it is not installed"""
    try:
        import yaml
    except ImportError:
        raise NoYaml from None
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def pieces(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes | int]]:
    """
    Yield number of the first line and bytes of each document of *data*, cut at its ``---`` lines; its size instead
    where it is more than :data:`MAX_DOCUMENT_BYTES`.
    """
    line, start = 1, 0
    for end in (*(match.start() for match in _MARKER.finditer(data)), len(data)):
        if end == start:
            continue
        if end - start <= MAX_DOCUMENT_BYTES:
            piece = data[start:end]
            yield line, piece
            line += piece.count(b"\n")
        else:
            yield line, end - start
            line += sum(data[at : min(at + _STEP, end)].count(b"\n") for at in range(start, end, _STEP))
        start = end


def document(first_line: int, piece: bytes | int) -> Document:
    """Return the document in *piece*. Never raises for what a file may hold; :raises NoYaml: no PyYAML"""
    if isinstance(piece, int):
        words = f"a document of {piece >> 20} MiB is not read (at most {MAX_DOCUMENT_BYTES >> 20} MiB)"
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
    if raw is None:
        return Document(first_line, text, None)
    if is_bomb(raw):
        words = "its aliases unfold into more values than anybody reads (a YAML bomb)"
        return Document(first_line, "", None, Problem(first_line, None, words, "large"))
    return Document(first_line, text, Node(raw, first_line))


def _words(problem: str | None) -> str:
    return " ".join((problem or "is not YAML").split())
