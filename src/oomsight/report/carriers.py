"""
Carriers: what other programs put in front of a kernel message, and how to take it off again.

A log line is a kernel message inside zero or more layers: mail or Markdown quoting, a container log wrapper, a syslog
priority, a wall-clock stamp with host and tag, dmesg's facility and level words, the printk clock, a caller id. The
table :data:`LAYERS` holds one row per layer; :func:`strip_lines` walks it. Lines of one log share their layers, so
the sequence found for one line is tried first on the next: clean logs cost one regex match a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight._record import Record, dataclass, field
from oomsight.report.grammar import BARE, classify
from oomsight.report.prefixes import cut_off, matched, shapes


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
_HOSTTAG = (
    r"(?:(?!oomd kill: )(?P<host{n}>[\w][\w.\-:@%*]*|" + _TAKEN_OUT + r")(?<!:)[ \t]+(?:[a-z0-9]+\.[a-z]+[ \t]+)?"
    r"(?P<tag{n}>(?!oom-killer:)[\w./@()\-]{{1,48}}?)(?:\[(?P<tagpid{n}>\d+)\])?:(?:[ \t]|$)"
    # 2.6 with syslog-ng or metalog: a host and no tag, believed before what only a kernel says.
    r"|(?P<host0{n}>[\w][\w.\-]*)[ \t]+(?=oom-killer: |Out of [Mm]emory: Kill|" + _OLD + r")"
    r"|(?P<tag2{n}>(?:" + _TAGS + r")(?:\[\d+\])?|[\w.\-]+\[\d+\]):(?:[ \t]|$))"
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
    Layer("clock", r"\[?\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\]?[ \t]+" + _BEGIN, "10:10:10  ", "Jenkins Timestamper", "0["),
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
_CALLER = lazy(r"\[ *\d+\.\d+\] ?\[ *([TC]\d+)\]|^(?:\d[^,\n]{0,60},)?\d+,\d+,\d+,[^;]*caller=([TC]\d+)")
# Where a line could start with a layer at all (a test holds it against :data:`LAYERS`): a bare kernel message mostly
# cannot, and skips the table. A task-table row or header behind nothing is no printk clock (that has a dot).
# Each alternative begins with a character or a set of them: a line that begins otherwise passes it over at once.
_COULD = lazy(
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
_ROW = lazy(r"\[[ \t]*(?:\d+|pid)[ \t]*\]", re.ASCII)


@dataclass(slots=True, eq=False, repr=False)
class Lines(Record):
    """The lines of one window with their carriers taken off; parallel lists, as there may be many lines."""

    raws: list[str] = field(default_factory=list)  #: whole lines, for times and hosts
    texts: list[str] = field(default_factory=list)  #: kernel messages, leading blanks removed
    nos: list[int] = field(default_factory=list)  #: 1-based line numbers in the source
    cont: set[int] = field(default_factory=set)  #: indices that continue the record of the line before
    untrusted: set[int] = field(default_factory=set)  #: indices whose facility says they come from user space
    tables: dict[int, int] = field(default_factory=dict)  #: runs of task rows as far as known: first, behind the last
    kinds: list[str | None] = field(default_factory=list)  #: shapes as far as known, by index; may be empty
    has_callers: bool = False  #: printk caller ids are present
    years: dict[str, str | None] = field(default_factory=dict)  #: by day, what ``times.year_in`` found in ``raws``

    def caller(self, index: int) -> str | None:
        """printk caller id (``T123`` task, ``C1`` CPU) of a line, if the kernel prints them."""
        m = _CALLER.search(self.raws[index])
        return (m[1] or m[2]) if m else None


def kind_of(char: str) -> str:
    """Kind of a line's first character: ``0`` digit, ``a`` letter, blank, or the character itself."""
    if char.isdigit():
        return "0"
    return "a" if char.isalpha() or char == "_" else " " if char in " \t" else char


def may_be_carried(line: str) -> bool:
    """Whether *line* could begin with a layer; a bare kernel message mostly cannot."""
    return _COULD.match(line) is not None


def find_layers(line: str) -> tuple[int, tuple[str, ...]]:
    """Return (length of the prefix, names of its layers) of one line."""
    text = line.lstrip(" \t")
    if text is not line and text and not _COULD.match(text):  # a stack frame, or the continuation of a record
        return len(line) - len(text), ("indent",)
    end, names = 0, []
    rank = -1
    while rank < len(_COMPILED) - 1:
        if _ROW.match(line, end) and "." not in line[end : line.find("]", end) + 1]:
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
        return m["fac"] in _FACILITIES or m["fac"].isdigit()
    if name == "ctime":
        return not _PRINTKISH.fullmatch(m["ctime"])
    return True


_PRINTKISH = lazy(r"[ \d.]+")
_FACILITIES = frozenset(
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
     "res0", "res1", "res2", "res3", *(f"local{n}" for n in range(8))]
)


def _joined(names: tuple[str, ...]) -> re.Pattern[str]:
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
    return re.compile(r"(?<![\w.,\-/:])" + _joined(names).pattern)


_CACHE: dict[tuple[str, ...], re.Pattern[str]] = {}
_FIRST_WORDS = ("oom-kill:constraint=", "Out of memory: Kill", "Memory cgroup out of memory: Kill")
"""What some lines begin with whose telling words stand further back: nothing of a carrier is in front of these."""
_CLOSED = frozenset({"printk", "syslog"})
"""Layers behind which, but for a bracket, nothing can be a part of them."""
_NEVER = lazy(r"(?!)")
_SAMPLE = 50  # lines looked at for the layers of a window
_USER_PRIO = lazy(r"[\s>|]*(?:(?:\d+\.\d[\w.\-+~]{0,60},)?(\d{1,4}),\d+,\d+,[^;]*;|<(\d{1,3})>)")


def strip_lines(lines: Iterable[str], first_no: int = 1) -> Lines:
    """
    Take the carriers off *lines*. Blank lines are dropped; numbers stay those of the source.

    A line that has no layer but blanks, where the line before it had a real one, is a continuation (dmesg and
    journalctl indent the further lines of one record); its index is in :attr:`Lines.cont`.
    """
    out = Lines()
    rows = list(lines)
    while rows and not rows[-1]:
        rows.pop()
    out.raws, out.nos = rows, list(range(first_no, first_no + len(rows)))
    # Lines of one window share their layers: strip all with the commonest of a sample in one tight pass, then look at
    # the lines they did not fit one by one. Of a log whose lines have some, the first line mostly shows them.
    names: tuple[str, ...] = ()
    looked_at: dict[str, tuple[int, tuple[str, ...]]] = {}
    for end in (1, _SAMPLE):
        for line in () if names else _bare(out, end):
            found = looked_at[line] = find_layers(line)
            if is_record(found[1]):
                names = _commonest(rows, found[1])
                break
    if names:
        maybe = rows
        _strip(out, names)
    else:
        maybe = [*looked_at, *_bare(out, len(rows))]
    if not all(out.texts):
        _strip_rest(out, names, looked_at)
    _find_untrusted(out, maybe)
    return out


def _bare(out: Lines, until: int) -> list[str]:
    """
    Go on to fill *out* with the lines up to *until* as if they had no carriers; return those that could have one, whose
    texts and shapes are then still missing. A line that is in the kernel's own words has none.
    """
    begin = len(out.texts)
    rows = out.raws[begin:until]
    kinds, tables, others = shapes(rows)
    texts: list[str | None] = []
    for first, end in tables.items():
        texts += map(str.lstrip, rows[len(texts) : first])
        texts += rows[first:end]
        # Of few rows each is looked at: a number in brackets may begin a footnote.
        kinds[first:end] = map(classify, rows[first:end]) if begin < _SAMPLE else ["row"] * (end - first)
        out.tables[begin + first] = begin + end
    texts += map(str.lstrip, rows[len(texts) :])
    maybe = []
    for i in others:
        text = texts[i] or ""
        kind = kinds[i] = classify(text)
        if kind not in BARE and not text.startswith(_FIRST_WORDS) and _COULD.match(rows[i]):
            texts[i] = kinds[i] = None
            maybe.append(rows[i])
    out.texts += texts  # type: ignore[arg-type]
    out.kinds += kinds
    return maybe


def _strip(out: Lines, names: tuple[str, ...]) -> None:
    """Fill *out* with its lines without the layers *names*; texts and shapes of what has others are still missing."""
    rows, match = out.raws, _joined(names).match
    closed = names[-1] in _CLOSED
    texts = cut_off(rows, match) if closed else matched(rows, match)
    kinds, tables, _ = shapes([text or "" for text in texts])
    behind = 0
    for begin, after in (*tables.items(), (len(rows), len(rows))) if closed else ():
        for row in range(behind, begin):
            if (texts[row] or "")[:1] == "[":  # it may be one more layer, or a part of the last
                texts[row : row + 1] = matched([rows[row]], match)
                kinds[row] = None
        behind = after
    out.texts, out.kinds, out.tables = texts, kinds, tables  # type: ignore[assignment]


def _strip_rest(
    out: Lines, names: tuple[str, ...], looked_at: dict[str, tuple[int, tuple[str, ...]]]
) -> None:
    """Strip those lines whose text is still ``None`` layer by layer, and drop blank lines."""
    raws, texts, nos = out.raws, out.texts, out.nos
    if not all(raws) or any(map(str.isspace, raws)):
        keep = [i for i, line in enumerate(raws) if line and not line.isspace()]
        raws[:], texts[:], nos[:] = [raws[i] for i in keep], [texts[i] for i in keep], [nos[i] for i in keep]
        out.kinds = [out.kinds[i] for i in keep] if out.kinds else []
        out.tables = {}  # their indices were those of all lines; they are found again when they are needed
    match = _NEVER.match  # the layers of the last record looked at, which its neighbours mostly share
    for i in [i for i, text in enumerate(texts) if text is None]:
        line = raws[i]
        if line[0] == "[" and _ROW.match(line):
            texts[i] = line
            continue
        end = 0
        if m := match(line):
            end = m.end()
        elif _COULD.match(line):
            end, layers = looked_at.get(line) or find_layers(line)
            if is_record(layers):
                if not names:  # bare lines before; what is indented from here on belongs to records
                    late = [n for n in range(i + 1, len(raws)) if texts[n] is not None and raws[n][0] in " \t"]
                    out.cont.update(late)
                names, match = layers, _joined(layers).match
            elif layers == ("indent",) and names and i:
                out.cont.add(i)
        elif names and i and line[0] in " \t":
            out.cont.add(i)
        texts[i] = line[end:].lstrip()


def _commonest(rows: list[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The layers most of *rows* have, judged by three of them; *names* are those of the first record."""
    match, others = _joined(names).match, []
    for line in (rows[len(rows) // 2], rows[len(rows) // 4], rows[len(rows) * 3 // 4]):
        if match(line):
            return names
        found = find_layers(line)[1] if _COULD.match(line) else ()
        if found in others and is_record(found):
            return found
        others.append(found)
    return next((found for found in others if is_record(found)), names)


def is_record(names: tuple[str, ...]) -> bool:
    """Whether the layers are those of a log (not just quoting or a pasted code block)."""
    return bool(names) and not {"indent", "quote"}.issuperset(names)


def _find_untrusted(out: Lines, carried: Sequence[str]) -> None:
    """
    Note lines that user space wrote, where a sample of *carried*, the lines that may have a carrier, shows priorities.

    /dev/kmsg and syslog priorities hold facility * 8 + level; the kernel's own facility is 0 and it forces another one
    on anything written through /dev/kmsg, so facility != 0 is not the kernel (kernel/printk/printk.c devkmsg_write()).
    """
    sample = carried[:: max(1, len(carried) // 16)]
    out.has_callers = any(_CALLER.search(r, 0, 72) for r in sample[:8])
    if not any(_USER_PRIO.match(r) or _LEVEL.match(r) for r in sample):
        return
    for i, raw in enumerate(out.raws):
        m = _USER_PRIO.match(raw)
        if m:
            if int(m[1] or m[2]) >> 3 and not _SYSLOG_KERNEL.match(raw):
                out.untrusted.add(i)
        else:
            lev = _LEVEL.match(raw)
            if lev and (facility := lev[1] or lev[2]) != "kern" and facility in _FACILITIES:
                out.untrusted.add(i)


_LEVEL = lazy(
    r"[\s>|]*(?:([a-z0-9]+)[ \t]*:[a-z]+[ \t]*: "
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4} ([a-z0-9]+)\.[a-z]+ )"
)
# A relay may rewrite the priority but keeps the tag (imuxsock never writes tag "kernel" for user programs by itself).
_SYSLOG_KERNEL = lazy(r"[\s>|]*<\d+>(?:1 )?\S.* kernel(?:: | - )")
