"""
Entry point of the ``oomsight`` program.

``oomsight score`` with nothing behind it is asked when a machine is in trouble, so it answers as fast as it can: its
processes are being read before anything else is loaded, and the library that understands options is not loaded at all,
as there are none. Everything else goes through :mod:`oomsight.cli.main`.
"""

from __future__ import annotations

import gc
import os
import sys

from oomsight.sources.procread import Reading

FIRST_ROWS = 20  #: processes shown to people, unless --limit says otherwise


def run(args: list[str]) -> int:
    """Run the command line *args* and return the exit status; never raises."""
    if args != ["score"]:
        from oomsight.cli.main import run as whole

        return whole(args)
    try:
        begun = Reading(cgroups=False, top=FIRST_ROWS)
    except OSError:
        begun = None  # no /proc: said by whoever tries again
    try:
        from oomsight.cli.score_run import alone

        status = alone(begun)
        sys.stdout.flush()
    except BaseException as error:
        from oomsight.cli.main import ended

        return ended(error)
    return status


def main() -> None:
    """Run the program."""
    args = sys.argv[1:]
    if args != ["score"]:
        sys.exit(run(args))
    gc.disable()  # it ends before there is anything worth collecting
    status = run(args)
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)  # what was said is out; taking the interpreter apart would be a tenth of the time


if __name__ == "__main__":
    main()
