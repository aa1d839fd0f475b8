"""Click commands made of declared ones: help with examples, completion, and what is wrong with a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from oomsight.cli import declare
from oomsight.cli.exits import EXIT_HELP, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Command(click.Command):
    """A command whose help ends with examples and the exit statuses. *examples*: (command line, what it does)."""

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; click forgets whose it was when a value is missing."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; a wrong usage that only the function can know names the command."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            error.path = error.path or ctx.command_path
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_exit_statuses(formatter)
        write_examples(formatter, self.examples)


def write_exit_statuses(formatter: click.HelpFormatter) -> None:
    """Write the section *Exit status* of a help page."""
    with formatter.section("Exit status"):
        formatter.write_dl([(str(int(status)), words) for status, words in EXIT_HELP])


def write_examples(formatter: click.HelpFormatter, examples: Sequence[tuple[str, str]]) -> None:
    """Write the section *Examples*: each command line on a line of its own, never wrapped, ready to copy."""
    if not examples:
        return
    with formatter.section("Examples"):
        for line, what in examples:
            formatter.write_text(f"# {what}")
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def clicked(command: declare.Command) -> click.Command:
    """Return the click command of a declared one."""

    def run(**values: Any) -> Any:
        return command(**values)

    run.__doc__ = command.function.__doc__
    made = click.command(command.name, cls=Command, examples=command.examples)
    return made(_with_rows(run, command.parameters))


def in_click(declared: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the decorator of a click command that declares what *declared* does: options that commands share."""

    def probe() -> None:
        """Take the rows."""

    rows = declare.rows_of(declared(probe))
    return lambda function: _with_rows(function, rows)


def _with_rows(function: Callable[..., Any], rows: Sequence[declare.Parameter]) -> Callable[..., Any]:
    for row in reversed(rows):
        about = dict(row.about)
        if "type" in about:
            about["type"] = _type(about["type"])
        if "callback" in about:
            about["callback"] = _callback(about["callback"])
        function = (click.option if row.is_option else click.argument)(*row.words, **about)(function)
    return function


class WholeNumber(click.IntRange):
    """Click's, called by what people call it: 'abc' is not a valid whole number."""

    name = "whole number"


class Number(click.FloatRange):
    """The same for figures with a point."""

    name = "number"


def _type(kind: Any) -> Any:
    """Click's type of a declared one."""
    if isinstance(kind, declare.Choice):
        return click.Choice(kind.choices)
    if isinstance(kind, declare.IntRange):
        return WholeNumber(kind.low, kind.high)
    if isinstance(kind, declare.FloatRange):
        return Number(kind.low, kind.high)
    if isinstance(kind, declare.Path):
        # Whoever opens it says what is missing and goes on with the others; click would call it wrong usage.
        return click.Path(file_okay=kind.file_okay, dir_okay=kind.dir_okay, readable=False)
    return kind


def _callback(check: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def checked(ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        try:
            return check(value)
        except UsageError as error:
            raise click.UsageError(error.message, ctx) from None

    return checked
