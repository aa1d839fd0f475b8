"""
Badness: how many points each kernel gave a task, exactly as its C code computed them.

One row of :data:`BADNESS_RULES` per formula, one generator per family of formulas. A generator yields the running
value after each step; :func:`badness` turns the steps into terms that add up to it, so every factor can be shown.
Everything is C integer arithmetic on a 64-bit kernel: division truncates toward zero, ``unsigned long`` wraps.
:func:`badness_modern` is the same formula for kernels >= 3.5 on plain numbers, for whole task tables.

Sources: mm/oom_kill.c of the releases named in each row; fs/proc/base.c for /proc/PID/oom_score.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.kernel.release import Release, in_range, parse_release

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final, Literal

    Unit = Literal["points", "per_mille", "pages"]

    Step = tuple[str, int]
    Formula = Callable[["Rule", "_Reader", int, int], Iterator[Step]]

OOM_SCORE_ADJ_MIN: Final = -1000
"""``oom_score_adj`` that exempts a process (include/uapi/linux/oom.h, 2.6.36+)."""
OOM_SCORE_ADJ_MAX: Final = 1000
OOM_DISABLE: Final = -17
"""Legacy ``oom_adj`` that exempts a process (<= 3.5)."""


class TaskFacts(NamedTuple):
    """
    What a badness formula can look at. ``None`` = not known; a formula then counts it as 0 and says so in
    :attr:`Points.missing`. Only ``rss_pages`` is always needed; each era reads a few of the others.
    """

    rss_pages: int  #: file + anon (+ shmem as its own counter from 4.5, inside file before)
    swap_pages: int | None = None  #: swap entries
    pgtables_bytes: int | None = None  #: all page-table levels, 4.15+
    nr_ptes: int | None = None  #: PTE tables, 2.6.39-4.14
    nr_pmds: int | None = None  #: PMD tables, 4.0-4.14
    oom_score_adj: int | None = None  #: -1000 .. 1000, 2.6.36+
    cap_sys_admin: bool | None = None  #: effective CAP_SYS_ADMIN (<= 2.6.24: or uid or euid 0), <= 4.16
    # What only 2.6 looked at:
    total_vm_pages: int | None = None
    oom_adj: int | None = None  #: -17 .. 15
    child_total_vm_pages: tuple[int, ...] = ()  #: of each child with an address space of its own
    cpu_time_jiffies: int | None = None  #: user + system; of the thread (<= 2.6.24) or of the whole process
    run_time_seconds: int | None = None  #: since start
    hz: int = 250  #: CONFIG_HZ, the length of a jiffy
    nice: int | None = None
    cap_sys_resource: bool | None = None
    cap_sys_rawio: bool | None = None
    other_cpuset: bool = False  #: its cpuset nodes do not overlap those of the allocating task
    # State that overrides the formula:
    oom_origin: bool = False  #: in swapoff or KSM unmerge: wants to be killed first
    no_mm: bool = False  #: kernel thread, or exited far enough to have no memory
    is_init: bool = False  #: global init (pid 1 of the host; a container's pid 1 is not)


class Term(NamedTuple):
    """One addend of a score, in the unit of its rule. Multiplications appear as the change they made."""

    name: str
    points: int


class Points(NamedTuple):
    """A task's badness and how it came about: ``sum(terms) == raw``, ``total`` = raw within floor and ceiling."""

    total: int
    raw: int
    terms: tuple[Term, ...]
    unit: Unit
    missing: tuple[str, ...] = ()  #: facts the formula wanted but were not known, counted as 0

    @property
    def adj(self) -> int:
        """The part of ``raw`` that ``oom_score_adj`` or ``oom_adj`` contributed."""
        return sum(term.points for term in self.terms if term.name in {"oom_score_adj", "oom_adj"})

    @property
    def base(self) -> int:
        """The part of ``raw`` that does not depend on the adjustment."""
        return self.raw - self.adj


class _Reader:
    """Reads facts for a formula and remembers which were not known; the kernel's ``long`` has ``long_bits``."""

    __slots__ = ("facts", "long_bits", "missing")

    def __init__(self, facts: TaskFacts, long_bits: int) -> None:
        self.facts, self.long_bits = facts, long_bits
        self.missing: list[str] = []

    def __call__(self, name: str) -> int:
        value = getattr(self.facts, name)
        if value is None:
            self.missing.append(name)
            return 0
        return int(value)


class Rule(NamedTuple):
    """One era of badness."""

    name: str  #: first release line that has it
    since: Release
    until: Release | None  #: last release line, ``None`` = still in use
    unit: Unit
    formula: Formula
    source: str
    words: str  #: the formula in one line, for people
    memory: tuple[str, ...] = ()  #: facts counted as memory besides rss, in pages or tables
    root: Literal["none", "quarter", "minus_30", "adj_minus_30", "minus_3_percent"] = "none"
    floor: int | None = None  #: least points of an eligible task
    ceiling: int | None = None
    int32: bool = False  #: held in a C int: overflows above about 8 GiB
    score: Literal["raw", "share", "two_thirds"] = "share"  #: how /proc/PID/oom_score is made from it

    def contains(self, release: Release) -> bool:
        """Whether mainline kernels of this release used the rule."""
        return in_range(release, self.since, self.until)


def _quot(dividend: int, divisor: int) -> int:
    """C division: truncates toward zero."""
    return -(-dividend // divisor) if dividend < 0 else dividend // divisor


def _signed(value: int, bits: int) -> int:
    """*value* as it comes out of a signed C integer of so many bits that has overflowed."""
    half = 1 << (bits - 1)
    return (value + half) % (1 << bits) - half


def _shift_hz(hz: int) -> int:
    """SHIFT_HZ of include/linux/jiffies.h: the power of two nearest to HZ (100 -> 7, 250 -> 8, 1000 -> 10)."""
    return max(hz * 4 // 3, 1).bit_length() - 1


def _memory_names(rule: Rule) -> Iterator[str]:
    yield "rss_pages"
    yield from rule.memory


def _legacy(rule: Rule, read: _Reader, _total_pages: int, _page_size: int) -> Iterator[Step]:
    """2.6.11 - 2.6.35: virtual size, softened by age and privilege, shifted by oom_adj. The order of steps counts."""
    from math import isqrt

    facts, ulong = read.facts, 1 << read.long_bits
    points = read("total_vm_pages")
    yield "total_vm_pages", points
    if facts.oom_origin and rule.since > (2, 6, 18):
        yield "oom_origin", ulong - 1
        return
    halve = rule.since >= (2, 6, 18)
    points = (points + sum(vm // 2 + 1 if halve else vm for vm in facts.child_total_vm_pages)) % ulong
    yield "children", points
    points //= isqrt(read("cpu_time_jiffies") >> (_shift_hz(facts.hz) + 3)) or 1
    yield "cpu_time", points
    points //= isqrt(isqrt(max(read("run_time_seconds"), 0) >> 10)) or 1
    yield "run_time", points
    if read("nice") > 0:
        points = points * 2 % ulong
        yield "nice", points
    if read("cap_sys_admin") or (rule.since >= (2, 6, 32) and read("cap_sys_resource")):
        points //= 4
        yield "root", points
    if read("cap_sys_rawio"):
        points //= 4
        yield "cap_sys_rawio", points
    if facts.other_cpuset and rule.since > (2, 6, 18):
        points //= 8
        yield "other_cpuset", points
    adj = read("oom_adj")
    if adj > 0:
        lift = 1 if rule.since >= (2, 6, 24) else 0
        yield "oom_adj", (max(points, lift) << adj) % ulong
    elif adj < 0:
        yield "oom_adj", points >> -adj


def _per_mille(rule: Rule, read: _Reader, total_pages: int, _page_size: int) -> Iterator[Step]:
    """2.6.36 - 3.4: share of T in thousandths."""
    total_pages = max(total_pages, 1)
    if read.facts.oom_origin and rule.since < (3, 0):
        yield "oom_origin", 1000
        return
    pages = points = 0
    for name in _memory_names(rule):
        pages += read(name)
        points = pages * 1000 // total_pages
        if rule.int32:
            # The product wraps in an int, then becomes unsigned long for the division, then an int again.
            points = _signed(_signed(pages * 1000, 32) % (1 << read.long_bits) // total_pages, 32)
        yield name, points
    if read("cap_sys_admin"):
        points -= 30
        yield "root", points
    yield "oom_score_adj", points + read("oom_score_adj")


def _pages(rule: Rule, read: _Reader, total_pages: int, page_size: int) -> Iterator[Step]:
    """3.5 and later: pages, with oom_score_adj scaled by T/1000 (divided first, so small limits lose it)."""
    points = 0
    for name in _memory_names(rule):
        points += read(name) // (page_size if name == "pgtables_bytes" else 1)
        yield name, points
    adj = read("oom_score_adj")
    scale = total_pages // 1000
    if rule.root != "none" and read("cap_sys_admin"):
        if rule.root == "adj_minus_30":
            points -= 30 * scale
        else:
            points -= _quot(points * 3, 100)
        yield "root", points
    yield "oom_score_adj", points + adj * scale


BADNESS_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "2.6.11", (2, 6, 11), (2, 6, 17), "points", _legacy, "mm/oom_kill.c 2.6.11",
        "total_vm + children's total_vm, / sqrt(cpu), / 4th root(age), x2 nice, /4 root, /4 rawio, shifted by oom_adj",
        root="quarter", score="raw",
    ),
    Rule(
        "2.6.18", (2, 6, 18), (2, 6, 18), "points", _legacy, "mm/oom_kill.c 2.6.18",
        "total_vm + half of children's total_vm, / sqrt(cpu), / 4th root(age), x2 nice, /4 root, /4 rawio, "
        "shifted by oom_adj",
        root="quarter", score="raw",
    ),
    Rule(
        "2.6.2x", (2, 6, 19), (2, 6, 23), "points", _legacy, "mm/oom_kill.c between 2.6.18 and 2.6.24",
        "as 2.6.18, /8 in another cpuset, swapoff first",
        root="quarter", score="raw",
    ),
    Rule(
        "2.6.24", (2, 6, 24), (2, 6, 31), "points", _legacy, "mm/oom_kill.c 2.6.24",
        "as 2.6.2x, a positive oom_adj lifts 0 to 1",
        root="quarter", score="raw",
    ),
    Rule(
        "2.6.32", (2, 6, 32), (2, 6, 35), "points", _legacy, "mm/oom_kill.c 2.6.32.67, 2.6.35.3",
        "as 2.6.24, cpu time of the whole process, root = CAP_SYS_ADMIN or CAP_SYS_RESOURCE",
        root="quarter", score="raw",
    ),
    Rule(
        "2.6.36", (2, 6, 36), (2, 6, 38), "per_mille", _per_mille, "mm/oom_kill.c 2.6.36, 2.6.37",
        "(rss + swap) * 1000 / T - 30 for root + oom_score_adj, within 1 .. 1000",
        memory=("swap_pages",), root="minus_30", floor=1, ceiling=1000, score="raw",
    ),
    Rule(
        "2.6.39", (2, 6, 39), (3, 1), "per_mille", _per_mille, "mm/oom_kill.c 2.6.39.3, 3.1.3",
        "(rss + nr_ptes + swap) * 1000 / T in 32 bits - 30 for root + oom_score_adj, within 1 .. 1000",
        memory=("nr_ptes", "swap_pages"), root="minus_30", floor=1, ceiling=1000, int32=True, score="raw",
    ),
    Rule(
        "3.2", (3, 2), (3, 4), "per_mille", _per_mille, "mm/oom_kill.c 3.2.7, 3.4.4",
        "(rss + nr_ptes + swap) * 1000 / T - 30 for root + oom_score_adj, within 1 .. 1000",
        memory=("nr_ptes", "swap_pages"), root="minus_30", floor=1, ceiling=1000, score="raw",
    ),
    Rule(
        "3.5", (3, 5), (3, 13), "pages", _pages, "mm/oom_kill.c 3.5.0, 3.13.10",
        "rss + nr_ptes + swap + (oom_score_adj - 30 for root) * (T / 1000), at least 1",
        memory=("nr_ptes", "swap_pages"), root="adj_minus_30", floor=1,
    ),
    Rule(
        "3.14", (3, 14), (3, 19), "pages", _pages, "mm/oom_kill.c 3.14.5, 3.19.8 (also 3.2.71)",
        "rss + nr_ptes + swap - 3 % for root + oom_score_adj * (T / 1000), at least 1",
        memory=("nr_ptes", "swap_pages"), root="minus_3_percent", floor=1,
    ),
    Rule(
        "4.0", (4, 0), (4, 14), "pages", _pages, "mm/oom_kill.c 4.0.0, 4.14.74",
        "rss + swap + nr_ptes + nr_pmds - 3 % for root + oom_score_adj * (T / 1000), at least 1",
        memory=("swap_pages", "nr_ptes", "nr_pmds"), root="minus_3_percent", floor=1,
    ),
    Rule(
        "4.15", (4, 15), (4, 16), "pages", _pages, "mm/oom_kill.c 4.15.18, 4.16.13",
        "rss + swap + page tables - 3 % for root + oom_score_adj * (T / 1000), at least 1",
        memory=("swap_pages", "pgtables_bytes"), root="minus_3_percent", floor=1,
    ),
    Rule(
        "4.17", (4, 17), (5, 8), "pages", _pages, "mm/oom_kill.c 4.17.0, 4.19.0, 5.8.1",
        "rss + swap + page tables + oom_score_adj * (T / 1000), at least 1",
        memory=("swap_pages", "pgtables_bytes"), floor=1,
    ),
    Rule(
        "5.9", (5, 9), None, "pages", _pages, "mm/oom_kill.c 5.9.1, 6.18, 6.19",
        "rss + swap + page tables + oom_score_adj * (T / 1000)",
        memory=("swap_pages", "pgtables_bytes"), score="two_thirds",
    ),
)
"""Every badness formula, oldest first; the ranges are mainline's and do not overlap."""

_BY_NAME: Final = {rule.name: rule for rule in BADNESS_RULES}


def rule_by_name(name: str) -> Rule | None:
    """The row called ``name``, or ``None``."""
    return _BY_NAME.get(name)


def backported(release: str | None) -> Rule | None:
    """The row that a distribution took over from a later kernel; ``None`` = its release does not say so."""
    text = release or ""
    return _BY_NAME["3.2"] if text.startswith("2.6.32-") and ".el6" in text else None  # 2.6.32-642.6.2.el6


def rule_for_text(release: str) -> Rule | None:
    """The row of a kernel named as ``uname -r`` does, back-ports included; ``None`` = it names none."""
    key = parse_release(release)
    return None if key is None else backported(release) or rule_for_release(key)


def rule_for_release(release: Release) -> Rule:
    """The row mainline used in ``release``; the oldest row for kernels before 2.6.11."""
    return next((rule for rule in BADNESS_RULES if rule.contains(release)), BADNESS_RULES[0])


def badness(
    rule: Rule, facts: TaskFacts, total_pages: int, page_size: int, long_bits: int = 64
) -> Points | None:
    """
    Points of one task under ``rule``; ``None`` = exempt by adjustment, as init, or for having no memory.

    ``total_pages`` is T of the constraint (:mod:`oomsight.kernel.constraint`), ``page_size`` in bytes, ``long_bits`` 32
    for a 32-bit kernel, where oom_adj shifts big processes out of the number (<= 2.6.35). Rules about
    *who is scanned* (cgroup, cpuset, reaped or vforking tasks) are :mod:`oomsight.kernel.selection`'s.
    """
    legacy = rule.formula is _legacy
    if facts.is_init or facts.no_mm or (
        facts.oom_adj == OOM_DISABLE and rule.name != "2.6.11"
        if legacy
        else facts.oom_score_adj == OOM_SCORE_ADJ_MIN
    ):
        return None
    read = _Reader(facts, long_bits)
    terms: list[Term] = []
    raw = 0
    for name, value in rule.formula(rule, read, total_pages, page_size):
        terms.append(Term(name, value - raw))
        raw = value
    total = raw
    if rule.floor is not None and total < rule.floor:
        total = rule.floor
    if rule.ceiling is not None and total > rule.ceiling:
        total = rule.ceiling
    return Points(total, raw, tuple(terms), rule.unit, tuple(read.missing))


def badness_modern(  # noqa: PLR0917 - called once per table row, where keywords would cost more than the sum
    rss: int, swap: int, pgtables_bytes: int, adj: int, total_pages: int, page_size: int, floor: int | None = None
) -> int:
    """
    Pages of badness by the rules of 3.5 and later, without root's bonus, for a task that is not exempt.

    Kernels 3.5 - 4.14 count tables: pass ``(nr_ptes + nr_pmds) * page_size``. ``floor=1`` up to 5.8, none after.
    """
    points = rss + swap + pgtables_bytes // page_size + adj * (total_pages // 1000)
    return points if floor is None or points > floor else floor


def oom_score(rule: Rule, points: int | None, total_pages: int, long_bits: int = 64) -> int:
    """
    /proc/PID/oom_score for a task with ``points`` (``None`` = exempt). ``total_pages`` must be the *global* T: the
    file never uses a cgroup's limit. fs/proc/base.c 2.6.11, 3.4, 4.19, 5.9, 6.18. With ``long_bits`` 32 the product
    overflows above 2,147,483 points (4,294,967 up to 5.8), as the kernel's does: 8 GiB of pages of 4 KiB.
    """
    if points is None:
        return 0
    if rule.score == "raw":
        return points
    total_pages = max(total_pages, 1)
    if rule.score == "share":
        return points * 1000 % (1 << long_bits) // total_pages
    share = _quot(_signed(points * 1000, long_bits), total_pages)
    return _quot(_signed((1000 + share) * 2, long_bits), 3) % (1 << long_bits)


def pages_below_score(score: int, total_pages: int) -> int:
    """A number of points that no task whose oom_score is below ``score`` has, on kernels since 5.9."""
    return ((3 * score + 1) // 2 - 1000) * total_pages // 1000


def per_mille(points: int, total_pages: int) -> int:
    """``points`` in thousandths of T, as C divides. Negative points (>= 5.9) give a negative share."""
    return _quot(points * 1000, max(total_pages, 1))


def printed_score(rule: Rule, points: int, total_pages: int, long_bits: int = 64) -> int | None:
    """
    The number in ``Kill process … score <n>``: raw before 3.5, per mille of T up to 5.0; ``None`` under rules of
    kernels that print none (5.2 and later print none either). With oom_kill_allocating_task the kernel prints 0.
    """
    if rule.score == "two_thirds":
        return None
    return points if rule.score == "raw" else points * 1000 % (1 << long_bits) // max(total_pages, 1)
