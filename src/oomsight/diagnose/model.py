"""
The explained incident: a parsed report plus everything concluded from it.

All sentences (``title``, ``text``, ``summary`` …) are **marked text** (:mod:`oomsight.naming.marked`): names inside
them carry marks, and each sink decides how a name is shown. Commands are argument lists, quoted by the sink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from oomsight._enums import StrEnum
from oomsight._record import Record, dataclass, field
from oomsight.naming.cgroup_path import Owner  # noqa: TC001 - read at run time by whoever walks the dataclasses
from oomsight.report.model import OomReport, Span  # noqa: TC001


class Confidence(StrEnum):
    """How sure a statement is."""

    CERTAIN = "certain"  #: printed by the kernel or exact arithmetic on printed numbers
    LIKELY = "likely"  #: the numbers fit this and nothing else we know
    POSSIBLE = "possible"  #: the numbers allow it; the text cannot prove it (then ``settles`` says what would)


@dataclass(slots=True, eq=False, repr=False)
class Evidence(Record):
    """One fact a conclusion rests on."""

    text: str
    first_line: int | None = None  #: line of the source it was read from
    last_line: int | None = None


@dataclass(slots=True, eq=False, repr=False)
class Advice(Record):
    """One thing to change, for this case, numbers filled in."""

    text: str
    command: tuple[str, ...] | None = None  #: argument vector, ready to run after reading
    snippet: str | None = None  #: configuration text (unit drop-in, YAML) instead of a command


@dataclass(slots=True, eq=False, repr=False)
class Cause(Record):
    """One cause code with its proof and cure. Codes: ``diagnose.causes`` table."""

    code: str
    title: str
    confidence: Confidence
    evidence: list[Evidence] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    settles: str | None = None  #: what would settle a ``possible`` cause


@dataclass(slots=True, eq=False, repr=False)
class Item(Record):
    """One addend of an accounting. ``parts`` refine it and never add to the total again."""

    key: str  #: stable identifier: anon, shmem, file, free, slab_unreclaimable, unaccounted, …
    label: str
    kib: int
    parts: list[Item] = field(default_factory=list)
    note: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class Accounting(Record):
    """
    Where the memory was. ``sum(i.kib for i in items) == total_kib`` always holds: what the report does not
    account for is an item of its own (key ``unaccounted``), never hidden.
    """

    scope: Literal["host", "node", "memcg"]
    name: str  #: ``host``, ``node 0`` or the cgroup path (marked text)
    total_kib: int  #: managed RAM (pages RAM − reserved), node total or cgroup usage
    items: list[Item] = field(default_factory=list)
    basis: str = ""  #: how the total was obtained, in words
    approximate: bool = False  #: counters contradicted each other by a little; the remainder was clamped
    swap_total_kib: int | None = None
    swap_free_kib: int | None = None

    @property
    def is_sum(self) -> bool:
        """Whether the total is only what the printed counters add up to: how much there is, is not in the text."""
        return self.basis.startswith("sum of the printed counters")


@dataclass(slots=True, eq=False, repr=False)
class Consumer(Record):
    """A group of processes, or a non-process item, that held memory."""

    kind: Literal["process", "name", "user", "cgroup", "kernel", "shared"]
    name: str  #: raw name, not marked
    kib: int  #: rss + swap + page tables; shared pages counted in every sharer, see ``note``
    share_pct: float | None  #: of the limit or of managed RAM
    count: int = 1  #: processes in the group
    pids: tuple[int, ...] = ()
    is_victim: bool = False
    note: str | None = None


@dataclass(slots=True, eq=False, repr=False)
class RankedTask(Record):
    """One row of the selection table as the kernel saw it."""

    rank: int | None  #: 1 = chosen; ``None`` = not eligible
    pid: int
    tgid: int
    comm: str
    points_pages: int | None  #: badness; ``None`` = not eligible
    oom_score_adj: int | None
    rss_kib: int
    swap_kib: int | None
    pgtables_kib: int | None
    adj_points_pages: int | None  #: the share of the points that comes from oom_score_adj
    per_mille: int | None  #: points * 1000 / totalpages
    skipped: str | None = None  #: why it could not be chosen (``oom_score_adj -1000``, …)


@dataclass(slots=True, eq=False, repr=False)
class Selection(Record):
    """The kernel's choice, recomputed."""

    rule: str  #: row of the badness table that was used, e.g. ``5.9+``
    rule_why: str  #: how the era was recognised (shape of the lines)
    total_pages: int | None  #: T
    total_pages_from: str | None  #: how T was obtained
    ranking: Sequence[RankedTask] = field(default_factory=list)  #: rows are made when asked for
    margin_pages: int | None = None  #: points of the victim minus points of the best other process
    explained: bool = False  #: the recomputed first is the task the kernel chose
    reason: str | None = None  #: where it is not: children, tie, adj granularity, counter error, … (marked text)
    why: str = ""  #: one sentence: why this process and not the biggest one (marked text)


@dataclass(slots=True, eq=False, repr=False)
class GfpWords(Record):
    """The failed request in words."""

    size_kib: int | None
    words: str
    flags: tuple[str, ...]
    zone: str | None  #: highest zone the request may use: DMA, DMA32, Normal, HighMem, Movable


@dataclass(slots=True, eq=False, repr=False)
class ZoneCheck(Record):
    """Watermark arithmetic of one zone for the failed request."""

    node: int | None
    name: str
    eligible: bool  #: the request could have used this zone
    free_kib: int
    usable_kib: int  #: free minus reserves the request may not touch
    min_kib: int
    reserve_kib: int  #: lowmem_reserve for this request
    passes: bool | None  #: usable above min + reserve
    blocks: int | None  #: free blocks of at least the requested order
    words: str  #: marked text


@dataclass(slots=True, eq=False, repr=False)
class Answers(Record):
    """The three questions. Each a list of marked sentences."""

    what_used_too_much: list[str] = field(default_factory=list)
    why_it_grew: list[str] = field(default_factory=list)
    why_nothing_stopped_it: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False, repr=False)
class Incident(Record):
    """One explained event: what ``oomsight explain`` shows and stores."""

    id: str
    report: OomReport
    source: Span
    headline: str  #: one marked line: what was killed, where, why
    summary: str  #: marked plain sentences
    answers: Answers
    causes: list[Cause] = field(default_factory=list)
    accountings: list[Accounting] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    culprit: Consumer | None = None
    selection: Selection | None = None
    gfp: GfpWords | None = None
    zone_checks: list[ZoneCheck] = field(default_factory=list)
    owner: Owner | None = None  #: of task_memcg (the victim's cgroup)
    oom_owner: Owner | None = None  #: of oom_memcg (the limit that was hit)
    recurrence: str | None = None  #: "3rd kill of … in this input" (marked), set by the caller that sees all
