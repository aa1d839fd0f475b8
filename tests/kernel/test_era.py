"""The rule a report was made by, from its shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.kernel.badness import BADNESS_RULES
from oomsight.kernel.era import rule_for_shape

COLUMNS = {
    "6.8": ("uid", "tgid", "total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "swapents",
            "oom_score_adj", "name"),
    "4.15": ("uid", "tgid", "total_vm", "rss", "pgtables_bytes", "swapents", "oom_score_adj", "name"),
    "4.0": ("uid", "tgid", "total_vm", "rss", "nr_ptes", "nr_pmds", "swapents", "oom_score_adj", "name"),
    "3.6": ("uid", "tgid", "total_vm", "rss", "nr_ptes", "swapents", "oom_score_adj", "name"),
    "2.6.36": ("uid", "tgid", "total_vm", "rss", "cpu", "oom_adj", "oom_score_adj", "name"),
    "2.6.32": ("uid", "tgid", "total_vm", "rss", "cpu", "oom_adj", "name"),
}  # fmt: skip
NEW_KILL = frozenset({"total-vm", "anon-rss", "file-rss", "shmem-rss", "UID", "pgtables", "oom_score_adj"})
MID_KILL = frozenset({"total-vm", "anon-rss", "file-rss", "shmem-rss"})
OLD_KILL = frozenset({"total-vm", "anon-rss", "file-rss"})


@pytest.mark.parametrize(
    ("columns", "line", "kill", "gfp", "release", "name", "why"),
    [
        ("6.8", True, NEW_KILL, "E", None, "5.9", "rss_anon"),
        ("4.0", False, MID_KILL, "B", "3.10.0", "4.0", "nr_pmds"),  # shape beats a nonsense release
        ("4.15", True, NEW_KILL, "E", "5.4.0-42-generic", "4.17", "release 5.4.0 decides"),
        ("4.15", True, NEW_KILL, "E", "6.1.0-18-amd64", "5.9", "release 6.1.0 decides"),
        ("4.15", True, NEW_KILL, "E", None, "5.9", "newest is assumed"),
        ("4.15", True, MID_KILL, "D", None, "4.17", "oom-kill: line"),
        ("4.15", False, MID_KILL, "C", "4.15.0-112-generic", "4.15", "release 4.15.0 decides"),
        ("4.15", False, MID_KILL, "C", None, "4.17", "newest is assumed"),
        ("3.6", False, OLD_KILL, "A", "3.10.0-1160.el7.x86_64", "3.5", "release 3.10.0 decides"),
        ("3.6", False, OLD_KILL, "A", "3.16.0-4-amd64", "3.14", "release 3.16.0 decides"),
        ("3.6", False, OLD_KILL, "A", None, "3.14", "newest is assumed"),
        # RHEL 6 calls itself 2.6.32 and prints the columns of 2.6.36
        ("2.6.36", False, OLD_KILL, "A", "2.6.32-754.el6.x86_64", "3.2", "RHEL 6 took"),
        ("2.6.32", False, frozenset({"vsz"}), "A", None, "2.6.32", "only oom_adj"),
        (None, False, frozenset({"total-vm"}), None, "4.4.0-21", "4.0", "release 4.4.0 decides"),
        (None, False, frozenset(), None, None, "5.9", "newest is assumed"),
    ],
)  # fmt: skip
def test_rule_for_shape_prefers_shape_then_release(columns, line, kill, gfp, release, name, why):  # noqa: PLR0917
    rule, words = rule_for_shape(COLUMNS.get(columns), line, kill, gfp, release)
    assert rule.name == name
    assert why in words


def test_rule_for_shape_contradiction_keeps_the_table_and_says_so():
    rule, words = rule_for_shape(COLUMNS["3.6"], True, NEW_KILL, "E", None)
    assert rule.name == "3.14"
    assert "although there is an oom-kill: line (>= 5.0)" in words


@given(
    st.none() | st.lists(st.sampled_from([*COLUMNS["6.8"], "nr_ptes", "nr_pmds", "oom_adj", "x"])).map(tuple),
    st.booleans(), st.frozensets(st.sampled_from([*NEW_KILL, "vsz", "score"])),
    st.none() | st.sampled_from(["A0", "A", "B", "C", "D", "E", "?"]), st.none() | st.text(max_size=12),
)  # fmt: skip
def test_rule_for_shape_always_answers(columns, line, kill, gfp, release):
    rule, words = rule_for_shape(columns, line, kill, gfp, release)
    assert rule in BADNESS_RULES
    assert words
