"""Names and sentences: nothing invisible, moving or imitating gets out, and shown names can be read back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.naming.marked import Kind, mark
from oomsight.sinks import safe
from oomsight.sinks.safe import (
    cut,
    display_width,
    is_clean,
    markdown_name,
    plain,
    quoted,
    scrub,
    shorten,
    terminal_name,
    wrap,
)

# Everything a comm or cgroup name can hold: any text, with lone surrogates where bytes were no UTF-8.
names = st.text(st.characters(), max_size=40)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("java", "java"),
        ("/system.slice/nginx.service", "/system.slice/nginx.service"),
        ("machine-qemu\\x2d1\\x2dvm.scope", "machine-qemu\\x2d1\\x2dvm.scope"),
        ("日本語名", "日本語名"),
        ("nginx: worker", '"nginx: worker"'),
        ("", '""'),
        ("123", '"123"'),  # would read as a number
        ("[kworker/0:1]", '"[kworker/0:1]"'),  # would read as a kernel thread
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("a\nb\tc\x7f", '"a\\x0ab\\x09c\\x7f"'),
        ("\x85", '"\\u0085"'),  # C1: not the byte 0x85, which is \x85
        ("\udcff\udcfe bad", '"\\xff\\xfe bad"'),
        ("a\u202eb", '"a\\u202eb"'),
        ("a\u200bb", '"a\\u200bb"'),
        ("a\ufe0fb", '"a\\ufe0fb"'),
        ("\U000e0041x", '"\\U000e0041x"'),
        ("\u0301x", '"\\u0301x"'),  # would sit on the quote
        ("e\u0301\u0302\u0303", '"e\u0301\u0302\\u0303"'),  # the third would climb over the line above
        ("\u0455shd", '"\\u0455shd"'),  # Cyrillic letter in a Latin word
        ("\u0435\u0445\u0435\u0441", "\u0435\u0445\u0435\u0441"),  # all Cyrillic: an honest name
        ("q\"u'o\\te", '"q\\"u\'o\\\\te"'),
    ],
)
def test_terminal_name_of_known_names(name: str, shown: str) -> None:
    assert terminal_name(name) == shown


def test_terminal_name_ascii_only_escapes_every_other_character() -> None:
    assert terminal_name("日本", ascii_only=True) == '"\\u65e5\\u672c"'
    assert terminal_name("é", ascii_only=True) == '"\\u00e9"'


@given(names)
def test_terminal_name_is_printable_and_short_of_controls(name: str) -> None:
    shown = terminal_name(name)
    assert shown.isprintable()
    shown.encode("utf-8")  # no lone surrogate is left
    assert terminal_name(name, ascii_only=True).isascii()


_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([\\\"]))")


def _unquote(shown: str) -> str:
    def back(match: re.Match[str]) -> str:
        if match[1]:
            code = int(match[1], 16)
            return chr(code if code < 0x80 else 0xDC00 + code)
        return match[4] or chr(int(match[2] or match[3], 16))

    return _ESCAPE.sub(back, shown[1:-1])


@given(names)
def test_quoted_can_be_read_back(name: str) -> None:
    assert _unquote(quoted(name)) == name


@given(names)
def test_terminal_name_bare_is_literal_quoted_is_not_bare(name: str) -> None:
    shown = terminal_name(name)
    assert (_unquote(shown) if shown.startswith('"') else shown) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("java", "`java`"),
        ("nginx: worker", "`nginx: worker`"),
        ("", '`""`'),
        (" x", '`" x"`'),
        ("a`b", '`"a\\x60b"`'),
        ("a|b<script>", '`"a\\x7cb\\x3cscript\\x3e"`'),
        ("a\n# b", '`"a\\x0a# b"`'),
        ('"x"', '`"\\"x\\""`'),
    ],
)
def test_markdown_name_of_known_names(name: str, shown: str) -> None:
    assert markdown_name(name) == shown


@given(names)
def test_markdown_name_is_one_span_nothing_breaks_out_of(name: str) -> None:
    shown = markdown_name(name)
    inside = shown[1:-1]
    assert shown == f"`{inside}`"
    assert inside.strip()
    assert not set(inside) & set("`|<>\n\r")


@pytest.mark.parametrize("name", ["java", "日本語", "a b", "O'Brien", "\u0435\u0445"])
def test_is_clean_accepts_visible_names(name: str) -> None:
    assert is_clean(name)


@pytest.mark.parametrize("name", ["a\x1b", "a\u202e", "\udc80", "\u0455shd", "a\u3164", "a\x00"])
def test_is_clean_refuses_deceiving_names(name: str) -> None:
    assert not is_clean(name)


def test_scrub_escapes_controls_and_keeps_typography_and_newlines() -> None:
    assert scrub("a – b ≥ c …\nd \x1b[0m\u202e") == "a – b ≥ c …\nd \\x1b[0m\\u202e"


def test_plain_shows_marked_names_and_scrubs_the_rest() -> None:
    text = f"Killed {mark('a b')} of {mark('/x', Kind.CGROUP)} \x9b"
    assert plain(text) == 'Killed "a b" of /x \\u009b'
    assert plain("≥ 5 … 3", ascii_only=True) == ">= 5 ... 3"


def test_plain_keeps_a_foreign_sentinel_visible() -> None:
    assert wrap(plain("a\x1eb", glue=True), 20) == ["a\\x1eb"]


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0), ("ｆ", 2)])
def test_display_width_counts_columns(text: str, width: int) -> None:
    assert display_width(text) == width


def test_cut_never_splits_a_wide_character() -> None:
    assert cut("日本語", 3) == "日"


@given(st.text(max_size=60), st.integers(0, 40))
def test_shorten_fits(text: str, width: int) -> None:
    assert display_width(shorten(text, width)) <= width


def test_shorten_keeps_both_ends() -> None:
    assert shorten("kubepods-burstable-pod3f7d", 11) == "kubep…d3f7d"


def test_wrap_keeps_short_names_and_units_whole() -> None:
    text = plain(f"Killed {mark('a b c')} which held 47.7 MiB of uid 1000", glue=True)
    assert wrap(text, 18) == ['Killed "a b c"', "which held", "47.7 MiB of", "uid 1000"]


def test_wrap_breaks_a_long_path_after_a_slash() -> None:
    assert wrap("/system.slice/containerd.service", 16) == ["/system.slice/", "containerd.servi", "ce"]


def word_by_word(text: str, width: int) -> list[str]:
    """What :func:`wrap` does, a word at a time."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for whole in filter(None, paragraph.split(" ")):
            if line and display_width(f"{line} {whole}") <= width:
                line += f" {whole}"
                continue
            word, lines = whole, lines + ([line] if line else [])
            while display_width(word) > width:
                piece = cut(word, width)
                if piece.rfind("/") > width // 2:
                    piece = piece[: piece.rfind("/") + 1]
                lines.append(piece)
                word = word[len(piece) :]
            line = word
        lines.append(line)
    return [line.replace(safe.GLUE, " ") for line in lines]


@given(st.text(st.sampled_from("ab/  \n\x1e\u30b3\u00e9"), max_size=60), st.integers(8, 20))
def test_wrap_breaks_where_word_by_word_would(text: str, width: int) -> None:
    assert wrap(text, width) == word_by_word(text, width)


def test_wrap_gives_one_line_for_nothing() -> None:
    assert wrap("", 20) == [""]


@given(st.text(max_size=200), st.integers(8, 60))
def test_wrap_fits_and_loses_no_character(text: str, width: int) -> None:
    clean = plain(mark(text), glue=True)
    lines = wrap(clean, width)
    assert all(display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == plain(mark(text)).replace(" ", "")


# What the tests of single characters stand for, as patterns: loading and compiling these would cost a command that
# answers in 50 ms a quarter of its time.
BARE = re.compile(r"(?!\d+\Z)[\w/@.][\w./@%+:=~\\#-]*(?<![.:=\\])", re.ASCII)
NUMBER_GAP = re.compile(
    r"(?<=\d) (?=(?:[KMGTPE]?i?B|pages?|s|ms|min)\b|%)|(?:(?<=[pu]id)|(?<=_adj)|(?<=line)|(?<=lines)) (?=[-\d])"
)
UNSAFE = re.compile("[^\n\x1e\x20-\x7e\xa1-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u22ff]")
PROSE = st.lists(
    st.sampled_from(["pid", "uid", "adj", "_adj", "line", "lines", "5", "-5", "1.5", "MiB", "MiB,", "KiBs", "B", "iB",
                     "pages", "pages)", "page", "s", "s.", "ms", "min", "minus", "%", "% of", "", "a"]), max_size=9
).map(" ".join)  # fmt: skip


@given(st.text(st.characters(max_codepoint=127), max_size=8))
def test_a_bare_name_is_one_word(name: str) -> None:
    assert safe._is_bare(name) == bool(BARE.fullmatch(name))


@given(PROSE)
def test_numbers_stay_with_their_units(text: str) -> None:
    assert safe._numbers_glued(text) == NUMBER_GAP.sub(safe.GLUE, text)


@given(st.text(max_size=6))
def test_harmless_prose_is_known(text: str) -> None:
    assert safe._is_harmless(text) == (UNSAFE.search(text) is None)
