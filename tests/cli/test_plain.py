"""oomsight.cli.plain: what it understands, click understands in the same way; and what click would refuse it leaves."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.cli import declare, plain
from oomsight.cli.clicked import clicked
from oomsight.cli.commands import COMMANDS, load
from oomsight.cli.exits import Exit, UsageError
from oomsight.cli.main import run

DECLARED = {row.name: command for row in COMMANDS if isinstance(command := load(row), declare.Command)}
WORDS = (
    "-", "--", "-1", "0", "1", "3.5", "1e3", " 7 ", "1_0", "", "text", "json", "csv", "markdown", "x=y", "/etc", "a\x1bb", "ü",
    "/etc/passwd", "/nowhere", "-x", "--help", "-h", "--version", "always", "never", "2 hours ago", "-30m", "now", "a.svg",
)  # fmt: skip


def by_click(command: declare.Command, args: list[str]) -> dict[str, Any] | None:
    """What click gives the function; ``None`` = it refuses, or shows help."""
    try:
        with clicked(command).make_context(command.name, list(args)) as ctx:
            return dict(ctx.params)
    except (click.exceptions.Exit, click.ClickException):
        return None


def line_of(command: declare.Command) -> st.SearchStrategy[list[str]]:
    """Command lines of *command*, most of them nearly right."""
    options = [word for row in command.parameters if row.is_option for word in row.words if word.startswith("-")]
    values = st.sampled_from([*WORDS, *(str(c) for row in command.parameters for c in _choices(row))])
    given_ = st.one_of(
        st.sampled_from([*options, "--nothing"]).map(lambda option: [option]),
        st.tuples(st.sampled_from(options), values).map(list),
        st.tuples(st.sampled_from(options), values).map(lambda pair: ["=".join(pair)]),
        st.tuples(st.sampled_from(options), values).map(lambda pair: ["".join(pair)]),
        values.map(lambda word: [word]),
    )
    return st.lists(given_, max_size=4).map(lambda parts: [word for part in parts for word in part])


def _choices(row: declare.Parameter) -> tuple[Any, ...]:
    kind = row.about.get("type")
    return tuple(kind.choices) if isinstance(kind, declare.Choice) else ()


def test_most_commands_are_declared() -> None:
    assert set(DECLARED) == {row.name for row in COMMANDS} - {"incidents", "schema", "completion"}


@pytest.mark.parametrize("name", DECLARED)
def test_what_is_understood_is_what_click_understands(name, monkeypatch) -> None:
    command = DECLARED[name]
    for row in command.parameters:
        monkeypatch.delenv(str(row.about.get("envvar", "NOTHING")), raising=False)
    assert plain.read(command, []) == by_click(command, [])

    @settings(max_examples=60, deadline=None)
    @given(line_of(command))
    def check(args: list[str]) -> None:
        found = plain.read(command, args)
        assert found is None or found == by_click(command, args)

    check()


@pytest.mark.parametrize("name", DECLARED)
def test_every_option_alone_is_understood_without_click(name) -> None:
    command = DECLARED[name]
    arguments = [
        (*_choices(row), "x")[0] for row in command.parameters if not row.is_option and row.about.get("nargs") != -1
    ]
    for row in command.parameters:
        if not row.is_option or row.about.get("callback"):
            continue
        for word in row.words:
            if word.startswith("-"):
                text = next(
                    t for t in (*_choices(row), "60", "5", "/etc", "/nowhere") if by_click(command, [word, t, *arguments])
                ) if not row.about.get("is_flag") else None  # fmt: skip
                args = [word, *([] if text is None else [text]), *arguments]
                assert plain.read(command, args) == by_click(command, args) is not None, args


@pytest.mark.parametrize(
    ("args", "values"),
    [
        (["a", "--last", "2", "b"], {"paths": ("a", "b"), "last": 2}),
        (["--last=2", "-fjson", "-"], {"paths": ("-",), "last": 2, "output_format": "json"}),
        (["--brief", "--", "--full"], {"paths": ("--full",), "brief": True, "full": False}),
        (["--comm", "-x", "--since", ""], {"comm": "-x", "since": ""}),
        (["--pid", "1", "--pid", "2"], {"pid": 2}),
    ],
)
def test_read_values(args, values) -> None:
    found = plain.read(DECLARED["explain"], args, {})
    assert found is not None
    assert {name: found[name] for name in values} == values


@pytest.mark.parametrize(
    "args", [["--help"], ["-h"], ["--lst", "1"], ["--last"], ["--last", "0"], ["--last", "x"], ["-f", "yaml"], ["--brief=1"]]
)  # fmt: skip
def test_read_leaves_to_click_what_it_must_explain(args) -> None:
    assert plain.read(DECLARED["explain"], args, {}) is None


def test_read_environment_stands_behind_the_command_line() -> None:
    environ = {"OOMSIGHT_HISTORY": "/nowhere/a", "OOMSIGHT_REDACT_KEY": ""}
    explain = DECLARED["explain"]
    assert plain.read(explain, [], environ) == {**(plain.read(explain, [], {}) or {}), "history": "/nowhere/a"}
    found = plain.read(explain, ["--history", "/nowhere/b"], environ)
    assert found is not None
    assert found["history"] == "/nowhere/b"


def test_read_value_of_an_option_that_needs_none() -> None:
    status = DECLARED["status"]
    for args in (["--watch"], ["--watch", "3"], ["--watch=3"], ["--watch", "--count", "1"], ["--watch", "x"]):
        assert plain.read(status, args) == by_click(status, args)


def test_a_check_of_a_value_speaks_as_the_command(capsys) -> None:
    assert plain.read(DECLARED["history"], ["--plot", "x.gif"]) is None
    assert run(["history", "--plot", "x.gif"]) == Exit.USAGE
    assert capsys.readouterr().err == "oomsight: --plot: 'x.gif' must end in .svg or .png (see oomsight history --help)\n"


@pytest.mark.parametrize("way", ["plain", "click"])
def test_wrong_usage_that_the_function_finds_names_the_command(way, capsys) -> None:
    from oomsight.cli import entry

    assert (entry.run if way == "plain" else run)(["explain", "--since", "gestern"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert said.startswith("oomsight: --since: 'gestern' is no time I know; ")
    assert said.endswith(" (see oomsight explain --help)\n")


def test_command_path_set_by_click_stays() -> None:
    def fail() -> None:
        error = UsageError("no")
        error.path = "oomsight deep down"
        raise error

    with pytest.raises(UsageError) as caught:
        declare.Command("x", fail, ())()
    assert caught.value.path == "oomsight deep down"


def test_explain_a_file_loads_only_what_it_needs(tmp_path) -> None:
    log = tmp_path / "x.log"
    log.write_text("[1.0] nothing\n")
    code = (
        "import sys; from oomsight.cli.entry import run; status = run(['explain', sys.argv[1], '--last', '1']);"
        " print(*sorted({'click', 'inspect', 'dataclasses', 'json', 'ctypes', 'multiprocessing', 'shutil', 'tempfile'}"
        " & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, str(log)], capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": "src"})  # fmt: skip
    assert (done.returncode, done.stderr) == (Exit.OK, "\n")
    assert done.stdout.startswith("No kernel OOM kill in ")
