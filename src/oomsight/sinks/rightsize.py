"""``rightsize`` for people (blocks) and for programs (one JSON document), from the same advice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.rightsize.overview import IN_FULL, line_of
from oomsight.rightsize.words import duration_words, limit_words
from oomsight.sinks import schema
from oomsight.sinks.blocks import Block, Bullets, Code, Column, Heading, Item, Paragraph, Row, Table
from oomsight.sinks.rightsize_overview import overview_blocks
from oomsight.sinks.schema import INT, NUMBER, SENTENCE, TEXT, Record, array, constant, field, mapping, optional

if TYPE_CHECKING:
    from oomsight.rightsize.model import Advice, Candidate, Usage

SCHEMA_ID: Final = "oomsight.rightsize/1"

_KEYS: Final = {
    "request": "request", "limit": "limit", "high": "memory.high", "swap": "swap limit", "heap": "heap",
    "oom_score_adj": "oom_score_adj", "restart": "restart",
}  # fmt: skip


def rightsize_blocks(advices: Sequence[Advice], source: str, asked: int | None = None) -> Iterator[Block]:
    """
    Yield everything to show: a line per subject when there are many, each in full when they are few.

    *source* is marked; *asked* is how many subjects there were before the list was cut.
    """
    if len(advices) > IN_FULL:
        yield from overview_blocks([line_of(advice) for advice in advices], source, asked)
        return
    for advice in advices:
        yield from advice_blocks(advice)
    yield Paragraph(f"Source: {source}.", "dim")


def advice_blocks(advice: Advice) -> Iterator[Block]:
    """Yield one subject in full."""
    usage = advice.usage
    yield Heading(advice.headline, 1)
    if advice.peak_bytes is not None:
        shares = ", ".join(f"{name} {size_words(size)}" for name, size in advice.percentiles.items())
        replicas = f", {usage.replicas} replicas" if usage.replicas > 1 else ""
        yield Paragraph(
            f"Need over {duration_words(advice.span_seconds)}{replicas}: {shares},"
            f" highest {size_words(advice.peak_bytes)}. {_now_words(usage)}"
            + (f"; request now: {size_words(usage.request_bytes)}." if usage.request_bytes else ".")
        )  # fmt: skip
    if advice.settings:
        yield Heading("Set")
        yield Bullets(tuple(Item(f"{_key(advice, one.key)} {one.value}: {one.why}.") for one in advice.settings))
    if advice.candidates:
        yield Heading("What each limit means" if usage.ram_bytes is None else "What each size means")
        yield _candidates(advice)
    if advice.notes:
        yield Bullets(tuple(Item(note if note.endswith((".", "?")) else f"{note}.", "dim") for note in advice.notes))
    if (snippet := snippet_of(advice)) is not None:
        yield Heading("To copy")
        yield snippet


def _key(advice: Advice, key: str) -> str:
    return "swap" if key == "swap" and advice.usage.subject.kind == "host" else _KEYS[key]


def _now_words(usage: Usage) -> str:
    if usage.ram_bytes is None:
        return f"Limit now: {limit_words(usage.limit_bytes)}"
    swap = usage.limit_bytes - usage.ram_bytes if isinstance(usage.limit_bytes, int) else 0
    return f"RAM: {size_words(usage.ram_bytes)}, swap: {size_words(swap) if swap > 0 else 'none'}"


def _candidates(advice: Advice) -> Table:
    leaking = any(c.seconds_to_limit is not None for c in advice.candidates)
    columns: tuple[Column, ...] = (
        Column("limit", right=True), Column("OOM kill in 30 days", right=True),
        Column("sets aside", right=True, drop=1), Column("which"),
    )  # fmt: skip
    if leaking:
        columns = (columns[0], Column("reached after", right=True), *columns[1:])
    ram = advice.usage.ram_bytes
    if ram is not None:
        columns = (Column("swap", right=True), Column("need above RAM and swap in 30 days", right=True),
                   Column("disk", right=True, drop=1), columns[-1])  # fmt: skip
    rows = []
    for one in advice.candidates:
        size = one.limit_bytes - (ram or 0)
        cells = [size_words(size) if size else "none", chance_words(one.probability), _cost(one), one.name]
        if leaking:
            after = one.seconds_to_limit
            cells.insert(1, "" if after is None else duration_words(after))
        chosen = one.name.endswith("recommended") and "×" not in one.name
        rows.append(Row(tuple(cells), "strong" if chosen else "plain"))
    return Table(columns, tuple(rows))


def chance_words(probability: float | None) -> str:
    """Return a probability as a person would say it; no more digits than it is worth."""
    if probability is None:
        return "not known"
    if probability < 0.001:
        return "<0.1 %"
    if probability > 0.99:
        return ">99 %"
    return f"{100 * probability:.1f} %" if probability < 0.1 else f"{100 * probability:.0f} %"


def _cost(one: Candidate) -> str:
    if one.cost_bytes is None:
        return "not known"
    if one.cost_bytes == 0:
        return "as now"
    return f"{size_words(abs(one.cost_bytes))} {'more' if one.cost_bytes > 0 else 'less'}"


def snippet_of(advice: Advice) -> Code | None:
    """Return the settings as configuration for what the subject is; ``None`` where there is nothing to set."""
    from oomsight.audit.quantity import kubernetes_words
    from oomsight.rightsize.words import systemd_size

    sizes = {one.key: one.bytes for one in advice.settings if one.bytes is not None}
    if not sizes:
        return None
    subject = advice.usage.subject
    if subject.kind == "container" and subject.workload is not None:
        lines = ["resources:"]
        if "request" in sizes:
            lines += ["  requests:", f"    memory: {kubernetes_words(sizes['request'])}"]
        if "limit" in sizes:
            lines += ["  limits:", f"    memory: {kubernetes_words(sizes['limit'])}"]
        return Code("\n".join(lines), "yaml")
    if subject.kind == "container":
        lines = [f"mem_limit: {systemd_size(sizes['limit']).lower()}"] if "limit" in sizes else []
        if "request" in sizes:
            lines.append(f"mem_reservation: {systemd_size(sizes['request']).lower()}")
        return Code("\n".join(lines), "yaml") if lines else None
    if subject.kind == "host":
        size = sizes["swap"] >> 20
        lines = [f"fallocate -l {size}M /swapfile && chmod 600 /swapfile", "mkswap /swapfile && swapon /swapfile"]
        return Code("\n".join(lines), "sh")
    if subject.kind == "cgroup":
        files = (("high", "memory.high"), ("limit", "memory.max"), ("swap", "memory.swap.max"))
        place = quote(f"/sys/fs/cgroup{subject.cgroup or subject.name}")
        lines = [f"echo {systemd_size(sizes[key])} > {place}/{name}" for key, name in files if key in sizes]
        return Code("\n".join(lines), "sh") if lines and place.isprintable() else None
    if subject.kind == "name":
        keys = (("limit", "MemoryMax"), ("high", "MemoryHigh"), ("swap", "MemorySwapMax"))
        words = [f"-p {name}={systemd_size(sizes[key])}" for key, name in keys if key in sizes]
        return Code(" ".join(["systemd-run --scope", *words, "COMMAND"]), "sh") if words else None
    if subject.kind == "unit":
        keys = (("limit", "MemoryMax"), ("high", "MemoryHigh"), ("swap", "MemorySwapMax"))
        lines = [f"{name}={systemd_size(sizes[key])}" for key, name in keys if key in sizes]
        adj = advice.setting("oom_score_adj")
        lines += [f"OOMScoreAdjust={adj.value}"] if adj is not None else []
        return Code("\n".join(["[Service]", *lines]), "ini") if lines else None
    return None


SUBJECT: Final = Record(
    "subject",
    "Whose memory it is; names are raw.",
    field("kind", TEXT, "container, unit, cgroup, name (all processes of it) or host (its swap)."),
    field("name", TEXT, "Its name.", lambda s: s.full_name),
    field("namespace", optional(TEXT), "Kubernetes namespace."),
    field("workload", optional(TEXT), "Deployment, StatefulSet, … as the pod's name tells."),
    field("container", optional(TEXT), "Container."),
    field("cgroup", optional(TEXT), "Cgroup path."),
)

SETTING: Final = Record(
    "setting",
    "One thing to set.",
    field("key", TEXT, "request, limit, high, swap, heap, oom_score_adj or restart."),
    field("value", TEXT, "In words."),
    field("bytes", optional(INT), "Size; null = the setting is no size."),
    field("why", SENTENCE, "Reason."),
)

CANDIDATE: Final = Record(
    "candidate",
    "One possible limit.",
    field("name", TEXT, "Why it is in the list."),
    field("limit_bytes", INT, "The limit; of a host: RAM and swap together."),
    field("probability", optional(NUMBER), "Of need above it within 30 days; null = not known."),
    field("seconds_to_limit", optional(NUMBER), "From a fresh start, when it leaks; else null."),
    field("cost_bytes", optional(INT), "Set aside more than now by all replicas (host: disk); null = no limit now."),
)

LEAK: Final = Record(
    "growth",
    "What was found about growth.",
    field("growth", TEXT, "leak, growing, steady or unknown."),
    field("rate_bytes_per_second", optional(NUMBER), "How fast."),
    field("since", optional(NUMBER), "Unix seconds."),
    field("confidence", optional(TEXT), "high, medium or low."),
    field("more_memory_helps", optional(schema.BOOL), "Whether a higher limit would prevent the kill."),
)

_LIMIT_BYTES: Final = schema.LIMIT

ADVICE: Final = Record(
    "advice",
    "What to set for one subject.",
    field("subject", SUBJECT.type, "Whose.", lambda a: a.usage.subject),
    field("summary", SENTENCE, "In one line.", lambda a: a.headline),
    field("replicas", INT, "How many at once.", lambda a: a.usage.replicas),
    field("span_seconds", NUMBER, "Length of the history."),
    field("need_basis", optional(TEXT), "Which sum stands for need.", lambda a: a.usage.basis and a.usage.basis.name),
    field("peak_bytes", optional(INT), "Highest need seen."),
    field("percentiles", mapping(INT), "p50, p95, p99 of need in bytes."),
    field("limit_bytes", _LIMIT_BYTES, "Limit now, in bytes; null = not known.", lambda a: a.usage.limit_bytes),
    field("request_bytes", optional(INT), "Request now.", lambda a: a.usage.request_bytes),
    field("cache_peak_bytes", optional(INT), "Highest usage with page cache.", lambda a: a.usage.cache_peak_bytes),
    field("kill_count", INT, "OOM kills in that time.", lambda a: a.usage.kill_count),
    field("incidents", array(TEXT), "Their ids, where stored.", lambda a: [k.incident_id for k in a.usage.kills]),
    field("growth", LEAK.type, "Growth.", lambda a: a.usage.leak),
    field("margin_pct", NUMBER, "Safety margin used."),
    field("settings", array(SETTING.type), "What to set."),
    field("candidates", array(CANDIDATE.type), "Possible limits, ascending."),
    field("notes", array(SENTENCE), "What to know."),
)


class _Document(NamedTuple):
    version: str
    source: str
    advices: Sequence[Advice]


DOCUMENT: Final = Record(
    "document",
    "One answer of oomsight rightsize.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "Version that wrote it.", lambda d: d.version),
    field("source", SENTENCE, "Where the figures are from."),
    field("advices", array(ADVICE.type), "One per subject."),
)


def rightsize_document(version: str, source: str, advices: Sequence[Advice]) -> dict[str, Any]:
    """Return the answer as the JSON object of the contract."""
    return DOCUMENT.write(_Document(version, source, advices))


def rightsize_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`rightsize_document`, generated from the tables above."""
    return schema.json_schema(DOCUMENT, SCHEMA_ID, "oomsight rightsize --format json")
