"""Texts of machines and stores that few people have: stacks of POWER, dumps that pstore kept, serial lines."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

from oomsight.report import parse_text
from oomsight.report.model import EventKind

CONSOLE = gzip.decompress((Path(__file__).parent.parent / "golden" / "7.3.4-memcg_nested" / "console.gz").read_bytes())
# The shape of openshift/installer pull request 3396, RHEL 8 on ppc64le; addresses are made up.
POWER = """\
hyperkube invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), nodemask=(null), order=0, oom_score_adj=-999
CPU: 1 PID: 1888 Comm: hyperkube Not tainted 4.18.0-147.5.1.el8_1.ppc64le #1
Call Trace:
[c0000000556a7680] [c000000000d1e21c] dump_stack+0xb0/0xf4 (unreliable)
[c0000000556a76c0] [c0000000003a7c44] dump_header+0x7c/0x478
[c0000000556a7790] [c0000000003f2210] mem_cgroup_out_of_memory+0x150/0x170
"""


def told(text: bytes) -> list[tuple[object, ...]]:
    return [
        (r.kind, r.trigger and r.trigger.frames, [(v.pid, v.comm) for v in r.victims], r.memcg and r.memcg.memory, len(r.tasks))
        for r in parse_text(text)
    ]


def test_a_stack_of_power_is_read() -> None:
    (report,) = parse_text(POWER)
    assert report.trigger is not None
    assert report.trigger.frames == ("dump_stack", "dump_header", "mem_cgroup_out_of_memory")
    assert (report.kind, report.source.last_line) == (EventKind.MEMCG, 6)


def test_parts_that_pstore_kept_are_put_in_order() -> None:
    lines = [b"<6>" + line for line in CONSOLE.splitlines(keepends=True)]
    parts: list[list[bytes]] = [[]]
    for line in reversed(lines):  # the kernel fills part 1 with the end of the log
        if sum(map(len, parts[-1])) + len(line) > 2000:
            parts.append([])
        parts[-1].insert(0, line)
    named = [b"Panic#2 Part%d\n" % number + b"".join(part) for number, part in enumerate(parts, 1)]
    assert len(named) > 5
    assert told(b"".join(named)) == told(b"".join(lines)) != []
    random.Random(1).shuffle(named)  # as the shell sorts dmesg-efi-1, -10, -2
    assert told(b"".join(named)) == told(b"".join(lines))


def test_a_dump_of_one_part_and_talk_of_parts_change_nothing() -> None:
    assert told(b"Panic#1 Part1\n" + CONSOLE) == told(CONSOLE)
    assert told(CONSOLE + b"see Oops#1 Part1 and Oops#1 Part2\n") == told(CONSOLE)


def test_line_ends_of_serial_consoles_change_nothing() -> None:
    assert told(CONSOLE.replace(b"\n", b"\r\r\n")) == told(CONSOLE.replace(b"\n", b"\r\n")) == told(CONSOLE)


def test_lost_characters_lose_no_kill_and_make_none() -> None:
    killed = [one[2] for one in told(CONSOLE)]
    for seed in range(20):
        lucky = random.Random(seed)
        lossy = bytes(byte for byte in CONSOLE if byte == 0x0A or lucky.random() > 0.0005)
        found = [one[2] for one in told(lossy)]
        assert len(found) <= len(killed) + 2
        pids = {pid for victims in found for pid, _ in victims}
        assert len(pids & {118, 120}) >= 1, seed
