"""Nothing gets lost in a large log: what a text says alone it says among a million ordinary lines, too."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oomsight.report import parse_text
from oomsight.sources.scan import scan

from ..golden.goldens import NAMES, carriers, log

if TYPE_CHECKING:
    from oomsight.report.model import OomReport

EXCERPTS = sorted((Path(__file__).parent.parent / "excerpts" / "logs").glob("*"))
# Rows of which none is root's; words that have no needle: of nohang before 0.1, of the output of one LSF job, the
# statistics of a cgroup whose usage and everything else of the report were cut off.
LOST = {
    "nginx-rows-with-wall-clock", "rows-with-blank-lines", "php-fpm-rows-only", "nohang-send-month-in-russian",
    "lsf-term-memlimit", "talos-rows-without-address", "kata-guest-memory-in-shmem",
}  # fmt: skip
# Damaged pastes: what surrounds them decides which reading is tried; the event stays, one of its lines may not.
LESS = {"gcp-serial-escaped", "kubevirt-container-disk", "kubevirt-wrapped-in-prose", "mesos-block-cut"}
SAMPLED = 4  #: one golden in so many, one more piece of each


def ordinary(rng: random.Random) -> bytes:
    """Somewhat more than half a MiB of lines about something else."""
    pool = (
        b"nginx[77]: 203.0.113.7 - - \"GET /room/%d/photos?zoom=3 HTTP/1.1\" 200 17 \"-\" \"okhttp/4.12.0\"",
        b"kernel: [%d.078316] TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.",
        b"java[5]: [GC (Allocation Failure) 532781K->%dK(536877K), 0.0314 secs]",
        b"indexer[9]: segment %d rebuilt, memory 503 MiB, process 9 healthy",
    )
    return b"".join(b"Nov  1 00:00:19 web-07 " + rng.choice(pool) % rng.randrange(10**6) + b"\n" for _ in range(7000))


RNG = random.Random(12)
BEFORE, BEHIND = ordinary(RNG), ordinary(RNG)
assert len(BEFORE) + len(BEHIND) > 1 << 20


def told(reports: list[OomReport], above: int = 0) -> list[tuple[object, ...]]:
    """What counts of *reports*, whose text stands below *above* other lines."""
    return [
        (
            r.kind, r.source.first_line - above, r.source.last_line - above, [(v.pid, v.comm) for v in r.victims],
            r.complete, len(r.tasks), r.oom_memcg, r.constraint, r.meminfo is None, r.memcg is None,
        )
        for r in reports
    ]  # fmt: skip


def in_large(text: bytes) -> list[tuple[object, ...]]:
    """What is found of *text* in the middle of a large log."""
    windows = list(scan([BEFORE, text, BEHIND]))
    found = [report for w in windows for report in parse_text(w.data, first_line=w.first_line)]
    return told(found, BEFORE.count(b"\n"))


@pytest.mark.parametrize("path", [path for path in EXCERPTS if path.stem not in LOST], ids=lambda path: path.stem)
def test_excerpt_says_the_same_in_a_large_log(path: Path) -> None:
    text = path.read_bytes().rstrip(b"\n") + b"\n"
    large, small = in_large(text), told(parse_text(text))
    assert [one[3:7] for one in large] == [one[3:7] for one in small]
    assert large == small or path.stem in LESS


@pytest.mark.parametrize("path", [path for path in EXCERPTS if path.stem in LOST], ids=lambda path: path.stem)
def test_excerpt_known_to_be_lost_in_part_still_is(path: Path) -> None:
    text = path.read_bytes().rstrip(b"\n") + b"\n"
    assert in_large(text) != told(parse_text(text))  # else take it off the list


@pytest.mark.parametrize("golden", [n for n in NAMES if zlib.crc32(n.encode()) % SAMPLED == 0])
def test_golden_says_the_same_in_a_large_log(golden: str) -> None:
    for carrier in carriers(golden):
        text = log(golden, carrier).rstrip(b"\n") + b"\n"
        assert in_large(text) == told(parse_text(text)), carrier
