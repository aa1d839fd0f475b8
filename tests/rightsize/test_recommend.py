"""Recommendations: need is met, cache is not paid for, leaks get a date, and what was cut off is not called enough."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.audit.quantity import kubernetes_words
from oomsight.naming.marked import unmark
from oomsight.rightsize.model import Kill, Leak, Subject, Usage
from oomsight.rightsize.need import BASES, need_bytes
from oomsight.rightsize.overview import line, line_of
from oomsight.rightsize.policy import Policy, percentile, round_up
from oomsight.rightsize.recommend import recommend
from oomsight.rightsize.words import systemd_size
from oomsight.trend.series import Series

MIB = 1 << 20
DAY = 86400.0


def usage(values, *, step=3600.0, **more):
    times = [1e9 + step * n for n in range(len(values))]
    subject = more.pop("subject", Subject(kind="unit", name="web.service"))
    return Usage(subject=subject, source="test", needs=(Series(times, [v * MIB for v in values]),), **more)


def steady(days=20, level=200, wide=10, seed=1):
    random = Random(seed)
    return [level + random.uniform(-wide, wide) for _ in range(24 * days)]


def test_steady_need_gets_peak_and_margin() -> None:
    advice = recommend(usage(steady(), limit_bytes=1024 * MIB))
    limit = advice.setting("limit").bytes
    assert 210 * MIB * 1.15 <= limit <= 210 * MIB * 1.3
    assert advice.setting("request").bytes < limit
    assert advice.peak_bytes < advice.setting("high").bytes < limit
    assert "lower its limit from 1 GiB" in unmark(advice.headline)
    now = next(one for one in advice.candidates if one.name == "now")
    assert now.probability < 0.001
    chosen = next(one for one in advice.candidates if one.name == "recommended")
    assert chosen.probability <= 0.011
    assert chosen.cost_bytes == limit - 1024 * MIB


def test_short_history_gets_a_wider_margin_and_no_probability_without_blocks() -> None:
    short, long = recommend(usage([100, 101] * 20, step=60.0)), recommend(usage(steady(level=100, wide=1)))
    assert short.margin_pct > 35
    assert long.margin_pct == 15
    assert short.tail is None
    assert any("too short to tell a probability" in note for note in short.notes)
    assert all(one.probability is None for one in short.candidates)


def test_leak_gets_a_date_and_no_more_memory() -> None:
    rising = [100 + n * 0.5 for n in range(24 * 10)]
    leak = Leak(growth="leak", rate_bytes_per_second=0.5 * MIB / 3600, more_memory_helps=False)
    advice = recommend(usage(rising, limit_bytes=512 * MIB, leak=leak))
    assert advice.setting("limit") is None
    assert "more memory will not help" in unmark(advice.headline)
    assert advice.setting("restart").value.startswith("every 27 d")  # 0.8 of 412 MiB at 12 MiB a day
    twice = max(advice.candidates, key=lambda one: one.limit_bytes)
    assert twice.seconds_to_limit == pytest.approx((twice.limit_bytes - 100 * MIB) / (0.5 * MIB / 3600), rel=0.01)


def test_leak_without_a_limit_gets_one_for_the_others_sake() -> None:
    leak = Leak(growth="leak", rate_bytes_per_second=1000.0)
    advice = recommend(usage(steady(), limit_bytes="unlimited", leak=leak))
    assert "dies alone" in advice.setting("limit").why


def test_what_was_killed_needed_more_than_was_seen() -> None:
    kill = Kill(incident_id="oom-1", time=None, demand_bytes=256 * MIB, limit_bytes=256 * MIB, role="limit", cause=None)
    advice = recommend(usage([min(v, 256) for v in steady(level=250)], limit_bytes=256 * MIB, kills=(kill,)))
    assert advice.setting("limit").bytes >= 256 * MIB * 1.25
    assert any("cut off at the limit" in note for note in advice.notes)
    # Peaks above the limit were never seen: nobody knows how likely they are.
    assert all(one.probability is None for one in advice.candidates if one.limit_bytes >= 256 * MIB)


def test_kills_without_any_history_still_give_a_limit() -> None:
    kill = Kill(incident_id="oom-1", time=None, demand_bytes=100 * MIB, limit_bytes=100 * MIB, role="limit", cause=None)
    only = Usage(subject=Subject(kind="unit", name="a.service"), source="", kills=(kill,), limit_bytes=100 * MIB)
    assert recommend(only).setting("limit").bytes == 125 * MIB
    assert recommend(Usage(subject=only.subject, source="")).settings == ()


def test_bystanders_and_culprits_get_an_adj() -> None:
    def kills(role):
        return (Kill(incident_id="oom-1", time=None, demand_bytes=None, limit_bytes=None, role=role, cause=None),)

    assert recommend(usage([10] * 30, kills=kills("victim"))).setting("oom_score_adj").value == "-300"
    assert recommend(usage([10] * 30, kills=kills("culprit"))).setting("oom_score_adj").value == "300"


def test_page_cache_is_not_need_and_shared_memory_is() -> None:
    values = {"usage_bytes": 1000, "file_bytes": 700, "shmem_bytes": 200, "swap_bytes": 50}
    basis = next(basis for basis in BASES if basis.name == "charged")
    assert need_bytes(values, basis) == 550
    assert need_bytes({**values, "file_bytes": None}, basis) is None
    assert need_bytes({"usage_bytes": 5, "file_bytes": 9, "shmem_bytes": 0}, basis) == 0
    assert len({basis.name for basis in BASES}) == len(BASES)


@given(values=st.lists(st.floats(1, 8192), min_size=2, max_size=200), margin=st.floats(0, 100), step=st.sampled_from([60.0, DAY]))
def test_the_limit_covers_the_highest_need_and_request_and_high_are_below_it(values, margin, step) -> None:
    advice = recommend(usage(values, step=step, limit_bytes="unlimited"), Policy(margin_pct=margin))
    limit, request, high = (advice.setting(key) for key in ("limit", "request", "high"))
    assert limit.bytes >= max(values) * MIB
    assert request.bytes <= limit.bytes
    assert high is None or high.bytes < limit.bytes
    sizes = [one.limit_bytes for one in advice.candidates]
    assert sizes == sorted(set(sizes))


@given(
    values=st.lists(st.floats(1, 8192), max_size=200), step=st.sampled_from([60.0, 3600.0, DAY]),
    limit=st.sampled_from([None, "unlimited", 16 * MIB, 1 << 33]), leaks=st.booleans(),
    kills=st.lists(st.tuples(st.sampled_from(["limit", "victim", "culprit"]), st.integers(0, 1 << 33)), max_size=3),
    percentile=st.sampled_from([1.0, 95.0, 100.0]), kind=st.sampled_from(["unit", "name"]),
)  # fmt: skip
def test_a_line_is_what_is_told_in_full(  # noqa: PLR0917
    values, step, limit, leaks, kills, percentile, kind
) -> None:
    policy = Policy(request_percentile=percentile)
    held = usage(
        values, step=step, subject=Subject(kind=kind, name="web"), limit_bytes=limit, kill_count=len(kills),
        kills=tuple(Kill(incident_id="a", time=None, demand_bytes=size, limit_bytes=None, role=role, cause=None)
                    for role, size in kills),
    )  # fmt: skip
    if not values:
        held = replace(held, needs=())
    leak = Leak(growth="leak", rate_bytes_per_second=3.0, words="A leak") if leaks else Leak(growth="growing")
    assert line(held, policy, leaks=leaks) == line_of(recommend(replace(held, leak=leak), policy))


@given(st.integers(1, 1 << 44))
def test_sizes_are_written_exactly(size) -> None:
    rounded = round_up(size)
    assert rounded >= size
    number, unit = kubernetes_words(rounded)[:-2], kubernetes_words(rounded)[-2:]
    assert int(number) << {"Mi": 20, "Gi": 30}[unit] == rounded
    assert systemd_size(rounded) == kubernetes_words(rounded)[:-1]


def test_percentile_is_the_nearest_rank() -> None:
    assert [percentile([1, 2, 3, 4], p) for p in (1, 25, 50, 95, 100)] == [1, 1, 2, 4, 4]


@pytest.mark.parametrize(
    ("mib_a_step", "growth"), [(0.0, "steady"), (0.05, "growing"), (0.4, "leak")],
)  # fmt: skip
def test_growth_is_told_even_where_it_is_too_early_to_call_it_a_leak(mib_a_step, growth) -> None:
    from oomsight.rightsize.growth import judged

    random, step, now = Random(3), 600, 1_700_000_000.0
    times = [now - (1152 - n) * step for n in range(1152)]
    values = [(100 + n * mib_a_step + random.random() * 8) * (1 << 20) for n in range(1152)]
    usage = Usage(subject=Subject(kind="container", name="x"), source="", needs=(Series(times, values, (), step),),
                  limit_bytes=1 << 30)  # fmt: skip
    leak = judged(usage, now).leak
    assert leak.growth == growth
    assert bool(leak.words) == (growth != "steady")
