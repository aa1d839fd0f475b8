"""Label values nobody can break out with, label sets that stay few."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oomsight.metrics.family import LONGEST, Bound, Family, family, label_value, present
from oomsight.metrics.table import BY_NAME


def test_label_value_plain_text_stays() -> None:
    assert label_value("payments-api") == "payments-api"
    assert label_value("zażółć") == "zażółć"
    assert label_value(None) == ""


def test_label_value_hidden_and_odd_bytes_become_visible() -> None:
    assert label_value("a\nb\x1b[31m") == "a\\x0ab\\x1b[31m"
    assert label_value("a\udcffb\u202ec") == "a\\xffb\\u202ec"


def test_label_value_long_ones_keep_their_end_and_differ() -> None:
    one, two = label_value("a" * 300 + "/tail"), label_value("b" * 300 + "/tail")
    assert one != two
    assert len(one) == len(two) == LONGEST
    assert one.endswith("a/tail")


@given(st.text(st.characters(), max_size=400))
def test_label_value_any_text_is_printable_utf8_and_bounded(text) -> None:
    value = label_value(text)
    assert value.isprintable()
    assert len(value) <= LONGEST
    value.encode()


def test_add_what_is_not_known_adds_nothing() -> None:
    assert family("oomsight_memory_free_bytes").add(None).samples == {}
    assert present([family("oomsight_memory_free_bytes"), family("oomsight_memory_total_bytes", 0)]) == [
        Family(BY_NAME["oomsight_memory_total_bytes"], {(): 0.0})
    ]


def test_add_the_same_labels_are_joined_as_the_table_says() -> None:
    headroom = family("oomsight_cgroup_memory_headroom_bytes")
    limit = family("oomsight_cgroup_memory_limit_bytes")
    for value in (5, 3, 4):
        headroom.add(value, "other", "", "", "", "")
        limit.add(value, "other", "", "", "", "")
    assert list(headroom.samples.values()) == [3.0]
    assert list(limit.samples.values()) == [12.0]


def test_attributes_empty_labels_are_left_out() -> None:
    found = family("oomsight_userspace_kills_total").add(1, "earlyoom", "", "web", "", "")
    assert found.attributes(next(iter(found.samples))) == {"killer": "earlyoom", "container": "web"}


@given(st.lists(st.tuples(st.sampled_from(["memcg_limit", "no_swap"]), st.text(max_size=3)), max_size=60))
def test_bound_keeps_the_number_of_series_and_no_kill_is_lost(kills) -> None:
    bound, series = Bound(("cause", "container"), 10), {}
    for labels in kills:
        key = bound.key(series, labels)
        series[key] = series.get(key, 0) + 1
    assert sum(series.values()) == len(kills)
    assert len(series) <= 10 + 2 * 2  # each cause with `other`, and without a container
    assert {key[0] for key in series} <= {"memcg_limit", "no_swap"}  # a closed label is never `other`
