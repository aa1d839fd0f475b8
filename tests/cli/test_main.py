"""The command line as a whole: lazy, helpful, one line per error, the right status, never a traceback."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import click
import pytest

from oomsight._version import __version__
from oomsight.cli.commands import COMMANDS, DEFAULT_COMMANDS, Row
from oomsight.cli.ending import explain_error
from oomsight.cli.exits import EXIT_HELP, CommandError, Exit
from oomsight.cli.main import EXAMPLES, cli, run
from oomsight.cli.options import stdout_surface

ROOT = Path(__file__).parents[2]


def _process(*args: str, **kwargs) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **kwargs.pop("env", {})}
    code = "from oomsight.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, check=False, timeout=60, **kwargs
    )


@pytest.fixture
def boom(monkeypatch):
    """A subcommand ``boom`` that raises what it is told to."""
    raised: list[BaseException] = []
    monkeypatch.delenv("OOMSIGHT_DEBUG", raising=False)

    @click.command("boom")
    def command() -> None:
        raise raised[0]

    monkeypatch.setitem(cli.rows, "boom", Row("boom", "tests_boom", "", "Tools"))
    monkeypatch.setattr(type(cli), "get_command", lambda _self, _ctx, _name: command)
    return raised.append


def test_run_version_prints_it(capsys) -> None:
    assert run(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"oomsight {__version__}\n"


def test_run_help_names_every_command_status_and_example(capsys) -> None:
    assert run(["--help"]) == Exit.OK
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for row in COMMANDS:
        assert f"{row.name} {row.help}" in lines
    for status, words in EXIT_HELP:
        assert f"{int(status)} {words}" in lines
    for example, _what in EXAMPLES:
        assert example in lines
    assert {status for status, _ in EXIT_HELP} == set(Exit)


def test_exit_statuses_are_those_of_the_contract() -> None:
    assert (Exit.OK, Exit.USAGE, Exit.FOUND, Exit.INPUT, Exit.UNSUPPORTED) == (0, 2, 3, 4, 5)


def test_help_and_version_import_no_subcommand() -> None:
    code = (
        "import sys; from oomsight.cli.main import run; run(['--help']); "
        "sys.exit(any(m.startswith(('oomsight.cli.explain', 'oomsight.report', 'oomsight.sinks.document', 'json')) for m in sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["explain", "--last"], "oomsight: Option '--last' requires an argument (see oomsight explain --help)\n"),
        (["rightsize", "--patch"], "oomsight: Option '--patch' requires an argument (see oomsight rightsize --help)\n"),
        (["explian"], "oomsight: there is no command 'explian'; did you mean 'explain'? (see oomsight --help)\n"),
        (
            ["x.log"],
            "oomsight: there is no command 'x.log'; to explain a file: oomsight explain FILE (see oomsight --help)\n",
        ),
        (
            ["completion"],
            "oomsight: Missing argument 'SHELL'. Choose from: bash, zsh, fish (see oomsight completion --help)\n",
        ),
        (
            ["\x1b[31m\n"],
            "oomsight: there is no command '\\x1b[31m '; to explain a file: oomsight explain FILE (see oomsight --help)\n",
        ),
    ],
)
def test_run_wrong_usage_is_one_line_and_status_2(args, words, capsys) -> None:
    assert run(args) == Exit.USAGE
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    assert seen.err.replace(",\x20\x20", ", ") == words or args == ["completion"]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (CommandError("no PSI here", Exit.UNSUPPORTED, "boot with psi=1"), 5, "no PSI here; boot with psi=1"),
        (CommandError("two\nlines"), 1, "two lines"),
        (PermissionError(13, "Permission denied", "/dev/kmsg"), 4, "/dev/kmsg: permission denied"),
        (OSError(28, "No space left on device"), 1, "no space left on device"),
        (click.FileError("x", "bad"), 4, "Could not open file 'x': bad"),
        (KeyError("k"), 1, "internal error: KeyError: 'k' (OOMSIGHT_DEBUG=1 shows where; please report it)"),
        (RecursionError(), 1, "internal error: RecursionError (OOMSIGHT_DEBUG=1 shows where; please report it)"),
    ],
)
def test_run_error_is_one_line_and_its_status(error, status, words, boom, capsys) -> None:
    boom(error)
    assert run(["boom"]) == status
    assert capsys.readouterr().err == f"oomsight: {words}\n"


def test_explain_error_of_a_source_is_input() -> None:
    from oomsight.sources.errors import SourceError

    assert explain_error(SourceError("a.log", "gone")) == ("a.log: gone", Exit.INPUT)


def test_run_debug_shows_the_traceback(boom, monkeypatch) -> None:
    monkeypatch.setenv("OOMSIGHT_DEBUG", "1")
    boom(KeyError("k"))
    with pytest.raises(KeyError):
        run(["boom"])


def test_run_interrupt_is_130_without_words(boom, capsys) -> None:
    boom(KeyboardInterrupt())
    assert run(["boom"]) == 130
    assert capsys.readouterr() == ("", "")


def test_run_status_of_a_command_is_the_status(boom) -> None:
    boom(SystemExit(3))
    assert run(["boom"]) == Exit.FOUND


def test_run_into_a_closed_pipe_is_silent() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    code = "from oomsight.cli.main import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, "schema"], stdout=writer, stderr=subprocess.PIPE, env=env, check=False, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (Exit.PIPE, b"")


def test_default_commands_are_commands() -> None:
    assert [name for name, _ in DEFAULT_COMMANDS] == ["status", "explain"]
    assert {name for name, _ in DEFAULT_COMMANDS} <= {row.name for row in COMMANDS}


def test_run_without_a_command_runs_the_default_one(monkeypatch) -> None:
    ran = []

    @click.command("any")
    @click.option("--last")
    @click.option("--brief", is_flag=True)
    def command(last: str | None, brief: bool) -> int:
        ran.append((last, brief))
        return 3 if brief else 0

    monkeypatch.setattr(type(cli), "get_command", lambda _self, _ctx, _name: command)
    assert run([]) == Exit.FOUND
    assert ran == [(None, False), ("1", True)]


def test_run_without_a_command_shows_the_state_where_no_log_can_be_read(monkeypatch, capsys) -> None:
    @click.command("any")
    @click.option("--last")
    @click.option("--brief", is_flag=True)
    def command(last: str | None, brief: bool) -> int:
        if last:
            raise CommandError("no log can be read", Exit.UNSUPPORTED, "use sudo")
        return int(brief)

    monkeypatch.setattr(type(cli), "get_command", lambda _self, _ctx, _name: command)
    assert run([]) == Exit.OK
    assert capsys.readouterr().err == "oomsight: no log can be read; use sudo\n"


def test_schema_command_prints_the_schema(capsys) -> None:
    assert run(["schema"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["$id"] == "oomsight.explain/1"


@pytest.mark.parametrize(
    ("shell", "word"),
    [
        ("bash", "complete -o nosort -F"),
        ("zsh", "#compdef oomsight"),
        ("fish", "complete --no-files --command oomsight"),
    ],
)
def test_completion_command_prints_a_script(shell, word, capsys) -> None:
    assert run(["completion", shell]) == Exit.OK
    out = capsys.readouterr().out
    assert word in out
    assert "_OOMSIGHT_COMPLETE" in out


def test_completion_of_bash_answers_with_commands() -> None:
    done = _process(env={"_OOMSIGHT_COMPLETE": "bash_complete", "COMP_WORDS": "oomsight sch", "COMP_CWORD": "1"})
    assert done.stdout == "plain,schema\n"


def test_completion_says_the_one_line_of_each_command() -> None:
    done = _process(env={"_OOMSIGHT_COMPLETE": "fish_complete", "COMP_WORDS": "oomsight ", "COMP_CWORD": ""})
    assert done.stdout.splitlines() == [f"plain,{row.name}\t{row.help}" for row in COMMANDS]


def test_completion_of_fish_keeps_commas() -> None:
    assert "string split --max 1 " in _process("completion", "fish").stdout


@pytest.mark.parametrize(("args", "words"), [
    (("explain", "--pid", "abc"), "'abc' is not a valid whole number"), (("status", "--apart", "x"), "'x' is not a valid number"),
])  # fmt: skip
def test_what_is_no_number_is_called_so(args, words) -> None:
    done = _process(*args)
    assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_stdout_surface_width_option_wins() -> None:
    assert stdout_surface(132, "never").width == 132


@pytest.fixture(scope="module")
def man_pages() -> dict[str, str]:
    pytest.importorskip("oomsight.cli.explain")
    return runpy.run_path(str(ROOT / "tools" / "make_man.py"))["pages"]()


def test_man_pages_of_every_command_with_every_status(man_pages) -> None:
    assert set(man_pages) == {"oomsight.1", *(f"oomsight-{row.name}.1" for row in COMMANDS)}
    for text in man_pages.values():
        for status, words in EXIT_HELP:
            assert f"\\fB{int(status)}\\fR\n{words.replace('-', chr(92) + '-')}" in text
    assert "oomsight\\-schema" in man_pages["oomsight.1"]


def test_man_pages_are_found_by_the_line_of_the_overview(man_pages) -> None:
    for row in COMMANDS:
        name = man_pages[f"oomsight-{row.name}.1"].split(".SH NAME\n")[1].splitlines()[0]
        assert name.endswith(row.help.rstrip(".").replace("-", "\\-").replace("`", "\\(ga").replace("…", "..."))


def test_no_man_page_leaves_a_sentence_cut(man_pages) -> None:
    assert "..." not in "".join(line for line in man_pages["oomsight.1"].splitlines() if "ARGS" not in line)


def test_man_page_of_a_group_has_its_commands_with_their_options(man_pages) -> None:
    text = man_pages["oomsight-incidents.1"].replace("\\-", "-")
    for name in ("list", "show", "stats", "compare", "export"):
        part = text.split(f".SS {name} ")[1].split(".SS")[0]
        assert "\\fB-f, --format" in part
    assert "--raw" in text.split(".SS show ")[1].split(".SS")[0]


def test_man_pages_name_files_and_variables(man_pages) -> None:
    assert "/var/lib/oomsight/history" in man_pages["oomsight.1"]
    assert "\\fBOOMSIGHT_HISTORY\\fR" in man_pages["oomsight-history.1"]
    assert "\\fBOOMSIGHT_STORE\\fR" in man_pages["oomsight-incidents.1"]


def test_man_pages_escape_roff(man_pages) -> None:
    roff = runpy.run_path(str(ROOT / "tools" / "make_man.py"))["roff"]
    assert roff(".x\n'y -\\") == "\\&.x\n\\&\\(aqy \\-\\e"
    for text in man_pages.values():
        requests = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi"}
