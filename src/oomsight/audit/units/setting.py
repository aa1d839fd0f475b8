"""One line of a unit file, as units and the containers in them are read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from oomsight.audit.model import Where


class Setting(NamedTuple):
    """One assignment."""

    section: str
    key: str
    value: str
    where: Where
