"""``oomsight drill``: does our alerting really see an OOM kill?"""

from __future__ import annotations

import signal
import sys
from typing import Final

from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    remark,
    stdout_surface,
    width_option,
)

EXAMPLES: Final = (
    ("oomsight drill --dry-run", "say what would be done, and whether it may be done here"),
    ("sudo oomsight drill", "make a harmless OOM kill and follow it to every channel"),
    ("sudo oomsight drill --format json --exit-code", "for a nightly check: status 3 when a link failed"),
)


@declare.command("drill", examples=EXAMPLES)
@declare.option("-c", "--config", "config_path", metavar="FILE", type=declare.Path(dir_okay=False),
                help="The agent's configuration.  [default: /etc/oomsight/agent.toml, if it is there]")
@declare.option("--store", metavar="FILE", type=declare.Path(dir_okay=False),
                help="Incident store, instead of the configured one.")
@declare.option("--dry-run", is_flag=True, help="Only say what would be done.")
@declare.option("--wait", "wait_seconds", metavar="SECONDS", type=declare.FloatRange(1, 600), default=30.0,
                show_default=True, help="How long a channel may take.")
@format_option("text", "json")
@width_option
@color_option
@exit_code_option
def command(
    *, config_path: str | None, store: str | None, dry_run: bool, wait_seconds: float, output_format: str,
    width: int | None, color: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Make a real, harmless OOM kill and follow it: kernel log, counters, names, store, every configured channel; with the
    time each took, or which link failed.

    One process of its own dies, in a cgroup of 32 MiB made for it, which is removed at the end. It refuses where others
    could be hurt. Messages say that they are a drill. Where an agent runs, its store and its channels are watched; else
    the drill stores and tells itself, with the same configuration.
    """
    from oomsight.daemons.config import Config, ConfigError, read_config
    from oomsight.daemons.drill import run_drill
    from oomsight.sinks.drill import drill_json, drill_story
    from oomsight.sinks.text import render_text

    try:
        config = read_config(config_path)
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if store:
        config = Config(config.path, {**config.values, "store.path": store}, config.sections)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the cgroup goes in any case
    try:
        report = run_drill(config, dry_run=dry_run, wait_seconds=wait_seconds, say=remark)
    except OSError as error:
        name = error.filename or "the scratch cgroup"
        raise CommandError(f"{name}: {(error.strerror or str(error)).lower()}", Exit.UNSUPPORTED) from None
    if output_format == "json":
        answer(drill_json(report))
    else:
        surface = stdout_surface(width, color)
        blocks = drill_story(report)
        answer(render_text(blocks, width=surface.width, colour=surface.colour, unicode=surface.unicode))
    if report.refused:
        return Exit.OK if dry_run else Exit.UNSUPPORTED
    return Exit.FOUND if exit_code and report.failed else Exit.OK
