"""``python3 -m oomsight.data [NAME]``: write a bundled kernel log to standard output, to pipe it into ``oomsight``."""

from __future__ import annotations

import sys

from oomsight.data import CAPTURES, read_capture


def main(args: list[str]) -> int:
    """Write the log named by *args*, the first without a name; return the exit status."""
    if len(args) > 1 or (args and args[0] not in {capture.name for capture in CAPTURES}):
        sys.stderr.write("usage: python3 -m oomsight.data [NAME]\n")
        sys.stderr.writelines(f"  {capture.name:8} {capture.words}\n" for capture in CAPTURES)
        return 2
    sys.stdout.write(read_capture(*args))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
