"""Others' words about memory: each row by its sample, and no row for lines that say nothing of the kind."""

from __future__ import annotations

import pytest

from oomsight.cli.heard import heard
from oomsight.diagnose.said import SAYINGS, Of, Saying, saying_of, sayings


@pytest.mark.parametrize("row", SAYINGS, ids=lambda row: row.sample[:40])
def test_every_row_is_found_by_its_sample(row: Saying) -> None:
    assert saying_of(row.sample) is row
    (said,) = sayings(f"a line\n  {row.sample}\nanother\n".encode())
    assert (said.line, said.saying) == (row.sample.strip(), row)
    assert row.means or row.of is Of.KERNEL_KILL


@pytest.mark.parametrize(
    "line",
    ["room 137 is free", "pid 137 exited with 0", "[  137.137] usb 1-1: new device", "status=0/SUCCESS", "137",
     "memory allocation of buffers is slow", "Started OOM notifier.", "exit code 1 after 1378 s", ""],
)  # fmt: skip
def test_other_lines_say_nothing(line: str) -> None:
    assert saying_of(line) is None


@pytest.mark.parametrize(
    ("line", "of"),
    [("##[error]Process completed with exit code 137.", Of.SIGKILL), ('"ExitCode": 137,', Of.SIGKILL),
     ("      Exit Code:    137", Of.SIGKILL), ('"exitCode":137', Of.SIGKILL), ("Exited with code exit status 137", Of.SIGKILL),
     ("a.service: Main process exited, code=killed, status=9/KILL", Of.SIGKILL), ('"OOMKilled": true,', Of.KERNEL_KILL),
     ("State.OOMKilled=false", Of.SIGKILL), ("shop-0   0/1   OOMKilled   4 (57s ago)", Of.KERNEL_KILL),
     ("tidb quit: signal: killed", Of.SIGKILL)],
)  # fmt: skip
def test_ways_of_writing_it(line: str, of: Of) -> None:
    saying = saying_of(line)
    assert saying is not None
    assert saying.of is of


def test_a_number_alone_compiles_no_regex(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row._replace(pattern=None) if row.beside else row for row in SAYINGS]  # would fit where it is asked
    monkeypatch.setattr("oomsight.diagnose.said.SAYINGS", rows)
    assert saying_of("kernel: [  137.137137] usb 1-1: new device number 137") is None
    assert saying_of("Exit 137") is not None


def told(text: str, *, quote: bool = True) -> str:
    return "\n".join(heard(list(sayings(text.encode())), quote=quote))


def test_what_a_service_manager_saw_goes_before_all_else() -> None:
    text = told("a.service: Failed with result 'oom-kill'.\njava.lang.OutOfMemoryError: Java heap space\nexit code 137")
    assert text.startswith("A line there speaks of one that others saw")
    assert "heap" not in text.replace("Java heap space", "")


def test_a_runtimes_own_limit_goes_before_the_bare_word_and_the_status() -> None:
    text = told("Out of memory\nFATAL ERROR: JavaScript heap out of memory\nexit code 137\n")
    assert " ".join(text.split()).startswith("A line there tells of Node.js: a bound of its own was reached, the kernel killed")
    assert "--max-old-space-size" in text
    assert "Out of memory" not in text.splitlines()
    assert text.index("Node.js") < text.index("137 is 128 + 9")


def test_a_status_alone_says_where_the_kernels_word_would_be() -> None:
    text = told("The command exited with 137\n")
    assert "SIGKILL" in text
    assert "journalctl -k" in text


def test_lines_are_left_out_where_names_are() -> None:
    assert "acme" not in told("acme: Out of memory", quote=False)
    assert "\x1b" not in told("\x1b[31macme: Out of memory")
    assert max(map(len, told("acme: Cannot allocate memory").splitlines())) <= 80
