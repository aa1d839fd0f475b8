"""
What a command is: its options and arguments as rows, and the function that gets their values.

The words are click's: :func:`command`, :func:`option`, :func:`argument` and the types below take what click's take. But
nothing of click is loaded: that takes three times as long as an empty Python.
:mod:`oomsight.cli.plain` reads ordinary command lines by these rows; for help, completion and to say what is wrong with
a command line, :mod:`oomsight.cli.clicked` makes a click command of the same rows. Only what both understand in the
same way can be declared.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Final

from oomsight._named import NamedTuple
from oomsight.cli.exits import PROGRAM, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    Number = TypeVar("Number", int, float)

__all__ = [
    "Choice", "Command", "FloatRange", "IntRange", "Parameter", "Path", "argument", "command", "option",
]  # fmt: skip

_ROWS: Final = "__parameters__"


# -- types: ``read`` returns the value of a text and raises ValueError for one that click would refuse -----------------


class Choice(NamedTuple):
    """One of some words."""

    choices: Sequence[str]

    def read(self, text: str) -> str:
        if text not in self.choices:
            raise ValueError(text)
        return text


class IntRange(NamedTuple):
    """A whole number; ``None`` = no bound."""

    low: int | None = None
    high: int | None = None

    def read(self, text: str) -> int:
        return _within(int(text), self.low, self.high)


class FloatRange(NamedTuple):
    """A number; ``None`` = no bound."""

    low: float | None = None
    high: float | None = None

    def read(self, text: str) -> float:
        return _within(float(text), self.low, self.high)


class Path(NamedTuple):
    """Name of a file or directory. It need not be there; if it is, it can be read and is of the kind allowed."""

    file_okay: bool = True
    dir_okay: bool = True

    def read(self, text: str) -> str:
        try:
            mode = os.stat(text).st_mode
        except OSError:
            return text
        refused = (stat.S_ISREG(mode) and not self.file_okay) or (stat.S_ISDIR(mode) and not self.dir_okay)
        if refused or not os.access(text, os.R_OK):
            raise ValueError(text)
        return text


def _within(value: Number, low: float | None, high: float | None) -> Number:
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(value)
    return value


# -- rows -------------------------------------------------------------------------------------------------------------


class Parameter(NamedTuple):
    """One option or argument."""

    words: tuple[str, ...]  #: ``--name``, ``-n`` and, where it is not the long one's, the name of the value
    about: dict[str, Any]  #: click's keywords
    is_option: bool

    @property
    def name(self) -> str:
        """Of the function's parameter."""
        plain = [word for word in self.words if not word.startswith("-")]
        long = [word for word in self.words if word.startswith("--")]
        return (plain or long)[0].lstrip("-").replace("-", "_").lower()

    def read(self, text: str) -> Any:
        """Return the value of *text*; ValueError where click would refuse it."""
        kind: Any = self.about.get("type")
        if kind is None or isinstance(kind, type):
            return text if kind is None else kind(text)
        return kind.read(text)


def option(*words: str, **about: Any) -> Callable[[F], F]:
    """``--option``: as click's."""
    return _row(Parameter(words, about, is_option=True))


def argument(*words: str, **about: Any) -> Callable[[F], F]:
    """An argument: as click's."""
    return _row(Parameter(words, about, is_option=False))


def _row(parameter: Parameter) -> Callable[[F], F]:
    def declared(function: F) -> F:
        function.__dict__.setdefault(_ROWS, []).insert(0, parameter)  # the last decorator is applied first
        return function

    return declared


def rows_of(function: Callable[..., Any]) -> list[Parameter]:
    """What was declared of *function*, in the order in which it is written."""
    return list(function.__dict__.get(_ROWS, ()))


class Command:
    """A command of the program."""

    def __init__(self, name: str, function: Callable[..., Any], examples: Sequence[tuple[str, str]]) -> None:
        self.name = name
        self.function = function
        self.examples = tuple(examples)  #: command lines and what they do
        self.parameters = rows_of(function)

    def __call__(self, **values: Any) -> Any:
        """Run it; a wrong usage that only the function can know names the command."""
        try:
            return self.function(**values)
        except UsageError as error:
            error.path = error.path or f"{PROGRAM} {self.name}"
            raise


def command(name: str, *, examples: Sequence[tuple[str, str]] = ()) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function; its docstring is its help."""
    return lambda function: Command(name, function, examples)
