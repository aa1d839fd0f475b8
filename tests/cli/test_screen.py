"""oomsight.cli.screen: `score --watch` and `status --watch` in a terminal"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios

import pytest

ENTER, LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
ROWS = 12
WITH_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
from oomsight.cli.entry import main
main()
"""


def until(fd: int, wanted: bytes, so_far: bytes = b"") -> bytes:
    """What comes out of the terminal until *wanted* has, or it is closed."""
    while wanted not in so_far:
        assert select.select([fd], [], [], 60)[0], so_far
        try:
            part = os.read(fd, 4096)
        except OSError:  # closed
            break
        so_far += part
    return so_far


@pytest.mark.parametrize(
    ("quit_by", "status"), [(b"q", 0), (b"\x03", 130), (signal.SIGTERM, 128 + signal.SIGTERM)], ids=["q", "Ctrl-C", "TERM"]
)
@pytest.mark.parametrize(
    ("command", "first", "answered"),
    [("score", b"If this host ran out", b"would die"), ("status", b"Would die", b"Would die")], ids=["score", "status"],
)
def test_watch_draws_what_fits_and_leaves_the_terminal_as_it_was(quit_by, status, command, first, answered):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, command, "--watch", "0.1"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=env | {"TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    try:
        drawn = until(ours, b"\x1b[J")
        os.write(ours, quit_by) if isinstance(quit_by, bytes) else child.send_signal(quit_by)
        drawn, _, after = until(ours, LEAVE, drawn).partition(LEAVE)
        frames = drawn.partition(ENTER)[2].split(b"\x1b[H")[1:]
        assert frames
        assert all(first in frame and frame.count(b"\n") < ROWS for frame in frames)
        if not status:
            assert answered in until(ours, answered, after)  # the last answer stays
            while select.select([ours], [], [], 0.5)[0]:  # or it would wait for us to read
                os.read(ours, 4096)
        assert child.wait(60) == status
        assert termios.tcgetattr(theirs) == before
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("command", ["score", "status"])
def test_watch_on_a_terminal_that_cannot_be_drawn_over_goes_on_below(command):
    """Emacs' shell, a serial console, expect: cursor moves would be garbage there."""
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    child = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, command, "--watch", "0.1", "--count", "2"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=env | {"TERM": "dumb"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        told = until(ours, b"nothing that comes")
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert b"\x1b" not in told
    assert told.count("━".encode() * 40) >= 2 or told.lower().count(b"would die") >= 2
