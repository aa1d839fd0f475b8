"""
The rows of one task table, by column: what a diagnosis asks is asked of whole columns, and few rows are ever shown.

A table of a busy host has thousands of rows and up to thirteen columns. Numbers are made for the columns somebody asks
for, :class:`~oomsight.report.model.Task` objects for the rows somebody asks for; the same ones each time.
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

    __slots__ = ("_cells", "_made", "_numbers", "lines", "names")

    def __init__(self, cells: Mapping[str, Sequence[str]], names: Sequence[str], lines: Sequence[int]) -> None:
        """
        Take the table as printed.

        :param cells: decimal numbers by field; a field that is not there is not printed by this kernel.
        :param names: process names, as they are.
        :param lines: 1-based source line of each row.
        """
        # No maker is stored, as that would be a cycle: a log of a thousand reports must not wait for the collector.
        self._length, self._items = len(names), None
        self.names, self.lines = names, lines
        self._cells = cells
        self._numbers: dict[str, list[int]] = {}
        self._made: dict[int, Task] = {}

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> TaskRows:
        """Return *tasks* as they are where they are a table, or one made of them; ``None`` within a column is 0."""
        if isinstance(tasks, cls):
            return tasks
        if not tasks:
            return cls({}, (), ())
        table = cls({}, [task.comm for task in tasks], [task.line for task in tasks])
        for name in FIELDS:
            values = [getattr(task, name) for task in tasks]
            if any(value is not None for value in values):
                table._numbers[name] = [value or 0 for value in values]
        table._items = list(tasks)
        return table

    def column(self, field: str) -> list[int] | None:
        """Numbers of *field* (one of :data:`FIELDS`), one a row, not to be changed; ``None`` = not printed."""
        numbers = self._numbers.get(field)
        if numbers is None and (cells := self._cells.get(field)) is not None:
            distinct = set(cells)
            if 2 * len(distinct) < len(cells):  # all but ids and sizes mostly: a few values again and again
                value_of = {cell: int(cell) for cell in distinct}
                numbers = [value_of[cell] for cell in cells]
            else:
                numbers = list(map(int, cells))
            self._numbers[field] = numbers
        return numbers

    def numbers(self, field: str) -> list[int]:
        """Numbers of *field* like :meth:`column`; zeros where it is not printed."""
        return self.column(field) or [0] * len(self)

    def is_zero(self, field: str) -> bool:
        """Whether *field* is not printed, or 0 in every row."""
        cells = self._cells.get(field)
        if cells is not None and field not in self._numbers:
            return cells.count("0") == len(cells) or not any(self.numbers(field))
        return not any(self._numbers.get(field, ()))

    def plus(self, numbers: list[int], field: str) -> list[int]:
        """*numbers* and those of *field* added up, row by row; *numbers* themselves where *field* is 0 everywhere."""
        return numbers if self.is_zero(field) else list(map(add, numbers, self.numbers(field)))

    def distinct(self, field: str) -> int:
        """How many different numbers *field* has."""
        cells = self._cells.get(field)
        return len(set(self.numbers(field) if cells is None else cells))

    def same(self, one: str, other: str) -> bool:
        """Whether two fields are equal in every row."""
        cells = self._cells
        return cells[one] == cells[other] if one in cells and other in cells else self.column(one) == self.column(other)

    def find(self, number: int | None, *fields: str) -> int | None:
        """Index of the first row that has *number* in one of *fields*; ``None`` = there is none."""
        found = [at for field in fields if number is not None and (at := self._index(field, number)) is not None]
        return min(found, default=None)

    def _index(self, field: str, number: int) -> int | None:
        cells = self._cells.get(field)
        column: Sequence[Any] = self._numbers.get(field, ()) if cells is None else cells
        try:
            return column.index(number if cells is None else str(number))
        except ValueError:
            return None

    def _task(self, index: int) -> Task:
        columns = map(self._cells.get, FIELDS)
        values: list[Any] = [None if cells is None else int(cells[index]) for cells in columns]
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
        """Copies and pickles are tables as printed; rows are made again when asked for."""
        if not self._cells:
            return TaskRows.of, (self._all(),)
        return TaskRows, (self._cells, self.names, self.lines)
