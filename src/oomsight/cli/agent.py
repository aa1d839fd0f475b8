"""``oomsight agent``: the daemon."""

from __future__ import annotations

import os
import sys
from typing import Final

from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import answer, remark, stdout_surface

EXAMPLES: Final = (
    ("oomsight agent", "watch, store and tell, with /etc/oomsight/agent.toml where there is one"),
    ("oomsight agent --check-config", "say what the configuration means and stop"),
    ("oomsight agent --print-unit > /etc/systemd/system/oomsight-agent.service", "run it as a service"),
    ("systemctl reload oomsight-agent", "read the configuration again (SIGHUP)"),
)


@declare.command("agent", examples=EXAMPLES)
@declare.option("-c", "--config", "config_path", metavar="FILE", type=declare.Path(dir_okay=False),
                help="Configuration (TOML).  [default: /etc/oomsight/agent.toml, if it is there]")
@declare.option("--check-config", is_flag=True, help="Print each setting as a sentence and stop.")
@declare.option("--print-unit", is_flag=True, help="Print a hardened systemd unit for this host and stop.")
@declare.option("--store", metavar="FILE", type=declare.Path(dir_okay=False),
                help="Incident store, instead of the configured one.")
def command(config_path: str | None, check_config: bool, print_unit: bool, store: str | None) -> int:
    """
    Watch for OOM kills as a service: see every kill once, name it, store it, tell it.

    Runs in the foreground until SIGTERM; SIGHUP reads the configuration again. Sources this host or this user lacks are
    said and left out.
    """
    if print_unit:
        _print_unit(config_path, store)
        return Exit.OK
    from oomsight.daemons.config import Config, ConfigError, read_config

    def read() -> Config:
        config = read_config(config_path)
        return Config(config.path, {**config.values, "store.path": store}, config.sections) if store else config

    try:
        config = read()
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if check_config:
        answer(f"{config.path or 'No configuration file'}: correct.\n")
        for sentence in config.sentences():
            answer(_bullet(sentence))
        sys.stdout.flush()
        for trouble in config.troubles():  # last, where they are seen; the file may be meant for another host
            remark(trouble)
        return Exit.OK
    from oomsight.cli.why import host_places
    from oomsight.daemons.service import run_service
    from oomsight.sinks.store import StoreBusy

    def say(line: str) -> None:
        remark(line)
        sys.stderr.flush()

    try:
        run_service(config, say, read, host_places("/", os.environ))
    except ConfigError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    except StoreBusy as error:
        raise CommandError(str(error), Exit.FAILED, "end the other agent, or give another --store") from None
    return Exit.OK


def _print_unit(config_path: str | None, store: str | None) -> None:
    """The unit with this program in it, and what would keep the service from finding it."""
    from oomsight.daemons.unit import hidden_words, unit_text
    from oomsight.proc.machine import parse_mountinfo
    from oomsight.sources.cgrouptree import find_hierarchy
    from oomsight.sources.procread import read_if_there

    program = os.path.abspath(sys.argv[0])
    own = [program] if os.access(program, os.X_OK) and not program.endswith(".py") else [sys.executable, program]
    files = {"--config": config_path, "--store": store}
    options = [word for name, path in files.items() if path for word in (name, os.path.abspath(path))]
    hierarchy = find_hierarchy(parse_mountinfo(read_if_there("/proc/self/mountinfo") or ""))
    answer(unit_text([*own, "agent", *options], cgroup_v1=hierarchy is not None and hierarchy.version == 1))
    for line in hidden_words([*own, *options]):
        remark(line)


def _bullet(sentence: str) -> str:
    """One sentence, wrapped for a terminal; for a program a line."""
    from textwrap import fill

    from oomsight.sinks.safe import scrub

    text = scrub(sentence.replace("\n", " "))
    if not sys.stdout.isatty():
        return f"- {text}\n"
    return fill(text, max(stdout_surface().width, 40), initial_indent="- ", subsequent_indent="  ") + "\n"
