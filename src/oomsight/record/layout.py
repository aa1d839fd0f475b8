"""
The directory of a history: which files it has and what stands at their beginning.

``tN-SSSSSSSS.hist`` holds packed chunks of tier N, written once and only appended to; the oldest are removed whole. A
recorder that is started again goes on in the newest.
``tN.journal`` holds the rows since the last chunk, so that a killed recorder loses nothing; it is packed, begun anew.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from oomsight._named import NamedTuple
from oomsight.record.codec import BEGIN, ENTITIES, PROCESSES, RUN, VERSION, DamagedError, record, unpacked

LOCK: Final = "lock"
_FILE: Final = re.compile(r"t(\d)-(\d{8})\.hist", re.ASCII)


class FileName(NamedTuple):
    """A file of chunks, by its name."""

    tier: int
    number: int  #: ascending over all tiers and runs

    def __str__(self) -> str:
        return f"t{self.tier}-{self.number:08}.hist"


def parse_name(name: str) -> FileName | None:
    """The file of chunks that is called *name*; ``None`` = it is none."""
    found = _FILE.fullmatch(name)
    return FileName(int(found[1]), int(found[2])) if found else None


def journal_name(tier: int) -> str:
    """The journal of a tier."""
    return f"t{tier}.journal"


class Begin(NamedTuple):
    """What the first record of a file, or of a run in it, says."""

    tier: int
    boot: str  #: id of the boot whose clock the rows use
    journal: int  #: of a journal: its number, which the chunk made of it carries; 0 in files of chunks


def begin_record(begin: Begin, *, later: bool = False) -> bytes:
    """The first record of a file, or that of a *later* run in it."""
    text = {"version": VERSION, "tier": begin.tier, "boot": begin.boot, "journal": begin.journal}
    return record(RUN if later else BEGIN, json.dumps(text).encode("ascii"))


def parse_begin(body: bytes) -> Begin:
    """The first record of a file or a run. Raises :class:`DamagedError`."""
    try:
        text = json.loads(body)
        return Begin(int(text["tier"]), str(text["boot"]), int(text["journal"]))
    except (ValueError, KeyError, TypeError):
        raise DamagedError("begins with another record") from None


class Description(NamedTuple):
    """Who an entity is, its words not yet unpacked."""

    number: str
    kind: str
    ident: str  #: what tells it from others of its kind
    text: str  #: JSON

    @property
    def words(self) -> dict[str, Any]:
        """Everything that is known of it."""
        try:
            return dict(json.loads(self.text))
        except (ValueError, TypeError):
            raise DamagedError("a description of another shape") from None


class Words(Mapping[int, Description]):
    """
    The descriptions of a file, by number of the entity; of a number the last line counts. A week has 60,000, and a
    question is about a few: a line is taken apart when it is asked for.
    """

    __slots__ = ("_known", "_lines")

    def __init__(self, text: str) -> None:
        """*text*: lines of descriptions, each ended. Raises :class:`DamagedError`."""
        try:
            self._lines = {line[: line.index("\t")]: line for line in text.split("\n")[:-1]}
        except ValueError:
            raise DamagedError("descriptions of another shape") from None
        self._known: dict[int, Description] = {}

    def __getitem__(self, number: int) -> Description:
        found = self._known.get(number)
        if found is None:
            found = self._known[number] = _description(self._lines[str(number)])
        return found

    def get(self, number: int, default: Any = None) -> Any:
        """The description of *number*, or *default*."""
        return self[number] if str(number) in self._lines else default

    def __iter__(self) -> Iterator[int]:
        return map(int, self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def numbers(self) -> dict[tuple[str, str], list[int]]:
        """(kind, ident) -> the numbers of an entity."""
        found: dict[tuple[str, str], list[int]] = {}
        try:
            for number, line in self._lines.items():
                _, kind, ident, _ = line.split("\t", 3)
                found.setdefault((kind, ident), []).append(int(number))
        except ValueError:
            raise DamagedError("descriptions of another shape") from None
        return found

    def holding(self, needle: str) -> Iterator[Description]:
        """Those in whose line *needle* stands."""
        return (_description(line) for line in self._lines.values() if needle in line)


def _description(line: str) -> Description:
    try:
        return Description._make(line.split("\t", 3))
    except TypeError:
        raise DamagedError("descriptions of another shape") from None


def ident_of(words: Mapping[str, Any]) -> str:
    """What tells an entity from others of its kind in one boot: a process's pid and start, a name, a path."""
    if words.get("kind") == "process":
        return f"{words.get('pid')}:{words.get('start')}"
    if words.get("kind") == "host":  # whatever it is called
        return ""
    return json.dumps(str(words.get("name", "")))[1:-1]


def entities_records(entities: Iterable[tuple[int, Mapping[str, Any]]]) -> bytes:
    """
    Descriptions of entities, a line each; a later one of the same number replaces an earlier one. Processes have
    records of their own: in a week they are a hundred times as many as all others, and few questions are about them.
    """
    lines: tuple[list[str], list[str]] = [], []
    for number, words in entities:
        kind, text = words.get("kind"), json.dumps(dict(words), separators=(",", ":"))
        lines[kind == "process"].append(f"{number}\t{kind}\t{ident_of(words)}\t{text}")
    return b"".join(
        record(kind, zlib.compress("\n".join(some).encode("ascii"), 6))
        for kind, some in zip((ENTITIES, PROCESSES), lines, strict=True) if some
    )  # fmt: skip


def entities_text(body: bytes) -> str:
    """The lines of a record of descriptions, each ended. Raises :class:`DamagedError`."""
    try:
        return unpacked(body).decode("ascii") + "\n"
    except (ValueError, zlib.error):
        raise DamagedError("descriptions of another shape") from None


def numbers_of(text: str, kind: str, ident: str) -> list[int]:
    """The numbers under which one entity is described in such lines, without unpacking the others."""
    found, needle, at = set(), f"\t{kind}\t{ident}\t", 0
    while (at := text.find(needle, at)) >= 0:
        begin = text.rfind("\n", 0, at) + 1
        if text[begin:at].isdecimal():
            found.add(int(text[begin:at]))
        at += len(needle)
    return sorted(found)


def needle_of(who: str, pid: int | None = None) -> str:
    """What stands in the line of every process that may be meant by (a part of) its name or path, or is *pid*."""
    return json.dumps(who)[1:-1] if pid is None else f"\tprocess\t{pid}:"
