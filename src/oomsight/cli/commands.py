"""The table of subcommands: what ``oomsight --help`` lists, and the modules that hold them, loaded when called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from oomsight._named import NamedTuple
from oomsight.cli.ending import explain_error
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.speak import answer, remark

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Row(NamedTuple):
    """One subcommand."""

    name: str
    module: str  #: module that holds the command as ``command`` (or the attribute behind a colon)
    help: str  #: one line for ``oomsight --help``; the module is not imported for it
    group: str  #: section of ``oomsight --help``


COMMANDS: Final[tuple[Row, ...]] = (
    Row("explain", "oomsight.cli.explain", "What was killed, why, who used the memory, what to change.", "Hindsight"),
    Row("why", "oomsight.cli.why", "Who ended it: the kernel, a daemon, a stop time-out, a person?", "Hindsight"),
    Row("status", "oomsight.cli.status", "What is left, who holds it, who grows, who would die.", "Insight"),
    Row("watch", "oomsight.cli.watch", "OOM kills as they happen, within milliseconds.", "Insight"),
    Row("agent", "oomsight.cli.agent", "The same as a service: store and tell every kill once.", "Insight"),
    Row("incidents", "oomsight.cli.incidents", "The kills stored so far: list, show, compare, export.", "Insight"),
    Row("drill", "oomsight.cli.drill", "Does our alerting really see an OOM kill?", "Insight"),
    Row("record", "oomsight.cli.record", "Record memory: the host, every process, every cgroup.", "Foresight"),
    Row("history", "oomsight.cli.history", "What was recorded: who grew, the machine as it was.", "Foresight"),
    Row("leaks", "oomsight.cli.leaks", "What leaks, how fast, since when, and how sure that is.", "Foresight"),
    Row("forecast", "oomsight.cli.forecast", "What will be full when, by whom, and what would help.", "Foresight"),
    Row("score", "oomsight.cli.score", "Who the OOM killer would kill now, and why.", "The killer"),
    Row("simulate", "oomsight.cli.simulate", "Who would die if …, and what would prevent it.", "The killer"),
    Row("audit", "oomsight.cli.audit", "Limits, heaps and settings that will get something killed.", "Prevention"),
    Row("rightsize", "oomsight.cli.rightsize", "Which limit, request and swap each should have.", "Prevention"),
    Row("demo", "oomsight.cli.demo", "Explain a bundled real OOM kill.", "Tools"),
    Row("schema", "oomsight.cli.main:schema_command", "Print the JSON Schema of `--format json`.", "Tools"),
    Row("completion", "oomsight.cli.main:completion_command", "Print the completion script for a shell.", "Tools"),
)

DEFAULT_COMMANDS: Final = (("status", ()), ("explain", ("--last", "1", "--brief")))
"""What ``oomsight`` alone runs: how things are, and the last kill."""


def load(row: Row) -> Any:
    """Return the command of *row*: a declared one, or click's."""
    module, _, attribute = row.module.partition(":")
    return getattr(import_module(module), attribute or "command")


def run_defaults(run: Callable[[str, Sequence[str]], Any]) -> int:
    """Run the default commands by *run*, which gets a name and its arguments, and return the status."""
    status = 0
    for number, (name, args) in enumerate(DEFAULT_COMMANDS):
        if number:
            answer("\n")
            sys.stdout.flush()
        try:
            status = run(name, args) or status
        except CommandError as error:
            if not number or error.status is not Exit.UNSUPPORTED:
                raise
            remark(explain_error(error)[0])  # no log this user may read: the rest was told all the same
    return status
