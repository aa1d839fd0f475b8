"""Leaks and forecasts for people: the worst first, each with what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from oomsight._sizes import rate_words, size_words
from oomsight.naming.cgroup_path import short_words
from oomsight.naming.marked import Kind, mark
from oomsight.record.model import SHORT_LIVED
from oomsight.sinks.blocks import Block, Bullets, Column, Heading, Item, KeyValues, Paragraph, Row, Table
from oomsight.sinks.history_words import moment_words, sparkline
from oomsight.trend.leak import Verdict
from oomsight.trend.words import share, span

if TYPE_CHECKING:
    from oomsight.foresight.model import Leak, Outlook, Source, Subject, Victim
    from oomsight.trend.backtest import Backtest
    from oomsight.trend.exhaust import Exhaustion
    from oomsight.trend.leak import Finding

IN_FULL: Final = 3  #: forecasts told in full; a row each for the rest
FULL: Final = 0.95  #: of the limit: what does not grow any more may be full all the same
MAY_GO_ON: Final = frozenset({Verdict.LEAK, Verdict.SUSPECTED, Verdict.UNKNOWN})
SUSPECTED: Final = (
    "They grow as leaks do, but not for long enough to be sure: a cache that fills does so too. Change nothing yet."
    " Look again well before they are full; what does not slow down by then leaks. Whether more memory helps shows"
    " only then: it does if the growth ends."
)
LEAKS: Final = (
    "restart it before it is full, which buys as long again; then find what it keeps (a heap dump, a profiler)"
)
SHARED_LEAKS: Final = (
    "delete what fills it (`df -h -t tmpfs`, `ipcs -m` show where), which a restart does not; then bound the mount or "
    "find who forgets to delete"
)
DO: Final[dict[Verdict, str]] = {
    Verdict.LEAK: "More memory does not help, it only comes later. Restart it in time, and find what it keeps.",
    Verdict.SUSPECTED: "Whether more memory helps cannot be said yet. Look again well before it is full.",
    Verdict.STEP: "More memory helps. If it may not jump again, see what happened at that time.",
    Verdict.WARM_UP: "More memory helps, if it has too little once it is warm.",
    Verdict.CACHE: "More memory helps, and so does a smaller cache.",
    Verdict.SAWTOOTH: "More memory helps, and so does a smaller heap: it collects when that is full.",
    Verdict.DAILY: "More memory helps, for the peak of the day.",
    Verdict.BATCH: "More memory helps, for the biggest job; or fewer jobs at a time.",
    Verdict.LEVEL: "It needs no more memory.",
    Verdict.RESTART: "Nothing can be said yet: it began anew a moment ago.",
    Verdict.UNKNOWN: "Nothing can be said yet. Look again later.",
}
"""What to do about a curve, and whether more memory helps, by verdict."""
BARS: Final = 60  #: columns of a line that shows a curve
HELPS: Final = {True: "yes", False: "no, it only comes later", None: "cannot be said yet"}


def subject_words(subject: Subject) -> str:
    """What a subject is called (marked)."""
    if subject.kind == "host":
        return "the host"
    if subject.kind == "cgroup":
        return short_words(subject.cgroup or subject.name)
    if subject.kind == "series":
        return mark(subject.name, Kind.FILE)
    if subject.name == SHORT_LIVED:  # our word, as in `history`
        return subject.name
    return mark(subject.name) + (f" (pid {subject.pid})" if subject.pid is not None else "")


def source_words(source: Source) -> str:
    """Who grew (marked)."""
    if source.kind == "shmem":
        return source.name
    return mark(source.name) + (f" (pid {source.pid})" if source.pid is not None else ", all of them")


def interval_words(left: Exhaustion) -> str:
    """How long until it is full, with the interval."""
    high = "no end" if left.high_seconds is None else span(left.high_seconds)
    return f"in about {span(left.seconds)} (80 %: {span(left.low_seconds)} to {high})"


# -- leaks ------------------------------------------------------------------------------------------------------------


def leaks_blocks(
    leaks: Sequence[Leak], suspects: Sequence[Leak], judged: Sequence[Leak], now: float, columns: int, *,
    curves: int, everything: bool, unicode: bool,
) -> list[Block]:  # fmt: skip
    """
    *leaks* as findings, a row for each of *suspects*; with *everything* one for each of *judged* besides. *curves*: how
    many were looked at.
    """
    count = len(leaks)
    what = "No leak found" if not count else "1 leak found" if count == 1 else f"{count} leaks found"
    maybe = f", {len(suspects)} suspected" if suspects else ""
    blocks: list[Block] = [Heading(f"{what}{maybe}; {curves:,} curve{'s' * (curves != 1)} judged", 1)]
    for leak in leaks:
        blocks += _leak_blocks(leak, now, columns, unicode=unicode)
    if suspects:
        blocks += [Heading("Suspected"), _suspected(suspects), Paragraph(SUSPECTED, "dim")]
    if everything and judged:
        blocks += [Heading("All that was judged"), _all(judged), _to_do(judged)]
    elif not count and not suspects and judged:
        unsure = [one for one in judged if one.finding.verdict.value == "unknown"]
        if unsure:
            names = ", ".join(subject_words(one.subject) for one in unsure[:3])
            blocks.append(Paragraph(f"Too early to tell: {names}. --all shows every verdict.", "dim"))
    return blocks


def _leak_blocks(leak: Leak, now: float, columns: int, *, unicode: bool) -> Iterator[Block]:
    subject, finding, grows = leak.subject, leak.finding, leak.finding.growth
    assert grows is not None
    yield Heading(f"{_capital(subject_words(subject))} leaks {rate_words(grows.bytes_per_second)}")
    rows = [
        ("since", f"{moment_words(grows.since, now)}, {span(max(now - grows.since, 0))} ago"),
        ("rate", f"{rate_words(grows.bytes_per_second)} (80 %: {rate_words(grows.low_bytes_per_second)} to "
                 f"{rate_words(grows.high_bytes_per_second)})"),
        ("grown", f"{size_words(grows.grown_bytes)}, to {size_words(grows.level_bytes)}"),
        ("confidence", share(finding.confidence)),
        ("more memory helps", HELPS[finding.more_memory_helps]),
    ]  # fmt: skip
    if leak.left is not None:
        rows.append(("full", f"{interval_words(leak.left)}; the limit is {size_words(leak.left.limit_bytes)}"))
    if leak.causes:
        rows.append(("by", "; ".join(f"{source_words(one)} +{size_words(one.grown_bytes)}" for one in leak.causes[:3])))
    shared = bool(leak.causes) and leak.causes[0].kind == "shmem"
    rows.append(("what to do", SHARED_LEAKS if shared else LEAKS))
    yield KeyValues(tuple(rows))
    yield Paragraph(_curve(subject, columns, unicode=unicode))
    yield Bullets(tuple(Item(f"{words[:1].upper()}{words[1:]}.") for words in finding.evidence))


def _suspected(suspects: Sequence[Leak]) -> Table:
    columns = (
        Column("who", flexible=True), Column("grows", right=True), Column("for", right=True, drop=1),
        Column("sure", right=True), Column("full in", right=True, drop=2),
    )  # fmt: skip
    rows = []
    for one in suspects:
        grows = one.finding.growth
        assert grows is not None
        full = span(one.left.seconds) if one.left is not None else ""
        cells = (subject_words(one.subject), rate_words(grows.bytes_per_second), span(grows.until - grows.since),
                 share(one.finding.confidence), full)  # fmt: skip
        rows.append(Row(cells))
    return Table(columns, tuple(rows))


def _all(judged: Sequence[Leak]) -> Table:
    columns = (
        Column("who", flexible=True), Column("verdict"), Column("sure", right=True, drop=2),
        Column("last", right=True), Column("grows", right=True, drop=1), Column("why", flexible=True, drop=3),
    )  # fmt: skip
    rows = []
    for one in judged:
        finding = one.finding
        level = one.subject.need.values[-1] if len(one.subject.need) else 0.0
        grows = rate_words(finding.growth.bytes_per_second) if finding.growth is not None else ""
        why = finding.evidence[0] if finding.evidence else ""
        sure = "" if finding.verdict is Verdict.UNKNOWN else share(finding.confidence)
        cells = (subject_words(one.subject), _shown(finding.verdict), sure, size_words(level), grows, why)  # fmt: skip
        rows.append(Row(cells, "bad" if finding.is_leak else "plain"))
    return Table(columns, tuple(rows))


def _to_do(judged: Sequence[Leak]) -> KeyValues:
    """What each of the verdicts above asks for."""
    present = {one.finding.verdict for one in judged}
    return KeyValues(tuple((_shown(verdict), DO[verdict]) for verdict in Verdict if verdict in present))


def _shown(verdict: Verdict) -> str:
    return verdict.value.replace("_", "-")


def _curve(subject: Subject, columns: int, *, unicode: bool) -> str:
    need = subject.need
    if len(need) < 2:
        return ""
    return sparkline(need, min(columns - 2, BARS), need.times[0], need.times[-1], unicode=unicode)


# -- forecast ---------------------------------------------------------------------------------------------------------


def forecast_blocks(
    outlooks: Sequence[Outlook], quiet: Sequence[Outlook], now: float, columns: int, *, unicode: bool
) -> list[Block]:
    """*outlooks*: what is filling, the soonest first; *quiet*: what is not."""
    if not outlooks:
        what = f"{len(quiet)} looked at" if quiet else "nothing with a limit on record"
        title = "Nothing is filling up" if quiet else "Nothing to forecast"
        blocks: list[Block] = [Heading(f"{title}; {what}", 1)]
    else:
        first = outlooks[0]
        assert first.left is not None
        blocks = [Heading(f"{_capital(_place(first.subject))} full {interval_words(first.left)}", 1)]
    for number, one in enumerate(outlooks[:IN_FULL]):
        blocks += _outlook_blocks(one, now, columns, heading=number > 0, unicode=unicode)
    if later := outlooks[IN_FULL:]:
        table = Table((Column("filling too", flexible=True), Column("full"), Column("by", flexible=True, drop=1)),
                      tuple(Row(_later_cells(one)) for one in later))  # fmt: skip
        blocks.append(table)
    if quiet:
        rows = tuple(Row(_quiet_cells(one), "bad" if _is_full(one) else "plain") for one in quiet)
        table = Table((Column("no forecast for", flexible=True), Column("now", right=True), Column("limit", right=True),
                       Column("grows", right=True, drop=2), Column("verdict", drop=1)), rows)  # fmt: skip
        blocks += [table]
    return blocks


def _outlook_blocks(
    one: Outlook, now: float, columns: int, *, heading: bool, unicode: bool
) -> Iterator[Block]:
    left, subject = one.left, one.subject
    assert left is not None
    if heading:
        yield Heading(f"{_capital(_place(subject))} full {interval_words(left)}")
    grows = left.growth
    rows = [
        ("when", f"{moment_words(now + left.seconds, now)}, at {size_words(left.limit_bytes)}"),
        ("left", f"{size_words(left.headroom_bytes)} at {rate_words(grows.bytes_per_second)} since "
                 f"{moment_words(grows.since, now)}"),
    ]  # fmt: skip
    if one.causes:
        rows.append(("by", "; ".join(_cause_words(cause) for cause in one.causes[:3])))
    if one.victim is not None:
        rows.append(("would die", _victim_words(one.victim)))
    rows += [("curve", _verdict_words(one.finding)), ("method", left.method)]
    yield KeyValues(tuple(rows))
    yield Paragraph(_curve(subject, columns, unicode=unicode))
    if one.remedies:
        yield Bullets(tuple(Item(f"{remedy.text[:1].upper()}{remedy.text[1:]}.") for remedy in one.remedies))


def _verdict_words(finding: Finding) -> str:
    """What the curve is, and how sure that is; that it is not known yet needs no per cent."""
    if finding.verdict is Verdict.UNKNOWN:
        return "too early to tell what it is"
    return f"{_shown(finding.verdict)}, {share(finding.confidence)} sure"


def _later_cells(one: Outlook) -> tuple[str, ...]:
    assert one.left is not None
    return _place(one.subject), interval_words(one.left), source_words(one.causes[0]) if one.causes else ""


def _place(subject: Subject) -> str:
    return "RAM and swap of the host" if subject.kind == "host" else subject_words(subject)


def _cause_words(cause: Source) -> str:
    part = f" ({share(cause.share)} of the growth)" if cause.share is not None else ""
    return f"{source_words(cause)} +{size_words(cause.grown_bytes)}{part}"


def _victim_words(victim: Victim) -> str:
    who = mark(victim.comm) + (f" (pid {victim.pid})" if victim.pid is not None else "")
    return who if victim.is_cause else f"{who}, though another one grows"


def _quiet_cells(one: Outlook) -> tuple[str, ...]:
    need, limit = one.subject.need, one.subject.limit_bytes
    return (subject_words(one.subject), size_words(need.values[-1]) if len(need) else "",
            size_words(limit) if limit is not None else "none", _rate_words(one),
            "full" if _is_full(one) else _shown(one.finding.verdict))  # fmt: skip


def _rate_words(one: Outlook) -> str:
    """How fast it grows, where that may go on though it is too early or too slow for a forecast."""
    grows, need = one.finding.growth, one.subject.need
    if one.finding.verdict not in MAY_GO_ON or grows is None or grows.bytes_per_second <= 0:
        return ""
    ended = need.restarts and grows.until < need.restarts[-1]
    return "" if ended else rate_words(grows.bytes_per_second)


def _is_full(one: Outlook) -> bool:
    need, limit = one.subject.need, one.subject.limit_bytes
    return limit is not None and len(need) > 0 and need.values[-1] >= FULL * limit


# -- back-test --------------------------------------------------------------------------------------------------------


def backtest_blocks(tests: Sequence[tuple[Subject, Backtest]]) -> list[Block]:
    """How good forecasts would have been on this record."""
    from oomsight.trend.backtest import Backtest, Came

    whole = Backtest([check for _, test in tests for check in test.checks])
    known = len(whole.decided)
    if not known or whole.inside is None:
        said = "No forecast on this record can be checked yet"
        words = f"{len(whole.checks)} made, none of which has come to its end." if whole.checks else \
            "Nothing grew long enough."  # fmt: skip
        return [Heading(said, 1), Paragraph(words, "dim")]
    error = f", median error {share(whole.error)}" if whole.error is not None else ""
    title = f"{share(whole.inside)} of {known:,} past forecasts held{error}"
    columns = (
        Column("what", flexible=True), Column("made", right=True), Column("held", right=True),
        Column("sooner", right=True), Column("later", right=True, drop=1), Column("open", right=True, drop=2),
        Column("error", right=True),
    )  # fmt: skip
    rows = []
    for subject, test in tests:
        if not test.checks:
            continue
        counts = [str(test.count(came)) for came in (Came.INSIDE, Came.EARLY, Came.LATE, Came.OPEN)]
        rows.append(Row((subject_words(subject), str(len(test.checks)), *counts,
                         "" if test.error is None else share(test.error))))  # fmt: skip
    rows.sort(key=lambda row: -int(row.cells[1]))
    note = (
        "Each was made with what was known then: of the limit where it was reached, else of the moment at which it "
        "would have grown as far again. Held = within the 80 % interval; sooner is the bad kind; open = restarted, or "
        "the record ends before."
    )
    return [Heading(title, 1), Table(columns, tuple(rows)), Paragraph(note, "dim")]


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
