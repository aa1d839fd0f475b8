"""oomsight.kernel.counters"""

import pytest

from oomsight.kernel.counters import COUNTER_ERAS, counter_era, counter_error_pages

EXACT, SPLIT, PERCPU, SUM = COUNTER_ERAS


@pytest.mark.parametrize(
    ("release", "kind"),
    [((2, 6, 33), "exact"), ((2, 6, 34), "split_rss"), ((6, 1, 192), "split_rss"), ((6, 2), "percpu"), ((6, 19), "percpu"), ((7, 3, 4), "percpu_sum")],
)
def test_counter_era_by_release(release, kind):
    assert counter_era(release).kind == kind


@pytest.mark.parametrize(
    ("era", "cpus", "threads", "pages"),
    [
        (EXACT, None, None, 0),
        (SPLIT, 128, 3, 192),
        (SPLIT, 128, None, None),
        (PERCPU, 2, 50, 64),
        (PERCPU, 16, None, 512),
        (PERCPU, 128, None, 32768),
        (PERCPU, None, 50, None),
        (SUM, 128, 50, 0),
    ],
)
def test_counter_error_pages_bound(era, cpus, threads, pages):
    assert counter_error_pages(era, cpus, threads) == pages


def test_counter_era_says_where_proc_shows_the_same_number():
    assert [era.rss_from for era in COUNTER_ERAS] == ["stat", "stat", "stat", "status"]
