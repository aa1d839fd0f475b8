"""The task table by column: the same numbers as row by row, and nothing made before it is asked for."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report.model import Task
from oomsight.report.task_rows import FIELDS, TaskRows

COLUMNS = {
    "pid": [1, 20, 300], "uid": [0, 1000, 0], "tgid": [1, 20, 299], "total_vm_pages": [5, 6, 7],
    "rss_pages": [50, 60, 70], "swapents_pages": [0, 0, 0], "oom_score_adj": [-1000, 0, 0],
}  # fmt: skip


def table() -> TaskRows:
    return TaskRows(COLUMNS, ["init", "sh", "a b"], [11, 12, 13])


def test_rows_are_tasks_with_none_for_what_is_not_printed() -> None:
    rows = table()
    assert rows[2] == Task(300, 0, 299, 7, 70, None, None, None, None, None, None, 0, 0, None, "a b", 13)
    assert rows[-1] is rows[2]
    assert list(rows)[2] is rows[2]
    assert rows[1:] == [rows[1], rows[2]]
    with pytest.raises(IndexError):
        table()[3]


def test_columns_are_numbers_and_know_what_is_not_printed() -> None:
    rows = table()
    assert rows.column("rss_pages") == [50, 60, 70]
    assert rows.column("rss_anon_pages") is None
    assert rows.numbers("rss_anon_pages") == [0, 0, 0]
    assert rows.is_zero("swapents_pages")
    assert rows.is_zero("nr_ptes")
    assert not rows.is_zero("oom_score_adj")
    assert (rows.distinct("uid"), rows.same("pid", "tgid")) == (2, False)


@pytest.mark.parametrize(("number", "fields", "index"), [(300, ("pid",), 2), (299, ("pid",), None), (299, ("pid", "tgid"), 2), (None, ("pid",), None)])
def test_find(number: int | None, fields: tuple[str, ...], index: int | None) -> None:
    assert table().find(number, *fields) == index


@pytest.mark.parametrize("again", [copy.deepcopy, lambda rows: pickle.loads(pickle.dumps(rows))])  # type: ignore[no-untyped-call]
def test_copies_are_equal_tables(again: object) -> None:
    rows = table()
    assert again(rows) == rows  # type: ignore[operator]
    made = TaskRows.of(list(rows))
    assert again(made) == rows  # type: ignore[operator]


NUMBERS = st.integers(0, 2**40)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS | st.none(), st.integers(-1000, 1000)), max_size=40))
def test_a_table_made_of_tasks_has_their_numbers(rows: list[tuple[int, int, int | None, int]]) -> None:
    tasks = [
        Task(i, uid, i, 0, rss, None, None, None, None, None, None, swap, adj, None, "x", i)
        for i, (uid, rss, swap, adj) in enumerate(rows, 1)
    ]
    made = TaskRows.of(tasks)
    assert list(made) == tasks
    assert made.numbers("rss_pages") == [t.rss_pages for t in tasks]
    assert made.numbers("swapents_pages") == [t.swapents_pages or 0 for t in tasks]
    assert made.is_zero("oom_score_adj") == (not any(t.oom_score_adj for t in tasks))
    for name in FIELDS:
        known = [value for t in tasks if (value := getattr(t, name)) is not None]
        assert (made.column(name) is None) == (not known)


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 9), st.integers(0, 2**20)), max_size=40), st.sampled_from([4096, 65536]))
def test_held_is_the_sum_of_a_row_in_pages_and_of_equal_rows_the_last_comes_first(rows: list[tuple[int, int, int]], page_size: int) -> None:
    resident, swapped, tables = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    made = TaskRows({"rss_pages": resident, "swapents_pages": swapped, "pgtables_bytes": tables}, ["x"] * len(rows), range(len(rows)))
    held = [rss + swap + size // page_size for rss, swap, size in rows]
    assert made.held_pages(page_size) == held
    assert made.by_held(page_size) == sorted(range(len(rows)), key=lambda row: (-held[row], -row))
    assert made.held_pages(page_size) is made.held_pages(page_size)


def test_page_tables_of_older_kernels_are_counted_in_pages() -> None:
    made = TaskRows({"rss_pages": [5, 6], "nr_ptes": [1, 2], "nr_pmds": [3, 0]}, ["a", "b"], [1, 2])
    assert made.held_pages(4096) == [9, 8]


def test_number_is_found_in_a_later_field_of_an_earlier_row() -> None:
    made = TaskRows({"pid": [7, 8, 9], "tgid": [9, 8, 7]}, ["a", "b", "c"], [1, 2, 3])
    assert made.find(9, "pid", "tgid") == 0
    assert made.find(9, "pid") == 2
