"""
Lines as they were before somebody wrapped them or put them on one line, digits grouped, blanks of a screen in them.

That can be undone in more ways than one; each function here undoes it in one way, and the caller keeps the reading
that explains most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from oomsight._lazy import lazy
from oomsight.report.carriers import strip_lines
from oomsight.report.draft import SECTION
from oomsight.report.grammar import classify
from oomsight.report.killers import is_killer_line
from oomsight.report.layers import find_layers, is_record, kind_of, layers_in_text
from oomsight.report.moments import Moments, stamp

_NUMBERED = tuple[int, str]
_DAY_S = 86_400
_FEW = 3  #: fewer lines show nothing
_RARELY = 20  #: of so many lines at most one


def variants(numbered: list[_NUMBERED]) -> list[list[_NUMBERED]]:
    """Other readings of damaged text, each undoing one kind of damage (and the usual combinations)."""
    out: list[list[_NUMBERED]] = []
    text = "\n".join(s for _, s in numbered)
    if is_padded(text):
        numbered = list(zip([no for no, _ in numbered], unpad([s for _, s in numbered]), strict=True))
        out.append(numbered)
    unquoted = without_quotes(numbered)
    if unquoted is not None:
        numbered = unquoted
        out.append(numbered)
    if has_thousands(text):
        numbered = [(no, thousands(s)) for no, s in numbered]
        out.append(numbered)
    glued = split_glued(numbered)
    if len(glued) != len(numbered):
        out.append(glued)
        numbered = glued
    # dmesg indents the further lines of one record by the width of its clock: those were not wrapped.
    own = [_has_carrier(s) for _, s in numbered]
    carried = [has or s.startswith("      ") for has, (_, s) in zip(own, numbered, strict=True)]
    if any(carried) and not all(c or not s.strip() for c, (_, s) in zip(carried, numbered, strict=True)):
        out.extend(join_wrapped(numbered, carried, glue) for glue in ("auto", "", " "))
    if _RARELY * sum(own) <= len(own) and not (any(carried) and not any(own)):
        # Only where nothing carries the lines: carriers also say who wrote a line, and that must not get lost. A few
        # that have one may be quoted beside the report.
        bare = join_bare(numbered)
        if bare is not None:
            out.append(bare)
    fixed = join_fixed_width(numbered, own)
    if fixed is not None:
        out.append(fixed)
        again = split_glued(fixed)
        if len(again) != len(fixed):
            out.append(again)
    if _reversed(numbered):
        out.extend([list(reversed(v)) for v in (numbered, *out)])
    return out


def without_quotes(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """The lines without ``> `` of mails and Markdown, where it is in front of most; else ``None``."""
    found = [QUOTE.match(line) for _, line in numbered]
    quoted = sum(m is not None for m in found)
    if quoted < _FEW or 2 * quoted < sum(1 for _, line in numbered if line.strip()):
        return None
    return [(no, line[m.end() :] if m else line) for (no, line), m in zip(numbered, found, strict=True)]


def _reversed(numbered: list[_NUMBERED]) -> bool:
    """Newest line first (journalctl -r, some log viewers): clocks fall, or sections of the report run backwards."""
    probe = strip_lines(s for _, s in numbered)
    stamps = [float(m[1]) for raw in probe.raws if (m := stamp(raw)) and m[1]]
    pairs = list(pairwise(stamps))
    if len(pairs) > 3:
        return sum(b < a for a, b in pairs) > sum(b > a for a, b in pairs)
    sections = [x for t in probe.texts if (x := SECTION.get(classify(t) or "")) is not None]
    pairs_int = list(pairwise(sections))
    if sum(b < a for a, b in pairs_int) <= sum(b > a for a, b in pairs_int):
        return False
    moments = Moments(probe)
    walls = [w for i in range(1, len(probe.raws)) if (w := moments.wall_seconds(i - 1, i))]
    return any(w < 0 for w in walls) or not any(0 < w < _DAY_S // 2 for w in walls)


def _has_carrier(line: str) -> bool:
    _, names = find_layers(line)
    return any(n not in {"indent", "quote"} for n in names)


def join_bare(numbered: list[_NUMBERED]) -> list[_NUMBERED] | None:
    """Join wrapped lines of a text without any carrier: a piece that starts no known line belongs to the one before."""
    probe = strip_lines((s for _, s in numbered))
    if not probe.texts:
        return None
    known = [classify(t) is not None or is_killer_line(t) for t in probe.texts]
    if all(known) or sum(known) < 2:
        return None
    out: list[tuple[int, list[str]]] = []  # pieces and what stands between them: one text would be copied for each
    first, end = numbered[0][0], ""
    for text, no, ok in zip(probe.texts, probe.nos, known, strict=True):
        real_no = numbered[no - 1][0] if no - 1 < len(numbered) else first
        if ok or not out:
            out.append((real_no, [text]))
            end = text
        else:
            glue = "" if end.endswith((" ", "|", "(", "_", "-")) else " "
            out[-1][1].extend((glue, text))
            end = text or glue or end
    return [(no, "".join(pieces)) for no, pieces in out]


# Where a new line must begin when a whole report stands on one line; each alternative starts a kernel message.
_STARTS = lazy(
    r"(?<!^)(?="
    r"\[ *\d+\.\d{3,6}\]"
    r"|\b(?:Call [Tt]race:|Mem-Info:|Hardware name: |lowmem_reserve\[\]:|Free swap +=|Total swap =|Swap cache stats:"
    r"|memory: usage \d|memory\+swap: usage \d|kmem: usage \d|swap: usage \d|Memory cgroup stats for |Tasks state \("
    r"|oom-kill:constraint=|oom_reaper: |Unreclaimable slab info:|Killed process \d+ \("
    r"|(?:Memory cgroup o|O)ut of memory(?: \([a-z_]+\))?: Kill|Tasks in /\S* are going to be killed|Task in /"
    r"|Kernel panic - |CPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: )"
    r"|\bNode \d+ (?:active_anon:|hugepages_total=|[A-Z]\w+ free:|[A-Z]\w+: \d+\*)"
    r"|(?<!Node \d )\b(?:DMA|DMA32|Normal|HighMem|Movable) ?(?:free:\d|: \d+\*\d)"
    r"|\bactive_anon:\d+ inactive_anon:\d+ isolated_anon:"
    r"|\b\d+ (?:total pagecache pages|pages in swap cache|pages RAM|pages HighMem|pages reserved|pages cma|pages hwp"
    r"|pages shared|pages non-shared)"
    r"|\[ *pid *\] +uid"
    r"|\[ *\d{1,7}\] +\d+ +\d+ +\d+ +\d+ +\d+ )"
)


def split_glued(numbered: list[_NUMBERED]) -> list[_NUMBERED]:
    """Put line breaks back where several kernel messages stand on one line."""
    out: list[_NUMBERED] = []
    for no, line in numbered:
        if len(line) > 200 or line.count("[") > 1:
            pieces = (len(line) > _ONE_LINE and at_carriers(line)) or [p for p in _STARTS.split(line) if p]
            if len(pieces) > 1 and (len(pieces) > 2 or not re.match(r"\s*(?:\[|<|\S+ \S+ .*: \[|\d)", pieces[0])):
                out.extend((no, p) for p in _with_prefixes(pieces))
                continue
        out.append((no, line))
    return out


# What says who wrote a line must stay in front of that line.
_PREFIX_AT_END = lazy(
    r"(?:(?:\b\d{1,4},\d{1,18},\d{1,18},[^;\s]{0,40};|<\d{1,3}>(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S{1,64} \S{1,48}: )?"
    r"|\b(?:kern|user|daemon) {0,4}:[a-z]{3,6} {0,3}: )(?:\[ *\d{1,12}\.\d{1,9}\] )?|\[ *\d{1,12}\.\d{1,9}\] {0,2})$"
)


def _with_prefixes(pieces: list[str]) -> list[str]:
    out = pieces[:1]
    for piece in pieces[1:]:
        if piece.startswith("Killed process") and out[-1].endswith("emory: "):
            out[-1] += piece  # since 5.2 both stand on one line
            continue
        if find_layers(out[-1])[0] == len(out[-1]):
            out[-1] += piece
            continue
        m = _PREFIX_AT_END.search(out[-1][-200:])
        prefix = m[0] if m else ""
        if prefix:
            out[-1] = out[-1][: -len(prefix)]
        out.append(prefix + piece)
    return [p for piece in out if (p := piece.rstrip())]


def at_carriers(line: str) -> list[str]:
    """
    The messages of a whole log that stand on one line, blanks in place of its line ends: the prefix that the line
    begins with, a clock in it, stands before each. Empty where it does not come again.
    """
    end, names = find_layers(line)
    if not is_record(names) or not any(map(str.isdigit, line[:end])):
        return []
    kind = kind_of(line.lstrip()[:1])  # without its month a prefix is another one's
    found = layers_in_text(names).finditer(line, end)
    starts = [0, *(m.start() for m in found if kind_of(m[0].lstrip()[:1]) == kind)]
    if len(starts) < 4 or (len(line) > _ONE_RECORD * len(starts)):
        return []
    return [line[begin:stop].rstrip() for begin, stop in pairwise([*starts, len(line)])]


def thousands(text: str) -> str:
    """Remove thousands separators from numbers (``1,953,348kB``, ``1 953 348 kB``, ``1.953.348kB``)."""
    return _THOUSANDS.sub(lambda m: re.sub(r"\D", "", m[1]) + m[2], text)


_ONE_LINE = 300  #: characters; a shorter line holds no log
_ONE_RECORD = 1000  #: characters of a record on average, at most
_THOUSANDS = lazy(r"(?<![\d.,])(\d{1,3}(?:[,.'_\u00a0\u202f\u2009]\d{3})+)( ?[kK]B|(?=[\s\])]|$|,[ a-z]))")


def has_thousands(text: str) -> bool:
    """True when sizes in *text* are printed with thousands separators."""
    return _GROUPED.search(text) is not None


# A size, or several columns of a table.
_GROUPED = lazy(r"\d[,.'_\u00a0\u202f\u2009]\d{3} ?[kK]B|[ \t]\d{1,3},\d{3}(?:[ \t]+[\d,]+){3}[ \t]")


_PAD = lazy(r"(?<=\S) {40,}(?=\S)")


def is_padded(text: str) -> bool:
    """Whether lines were copied off a screen that wrapped them: the rest of it as blanks, then the rest of the line."""
    return _PAD.search(text) is not None


def unpad(lines: Sequence[str]) -> list[str]:
    """
    *lines* without the blanks of a screen in them. What is cut at the width of the screen was cut inside a word; what
    ends before it had a blank there.
    """
    width = max((m.start() for line in lines if (m := _PAD.search(line))), default=0)
    return [_PAD.sub(lambda m: " " if m.start() < width else "", line, count=1) for line in lines]


QUOTE = lazy(r"[ \t]*(?:(?:>|&gt;)[ \t]?)+")
# Nothing but a quote, or the place where somebody cut lines out: no piece of the line before.
_OWN_LINE = lazy(r"[ \t>]*(?:[\[(<]*(?:\.{3,}|…)?[ \t]*(?:snip\w*)?[ \t]*(?:\.{3,}|…)?[\])>]*)[ \t]*")


_HYPHEN = lazy(r"[a-z]-$")  # a word of the kernel may be cut there, and none ends so
_LONG_WORD = 40  #: characters; a path, flags


def join_wrapped(numbered: list[_NUMBERED], carried: list[bool], glue: str = "auto") -> list[_NUMBERED]:
    """
    Join lines that have no carrier of their own to the line before, in a log whose lines normally have one.

    *carried* says which lines start with a carrier. With ``glue="auto"`` a blank is put between two pieces unless
    the first ends in one or is as long as the longest line (then it was cut inside a word, unless most lines were cut
    at blanks).
    """
    longest = max((len(s) for _, s in numbered), default=0)
    lengths = Counter(len(s) for _, s in numbered)
    cut = [len(s) >= longest - 1 for (_, s), own in zip(numbered, carried[1:], strict=False) if not own]
    at_blanks = 2 * sum(cut) < len(cut)
    out: list[tuple[int, list[str]]] = []  # pieces and what stands between them: one text would be copied for each
    blank, last_piece = True, ""  # of the line before
    for (no, line), own in zip(numbered, carried, strict=True):
        if own or blank or not line.strip() or _OWN_LINE.fullmatch(line):
            out.append((no, [line]))
            blank, last_piece = not line.strip(), line
            continue
        if quote := QUOTE.match(line):
            line = line[quote.end() :]  # noqa: PLW2901 - the quote of a line that is none
        inside_word = len(last_piece) >= longest - 1
        if inside_word and at_blanks:  # it may have ended there by chance; only what is longer than a line is cut
            word = len(last_piece.rsplit(" ", 1)[-1]) + len(line.split(" ", 1)[0])
            inside_word = word > _LONG_WORD and lengths[len(last_piece)] >= _FEW
        inside_word = inside_word or last_piece.endswith((" ", "\t")) or bool(_HYPHEN.search(last_piece))
        out[-1][1].extend((glue if glue != "auto" else "" if inside_word else " ", line))
        last_piece = line
    return [(no, "".join(pieces)) for no, pieces in out]


def join_fixed_width(numbered: list[_NUMBERED], own: Sequence[bool] = ()) -> list[_NUMBERED] | None:
    """
    Join lines that were cut at a fixed width (every full line has exactly that length); ``None`` if none were. Those
    that have a carrier of their *own* begin a line.
    """
    lengths: dict[int, int] = {}
    for _, s in numbered:
        lengths[len(s)] = lengths.get(len(s), 0) + 1
    longest = max(lengths, default=0)
    if longest < 40 or longest > 400 or lengths[longest] < 3:
        return None
    out: list[_NUMBERED] = []
    open_piece = False
    for at, (no, s) in enumerate(numbered):
        if open_piece and out and not (own and own[at]):
            out[-1] = (out[-1][0], out[-1][1] + s)
        else:
            out.append((no, s))
        open_piece = len(s) == longest
    return out
