"""Every kill counted once, under its cause, whatever is told again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.causes import CAUSES
from oomsight.metrics.tally import SETTLED_SECONDS, Tally, restored

from .metric_events import NOW, UNIT, by_oomd, complete, named, note, told

KILL = ("memcg_limit", "CONSTRAINT_MEMCG", "memcg", "nginx.service", "", "", "")


def counted(tally: Tally, name: str) -> dict[tuple[str, ...], float]:
    return next((f.samples for f in tally.families() if f.metric.name == name), {})


def kills(tally: Tally) -> dict[tuple[str, ...], float]:
    return counted(tally, "oomsight_oom_kills_total")


def test_observe_a_kill_is_counted_when_complete_and_once() -> None:
    tally = Tally(NOW)
    provisional, whole = told()
    assert tally.observe(provisional, NOW) is None
    assert kills(tally) == {}
    settled = tally.observe(whole, NOW + 1)
    assert (settled.kills, settled.first) == (1, True)
    assert tally.observe(whole, NOW + 2) is None
    assert tally.observe(provisional, NOW + 3) is None
    assert tally.settle(NOW + 1000) == []
    assert kills(tally) == {KILL: 1.0}
    assert counted(tally, "oomsight_oom_kills_by_cause_total")["memcg_limit",] == 1.0
    assert counted(tally, "oomsight_oom_incidents_total")["memcg",] == 1.0


def test_observe_an_update_counts_only_its_new_victims() -> None:
    tally, document = Tally(NOW), complete()
    tally.observe(document, NOW)
    more = {**document, "stage": "update", "kills": document["kills"] * 3}
    settled = tally.observe(more, NOW)
    assert (settled.kills, settled.first) == (2, False)
    assert kills(tally) == {KILL: 3.0}
    assert counted(tally, "oomsight_oom_incidents_total")["memcg",] == 1.0


def test_settle_a_report_that_never_became_complete_is_counted_later() -> None:
    tally = Tally(NOW)
    provisional, whole = told()
    tally.observe(provisional, NOW)
    assert tally.settle(NOW + SETTLED_SECONDS - 1) == []
    assert [s.kills for s in tally.settle(NOW + SETTLED_SECONDS)] == [1]
    assert sum(kills(tally).values()) == 1.0
    assert tally.observe(whole, NOW + 100) is None  # too late for its cause, and not twice


def test_families_every_cause_and_kind_is_there_from_the_start() -> None:
    causes = counted(Tally(NOW), "oomsight_oom_kills_by_cause_total")
    assert causes == {(rule.code,): 0.0 for rule in CAUSES}
    assert counted(Tally(NOW), "oomsight_oom_incidents_total")["global",] == 0.0
    assert kills(Tally(NOW)) == {}


def test_observe_userspace_killer_is_no_kernel_kill() -> None:
    tally = Tally(NOW)
    tally.observe(by_oomd(), NOW)
    assert kills(tally) == {}
    userspace = counted(tally, "oomsight_userspace_kills_total")
    assert list(userspace.values()) == [1.0]
    assert next(iter(userspace))[0] == "systemd-oomd"


def test_observe_note_is_counted_by_its_code() -> None:
    tally = Tally(NOW)
    tally.observe(note(), NOW)
    tally.observe(note(), NOW)
    assert counted(tally, "oomsight_agent_notes_total") == {("records_lost",): 2.0}


def test_observe_last_kill_is_the_time_of_the_event() -> None:
    tally, document = Tally(NOW), complete()
    document["incident"]["time"] = "2026-11-23T12:00:00+00:00"
    tally.observe(document, NOW)
    assert counted(tally, "oomsight_last_oom_kill_timestamp_seconds") == {KILL: 1795435200.0}


def test_observe_series_beyond_the_bound_share_other() -> None:
    tally = Tally(NOW, 3)
    for pid in range(1, 8):
        document = complete(pid, enrichment=named(level="container", container=f"job-{pid}"))
        tally.observe({**document, "event_id": f"ev-{pid}"}, NOW)
    by_container = {key[4]: value for key, value in kills(tally).items()}
    assert by_container == {"job-1": 1.0, "job-2": 1.0, "job-3": 1.0, "other": 4.0}


def test_restored_tally_goes_on_and_knows_what_it_counted() -> None:
    tally, document = Tally(NOW), complete()
    tally.observe(document, NOW + 5)
    again = restored(json.loads(json.dumps(tally.state())), NOW + 100)
    assert (again.since, again.through) == (NOW, NOW + 5)
    assert again.observe(document, NOW + 101) is None
    assert kills(again) == {KILL: 1.0}
    again.observe({**document, "event_id": "ev-new"}, NOW + 102)
    assert kills(again) == {KILL: 2.0}


@pytest.mark.parametrize("state", [None, 3, [], {}, {"version": 1}, {"version": 99}, {"version": 1, "series": []}])
def test_restored_from_anything_else_begins_anew(state) -> None:
    assert restored(state, NOW).state() == Tally(NOW).state()


def test_restored_from_other_labels_begins_anew() -> None:
    state = Tally(NOW).state()
    state["series"]["oomsight_oom_kills_total"] = [["memcg_limit", 5]]
    state["series"]["oomsight_oom_kills_by_cause_total"] = [["memcg_limit", 5]]
    assert restored(state, NOW).state() == Tally(NOW).state()


DOCUMENTS = [{**d, "event_id": f"ev-{n}"} for n in range(4) for d in told(n + 1, memcg=UNIT)]


@given(st.lists(st.sampled_from(DOCUMENTS), max_size=20), st.integers(0, 20))
def test_observe_any_order_repetition_and_restart_counts_each_kill_once(documents, cut) -> None:
    tally = Tally(NOW)
    for number, document in enumerate(documents):
        if number == cut:
            tally = restored(tally.state(), NOW)
            for again in documents[:number]:  # what is pending is told again, from the log or the store
                tally.observe(again, NOW)
        tally.observe(document, NOW)
    tally.settle(NOW + 1000)
    assert sum(kills(tally).values()) == len({d["event_id"] for d in documents})
