"""
The ``oomsight`` command: a table of subcommands, loaded only when called, and one way for everything to end.

A subcommand is one row of :data:`COMMANDS` and a module with a click command named ``command``. Errors become one
line on stderr and a status of :class:`~oomsight.cli.exits.Exit`; ``OOMSIGHT_DEBUG=1`` shows the traceback instead.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from oomsight._named import NamedTuple
from oomsight._version import __version__
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import Command, answer, remark, write_examples, write_exit_statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "oomsight"
COMPLETION_VARIABLE: Final = "_OOMSIGHT_COMPLETE"


class Row(NamedTuple):
    """One subcommand."""

    name: str
    module: str  #: module that holds the click command ``command`` (or the attribute behind a colon)
    help: str  #: one line for ``oomsight --help``; the module is not imported for it
    group: str  #: section of ``oomsight --help``


COMMANDS: Final[tuple[Row, ...]] = (
    Row("explain", "oomsight.cli.explain", "What was killed, why, who used the memory, what to change.", "Hindsight"),
    Row("why", "oomsight.cli.why", "Who ended it: the kernel, a daemon, a stop time-out, a person?", "Hindsight"),
    Row("status", "oomsight.cli.status", "What is left, who holds it, who grows, who would die.", "Insight"),
    Row("watch", "oomsight.cli.watch", "OOM kills as they happen, within milliseconds.", "Insight"),
    Row("agent", "oomsight.cli.agent", "The same as a service: store and tell every kill once.", "Insight"),
    Row("incidents", "oomsight.cli.incidents", "The kills stored so far: list, show, compare, export.", "Insight"),
    Row("drill", "oomsight.cli.drill", "Does our alerting really see an OOM kill?", "Insight"),
    Row("record", "oomsight.cli.record", "Record memory: the host, every process, every cgroup.", "Foresight"),
    Row("history", "oomsight.cli.history", "What was recorded: who grew, the machine as it was.", "Foresight"),
    Row("leaks", "oomsight.cli.leaks", "What leaks, how fast, since when, and how sure that is.", "Foresight"),
    Row("forecast", "oomsight.cli.forecast", "What will be full when, by whom, and what would help.", "Foresight"),
    Row("score", "oomsight.cli.score", "Who the OOM killer would kill now, and why.", "The killer"),
    Row("simulate", "oomsight.cli.simulate", "Who would die if …, and what would prevent it.", "The killer"),
    Row("audit", "oomsight.cli.audit", "Limits, heaps and settings that will get something killed.", "Prevention"),
    Row("rightsize", "oomsight.cli.rightsize", "Which limit, request and swap each should have.", "Prevention"),
    Row("demo", "oomsight.cli.demo", "Explain a bundled real OOM kill.", "Tools"),
    Row("schema", "oomsight.cli.main:schema_command", "Print the JSON Schema of `--format json`.", "Tools"),
    Row("completion", "oomsight.cli.main:completion_command", "Print the completion script for a shell.", "Tools"),
)

DEFAULT_COMMANDS: Final = (("status", ()), ("explain", ("--last", "1", "--brief")))
"""What ``oomsight`` alone runs: how things are, and the last kill."""

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
        from importlib import import_module

        module, _, attribute = row.module.partition(":")
        command: click.Command = getattr(import_module(module), attribute or "command")
        return command

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
    status = 0
    for number, (name, args) in enumerate(DEFAULT_COMMANDS):
        command = cli.get_command(ctx, name)
        if command is None:
            raise CommandError(f"{name} is missing from the table of commands")
        if number:
            answer("\n")
            sys.stdout.flush()
        try:
            with command.make_context(name, list(args), parent=ctx) as inner:
                status = command.invoke(inner) or status
        except CommandError as error:
            if not number or error.status is not Exit.UNSUPPORTED:
                raise
            remark(explain_error(error)[0])  # no log this user may read: the rest was told all the same
    return status


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
    answer(complete.source_template % complete.source_vars() + "\n")


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
    except BaseException as error:
        return ended(error)
    return status if isinstance(status, int) else Exit.OK


def ended(error: BaseException) -> int:
    """Say what *error* is about, if anything, and return the status that the process ends with."""
    match error:
        case BrokenPipeError():
            # Python flushes stdout once more at exit: give it somewhere to write to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.PIPE
        case KeyboardInterrupt() | click.Abort():
            return Exit.INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else Exit.FAILED if error.code else Exit.OK
    if os.environ.get("OOMSIGHT_DEBUG"):
        raise error
    message, failed = explain_error(error)
    remark(message)
    return failed


def explain_error(error: BaseException) -> tuple[str, Exit]:
    """Return one line about *error* and the status it ends with."""
    from oomsight.sources.errors import SourceError

    match error:
        case CommandError():
            return error.message + (f"; {error.hint}" if error.hint else ""), error.status
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else PROGRAM
            return f"{error.format_message().rstrip('.')} (see {path} --help)", Exit.USAGE
        case click.ClickException():
            return error.format_message(), Exit.INPUT if isinstance(error, click.FileError) else Exit.FAILED
        case SourceError():
            return str(error), Exit.INPUT
        case OSError() if error.filename is not None:
            return f"{error.filename}: {(error.strerror or str(error)).lower()}", Exit.INPUT
        case OSError():  # a full disk or a closed output, not a source
            return (error.strerror or str(error)).lower(), Exit.FAILED
        case _:
            words = " ".join(str(error).split())
            detail = f"{type(error).__name__}{f': {words}' if words else ''}"
            return f"internal error: {detail} (OOMSIGHT_DEBUG=1 shows where; please report it)", Exit.FAILED


def main() -> None:
    """Entry point of the ``oomsight`` program."""
    sys.exit(run())


if __name__ == "__main__":
    main()
