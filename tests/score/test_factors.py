"""oomsight.score.factors"""

from hypothesis import given
from hypothesis import strategies as st

from oomsight.score.factors import explain_process, telling_moves
from oomsight.score.ranking import rank_host
from oomsight.score.rules import recognise

from .samples import machine, process, snapshot


def factors(shot, pid):
    return explain_process(rank_host(shot, recognise(shot.machine, ())), shot, pid)


def test_explain_process_terms_add_up_to_the_points():
    shot = snapshot(process(10, 5000), process(11, 3000, adj=10, swap=7, pgtables_kib=40))
    found = factors(shot, 11)
    assert [tuple(term) for term in found.points.terms] == [
        ("rss_pages", 3000), ("swap_pages", 7), ("pgtables_bytes", 10), ("oom_score_adj", 2620),
    ]  # fmt: skip
    assert (found.points.total, found.per_mille, found.oom_score) == (5637, 21, (1000 + 21) * 2 // 3)
    assert found.row.rank == 1


def test_explain_process_moves_between_its_neighbours():
    # T / 1000 = 262 pages; 6.12: the later of two equals dies
    shot = snapshot(process(10, 1000), process(11, 1000), process(12, 1262))
    moves = factors(shot, 11).moves
    assert [tuple(move) for move in moves] == [
        (-1000, -1000, None, None), (-999, -1, 3, None), (0, 1, 2, 10), (2, 1000, 1, 12),
    ]  # fmt: skip
    assert [tuple(move) for move in factors(shot, 10).moves][1:3] == [(-999, 0, 3, None), (1, 1, 2, 11)]


def test_explain_process_exempt_says_what_it_would_be():
    found = factors(snapshot(process(10, 1000), process(11, 2000, adj=-1000)), 11)
    assert (found.points, found.per_mille, found.oom_score, found.row.skipped) == (None, None, 0, "oom_score_adj -1000")
    assert found.moves[-1] == (-3, 1000, 1, 10)


def test_explain_process_init_cannot_be_moved():
    assert factors(snapshot(process(1, 1000, score=0)), 1).moves == ()


def test_explain_process_small_total_takes_the_effect_of_adj():
    found = factors(snapshot(process(10, 50), process(11, 60), on=machine(ram=999)), 10)
    assert not found.adj_works
    assert [move.rank for move in found.moves] == [None, 2]


def test_explain_process_that_is_not_there():
    assert factors(snapshot(process(10)), 99) is None


def test_telling_moves_tells_the_far_middle_in_one_and_leaves_no_value_out():
    shot = snapshot(*(process(pid, pid * 1000) for pid in range(10, 40)))
    found = factors(shot, 25)
    groups = telling_moves(found)
    assert [tuple(move.rank for move in group) for group in groups] == [
        (None,), (30,), tuple(range(29, 17, -1)), (17,), (16,), (15,), (14,), (13,), tuple(range(12, 1, -1)), (1,),
    ]  # fmt: skip
    assert [move for group in groups for move in group] == list(found.moves)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(-1000, 1000)), min_size=1, max_size=8), st.integers(-1000, 1000))
def test_moves_are_what_ranking_again_gives(subjects, adj):
    """Whatever adj a process is given, it ends up where the moves say."""
    others = [process(pid, rss, adj=own) for pid, (rss, own) in enumerate(subjects, 10)]
    subject = process(50, 1500)
    moves = factors(snapshot(*others, subject), 50).moves
    assert [move.first_adj for move in moves] == [-1000, *(move.last_adj + 1 for move in moves[:-1])]
    assert moves[-1].last_adj == 1000
    row = factors(snapshot(*others, subject._replace(oom_score_adj=adj)), 50).row
    assert row.rank == next(move.rank for move in moves if move.first_adj <= adj <= move.last_adj)
