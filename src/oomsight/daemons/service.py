"""The agent put together: detection, names, the store and the channels, in one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from oomsight._state import history_beside
from oomsight.daemons.agent import Agent, Beside, Say
from oomsight.daemons.attribution import NAMES_FILE, Attribution
from oomsight.daemons.memory_watch import open_watch
from oomsight.daemons.own_memory import few_arenas
from oomsight.daemons.telling import Telling, TellingBusy, directory_for, settings_of
from oomsight.sinks.alarm_file import path_beside
from oomsight.sinks.store import StoreBusy, default_path

if TYPE_CHECKING:
    from oomsight.daemons.config import Config
    from oomsight.daemons.hub import Subscriber
    from oomsight.daemons.telemetry import Telemetry
    from oomsight.sources.runtimes import Places


def run_service(config: Config, say: Say, reload: Callable[[], Config], places: Places | None = None) -> None:
    """
    Run the agent until it is told to stop. *places* says where runtimes are looked for (``None`` = where they usually
    are).

    Raises :class:`~oomsight.sinks.store.StoreBusy` when another agent works with the same files, and
    :class:`~oomsight.daemons.config.ConfigError` when a file the configuration names cannot be used.
    """
    few_arenas()
    store = config["store.path"] or default_path()
    node = os.uname().nodename
    beside = os.path.join(os.path.dirname(os.path.abspath(store)), NAMES_FILE)
    names = Attribution(beside if config["store.enabled"] else None, say, places=places, node=node)
    try:
        telling = Telling(settings_of(config), directory_for(store), say, node=node, settle=names.settle)
    except TellingBusy:
        raise StoreBusy(f"{store}: another oomsight agent writes this store") from None
    telemetry = None
    try:
        telemetry = _telemetry(config, say, store, names)
        subscribers: dict[str, Subscriber] = {telling.name: telling}
        if telemetry is not None:
            subscribers[telemetry.name] = telemetry
        file = path_beside(store) if config["store.enabled"] else None
        watch = open_watch(
            telling.settings.memory, lambda document: agent.memory(document),  # noqa: PLW0108 - made below
            names=names.whose, file=file, say=say,
        )  # fmt: skip
        agent = Agent(
            config, say, reload=reload, subscribers=subscribers, enrichers=(names,), refine=names.settle,
            on_reload=(telling.reload, lambda fresh: watch.reload(settings_of(fresh).memory)),
            beside=(watch, *_recorder(config, say, store)),
        )  # fmt: skip
        names.start()
        if telemetry is not None:
            telemetry.agent, telemetry.alerts = agent, watch.feed.active
            telemetry.start()
        agent.run()
    finally:
        if telemetry is not None:
            telemetry.close()
        telling.close()
        names.close()


def _recorder(config: Config, say: Say, store: str) -> tuple[Beside, ...]:
    if not config["record.enabled"] or not (config["store.enabled"] or config["record.path"]):
        return ()
    from oomsight.daemons.recorder_child import RecorderChild

    directory = config["record.path"] or history_beside(os.path.abspath(store))
    interval = config["record.interval_seconds"] or None
    return (RecorderChild(directory, say, max_mib=config["record.max_mib"], interval_seconds=interval),)


def _telemetry(config: Config, say: Say, store: str, names: Attribution) -> Telemetry | None:
    if not {"metrics", "otlp", "zabbix"} & config.sections.keys():
        return None
    from oomsight.daemons.telemetry import Telemetry  # the HTTP server and its kin: megabytes for who wants none
    from oomsight.daemons.telemetry_config import telemetry_settings
    from oomsight.metrics.labels import place_of

    settings = telemetry_settings(config)
    kept = store if config["store.enabled"] else None
    return Telemetry(settings, say, store=kept, locate=lambda path: place_of(names.whose(path)), settle=names.settle)
