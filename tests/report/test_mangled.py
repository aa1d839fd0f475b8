"""Damaged logs: what is still in the text must come out right, what is not must be absent, nothing may be invented."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from oomsight.report import parse_text

from ..golden.goldens import log
from .mangle import CARRIERS, DAMAGE, Message, interleave, messages, printk, text, with_noise

if TYPE_CHECKING:
    from oomsight.report.model import OomReport

# A cgroup kill of a task that did not ask, a host-wide one of an old kernel, a group kill, a NUMA one, cgroup v1.
GOLDENS = ("6.18.15-memcg_nested", "5.10.262-global_swap_zram", "6.12.107-memcg_group", "7.3.4-numa_cpuset", "6.1.192-memcg_v1")

Facts = dict[str, object]


@cache
def source(golden: str) -> tuple[Message, ...]:
    return tuple(messages(log(golden, "dmesg").decode()))


def facts(report: OomReport) -> list[Facts]:
    """What must survive, per victim."""
    t, memory = report.trigger, report.memcg and report.memcg.memory
    return [
        {
            "pid": v.pid, "comm": v.comm, "total_vm": v.total_vm_kib, "anon": v.anon_rss_kib, "file": v.file_rss_kib,
            "shmem": v.shmem_rss_kib, "pgtables": v.pgtables_kib, "uid": v.uid, "adj": v.oom_score_adj, "role": v.role,
            "trigger": t and t.comm, "gfp": t and t.gfp_mask, "order": t and t.order, "trigger_adj": t and t.oom_score_adj,
            "oom_memcg": report.oom_memcg, "constraint": report.constraint, "usage": memory and memory.usage_kib,
            "limit": memory and memory.limit_kib,
        }
        for v in report.victims
    ]  # fmt: skip


def found(data: str) -> list[Facts]:
    return [f for r in parse_text(data) for f in facts(r)]


@cache
def want(golden: str) -> tuple[Facts, ...]:
    return tuple(found(text(source(golden))))


def check_same(data: str, golden: str) -> None:
    """*data* gives the facts of the log that was put in, and reports as whole as those of the log itself."""
    reports = parse_text(data)
    assert [f for r in reports for f in facts(r)] == list(want(golden))
    plain = parse_text(text(source(golden)))
    assert [len(r.tasks) for r in reports] == [len(r.tasks) for r in plain]
    assert [r.complete for r in reports] == [r.complete for r in plain]


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_carrier_keeps_everything(carrier: str, golden: str) -> None:
    check_same(CARRIERS[carrier](source(golden)), golden)


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_loses_nothing(damage: str, golden: str) -> None:
    assert found(DAMAGE[damage](text(source(golden)))) == list(want(golden))


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", ["bare", "journal-short", "rfc3164", "dmesg-T-C"])
@pytest.mark.parametrize("damage", ["mail", "crlf", "blank-lines", "tabs", "thousands-comma", "wrap-blanks-76", "indented", "wrap-blanks-120"])
def test_damage_of_other_carriers_loses_nothing(damage: str, carrier: str, golden: str) -> None:
    assert found(DAMAGE[damage](CARRIERS[carrier](source(golden)))) == list(want(golden))


def check_part(got: list[Facts], golden: str) -> None:
    """Every victim found is one of the log's; each fact is right or absent."""
    known = {f["pid"]: f for f in want(golden)}
    for f in got:
        assert f["pid"] in known, f"invented victim {f['pid']}"
        whole = known[f["pid"]]
        for key, value in f.items():
            if key == "role":
                continue
            assert value is None or value == whole[key], (key, value, whole[key])


@pytest.mark.parametrize("golden", GOLDENS)
def test_cut_at_every_line_head(golden: str) -> None:
    """The beginning is missing (the ring buffer wrapped): no trigger rather than a wrong one, no kill lost."""
    lines = source(golden)
    for start in range(len(lines)):
        rest = lines[start:]
        got = found(text(rest))
        check_part(got, golden)
        killed = [f["pid"] for f in want(golden) if any(f"Killed process {f['pid']} (" in m.text for m in rest)]
        # Of a group kill the first victim is named again at the end; without its first line it is found there.
        assert sorted(map(str, (f["pid"] for f in got))) == sorted(map(str, killed)), start
        for f in got:
            above = rest[: _kill_at(rest, f["pid"])]
            heads = any("invoked oom-killer" in m.text for m in above)
            # Below the head the CPU line says who asked, with a stack that is the killer's behind it.
            asks = any(" Comm: " in m.text for m in above) and any("dump_header" in m.text for m in above)
            assert (f["trigger"] is not None) is (heads or asks), (start, f["pid"])


def _kill_at(lines: tuple[Message, ...], pid: object) -> int:
    return next(i for i, m in enumerate(lines) if f"Killed process {pid} (" in m.text)


@pytest.mark.parametrize("golden", GOLDENS)
def test_cut_at_every_line_tail(golden: str) -> None:
    """The end is missing: no victim before its kill line, whatever the report above it says."""
    lines = source(golden)
    for end in range(len(lines)):
        got = found(text(lines[:end]))
        check_part(got, golden)
        killed = [f["pid"] for f in want(golden) if any(f"Killed process {f['pid']} (" in m.text for m in lines[:end])]
        assert [f["pid"] for f in got] == killed, end


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", ["dmesg", "bare", "kmsg"])
def test_every_single_line_missing(carrier: str, golden: str) -> None:
    lines = source(golden)
    for gone in range(len(lines)):
        rest = [m for i, m in enumerate(lines) if i != gone]
        got = found(CARRIERS[carrier](rest))
        check_part(got, golden)
        killed = [f["pid"] for f in want(golden) if any(f"Killed process {f['pid']} (" in m.text for m in rest)]
        assert [f["pid"] for f in got] == killed, gone


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("every", [1, 2, 5])
def test_console_noise_between_lines(every: int, golden: str) -> None:
    assert found(text(with_noise(source(golden), every))) == list(want(golden))


PAIRS = [("6.18.15-memcg_nested", "6.12.107-memcg_group"), ("5.10.262-global_swap_zram", "6.1.192-memcg_v1")]


def _single(golden: str) -> list[Message]:
    """The first report of a golden, up to its first kill line."""
    lines = source(golden)
    return list(lines[: next(i for i, m in enumerate(lines) if "Killed process" in m.text) + 1])


@pytest.mark.parametrize("pair", PAIRS)
def test_interleaved_with_caller_ids(pair: tuple[str, str]) -> None:
    a, b = (_single(g) for g in pair)
    shift = a[0].seconds - b[0].seconds
    b = [m._replace(seconds=m.seconds + shift) for m in b]
    mixed = "".join(f"[{m.seconds:12.6f}][{c:>6}] {m.text}\n" for c, m in interleave(a, b))
    got = {f["pid"]: f for f in found(mixed)}
    for part in (a, b):
        (whole,) = found(text(part))
        assert got[whole["pid"]] == whole
    assert len(got) == 2


@pytest.mark.parametrize("pair", PAIRS)
def test_interleaved_without_caller_ids(pair: tuple[str, str]) -> None:
    """Nothing says which line is whose: both victims, with the sizes of their own lines, and no wrong trigger."""
    a, b = (_single(g) for g in pair)
    shift = a[0].seconds - b[0].seconds
    b = [m._replace(seconds=m.seconds + shift) for m in b]
    mixed = "".join(f"{printk(m)}{m.text}\n" for _, m in interleave(a, b))
    got = {f["pid"]: f for f in found(mixed)}
    assert len(got) == 2
    for part in (a, b):
        (whole,) = found(text(part))
        mine = got[whole["pid"]]
        for key in ("comm", "total_vm", "anon", "file", "shmem", "uid", "adj"):
            assert mine[key] == whole[key]
        assert mine["trigger"] in {None, whole["trigger"]}
        assert mine["oom_memcg"] in {None, whole["oom_memcg"]}


@pytest.mark.parametrize("golden", GOLDENS)
def test_kill_line_of_another_event_takes_no_head(golden: str) -> None:
    """A rate-limited kill between a report's head and its own kill line."""
    lines = _single(golden)
    other = Message(lines[-1].seconds, "Memory cgroup out of memory: Killed process 31337 (stranger) total-vm:5000kB,"
                    " anon-rss:400kB, file-rss:4kB, shmem-rss:0kB, UID:7 pgtables:44kB oom_score_adj:17")  # fmt: skip
    (whole,) = found(text(lines))
    for at in (1, len(lines) // 2, len(lines) - 1):
        got = {f["pid"]: f for f in found(text([*lines[:at], other, *lines[at:]]))}
        assert got.keys() == {whole["pid"], 31337}
        assert got[whole["pid"]] == whole
        stranger = got[31337]
        assert (stranger["comm"], stranger["anon"], stranger["uid"], stranger["adj"]) == ("stranger", 400, 7, 17)
        assert stranger["trigger"] is None
        assert stranger["oom_memcg"] is None
