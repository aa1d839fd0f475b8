"""Names over time: which hold at a moment, what is forgotten, and that nothing is lost on the way to a file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.attribute import Key, Memory, Names, Observation
from oomsight.attribute.memory import GRACE_SECONDS
from oomsight.attribute.model import MAX_LABELS, MAX_TEXT_CHARS, UNLIMITED

ID = "3f4a8c0d1e2f" + "5a" * 26
OTHER = "3f4a8c0d1e2f" + "5b" * 26
WEB = Key("container", ID)


def _memory(*observations):
    memory = Memory()
    for observation in observations:
        memory.see(observation)
    return memory


def test_ask_same_names_again_extends_the_time():
    memory = _memory(Observation(WEB, Names(container="web"), 10.0), Observation(WEB, Names(container="web"), 20.0))
    record = memory.ask(WEB)
    assert len(memory) == 1
    assert record is not None
    assert (record.first, record.last) == (10.0, 20.0)


def test_ask_later_source_completes_the_names():
    memory = _memory(
        Observation(WEB, Names(container="web", image="nginx:1"), 10.0),
        Observation(WEB, Names(pod="api", image="docker.io/library/nginx:1"), 11.0),
    )
    record = memory.ask(WEB)
    assert record is not None
    assert record.names == Names(container="web", image="docker.io/library/nginx:1", pod="api")


def test_ask_changed_limit_holds_from_its_own_time():
    memory = _memory(
        Observation(WEB, Names(container="web", limit_bytes=100), 10.0),
        Observation(WEB, Names(container="web", limit_bytes=200), 20.0),
    )
    limits = {at: memory.ask(WEB, at).names.limit_bytes for at in (5.0, 10.0, 19.0, 20.0, 99.0)}
    assert limits == {5.0: 100, 10.0: 100, 19.0: 100, 20.0: 200, 99.0: 200}


@pytest.mark.parametrize(
    ("key", "known"), [(WEB, True), (Key("pod", "u"), True), (Key("session", "3"), False), (Key("machine", "m"), False)]
)
def test_ask_long_before_the_first_observation_only_ids_that_are_never_reused(key, known):
    memory = _memory(Observation(key, Names(user="anna", container="c"), 10_000.0))
    assert (memory.ask(key, 10_000.0 - GRACE_SECONDS - 1) is not None) is known
    assert memory.ask(key, 10_000.0 - GRACE_SECONDS) is not None


def test_ask_session_id_given_again_names_the_user_of_the_time():
    key = Key("session", "3")
    memory = _memory(
        Observation(key, Names(user="anna"), 100.0, since=50.0), Observation(key, Names(user="bob"), 900.0, since=800.0)
    )
    assert [memory.ask(key, at).names.user for at in (60.0, 500.0, 800.0, 1000.0)] == ["anna", "anna", "bob", "bob"]


def test_see_since_and_until_bound_the_record():
    memory = _memory(Observation(WEB, Names(container="web"), 100.0, since=40.0, until=60.0))
    record = memory.ask(WEB)
    assert record is not None
    assert (record.first, record.last) == (40.0, 60.0)


def test_full_id_shortened_with_ellipsis():
    memory = _memory(Observation(WEB, Names(container="web"), 1.0))
    assert memory.full_id("container", ID[:12]) == WEB
    assert memory.full_id("container", ID[:20] + "…") == WEB
    assert memory.full_id("container", ID[:11]) is None
    assert memory.full_id("pod", ID[:12]) is None


def test_full_id_that_two_containers_share_is_none():
    memory = _memory(Observation(WEB, Names(), 1.0), Observation(Key("container", OTHER), Names(), 1.0))
    assert memory.full_id("container", ID[:12]) is None
    assert memory.full_id("container", ID[:14]) == WEB


def test_limit_forgets_what_was_not_seen_for_longest():
    memory = Memory(limit=10)
    for number in range(11):
        memory.see(Observation(Key("container", f"{number:064x}"), Names(container=str(number)), float(number)))
    assert len(memory) <= 10
    assert memory.ask(Key("container", f"{0:064x}")) is None
    assert memory.ask(Key("container", f"{10:064x}")) is not None


def test_forget_drops_what_is_older():
    memory = _memory(Observation(WEB, Names(), 1.0), Observation(Key("container", OTHER), Names(), 9.0))
    assert memory.forget(5.0) == 1
    assert memory.ask(WEB) is None
    assert len(memory) == 1


def test_see_names_without_bounds_are_cut():
    labels = tuple((f"k{n:04}", "v" * 9999) for n in range(500))
    memory = _memory(Observation(WEB, Names(container="n" * 9999, labels=labels), 1.0))
    names = memory.ask(WEB).names
    assert len(names.container) == MAX_TEXT_CHARS
    assert len(names.labels) == MAX_LABELS
    assert len(names.labels[0][1]) == MAX_TEXT_CHARS


_TEXT = st.none() | st.text(max_size=8)
_NAMES = st.builds(
    Names, container=_TEXT, image=_TEXT, pod=_TEXT, user=_TEXT, uid=st.none() | st.integers(0, 1 << 32),
    limit_bytes=st.none() | st.just(UNLIMITED) | st.integers(0, 1 << 60),
    labels=st.none() | st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=3).map(lambda v: tuple(sorted(v))),
)  # fmt: skip
_TIMES = st.floats(0, 1e9)
_OBSERVATIONS = st.lists(
    st.builds(
        Observation, st.builds(Key, st.sampled_from(["container", "session", "cgroup"]), st.sampled_from("abc")), _NAMES,
        _TIMES, st.none() | _TIMES, st.none() | _TIMES,
    ), max_size=12,
)  # fmt: skip


@given(_OBSERVATIONS)
def test_load_of_dump_through_json_answers_the_same(observations):
    memory = _memory(*observations)
    again = Memory.load(json.loads(json.dumps(memory.dump())))
    assert sorted(map(str, again)) == sorted(map(str, memory))
    assert len(again) == len(memory)


@given(_OBSERVATIONS)
def test_see_any_order_keeps_records_in_order_and_counted(observations):
    memory = _memory(*observations)
    assert len(memory) == sum(1 for _ in memory)
    assert all(record.first <= record.last for _, record in memory)


@given(st.lists(st.none() | st.integers() | st.dictionaries(
    st.sampled_from(["kind", "id", "first", "last", "labels", "uid", "limit_bytes", "container"]),
    st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2) | st.just("container"),
)))  # fmt: skip
def test_load_of_anything_never_raises(rows):
    assert len(Memory.load(rows)) <= len(rows)
