"""A log cut by its rotation in the middle of a report: each event once, told from both files."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from oomsight.pipeline.query import Query
from oomsight.pipeline.run import explain_sources, incident_of
from oomsight.pipeline.seams import Part, join
from oomsight.report import Clock, parse_text
from oomsight.sinks.document import incident_json
from oomsight.sources.files import FileSource, expand

from ..golden.goldens import NAMES, log
from .events import NOW, ago, event, syslog

FILLER = "Nov 23 09:43:58 web nginx[77]: GET /rooms/12?zoom=3 200 from 203.0.113.7 in a while\n"
CAPTURES = [name for name in NAMES if 4_000 < len(log(name)) < 40_000][::6]


def explain(*paths: Path | str) -> list[dict]:
    """Incidents in *paths* as JSON, newest first; nothing may go wrong."""
    clock = Clock(reference=NOW.replace(tzinfo=None))
    files = [FileSource(ref) for ref in expand(list(map(str, paths)))]
    with explain_sources(files, Query(), now=NOW, clock_of=lambda _: clock, jobs=1) as run:
        assert [result.error for result in run.sources] == [None] * len(files)
        kept = [json.loads(incident_json(incident_of(entry, run))) for entry in run.entries]
        for entry in run.entries:
            entry.incident = None  # made again from its window, it is the same
        assert [json.loads(incident_json(incident_of(entry, run))) for entry in run.entries] == kept
    return kept


def told(incident: dict) -> dict:
    """What an incident says, without where it was read."""
    drop = {"source", "notes", "recurrence", "evidence"}
    text = json.dumps({k: v for k, v in incident.items() if k not in drop}, sort_keys=True)
    return json.loads(text, object_hook=lambda d: {k: v for k, v in d.items() if "line" not in k and k != "evidence"})


def rotated(folder: Path, data: bytes, at: int, older: str = "kern.log.1", newer: str = "kern.log") -> tuple[Path, Path]:
    """*data* in two files, the first *at* lines in the older."""
    lines = data.splitlines(keepends=True)
    first, second = folder / older, folder / newer
    for path, part in ((first, lines[:at]), (second, lines[at:])):
        text = b"".join(part)
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return first, second


@pytest.mark.parametrize("name", CAPTURES)
def test_a_real_log_cut_at_every_tenth_line_says_the_same(name: str, tmp_path: Path) -> None:
    data = log(name)
    whole = tmp_path / "whole.log"
    whole.write_bytes(data)
    expected = [told(incident) for incident in explain(whole)]
    assert expected
    for at in range(10, len(data.splitlines()), 10):
        rotated(tmp_path, data, at)
        found = explain(tmp_path / "kern.log.1", tmp_path / "kern.log")
        assert [told(incident) for incident in found] == expected, at


@pytest.mark.parametrize(
    ("older", "newer"),
    [("kern.log.1", "kern.log"), ("kern.log.2.gz", "kern.log.1"), ("messages-20261121", "messages-20261128"), ("messages-20261128.gz", "messages")],
)
def test_both_files_are_named_and_lines_count_on(older: str, newer: str, tmp_path: Path) -> None:
    data = (FILLER * 30 + syslog(event(42), ago(hours=1), 77.0) + FILLER * 30).encode()
    first, second = rotated(tmp_path, data, 35, older, newer)
    (incident,) = explain(second, first)
    assert incident["source"] == {"name": f"{first} + {second}", "first_line": 31, "last_line": 42}
    (note,) = [n for n in incident["notes"] if n["code"] == "log_rotated"]
    assert "36 is the first line of the newer file" in note["text"]


def test_events_before_and_after_stay_in_their_files(tmp_path: Path) -> None:
    texts = [syslog(event(pid), ago(hours=5 - pid), 1000.0 * pid) for pid in (1, 2, 3)]
    data = (FILLER * 3).join(["", *texts, ""]).encode()
    first, second = rotated(tmp_path, data, 3 + 12 + 3 + 5)
    found = {i["victims"][0]["pid"]: i["source"] for i in explain(first, second)}
    assert found[1] == {"name": str(first), "first_line": 4, "last_line": 15}
    assert found[2] == {"name": f"{first} + {second}", "first_line": 19, "last_line": 30}
    assert found[3] == {"name": str(second), "first_line": 34 - 23, "last_line": 45 - 23}


def test_large_files_are_joined_too(tmp_path: Path) -> None:
    data = (FILLER * 20_000 + syslog(event(42), ago(hours=1), 77.0) + FILLER * 20_000).encode()
    first, second = rotated(tmp_path, data, 20_006)
    (incident,) = explain(first, second)
    assert incident["complete"]
    assert (incident["source"]["first_line"], incident["source"]["last_line"]) == (20_001, 20_012)


def test_a_line_cut_in_two_is_whole_again(tmp_path: Path) -> None:
    data = (FILLER * 5 + syslog(event(42), ago(hours=1), 77.0) + FILLER * 5).encode()
    for at in range(data.index(b"invoked"), data.index(b"Killed process") + 60, 97):
        (tmp_path / "kern.log.1").write_bytes(data[:at])
        (tmp_path / "kern.log").write_bytes(data[at:])
        (incident,) = explain(tmp_path)
        assert incident["complete"], at
        assert [v["pid"] for v in incident["victims"]] == [42]


def test_another_log_or_a_missing_rotation_is_not_joined(tmp_path: Path) -> None:
    data = (FILLER * 30 + syslog(event(42), ago(hours=1), 77.0) + FILLER * 30).encode()
    for older, newer in (("kern.log.1", "messages"), ("kern.log.3", "kern.log.1")):
        first, second = rotated(tmp_path, data, 35, older, newer)
        found = explain(first, second)
        assert {i["source"]["name"] for i in found} == {str(first), str(second)}
        first.unlink()
        second.unlink()


@pytest.mark.parametrize(
    ("names", "follows"),
    [
        (["k.log", "k.log.1", "k.log.2.gz"], {"k.log": "k.log.1", "k.log.1": "k.log.2.gz"}),
        (["k.log", "k.log.2"], {}),
        (["k.log.1", "k.log.1.gz"], {}),
        (["k.log", "k.log.0"], {"k.log": "k.log.0"}),
        (["k.log", "k.log.old"], {"k.log": "k.log.old"}),
        (["m", "m-20261121", "m-20261128.xz"], {"m": "m-20261128.xz", "m-20261128.xz": "m-20261121"}),
        (["a.log", "b.log"], {}),
    ],
)
def test_which_file_goes_on_from_which(names: list[str], follows: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in names:
        Path(name).write_text("x\n", encoding="utf-8")
    assert {ref.name: ref.follows for ref in expand(names) if ref.follows} == follows


def test_what_begins_with_a_head_is_not_even_read_together() -> None:
    one, two = syslog(event(1), ago(hours=2), 10.0).encode(), syslog(event(2), ago(hours=1), 900.0).encode()
    assert join(Part(1, one), Part(1, two), 12, ("a.1", "a"), Clock()) is None
    cut = two[two.index(b"\n") + 1 :]
    assert join(Part(1, one), Part(1, cut), 12, ("a.1", "a"), Clock()) is None  # another event's: no seam
    assert len(parse_text(cut)) == 1


def test_a_file_that_cannot_be_read_costs_nothing_of_the_one_before(tmp_path: Path) -> None:
    data = syslog(event(42), ago(hours=1), 77.0).encode()
    first, second = rotated(tmp_path, data + FILLER.encode(), 12)
    second.unlink()
    os.mkfifo(second)  # a directory walk leaves it out
    (incident,) = explain(tmp_path)
    assert incident["source"]["name"] == str(first)
