"""oomsight.cli.entry: the quick way into ``oomsight score``"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oomsight.cli import entry, main, score_run
from oomsight.cli.exits import CommandError, Exit
from oomsight.sources import kmsg_early, procreading

MAIN = "from oomsight.cli.entry import main; main()"


def test_score_alone_answers_without_loading_what_it_does_not_need():
    code = (
        "import sys; from oomsight.cli.entry import run; status = run(['score']);"
        " print(*sorted({'click', 'dataclasses', 'json', 'typing'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": "src"})  # fmt: skip
    assert done.returncode == Exit.OK
    assert done.stderr.splitlines()[-1:] == [""]
    assert done.stdout.startswith("If this host ran out of memory now, ")


def test_everything_else_goes_the_long_way(capsys):
    assert entry.run(["score", "--count", "3"]) == Exit.USAGE
    assert "--count goes with --watch" in capsys.readouterr().err
    assert entry.run(["--version"]) == Exit.OK


@pytest.mark.parametrize(("args", "begun"), [
    (["agent", "--store", "x"], 1), (["agent", "--check-config"], 0), (["agent", "-h"], 0), (["watch"], 0), ([], 0)])  # fmt: skip
def test_agent_begins_to_read_the_kernel_log_before_it_is_loaded(monkeypatch, args, begun):
    calls = []
    monkeypatch.setattr(kmsg_early, "begin", lambda: calls.append(1))
    monkeypatch.setattr(entry, "_call", lambda _: lambda: 0)
    assert entry.run(args) == 0
    assert len(calls) == begun


def test_score_alone_tells_errors_as_every_command_does(monkeypatch, capsys):
    def fail(_begun):
        raise CommandError("no memory to look at", Exit.INPUT, "try later")

    monkeypatch.setattr(score_run, "alone", fail)
    assert entry.run(["score"]) == Exit.INPUT
    assert capsys.readouterr().err == "oomsight: no memory to look at; try later\n"


def test_score_alone_without_proc_is_left_to_who_tries_again(monkeypatch):
    def no_proc(**_how):
        raise FileNotFoundError(2, "No such file or directory", "/proc")

    seen = []
    monkeypatch.setattr(procreading, "Reading", no_proc)
    monkeypatch.setattr(score_run, "alone", lambda begun: seen.append(begun) or 0)
    assert entry.run(["score"]) == Exit.OK
    assert seen == [None]


def test_score_alone_ends_quietly_when_its_reader_goes_away():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run([sys.executable, "-c", MAIN, "score"], stdout=gone, stderr=subprocess.PIPE, check=False,
                              env={**os.environ, "PYTHONPATH": "src"})  # fmt: skip
    assert (done.returncode, done.stderr) == (Exit.PIPE, b"")


def test_interrupted_is_not_an_error(capsys):
    assert main.ended(KeyboardInterrupt()) == Exit.INTERRUPTED
    assert capsys.readouterr().err == ""
