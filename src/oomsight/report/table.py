"""
The task table: column layouts of every kernel, found by header words (never by position or version).

Units: ``total_vm``, ``rss*`` and ``swapents`` in pages, ``nr_ptes``/``nr_pmds`` in page-table pages,
``pgtables_bytes`` in bytes. Source: mm/oom_kill.c dump_tasks(), dump_task().
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import repeat

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.report.model import Task
from oomsight.report.unwrap import unescape_name


class Layout(NamedTuple):
    """One column layout, as printed between the bracketed pid and the name."""

    columns: tuple[str, ...]
    since: str
    until: str


LAYOUTS: tuple[Layout, ...] = (
    Layout(("uid", "tgid", "total_vm", "rss", "cpu", "oom_adj"), "2.6.32", "2.6.35"),
    Layout(("uid", "tgid", "total_vm", "rss", "cpu", "oom_adj", "oom_score_adj"), "2.6.36", "3.5"),
    Layout(("uid", "tgid", "total_vm", "rss", "nr_ptes", "swapents", "oom_score_adj"), "3.6", "3.19"),
    Layout(("uid", "tgid", "total_vm", "rss", "nr_ptes", "nr_pmds", "swapents", "oom_score_adj"), "4.0", "4.14"),
    Layout(("uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj"), "4.15", "6.7"),
    Layout(
        ("uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "swapents",
         "oom_score_adj"), "6.8", "",
    ),
)

# Task fields in order, with the column that fills each; lists of constants where a layout lacks the column.
_FIELDS = ("uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "nr_ptes",
           "nr_pmds", "swapents", "oom_score_adj", "oom_adj")
_KNOWN = frozenset(_FIELDS) | {"cpu", "name", "nr_puds"}
_MAX_DIGITS = 18  # longer numbers are damage: no counter of the kernel's is that large
_ROW_CACHE: dict[int, re.Pattern[str]] = {}


def header_columns(text: str) -> tuple[str, ...] | None:
    """Column words of a header line, without pid and name; ``None`` when a word is not a column (then it is cut)."""
    words = text[text.index("]") + 1 :].split()
    if not words or words[-1] != "name" or "tgid" not in words or not _KNOWN.issuperset(words):
        return None
    return tuple(words[:-1])


def row_pattern(numbers: int) -> re.Pattern[str]:
    """Regex of one row with *numbers* columns between the bracketed pid and the name."""
    pattern = _ROW_CACHE.get(numbers)
    if pattern is None:
        body = r"[ \t]+".join([r"(-?\d{1,18})"] * numbers)
        pattern = _ROW_CACHE[numbers] = re.compile(r"^\[[ \t]*(\d{1,18})\][ \t]+" + body + r"(?:[ \t](.*))?$", re.M)
    return pattern


def guess_columns(texts: Sequence[str]) -> tuple[str, ...] | None:
    """
    Layout of rows whose header is not in the text: by the number of numeric columns most rows have. Three layouts
    have seven; byte counts of page tables are multiples of 4096, CPU numbers and table counts are not.
    """
    counts: dict[int, int] = {}
    for text in texts:
        leading = _LEADING.match(text.partition("]")[2])
        n = len(leading[0].split()) if leading else 0
        counts[n] = counts.get(n, 0) + 1
    if not counts:
        return None
    # A process called "123" makes its row look one column longer: the commonest count wins, then the smaller.
    best = max(counts, key=lambda n: (counts[n], -n))
    for n in (best, best - 1):
        fits = [layout for layout in LAYOUTS if len(layout.columns) == n]
        if fits:
            break
    else:
        return None
    if len(fits) > 1:
        fifth = [int(f[4]) for f in (t.partition("]")[2].split() for t in texts) if len(f) > 4 and f[4].isdigit()]
        if fifth and all(v % 4096 == 0 for v in fifth) and any(fifth):
            return LAYOUTS[4].columns
        sixth = [f[5] for f in (t.partition("]")[2].split() for t in texts) if len(f) > 5]
        if any(s.startswith("-") for s in sixth):
            return LAYOUTS[1].columns
        return LAYOUTS[2].columns
    return fits[0].columns


_LEADING = lazy(r"(?:[ \t]*-?\d+(?=[ \t]|$))*")


def build_tasks(
    texts: Sequence[str], nos: Sequence[int], columns: tuple[str, ...], tails: dict[int, str]
) -> tuple[list[Task], list[int]]:
    """
    Parse rows in bulk. *tails* holds, by line number, text that continued a row's name on the next line.

    Returns the tasks and the line numbers of rows that do not have the shape.
    """
    found = _split_rows(texts, len(columns))
    bad: list[int] = []
    if found is not None:
        try:
            return _make(found, nos, columns, tails), bad
        except ValueError:
            pass  # a word where a number should be: some row is damaged, read all of them by the exact pattern
    pattern = row_pattern(len(columns))
    matches = [pattern.match(text) for text in texts]
    bad = [no for m, no in zip(matches, nos, strict=True) if m is None]
    kept = [no for m, no in zip(matches, nos, strict=True) if m is not None]
    return _make([m.groups("") for m in matches if m is not None], kept, columns, tails), bad


def _split_rows(texts: Sequence[str], columns: int) -> list[Sequence[str]] | None:
    """
    Split rows into pid, columns and name, or return ``None`` when some row wants the exact pattern.

    ``str.split`` is three times as fast as a regex but eats blanks before a name, so a row whose name does not begin
    where the row before's did is looked at.
    """
    found: list[Sequence[str]] = []
    width = None
    for text in texts:
        fields = text[1:].replace("]", "", 1).split(None, columns + 1)
        if len(fields) != columns + 2:
            return None
        begin = len(text) - len(fields[-1])
        if begin != width:
            if text[begin - 2].isspace() or max(map(len, fields[:-1])) > _MAX_DIGITS:
                return None
            width = begin
        found.append(fields)
    return found


def _make(
    found: list[Sequence[str]], nos: Sequence[int], columns: tuple[str, ...], tails: dict[int, str]
) -> list[Task]:
    if not found:
        return []
    numbers = list(zip(*found, strict=True))
    at = {name: i for i, name in enumerate(columns, 1)}

    def column(name: str) -> Iterable[int | None]:
        return map(int, numbers[at[name]]) if name in at else repeat(None)

    pmds: Iterable[int | None] = column("nr_pmds")
    if "nr_puds" in at:
        pmds = [a + b for a, b in zip(map(int, numbers[at["nr_pmds"]]), map(int, numbers[at["nr_puds"]]), strict=True)]
    names: Sequence[str] = numbers[-1]
    if "\\" in "".join(names):
        names = [unescape_name(n) for n in names]
    tasks = list(
        map(
            Task, map(int, numbers[0]), column("uid"), column("tgid"), column("total_vm"), column("rss"),
            column("rss_anon"), column("rss_file"), column("rss_shmem"), column("pgtables_bytes"), column("nr_ptes"),
            pmds, column("swapents"), column("oom_score_adj"), column("oom_adj"), names, nos, column("cpu"),
        )
    )
    for task in tasks if tails else ():
        if task.line in tails:
            task.comm += unescape_name(tails[task.line])
    return tasks
