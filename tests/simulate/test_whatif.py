"""What if: real moments with something changed; expected victims are worked out by hand from the formula."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oomsight.kernel.badness import BADNESS_RULES, TaskFacts
from oomsight.kernel.constraint import Total
from oomsight.kernel.selection import Candidate
from oomsight.naming.marked import unmark
from oomsight.simulate.whatif import Changes, Moment, chain, era, match, problems, what_if, what_if_words

MIB = 256  # pages


def task(pid: int, comm: str, mib: int, adj: int = 0, memcg: str = "/", **more) -> Candidate:
    facts = TaskFacts(rss_pages=mib * MIB, swap_pages=0, pgtables_bytes=0, oom_score_adj=adj)
    return Candidate(pid=pid, comm=comm, facts=facts, memcg=memcg, **more)


MOMENT = Moment(
    source="a test", rule=BADNESS_RULES[-1], rule_why="", release=(6, 12), total=Total(1000 * MIB, "1000 MiB"),
    tasks=(
        task(10, "db", 500, memcg="/db"), task(11, "web", 200, memcg="/web"), task(12, "web", 100, memcg="/web/x"),
        task(13, "agent", 50, -1000),
    ),
    need_pages=1,
)  # fmt: skip


def pids(deaths) -> list[int]:
    return [death.pid for death in deaths]


def test_chain_goes_on_until_the_demand_is_met() -> None:
    deaths = chain(replace(MOMENT, need_pages=600 * MIB), more=1)
    assert [(d.pid, d.needed, d.total_freed_pages // MIB) for d in deaths] == [
        (10, True, 500), (11, True, 700), (12, False, 800)
    ]  # fmt: skip


def test_chain_ends_when_nobody_is_left() -> None:
    assert pids(chain(replace(MOMENT, need_pages=10**9))) == [10, 11, 12]


def test_set_adj_changes_who_dies() -> None:
    # 500 MiB - 301 * 1 MiB = 199 < 200.
    assert pids(what_if(MOMENT, Changes(adj=(("db", -301),))).after)[0] == 11
    assert pids(what_if(MOMENT, Changes(adj=(("db", -299),))).after)[0] == 10
    assert pids(what_if(MOMENT, Changes(adj=(("10", -1000),))).after) == [11, 12]
    assert pids(what_if(MOMENT, Changes(adj=(("/web", 500),))).after)[0] == 11


def test_match_by_pid_name_and_cgroup() -> None:
    assert match(MOMENT, "11") == [11]
    assert match(MOMENT, "web") == [11, 12]
    assert match(MOMENT, "/web") == [11, 12]
    assert match(MOMENT, "/we") == []


def test_limit_moves_the_oom_into_the_cgroup() -> None:
    found = what_if(MOMENT, Changes(limits=(("/web", 250 << 20),)))
    assert (found.changed.constraint, found.changed.oom_memcg) == ("CONSTRAINT_MEMCG", "/web")
    assert found.changed.need_pages == 50 * MIB
    assert found.changed.total.pages == 250 * MIB
    assert pids(found.after) == [11, 12]
    assert [d.needed for d in found.after] == [True, False]


def test_limit_that_is_not_reached_changes_nothing() -> None:
    found = what_if(MOMENT, Changes(limits=(("/web", 300 << 20),)))
    assert pids(found.after)[0] == 10
    assert found.same


def test_higher_limit_of_the_cgroup_that_ran_out_avoids_it() -> None:
    inside = replace(MOMENT, constraint="CONSTRAINT_MEMCG", oom_memcg="/web", tasks=MOMENT.tasks[1:3])
    found = what_if(inside, Changes(limits=(("/web", 400 << 20),)))
    assert unmark(found.avoided) == "/web holds at least 300 MiB and has room for 100 MiB more"


def test_what_no_process_holds_counts_against_a_limit_too() -> None:
    charged = {"/web": 380 * MIB, "/web/x": 150 * MIB}
    inside = replace(MOMENT, constraint="CONSTRAINT_MEMCG", oom_memcg="/web", tasks=MOMENT.tasks[1:3], charged_pages=charged)
    higher = what_if(inside, Changes(limits=(("/web", 400 << 20),)))
    assert unmark(higher.avoided) == "/web holds 380 MiB and has room for 20 MiB more"
    still = what_if(inside, Changes(limits=(("/web", 350 << 20),)))
    assert (still.avoided, still.changed.need_pages) == (None, 30 * MIB)


def test_what_is_charged_below_a_cgroup_is_charged_to_it() -> None:
    found = what_if(replace(MOMENT, charged_pages={"/web/x": 390 * MIB}), Changes(limits=(("/web", 350 << 20),)))
    assert (found.changed.oom_memcg, found.changed.need_pages) == ("/web", 40 * MIB)


def test_swap_avoids_it_for_now_and_raises_t() -> None:
    found = what_if(MOMENT, Changes(add_swap_bytes=100 << 20))
    assert found.avoided == "swap could take 100 MiB first"
    assert found.changed.total.pages == 1100 * MIB
    assert found.notes[0].startswith("Whether swap helps depends")


def test_without_a_process_that_holds_enough() -> None:
    found = what_if(MOMENT, Changes(without=(10,)))
    assert unmark(found.avoided) == "without db (pid 10) there are 500 MiB more, which is enough for now"
    assert pids(found.after)[0] == 11


def test_era_changes_the_rule() -> None:
    rule, release = era("4.4")
    assert (rule.name, release) == ("4.0", (4, 4))
    assert era("2.6.32-754.el6.x86_64")[0].name == "3.2"  # back-ported by RHEL 6
    assert era("2.6.32-5-amd64")[0].name == "2.6.32"
    assert era("new") is None
    # Root's bonus of 3 % up to 4.16 turns two of nearly the same size around.
    root = MOMENT.tasks[0]._replace(facts=MOMENT.tasks[0].facts._replace(cap_sys_admin=True))
    near = replace(MOMENT, tasks=(root, task(20, "user", 490)))
    found = what_if(near, Changes(era="4.4"))
    assert (pids(found.before)[0], pids(found.after)[0]) == (10, 20)


def test_memory_shared_by_two_is_freed_once() -> None:
    both = replace(MOMENT, tasks=(task(10, "a", 300, mm=1), task(11, "b", 300, mm=1), task(12, "c", 100)))
    deaths = chain(both, more=0)
    assert {d.pid: d.freed_pages // MIB for d in deaths} in ({11: 300, 10: 0}, {10: 300, 11: 0})


def test_oom_group_dies_together() -> None:
    moment = replace(MOMENT, oom_group=frozenset({"/web"}), tasks=MOMENT.tasks[1:])
    deaths = chain(moment, more=0)
    assert [(d.pid, d.role) for d in deaths] == [(11, "selected"), (12, "group")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [(Changes(adj=(("nginx", 5),)), "there is no process, name or cgroup nginx in a test; the biggest are db, web"),
     (Changes(adj=(("dbb", 5),)), "there is no process, name or cgroup dbb in a test; did you mean db?"),
     (Changes(without=(99,)), "there is no process 99 in a test"),
     (Changes(limits=(("/x", 5),)), "no process is known to be in cgroup /x; those that hold most are /db, /web, /web/x"),
     (Changes(limits=(("/wbe", 5),)), "no process is known to be in cgroup /wbe; did you mean /web?"),
     (Changes(era="x"), "x is no kernel release; releases with rules of their own: 2.6.11,")],
)  # fmt: skip
def test_problems_of_changes_that_cannot_be_made(changes, words) -> None:
    assert problems(MOMENT, changes)[0].startswith(words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (Changes(), "As it is, db (pid 10, 500 MiB) dies. 1 kill frees 500 MiB; 4 KiB are needed. Next would be web"
         " (pid 11, 200 MiB)."),
        (Changes(adj=(("db", -1000),)), "As it is, db (pid 10, 500 MiB) dies. With the change web (pid 11, 200 MiB) dies."
         " 1 kill frees 200 MiB; 4 KiB are needed. Next would be web (pid 12, 100 MiB)."),
        (Changes(adj=(("db", -1),)), "As it is, db (pid 10, 500 MiB) dies. With the change it is db (pid 10) all the same."
         " 1 kill frees 500 MiB; 4 KiB are needed. Next would be web (pid 11, 200 MiB)."),
        (Changes(need_bytes=5 << 40), "As it is, db (pid 10, 500 MiB) dies. 3 kills free 800 MiB; 5 TiB are needed, and"
         " nobody else can be killed."),
        (Changes(add_swap_bytes=1 << 30), "As it is, db (pid 10, 500 MiB) dies. With the change nobody has to die now: swap"
         " could take 1 GiB first. Should memory run out all the same, db (pid 10, 500 MiB) dies."),
    ],
)  # fmt: skip
def test_what_if_words(changes, words) -> None:
    assert unmark(" ".join(what_if_words(what_if(MOMENT, changes)))) == words


def test_limit_above_what_a_cgroup_holds_is_said_to_change_nothing() -> None:
    result = what_if(MOMENT, Changes(limits=(("/web", 1 << 40),)))
    assert result.same
    assert "less than its new limit: that changes nothing here." in result.notes[0]
