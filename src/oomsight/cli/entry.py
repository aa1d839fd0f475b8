"""
Entry point of the ``oomsight`` program.

``oomsight score`` with nothing behind it is asked when a machine is in trouble, so it answers as fast as it can: its
processes are being read before anything else is loaded. Other ordinary command lines are read by
:mod:`oomsight.cli.plain`, without click, whose loading takes three times as long as an empty Python. Everything else
(help, completion, what is wrong with a command line) goes through :mod:`oomsight.cli.main`. ``oomsight agent`` begins
to read the kernel's log before it is loaded.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

QUICK = {"explain", "score", "history", "leaks", "forecast", "rightsize", "status"}
"""Commands that leave nothing to do when they have answered."""
_ONLY_SAYS = {"-h", "--help", "--check-config", "--print-unit"}  # with one of these `agent` watches nothing


def run(args: list[str]) -> int:
    """Run the command line *args* and return the exit status; never raises."""
    if args == ["score"]:
        return _score()
    if args[:1] == ["agent"] and not _ONLY_SAYS & set(args):
        from oomsight.sources import kmsg_early

        kmsg_early.begin()
    try:
        call = _call(args)
        if call is not None:
            gc.freeze()  # modules stay: nobody need look for garbage there
            gc.enable()
            status = call()
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
    except BaseException as error:
        return _ended(error)
    gc.enable()
    try:
        from oomsight.cli.main import run as whole
    except ImportError as error:  # a checkout that was not installed
        return _ended(error)
    return whole(args)


def _score() -> int:
    from oomsight.sources.procreading import FIRST_ROWS, Reading

    try:
        begun = Reading(cgroups=False, top=FIRST_ROWS, itself=False)
    except OSError:
        begun = None  # no /proc: said by whoever tries again
    try:
        from oomsight.cli.score_run import alone

        status = alone(begun)
        sys.stdout.flush()
    except BaseException as error:
        return _ended(error)
    return status


def _ended(error: BaseException) -> int:
    from oomsight.cli.ending import ended

    return ended(error)


def _call(args: list[str]) -> Callable[[], Any] | None:
    """What the command line *args* asks for; ``None`` = ask click."""
    if "_OOMSIGHT_COMPLETE" in os.environ or (args and args[0].startswith("-")):
        return None
    from oomsight.cli.commands import COMMANDS, load, run_defaults
    from oomsight.cli.declare import Command
    from oomsight.cli.plain import read

    rows = {row.name: row for row in COMMANDS}

    def call(name: str, rest: Sequence[str]) -> Callable[[], Any] | None:
        row = rows.get(name)
        if row is None:
            return None
        command = load(row)
        values = read(command, rest) if isinstance(command, Command) else None
        return None if values is None else lambda: command(**values)

    if args:
        return call(args[0], args[1:])

    def one(name: str, rest: Sequence[str]) -> Any:
        found = call(name, rest)
        assert found is not None
        return found()

    return lambda: run_defaults(one)


def main() -> None:
    """Run the program."""
    args = sys.argv[1:]
    gc.disable()  # nothing is worth collecting while modules are loaded
    status = run(args)
    if not args or args[0] not in QUICK:
        sys.exit(status)
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)  # what was said is out; taking the interpreter apart would be a tenth of the time


if __name__ == "__main__":
    main()
