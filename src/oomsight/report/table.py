"""
The task table: column layouts of every kernel, found by header words (never by position or version).

Units: ``total_vm``, ``rss*`` and ``swapents`` in pages, ``nr_ptes``/``nr_pmds`` in page-table pages,
``pgtables_bytes`` in bytes. Source: mm/oom_kill.c dump_tasks(), dump_task().
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter, sub
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.report.task_rows import TaskRows
from oomsight.report.unwrap import may_be_escaped, unescape_name

if TYPE_CHECKING:
    from oomsight.report.model import Task


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

_FIELD_OF: Final = {
    "total_vm": "total_vm_pages", "rss": "rss_pages", "rss_anon": "rss_anon_pages", "rss_file": "rss_file_pages",
    "rss_shmem": "rss_shmem_pages", "swapents": "swapents_pages",
}  # fmt: skip
"""Fields of :class:`~oomsight.report.model.Task` whose name is not that of the column they come from."""
_KNOWN = frozenset({
    "uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "nr_ptes", "nr_pmds",
    "nr_puds", "swapents", "oom_score_adj", "oom_adj", "cpu", "name",
})  # fmt: skip
_NUMBER = lazy(r"-?[0-9]{1,18}")
_BLANKS = frozenset(" \t")
_last_char = itemgetter(-1)
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
        source = r"^\[[ \t]*(\d{1,18})\][ \t]+" + body + r"(?:[ \t](.*))?$"
        pattern = _ROW_CACHE[numbers] = re.compile(source.replace(r"\d", "[0-9]"), re.M)  # no digits of other scripts
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
        fifth = [int(f[4]) for f in (t.partition("]")[2].split() for t in texts) if len(f) > 4 and f[4].isdecimal()]
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
) -> tuple[Sequence[Task], list[int]]:
    """
    Parse rows in bulk. *tails* holds, by line number, text that continued a row's name on the next line.

    Returns the tasks and the line numbers of rows that do not have the shape.
    """
    found = _split_rows(texts, len(columns))
    if found is not None:
        try:
            return _make(found, nos, columns, tails), []
        except ValueError:
            pass  # a word where a number should be: some row is damaged, read all of them by the exact pattern
    pattern = row_pattern(len(columns))
    matches = [pattern.match(text) for text in texts]
    bad = [no for m, no in zip(matches, nos, strict=True) if m is None]
    kept = [no for m, no in zip(matches, nos, strict=True) if m is not None]
    if not kept:
        return [], bad
    cells = list(zip(*[m.groups("") for m in matches if m is not None], strict=True))
    return _make(cells, kept, columns, tails), bad


def _split_rows(texts: Sequence[str], columns: int) -> list[Sequence[str]] | None:
    """
    Split rows into the columns pid, numbers and name, or return ``None`` when some row wants the exact pattern.

    One ``str.split`` of all rows is much faster than a regex for each, but eats blanks, so that a name with blanks in
    or around it makes the count of words, the place of the opening brackets or the ends of the rows differ.
    """
    joined = "\n".join(texts)
    rows, width = len(texts), columns + 3
    if joined.count("[") != rows or joined.count("]") != rows or not _BLANKS.isdisjoint(map(_last_char, texts)):
        return _split_each(texts, columns)
    words = joined.replace("[", "[ ").replace("]", " ").split()
    if len(words) != rows * width or words[::width].count("[") != rows:
        return _split_each(texts, columns)
    cells: list[Sequence[str]] = [words[i::width] for i in range(1, width)]
    lengths = list(map(len, cells[-1]))
    before = "".join(map(str.__getitem__, texts, map((-2).__sub__, lengths)))  # one blank stands before a name
    if not before.isdigit():
        return None
    begins = list(map(sub, map(len, texts), lengths))
    usual = begins[rows // 2]
    for row, begin in enumerate(begins) if begins.count(usual) < rows else ((0, usual),):
        if row and begin == usual:
            continue  # rows of one width have numbers of one width, near enough
        if max(map(len, words[row * width + 1 : row * width + width - 1])) > _MAX_DIGITS:
            return None
    return cells


def _split_each(texts: Sequence[str], columns: int) -> list[Sequence[str]] | None:
    """Split rows one by one: names may hold blanks and brackets, but not begin with a blank."""
    found: list[Sequence[str]] = []
    width = None
    for text in texts:
        fields = text[1:].replace("]", "", 1).split(None, columns + 1)
        if len(fields) != columns + 2:
            return None
        begin = len(text) - len(fields[-1])
        if text[begin - 2].isspace() or (begin != width and max(map(len, fields[:-1])) > _MAX_DIGITS):
            return None
        width = begin
        found.append(fields)
    return list(zip(*found, strict=True))


def _make(
    cells: Sequence[Sequence[str]], nos: Sequence[int], columns: tuple[str, ...], tails: dict[int, str]
) -> TaskRows:
    """Table of *cells*, by column: pid, those of *columns*, name. ``ValueError`` where a number is none."""
    by_field = {_FIELD_OF.get(name, name): column for name, column in zip(("pid", *columns), cells, strict=False)}
    puds = by_field.pop("nr_puds", None)
    if puds is not None and "nr_pmds" in by_field:
        by_field["nr_pmds"] = [str(int(a) + int(b)) for a, b in zip(by_field["nr_pmds"], puds, strict=True)]
    for field, column in by_field.items():
        together = "".join(column)
        # As bytes: what is a digit is looked up in the tables of all scripts for every character of a text.
        if not (together.isascii() and together.encode().isdigit()) and not all(map(_NUMBER.fullmatch, set(column))):
            raise ValueError(field)
    names: list[str] = list(cells[-1])
    if may_be_escaped("".join(names)):
        names = [unescape_name(n) for n in names]
    for index, no in enumerate(nos) if tails else ():
        if no in tails:
            names[index] += unescape_name(tails[no])
    return TaskRows(by_field, names, nos)
