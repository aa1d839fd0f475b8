"""Names chosen by whoever runs a process, absurd numbers, and bytes that are no log at all."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oomsight.report import parse_text
from oomsight.report.model import UNLIMITED, OomReport

from ..golden.goldens import NAMES, log
from .written import Written, console, journal, kmsg

COMMS = (
    "a) b", ") R 1 (x", "x\ny", "\x1b[31mred\x1b[0m", "<script>&amp;", "=cmd|' /C'!A0", "((", "))", ")(", "a,task=b,pid=1",
    ",task=x", "pid=1,uid=0", "\udcff\udcfe bad", "123456789012345", "  lead", "trail  ", "] [", ") total-vm:9kB", "",
    "%s%n%d", "Out of memory: ", "oom-killer: ", "Killed process ", "a\\x41b", "\\", "#012", "日本語名", "\u202eevil",
    "tab\there", "'\"`", "[  pid  ]", "kB, file-rss:1k", "1) anon-rss:1kB", "memory: usage 1", "-1", "0", "kworker/0:1",
    '{"a":1}', "a invoked b", ", UID:0 pgtable", "`tick`", "CPU: 0 PID: 1", "anon 5", "Call Trace:", "|", "> > >",
)  # fmt: skip
CGROUPS = (
    "/a,task=b,pid=1", "/x,oom_memcg=/y", "/x,task_memcg=/x", "/sp ace", '/"q"', "/ünï", "/{}", "/a]b[", "/a\\x41",
    "/x,task=worker,pid=4242,uid=1000", "/ invoked oom-killer: gfp_mask=0x0", "/Killed process 1 (x)", "/<b>", "/:", "/=",
)  # fmt: skip
CARRIERS = {"kmsg": kmsg, "console": console, "journal": journal}


def the_report(written: Written, carrier: str) -> OomReport:
    (report,) = parse_text(CARRIERS[carrier](written.lines()))
    return report


def check(written: Written, carrier: str) -> None:
    report = the_report(written, carrier)
    kib = written.rss_pages * 4
    (victim,) = report.victims
    assert (victim.pid, victim.comm) == (written.pid, written.victim)
    assert (victim.total_vm_kib, victim.anon_rss_kib, victim.file_rss_kib, victim.shmem_rss_kib) == (kib + 2000, kib, 0, 0)
    assert (victim.uid, victim.pgtables_kib, victim.oom_score_adj) == (written.uid, 148, written.adj)
    assert report.trigger is not None
    assert (report.trigger.comm, report.trigger.pid, report.trigger.uid, report.trigger.cpu) == (written.trigger, 4300, 1001, 1)
    assert (report.trigger.gfp_mask, report.trigger.gfp_flags, report.trigger.order) == (0xCC0, ("GFP_KERNEL",), 0)
    assert [t.comm for t in report.tasks] == [written.victim, written.trigger]
    assert [t.rss_pages for t in report.tasks] == [written.rss_pages, 700]
    assert (report.oom_memcg, report.task_memcg) == (written.oom_memcg, written.task_memcg)
    assert report.selected is not None
    assert (report.selected.pid, report.selected.comm) == (written.pid, written.victim)
    assert report.memcg is not None
    assert report.memcg.memory is not None
    assert (report.memcg.memory.limit_kib, report.memcg.memory.failcnt) == (kib + 4096, 71)
    assert report.memcg.swap is not None
    assert report.memcg.swap.limit_kib == UNLIMITED
    assert report.memcg.stats[0].path == written.oom_memcg
    assert report.memcg.stats[0].stats == {"anon": kib * 1024, "file": 0, "pgfault": 31337}
    assert report.complete
    assert report.constraint == "CONSTRAINT_MEMCG"


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("comm", COMMS)
def test_hostile_name_of_the_victim_comes_back_exactly(comm: str, carrier: str) -> None:
    check(Written(victim=comm), carrier)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("comm", COMMS)
def test_hostile_name_of_the_trigger_comes_back_exactly(comm: str, carrier: str) -> None:
    check(Written(trigger=comm), carrier)


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("path", CGROUPS)
def test_hostile_cgroup_comes_back_exactly(path: str, carrier: str) -> None:
    check(Written(oom_memcg=path, task_memcg=path, cpuset=path), carrier)
    check(Written(oom_memcg=path, task_memcg=path + "/child,task=z", cpuset=","), carrier)


def _fits(name: str) -> bool:
    return len(name.encode("utf-8", "surrogateescape")) <= 15


# Anything but NUL; blank pieces between newlines are lost where every line is a record of its own.
comms = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=15).filter(_fits)
odd_bytes = st.binary(max_size=15).map(lambda b: b.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
paths = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


@settings(max_examples=120, deadline=None)
@example(victim="0", trigger=" 0", pid=301, uid=100000, adj=0, rss=65)  # a wide uid moves a name by as much as its blank
@given(victim=comms | odd_bytes, trigger=comms | odd_bytes, pid=st.integers(301, 4194304), uid=st.integers(0, 4294967294),
       adj=st.integers(-999, 1000), rss=st.integers(65, 2**28))  # fmt: skip
def test_any_names_and_numbers_come_back_from_kmsg(  # noqa: PLR0917 - one argument a strategy
    victim: str, trigger: str, pid: int, uid: int, adj: int, rss: int
) -> None:
    check(Written(victim=victim, trigger=trigger, pid=pid if pid != 4300 else 4301, uid=uid, adj=adj, rss_pages=rss), "kmsg")


@settings(max_examples=80, deadline=None)
@example(["a\\x00"], 1)  # looks like an escaped byte, and is none
@given(st.lists(paths.map(lambda p: p.replace("/", "_")), min_size=1, max_size=3), st.integers(1, 3))
def test_any_cgroup_comes_back_from_kmsg(parts: list[str], depth: int) -> None:
    path = "/" + "/".join(p.strip() or "_" for p in parts)
    parent = "/" + "/".join(path[1:].split("/")[:depth])
    check(Written(oom_memcg=parent, task_memcg=path), "kmsg")


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [19, 5000])
@pytest.mark.parametrize("golden", ["6.18.15-memcg_nested", "5.10.262-global_swap_zram"])
def test_absurd_numbers_never_raise_and_are_not_believed(golden: str, digits: int) -> None:
    """The numbers of every line in turn are blown up, then all at once."""
    lines = log(golden).split(b"\n")
    for at, line in enumerate(lines):
        head, _, text = line.partition(b";")
        blown = re.sub(rb"(?<![\w.])\d+|(?<=[:=*+])\d+", b"7" * digits, text)
        if blown != text:
            for value in _numbers(parse_text(b"\n".join([*lines[:at], head + b";" + blown, *lines[at + 1 :]]))):
                assert abs(value) < 10**20
    everything = re.sub(rb"\d+", b"7" * digits, log(golden)[:4000])
    assert all(abs(v) < 10**20 for v in _numbers(parse_text(everything)))


@pytest.mark.parametrize("digit", ["\u0663", "\u00b2"])
@pytest.mark.parametrize("golden", ["6.18.15-memcg_nested", "5.10.262-global_swap_zram"])
def test_digits_of_other_scripts_never_raise(golden: str, digit: str) -> None:
    """A digit of every line in turn is one that ``int`` does not read, or reads although no kernel prints it."""
    lines = log(golden).split(b"\n")
    for at, line in enumerate(lines):
        head, _, text = line.partition(b";")
        for place in [m.start() for m in re.finditer(rb"\d", text)][::3]:
            other = text[:place] + digit.encode() + text[place + 1 :]
            parse_text(b"\n".join([*lines[max(0, at - 3) : at], head + b";" + other, *lines[at + 1 : at + 4]]))


def _numbers(value: object) -> list[float]:
    """Every number anywhere in parsed reports."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, dict):
        return [n for v in value.values() for n in _numbers(v)]
    if isinstance(value, list | tuple):
        return [n for v in value for n in _numbers(v)]
    fields = getattr(value, "__dataclass_fields__", ())
    return [n for name in fields for n in _numbers(getattr(value, name))]


def test_absurd_number_of_the_kill_line_leaves_a_note() -> None:
    lines = Written().lines()
    lines[-1] = lines[-1].replace("anon-rss:56000kB", f"anon-rss:{'9' * 5000}kB")
    (report,) = parse_text(kmsg(lines))
    assert report.victims[0].anon_rss_kib is None
    assert report.victims[0].total_vm_kib == 58000
    assert "number_damaged" in {n.code for n in report.notes}


def test_absurd_pid_is_no_victim() -> None:
    assert parse_text(f"Out of memory: Killed process {'1' * 5000} (x) total-vm:1kB, anon-rss:1kB, file-rss:1kB\n") == []


def test_unsigned_statistics_of_twenty_digits_are_kept() -> None:
    lines = Written().lines()
    lines[12] = "file 18446744073709551615"  # a counter below zero, as the kernel prints it
    (report,) = parse_text(kmsg(lines))
    assert report.memcg is not None
    assert report.memcg.stats[0].stats["file"] == 2**64 - 1


# -- fuzz ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_never_raise(data: bytes) -> None:
    for report in parse_text(data):
        assert report.source.first_line >= 1


_WORDS = (
    b"oom-killer: gfp_mask=0x", b" invoked oom-killer: ", b"Killed process 1 (", b") total-vm:1kB, anon-rss:", b"kB", b"\n",
    b"oom-kill:constraint=CONSTRAINT_MEMCG", b",oom_memcg=", b",task_memcg=", b",task=", b",pid=", b",uid=", b"[    1]", b"[  pid  ] uid tgid name",
    b" 1 2 3 4 5 6 7 8 9", b"Memory cgroup stats for ", b":", b"Mem-Info:", b"Node 0 DMA free:", b"Node 0 ", b"DMA: 1*4kB",
    b"active_anon:", b"hugepages_total=", b"pages RAM", b"Free swap = ", b"4,1,1,-;", b"\\x0a", b"#012", b"\x1b[", b"{\"msg\":\"", b"\"}",
    b"{\"MESSAGE\":", b"MESSAGE=", b"__CURSOR=", b"[", b"]", b"{", b"(", b")", b"=3D", b"=\n", b"<4>", b"Nov 23 09:58:14 h kernel: ",
    b"[Mon Nov 23 09:58:12 2026] ", b"2026-11-23T09:58:14Z ", b"\xff", b"\xc3\x28", b"9" * 19, b"\0", b"\r", b"memory: usage ", b"sysrq: Manual OOM execution",
    b"Tasks in / are going to be killed", b"oom_reaper: reaped process ", b"callbacks suppressed", b"Kernel panic - not syncing: Out of memory",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=60))
def test_any_mix_of_telling_words_never_raises(words: list[bytes]) -> None:
    data = b"".join(words)
    for report in parse_text(data):
        for victim in report.victims:
            assert str(victim.pid).encode() in data


_POOL = [line for n in NAMES if len(log(n)) < 30_000 for c in ("kmsg",) for line in log(n).split(b"\n")]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(_POOL) - 1), max_size=80), st.binary(max_size=3))
def test_any_mix_of_golden_lines_invents_no_victim(picks: list[int], dirt: bytes) -> None:
    data = (b"\n" + dirt).join(_POOL[i] for i in picks)
    text = data.decode("utf-8", "surrogateescape")
    for report in parse_text(data):
        for victim in report.victims:
            assert f"illed process {victim.pid} (" in text
            assert victim.comm is not None
            if victim.comm.isascii() and victim.comm.isprintable() and "\\" not in victim.comm:
                assert f"({victim.comm})" in text


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_flipped_bytes_never_raise(data: st.DataObject) -> None:
    raw = bytearray(log("6.18.15-memcg_nested"))
    for _ in range(data.draw(st.integers(1, 12))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for report in parse_text(bytes(raw)):
        assert len(report.victims) <= 2


@pytest.mark.parametrize("unit", ["7", "a", "a ", "(", "[ ", "=", "x=1,", "a:", "1 ", "1,", " invoked ", ",task=", "\\x0a", "A: 1*4kB "])
def test_endless_lines_take_linear_time(unit: str) -> None:
    """Quadratic readings of these took minutes; a line a hundred times as long may take a hundred times as long."""
    starts = ("", "a invoked oom-killer: gfp_mask=0x0, ", "Killed process 1 (a) total-vm:1kB, ", "[    1] 1 1 1 1 1 1 1 1 ",
              "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=", "Memory cgroup stats for ", "active_anon:1 ",
              "CPU: 1 PID: 1 Comm: ", "Node 0 DMA free:1kB ", "4,1,1,", "Nov 23 09:58:14 ")  # fmt: skip
    begin = process_time()
    for start in starts:
        parse_text(start + unit * (40_000 // len(unit)) + "\nOut of memory: Killed process 2 (b) total-vm:1kB, anon-rss:1kB\n")
    assert process_time() - begin < 10


def test_deeply_nested_json_never_raises() -> None:
    assert parse_text('{"msg": ' + "[" * 100_000 + "\nOut of memory") == []
    assert parse_text("[" * 100_000 + '{"\n') == []
