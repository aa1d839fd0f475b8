"""The progress line: late, truthful, gone at the end, and never outside a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.sinks.progress import Progress, progress_line
from oomsight.sinks.stream import emit, surface


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def _run(stream: io.StringIO, times: list[float]) -> str:
    clock = iter(times)
    with Progress(stream, 1 << 20, clock=lambda: next(clock)) as progress:
        for done in range(len(times) - 1):
            progress(done << 18)
    return stream.getvalue()


def test_progress_of_short_work_shows_nothing() -> None:
    assert _run(Terminal(), [0.0, 0.1, 0.49]) == ""


def test_progress_outside_a_terminal_shows_nothing() -> None:
    assert _run(io.StringIO(), [0.0, 1.0, 2.0]) == ""


def test_progress_of_long_work_is_drawn_and_removed() -> None:
    shown = _run(Terminal(), [0.0, 1.0, 2.0])
    assert "25 %" in shown
    assert shown.endswith("\r\x1b[K")


def test_progress_redraws_at_most_ten_times_a_second() -> None:
    assert _run(Terminal(), [0.0, 1.0, 1.01, 1.05, 1.2]).count("reading") == 2


@settings(max_examples=500)
@given(
    columns=st.integers(1, 200), label=st.sampled_from(["reading", "auditing"]), share=st.floats(0, 1),
    elapsed=st.sampled_from([0.0, 0.5, 7.0, 12_345.0, 9e6]), total=st.integers(0, 5 << 50),
)  # fmt: skip
def test_progress_never_wraps(columns: int, label: str, share: float, elapsed: float, total: int) -> None:
    line = progress_line(label, int(total * share), total, elapsed, columns=columns)
    assert len(line) < columns
    assert line.startswith(label[: columns - 1])
    assert len(progress_line(label, total, None, elapsed, "123,456 other files", columns)) < columns


def test_progress_on_a_narrow_terminal_keeps_what_matters_most() -> None:
    assert progress_line("reading", 1 << 29, 1 << 30, 2.0, columns=40) == "reading [#######-------] 50 %  2 s left"
    assert progress_line("looking", 1 << 29, None, 2.0, "7 files", 40) == "looking 512.0 MiB  256.0 MiB/s  7 files"


def test_progress_on_a_terminal_that_cannot_take_back_a_line_shows_nothing(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert _run(Terminal(), [0.0, 1.0, 2.0]) == ""


def test_progress_survives_a_closed_terminal() -> None:
    class Gone(Terminal):
        def write(self, _text: str) -> int:
            raise OSError("gone")

    assert _run(Gone(), [0.0, 1.0]) == ""


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "line"),
    [
        (1 << 29, 1 << 30, 2.0, "r [############------------] 50 %  512.0 MiB of 1.0 GiB  256.0 MiB/s  2 s left"),
        (1 << 20, 1 << 30, 1.0, "r [------------------------] 0 %  1.0 MiB of 1.0 GiB  1.0 MiB/s  17 min left"),
        (1 << 30, None, 4.0, "r 1.0 GiB  256.0 MiB/s"),
        (0, 10, 0.0, "r [------------------------] 0 %  0 KiB of 0 KiB  0 KiB/s  0 s left"),
        (20, 10, 1.0, "r [########################] 100 %  0 KiB of 0 KiB  0 KiB/s  0 s left"),
    ],
)
def test_progress_line_says_bytes_rate_and_time_left(done, total, elapsed, line) -> None:
    assert progress_line("r", done, total, elapsed) == line


@pytest.mark.parametrize(
    ("environ", "colour", "painted"),
    [
        ({}, "auto", True),
        ({"NO_COLOR": "1"}, "auto", False),
        ({"NO_COLOR": ""}, "auto", True),
        ({"TERM": "dumb"}, "auto", False),
        ({"NO_COLOR": "1"}, "always", True),
        ({}, "never", False),
    ],
)
def test_surface_colour_on_a_terminal(environ, colour, painted) -> None:
    assert surface(Terminal(), environ, columns=100, colour=colour) == (100, painted, True)


@pytest.mark.parametrize(("environ", "unicode"), [
    ({}, True), ({"LANG": "C"}, False), ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, False),
    ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True), ({"LC_ALL": "", "LANG": "C.UTF-8"}, True),
])  # fmt: skip
def test_surface_of_a_terminal_said_to_be_of_the_c_locale_is_ascii(environ, unicode) -> None:
    assert surface(Terminal(), environ, columns=80).unicode is unicode


def test_surface_of_a_pipe_is_80_columns_without_colour() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="iso8859-1")
    assert surface(stream, {}, columns=None) == (80, False, False)
    assert surface(stream, {}, columns=None, width=120, colour="always") == (120, True, False)


def test_emit_escapes_what_the_encoding_lacks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    emit(stream, "a→\udcff")
    stream.flush()
    assert raw.getvalue() == b"a\\u2192\\udcff"
