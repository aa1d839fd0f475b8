"""
The rows of one task table, by column: what a diagnosis asks is asked of whole columns, and few rows are ever shown.

A table of a busy host has thousands of rows and up to thirteen columns. :class:`~oomsight.report.model.Task` objects
are made for the rows somebody asks for; the same ones each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final, overload

from oomsight._rows import Rows
from oomsight.report.model import Task

FIELDS: Final = (
    "pid", "uid", "tgid", "total_vm_pages", "rss_pages", "rss_anon_pages", "rss_file_pages", "rss_shmem_pages",
    "pgtables_bytes", "nr_ptes", "nr_pmds", "swapents_pages", "oom_score_adj", "oom_adj", "cpu",
)  # fmt: skip
"""Columns of numbers, named as the fields of :class:`~oomsight.report.model.Task` they fill."""


class TaskRows(Rows[Task]):
    """A task table: a sequence of :class:`~oomsight.report.model.Task` that can also be read by column."""

    __slots__ = ("_first", "_held", "_made", "_numbers", "_order", "_resident", "_sets", "_threads", "_zero", "lines",
                 "names")  # fmt: skip

    def __init__(self, numbers: Mapping[str, list[int]], names: Sequence[str], lines: Sequence[int]) -> None:
        """
        Take the table as printed.

        :param numbers: columns by field (those of :data:`FIELDS`); one that is not there is not printed by this kernel.
        :param names: process names, as they are.
        :param lines: 1-based source line of each row.
        """
        # No maker is stored, as that would be a cycle: a log of a thousand reports must not wait for the collector.
        self._length, self._items = len(names), None
        self.names, self.lines = names, lines
        self._numbers = numbers
        self._threads = not self.same("pid", "tgid")
        self._made: dict[int, Task] = {}
        # What several parts of a diagnosis ask for is worked out once.
        self._sets: dict[str, set[int]] = {}
        self._zero: dict[str, bool] = {}
        self._first: dict[tuple[str, int], int | None] = {}
        self._resident: list[int] | None = None
        self._held: dict[int, list[int]] = {}
        self._order: dict[int, list[int]] = {}

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> TaskRows:
        """Return *tasks* as they are where they are a table, or one made of them; ``None`` within a column is 0."""
        if isinstance(tasks, cls):
            return tasks
        numbers = {}
        for name in FIELDS if tasks else ():
            values = [getattr(task, name) for task in tasks]
            if any(value is not None for value in values):
                numbers[name] = [value or 0 for value in values]
        table = cls(numbers, [task.comm for task in tasks], [task.line for task in tasks])
        table._items = list(tasks)
        return table

    def column(self, field: str) -> list[int] | None:
        """Numbers of *field* (one of :data:`FIELDS`), one a row, not to be changed; ``None`` = not printed."""
        return self._numbers.get(field)

    def numbers(self, field: str) -> list[int]:
        """Numbers of *field* like :meth:`column`; zeros where it is not printed."""
        return self.column(field) or [0] * len(self)

    def is_zero(self, field: str) -> bool:
        """Whether *field* is not printed, or 0 in every row."""
        zero = self._zero.get(field)
        if zero is None:
            zero = self._zero[field] = not any(self._numbers.get(field, ()))
        return zero

    def plus(self, numbers: list[int], field: str) -> list[int]:
        """*numbers* and those of *field* added up, row by row; *numbers* themselves where *field* is 0 everywhere."""
        return numbers if self.is_zero(field) else list(map(add, numbers, self.numbers(field)))

    def distinct(self, field: str) -> int:
        """How many different numbers *field* has."""
        return len(self._set(field))

    def _set(self, field: str) -> set[int]:
        if field == "tgid" and not self._threads:
            field = "pid"
        found = self._sets.get(field)
        if found is None:
            found = self._sets[field] = set(self.numbers(field))
        return found

    def same(self, one: str, other: str) -> bool:
        """Whether two fields are equal in every row."""
        a, b = self.column(one), self.column(other)
        return a is b or a == b

    def find(self, number: int | None, *fields: str) -> int | None:
        """Index of the first row that has *number* in one of *fields* (pid, tgid); ``None`` = there is none."""
        if number is None:
            return None
        best: int | None = None
        for field in fields:
            at = self._first_with(field if self._threads else "pid", number)
            if at is not None and (best is None or at < best):
                best = at
        return best

    def _first_with(self, field: str, number: int) -> int | None:
        """Index of the first row with *number* in *field*; the same few processes are asked for again and again."""
        key = field, number
        if key in self._first:
            return self._first[key]
        column = self._numbers.get(field)
        at = column.index(number) if column is not None and number in self._set(field) else None
        self._first[key] = at
        return at

    def resident_pages(self) -> list[int]:
        """Resident memory and swap of every row, in pages; not to be changed."""
        if self._resident is None:
            self._resident = self.plus(self.numbers("rss_pages"), "swapents_pages")
        return self._resident

    def held_pages(self, page_size: int) -> list[int]:
        """Resident memory, swap and page tables of every row, in pages of *page_size* bytes; not to be changed."""
        held = self._held.get(page_size)
        if held is None:
            held, tables = self.resident_pages(), self.column("pgtables_bytes")
            if tables is None:
                held = self.plus(self.plus(held, "nr_ptes"), "nr_pmds")
            else:
                held = [pages + size // page_size for pages, size in zip(held, tables, strict=True)]
            self._held[page_size] = held
        return held

    def by_held(self, page_size: int) -> list[int]:
        """Rows by :meth:`held_pages`, biggest first; of equal ones the last first. Not to be changed."""
        order = self._order.get(page_size)
        if order is None:
            last_first = range(len(self) - 1, -1, -1)
            order = sorted(last_first, key=self.held_pages(page_size).__getitem__, reverse=True)
            self._order[page_size] = order
        return order

    def _task(self, index: int) -> Task:
        columns = self._numbers
        values: list[Any] = [columns[name][index] if name in columns else None for name in FIELDS]
        return Task(*values[:-1], self.names[index], self.lines[index], values[-1])  # type: ignore[call-arg]

    def _all(self) -> list[Task]:
        if self._items is None:
            unknown: Sequence[Any] = [None] * len(self)
            *numbers, cpu = [self.column(name) or unknown for name in FIELDS]
            self._items = list(map(Task, *numbers, self.names, self.lines, cpu))
            for index, task in self._made.items():
                self._items[index] = task
        return self._items

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        """Row, or list of rows."""
        if self._items is not None or isinstance(index, slice):
            return self._all()[index]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        index %= self._length
        task = self._made.get(index)
        if task is None:
            task = self._made[index] = self._task(index)
        return task

    def __iter__(self) -> Iterator[Task]:
        """Iterate over all rows."""
        return iter(self._all())

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Copies and pickles are tables; rows are made again when asked for, unless the table was made of rows."""
        if self._items is not None:
            return TaskRows.of, (self._items,)
        return TaskRows, (self._numbers, self.names, self.lines)
