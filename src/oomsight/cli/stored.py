"""The incident store, as every command opens it and as people name what is in it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from oomsight.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from oomsight.sinks.store import Reader, Row


def open_store(path: str | None, option: str = "--store") -> closing[Reader]:
    """Open the incident store at *path* (``None`` = the agent's), given as *option*, to be read and closed."""
    from oomsight.sinks.store import Reader, StoreError, default_path

    try:
        return closing(Reader(path or default_path()))
    except StoreError as error:
        raise CommandError(str(error), Exit.INPUT, f"start `oomsight agent`, or give {option}") from None


def one_incident(reader: Reader, text: str) -> Row:
    """Return the incident whose id begins with *text*, or the newest for ``last``."""
    rows = reader.rows()[:1] if text == "last" else reader.find(text)
    if not rows:
        raise CommandError(f"no stored incident is called '{text}'", Exit.INPUT, "oomsight incidents list")
    if len({row.id for row in rows}) > 1:
        names = ", ".join(sorted({row.id for row in rows})[:4])
        raise CommandError(f"'{text}' is the beginning of several incidents: {names}", Exit.USAGE)
    return rows[0]
