"""
The layers of carriers: what other programs put in front of a kernel message, a row each, and which of them a line has.

They are mail or Markdown quoting, a container log wrapper, a syslog priority, a wall-clock stamp with host and tag,
dmesg's facility and level words, the printk clock, a caller id.
"""

from __future__ import annotations

import re

from oomsight._lazy import lazy
from oomsight._named import NamedTuple


class Layer(NamedTuple):
    """One kind of prefix. Layers are tried in table order, each at most once per line."""

    name: str
    pattern: str  #: regex source; named groups carry data for :func:`oomsight.report.times.when`
    sample: str  #: a prefix of this layer; a test matches every row against its own sample
    source: str  #: program or specification that writes it
    starts: str  #: kinds of first character (see :func:`kind_of`): other lines need not be looked at


# journalctl writes the month in the reader's language (``avril 16``, ``déc. 05``, ``4月 16``); what follows is strict.
_MONTH = r"(?:[^\W\d_]{3,9}\.?[ \t]|\d{1,2}[月월][ \t]?)"
_CLOCK = r"\d\d:\d\d:\d\d"
# Programs whose tag is believed without a host before it; anything else there may be the message itself ("memory: ").
_TAGS = r"kernel|systemd(?:-[a-z]+)?|earlyoom|nohang|oomd|kubelet|lmkd|lowmemorykiller|slurmstepd|dockerd|containerd"
_TAKEN_OUT = r"[*#]+|\.\.\.|…|<[\w.\- ]+>|\[[A-Za-z][\w.\- ]+\]"  # a host name, before posting
# What a line of a log begins with: behind it whoever searched or numbered the lines put something of their own.
_BEGIN = (
    r"(?=[A-Z][a-z]{2} [ \d]\d \d\d:\d\d|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:|\d{4}-\d\d-\d\d[T ]\d\d:"
    r"|\[[ \t]*\d+\.\d{3,6}\]|\[[A-Z][a-z]{2} [A-Z]|<\d{1,3}>|\d{1,4},\d+,\d+,)"
)
_FOUND = r"(?:[/.~\w][\w./~+@\-]{0,200}?[:\-])?(?:\d{1,9}[:\-])?" + _BEGIN
_OLD = (
    r"(?:DMA|Normal|HighMem) (?:per-cpu:|free:|: )|cpu \d+ (?:hot|cold): |Free (?:pages|swap): |Active:\d"
    r"|protections\[\]: "
)
_CLOCK_NEXT = r"(?=\[[ \t]*\d+\.\d+\])"  # some syslog daemons put no blank between tag and printk clock
_HOSTTAG = (
    r"(?:(?!oomd kill: )(?P<host{n}>[\w][\w.\-:@%*]*|" + _TAKEN_OUT + r")(?<!:)[ \t]+(?:[a-z0-9]+\.[a-z]+[ \t]+)?"
    r"(?P<tag{n}>(?!oom-killer:)[\w./@()\-]{{1,48}}?)(?:\[(?P<tagpid{n}>\d+)\])?:(?:[ \t]|$|" + _CLOCK_NEXT + r")"
    # 2.6 with syslog-ng or metalog: a host and no tag, believed before what only a kernel says.
    r"|(?P<host0{n}>[\w][\w.\-]*)[ \t]+(?=oom-killer: |Out of [Mm]emory: Kill|" + _OLD + r")"
    r"|(?P<tag2{n}>(?:" + _TAGS + r")(?:\[\d+\])?|[\w.\-]+\[\d+\]):(?:[ \t]|$|" + _CLOCK_NEXT + r"))"
)

LAYERS: tuple[Layer, ...] = (
    Layer(
        "quote", r"[ \t]*(?:(?:>|&gt;|\||#+|//+|\*|;|\+(?!\d)|[│┃•])[ \t]*)+", "> > ",
        "mail, Markdown, source comments, patches", " >|&#/*;+│┃•",
    ),
    Layer("indent", r"[ \t]+", "    ", "pasted code blocks", " "),
    Layer("found", _FOUND, "/var/log/syslog.2.gz:4711:", "grep -n, grep -r, zgrep, grep -C", "a0/.~"),
    Layer("numbered", r"\d{1,19}\.?[ \t]+" + _BEGIN, "1\t", "cat -n, nl, less -N; Grafana", "0"),
    Layer(
        "splunk",
        r"\d{1,2}/\d{1,2}/\d{2,4} \d{1,2}:\d\d:\d\d(?:\.\d{1,6})?(?: [AP]M)?[ \t]+" + _BEGIN,
        "11/22/24 10:10:10.000 AM ",
        "Splunk, events copied from its list",
        "0",
    ),
    Layer(
        "kibana",
        r"(?P<logread>[A-Z][a-z]{2} \d{1,2}, \d{4} @ \d\d:\d\d:\d\d(?:\.\d{1,6})?)[ \t]+"
        + r"(?:" + _HOSTTAG.format(n="k") + r")?",
        "Nov 22, 2024 @ 10:10:10.123 oomrig kernel: ",
        "Kibana Discover, columns copied",
        "a",
    ),
    Layer("clock", r"\[?\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\]?[ \t]+", "10:10:10  ", "Jenkins Timestamper", "0["),
    Layer("compose", r"[\w.\-]+[ \t]+\|[ \t]", "web-1  | ", "docker compose logs", "a0.-"),
    Layer(
        "cri",
        r"(?P<cri>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+\-]\d\d:?\d\d)) (?:stdout|stderr) [FP] ",
        "2026-11-23T09:58:14.7Z stdout F ",
        "Kubernetes CRI log format",
        "0",
    ),
    Layer(
        "kmsg",
        r"(?:\d+\.\d[\w.\-+~]{0,60},)?(?P<prio>\d{1,4}),(?P<seq>\d{1,18}),(?P<usec>\d{1,18}),[^;,]{0,16}(?:,[^;]{0,80}?caller=(?P<caller>[TC]\d+))?[^;]{0,80};",
        "4,329,3313311,-;",
        "/dev/kmsg record, kernel/printk/printk.c; netconsole with the release in front",
        "0",
    ),
    Layer("pri", r"<(?P<pri>\d{1,3})>(?:1 )?[ \t]*", "<4>", "syslog(2), RFC 3164, RFC 5424", "<"),
    Layer(
        "talos",
        r"(?:[\w.\-]++: )?[a-z0-9]+:[ ]+[a-z]+: \[(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\]: ",
        "kern: warning: [2026-01-12T20:27:31.913975631Z]: ",
        "talosctl dmesg, of several nodes with their names",
        "a0",
    ),
    Layer("letter", r"\[[DIWEC]\][ \t]", "[W] ", "Keenetic routers", "["),
    Layer("level", r"(?P<fac>[a-z0-9]+)[ \t]*:(?P<lev>[a-z]+)[ \t]*:[ \t]?", "kern  :warn  : ", "dmesg -x", "a0"),
    Layer(
        "vmware",
        r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?) In\(\d\d\) [\w\-]+ - Guest: (?:<\d>)?",
        "2023-12-04T10:49:30.103Z In(05) vcpu-5 - Guest: <4>",
        "vmware.log, what a guest's console says",
        "0",
    ),
    Layer(
        "logread",
        r"(?P<logread>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}) "
        r"(?:[a-z0-9]+\.[a-z]+ )?(?P<tagl>[\w./@()\-]{1,48})(?:\[\d+\])?:(?:[ \t]|$)",
        "Tue Jul 29 06:26:59 2025 kern.info kernel: ",
        "OpenWrt logread, ubox log/logread.c",
        "a",
    ),
    Layer(
        "rfc5424",
        r"(?P<iso5>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+\-]\d\d:?\d\d)?) (?P<host5>(?!<\d)\S+)"
        r" (?P<tag5>\S+) (?P<tagpid5>\S+) \S+ (?:-|\[.*?\]) ?",
        "2026-11-23T09:58:14.652060+00:00 oomrig kernel - - - ",
        "RFC 5424",
        "0",
    ),
    Layer(
        "logcat",
        r"(?P<logcat>\d\d-\d\d \d\d:\d\d:\d\d\.\d{3,6})[ \t]+(?:[a-z_]+\w*[ \t]+)?"
        r"\d+[ \t]+\d+ [VDIWEFS] [^\s:]*[ \t]*:(?: |$)",
        "11-23 09:58:13.739   879   879 I lmkd    : ",
        "Android logcat -v threadtime",
        "0",
    ),
    Layer(
        "iso",
        r"\[?(?P<iso>\d{4}[/\-]\d\d[/\-]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+\-]\d\d:?\d\d))?)\]?[ \t]+"
        + r"(?:" + _HOSTTAG.format(n="i") + r")?",
        "2026-11-23T09:58:14.750231+0000 oomrig kernel: ",
        "journalctl -o short-iso, rsyslog, dmesg --time-format=iso",
        "0[",
    ),
    Layer("logcli", r"\{(?:\w+=\"[^\"\n]*\"(?:, ?)?)+\}[ \t]+", "{job=\"kernel\"} ", "Loki logcli", "{"),
    Layer("annotation", r"##\[\w+\]", "##[error]", "GitHub Actions, Azure Pipelines", "#"),
    Layer("stream", r"(?:[\w.\-/]++[ \t]++){1,2}(?=\[[ \t]*\d+\.\d{6}\])", "i-1/a ", "aws logs tail, stern", "a0/."),
    Layer("console", r"[\w.\-]+ # (?=\[[ \t]*\d+\.\d{6}\])", "machine1 # ", "NixOS test driver, a guest", "a0"),
    Layer("pod", r"\[[\w.\-]+/[\w.\-/]+\][ \t]", "[pod/debug-1/shell] ", "kubectl logs --prefix", "["),
    Layer(
        "full",
        r"[^\W\d]{2,4}\.? (?P<full>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [\w+\-:]+) " + _HOSTTAG.format(n="f"),
        "Mon 2026-11-23 09:58:14 UTC oomrig kernel: ",
        "journalctl -o short-full, with-unit",
        "a",
    ),
    Layer(
        "syslog",
        r"(?P<syslog>(?:" + _MONTH + r"[ \t]*)?\d{1,2}[ \t]+(?:\d{4}[ \t]+)?" + _CLOCK + r"(?:\.\d+)?)[ \t]+"
        + _HOSTTAG.format(n="s"),
        "Nov 23 09:58:14 oomrig kernel: ",
        "RFC 3164, journalctl -o short",
        "a0",
    ),
    Layer(
        "ctime",
        r"\[(?P<ctime>(?=[^\]\[]*\d\d:\d\d:\d\d)[^\]\[]{12,60})\][ \t]?",
        "[Mon Nov 23 09:58:12 2026] ",
        "dmesg -T, any locale",
        "[",
    ),
    Layer(
        "unix",
        r"(?P<unix>\d{9,10}\.\d{3,6}) " + _HOSTTAG.format(n="u"),
        "1795427894.750231 oomrig kernel: ",
        "journalctl -o short-unix",
        "0",
    ),
    Layer("bare_tag", r"(?P<tagb>" + _TAGS + r")(?:\[\d+\])?: ", "kernel: ", "cut syslog lines", "a"),
    Layer(
        "human",
        r"\[(?:(?P<human>(?:[^\W\d_]{2,9}\.?|\d{1,2}[월月])[ \d]\d \d\d:\d\d)| *\+\d+\.\d+|< *\d+\.\d+>)\][ \t]?",
        "[  +0.001420] ",
        "dmesg -H, --time-format=delta",
        "[",
    ),
    Layer(
        "printk",
        r"[ \t]*\[[ \t]*(?:\d{1,3}-)?(?P<uptime>\d{1,12}\.\d{1,9})(?: < *\d{1,12}\.\d{1,9}>)?\]"
        r"(?:[ \t]?\[[ \t]*(?P<caller2>[TC]\d+)\])?[ \t]?",
        "[   17.316920][  T123] ",
        "printk, CONFIG_PRINTK_TIME and CONFIG_PRINTK_CALLER; dmesg -d",
        "[ ",
    ),
    Layer(
        "cut_printk",
        r"\d{1,12}\.\d{6}\](?:[ \t]?\[[ \t]*[TC]\d+\])?[ \t]",
        "41066.536886] ",
        "printk, its first character lost when it was copied",
        "0",
    ),
    Layer(
        "monotonic",
        r"(?:(?P<hostm>[\w.\-]+) (?P<tagm>kernel|[\w\-]+\[\d+\])|kernel): ",
        "oomrig kernel: ",
        "journalctl -o short-monotonic, behind the printk clock",
        "a0.-",
    ),
)

_COMPILED = tuple((layer, lazy(layer.pattern)) for layer in LAYERS)
_ORDER = {layer.name: i for i, layer in enumerate(LAYERS)}
# Where a line could start with a layer at all (a test holds it against :data:`LAYERS`): a bare kernel message mostly
# cannot, and skips the table. A task-table row or header behind nothing is no printk clock (that has a dot).
# Each alternative begins with a character or a set of them: a line that begins otherwise passes it over at once.
COULD = lazy(
    r"[ \t]*+(?:[>|#/*;&+│┃•]|<(?=\d)|\[(?![ \t]*+(?:\d++|pid)[ \t]*+\])"
    r"|(?u:[^\W\d_])(?u:[^\W\d_]){2,8}+\.?[ \t]++\d{1,2}[ \t]++(?:\d{4}[ \t]++)?\d\d:"
    r"|[A-Z][a-z][a-z] (?:[A-Z][a-z][a-z] [ \d]\d \d\d:|\d{1,2}, \d{4} @)"
    r"|" + _FOUND + r"|\d{1,19}\.?[ \t]+" + _BEGIN +
    r"|(?:[\w.\-/]++[ \t]++){1,2}(?:# )?\[[ \t]*\d+\.\d{6}\]|\{\w"
    r"|\d\d*+(?:[\-,.:/月월]|[ \t]++(?:\d{4}[ \t]++)?\d\d:)|(?u:[^\W\d])(?u:[^\W\d]){1,3}+\.? \d{4}-"
    r"|\w\w*+[ \t]*+:[ ]*+[a-z]++[ \t]*+:|[\w.\-]++: [a-z0-9]++:[ ]++[a-z]++: \["
    r"|[\w.\-][\w.\-]*+(?:[ \t]++\|[ \t]|\[\d++\]:)"
    r"|" + "|".join(rf"{tag}(?:\[\d+\])?:" for tag in _TAGS.split("|")) + ")",
    re.ASCII,
)
BRACKETED = lazy(r"\[[ \t]*(?:\d+|pid)[ \t]*\]", re.ASCII)
"""What rows and headers of a task table begin with, which are no printk clock."""


def kind_of(char: str) -> str:
    """Kind of a line's first character: ``0`` digit, ``a`` letter, blank, or the character itself."""
    if char.isdigit():
        return "0"
    return "a" if char.isalpha() or char == "_" else " " if char in " \t" else char


def may_be_carried(line: str) -> bool:
    """Whether *line* could begin with a layer; a bare kernel message mostly cannot."""
    return COULD.match(line) is not None


def find_layers(line: str) -> tuple[int, tuple[str, ...]]:
    """Return (length of the prefix, names of its layers) of one line."""
    text = line.lstrip(" \t")
    if text is not line and text and not COULD.match(text):  # a stack frame, or the continuation of a record
        return len(line) - len(text), ("indent",)
    end, names = 0, []
    rank = -1
    while rank < len(_COMPILED) - 1:
        if BRACKETED.match(line, end) and "." not in line[end : line.find("]", end) + 1]:
            break
        kind = kind_of(line[end : end + 1])
        for i in range(rank + 1, len(_COMPILED)):
            layer, pattern = _COMPILED[i]
            if kind not in layer.starts:
                continue
            if layer.name == "monotonic" and "printk" not in names:
                continue
            m = pattern.match(line, end)
            if m is None or m.end() == end:
                continue
            if not _plausible(layer.name, m):
                continue
            end, rank = m.end(), i
            names.append(layer.name)
            break
        else:
            break
    return end, tuple(names)


def _plausible(name: str, m: re.Match[str]) -> bool:
    """Reject prefixes that are really the message: a level word pair that is a meminfo field, an iso without date."""
    if name == "level":
        return m["fac"] in FACILITIES or m["fac"].isdigit()
    if name == "ctime":
        return not _PRINTKISH.fullmatch(m["ctime"])
    return True


_PRINTKISH = lazy(r"[ \d.]+")
FACILITIES = frozenset(
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
     "res0", "res1", "res2", "res3", *(f"local{n}" for n in range(8))]
)
"""Facilities of syslog, as ``dmesg -x`` and loggers write them."""


def joined(names: tuple[str, ...]) -> re.Pattern[str]:
    """
    One regex for a sequence of layers and the blanks behind it (group names dropped: only the end matters). It fails
    where one more bracketed layer follows, so that such a line is looked at layer by layer.
    """
    pattern = _CACHE.get(names)
    if pattern is None:
        parts = [re.sub(r"\(\?P<\w+>", "(?:", LAYERS[_ORDER[n]].pattern) for n in names]
        # Digits of ASCII alone are found faster; words are those of every script.
        source = "".join(f"(?:{p})" if "\\w" in p.lower() else f"(?a:{p})" for p in parts)
        source += r"(?a:(?!\[[ \t]*(?:\d+\.\d|[TC]\d)))[ \t]*"
        pattern = _CACHE[names] = re.compile(source)
    return pattern


def layers_in_text(names: tuple[str, ...]) -> re.Pattern[str]:
    """One regex for a sequence of layers, ``<4>`` and the like in front of it, where a word or another sign ends."""
    return re.compile(r"(?<![\w.,\-/:])" + joined(names).pattern)


_CACHE: dict[tuple[str, ...], re.Pattern[str]] = {}


def is_record(names: tuple[str, ...]) -> bool:
    """Whether the layers are those of a log (not just quoting or a pasted code block)."""
    return bool(names) and not {"indent", "quote"}.issuperset(names)
