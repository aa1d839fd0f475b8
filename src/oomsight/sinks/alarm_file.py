"""
The alerts an agent holds, in a file beside its store: what a restart goes on from, and what ``status`` shows.

Small and replaced whole; a damaged or foreign file counts as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oomsight.alarms.state import State

if TYPE_CHECKING:
    from oomsight.status.model import Alert

FILE_NAME: Final = "alarms.json"
FRESH_SECONDS: Final = 180.0  #: an agent that runs writes it more often; an older file is nobody's


def path_beside(store: str) -> str:
    """Where the file is, given the incident store."""
    return os.path.join(os.path.dirname(os.path.abspath(store)), FILE_NAME)


def save(path: str, state: State, alerts: Sequence[Mapping[str, Any]], now: float) -> None:
    """Replace the file. *alerts*: what is told now, one mapping each (:func:`load_alerts`). Raises :class:`OSError`."""
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640), "w", encoding="ascii") as file:
        json.dump({"version": 1, "saved": now, "state": state.dump(), "alerts": list(alerts)}, file)
    os.replace(new, path)


def load_state(path: str) -> State:
    """The state to go on from; an empty one where there is none."""
    found = _read(path)
    return State.load(found.get("state")) if found is not None else State()


def load_alerts(path: str, now: float) -> list[Alert] | None:
    """The alerts of the agent that runs; ``None`` = none runs, or they may not be read."""
    from oomsight.status.model import Alert

    found = _read(path)
    try:
        if found is None or not abs(now - float(found["saved"])) <= FRESH_SECONDS:
            return None
        return [
            Alert(str(row["subject"]), str(row["severity"]), str(row["text"]), float(row["since"]),
                  tuple(map(str, row["codes"])), float(found["saved"]))
            for row in found["alerts"]
            if row["severity"] in {"warning", "critical"}
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("version") == 1 else None
