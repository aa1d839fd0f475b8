"""Every line number told is that of a line that says so: in the goldens exactly, in pasted excerpts within the wrapping."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.naming.marked import unmark
from oomsight.report import parse_text

from .goldens import NAMES, carriers, incidents, log

if TYPE_CHECKING:
    from oomsight.diagnose.model import Evidence, Incident
    from oomsight.report.model import OomReport

EXCERPTS = sorted((Path(__file__).parent.parent / "excerpts" / "logs").glob("*"))
_WRAPPED_LINES = 5  # of a paste over which one line of the kernel's may go
# What the line of a landmark says, whatever the kernel.
_LANDMARKS = {
    "head": r"oom-killer|allocation|vmalloc", "oom_kill": r"oom-kill", "kill": r"[Kk]ill|Detected|SIG|Reclaim|container oom",
    "meminfo": r"Mem-[Ii]nfo|free:|active_anon:|Active:",
    "reaper": "oom_reaper", "table_header": r"\bpid\b", "cpu": r"CPU|Pid",
}  # fmt: skip


def _claims(report: OomReport) -> Iterator[tuple[int, str]]:
    """(line number, pattern that the line must show) of everything a report says about where it stands."""
    for name, line in report.lines.items():
        if name in _LANDMARKS:
            yield line, _LANDMARKS[name]
    for process in (*report.victims, *report.killed, *([report.selected] if report.selected else [])):
        if process.line is not None and process.pid is not None and report.killer != "nohang":
            yield process.line, rf"(?<!\d){process.pid}(?!\d)"
    for task in report.tasks:
        yield task.line, rf"(?<!\d){task.pid}(?!\d)"
    if report.meminfo is not None:
        for zone in report.meminfo.zones:
            if zone.line is not None:
                yield zone.line, rf"\b{zone.name}\b"
    if report.memcg is not None and report.memcg.first_line is not None:
        yield report.memcg.first_line, r"usage|Memory cgroup|Task in|limit of|oom_memcg|\w+[: ]\d+"


def _told(incident: Incident) -> Iterator[tuple[int, int, str]]:
    """(first line, last line, pattern) of every process that evidence names together with a line."""
    if incident.report.killer == "nohang":
        return  # it describes its victim above the line that says what was done
    evidence: list[Evidence] = [e for cause in incident.causes for e in cause.evidence]
    for fact in evidence:
        pids = re.findall(r"\(pid (\d+)\)", unmark(fact.text))
        if fact.first_line is not None and len(pids) == 1:
            yield fact.first_line, fact.last_line or fact.first_line, rf"(?<!\d){pids[0]}(?!\d)"


def _missing(text: list[str], claims: Iterator[tuple[int, int, str]], more: int) -> list[tuple[int, str, str]]:
    wrong = []
    for first, last, pattern in claims:
        part = text[first - 1 : last + more]
        if not any(re.search(pattern, glue.join(part)) for glue in ("\n", "", " ")):
            wrong.append((first, pattern, part[0][:200] if part else "behind the end"))
    return wrong


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogateescape").split("\n")


@pytest.mark.parametrize("golden", NAMES)
def test_a_golden_says_on_that_line_what_is_told_of_it(golden: str) -> None:
    more = int("weird" in golden)  # a name with a line end in it goes on in the next line
    for carrier in carriers(golden):
        text = _lines(log(golden, carrier))
        found = incidents(golden, carrier)
        claims = [(line, line, pattern) for i in found for line, pattern in _claims(i.report)]
        assert claims
        assert _missing(text, iter([*claims, *(told for i in found for told in _told(i))]), more) == []


@pytest.mark.parametrize("path", EXCERPTS, ids=lambda path: path.stem)
def test_an_excerpt_says_near_that_line_what_is_told_of_it(path: Path) -> None:
    data = path.read_bytes()
    text = [re.sub(r"^[> ]+|[=,]$", "", line) for line in _lines(data)]
    for report in parse_text(data):
        incident = explain_report(report)
        claims = [(line, line, pattern) for line, pattern in _claims(report)]
        assert _missing(text, iter([*claims, *_told(incident)]), _WRAPPED_LINES) == []


def test_an_event_listed_below_another_is_told_by_its_own_line() -> None:
    # kubectl get events: neither line is the kernel's, so no line continues the one above.
    text = (
        "default  Warning  web.16491643  2020-11-27T17:09:24+08:00  Failed      Error: ImagePullBackOff\n"
        "default  Warning  node3.164b58  2020-11-27T19:01:09+08:00  SystemOOM   System OOM encountered, victim process: stress,"
        " pid: 16713\n"
        "default  Warning  node3.164b59  2020-11-27T19:01:27+08:00  OOMKilling  Out of memory: Kill process 16711 (stress)"
        " score 205 or sacrifice child Killed process 16711 (stress), UID 0, total-vm:826516kB, anon-rss:819300kB\n"
        "default  Warning  web.164b519c  2020-11-27T16:57:05+08:00  Deadline    Job was active longer than specified deadline\n"
    )
    assert [(r.source.first_line, r.source.last_line) for r in parse_text(text)] == [(2, 2), (3, 3)]
