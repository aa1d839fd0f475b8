#!/usr/bin/env python3
"""
Write the man pages from the click commands: ``python tools/make_man.py DIRECTORY``.

Plain roff (man macros), one page for the program and one per subcommand. Nothing is written by hand that the help
already says, so pages and help cannot disagree.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oomsight._state import default_path, history_beside
from oomsight._version import __version__
from oomsight.cli.commands import COMMANDS
from oomsight.cli.exits import EXIT_HELP
from oomsight.cli.main import EXAMPLES, PROGRAM, cli
from oomsight.daemons.config import DEFAULT_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def roff(text: str) -> str:
    """Return *text* so that roff shows it as it is: no escapes, no line taken for a request."""
    text = text.replace("…", "...")  # roff has no such sign where the locale is C
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in text.split("\n"))


def paragraphs(text: str) -> Iterator[str]:
    """Yield *text* (a docstring or help text) as roff paragraphs."""
    for index, paragraph in enumerate(text.replace("\b\n", "").strip().split("\n\n")):
        if index:
            yield ".PP"
        yield roff(" ".join(paragraph.split()))


def options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Yield one tagged paragraph per option."""
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None or not record[1]:  # click lists arguments, too; SYNOPSIS shows them
            continue
        yield ".TP"
        yield f"\\fB{roff(record[0])}\\fR"
        yield roff(" ".join(record[1].split()))


def subcommands(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Yield the commands of a group, such as ``incidents show``, each with all that its help says."""
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(ctx):
        sub = command.get_command(ctx, name)
        assert sub is not None
        below = click.Context(sub, info_name=name, parent=ctx, **sub.context_settings)
        yield f".SS {roff(' '.join([name, *sub.collect_usage_pieces(below)]))}"
        yield from paragraphs(sub.help or "")
        yield from options(sub, below)


def environment(command: click.Command) -> Iterator[str]:
    """Yield the variables that stand for options of *command* or of its subcommands."""
    found: dict[str, str] = {}
    every = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    for parameter in (parameter for one in every for parameter in one.params):
        names = [name for name in parameter.opts if name.startswith("--")]
        if isinstance(parameter.envvar, str) and names:
            found.setdefault(parameter.envvar, f"Stands for {names[0]} where that is not given.")
        if "--color" in names:
            found.setdefault("NO_COLOR", "If set and not empty, nothing is coloured that --color does not ask for.")
    for name in sorted(found):
        yield ".TP"
        yield f"\\fB{roff(name)}\\fR"
        yield roff(found[name])


def files() -> Iterator[str]:
    """Yield where the agent's configuration and what is kept are by default."""
    store, own = default_path({}, uid=0), default_path({"HOME": "~"}, uid=1, shared="")
    rows = (
        (DEFAULT_FILE, "The agent's configuration (TOML)."),
        (store, f"The agent's incident store; without root {own}."),
        (history_beside(store), f"What the recorder keeps; without root {history_beside(own)}."),
    )
    for path, what in rows:
        yield ".TP"
        yield f"\\fI{roff(path)}\\fR"
        yield roff(what)


def examples(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield one example after the other: what it does, then the line to type."""
    for line, what in rows:
        yield ".PP"
        yield roff(what[:1].upper() + what[1:] + ":")
        yield ".PP"
        yield ".RS 4"
        yield ".nf"
        yield roff(line)
        yield ".fi"
        yield ".RE"


def page(name: str, summary: str, body: Sequence[tuple[str, Iterable[str]]]) -> str:
    """Return one man page: title line, NAME and the sections of *body* that have text."""
    lines = [
        f'.TH "{roff(name.upper())}" "1" "" "{PROGRAM} {__version__}" "User Commands"',
        ".SH NAME",
        f"{roff(name)} \\- {roff(summary.rstrip('.'))}",
    ]
    for title, text in body:
        if content := list(text):
            lines += [f".SH {title}", *content]
    return "\n".join(lines) + "\n"


def exit_statuses() -> Iterator[str]:
    """Yield the table of exit statuses."""
    for status, words in EXIT_HELP:
        yield ".TP"
        yield f"\\fB{int(status)}\\fR"
        yield roff(words)


def pages() -> dict[str, str]:
    """Return every page by file name."""
    top = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    commands = {name: command for name in cli.list_commands(top) if (command := cli.get_command(top, name)) is not None}

    def listing() -> Iterator[str]:
        for name, command in commands.items():
            yield ".TP"
            yield f"\\fB{roff(f'{PROGRAM}-{name}')}\\fR(1)"
            yield roff(" ".join((command.help or "").split("\n\n")[0].split()))

    in_a_line = {row.name: row.help for row in COMMANDS}
    found = {
        f"{PROGRAM}.1": page(
            PROGRAM,
            "hindsight, insight and foresight for the Linux OOM killer",
            [
                ("SYNOPSIS", [f"\\fB{PROGRAM}\\fR [\\fIOPTIONS\\fR] [\\fICOMMAND\\fR] [\\fIARGS\\fR]"]),
                ("DESCRIPTION", paragraphs(cli.help or "")),
                ("COMMANDS", listing()),
                ("OPTIONS", options(cli, top)),
                ("FILES", files()),
                ("EXIT STATUS", exit_statuses()),
                ("EXAMPLES", examples(EXAMPLES)),
            ],
        )
    }
    for name, command in commands.items():
        ctx = click.Context(command, info_name=name, parent=top, **command.context_settings)
        usage = " ".join(command.collect_usage_pieces(ctx))
        found[f"{PROGRAM}-{name}.1"] = page(
            f"{PROGRAM}-{name}",
            in_a_line[name],
            [
                ("SYNOPSIS", [f"\\fB{PROGRAM} {roff(name)}\\fR {roff(usage)}"]),
                ("DESCRIPTION", paragraphs(command.help or "")),
                ("OPTIONS", options(command, ctx)),
                ("COMMANDS", subcommands(command, ctx)),
                ("ENVIRONMENT", environment(command)),
                ("EXIT STATUS", exit_statuses()),
                ("EXAMPLES", examples(getattr(command, "examples", ()))),
                ("SEE ALSO", [f"\\fB{PROGRAM}\\fR(1)"]),
            ],
        )
    return found


def main(directory: str) -> None:
    """Write every page into *directory*."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_man.py DIRECTORY")
    main(sys.argv[1])
