"""What a source says when it cannot be read: one clear line and what to try."""

from __future__ import annotations

import errno


class SourceError(Exception):
    """
    A source cannot be read at all. (What could be read in part is yielded, and said in the source's notes.)

    ``str()`` is one line: name, what is wrong and, where there is one, what to try.
    """

    def __init__(self, name: str, what: str, hint: str | None = None) -> None:
        super().__init__(name, what, hint)
        self.name = name  #: source name as the user knows it: path, ``journal``, ``<stdin>``
        self.what = what  #: what is wrong, in plain words
        self.hint = hint  #: what to try, ``None`` when nothing would help

    def __str__(self) -> str:
        return f"{self.name}: {self.what}" + (f"; try: {self.hint}" if self.hint else "")


class NotReadable(SourceError):  # noqa: N818  # the same thing, with a cause a right would cure
    """The right to read the source is missing; ``hint`` says which right or command gives it."""


class NotText(SourceError):  # noqa: N818
    """The source holds no text a log parser could read (binary, or packed in a way we do not unpack)."""


def from_os_error(name: str, error: OSError, hint: str | None = None) -> SourceError:
    """Return *error* about source *name* as a :class:`SourceError`; *hint* is for a missing right."""
    what = (error.strerror or str(error) or "cannot be read").lower()
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotReadable(name, what, hint)
    return SourceError(name, what)
