"""The task table: layouts, names, rows without a header, damage."""

from __future__ import annotations

import pytest

from oomsight.report.table import LAYOUTS, Layout, build_tasks, guess_columns, header_columns, row_pattern


def row(pid: int, numbers: tuple[int, ...], name: str) -> str:
    return f"[{pid:7d}] " + " ".join(f"{n:8d}" for n in numbers) + f" {name}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.since)
def test_layout_is_read_from_its_header(layout: Layout) -> None:
    assert header_columns(f"[ pid ]   {'  '.join(layout.columns)} name") == layout.columns


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.since)
def test_every_column_goes_to_its_field(layout: Layout) -> None:
    numbers = tuple(range(10, 10 + len(layout.columns)))
    ((task,), bad) = build_tasks([row(7, numbers, "a b")], [3], layout.columns, {})
    given = dict(zip(layout.columns, numbers, strict=True))
    assert bad == []
    assert (task.pid, task.comm, task.line) == (7, "a b", 3)
    assert (task.uid, task.tgid, task.total_vm_pages, task.rss_pages) == (10, 11, 12, 13)
    fields = {
        "rss_anon": task.rss_anon_pages, "rss_file": task.rss_file_pages, "rss_shmem": task.rss_shmem_pages,
        "pgtables_bytes": task.pgtables_bytes, "nr_ptes": task.nr_ptes, "nr_pmds": task.nr_pmds,
        "swapents": task.swapents_pages, "oom_score_adj": task.oom_score_adj, "oom_adj": task.oom_adj, "cpu": task.cpu,
    }  # fmt: skip
    assert fields == {name: given.get(name) for name in fields}


@pytest.mark.parametrize("text", ["[ pid ]   uid  tgid total_vm", "[ pid ] uid tgid strange name", "[ pid ] uid name", "[ pid ]"])
def test_cut_or_unknown_header_is_not_believed(text: str) -> None:
    assert header_columns(text) is None


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.since)
def test_layout_is_guessed_from_rows(layout: Layout) -> None:
    value = {"pgtables_bytes": 40960, "oom_adj": -17, "cpu": 3, "nr_ptes": 30, "nr_pmds": 3, "swapents": 5, "oom_score_adj": 0}
    rows = [row(100 + i, tuple(value.get(c, 700 + i) for c in layout.columns), f"p{i}") for i in range(4)]
    assert guess_columns(rows) == layout.columns


def test_number_as_a_name_does_not_shift_the_guess() -> None:
    columns = LAYOUTS[4].columns
    rows = [row(i, (0, i, 900, 90, 40960, 0, 0), name) for i, name in ((1, "123"), (2, "a"), (3, "b"))]
    assert guess_columns(rows) == columns
    tasks, _ = build_tasks(rows, [1, 2, 3], columns, {})
    assert [t.comm for t in tasks] == ["123", "a", "b"]


@pytest.mark.parametrize("name", ["", " ", "  lead", "trail ", "[  pid  ]", "a\\x0ab", "1 2 3", "]"])
def test_name_is_the_rest_of_the_row(name: str) -> None:
    columns = LAYOUTS[5].columns
    good = row(1, (0, 1, 900, 90, 80, 5, 5, 40960, 0, 0), "sh")
    tasks, bad = build_tasks([good, row(2, (0, 2, 900, 90, 80, 5, 5, 40960, 0, -1000), name)], [1, 2], columns, {})
    assert bad == []
    assert tasks[1].comm == name.replace("\\x0a", "\n")
    assert tasks[1].oom_score_adj == -1000


def test_damaged_rows_are_told_and_the_others_kept() -> None:
    columns = LAYOUTS[4].columns
    rows = [row(1, (0, 1, 900, 90, 40960, 0, 0), "a"), "[      2]     0   2    9", row(3, (0, 3, 900, 10**19, 40960, 0, 0), "c")]
    tasks, bad = build_tasks(rows, [1, 2, 3], columns, {})
    assert [t.comm for t in tasks] == ["a"]
    assert bad == [2, 3]


@pytest.mark.parametrize("digit", ["\u0663", "\u00b2", "\uff11"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.since)
def test_digits_of_other_scripts_are_damage(layout: Layout, digit: str) -> None:
    rows = [row(pid, tuple(range(10, 10 + len(layout.columns))), "sh") for pid in (1, 2)]
    torn = rows[1].replace("11", f"1{digit}", 1)
    tasks, bad = build_tasks([rows[0], torn], [1, 2], layout.columns, {})
    assert ([t.pid for t in tasks], bad) == ([1], [2])
    guess_columns([torn])


def _rows_of(many: int, wide: dict[int, str]) -> list[str]:
    rows = [f"[{pid:7d}] {pid % 3 * 1000:5d} {pid:5d} {pid + 900:8d} {pid * 3:8d} {4096 * pid:8d} {0:8d} {0:13d} n{pid}" for pid in range(1, many + 1)]
    for index, text in wide.items():
        rows[index] = text
    return rows


SHIFTED = "[ 838420] 1000650000 838420    10534    10306   118784        0         -1000 tmux: server"
THREAD = "[4194303]     0    12      900        9     4096        7             0  (a b) "


@pytest.mark.parametrize("places", [[0], [5], [0, 1, 2, 3, 4, 5, 6], [19], list(range(0, 20, 2))])
def test_rows_shifted_by_a_long_number_are_read_in_their_place(places: list[int]) -> None:
    rows = _rows_of(20, dict.fromkeys(places, SHIFTED) | {11: THREAD})
    tasks, bad = build_tasks(rows, range(1, 21), LAYOUTS[4].columns, {})
    assert bad == []
    for index, task in enumerate(tasks):
        numbers = rows[index].replace("[", "").replace("]", "").split()[:8]
        seen = (task.pid, task.uid, task.tgid, task.total_vm_pages, task.rss_pages, task.pgtables_bytes, task.swapents_pages, task.oom_score_adj)
        assert seen == tuple(map(int, numbers))
        assert task.line == index + 1
    assert tasks[11].comm == " (a b) "
    assert tasks[places[0]].comm == "tmux: server"


@pytest.mark.parametrize("damage", ["1e5", "1.5", "1,2", "007", "[1", '"1', "NaN1", "-", "1 2", "+5", "- 5", "1_0", "\u0661", "\x1f1", "null", "1234567890123456789"])
@pytest.mark.parametrize("column", range(8))
def test_what_is_no_number_is_no_number_in_a_long_table(damage: str, column: int) -> None:
    good = _rows_of(12, {})
    numbers = ["7", "0", "7", "907", "21", "28672", "0", "0"]
    numbers[column] = damage
    torn = "[{:>7}] {:>5} {:>5} {:>8} {:>8} {:>8} {:>8} {:>13} x".format(*numbers)
    pattern = row_pattern(7)
    tasks, bad = build_tasks([*good[:6], torn, *good[6:]], range(13), LAYOUTS[4].columns, {})
    m = pattern.match(torn)
    assert bad == ([6] if m is None else [])
    assert [t.comm for t in tasks] == [f"n{pid}" for pid in range(1, 7)] + ([] if m is None else [m[9]]) + [f"n{pid}" for pid in range(7, 13)]
    assert all(type(number) is int for task in tasks for number in (task.pid, task.uid, task.tgid, task.rss_pages, task.oom_score_adj))


def test_continued_name_is_joined() -> None:
    tasks, _ = build_tasks([row(1, (0, 1, 900, 90, 40960, 0, 0), "x")], [5], LAYOUTS[4].columns, {5: "\ny"})
    assert tasks[0].comm == "x\ny"


def test_row_pattern_counts_its_numbers() -> None:
    assert row_pattern(3).match("[ 1] 2 3 4 name")[5] == "name"  # type: ignore[index]
    assert row_pattern(3).match("[ 1] 2 3") is None
