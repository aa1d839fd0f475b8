"""
The task table: column layouts of every kernel, found by header words (never by position or version).

Units: ``total_vm``, ``rss*`` and ``swapents`` in pages, ``nr_ptes``/``nr_pmds`` in page-table pages,
``pgtables_bytes`` in bytes. Source: mm/oom_kill.c dump_tasks(), dump_task().
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress
from operator import add, itemgetter, sub
from typing import TYPE_CHECKING, Any, Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.report.numbers import integers
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
_MAX_DIGITS = 18  # longer numbers are damage: no counter of the kernel's is that large
_MAX_LAYOUTS = 8  # places at which the columns of one table may end: pids of six and seven digits shift them
_DIGITS = b"0123456789"
_FEW = 4  # rows that are read one by one
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


def looks_like_table(texts: Sequence[str]) -> bool:
    """
    Whether rows without their header can be nothing but a task table's: enough columns for one of its layouts, and a
    process's pid again as its tgid in most.
    """
    columns = guess_columns(texts) if len(texts) > 2 else None
    if columns is None:
        return False
    found = [m for m in map(row_pattern(len(columns)).match, texts) if m]
    twins = sum(m[1] == m[columns.index("tgid") + 2] and bool(m[len(columns) + 2]) for m in found)
    return bool(twins * 2 > len(texts))


_LEADING = lazy(r"(?:[ \t]*-?\d+(?=[ \t]|$))*")


def build_tasks(
    texts: Sequence[str], nos: Sequence[int], columns: tuple[str, ...], tails: dict[int, str]
) -> tuple[Sequence[Task], list[int]]:
    """
    Parse rows in bulk. *tails* holds, by line number, text that continued a row's name on the next line.

    Returns the tasks and the line numbers of rows that do not have the shape.
    """
    pattern = row_pattern(len(columns))
    twin = columns.index("tgid") + 1 if "tgid" in columns else 0
    cells, unread = _read_rows(texts, pattern, twin)
    if unread:
        bad = set(unread)
        fit = [row not in bad for row in range(len(texts))]
        cells = [list(compress(column, fit)) for column in cells]
        return _make(cells, list(compress(nos, fit)), columns, tails), [nos[row] for row in unread]
    return _make(cells, nos, columns, tails), []


def _read_rows(
    texts: Sequence[str], pattern: re.Pattern[str], twin: int, layouts: int = _MAX_LAYOUTS
) -> tuple[list[list[Any]], list[int]]:
    """
    Cells by column (pid, numbers, name), and the rows that do not have the shape, whose cells say nothing.

    All rows whose numbers end at the same places are read at once, then those of the next such layout: a pid or uid of
    more digits than the kernel leaves room for shifts the rest of its row. What fits none is read row by row.
    """
    like = next(filter(None, map(pattern.match, texts)), None) if layouts and len(texts) > _FEW else None
    found = _aligned(texts, like, twin) if like is not None else None
    if found is not None:
        cells, rows = found
        others, unread = _read_rows([texts[row] for row in rows], pattern, twin, layouts - 1) if rows else ([], [])
        for column, other in zip(cells, others, strict=False):
            for row, cell in zip(rows, other, strict=True):
                column[row] = cell
        return cells, [rows[row] for row in unread]
    unread = []
    made: list[tuple[Any, ...]] = []
    for row, text in enumerate(texts):
        m = pattern.match(text)
        if m is None:
            unread.append(row)
        *numbers, name = (0,) * pattern.groups if m is None else m.groups("")
        made.append((*map(int, numbers), name))
    return list(map(list, zip(*made, strict=True))), unread


def _aligned(texts: Sequence[str], like: re.Match[str], twin: int) -> tuple[list[list[Any]], list[int]] | None:
    """
    Read those of *texts* whose columns end at the same places as in *like*, the match of one of them: cells by column,
    and the rows that are of another layout, whose cells say nothing. ``None`` = a row wants the exact pattern.

    The kernel prints columns of one width. So what stands in front of the names is a matrix of characters, and what is
    asked of one place in all rows is asked of a slice with a stride. With commas at the ends of the columns it is also
    an array in JSON: the scanner in C takes the numbers apart, makes them, and finds whatever is none. No code runs
    for a row, whatever its name holds. *twin* is the column that mostly equals the pid.
    """
    ends = [like.end(column) for column in range(1, like.re.groups)]
    bracket, begin = ends[0], like.start(like.re.groups)
    if begin <= 0 or max(map(sub, ends, [0, *ends])) > _MAX_DIGITS:
        return None  # no name, or room for numbers longer than any the kernel prints
    count = len(texts)
    names: list[Any] = list(map(itemgetter(slice(begin, None)), texts))
    matrix = bytearray(f"%.{begin}s" * count % tuple(texts), "ascii", "replace")
    if len(matrix) != count * begin:  # some are cut behind their numbers, or within: without a digit at the end
        matrix = bytearray("".join([text[:begin].ljust(begin) for text in texts]), "ascii", "replace")
    blanks, commas, zeros = bytearray(b" ") * count, bytearray(b",") * count, bytearray(b"0") * count
    places = [(0, b"["), (bracket, b"]"), (bracket + 1, b" "), (begin - 2, _DIGITS), *[(end, b" ") for end in ends[1:]]]
    usual = like.string[:begin].encode()
    others: set[int] = set()
    for place, wanted in places:
        characters = matrix[place::begin]
        if characters == blanks and wanted == b" ":
            continue
        for byte in {*characters.translate(None, wanted)}:
            row = characters.find(byte)
            while row >= 0:
                matrix[row * begin : (row + 1) * begin] = usual
                others.add(row)
                row = characters.find(byte, row + 1)
    matrix[::begin] = blanks
    asked: list[int] = []
    for column, end in enumerate(ends):
        last = matrix[end - 1 :: begin]
        if not last.isdigit():
            return None
        matrix[end::begin] = commas
        if last == zeros and matrix[end - 2 :: begin] == blanks:
            matrix[end - 1 :: begin] = matrix[end::begin] = blanks  # one of the columns of nothing but zeros
        else:
            asked.append(column)
    if asked[:1] == [0] and twin in asked and _equal(matrix, begin, bracket, ends[twin], ends[twin - 1]):
        for place in range(1, bracket + 1):
            matrix[place::begin] = blanks
        del asked[0]
    text = matrix.decode()
    if "[" in text or '"' in text:
        return None
    try:
        numbers = integers(f"[{text.rstrip(' ,')}]")
    except (ValueError, StopIteration):
        return None
    if len(numbers) != count * len(asked):  # commas of its own
        return None
    cells: list[list[Any]]
    cells = [numbers[asked.index(i) :: len(asked)] if i in asked else [0] * count for i in range(len(ends))]
    if 0 not in asked and twin in asked:
        cells[0] = cells[twin].copy()
    if "-" in text and min(cells[0]) < 0:
        return None
    return [*cells, names], sorted(others)


def _equal(matrix: bytearray, width: int, one: int, other: int, before: int) -> bool:
    """Whether the numbers of the first column, up to *one*, and those between *before* and *other* are all equal."""
    for place in range(1, max(one, other - before)):
        left = matrix[one - place :: width] if place < one else b""
        right = matrix[other - place :: width] if place < other - before else b""
        if left != right and (left.strip() or right.strip()):
            return False
    return True


def _make(cells: list[list[Any]], nos: Sequence[int], columns: tuple[str, ...], tails: dict[int, str]) -> TaskRows:
    """Table of *cells*, by column: pid, those of *columns*, name."""
    by_field = {_FIELD_OF.get(name, name): column for name, column in zip(("pid", *columns), cells, strict=False)}
    puds = by_field.pop("nr_puds", None)
    if puds is not None and "nr_pmds" in by_field:
        by_field["nr_pmds"] = list(map(add, by_field["nr_pmds"], puds))
    if by_field.get("tgid") == by_field["pid"]:
        by_field["tgid"] = by_field["pid"]  # one list: that they are equal is then seen at once
    names = cells[-1]
    if len(names) > 2 and names[0].endswith(" ") and all(name.endswith(" ") and name.strip() for name in names):
        names = [name.rstrip(" ") for name in names]  # a relay puts a blank behind each line
    if may_be_escaped("".join(names)):
        names = [unescape_name(n) for n in names]
    for index, no in enumerate(nos) if tails else ():
        if no in tails:
            names[index] += unescape_name(tails[no])
    return TaskRows(by_field, names, nos)
