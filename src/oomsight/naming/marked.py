"""
Marked text: sentences that know which of their words are names.

Names of processes, cgroups, hosts and containers are chosen by whoever runs a process, so they are hostile in
every sink. A sentence therefore carries each name between marks, and each sink decides what a name looks like
there: the terminal escapes control characters, Markdown puts it into a code span, ``--redact`` replaces it.
The sentence around the names is ours and trusted.

A marked name is ``\\x02`` + kind letter + ``\\x1f`` + name + ``\\x03``. Names cannot forge marks: the three mark
characters are turned into visible ``\\xNN`` escapes when a name is marked.
"""

from __future__ import annotations

from oomsight._enums import StrEnum

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN, _SEP, _CLOSE = "\x02", "\x1f", "\x03"
_FORGE = str.maketrans({_OPEN: "\\x02", _SEP: "\\x1f", _CLOSE: "\\x03"})


class Kind(StrEnum):
    """What a marked name names; one letter, also the prefix of its pseudonym."""

    COMM = "c"  #: process name (task comm)
    CGROUP = "g"  #: cgroup path or one component of it
    OWNER = "o"  #: unit, container, pod or session derived from a cgroup path
    USER = "u"  #: user name or uid
    HOST = "h"  #: host name
    FILE = "f"  #: file name given by the user or found on the host
    ID = "i"  #: container id, pod uid
    SERIAL = "s"  #: what a system counts: number of a login session


def mark(name: str, kind: Kind = Kind.COMM) -> str:
    """Return *name* marked for use inside a sentence. *name* may hold any characters."""
    return f"{_OPEN}{kind.value}{_SEP}{name.translate(_FORGE)}{_CLOSE}"


def map_names(text: str, show: Callable[[str, Kind], str]) -> str:
    """Return *text* with every marked name replaced by ``show(name, kind)``; the rest is untouched."""
    before, *rest = text.split(_OPEN)
    shown = [before]
    for piece in rest:
        name, closed, after = piece[2:].partition(_CLOSE)
        shown.append(f"{show(name, Kind(piece[0]))}{after}" if closed and piece[1] == _SEP else _OPEN + piece)
    return "".join(shown)


def unmark(text: str) -> str:
    """Return *text* with the marks removed and names as they are (for JSON, where no escaping is needed)."""
    return map_names(text, lambda name, _kind: name)
