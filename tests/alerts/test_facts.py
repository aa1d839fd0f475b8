"""Facts of an event, and names found again in its sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.alerts.facts import SEVERITY_OF, Severity, facts_of, marked_again
from oomsight.naming.marked import Kind, map_names, mark, unmark
from oomsight.sinks.document import KINDS

from .events import NAMES, event, note


def test_facts_of_event_names_everything_a_message_needs() -> None:
    facts = facts_of(event())
    assert facts is not None
    assert (facts.comm, facts.pid, facts.kills, facts.cause, facts.kind) == ("node", 165, 1, "memcg_limit", "memcg")
    assert (facts.pod, facts.namespace, facts.container, facts.node) == ("api-7d9f", "payments", "api", "node-1")
    assert facts.severity is Severity.WARNING
    assert facts.place == "payments/api-7d9f:api"
    assert unmark(facts.where) == "payments/api-7d9f:api"
    lines = [unmark(line) for line in facts.lines]
    assert lines[0] == "Where: container api (image registry.local/api:3) of pod payments/api-7d9f"
    assert lines[1] == "Cause: The cgroup reached its own memory limit (certain)"
    assert lines[2] == "Who held the memory: node itself (48.5 MiB)"
    assert lines[3].startswith("Do first: to give it room, set the limit to 60.0 MiB")
    assert facts.drill is False


def test_facts_of_event_without_names_uses_the_path() -> None:
    facts = facts_of(event(names=None), node="host-7")
    assert facts.where is None
    assert facts.container is None
    assert facts.node == "host-7"
    assert facts.unit.startswith("cri-containerd-5b0b1c4f")


@pytest.mark.parametrize("change", [{"stage": "provisional"}, {"replayed": True}])
def test_facts_of_history_and_provisional_events_is_none(change) -> None:
    assert facts_of(event(**change)) is None


def test_facts_of_update_is_told_like_a_complete_one() -> None:
    assert facts_of(event(stage="update")).event_id == "ev-1"


def test_facts_of_note_has_its_code_as_cause() -> None:
    facts = facts_of(note(), node="n")
    assert (facts.kind, facts.cause, facts.severity, facts.kills) == ("note", "kills_not_in_log", Severity.WARNING, 0)
    assert facts.headline == "The kernel counted 3 kills, the log shows 2"
    assert facts_of(note("before_us")).severity is Severity.INFO


def test_facts_of_surviving_container_says_so() -> None:
    made = event()
    made["enrichment"]["main_process_survived"] = True
    assert any("the container itself did not end by this" in line for line in facts_of(made).lines)


def test_facts_of_drill_are_known_by_the_cgroup_and_ask_nobody_to_act() -> None:
    facts = facts_of(event(cgroup="/a/oomsight-drill-77", names=None))
    assert facts.drill
    assert not any(line.startswith("Do first") for line in facts.lines)


def test_severity_has_a_row_for_every_kind_of_incident() -> None:
    assert set(SEVERITY_OF) == set(KINDS)


def test_culprit_that_is_not_the_victim_is_named_as_such() -> None:
    made = event()
    made["incident"]["culprit"] = {"kind": "process", "name": "java", "kib": 3 << 20, "share_pct": 81.4, "is_victim": False}
    assert "Who held the memory: java (3.0 GiB, 81 %), not the one that died" in [unmark(x) for x in facts_of(made).lines]
    made["incident"]["culprit"] |= {"kind": "shared", "name": "shared memory and tmpfs"}  # our word, so no quotes around it
    assert "Who held the memory: shared memory and tmpfs (3.0 GiB, 81 %), not the one that died" in facts_of(made).lines


# -- names in sentences -----------------------------------------------------------------------------------------------


def test_marked_again_marks_whole_words_only_longest_first() -> None:
    text = marked_again("api died; api-2 lives, rapid", [("api", Kind.COMM), ("api-2", Kind.OWNER)])
    assert text == f"{mark('api')} died; {mark('api-2', Kind.OWNER)} lives, rapid"


def test_marked_again_finds_names_that_are_no_words() -> None:
    hostile = "<!channel>"
    assert marked_again(f"kill {hostile} now", [(hostile, Kind.COMM)]) == f"kill {mark(hostile)} now"


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_marked_again_keeps_the_text_and_cannot_be_forged(text, names) -> None:
    marked = marked_again(text, [(name, Kind.COMM) for name in names])
    visible = {2: "\\x02", 3: "\\x03", 31: "\\x1f"}
    plain = text.translate(visible)
    assert unmark(marked) == plain
    seen = []
    map_names(marked, lambda name, kind: seen.append(name) or "")
    assert set(seen) <= {name.translate(visible) for name in names}


def test_names_of_the_sample_are_marked_in_headline_and_lines() -> None:
    seen = []
    facts = facts_of(event(comm="<!channel>"))
    for text in (facts.headline, *facts.lines):
        map_names(text, lambda name, kind: seen.append(name) or "")
        assert "<!channel>" not in map_names(text, lambda name, kind: "")
    assert {"<!channel>", NAMES["image"], NAMES["container"]} <= set(seen)
