"""Where the incident store and the recorder's history are, unless somebody says otherwise: one rule for all."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

FILE_NAME: Final = "incidents.db"
HISTORY: Final = "history"  #: the recorder's directory, beside the incident store
SHARED: Final = "/var/lib/oomsight"


def default_path(environ: Mapping[str, str] = os.environ, uid: int | None = None, shared: str = SHARED) -> str:
    """
    Return where the store is: systemd's StateDirectory; *shared* for root and for whom it was made writable (the volume
    of a container without root); else the user's state.
    """
    if state := environ.get("STATE_DIRECTORY"):
        return os.path.join(state.split(":")[0], FILE_NAME)
    if (os.geteuid() if uid is None else uid) == 0 or os.access(shared, os.W_OK | os.X_OK):
        return os.path.join(shared, FILE_NAME)
    home = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/", ".local/state")
    return os.path.join(home, "oomsight", FILE_NAME)


def history_beside(store: str) -> str:
    """Return the recorder's directory that belongs to the incident store at *store*."""
    return os.path.join(os.path.dirname(store), HISTORY)


def default_history() -> str:
    """Return where the recorder's history is: beside the incident store."""
    return history_beside(default_path())
