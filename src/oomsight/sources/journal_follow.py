"""
Following the systemd journal by cursor: kernel records of all boots, and what userspace killers say.

``journalctl --follow`` reads journal files, so it survives a restart of journald; when it ends itself it is started
again from the last cursor. What a line claims to be is checked against what journald knows of its sender.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Final

from oomsight.live.events import LogRecord
from oomsight.sources.errors import SourceError
from oomsight.sources.journal import FIELDS, MATCHES, NAME
from oomsight.sources.program import find

READ_BYTES: Final = 1 << 20
FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
_FIELDS: Final = (*FIELDS, "_UID", "SYSLOG_PID")
_KILLERS: Final = frozenset({"systemd-oomd", "earlyoom", "nohang", "nohang-desktop", "oomd", "kubelet"})
_TRUSTED_UIDS: Final = frozenset({b"0"})

Entry = dict[str, bytes]


class ExportParser:
    """The journal export format, in pieces of any size: one ``NAME=value`` a line, or a name, a length and bytes."""

    def __init__(self) -> None:
        """Start before the first entry."""
        self._buffer = bytearray()
        self._entry: Entry = {}

    def feed(self, data: bytes) -> list[Entry]:
        """Return the entries *data* completes."""
        buffer, at = self._buffer, 0
        buffer += data
        done: list[Entry] = []
        while (end := buffer.find(b"\n", at)) >= 0:
            line = bytes(buffer[at:end])
            if not line:
                if self._entry:
                    done.append(self._entry)
                    self._entry = {}
                at = end + 1
                continue
            name, equals, value = line.partition(b"=")
            if not equals:  # binary: 64-bit little-endian length, bytes, newline
                size = int.from_bytes(buffer[end + 1 : end + 9], "little")
                if len(buffer) < end + 10 + size:
                    break
                value, end = bytes(buffer[end + 9 : end + 9 + size]), end + 9 + size
            self._entry[name.decode("ascii", "replace")] = value
            at = end + 1
        del buffer[:at]
        return done


def record_of(entry: Entry) -> LogRecord | None:
    """Return the log record of one journal entry, its line as ``journalctl -o short-iso`` has it; else ``None``."""
    message, cursor = entry.get("MESSAGE"), entry.get("__CURSOR")
    if message is None or cursor is None:
        return None
    kernel = entry.get("_TRANSPORT") == b"kernel"
    facility_kern = entry.get("SYSLOG_FACILITY", b"0") == b"0"
    ident = entry.get("SYSLOG_IDENTIFIER", b"").decode("utf-8", "replace")
    unit = entry.get("_SYSTEMD_UNIT", b"").decode("utf-8", "replace").removesuffix(".service")
    killer = not kernel and ident in _KILLERS and (unit == ident or entry.get("_UID") in _TRUSTED_UIDS)
    if not kernel and not killer:
        return None
    us = _number(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry.get("__REALTIME_TIMESTAMP"))
    mono = _number(entry.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    line = b" ".join(message.split(b"\n"))
    stamp = _iso(us) if us is not None else ""
    tag = "kernel" if kernel else f"{ident}[{_number(entry.get('_PID')) or 0}]"
    clock = f"[{mono // 1_000_000:5d}.{mono % 1_000_000:06d}] " if kernel and mono is not None else ""
    host = re.sub(rb"[^\w.\-]", b"_", entry.get("_HOSTNAME", b"localhost")).decode("ascii", "replace")
    raw = f"{stamp} {host} {tag}: {clock}".encode() + line + b"\n"
    return LogRecord(
        raw, line.decode("utf-8", "surrogateescape"), NAME, cursor.decode("ascii", "replace"),
        mono if mono is not None else us, entry.get("_BOOT_ID", b"").decode("ascii", "replace") or None,
        (kernel and facility_kern) or killer, killer, us,
    )  # fmt: skip


class JournalFollow:
    """
    ``journalctl --follow`` as a source for epoll: :meth:`fileno` changes when the program is started again.

    ``cursor`` is where to read on. ``start`` must be called first, and again when :meth:`read` says it ended.
    """

    name = NAME

    def __init__(
        self, cursor: str | None = None, *, only_new: bool = False, directory: str | None = None,
        program: str = "journalctl",
    ) -> None:  # fmt: skip
        """Follow from behind *cursor*; without one from the oldest entry, or with *only_new* from now."""
        path = find(program)
        if path is None:
            raise SourceError(NAME, f"{program} is not installed")
        places = [directory] if directory else ["/var/log/journal", "/run/log/journal"]
        there = [place for place in places if os.path.isdir(place)]
        readable = [place for place in there if os.access(place, os.R_OK | os.X_OK)]
        if not any(os.listdir(place) for place in readable):
            if len(readable) < len(there):
                raise SourceError(NAME, "this user may not read it", "be root, or in group systemd-journal")
            raise SourceError(NAME, f"this host keeps no journal ({' and '.join(places)}: empty or missing)")
        self._command = [path, "--quiet", "--follow", "--output=export", f"--output-fields={','.join(_FIELDS)}"]
        self._command += [f"--directory={directory}"] if directory else []
        self._matches = [part for match in MATCHES for part in (match, "+")][:-1]
        self.cursor = cursor
        self.records = 0
        self.restarts = -1
        self._only_new = only_new
        self._process: subprocess.Popen[bytes] | None = None
        self._parser = ExportParser()
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._retry_at = 0.0

    def start(self) -> None:
        """Start the program from the cursor."""
        self.close()
        if self.cursor is not None:
            where = ["--no-tail", f"--after-cursor={self.cursor}"]
        else:
            where = ["--lines=0"] if self._only_new else ["--no-tail"]
        self._parser = ExportParser()
        self.restarts += 1
        self._process = subprocess.Popen(
            [*self._command, *where, *self._matches], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=os.environ | {"LC_ALL": "C"},
        )  # fmt: skip
        os.set_blocking(self.fileno(), False)

    def fileno(self) -> int:
        """The pipe from journalctl."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read(self) -> list[LogRecord] | None:
        """Return the records that have come; ``None`` = the program has ended, see :meth:`retry_seconds`."""
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            self._retry_at = time.monotonic() + self._wait_seconds
            self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
            return None
        self._wait_seconds = FIRST_WAIT_SECONDS
        found = []
        for entry in self._parser.feed(data):
            self.cursor = entry.get("__CURSOR", b"").decode("ascii", "replace") or self.cursor
            record = record_of(entry)
            if record is not None:
                found.append(record)
        self.records += len(found)
        return found

    def retry_seconds(self) -> float:
        """When to :meth:`start` again after the program has ended, on the monotonic clock."""
        return self._retry_at

    def close(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdout is not None
            process.stdout.close()
            process.kill()
            process.wait()


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _iso(us: int) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat(timespec="microseconds")
