"""``python -m oomsight``: the program without its start script."""

from __future__ import annotations

from oomsight.cli.entry import main

if __name__ == "__main__":
    main()
