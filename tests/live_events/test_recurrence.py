"""The same story again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from oomsight.live.recurrence import Place, day_words, ordinal, places, sentence

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_places_number_within_a_run_and_start_again_after_a_quiet_week() -> None:
    times = [MONDAY, MONDAY + timedelta(days=2), MONDAY + timedelta(days=3), MONDAY + timedelta(days=11)]
    found = places([(f"e{i}", t, "x") for i, t in enumerate(times)] + [("y0", MONDAY, "y")])
    assert [(found[f"e{i}"].number, found[f"e{i}"].count) for i in range(4)] == [(1, 3), (2, 3), (3, 3), (1, 1)]
    assert found["e2"].first == MONDAY
    assert found["y0"] == Place(1, 1, MONDAY)


@pytest.mark.parametrize(
    ("days", "words"),
    [(0, "7th kill of api in web today, same cause."), (1, "7th kill of api in web since yesterday, same cause."),
     (3, "7th kill of api in web since Friday, same cause."), (30, "7th kill of api in web since 2026-10-24, same cause.")],
)  # fmt: skip
def test_sentence_names_the_day(days, words) -> None:
    assert sentence(Place(7, 8, MONDAY - timedelta(days=days)), "api", "web", MONDAY) == words


def test_sentence_of_a_single_kill_is_none() -> None:
    assert sentence(Place(1, 1, MONDAY), "api", None, MONDAY) is None


@pytest.mark.parametrize(("n", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (21, "21st"), (113, "113th")])
def test_ordinal(n, text) -> None:
    assert ordinal(n) == text


def test_day_words_is_of_the_readers_zone() -> None:
    assert day_words(MONDAY - timedelta(days=6), MONDAY) == "Tuesday"
