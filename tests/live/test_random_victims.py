"""Real OOM kills in a limited scratch cgroup: the process that dies is the one ``score`` names."""

from __future__ import annotations

from collections import Counter

import pytest

from .random_victims import missing_right, run_trials

pytestmark = pytest.mark.live


def test_victim_of_random_trees_is_the_predicted_one():
    """The short form; ``python -m tests.live.random_victims --trials 200`` is the long one."""
    if (reason := missing_right()) is not None:
        pytest.skip(reason)
    trials = run_trials(12, seed=20260101)
    assert [trial.words for trial in trials if trial.verdict == "miss"] == []
    assert Counter(trial.verdict for trial in trials)["exact"] >= 6
