"""How the program ends when something went wrong: one line to standard error and a status, never a traceback."""

from __future__ import annotations

import os
import sys

from oomsight._extras import how_to_get
from oomsight.cli.exits import PROGRAM, CommandError, Exit, UsageError
from oomsight.cli.speak import remark


def ended(error: BaseException) -> int:
    """Say what *error* is about, if anything, and return the status that the process ends with."""
    match error:
        case BrokenPipeError():
            # Python flushes stdout once more at exit: give it somewhere to write to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.PIPE
        case KeyboardInterrupt():
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
        case UsageError():
            return f"{error.message.rstrip('.')} (see {error.path or PROGRAM} --help)", error.status
        case CommandError():
            return error.message + (f"; {error.hint}" if error.hint else ""), error.status
        case SourceError():
            return str(error), Exit.INPUT
        case ModuleNotFoundError() if error.name == "click":
            return (
                f"this command line needs click: {how_to_get('click')}, or install oomsight",
                Exit.UNSUPPORTED,
            )
        case OSError() if error.filename is not None:
            return f"{error.filename}: {(error.strerror or str(error)).lower()}", Exit.INPUT
        case OSError():  # a full disk or a closed output, not a source
            return (error.strerror or str(error)).lower(), Exit.FAILED
        case _:
            words = " ".join(str(error).split())
            detail = f"{type(error).__name__}{f': {words}' if words else ''}"
            return f"internal error: {detail} (OOMSIGHT_DEBUG=1 shows where; please report it)", Exit.FAILED
