#!/usr/bin/env python3
"""
Write docs/reference from the tables of the code: ``gen_reference.py`` writes, ``gen_reference.py --check`` compares.

Every page is one function that walks the same table the program walks, so a page cannot say anything else than the
program does. They stand in ``reference_pages``, by subject. A test runs ``--check``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from oomsight.audit.registry import rules
from reference_pages.audit import audit_page, rule_page
from reference_pages.kernel import badness_page, cgroup_page, gfp_page, log_page
from reference_pages.program import cli_page, exit_page, json_page, library_page
from reference_pages.watching import alarms_page, metrics_page

TARGET: Final = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE: Final = "<!-- Written by tools/gen_reference.py (make docs); changes here are lost. -->"
ENV: Final = re.compile(r"(?:OOMSIGHT_[A-Z_]+|NO_COLOR)")

PAGES: Final[dict[str, tuple[str, Callable[[], Iterator[str]]]]] = {
    "cli.md": ("Commands", cli_page),
    "exit-status.md": ("Exit statuses", exit_page),
    "json.md": ("JSON", json_page),
    "library.md": ("Python library", library_page),
    "logs.md": ("What is read in a log", log_page),
    "cgroups.md": ("Cgroup layouts", cgroup_page),
    "badness.md": ("Badness and selection, by kernel", badness_page),
    "gfp.md": ("GFP masks, by kernel", gfp_page),
    "metrics.md": ("Metrics", metrics_page),
    "alarms.md": ("Memory alarms", alarms_page),
    "audit/README.md": ("Audit rules", audit_page),
    **{f"audit/{row.id}.md": (f"{row.id}: {row.title}", rule_page(row)) for row in rules()},
}
"""File -> title and writer."""


def pages() -> dict[str, str]:
    """Return the text of every page by file name."""
    # Defaults that the environment gives would show in the help.
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if ENV.fullmatch(name)}
    try:
        return {
            name: "\n".join([NOTE, f"# {title}", "", *writer()]).rstrip() + "\n"
            for name, (title, writer) in PAGES.items()
        }
    finally:
        os.environ.update(hidden)


def main(args: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` name those that differ; return the exit status."""
    if args not in ([], ["--check"]):
        print("usage: gen_reference.py [--check]", file=sys.stderr)
        return 2
    fresh = pages()
    if args:
        written = {
            path.relative_to(TARGET).as_posix(): path.read_text(encoding="utf-8") for path in TARGET.rglob("*.md")
        }
        stale = [name for name in {**fresh, **written} if fresh.get(name) != written.get(name)]
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run: make docs", file=sys.stderr)
        return bool(stale)
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in fresh.items():
        (TARGET / name).parent.mkdir(exist_ok=True)
        (TARGET / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
