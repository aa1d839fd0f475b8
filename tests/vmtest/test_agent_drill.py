"""A drill and a group kill on cgroup v2, as the agent in a guest with 7.3 saw them (scenario agent_drill)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from oomsight.live.events import LogRecord
from oomsight.live.merge import Merger

DATA = Path(__file__).parent / "data/agent_drill"
KILLED = re.compile(r"Killed process (\d+) \((.+?)\) total-vm")


def _records() -> list[LogRecord]:
    found = []
    for line in (DATA / "kmsg.txt").read_text(errors="surrogateescape").splitlines():
        head, sep, text = line.partition(";")
        if not sep or line.startswith(" "):
            continue
        prio, seq, us = head.split(",")[:3]
        raw = f"{line}\n".encode("utf-8", "surrogateescape")
        found.append(LogRecord(raw, text, "/dev/kmsg", int(seq), int(us), "ab" * 16, int(prio) >> 3 == 0))
    return found


def test_every_link_of_the_drill_held_on_cgroup_v2() -> None:
    drill = json.loads((DATA / "drill.json").read_text())
    assert {link["name"]: link["outcome"] for link in drill["links"]} == dict.fromkeys(
        ("kill", "log", "counters", "names", "store", "channel told"), "ok"
    )
    assert drill["by_agent"]
    assert drill["verdict"].startswith("Your alert arrived after ")


def test_the_store_holds_what_the_kernel_killed() -> None:
    stored = json.loads((DATA / "incidents_list.json").read_text())
    group, drill = stored
    assert (drill["name"], drill["kills"], drill["place"]) == ("oomsight-drill", 1, drill["cgroup"].lstrip("/"))
    assert (group["name"], group["kills"], group["place"]) == ("pay-main", 2, "pay.service")
    lines = [match for record in _records() if (match := KILLED.search(record.text))]
    assert {match[1] for match in lines} >= {str(row["pid"]) for row in stored}
    assert len({match[1] for match in lines}) == sum(row["kills"] for row in stored) == 3


def test_the_kernel_counts_the_selected_process_of_a_group_twice_and_so_do_we() -> None:
    merger = Merger()
    for record in _records():
        merger.feed(record, 1.0)
    events = [event for event in merger.flush() if event.kills]
    counted = dict(line.split() for line in (DATA / "memory.events.txt").read_text().splitlines())
    group = events[-1]
    assert (len(group.kills), group.repeats) == (2, 1)
    assert int(counted["oom_kill"]) == len(group.kills) + group.repeats
    assert counted["oom_group_kill"] == "1"
