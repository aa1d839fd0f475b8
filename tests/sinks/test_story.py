"""What is told, in which order, and what is left out."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from oomsight.diagnose.model import Advice, Cause, Confidence
from oomsight.naming.marked import mark, unmark
from oomsight.report.model import Victim
from oomsight.sinks.blocks import Bullets, Code, Heading, KeyValues, Paragraph, human_kib, human_pct
from oomsight.sinks.story import MAX_VICTIMS, story

from .incident_samples import empty_incident, host_incident, killer_incident, pod_incident


def _code(blocks) -> list[str]:
    return [
        b.text
        for list_ in blocks
        if isinstance(list_, Bullets)
        for item in list_.items
        for b in item.below
        if isinstance(b, Code)
    ]


def _with_advice(*advice: Advice):
    incident = host_incident()
    incident.causes = [Cause("x", "X", Confidence.CERTAIN, advice=list(advice))]
    return incident


def test_story_sections_in_the_order_of_the_questions() -> None:
    titles = [b.text for b in story(host_incident(), level="evidence") if isinstance(b, Heading) and b.level == 2]
    assert titles == [
        "What used too much memory",
        "Why did it grow",
        "Why did nothing stop it earlier",
        "Why this process",
        "The request that could not be served",
        "Causes",
        "What to change",
        "Notes on the text",
    ]


def test_story_leaves_out_what_is_not_known() -> None:
    blocks = story(empty_incident(), level="evidence")
    assert [type(b) for b in blocks] == [Heading, Paragraph, KeyValues]
    assert blocks[2].rows == (("Read from", "standard input, line 1"), ("Incident", "oom-aaaaaa"))


def test_story_request_only_where_it_matters() -> None:
    def has(incident, level="normal") -> bool:
        return any(isinstance(b, Heading) and b.text.startswith("The request") for b in story(incident, level=level))

    incident = host_incident()
    assert not has(incident)
    assert has(incident, "evidence")
    incident.causes[0].code = "fragmentation"
    assert has(incident)


def test_story_brief_is_brief() -> None:
    blocks = story(host_incident(), level="brief")
    assert [type(b) for b in blocks] == [Heading, Paragraph, Bullets, Paragraph]
    assert len(blocks[2].items) == 1


def test_story_command_is_quoted_for_the_shell() -> None:
    argv = ("systemctl", "set-property", "a b'; rm -rf $(x).service", "MemoryMax=1G")
    (line,) = _code(story(_with_advice(Advice("Do.", argv))))
    assert tuple(shlex.split(line)) == argv


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "\udcff", "a\u202eb", "\u0455shd", "x\u200b"])
def test_story_refuses_a_command_with_a_deceiving_name(name: str) -> None:
    blocks = story(
        _with_advice(Advice("Do.", ("kill", name)), Advice("Or.", snippet=f"[Service]\nExecStart={name}\x1b"))
    )
    assert _code(blocks) == []
    below = [b for list_ in blocks if isinstance(list_, Bullets) for item in list_.items for b in item.below]
    told = [b.text for b in below if isinstance(b, Paragraph)]
    assert told == [
        "(No command to copy: a name in it holds control or invisible characters.)",
        "(No text to copy: a name in it holds control or invisible characters.)",
    ]


def test_story_advice_of_several_causes_is_told_once() -> None:
    incident = host_incident()
    incident.causes = [Cause(code, code, Confidence.LIKELY, advice=[Advice("Same.", ("ls",))]) for code in "ab"]
    assert _code(story(incident)) == ["ls"]


@pytest.mark.parametrize(
    ("snippet", "language"),
    [("[Service]\nA=1", "ini"), ("resources:\n  limits: {}\n", "yaml"), ("vm.swappiness = 10", "text")],
)
def test_story_snippet_language(snippet: str, language: str) -> None:
    blocks = story(_with_advice(Advice("Do.", snippet=snippet)))
    codes = [
        b
        for list_ in blocks
        if isinstance(list_, Bullets)
        for item in list_.items
        for b in item.below
        if isinstance(b, Code)
    ]
    assert [(c.text, c.language) for c in codes] == [(snippet.rstrip("\n"), language)]


def test_story_counts_victims_beyond_the_first() -> None:
    incident = host_incident()
    incident.report.victims += [Victim(pid, "w", "group") for pid in range(1000, 1000 + MAX_VICTIMS + 2)]
    rows = next(b for b in story(incident) if isinstance(b, KeyValues)).rows
    killed = [value for key, value in rows if key == "Killed"]
    assert len(killed) == MAX_VICTIMS + 1
    assert killed[1] == f"{mark('w')} (pid 1000), with its whole cgroup (memory.oom.group)"
    assert killed[-1] == "and 3 more"


def test_story_of_a_userspace_kill_names_killer_signal_and_size() -> None:
    rows = next(b for b in story(killer_incident()) if isinstance(b, KeyValues)).rows
    key, value = rows[0]
    assert key == "Killed by earlyoom"
    assert value == f"{mark('postgres')} (pid 4242) in \x02g\x1f/system.slice/db.service\x03, 200.0 MiB, SIGTERM"


def test_story_passed_over_groups_names_by_reason() -> None:
    incident = host_incident()
    row = incident.selection.ranking[-1]
    extra = [("sshd", 2048, row.skipped), ("init", 4096, "init"), *((f"p{i}", i, row.skipped) for i in range(6))]
    incident.selection.ranking += [replace(row, comm=comm, rss_kib=kib, skipped=why) for comm, kib, why in extra]
    told = [b.text for b in story(incident) if isinstance(b, Paragraph) and b.text.startswith("Passed over")]
    assert unmark(told[0]) == (
        "Passed over (oom_score_adj -1000): 2 × sshd (2.0 MiB), p5 (5 KiB), p4 (4 KiB), p3 (3 KiB), p2 (2 KiB) and 2 more."
    )
    assert unmark(told[1]) == "Passed over (init): init (4.0 MiB)."


def test_story_limit_of_a_cgroup_in_words() -> None:
    rows = dict(next(b for b in story(pod_incident()) if isinstance(b, KeyValues)).rows)
    assert rows["Limit hit"] == "its own: 48.0 MiB used, 48.0 MiB allowed, 33 times at the limit"
    assert "Swap" not in rows  # unlimited and unused


@pytest.mark.parametrize(
    ("kib", "words"),
    [(0, "0 KiB"), (580, "580 KiB"), (1024, "1.0 MiB"), (48896, "47.8 MiB"), (1048575, "1.0 GiB"), (2**31, "2.0 TiB"), (-2048, "-2.0 MiB")],
)  # fmt: skip
def test_human_kib_picks_the_unit(kib: int, words: str) -> None:
    assert human_kib(kib) == words


@pytest.mark.parametrize(("part", "total", "words"), [(0, 10, "0 %"), (1, 1000, "<1 %"), (5, 10, "50 %"), (1, 0, "")])
def test_human_pct_never_rounds_something_to_nothing(part: int, total: int, words: str) -> None:
    assert human_pct(part, total) == words
