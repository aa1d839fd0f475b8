"""
Structured exports of logs as lines again: journal export and JSON, ``dmesg -J``, container, cloud and log-store JSON,
CSV. Each record becomes the line it was, with its time in front where the line itself shows none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from oomsight._lazy import lazy

_NUMBERED = tuple[int, str]

MESSAGE_KEYS = (
    "MESSAGE", "message", "msg", "log", "textPayload", "Message", "short_message", "line", "Line", "text", "body",
    "event", "_raw", "@message", "content", "SyslogMessage", "stdout", "Output", "output",
)  # fmt: skip
"""Members that hold the logged line: journald, containers, GELF, Splunk, CloudWatch, Azure, Grafana, Ansible."""
TIME_KEYS = (
    "time", "timestamp", "@timestamp", "ts", "eventTime", "_time", "TimeGenerated", "Date", "Time", "date",
)  # fmt: skip
_PARTS_OF_SECOND = {10: 1, 13: 1_000, 16: 1_000_000, 19: 1_000_000_000}  #: by the digits of a time since 1970
_HEAD = 4096  # characters in which an export shows what it is


def _loads(text: str) -> Any:
    """``json.loads``; the module is imported only where there is JSON."""
    import json

    return json.loads(text)


def _dumps(text: str, ascii_only: bool) -> str:
    import json

    return json.dumps(text, ensure_ascii=ascii_only)


def journal_export(data: bytes, first_no: int) -> Iterator[_NUMBERED]:
    """journalctl -o export: KEY=value lines or KEY, length, value; a blank line ends an entry. Numbers: of MESSAGE."""
    pos, no, size = 0, first_no, len(data)
    entry: dict[bytes, bytes] = {}
    message_no = no
    while pos < size:
        end = data.find(b"\n", pos)
        end = size if end < 0 else end
        line = data[pos:end]
        if not line:
            yield from _entry_lines(entry, message_no)
            entry, message_no = {}, no + 1
        elif b"=" in line:
            key, _, value = line.partition(b"=")
            entry[key] = value
            message_no = no if key == b"MESSAGE" else message_no
        elif end + 9 <= size and line.isascii() and line.replace(b"_", b"").isalnum():
            length = int.from_bytes(data[end + 1 : end + 9], "little")
            if length <= size - end - 9:
                value = data[end + 9 : end + 9 + length]
                entry[line] = value
                begin_no = no + data[end + 1 : end + 9].count(b"\n") + 1
                message_no = begin_no if line == b"MESSAGE" else message_no
                no = begin_no + value.count(b"\n")
                end = end + 9 + length
        pos = end + 1
        no += 1
    yield from _entry_lines(entry, message_no)


def _entry_lines(entry: dict[bytes, bytes], no: int) -> Iterator[_NUMBERED]:
    if b"MESSAGE" not in entry:
        return
    fields = {
        k.decode("ascii", "replace"): v.decode("utf-8", "surrogateescape") for k, v in entry.items()
    }
    yield from _structured(fields, no)


_VERBOSE = lazy(r"[^\W\d]{2,4}\.? \d{4}-\d\d-\d\d \d\d:\d\d:\d\d.* \[s=[^\]]*?;b=(\w+);.*?\bt=([0-9a-f]{6,16});")
_VERBOSE_FIELD = lazy(r" {4}([A-Z_][A-Z0-9_]*)=(.*)")
_MORE_OF_IT = "    " + " " * len("MESSAGE=")  # how a message of several lines goes on


def journal_verbose(text: str, first_no: int) -> Iterator[_NUMBERED]:
    """journalctl -o verbose: a line with time and cursor, then a line for each field. What stands between stays."""
    fields: dict[str, Any] = {}
    cursor: dict[str, Any] = {}
    message_no = first_no
    for no, line in enumerate([*text.split("\n"), ""], first_no):
        if m := _VERBOSE_FIELD.match(line):
            fields[m[1]] = m[2]
            message_no = no if m[1] == "MESSAGE" else message_no
            continue
        if fields and line.startswith(_MORE_OF_IT):
            fields["MESSAGE"] = f"{fields.get('MESSAGE', '')}\n{line.strip()}"
            continue
        if "MESSAGE" in fields:
            yield from _structured({**cursor, **fields}, message_no)
        fields = {}
        if m := _VERBOSE.match(line):  # the cursor has the time in UTC; the zone's name before it may mean any
            cursor = {"_BOOT_ID": m[1], "__REALTIME_TIMESTAMP": str(int(m[2], 16))}
        elif line:
            yield no, line


def _structured(fields: dict[str, Any], no: int) -> Iterator[_NUMBERED]:
    """Write one journal-like record back as plain lines: ISO time, host, tag, printk clock, message."""
    message = fields.get("MESSAGE", "")
    if isinstance(message, list):  # journalctl -o json: bytes, when not clean UTF-8
        message = bytes(b & 0xFF for b in message if isinstance(b, int)).decode("utf-8", "surrogateescape")
    if not isinstance(message, str):
        return
    stamp = str(fields.get("__REALTIME_TIMESTAMP", ""))
    prefix = f"{stamp[:-6]}.{stamp[-6:]} " if re.fullmatch(r"\d{7,18}", stamp, re.A) else ""
    tag = str(fields.get("SYSLOG_IDENTIFIER") or fields.get("_COMM") or "")
    transport = fields.get("_TRANSPORT")
    if transport == "kernel":
        tag = "kernel"
    elif tag == "kernel" and transport not in (None, "syslog"):
        tag = "not-kernel"
    host = str(fields.get("_HOSTNAME") or "localhost").replace(" ", "_")
    if prefix and not tag and "_HOSTNAME" not in fields:
        prefix = f"{datetime.fromtimestamp(int(stamp) / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%f}Z "  # and nothing is invented
    elif prefix:
        pid = fields.get("SYSLOG_PID") or fields.get("_PID")
        prefix += f"{host} {tag.replace(' ', '_') or 'journal'}{f'[{pid}]' if pid and transport != 'kernel' else ''}: "
    mono = str(fields.get("_SOURCE_MONOTONIC_TIMESTAMP", ""))
    if transport == "kernel" and re.fullmatch(r"\d{1,18}", mono, re.A):
        prefix += f"[{int(mono) / 1e6:12.6f}] "
    yield from _continued(no, prefix + message)


def _continued(no: int, message: str) -> Iterator[_NUMBERED]:
    """A record of several lines as a log shows it: those after the first begin with a blank."""
    first, *more = message.split("\n")
    yield no, first
    yield from ((no, f" {piece}") for piece in more)


def json_lines(text: str, first_no: int) -> Iterator[_NUMBERED]:
    """JSON logs: one object a line, ``dmesg -J``, an array, a pretty-printed object. Other lines stay as they are."""
    stripped = text.lstrip()
    if '"dmesg"' in text[:_HEAD] or re.search(r'^\s*"msg":\s*"', text, re.M):
        yield from _dmesg_json(text, first_no)
        return
    if stripped[:1] in "[{" and "\n" in stripped.strip() and not stripped.split("\n", 1)[0].rstrip().endswith("}"):
        try:
            whole = _loads(stripped)
        except (ValueError, RecursionError):
            pass
        else:
            no, at = first_no, 0
            for record in records(whole):
                found = place(text, record, at)
                if found >= 0:
                    no += text.count("\n", at, found)
                at = found if found >= 0 else len(text)  # to look once more through all of it is not worth it
                yield from record_lines(record, no)
            return
    any_json = False
    rest: list[_NUMBERED] = []
    for no, line in enumerate(text.split("\n"), first_no):
        begin = line.strip().rstrip(",")
        brace = begin.find('{"') if begin[:1] != "{" and begin[:2] != "[{" else 0
        got: list[_NUMBERED] = []
        if brace >= 0 and begin.endswith(("}", "}]")):
            try:
                told = _loads(begin[brace:])
            except (ValueError, RecursionError):
                told = None
            got = [out for record in records(told) for out in record_lines(record, no)]
        any_json = any_json or bool(got)
        rest.extend(got or [(no, line)])
    if any_json:
        yield from rest


def records(value: object, outer: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Every object in a JSON document that carries a log message, in order, with the time that stands around it."""
    outer = outer or {}
    if isinstance(value, dict):
        times = {**outer, **{key: value[key] for key in TIME_KEYS if isinstance(value.get(key), str | int | float)}}
        columns, rows, stream = value.get("columns"), value.get("rows"), value.get("values")
        if any(isinstance(v, str | list) and v for key in MESSAGE_KEYS if (v := value.get(key)) is not None):
            yield {**times, **value}
        elif isinstance(columns, list) and isinstance(rows, list):  # Azure Log Analytics
            names = [str(c.get("name")) if isinstance(c, dict) else str(c) for c in columns]
            for row in rows:
                yield from records(dict(zip(names, row, strict=False)) if isinstance(row, list) else row)
        elif isinstance(value.get("stream"), dict) and isinstance(stream, list):  # Loki: [nanoseconds, line]
            yield from ({"timestamp": v[0], "message": v[1]} for v in stream if isinstance(v, list) and len(v) > 1)
        else:
            for v in value.values():
                yield from records(v, times)
    elif isinstance(value, list):
        if len(value) > 1 and all(isinstance(v, str) for v in value):
            yield {**outer, "message": value}
            return
        if value and all(isinstance(v, dict) and v.keys() >= {"field", "value"} for v in value):  # CloudWatch Insights
            yield from records({str(v["field"]): v["value"] for v in value})
            return
        for v in value:
            yield from records(v, outer)


def place(text: str, record: dict[str, Any], start: int) -> int:
    """Where in the document *text* the message of *record* stands, from *start* on; -1 = it was not found."""
    message = next((value for key in MESSAGE_KEYS if isinstance(value := record.get(key), str) and value), "")
    ways = (_dumps(message[:60], ascii_only)[:-1] for ascii_only in (False, True))  # the document may write its begin
    return next((found for way in ways if (found := text.find(way, start)) >= 0), -1)


def record_lines(record: dict[str, Any], no: int) -> Iterator[_NUMBERED]:
    """What one record of :func:`records` logged, as lines that all have the number *no*."""
    if "MESSAGE" in record:
        if "__REALTIME_TIMESTAMP" in record or not (told := _stamp(record)):
            yield from _structured(record, no)
            return
        moment = datetime.fromisoformat(told.strip())  # the time an exporter gave instead of the journal's
        micros = round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e6)
        yield from _structured({**record, "__REALTIME_TIMESTAMP": str(micros)}, no)
        return
    for key in MESSAGE_KEYS:
        value = record.get(key)
        if isinstance(value, list) and value and all(isinstance(piece, str) for piece in value):
            value = "\n".join(value)  # lines of a program's output
        if isinstance(value, str) and value:
            stamp = "" if re.match(r"\d{4}-\d\d-\d\dT", value) else _stamp(record)
            for i, piece in enumerate(value.replace("\r\n", "\n").rstrip("\n").split("\n")):
                # A forwarded message may hold a whole log: its lines are lines, not continuations.
                yield no, (stamp if i == 0 else "") + piece
            return


def _stamp(record: dict[str, Any]) -> str:
    """Time of a record in ISO 8601 with a blank behind it; empty where it has none that can be read."""
    for key in TIME_KEYS:
        value = record.get(key)
        if isinstance(value, str) and (m := re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d\S*)", value)):
            told = f"{m[1]}T{m[2]}"
            try:
                datetime.fromisoformat(told[:26].rstrip("Z") if len(told) > 26 else told)
            except ValueError:
                continue
            return told + " "
        digits = str(value).partition(".")[0]
        if not isinstance(value, bool) and digits.isascii() and digits.isdigit() and len(digits) in _PARTS_OF_SECOND:
            seconds = float(str(value)) / _PARTS_OF_SECOND[len(digits)] if re.fullmatch(r"[\d.]+", str(value)) else 0
            if seconds:
                return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z "
    return ""


def csv_lines(text: str, first_no: int) -> Iterator[_NUMBERED]:
    """Lines of a CSV export, whose first line names the columns, the logged line among them; else none."""
    import csv  # only where there may be some

    header = text[: text.find("\n")]
    for delimiter in ",;\t":
        names = next(csv.reader([header], delimiter=delimiter), [])
        if len(names) > 1 and not {n.strip() for n in names}.isdisjoint(MESSAGE_KEYS):
            break
    else:
        return
    rows = csv.reader(text.split("\n")[1:], delimiter=delimiter)
    no = first_no + 1
    try:
        for row in rows:
            record = dict(zip((n.strip() for n in names), row, strict=False))
            yield from record_lines({key: value for key, value in record.items() if value}, no)
            no = first_no + 1 + rows.line_num
    except csv.Error:
        return


_DMESG_JSON = lazy(r'\s*"(pri|time|caller|msg)":\s*(.*?),?\s*$')


def _dmesg_json(text: str, first_no: int) -> Iterator[_NUMBERED]:
    """``dmesg -J`` prints one member a line; reading lines instead of the document survives a cut anywhere."""
    time, pri = "", ""
    for no, line in enumerate(text.split("\n"), first_no):
        m = _DMESG_JSON.match(line)
        if m is None:
            continue
        if m[1] == "time":
            time = m[2].strip()
        elif m[1] == "pri":
            pri = m[2].strip()
        elif m[1] == "msg":
            try:
                message = _loads(m[2])
            except (ValueError, RecursionError):
                message = m[2].strip('"')
            if not isinstance(message, str):
                continue
            prefix = f"<{pri}>" if pri.isdigit() else ""
            if re.fullmatch(r"\d{1,12}\.\d{1,9}", time):
                prefix += f"[{float(time):12.6f}] "
            yield from _continued(no, prefix + message)
