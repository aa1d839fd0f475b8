"""Where the store is, for those who only want to know whether there is one: no SQLite is imported here."""

from __future__ import annotations

import os
from typing import Any, Final

FILE_NAME: Final = "incidents.db"
HISTORY: Final = "history"  #: the recorder's directory, beside the incident store


def default_path(environ: Any = os.environ, uid: int | None = None) -> str:
    """Return where the store is: systemd's StateDirectory, /var/lib/oomsight for root, else the user's state."""
    if state := environ.get("STATE_DIRECTORY"):
        return os.path.join(state.split(":")[0], FILE_NAME)
    if (os.geteuid() if uid is None else uid) == 0:
        return f"/var/lib/oomsight/{FILE_NAME}"
    home = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/", ".local/state")
    return os.path.join(home, "oomsight", FILE_NAME)


def history_beside(store: str) -> str:
    """Return the recorder's directory that belongs to the incident store at *store*."""
    return os.path.join(os.path.dirname(store), HISTORY)
