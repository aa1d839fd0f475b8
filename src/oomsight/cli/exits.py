"""Exit statuses, the same for every command. What was found never changes them, unless ``--exit-code`` asks."""

from __future__ import annotations

from oomsight._enums import IntEnum

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final

PROGRAM: Final = "oomsight"


UPDATE: Final = "update this oomsight, or give another --store"
"""What to try with a history of a newer one."""


class Exit(IntEnum):
    """Status of the process."""

    OK = 0  #: ran to the end
    FAILED = 1  #: a bug in oomsight, or a failure no other status names
    USAGE = 2  #: the command line is wrong
    FOUND = 3  #: something was found, with ``--exit-code``
    INPUT = 4  #: a source could not be read
    UNSUPPORTED = 5  #: the host lacks what the command needs
    INTERRUPTED = 130  #: Ctrl-C (128 + SIGINT)
    PIPE = 141  #: the reader of our output went away (128 + SIGPIPE)


EXIT_HELP: Final[tuple[tuple[Exit, str], ...]] = (
    (Exit.OK, "ran to the end, whatever was found"),
    (Exit.FAILED, "internal error"),
    (Exit.USAGE, "wrong usage"),
    (Exit.FOUND, "something was found (only with --exit-code, or --fail-on of audit)"),
    (Exit.INPUT, "a source could not be read"),
    (Exit.UNSUPPORTED, "this host lacks what the command needs"),
    (Exit.INTERRUPTED, "interrupted"),
    (Exit.PIPE, "the reader of the output went away"),
)
"""One row per status, in words; shown by ``--help`` and the man pages."""


class CommandError(Exception):
    """Ends the command with one line on stderr and a status. The message is plain text, shown escaped."""

    def __init__(self, message: str, status: Exit = Exit.FAILED, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint  #: what to try, ``None`` when nothing would help


class UsageError(CommandError):
    """A command line that asks for what cannot be: one line that ends with where to read more."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.USAGE)
        self.path: str | None = None  #: the command, as typed: ``oomsight explain``; set by whoever runs it
