"""Kills without a report find their cgroup by what the counters grew; never by a guess."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from kmsg_lines import Log

from oomsight.live.charge import FORGET_SECONDS, Charges, beheaded, charged, recharged, undecided
from oomsight.live.events import Stage
from oomsight.live.merge import Merger


def test_want_one_count_and_one_kill_belong_together() -> None:
    charges = Charges()
    charges.grew("/a", 1, 0.0)
    assert charges.want("k1", 0.1) == "/a"
    assert charges.candidates() == []


def test_want_count_that_comes_after_the_kill() -> None:
    charges = Charges()
    assert charges.want("k1", 0.0) is None
    charges.grew("/a", 1, 0.1)
    assert charges.want("k1", 0.2) == "/a"


def test_want_counts_of_told_kills_are_not_taken_twice() -> None:
    charges = Charges()
    charges.told("k1", "/a", 0.0)  # told before its count is read
    charges.told("k1", "/a", 0.0)  # and by a second source
    charges.grew("/a", 1, 0.1)
    assert charges.want("k2", 0.2) is None
    charges.grew("/b", 1, 0.3)
    assert charges.want("k2", 0.3) == "/b"


def test_want_two_cgroups_that_could_be_meant_are_no_answer() -> None:
    charges = Charges()
    charges.grew("/a", 1, 0.0)
    charges.grew("/b", 1, 0.0)
    assert charges.want("k1", 0.1) is None
    assert charges.candidates() == ["/a", "/b"]
    assert charges.want("k2", 0.1) is None
    assert charges.undecided("k1") == charges.undecided("k2") == ["/a", "/b"]


def test_want_after_an_undecided_pair_the_next_is_clear() -> None:
    charges = Charges()
    for path in ("/a", "/b"):
        charges.grew(path, 1, 0.0)
    for name in ("k1", "k2"):
        charges.want(name, 0.1)
    charges.grew("/b", 1, 0.2)
    assert charges.want("k3", 0.2) == "/b"
    assert charges.want("k1", 0.3) is None


def test_want_line_still_to_come_could_be_meant() -> None:
    charges = Charges()
    charges.grew("/a", 2, 0.0)
    assert charges.want("k1", 0.1) is None
    assert charges.want("k2", 0.2) == "/a"
    assert charges.want("k1", 0.2) == "/a"


def test_grew_decides_nothing_before_all_counters_are_read() -> None:
    charges = Charges()
    assert charges.want("k1", 0.0) is None
    charges.grew("/other", 1, 0.1)  # a kill whose line is still to come, read first
    charges.grew("/a", 1, 0.1)
    assert charges.want("k1", 0.1) is None
    charges.told("k2", "/other", 0.2)
    assert charges.known("k1") == "/a"


def test_want_hint_decides_between_two_and_then_the_other_is_clear() -> None:
    charges = Charges()
    charges.grew("/a", 1, 0.0)
    charges.grew("/b", 1, 0.0)
    assert charges.want("k1", 0.1) is None
    assert charges.want("k2", 0.1, hints=["/c", "/b"]) == "/b"
    assert charges.want("k1", 0.1) == "/a"


def test_want_hint_alone_without_a_count_is_no_answer() -> None:
    assert Charges().want("k1", 0.0, hints=["/a"]) is None


def test_want_count_of_long_ago_is_forgotten() -> None:
    charges = Charges()
    charges.grew("/a", 1, 0.0)
    assert charges.want("k1", FORGET_SECONDS + 1) is None


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.booleans(), st.booleans()), max_size=30))
def test_want_names_the_right_cgroup_whichever_of_line_and_count_is_read_first(kills) -> None:
    charges, true = Charges(), {}
    for number, (path, printed, count_first) in enumerate(kills):
        name = f"k{number}"
        if count_first:
            charges.grew(path, 1, number)
        if printed:
            charges.told(name, path, number)
        else:
            true[name] = path
            charges.want(name, number)
        if not count_first:
            charges.grew(path, 1, number)
            if not printed:
                charges.want(name, number)
    assert {name: charges.want(name, len(kills)) for name in true} == true


@given(st.lists(st.tuples(st.sampled_from(["/a", "/b"]), st.booleans()), max_size=12), st.randoms())
def test_want_counts_read_late_leave_answers_out_but_never_wrong(kills, rng) -> None:
    """All counts of a burst in one reading, its lines in any order: each answer fits the counts."""
    charges = Charges()
    lines = [(f"k{n}", path, printed) for n, (path, printed) in enumerate(kills)]
    rng.shuffle(lines)
    grown = {p: sum(path == p for path, _ in kills) for p in ("/a", "/b")}
    for path, count in grown.items():
        charges.grew(path, count, 0.0)
    for name, path, printed in lines:
        if printed:
            charges.told(name, path, 0.1)
        else:
            charges.want(name, 0.1)
    hidden = [(name, path) for name, path, printed in lines if not printed]
    answers = [charges.want(name, 0.2) for name, _ in hidden]
    if len({path for _, path in hidden}) == 1:
        assert answers == [path for _, path in hidden]
    for path in ("/a", "/b"):
        assert answers.count(path) <= sum(p == path for _, p in hidden)


def _headless():
    log = Log()
    merger = Merger()
    events = merger.feed(log.kill(7), 0.0)
    assert [e.stage for e in events] == [Stage.PROVISIONAL]
    (event,) = merger.tick(1.0)
    return event


def test_beheaded_event_gets_its_cgroup_and_says_where_from() -> None:
    event = _headless()
    assert beheaded(event)
    found = recharged(event, "/docker/" + "ab" * 32)
    assert charged(found) == "/docker/" + "ab" * 32
    assert not beheaded(found)
    assert found.weight > event.weight
    assert [n.code for n in found.incident.report.notes if n.code.startswith("cgroup_")] == ["cgroup_from_counter"]


def test_undecided_names_the_cgroups_it_could_be() -> None:
    event = undecided(_headless(), ["/a", "/b"])
    (note,) = [n for n in event.incident.report.notes if n.code == "cgroup_undecided"]
    assert "/a" in note.text
    assert "/b" in note.text
    many = undecided(_headless(), [f"/{n}" for n in range(5)])
    assert not [n for n in many.incident.report.notes if n.code == "cgroup_undecided"]


def test_beheaded_whole_report_is_not() -> None:
    log, merger = Log(), Merger()
    for record in [*log.report(), log.kill()]:
        merger.feed(record, 0.0)
    (event,) = merger.tick(1.0)
    assert not beheaded(event)
    assert charged(event) == "/app"
