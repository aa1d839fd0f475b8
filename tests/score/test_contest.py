"""oomsight.score.contest: the first few, from briefs, as the ranking of everybody has them"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oomsight.score.contest import Contest
from oomsight.score.model import Machine

MACHINE = Machine(1_000_000, 0, cpus=2, release="6.18.1")
COUNTERS = st.integers(0, 3)


def brief(pid, rss_pages, *, counters=2, adj=0, swap_pages=0, stat=(None, None)):
    return pid, rss_pages * 4, swap_pages * 4, 40, counters, adj, *stat


def played(contest, stat, batch=4):
    """Ask until it is decided; return how many were looked at."""
    asked = 0
    while pids := contest.open()[:batch]:
        contest.learn(len(pids), [(pid, *stat[pid]) for pid in pids if pid in stat])
        asked += len(pids)
    return asked


def test_only_those_in_question_are_looked_at():
    briefs = [brief(pid, 10_000 * pid if pid < 6 else 500) for pid in range(1, 1001)]
    contest = Contest(briefs, MACHINE, 3)
    assert played(contest, {pid: (rss // 4, pid) for pid, rss, *_ in briefs}) == 3
    assert contest.first() == [5, 4, 3]
    assert (len(contest), contest.near) == (1000, 0)


def test_the_sum_of_the_counters_may_be_of_another_order_than_what_badness_reads():
    contest = Contest([brief(1, 1500), brief(2, 1510), brief(3, 100)], MACHINE, 1)
    assert played(contest, {1: (1480, 7), 2: (1470, 8), 3: (100, 9)}, batch=1) == 2
    assert contest.first() == [1]
    assert contest.near == 1


def test_of_equals_the_last_to_start_dies_first_and_who_is_gone_takes_no_part():
    contest = Contest([brief(pid, 100) for pid in range(1, 6)], MACHINE, 2)
    played(contest, {1: (100, 50), 2: (100, 10), 3: (100, 40), 5: (100, 40)})
    assert contest.first() == [1, 5]
    assert len(contest) == 4


def test_where_badness_sums_its_counters_only_ties_are_looked_at():
    contest = Contest([brief(1, 500), brief(2, 499), brief(3, 499), brief(4, 1)], MACHINE._replace(release="7.1.0"), 2)
    assert played(contest, {1: (9, 1), 2: (9, 2), 3: (9, 3), 4: (9, 4)}, batch=1) == 3
    assert contest.first() == [1, 3]


def test_nobody_takes_part():
    contest = Contest([], MACHINE, 3)
    assert (contest.open(), contest.first(), contest.near, len(contest)) == ([], [], 0, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(-192, 192), st.integers(0, 9), st.integers(-5, 5), st.integers(0, 3)),
        min_size=1, max_size=60,
    ),
    st.integers(1, 8), st.integers(1, 20),
)  # fmt: skip
def test_the_first_and_the_near_are_those_of_everybody(rows, top, batch):
    briefs, stat, points, low = [], {}, {}, {}
    for pid, (rss, error, start, adj, counters) in enumerate(rows, 1):
        briefs.append(brief(pid, rss, adj=adj, counters=counters))
        stat[pid] = max(rss + error, 0), start
        points[pid] = stat[pid][0] + 10 + adj * 1000
        low[pid] = points[pid] - min(64 * counters, stat[pid][0])
    order = sorted(points, key=lambda pid: (points[pid], stat[pid][1], pid), reverse=True)
    near = [pid for pid in order[top:] if points[pid] + 64 * rows[pid - 1][4] >= low[order[0]]]
    contest = Contest(briefs, MACHINE, top)
    played(contest, stat, batch)
    known = Contest([(*one[:6], *stat[one[0]]) for one in briefs], MACHINE, top)
    assert known.open() == []
    for one in (contest, known):
        assert one.first() == order[:top]
        assert one.near == len(near)
