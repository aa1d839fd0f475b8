"""oomsight.kernel.release"""

import pytest

from oomsight.kernel.release import NEWEST, in_range, overlaps, parse_release, release_text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("5.10.0-8-amd64", (5, 10, 0)),
        ("2.6.32-754.el6.x86_64", (2, 6, 32)),
        ("6.18+deb14-amd64", (6, 18)),
        (" 4.15.18 ", (4, 15, 18)),
        ("linux", None),
        ("", None),
        (None, None),
    ],
)
def test_parse_release_reads_leading_numbers(text, key):
    assert parse_release(text) == key


def test_in_range_contains_sublevels_of_last_line():
    assert in_range((4, 14, 74), (4, 0), (4, 14))
    assert not in_range((4, 15), (4, 0), (4, 14))
    assert not in_range((3, 19, 8), (4, 0), (4, 14))
    assert in_range(NEWEST, (5, 9), None)


def test_overlaps_touching_and_open_ranges():
    assert overlaps((4, 15), (6, 7), (5, 9), None)
    assert overlaps((6, 8), None, (5, 9), None)
    assert overlaps((4, 0), (4, 14), (4, 14, 74), None)
    assert not overlaps((4, 0), (4, 14), (4, 15), (4, 16))


def test_release_text_names_open_end():
    assert release_text((5, 10)) == "5.10"
    assert release_text(None) == "now"
    assert release_text(NEWEST) == "now"
