"""
Damage: what people, mail programs, log shippers and terminals do to kernel messages before we get to read them.

Pure functions. Those of :data:`CARRIERS` put every line of a kernel log into one more format; those of
:data:`DAMAGE` take text as it was pasted and spoil it without losing information; the others lose some.
"""

from __future__ import annotations

import html
import json
import quopri
import re
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Message(NamedTuple):
    """One line of the kernel log: seconds since boot, text, and whether it continues the record before it."""

    seconds: float
    text: str
    cont: bool = False


_DMESG = re.compile(r"\[ *(\d+\.\d+)\] ?(.*)")
_BOOT = datetime(2026, 11, 23, 9, 58, 10, tzinfo=UTC)


def messages(dmesg: str) -> list[Message]:
    """Read ``dmesg`` output back into messages; its indented lines continue a record."""
    out: list[Message] = []
    for line in dmesg.split("\n"):
        m = _DMESG.match(line)
        if m:
            out.append(Message(float(m[1]), m[2]))
        elif out and line.strip():
            out.append(Message(out[-1].seconds, line.strip(), True))
    return [m for m in out if "oomrig" not in m.text]


def text(log: Sequence[Message]) -> str:
    """The log as ``dmesg`` prints it to a pipe, every line with its clock (``dmesg -S``)."""
    return "".join(f"{printk(m)}{m.text}\n" for m in log)


def printk(m: Message) -> str:
    """The clock of CONFIG_PRINTK_TIME."""
    return f"[{m.seconds:12.6f}] "


def _at(m: Message) -> datetime:
    return _BOOT + timedelta(seconds=m.seconds)


# -- carriers: one line of the log in the words of another program ------------------------------------------------------


def _json_lines(key: str, wrap: Callable[[Message], dict[str, object]]) -> Callable[[Sequence[Message]], str]:
    def carry(log: Sequence[Message]) -> str:
        return "".join(json.dumps({**wrap(m), key: f"{printk(m)}{m.text}"}) + "\n" for m in log)

    return carry


def _prefix(prefix: Callable[[Message], str]) -> Callable[[Sequence[Message]], str]:
    return lambda log: "".join(f"{prefix(m)}{m.text}\n" for m in log)


def _journal_json(log: Sequence[Message]) -> str:
    return "".join(
        json.dumps({
            "__REALTIME_TIMESTAMP": str(int(_at(m).timestamp() * 1e6)), "_TRANSPORT": "kernel", "_HOSTNAME": "db1",
            "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": str(round(m.seconds * 1e6)), "MESSAGE": m.text,
        }) + "\n"
        for m in log
    )  # fmt: skip


def _journal_json_bytes(log: Sequence[Message]) -> str:
    """As journalctl writes what is not clean UTF-8: an array of byte values."""
    return "".join(
        json.dumps({
            "__REALTIME_TIMESTAMP": str(int(_at(m).timestamp() * 1e6)), "_TRANSPORT": "kernel", "_HOSTNAME": "db1",
            "_SOURCE_MONOTONIC_TIMESTAMP": str(round(m.seconds * 1e6)),
            "MESSAGE": list(m.text.encode("utf-8", "surrogateescape")),
        }) + "\n"
        for m in log
    )  # fmt: skip


def _journal_export(log: Sequence[Message]) -> str:
    return "".join(
        f"__CURSOR=s=1;i={i:x}\n__REALTIME_TIMESTAMP={int(_at(m).timestamp() * 1e6)}\n_TRANSPORT=kernel\n_HOSTNAME=db1\n"
        f"SYSLOG_IDENTIFIER=kernel\n_SOURCE_MONOTONIC_TIMESTAMP={round(m.seconds * 1e6)}\nMESSAGE={m.text}\n\n"
        for i, m in enumerate(log)
    )


def _dmesg_json(log: Sequence[Message]) -> str:
    items = [
        f'      {{\n         "pri": 4,\n         "time":{m.seconds:12.6f},\n         "msg": {json.dumps(m.text)}\n      }}'
        for m in log
    ]
    return '{\n   "dmesg": [\n' + ",".join(items) + "\n   ]\n}\n"


def _docker(log: Sequence[Message]) -> str:
    return "".join(
        json.dumps({"log": f"{printk(m)}{m.text}\n", "stream": "stdout", "time": f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}789Z"}) + "\n"
        for m in log
    )


def _kmsg(log: Sequence[Message]) -> str:
    return "".join(f"4,{300 + i},{round(m.seconds * 1e6)},-;{m.text}\n" for i, m in enumerate(log))


def _rsyslog_octal(log: Sequence[Message]) -> str:
    """rsyslog writes the newlines inside one record as ``#012`` and tabs as ``#011``."""
    out: list[str] = []
    for m in log:
        if m.cont and out:
            out[-1] += f"#012{m.text}"
        else:
            out.append(f"{_at(m):%b %e %H:%M:%S} db1 kernel: {printk(m)}{m.text}")
    return "\n".join(out).replace("\t", "#011") + "\n"


def _indented(log: Sequence[Message]) -> str:
    """As dmesg to a terminal: the further lines of a record are indented and have no clock."""
    return "".join((" " * 15 if m.cont else printk(m)) + m.text + "\n" for m in log)


def _loki(log: Sequence[Message]) -> str:
    values = [[str(int(_at(m).timestamp() * 1e9)), f"{printk(m)}{m.text}"] for m in log]
    return "".join(json.dumps({"timestamp": t, "line": line, "labels": {"job": "kernel"}}) + "\n" for t, line in values)


_CTIME = {
    "C": "{0:%a %b %e %H:%M:%S %Y}",
    "de": "Mo Nov {0.day:2d} {0:%H:%M:%S %Y}",
    "fr": "lun. nov. {0.day:2d} {0:%H:%M:%S %Y}",
    "ru": "Пн ноя {0.day:2d} {0:%H:%M:%S %Y}",
    "zh": "一 11月 {0.day:2d} {0:%H:%M:%S %Y}",
    "ja": "月 11月 {0.day:2d} {0:%H:%M:%S %Y}",
    "pl": "pon lis {0.day:2d} {0:%H:%M:%S %Y}",
}

CARRIERS: dict[str, Callable[[Sequence[Message]], str]] = {
    "bare": _prefix(lambda m: ""),
    "dmesg": text,
    "dmesg-indented": _indented,
    "dmesg-x": _prefix(lambda m: f"kern  :warn  : {printk(m)}"),
    "dmesg-r": _prefix(lambda m: f"<4>{printk(m)}"),
    "dmesg-iso": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S,%f}+00:00 "),
    "dmesg-delta": _prefix(lambda m: "[<    0.000021>] "),
    "dmesg-H": _prefix(lambda m: "[  +0.000021] "),
    "dmesg-json": _dmesg_json,
    "caller": _prefix(lambda m: f"[{m.seconds:12.6f}][ T4711] "),
    "caller-blank": _prefix(lambda m: f"[{m.seconds:12.6f}] [   T4711] "),
    "kmsg": _kmsg,
    "journal-short": _prefix(lambda m: f"{_at(m):%b %e %H:%M:%S} db1 kernel: "),
    **{
        f"journal-short-{k}": _prefix(lambda m, month=month: f"{month} {_at(m):%d %H:%M:%S} db1 kernel: ")  # type: ignore[misc]
        for k, month in {"fr": "déc.", "ru": "ноя", "zh": "11月", "de": "Dez", "it": "novembre"}.items()
    },
    "journal-precise": _prefix(lambda m: f"{_at(m):%b %e %H:%M:%S.%f} db1 kernel: "),
    "journal-iso": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S}+0000 db1 kernel: "),
    "journal-iso-precise": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}+02:00 db1 kernel: "),
    "journal-full": _prefix(lambda m: f"{_at(m):%a %Y-%m-%d %H:%M:%S} UTC db1 kernel: "),
    "journal-monotonic": _prefix(lambda m: f"{printk(m)}db1 kernel: "),
    "journal-unix": _prefix(lambda m: f"{_at(m).timestamp():.6f} db1 kernel: "),
    "journal-json": _journal_json,
    "journal-json-bytes": _journal_json_bytes,
    "journal-export": _journal_export,
    "rfc3164": _prefix(lambda m: f"<4>{_at(m):%b %e %H:%M:%S} db1 kernel: {printk(m)}"),
    "rfc3164-no-priority": _prefix(lambda m: f"{_at(m):%b %e %H:%M:%S} db1 kernel: {printk(m)}"),
    "rfc3164-address": _prefix(lambda m: f"{_at(m):%b %e %H:%M:%S} 10.0.0.7 kernel: {printk(m)}"),
    "rfc5424": _prefix(lambda m: f"<4>1 {_at(m):%Y-%m-%dT%H:%M:%S.%f}Z db1 kernel - - - {printk(m)}"),
    "rsyslog-iso": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}+01:00 db1 kernel: {printk(m)}"),
    "rsyslog-octal": _rsyslog_octal,
    "netconsole": _prefix(lambda m: f"4,{int(m.seconds * 100)},{round(m.seconds * 1e6)},-;"),
    "compose": _prefix(lambda m: f"kmsg-reader-1  | {printk(m)}"),
    "cri": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}789Z stdout F {printk(m)}"),
    "kubectl-timestamps": _prefix(lambda m: f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}789Z {printk(m)}"),
    "docker-json": _docker,
    "cloudwatch": _json_lines("message", lambda m: {"timestamp": int(_at(m).timestamp() * 1000), "ingestionTime": 1}),
    "gcp": _json_lines("textPayload", lambda m: {"timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S.%f}Z", "severity": "WARNING"}),
    "loki": _loki,
    **{f"dmesg-T-{k}": _prefix(lambda m, f=f: f"[{f.format(_at(m))}] ") for k, f in _CTIME.items()},  # type: ignore[misc]
}
"""Every carrier by name."""


# -- damage that loses nothing ----------------------------------------------------------------------------------------


def quote_mail(t: str) -> str:
    return re.sub(r"^", "> ", t.rstrip("\n"), flags=re.M) + "\n"


def wrap_at_blanks(t: str, width: int) -> str:
    """Break long lines at blanks, as mail programs do."""
    out: list[str] = []
    for line in t.split("\n"):
        pieces = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
        out += pieces or [""]
    return "\n".join(out)


def wrap_anywhere(t: str, width: int) -> str:
    """Break every line after *width* characters, as terminals do."""
    return "\n".join(line[i : i + width] for line in t.split("\n") for i in range(0, max(len(line), 1), width))


def thousands(t: str, separator: str) -> str:
    """Group the digits of sizes, as spreadsheets and ticket systems do."""

    def group(m: re.Match[str]) -> str:
        return f"{int(m[1]):,}".replace(",", separator) + "kB"

    return re.sub(r"(?<=[: ])(\d{4,})kB", group, t)


DAMAGE: dict[str, Callable[[str], str]] = {
    "mail": quote_mail,
    "mail-twice": lambda t: quote_mail(quote_mail(t)),
    "mail-html": lambda t: html.escape(quote_mail(t), quote=False).replace("&lt;", "<").replace("&amp;", "&"),
    "fence": lambda t: f"Here is what I see:\n\n```\n{t}```\n\nAny idea?\n",
    "fence-tagged": lambda t: f"```console\n{t}```\n",
    "indented": lambda t: re.sub(r"^", "    ", t, flags=re.M),
    "crlf": lambda t: t.replace("\n", "\r\n"),
    "blank-lines": lambda t: t.replace("\n", "\n\n"),
    "trailing-blanks": lambda t: t.replace("\n", "  \n"),
    "tabs": lambda t: re.sub(r" {2,}", "\t", t),
    "no-newline-at-end": lambda t: t.rstrip("\n"),
    "bom": lambda t: "\ufeff" + t,
    "ansi": lambda t: re.sub(r"^(\[[^\]]*\])(.*)$", "\x1b[32m\\1\x1b[0m\x1b[33m\\2\x1b[0m", t, flags=re.M),
    "quoted-printable": lambda t: quopri.encodestring(t.encode()).decode(),
    "json-escaped": json.dumps,
    "json-member": lambda t: json.dumps({"event": "oom", "body": t}),
    "literal-newlines": lambda t: t.replace("\n", "\\n"),
    "one-line": lambda t: re.sub(r"\s*\n\s*", " ", t),
    "thousands-comma": lambda t: thousands(t, ","),
    "thousands-dot": lambda t: thousands(t, "."),
    "thousands-apostrophe": lambda t: thousands(t, "'"),
    "thousands-thin": lambda t: thousands(t, "\u2009"),
    "3270": lambda t: t.replace("[", "Ý").replace("]", "¨"),  # the console of z/VM on an x3270
    "3270-cut": lambda t: re.sub(r"^\[ *", "", t, flags=re.M).replace("[", "Ý").replace("]", "¨"),
    "reversed": lambda t: "\n".join(reversed(t.rstrip("\n").split("\n"))) + "\n",
    "twice": lambda t: t + t,
    **{f"wrap-blanks-{w}": lambda t, w=w: wrap_at_blanks(t, w) for w in (72, 76, 80, 100, 120)},  # type: ignore[misc]
    **{f"wrap-words-{w}": lambda t, w=w: wrap_anywhere(t, w) for w in (72, 76, 80, 100, 120)},  # type: ignore[misc]
}
"""Every damage by name: pasted text to spoiled text."""


# -- mixing -----------------------------------------------------------------------------------------------------------

NOISE = (
    "usb 1-1: new high-speed USB device number 7 using xhci_hcd",
    "audit: type=1400 audit(1795431940.497:81): apparmor=\"DENIED\" operation=\"open\" pid=4242 comm=\"cat\"",
    "docker0: port 1(veth1a2b3c4) entered blocking state",
    "TCP: request_sock_TCP: Possible SYN flooding on port 8080. Sending cookies.",
    "systemd-journald[311]: Under memory pressure, flushing caches.",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode",
    "perf: interrupt took too long (2511 > 2500), lowering kernel.perf_event_max_sample_rate to 79500",
)


def with_noise(log: Sequence[Message], every: int) -> list[Message]:
    """Other messages of the console after every *every*-th line."""
    out: list[Message] = []
    for i, m in enumerate(log):
        out.append(m)
        if i % every == every - 1 and not (i + 1 < len(log) and log[i + 1].cont):
            out.append(Message(m.seconds, NOISE[i // every % len(NOISE)]))
    return out


def interleave(a: Sequence[Message], b: Sequence[Message]) -> list[tuple[str, Message]]:
    """Two logs line by line, as two CPUs of a kernel before 4.2 print them; each line with its caller id."""
    out: list[tuple[str, Message]] = []
    for i in range(max(len(a), len(b))):
        out += [("T101", a[i])] if i < len(a) else []
        out += [("T202", b[i])] if i < len(b) else []
    return out
