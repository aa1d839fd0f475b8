"""Carriers: every layer, their order, continuation lines and who wrote a line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report.carriers import Lines, _strip, strip_lines
from oomsight.report.grammar import BARE, COMMON_NAMES, INNER_RULES, LINE_RULES, ROW, classify, end_of_run
from oomsight.report.layers import COULD, LAYERS, Layer, find_layers, joined
from oomsight.report.prefixes import cut_off, matched, runs_of_rows, shapes

CLOCK = "[    1.000001] "
# Those that are believed only in front of what a line of a log begins with, or behind another.
BEHOLDEN = {"console", "found", "numbered", "splunk", "clock", "stream"}


def begin(layer: Layer) -> str:
    """The layer's sample with what must follow it."""
    return layer.sample.lstrip(" ") + (CLOCK if layer.name in BEHOLDEN else "")


@pytest.mark.parametrize("layer", LAYERS, ids=lambda r: r.name)
def test_layer_matches_its_own_sample_whole(layer: Layer) -> None:
    m = re.match(layer.pattern, begin(layer) if layer.name != "indent" else layer.sample)
    assert m is not None
    assert m.end() == len(layer.sample.lstrip(" ") or layer.sample)


ALONE = [x for x in LAYERS if x.name not in {"indent", "monotonic", "annotation"}]


@pytest.mark.parametrize("layer", ALONE, ids=lambda r: r.name)
def test_layer_is_found_in_front_of_a_message(layer: Layer) -> None:
    line = begin(layer) + "Mem-Info:"
    end, names = find_layers(line)
    assert line[end:] == "Mem-Info:"
    assert names == ((layer.name, "printk") if layer.name in BEHOLDEN else (layer.name,))


@pytest.mark.parametrize("layer", ALONE, ids=lambda r: r.name)
def test_no_layer_is_missed_by_the_first_look(layer: Layer) -> None:
    assert COULD.match(begin(layer) + "Mem-Info:")
    assert COULD.match("  " + begin(layer) + "Mem-Info:")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("> > [   17.316920] Mem-Info:", ("quote", "printk")),
        ("<4>Nov 23 09:58:14 db1 kernel: [   17.316920] Mem-Info:", ("pri", "syslog", "printk")),
        ("kern  :warn  : [   17.316920] Mem-Info:", ("level", "printk")),
        ("2026-11-23T09:58:14.7Z stdout F [   17.316920] Mem-Info:", ("cri", "printk")),
        ("[   17.316920] oomrig kernel: Mem-Info:", ("printk", "monotonic")),
        ("Nov 23 09:58:14 db1 kernel: Mem-Info:", ("syslog",)),
        ("Mem-Info:", ()),
        ("Out of memory: Killed process 1 (a)", ()),
        ("memory: usage 1kB, limit 1kB, failcnt 0", ()),
        ("[  155]  1000   155    14118    13905", ()),
        ("[  pid  ]   uid  tgid total_vm", ()),
        ("Node 0 DMA: 1*4kB", ()),
    ],
)
def test_find_layers(line: str, names: tuple[str, ...]) -> None:
    assert find_layers(line)[1] == names


def test_strip_lines_keeps_numbers_and_drops_blank_lines() -> None:
    lines = strip_lines(["", "[    1.000001] a", "   ", "[    1.000002] b", ""], 10)
    assert lines.texts == ["a", "b"]
    assert lines.nos == [11, 13]


def test_indented_line_continues_the_record_before() -> None:
    lines = strip_lines(["[    1.000001] Memory cgroup stats for /a:", "               anon 5", "[    1.000002] x"])
    assert lines.texts == ["Memory cgroup stats for /a:", "anon 5", "x"]
    assert lines.cont == {1}


@pytest.mark.parametrize(
    ("line", "untrusted"),
    [
        ("4,1,1,-;x", False), ("12,1,1,-;x", True), ("<4>x", False), ("<13>x", True), ("> 12,1,1,-;x", True),
        ("kern  :err   : x", False), ("user  :err   : x", True), ("<13>Nov 23 09:58:14 db1 kernel: x", False),
        ("<13>Nov 23 09:58:14 db1 evil: x", True), ("[    1.000001] x", False),
    ],
)  # fmt: skip
def test_facility_says_who_wrote_a_line(line: str, untrusted: bool) -> None:
    assert (0 in strip_lines([line]).untrusted) is untrusted


def test_caller_ids_of_both_forms() -> None:
    lines = strip_lines(["[    1.000001][  T123] a", "[    1.000002][   C1] b"])
    assert lines.has_callers
    assert [lines.caller(i) for i in (0, 1)] == ["T123", "C1"]
    assert lines.texts == ["a", "b"]
    kmsg = strip_lines(["4,1,1,-,caller=T77;a"])
    assert kmsg.caller(0) == "T77"


def test_no_line_in_the_kernels_own_words_could_be_carried() -> None:
    """What lets :func:`strip_lines` look for a carrier only in front of lines of other shapes."""
    for rule in LINE_RULES:
        if rule.name in BARE:
            for indent in ("", " ", "\t"):
                _, names = find_layers(indent + rule.sample)
                assert set(names) <= {"indent"}, rule


@pytest.mark.parametrize("carrier", [layer.sample for layer in LAYERS if layer.name != "indent"])
def test_a_carried_line_is_of_no_bare_shape(carrier: str) -> None:
    for rule in LINE_RULES:
        assert classify((carrier + rule.sample).lstrip()) not in BARE, rule


_ROWISH = st.sampled_from(["[    1] a", "[ 12]", "[12] [3] b", "[x] c", "[  pid  ] uid", "x", "[ 1.5] d", " [ 1] e", "\u0661", "[\u0661] f", "["])


@given(st.lists(_ROWISH, max_size=12))
def test_runs_of_rows_are_found_as_if_each_line_were_looked_at(rows: list[str]) -> None:
    runs, at = {}, 0
    while at < len(rows):
        end = end_of_run(ROW, rows, at)
        if end > at:
            runs[at] = end
        at = max(end, at + 1)
    assert runs_of_rows(rows) == runs


_SHAPED = [
    *(rule.sample for rule in LINE_RULES), *(sample for _, _, sample in INNER_RULES), " ? kthread+0x1/0x2", "x+0x1/0x2", "anon 5 ", "anon 123",
    "[drm] x", "[    7] b", "RIP : 1", "free:1k", "active:1", "0 pages", "12345678901234567890 pages RAM", "Free swap: 1", "Node 1234567 DMA free:1",
    "Out of memory: Killed process 7 (: OOM victim 1 (), UID 1", "Out of memory: Killed process 7 (: OOM victim 1 (x), total-vm:1kB",
    "Mem-Info: invoked oom-killer: gfp_mask=0x1", "free:1 invoked oom-killer: gfp_mask=0x1", "memory: usage 1 invoked oom-killer: gfp_mask=0x1",
    "x+0x1/0x2 invoked oom-killer: gfp_mask=0x1", "", " ", "\x0b", "Call trace: ", "<IRQ>", "memory: usage 1kB, limit 2kB, failcnt 3",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["", " ", "\t ", "\x0c"]), st.sampled_from(_SHAPED)).map("".join), max_size=12))
def test_shapes_of_all_lines_at_once_are_those_of_each(rows: list[str]) -> None:
    kinds, tables, others = shapes(rows)
    assert tables == runs_of_rows(rows)
    in_tables = {row for first, end in tables.items() for row in range(first, end)}
    assert len(kinds) == len(rows)
    for row, (kind, text) in enumerate(zip(kinds, rows, strict=True)):
        assert kind in (None, classify(text.lstrip()))
        assert (kind is None) == (row in in_tables or row in others)


def test_most_lines_of_a_report_are_of_the_common_shapes() -> None:
    """Else each would be looked at by itself, and nothing but the time it takes would tell."""
    rows = [rule.sample for rule in LINE_RULES if rule.name in {*COMMON_NAMES, "row"}]
    assert len(rows) > 20
    assert not shapes(rows).others


_STAMPS = ["Nov 23 09:58:14 db1 kernel: [   17.316920] ", "Nov 23 09:58:15 db1 kernel: [  117.316920] ", "Nov  3 09:58:14 db1 kernel: ",
           "Nov 23 09:58:14 db2 app[12]: ", "Nov 23 09:58:14 kernel: ", "[   17.316920] ", "[   99.000001][  T123] ", "", "> "]  # fmt: skip
_TEXTS = ["[    200]     0   200 x", "[  T123] y", "[ 1.5] z", " indented", "Mem-Info:", "", "caf\u00e9", "oom-killer: gfp_mask=0x1"]
_STAMPED = st.tuples(st.sampled_from(_STAMPS), st.sampled_from(_TEXTS), st.integers(0, 60)).map(lambda t: (t[0] + t[1])[: t[2]] if t[2] > 50 else t[0] + t[1])


@given(st.lists(_STAMPED, min_size=1, max_size=20), st.sampled_from([("syslog", "printk"), ("syslog",), ("printk",), ("quote", "syslog")]))
def test_prefixes_are_cut_off_where_each_would_be_matched(lines: list[str], names: tuple[str, ...]) -> None:
    rows, match = lines * 60, joined(names).match
    for text, wanted in zip(cut_off(rows, match), matched(rows, match), strict=True):
        assert text == wanted or (text or "").startswith("[")
    out = Lines(raws=rows)
    _strip(out, names)
    assert out.texts == matched(rows, match)
