"""The small phrases every block is made of: a process, a place in the text, a time, a limit."""

from __future__ import annotations

from oomsight._lazy import lazy
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.blocks import human_kib

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from oomsight.report.model import MemcgLine, OomReport, Span, Victim, When

_PRINTK_STAMP = lazy(r"[\[<]?\s*\d+\.\d+\s*[\]>]?(?:\s?\[\s*[TC]\d+\])?")


def rss_kib(victim: Victim) -> int | None:
    """Return the resident size in KiB the kill line of *victim* adds up to; ``None`` when it printed none."""
    parts = [p for p in (victim.anon_rss_kib, victim.file_rss_kib, victim.shmem_rss_kib) if p is not None]
    return sum(parts) if parts else None


def task_words(comm: str | None, pid: int | None) -> str:
    """Return a process as ``NAME (pid 12)`` with whatever is known of it (marked text)."""
    name = mark(comm) if comm is not None else "a process whose name is not in the text"
    return f"{name} (pid {pid})" if pid is not None else name


def line_words(first: int | None, last: int | None = None) -> str:
    """Return ``line 4`` or ``lines 4–9``; empty when *first* is not known."""
    if first is None:
        return ""
    return f"line {first}" if last in (None, first) else f"lines {first}–{last}"


def in_brackets(words: str) -> str:
    """Return `` (words)``, or nothing for nothing."""
    return f" ({words})" if words else ""


def source_words(span: Span) -> str:
    """Return where an event was read: source name and lines (marked text)."""
    name = "standard input" if span.name in ("<stdin>", "-") else mark(span.name, Kind.FILE)
    return f"{name}, {line_words(span.first_line, span.last_line)}"


def clock_words(when: When) -> str:
    """Return the shortest honest time: ISO 8601, else the carrier's words, else seconds since boot; or nothing."""
    text = when.time or (when.time_text or "").strip()
    if when.uptime_s is not None and (not text or _PRINTK_STAMP.fullmatch(text)):
        return f"{when.uptime_s:.2f} s after boot"
    return text


def when_words(report: OomReport) -> str:
    """Return when and on which host the event was, as far as the text tells (marked text); else empty."""
    when = report.when
    parts = [clock_words(when)]
    if when.uptime_s is not None and not parts[0].endswith("boot"):
        parts.append(f"{when.uptime_s:.2f} s after boot")
    if when.host:
        parts.append(f"on {mark(when.host, Kind.HOST)}")
    return ", ".join(part for part in parts if part)


def usage_words(line: MemcgLine) -> str:
    """Return one ``usage …, limit …, failcnt …`` line of the kernel in words."""
    limit = "no limit" if line.limit_kib == "unlimited" else "limit not known"
    if isinstance(line.limit_kib, int):
        limit = f"{human_kib(line.limit_kib)} allowed"
    failed = f", {line.failcnt:,} times at the limit" if line.failcnt else ""
    return f"{human_kib(line.usage_kib)} used, {limit}{failed}"


def sentence(text: str) -> str:
    """Return *text* with a capital and a full stop. A name at its start stays as it is: the mark is no letter."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!", ":")) else text + "."


def number(value: int | None) -> str:
    """Return *value* with thousands separators; ``None`` is an empty cell."""
    return "" if value is None else f"{value:,}"


def kib_words(value: int | None) -> str:
    """Return *value* KiB for a table cell; ``None`` is an empty cell."""
    return "" if value is None else human_kib(value)


def page_kib(report: OomReport) -> int:
    """Return the page size in KiB the report was read with (4 where the text does not give it away)."""
    return (report.page_size or 4096) >> 10
