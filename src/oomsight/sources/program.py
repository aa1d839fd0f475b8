"""Reading the output of a program (journalctl, dmesg, zstd) as a stream, without ever blocking on its stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from oomsight.sources.source import BLOCK_BYTES

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import IO


class Program:
    """
    One run of a program whose standard output is wanted.

    Iterate it to get the output; afterwards ``status`` is the exit status (``None`` while it runs, or when the
    iteration was given up) and ``complaint`` the last non-empty line of its stderr.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.status: int | None = None
        self.complaint = ""

    def __iter__(self) -> Iterator[bytes]:
        import subprocess

        # stderr goes to a file: a pipe nobody drains would stop a program that complains a lot.
        with _scratch() as stderr:
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
            )
            assert process.stdout is not None
            try:
                while block := os.read(process.stdout.fileno(), BLOCK_BYTES):
                    yield block
                self.status = process.wait()
            finally:
                process.stdout.close()
                if process.poll() is None:
                    process.kill()
                    process.wait()
                stderr.seek(0)
                lines = stderr.read(BLOCK_BYTES).decode("utf-8", "replace").split("\n")
                self.complaint = next((line.strip() for line in reversed(lines) if line.strip()), "")


def _scratch() -> IO[bytes]:
    """A file without a name: on disk, or in memory where nothing can be written, as in a read-only container."""
    import tempfile

    try:
        return tempfile.TemporaryFile()
    except OSError:
        return os.fdopen(os.memfd_create("oomsight"), "w+b")


def first_bytes(argv: Sequence[str], limit_bytes: int = 64 << 10) -> tuple[bytes, str]:
    """Return at most *limit_bytes* of what *argv* prints, and its complaint; the program is not run to its end."""
    run, head = Program(argv), b""
    blocks = iter(run)
    for block in blocks:
        head += block
        if len(head) >= limit_bytes:
            blocks.close()  # type: ignore[attr-defined]  # it is a generator
            break
    return head[:limit_bytes], run.complaint


def find(program: str) -> str | None:
    """Return the path of *program*, also where ``PATH`` lacks the administrator's directories; else ``None``."""
    import shutil

    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
