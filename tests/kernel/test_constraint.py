"""oomsight.kernel.constraint"""

import pytest

from oomsight.kernel.constraint import MEMCG_ERAS, memcg_era, t_global, t_memcg, t_nodes

LIMIT = 25600  # 100 MiB
SWAP = 51200  # 200 MiB
ERA = {row.how: row for row in MEMCG_ERAS}


def test_t_global_adds_all_swap():
    # Debian 6.1.192, scenario global_swap_disk: 81781 pages RAM, 10106 reserved, Total swap = 98300kB
    assert t_global(81781 - 10106, 98300 // 4) == (96250, "RAM 71,675 + swap 24,575 pages")


def test_t_nodes_adds_swap_in_full():
    assert t_nodes([1000, 2000], 500).pages == 3500
    assert "present" in t_nodes([1], 0).how
    assert "spanned" in t_nodes([1], 0, spanned=True).how


@pytest.mark.parametrize(
    ("release", "version", "how"),
    [((2, 6, 37), 1, "plain_bug"), ((3, 6, 5), 1, "plain"), ((4, 4), 1, "plain_swappiness"),
     ((5, 4), 2, "swap_max_and_memsw"), ((5, 10), 1, "v1"), ((6, 18), 2, "v2"), ((6, 18), 1, "v1")],
)  # fmt: skip
def test_memcg_era_by_release_and_version(release, version, how):
    assert memcg_era(release, version).how == how


@pytest.mark.parametrize(
    ("how", "more", "pages"),
    [
        ("v2", {"swap_max_pages": "unlimited"}, LIMIT + SWAP),
        ("v2", {"swap_max_pages": 1000}, LIMIT + 1000),
        ("v2", {"swap_max_pages": 0}, LIMIT),
        ("v2", {"swap_max_pages": 1000, "swappiness": 0}, LIMIT),
        ("v1", {"memsw_pages": LIMIT + 10}, LIMIT + 10),
        ("v1", {"memsw_pages": "unlimited"}, LIMIT + SWAP),
        ("v1", {"memsw_pages": "unlimited", "swappiness": 0}, LIMIT),
        ("swap_max_and_memsw", {"swap_max_pages": 1000, "memsw_pages": LIMIT + 10}, LIMIT + 10),
        ("swap_max_and_memsw", {"swap_max_pages": 1000, "memsw_pages": "unlimited"}, LIMIT + 1000),
        ("plain_swappiness", {"memsw_pages": LIMIT + 10}, LIMIT + 10),
        ("plain_swappiness", {"swappiness": 0}, LIMIT),
        ("plain", {"swappiness": 0}, LIMIT + SWAP),
        ("plain_bug", {}, LIMIT + SWAP // 4096),
    ],
)
def test_t_memcg_swap_allowance_by_era(how, more, pages):
    assert t_memcg(ERA[how], LIMIT, total_swap_pages=SWAP, **more).pages == pages


def test_t_memcg_zero_limit_is_one_page():
    assert t_memcg(ERA["v2"], 0, total_swap_pages=0).pages == 1


def test_t_memcg_says_when_swap_is_not_known():
    unknown = t_memcg(ERA["v2"], LIMIT, total_swap_pages=None)
    assert unknown.pages == LIMIT
    assert "not known" in unknown.how
    assert "not known" not in t_memcg(ERA["v2"], LIMIT, total_swap_pages=None, swap_max_pages=0).how
    assert "not known" not in t_memcg(ERA["v1"], LIMIT, total_swap_pages=None, memsw_pages=LIMIT).how


@pytest.mark.parametrize(
    ("how", "used", "bounds", "pages", "exact"),
    [
        ("v2", 300, {"swap_max_pages": 300}, LIMIT + 300, True),  # as much as it may have: no swap of the machine adds to it
        ("v2", 200, {"swap_max_pages": 300}, LIMIT + 200, False),
        ("v2", 200, {}, LIMIT + 200, False),
        ("v1", 300, {"memsw_pages": LIMIT + 300}, LIMIT + 300, True),
        ("v1", 0, {"memsw_pages": LIMIT}, LIMIT, True),
    ],
)
def test_t_memcg_where_only_the_swap_in_use_is_known(how, used, bounds, pages, exact):
    found = t_memcg(ERA[how], LIMIT, total_swap_pages=None, swap_used_pages=used, **bounds)
    assert found.pages == pages
    assert ("at least" not in found.how) is exact
