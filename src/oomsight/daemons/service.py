"""The agent put together: detection, names, the store and the channels, in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from oomsight.daemons.agent import Agent, Say
from oomsight.daemons.attribution import NAMES_FILE, Attribution
from oomsight.daemons.telling import Telling, TellingBusy, directory_for, settings_of
from oomsight.sinks.store import StoreBusy, default_path

if TYPE_CHECKING:
    from oomsight.daemons.config import Config


def run_service(config: Config, say: Say, reload: Callable[[], Config]) -> None:
    """
    Run the agent until it is told to stop.

    Raises :class:`~oomsight.sinks.store.StoreBusy` when another agent works with the same files.
    """
    store = config["store.path"] or default_path()
    node = os.uname().nodename
    try:
        telling = Telling(settings_of(config), directory_for(store), say, node=node)
    except TellingBusy:
        raise StoreBusy(f"{store}: another oomsight agent writes this store") from None
    beside = os.path.join(os.path.dirname(os.path.abspath(store)), NAMES_FILE)
    names = Attribution(beside if config["store.enabled"] else None, say, node=node)
    try:
        names.start()
        Agent(
            config, say, reload=reload, subscribers={telling.name: telling}, enrichers=(names,),
            on_reload=(telling.reload,),
        ).run()  # fmt: skip
    finally:
        telling.close()
        names.close()
