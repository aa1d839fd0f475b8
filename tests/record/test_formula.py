"""What somebody needs, row by row: the same from streams, from sheets, and by adding up what is known by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.test_ready import opened, stream_of

from oomsight.record.dense import lives
from oomsight.record.fields import FIELDS, INDEX
from oomsight.record.formula import FORMULAS, UNKNOWN, totals
from oomsight.record.ready import PLACES, sheets

VALUE = st.one_of(st.none(), st.integers(0, 9).map((4).__mul__), st.integers(0, 1 << 30))
ROWS = 9


def figures(kind: str, usual: int):
    """Rows of a kind: as a rule each figure stays near *usual*, some are not known."""
    near = st.one_of(st.integers(-3, 3).map(lambda step: max(usual + 4 * step, 0)), VALUE)
    return st.lists(st.one_of(st.none(), st.tuples(*[near] * len(FIELDS[kind]))), min_size=ROWS, max_size=ROWS)


def by_hand(kind: str, row: tuple[int | None, ...]) -> int | None:
    get = {name: row[at] for name, at in INDEX[kind].items()}
    if kind == "name":
        known = [get[one] for one in ("rss_anon_bytes", "rss_shmem_bytes", "swap_bytes", "pgtables_bytes")]
        return sum(one for one in known if one is not None) if any(one is not None for one in known) else None
    usage, files, shmem = get["usage_bytes"], get["file_bytes"], get["shmem_bytes"]
    return None if usage is None or files is None else max(usage - files + (shmem or 0), 0)


@pytest.mark.parametrize("kind", ["cgroup", "name"])
@given(st.data())
def test_a_need_is_the_sum_of_what_is_known(kind, data) -> None:
    crowd = data.draw(st.lists(figures(kind, data.draw(st.sampled_from([0, 40, 90_000]))), min_size=1, max_size=4))
    formula, members = FORMULAS[kind], dict(enumerate(crowd, 5))
    streams = [(kind, number, stream_of(rows)) for number, rows in members.items()]
    body = b"streams" + sheets(streams, ROWS, (kind,))
    sheet = opened(body, kind) if body != b"streams" else ()
    places = [PLACES[kind].index(place) for place in formula.places]
    for _, number, stream in streams:
        for life in lives(stream, formula.places, ROWS):
            found = totals(life.columns, formula)
            if number in sheet:
                assert sheet.need(number, formula, places, [0]).columns[0] == found
            shmem = {row[INDEX[kind]["shmem_bytes"]] is None for row in members[number] if row} if kind == "cgroup" else ()
            if len(shmem) < 2:  # what is not known in some rows alone is missing there
                rows = members[number][life.first : life.end]
                assert [one >> 10 if one != UNKNOWN else None for one in found] == [by_hand(kind, row) for row in rows if row]


def test_a_figure_that_is_known_at_times_makes_rows_without_it_unknown() -> None:
    assert totals([[11, 11], [3, 3], [0, 2]], FORMULAS["cgroup"]) == [UNKNOWN, 9 << 10]
    assert totals([[11, 11], [3, 3], [0, 0]], FORMULAS["cgroup"]) == [8 << 10, 8 << 10]
    assert totals([[11, 0], [0, 3], [0, 0], [0, 0]], FORMULAS["name"]) == [10 << 10, 2 << 10]
    assert totals([[0, 0], [0, 0], [0, 0], [0, 0]], FORMULAS["name"]) == [UNKNOWN, UNKNOWN]
    assert totals([[], [], []], FORMULAS["cgroup"]) == []
