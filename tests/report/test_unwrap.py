"""Undoing what mail, shippers and exports did to text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report.rejoin import has_thousands, join_fixed_width, join_wrapped, split_glued, thousands
from oomsight.report.unwrap import decode, unescape_name

KILL = "Out of memory: Killed process 1 (a) total-vm:9kB"


def texts(data: str | bytes) -> list[str]:
    return [s for _, s in decode(data.encode() if isinstance(data, str) else data)]


def test_decode_plain_text_numbers_every_line() -> None:
    assert decode(b"a\nb\r\nc", 10) == [(10, "a"), (11, "b"), (12, "c")]


def test_decode_keeps_bytes_that_are_not_utf8() -> None:
    assert texts(b"x\xffy")[0].encode("utf-8", "surrogateescape") == b"x\xffy"


def test_decode_colours_everywhere_go_but_a_rare_escape_stays() -> None:
    assert texts("\x1b[32m[ 1.0]\x1b[0m a\n\x1b[1mb\x1b[0m") == ["[ 1.0] a", "b"]
    assert texts("a\nb\n\x1b[31mred\nc\n")[2] == "\x1b[31mred"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"log":"a\\n","stream":"stdout","time":"2026-11-23T09:58:14Z"}', ["2026-11-23T09:58:14Z a"]),
        ('{"textPayload":"a","timestamp":"2026-11-23T09:58:14Z"}', ["2026-11-23T09:58:14Z a"]),
        ('{"jsonPayload":{"message":"a"}}', ["a"]),
        ('{"message":"a\\nb"}', ["a", "b"]),
        ('[{"message":"a"},\n{"message":"b"}]', ["a", "b"]),
        ('{"MESSAGE":[97,255],"_TRANSPORT":"kernel"}', ["a\udcff"]),
        ('x {"msg": broken', ['x {"msg": broken']),
    ],
)
def test_decode_json(text: str, lines: list[str]) -> None:
    assert texts(text) == lines


def test_decode_dmesg_json_cut_anywhere() -> None:
    whole = '{\n   "dmesg": [\n      {\n         "pri": 4,\n         "time":    17.316920,\n         "msg": "a\\u00fc"\n      }'
    assert texts(whole) == ["<4>[   17.316920] aü"]
    assert texts(whole[: whole.index("\\u00fc")] + '"') == ["<4>[   17.316920] a"]


def test_decode_journal_export_with_binary_field() -> None:
    data = (b"__CURSOR=x\n__REALTIME_TIMESTAMP=1795427894750231\n_TRANSPORT=kernel\n_HOSTNAME=db1\n"
            b"_SOURCE_MONOTONIC_TIMESTAMP=17316920\nMESSAGE\n" + (3).to_bytes(8, "little") + b"a\nb\n\n")  # fmt: skip
    assert texts(data) == ["1795427894.750231 db1 kernel: [   17.316920] a", " b"]


def test_decode_spoofed_kernel_identifier_of_the_journal() -> None:
    record = {"MESSAGE": KILL, "SYSLOG_IDENTIFIER": "kernel", "_TRANSPORT": "stdout", "__REALTIME_TIMESTAMP": "1795427894750231"}
    assert "kernel:" not in texts(json.dumps(record))[0].replace("not-kernel:", "")


@pytest.mark.parametrize("stamp", ["9" * 5000, "²²²²²²²", "", "-1", "x"])
def test_decode_journal_with_absurd_stamps(stamp: str) -> None:
    record = {"MESSAGE": "a", "_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": stamp, "_SOURCE_MONOTONIC_TIMESTAMP": stamp}
    assert texts(json.dumps(record))[0].endswith("a")


def test_decode_quoted_printable_joins_soft_breaks_and_keeps_numbers() -> None:
    assert decode(b"gfp_mask=3D0xcc0=\n(GFP_KERNEL)\npid=3D12") == [(1, "gfp_mask=0xcc0(GFP_KERNEL)"), (3, "pid=12")]


def test_decode_wrapped_assignment_is_not_quoted_printable() -> None:
    assert texts("gfp_mask=0xcc0, order=\n0, pid=128, uid=\n1000") == ["gfp_mask=0xcc0, order=", "0, pid=128, uid=", "1000"]


def test_decode_rsyslog_octal_only_in_syslog_lines() -> None:
    assert texts("Nov 23 09:58:14 db1 kernel: a#012b#011c") == ["Nov 23 09:58:14 db1 kernel: a", " b\tc"]
    assert texts("4,1,1,-;a#012b") == ["4,1,1,-;a#012b"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [(r"\xc3\xbc", "ü"), (r"x\x0ay", "x\ny"), (r"\x1b[31m", "\x1b[31m"), (r"a\x41", r"a\x41"), (r"\xff", "\udcff"), ("#012", "#012"),
     ("plain", "plain"), ("", "")],
)  # fmt: skip
def test_unescape_name(name: str, plain: str) -> None:
    assert unescape_name(name) == plain


@given(st.binary(max_size=15))
def test_unescape_undoes_what_the_kernel_escapes(raw: bytes) -> None:
    # The backslash is undone with the line, before.
    shown = "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in raw if b != 0x5C)
    assert unescape_name(shown).encode("utf-8", "surrogateescape") == raw.replace(b"\\", b"")


@pytest.mark.parametrize(
    ("shown", "plain"),
    [("total-vm:1,953,348kB", "total-vm:1953348kB"), ("rss:1.953.348kB", "rss:1953348kB"), ("1'234 kB", "1234 kB"),
     ("1\u2009234kB", "1234kB"), ("0-1,2-3 x", "0-1,2-3 x"), ("find 1/2, add 12,34", "find 1/2, add 12,34")],
)  # fmt: skip
def test_thousands(shown: str, plain: str) -> None:
    assert thousands(shown) == plain


def test_has_thousands_wants_a_size() -> None:
    assert has_thousands("anon-rss:1,234kB")
    assert not has_thousands("nodemask=0,123 anon-rss:1234kB")


def test_split_glued_puts_line_breaks_back() -> None:
    glued = f"[    1.000001] Mem-Info: [    1.000002] Call Trace: [    1.000003] {KILL}"
    assert [(no, s.strip()) for no, s in split_glued([(4, glued)])] == [
        (4, "[    1.000001] Mem-Info:"), (4, "[    1.000002] Call Trace:"), (4, f"[    1.000003] {KILL}"),
    ]  # fmt: skip


def test_split_glued_keeps_who_wrote_a_line() -> None:
    pieces = split_glued([(1, f"4,1,1,-;Mem-Info: 12,2,2,-;{KILL} 4,3,3,-;Call Trace: {'x' * 200}")])
    assert f"12,2,2,-;{KILL}" in [s.strip() for _, s in pieces]


def test_join_wrapped_by_carrier() -> None:
    lines = [(1, "[ 1.0] Killed process 1"), (2, "(a) total-vm:9kB"), (3, "[ 2.0] b")]
    assert join_wrapped(lines, [True, False, True], " ") == [(1, "[ 1.0] Killed process 1 (a) total-vm:9kB"), (3, "[ 2.0] b")]


def test_join_fixed_width() -> None:
    wide = [(i, "x" * 80) for i in range(1, 5)]
    assert join_fixed_width([*wide, (5, "end"), (6, "y")]) == [(1, "x" * 320 + "end"), (6, "y")]
    assert join_fixed_width([(1, "short"), (2, "lines")]) is None
