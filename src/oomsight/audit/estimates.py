"""Rules about runtimes against their limit (OS501, OS502): the estimate, each term shown, held against the limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.kubernetes.samples import pod
from oomsight.audit.model import Hit, Rule, Settings, Severity
from oomsight.audit.quantity import size_words
from oomsight.audit.runtimes import Inputs, estimate, recognise

if TYPE_CHECKING:
    from oomsight.audit.program import Program


def _exceeds(program: Program, settings: Settings) -> Iterator[Hit]:
    if program.limit_bytes is None:
        return
    runtime = recognise(program.argv, program.env, program.image)
    if runtime is None:
        return
    cpus = max(1, round(program.cpus)) if program.cpus else None
    found = estimate(
        runtime,
        Inputs(argv=program.argv, env=program.env, limit_bytes=program.limit_bytes, ram_bytes=settings.ram_bytes, cpus=cpus),
    )
    if found.low_bytes <= program.limit_bytes and found.verdict != "exceeds":
        return
    terms = sorted(found.terms, key=lambda term: -term.likely)
    yield Hit(
        program.limit_where or program.where, program.subject,
        f"its settings ({runtime}) let it need {size_words(found.likely_bytes)}; its memory limit is "
        f"{size_words(program.limit_bytes)}",
        evidence=tuple(f"{term.name} {size_words(term.likely)}: {term.source}" for term in terms if term.likely),
        advice=("lower the largest term, or raise the limit above the sum",),
        severity=Severity.HIGH if found.low_bytes > program.limit_bytes else None,
    )  # fmt: skip


_JAVA: Final = "command: [java, {}, -jar, /app.jar]\n"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS501", "Runtime needs more than its limit", Severity.MEDIUM, "program", _exceeds,
        what="a program (JVM, Node.js, Go, Python workers, databases …) whose heap, caches and workers as configured sum "
        "up to more than its memory limit.",
        why="the limit is for all of it: heap, metaspace, threads, direct buffers, caches.",
        leads="it runs well until the heap has grown to what it was allowed, and then the kernel kills it.",
        how="lower the term that is largest, or raise the limit above the sum.",
        source="each term of the estimate names its own",
        sample_name="pod.yaml",
        failing=pod("requests: {memory: 512Mi}, limits: {memory: 512Mi}", container=_JAVA.format("-Xmx1g")),
        passing=pod("requests: {memory: 1Gi}, limits: {memory: 1Gi}", container=_JAVA.format("-Xmx256m")),
    ),
)  # fmt: skip
