"""
The directory of a history: which files it has and what stands at their beginning.

``tN-SSSSSSSS.hist`` holds packed chunks of tier N, written once and only appended to; the oldest are removed whole.
``tN.journal`` holds the rows since the last chunk, so that a killed recorder loses nothing; it is packed, begun anew.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from oomsight.record.codec import BEGIN, ENTITIES, VERSION, DamagedError, record

DIRECTORY: Final = "history"
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
    """What the first record of a file says."""

    tier: int
    boot: str  #: id of the boot whose clock the rows use
    journal: int  #: of a journal: its number, which the chunk made of it carries; 0 in files of chunks


def begin_record(begin: Begin) -> bytes:
    """The first record of a file."""
    text = {"version": VERSION, "tier": begin.tier, "boot": begin.boot, "journal": begin.journal}
    return record(BEGIN, json.dumps(text).encode("ascii"))


def parse_begin(body: bytes) -> Begin:
    """The first record of a file. Raises :class:`DamagedError`."""
    try:
        text = json.loads(body)
        return Begin(int(text["tier"]), str(text["boot"]), int(text["journal"]))
    except (ValueError, KeyError, TypeError):
        raise DamagedError("begins with another record") from None


def entities_record(entities: Iterable[tuple[int, Mapping[str, Any]]]) -> bytes:
    """Descriptions of entities; a later one of the same number replaces an earlier one."""
    text = json.dumps([[number, dict(words)] for number, words in entities], separators=(",", ":"))
    return record(ENTITIES, zlib.compress(text.encode("ascii"), 6))


def parse_entities(body: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Descriptions as :func:`entities_record` wrote them. Raises :class:`DamagedError`."""
    try:
        return [(int(number), dict(words)) for number, words in json.loads(zlib.decompress(body))]
    except (ValueError, TypeError, zlib.error):
        raise DamagedError("descriptions of another shape") from None
