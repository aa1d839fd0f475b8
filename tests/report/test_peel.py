"""What a log was put into comes off in any order: quotes, HTML, frames, JSON in JSON, mails, records of log shippers."""

from __future__ import annotations

import base64
import html
import json
import quopri
import re
from typing import TYPE_CHECKING

import pytest

from oomsight.report import parse_text
from oomsight.sources.needles import could_matter

from .mangle import CARRIERS, printk, quote_mail, text, wrap_anywhere
from .test_mangled import check_same, source

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDENS = ("6.18.15-memcg_nested", "5.10.262-global_swap_zram", "6.1.192-memcg_v1")


def lines(t: str) -> list[str]:
    return t.rstrip("\n").split("\n")


def each(form: Callable[[str], str]) -> Callable[[str], str]:
    return lambda t: "\n".join(map(form, lines(t))) + "\n"


def mail(t: str, encoding: str, encoded: str) -> str:
    return f"From: root@web-07\nSubject: oom\nContent-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\n{encoded}"


SKINS: dict[str, Callable[[str], str]] = {
    "hard blanks": lambda t: t.replace("  ", "\u00a0 "),
    "hard blanks only": lambda t: t.replace(" ", "\u00a0"),
    "html break": lambda t: "<p>" + "<br />\n".join(map(html.escape, lines(t))) + "</p>",
    "html blanks": lambda t: "<div>" + "<br>".join(html.escape(s).replace(" ", "&nbsp;") for s in lines(t)) + "</div>",
    "html table": each(lambda s: f"<tr><td>7</td><td>{html.escape(s)}</td></tr>"),
    "html highlighted": each(lambda s: re.sub(r"\d+", r'<span class="mi">\g<0></span>', html.escape(s))),
    "frame": each(lambda s: f"│ {s:<90} │"),
    "table": each(lambda s: f"| 7 | 2026-11-03 04:05:06 | web-07 | {s} |"),
    "patch": each(lambda s: f"+{s}"),
    "bullets": each(lambda s: f"• {s}"),
    "pretty list": lambda t: json.dumps(lines(t), indent=4),
    "ansible": lambda t: 'ok: [web-07] => {\n    "msg": ' + json.dumps(lines(t), indent=8) + "\n}",
    "python list": lambda t: repr(lines(t)),
    "escaped twice": lambda t: json.dumps({"body": json.dumps({"text": t})}),
    "documents": lambda t: "\n".join(json.dumps({"MESSAGE": s, "_TRANSPORT": "kernel"}, indent="\t") for s in lines(t)),
    "documents on one line": lambda t: " ".join(json.dumps({"log": s + "\n", "stream": "stdout"}) for s in lines(t)),
    "documents quoted": lambda t: quote_mail(json.dumps([{"textPayload": s, "timestamp": "2026-11-03T04:05:06Z"} for s in lines(t)], indent=2)),
    "documents of one width": lambda t: wrap_anywhere("\n".join(json.dumps({"log": s + "\n", "stream": "stdout"}) for s in lines(t)), 100),
    "documents as html": lambda t: html.escape("\n".join(json.dumps({"log": s + "\n"}) for s in lines(t))),
    "logfmt": each(lambda s: f"time=2026-11-03T04:05:06Z level=warn msg={json.dumps(s)}"),
    "fluent bit": each(lambda s: f'[7] kmsg: [[1793678706.1, {{}}], {{"priority"=>4, "sequence"=>7, "msg"=>{json.dumps(s)}}}]'),
    "octal around json": lambda t: "Nov  3 04:05:06 h app[5]: " + "#012".join(json.dumps({"log": s}) for s in lines(t)),
    "kept from marking": each(lambda s: re.sub(r"([\[\]_*()-])", r"\\\1", s)),
    "logged again": each(lambda s: f"Nov  3 04:05:06 h app[5]: 2026-11-03T04:05:07.640685Z web-07 kernel: {s}"),
    "quoted mail": lambda t: quote_mail(quopri.encodestring(t.encode()).decode()),
    "base64 mail": lambda t: mail(t, "base64", base64.encodebytes(t.encode()).decode()),
    "one line": lambda t: t.replace("\n", " "),
    "azure": lambda t: "TimeGenerated [UTC],Computer,SyslogMessage\n" + "".join('"11/3/2026, 4:05:06.000 AM",web-07,"' + s.replace('"', '""') + '"\n' for s in lines(t)),
}  # fmt: skip


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("skin", SKINS)
def test_skin_keeps_everything(skin: str, golden: str) -> None:
    log = SKINS[skin](text(source(golden)))
    check_same(log, golden)
    assert could_matter(log.encode())


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", ["journal-short", "rfc3164", "rfc5424", "dmesg-T-C", "kmsg", "cri", "dmesg-x", "journal-iso"])
@pytest.mark.parametrize("skin", ["one line", "quoted mail", "frame", "html break", "ansible", "escaped twice", "python list"])
def test_skin_of_other_carriers_keeps_everything(skin: str, carrier: str, golden: str) -> None:
    check_same(SKINS[skin](CARRIERS[carrier](source(golden))), golden)


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize("carrier", ["journal-short", "dmesg-T-C", "kmsg", "cri"])
@pytest.mark.parametrize("width", [72, 80])
def test_newest_first_and_wrapped_and_quoted(width: int, carrier: str, golden: str) -> None:
    newest_first = "\n".join(reversed(lines(CARRIERS[carrier](source(golden)))))
    check_same(quote_mail(wrap_anywhere(newest_first, width)), golden)


@pytest.mark.parametrize("golden", GOLDENS)
@pytest.mark.parametrize(
    "skins",
    [
        ("logfmt", "ansible"), ("html break", "documents quoted"), ("escaped twice", "html break"), ("documents", "ansible"),
        ("logfmt", "escaped twice", "quoted mail"), ("pretty list", "html break", "base64 mail"), ("frame", "documents quoted"),
    ],
)  # fmt: skip
def test_several_skins_at_once(skins: tuple[str, ...], golden: str) -> None:
    log = text(source(golden))
    for name in skins:
        log = SKINS[name](log)
    check_same(log, golden)


def test_numbers_of_lines_are_those_of_the_file() -> None:
    log = lines(text(source(GOLDENS[0])))
    head = next(i for i, s in enumerate(log) if "invoked oom-killer" in s)
    for form in ("html table", "frame", "logfmt", "logged again", "patch"):
        (report, *_) = parse_text("\n\n" + SKINS[form]("\n".join(log)))
        assert report.source.first_line == head + 3, form


def test_netconsole_with_the_release_in_front() -> None:
    log = source(GOLDENS[0])
    told = "".join(f"6.18.15-amd64,4,{i},{round(m.seconds * 1e6)},-,ncfrag=0/90;{m.text}\n" for i, m in enumerate(log))
    check_same(told, GOLDENS[0])


def test_name_with_a_hard_blank_keeps_it() -> None:
    line = "Out of memory: Killed process 7 (my\u00a0app) total-vm:100kB, anon-rss:50kB, file-rss:4kB, shmem-rss:0kB"
    assert parse_text(printk(source(GOLDENS[0])[0]) + line)[0].victims[0].comm == "my\u00a0app"


def test_no_number_comes_of_two_columns() -> None:
    """A row that was wrapped at a blank by chance at the full width."""
    log = wrap_at(text(source("6.1.192-memcg_v1")), 78)
    assert all(t.rss_pages < 10**7 for r in parse_text(log) for t in r.tasks)


def wrap_at(t: str, width: int) -> str:
    from textwrap import wrap

    return "\n".join(piece for s in lines(t) for piece in wrap(s, width) or [""])
