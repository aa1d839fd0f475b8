"""How a conclusion is worded: sizes, counts and names, the same everywhere. Names are marked, numbers are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.diagnose.model import Consumer
    from oomsight.report.model import OomReport


IN_NO_COUNTER: Final = "memory in no counter"
"""What the rest of an accounting is called in sentences."""


def prints_no_table(report: OomReport) -> bool:
    """Whether the head is that of 2.6.11 to 2.6.18, which does not name who asked: dump_tasks() came with 2.6.25."""
    return report.trigger is not None and report.trigger.comm is None and report.trigger.pid is None


def missing(report: OomReport) -> str:
    """Return what is not in the text and how to get it, as the end of a sentence."""
    if prints_no_table(report) and report.victims:
        return "kernels as old as this one print no table of processes"
    if report.trigger is None:
        part, how = "start", "the lines above, from 'invoked oom-killer' on"
    elif report.victims:
        part, how = "middle", "all lines from 'invoked oom-killer' to 'Killed process', not only those with oom in them"
    else:
        part, how = "end", "the lines below, down to 'Killed process'"
    return f"the {part} of the report is not in this text: run `oomsight explain` on the host, or paste {how}"


def asked_in(report: OomReport) -> str | None:
    """
    Return the container, marked, whose process asked for memory, where only the name of its cpuset tells: reports up
    to 4.20 print it with the head, the cgroups come later. ``None`` where the cgroups are told, or no container is.
    """
    if report.trigger is None or not report.trigger.cpuset or report.oom_memcg or report.task_memcg:
        return None
    owner = describe(f"/{report.trigger.cpuset.lstrip('/')}")
    return owner.short if owner is not None and owner.kind == "container" else None


_GIB_FROM_KIB: Final = -(-102395 * 1024 // 100)  # 1023.95 of the smaller unit would print as 1024.0
_TIB_FROM_KIB: Final = -(-102395 * 1024 * 1024 // 100)


def size(kib: int | None) -> str:
    """Return *kib* in the unit a person would use (``512 KiB``, ``1.5 GiB``); ``None`` is ``an unknown amount``."""
    if kib is None:
        return "an unknown amount"
    if -1024 < kib < 1024:
        return f"{kib} KiB"
    if -_GIB_FROM_KIB < kib < _GIB_FROM_KIB:
        return f"{kib / 1024:.1f} MiB"
    if -_TIB_FROM_KIB < kib < _TIB_FROM_KIB:
        return f"{kib / (1 << 20):.1f} GiB"
    return f"{kib / (1 << 30):.1f} TiB"


def percent(part: int, whole: int) -> str:
    """Return *part* of *whole* as ``42 %``; more digits below ten percent, never ``0 %`` for something."""
    value = 100 * part / whole if whole else 0.0
    if value >= 9.95:
        return f"{round(value)} %"
    return f"{value:.1f} %" if value >= 0.05 or not part else "less than 0.1 %"


def count(number: int, noun: str) -> str:
    """Return ``1 process`` or ``12 processes``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def share(pct: float) -> str:
    """Return a share as ``42 %``: never nothing for something, and never all where something is missing."""
    return "<1 %" if pct < 1 else f"{99 if 99 < pct < 100 else pct:.0f} %"


def listing(parts: list[str], last: str = "and") -> str:
    """Join words as English does: ``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""


def process(comm: str | None, pid: int | None) -> str:
    """Return a process as ``NAME (pid 12)``, with whatever is known of it."""
    name = mark(comm) if comm else "a process"
    return f"{name} (pid {pid})" if pid is not None else f"{name}" if comm else "an unnamed process"


def holder(consumer: Consumer) -> str:
    """Return who holds memory, in words: a process, a group of processes, a user, a cgroup or a kernel item."""
    name = consumer.name
    if consumer.kind == "process":
        return process(name, consumer.pids[0] if consumer.pids else None)
    if consumer.kind == "name":
        return f"{count(consumer.count, 'process')} named {mark(name)}"
    if consumer.kind == "user":
        return f"{count(consumer.count, 'process')} of user {mark(name, Kind.USER)}"
    if consumer.kind == "cgroup":
        return f"cgroup {mark(name, Kind.CGROUP)}"
    if name.startswith("not accounted for"):
        return IN_NO_COUNTER
    # Kernel and shared items carry our own label; anything odd in it came from the text and is treated as a name.
    return name if name.isascii() and name.isprintable() else mark(name)


def sentence(text: str) -> str:
    """Return *text* with a capital first letter (unless it starts with a name) and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def first_clause(text: str) -> str:
    """Return *text* cut at its first semicolon that stands outside brackets."""
    at = text.find(";")
    while at >= 0 and text.count("(", 0, at) != text.count(")", 0, at):
        at = text.find(";", at + 1)
    return text if at < 0 else text[:at]
