"""
The ``oomsight`` command by way of click: help, completion, and command lines that :mod:`~oomsight.cli.plain` leaves.

A subcommand is one row of :data:`~oomsight.cli.commands.COMMANDS` and a module with a command named ``command``. Errors
become one line on stderr and a status of :class:`~oomsight.cli.exits.Exit`; ``OOMSIGHT_DEBUG=1`` shows the traceback
instead.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from oomsight._version import __version__
from oomsight.cli.clicked import Command, clicked, write_examples, write_exit_statuses
from oomsight.cli.commands import COMMANDS, Row, load, run_defaults
from oomsight.cli.declare import Command as Declared
from oomsight.cli.ending import ended
from oomsight.cli.exits import PROGRAM, CommandError, Exit, UsageError
from oomsight.cli.speak import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from click.shell_completion import CompletionItem

COMPLETION_VARIABLE: Final = "_OOMSIGHT_COMPLETE"


EXAMPLES: Final = (
    ("oomsight", "the state of this host's memory, and the last OOM kill it remembers"),
    ("oomsight explain", "explain all the kills it remembers"),
    ("oomsight explain /var/log/kern.log*", "explain those in log files, compressed ones included"),
    ("dmesg | oomsight explain -", "explain what comes from standard input"),
    ("oomsight explain --format json crash.txt | jq .incidents[0].culprit", "answer for programs"),
)


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line, and imports one only to run it or to show its help."""

    def __init__(self, *args: Any, rows: Sequence[Row], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows = {row.name: row for row in rows}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        row = self.rows.get(cmd_name)
        if row is None:
            return None
        command = load(row)
        return clicked(command) if isinstance(command, Declared) else command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Like click's, but with the one line of each command, which needs no module of it."""
        from click.shell_completion import CompletionItem

        rows = (row for row in self.rows.values() if row.name.startswith(incomplete))
        found = [CompletionItem(row.name, help=row.help) for row in rows]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group in dict.fromkeys(row.group for row in self.rows.values()):
            with formatter.section(group):
                formatter.write_dl([(row.name, row.help) for row in self.rows.values() if row.group == group])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_exit_statuses(formatter)
        write_examples(formatter, EXAMPLES)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, but a mistyped command names the nearest one and the way to explain a file."""
        name = args[0]
        if name not in self.rows and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self.rows, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"to explain a file: {PROGRAM} explain FILE"
            raise click.UsageError(f"there is no command '{name}'; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    PROGRAM, cls=LazyGroup, rows=COMMANDS, invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Hindsight, insight and foresight for the Linux OOM killer. Without a command: the state of this host's"
    " memory and the last OOM kill it remembers.",
)  # fmt: skip
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> Any:
    """Run the default commands when there is no other."""
    if ctx.invoked_subcommand is not None:
        return None

    def run_one(name: str, args: Sequence[str]) -> Any:
        command = cli.get_command(ctx, name)
        assert command is not None
        with command.make_context(name, list(args), parent=ctx) as inner:
            return command.invoke(inner)

    return run_defaults(run_one)


SCHEMAS: Final = {
    "explain": "oomsight.sinks.document:json_schema",
    "audit": "oomsight.sinks.audit_json:audit_schema",
    "score": "oomsight.sinks.score_document:score_schema",
    "simulate": "oomsight.sinks.timeline_document:json_schema",
    "status": "oomsight.sinks.status_document:status_schema",
    "leaks": "oomsight.sinks.foresight_document:leaks_schema",
    "forecast": "oomsight.sinks.foresight_document:forecast_schema",
    "rightsize": "oomsight.sinks.rightsize:rightsize_schema",
    "why": "oomsight.sinks.why:verdict_schema",
}
"""Commands with ``--format json`` and who knows the schema of it."""


@click.command(
    "schema", cls=Command,
    examples=(
        ("oomsight schema > explain.schema.json", "keep it beside your data"),
        ("oomsight schema score", "that of another command"),
    ),
)  # fmt: skip
@click.argument("name", type=click.Choice(list(SCHEMAS)), default="explain")
def schema_command(name: str) -> None:
    """Print the JSON Schema of what a command prints with `--format json`."""
    import json
    from importlib import import_module

    module, _, function = SCHEMAS[name].partition(":")
    answer(json.dumps(getattr(import_module(module), function)(), indent=2) + "\n")


@click.command(
    "completion", cls=Command,
    examples=(
        ('eval "$(oomsight completion bash)"', "complete in this bash; put it into ~/.bashrc to keep it"),
        ('source <(oomsight completion zsh)', "complete in zsh; put it into ~/.zshrc, below compinit"),
        ("oomsight completion fish > ~/.config/fish/completions/oomsight.fish", "complete in fish"),
    ),
)  # fmt: skip
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"completion for {shell} is not available in this click", Exit.UNSUPPORTED)
    complete = kind(cli, {}, PROGRAM, COMPLETION_VARIABLE)
    # Not complete.source(): for bash that runs bash to look at its version, which is the reader's business here.
    # click's fish script cuts what a choice means at its first comma.
    template = complete.source_template.replace('string split ","', 'string split --max 1 ","')
    answer(template % complete.source_vars() + "\n")


def _invoke(args: list[str]) -> Any:
    """What click's ``main`` does, without its own idea of how errors end."""
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    try:
        with cli.make_context(PROGRAM, args) as ctx:
            return cli.invoke(ctx)
    except click.exceptions.Exit as stop:  # --help, --version, ctx.exit()
        return stop.exit_code


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line *args* (default: the process's) and return the exit status; never raises."""
    try:
        status = _invoke(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except (click.Abort, click.ClickException) as error:
        return ended(_ours(error))
    except BaseException as error:
        return ended(error)
    return status if isinstance(status, int) else Exit.OK


def _ours(error: click.Abort | click.ClickException) -> BaseException:
    """Return the error that says what one of click's says."""
    if isinstance(error, click.Abort):
        return KeyboardInterrupt()
    if isinstance(error, click.UsageError):
        usage = UsageError(error.format_message())
        usage.path = error.ctx.command_path if error.ctx else None
        return usage
    return CommandError(error.format_message(), Exit.INPUT if isinstance(error, click.FileError) else Exit.FAILED)


def main() -> None:
    """Entry point of the ``oomsight`` program."""
    sys.exit(run())


if __name__ == "__main__":
    main()
