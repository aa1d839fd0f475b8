"""The estimate of a runtime held against its limit (OS501): the sum, each term shown, each source named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._sizes import size_words
from oomsight.audit.images import image_release, start_flags
from oomsight.audit.kubernetes.samples import pod
from oomsight.audit.model import Hit, Rule, Settings, Severity
from oomsight.audit.runtimes import RUNTIMES, Inputs, estimate, jvm, program_words, recognise
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.program import Program
    from oomsight.audit.runtimes import Estimate, Term

_NAMES: Final = {row.key: row.name for row in RUNTIMES}
_SERVERS: Final = frozenset({"postgres", "mysql", "redis", "php-fpm", "nginx"})
_ASSUMED: Final = "(assumed)"
_PLAIN = lazy(r"(?!.*www\.)[\w.,:;%×()+='’–-]+|\d+/\d+[.,;]?")
LEAST_BYTES: Final = 4 << 20  #: a smaller limit is a slip of its own (OS202, OS302, OS406)


def inputs_of(program: Program, settings: Settings, runtime: str | None) -> Inputs:
    """Return *program*, which is one of *runtime*, as the estimates want it."""
    return Inputs(
        argv=program.argv, env=program.env, config=program.config, config_name=program.config_name,
        limit_bytes=program.limit_bytes, ram_bytes=program.ram_bytes or settings.ram_bytes,
        cpus=max(1, round(program.cpus)) if program.cpus else None,
        version=program.release or image_release(program.image, runtime), cgroup_version=program.cgroup_version,
        start_flags=start_flags(program.image, program.env) if runtime == "jvm" and not program.argv else None,
        counts=program.counts,
    )  # fmt: skip


def term_words(term: Term, size_bytes: int) -> str:
    """Return one addend: ``1 GiB heap: -Xmx1g (command line)``; marked text."""
    return f"{size_words(size_bytes)} {term.name}: {shown(term.source)}"


def shown(text: str) -> str:
    """Return *text* of an estimate, which repeats what a file says: words that could be more than words are marked."""
    return " ".join(word if _PLAIN.fullmatch(word) else mark(word, Kind.ID) for word in text.split())


def _guessed(term: Term) -> bool:
    return _ASSUMED in term.source


def _sure_bytes(found: Estimate) -> int:
    """What the settings alone say: terms with an assumed size count with their least."""
    return sum(term.bytes_low if _guessed(term) else term.likely for term in found.terms)


def _exceeds(program: Program, settings: Settings) -> Iterator[Hit]:
    if program.limit_bytes is None or program.limit_bytes < LEAST_BYTES:
        return
    runtime = recognise(program.argv, program.env, program.image)
    if runtime is None:
        return
    if runtime == "jvm" and any(word.startswith("@") for word in jvm.command_options(program_words(program.argv))):
        return  # options in a file that is not here
    limit = program.limit_bytes
    found = estimate(runtime, inputs_of(program, settings, runtime))
    if found.likely_bytes <= limit and found.low_bytes <= limit:
        return
    sure = _sure_bytes(found)
    if sure <= limit and runtime == "python" and " = " not in found.terms[0].source:
        return  # one process of a size nobody said
    terms = sorted((term for term in found.terms if term.likely), key=lambda term: -term.likely)
    alone = any(term.likely >= limit and not _guessed(term) for term in found.terms)
    # A server none of whose settings is known: its defaults allow that much, nobody asked for it.
    unset = runtime in _SERVERS and not program.config and not any("=" in word for word in program.argv)
    largest = terms[0]
    yield Hit(
        program.limit_where or program.where, program.subject,
        f"its settings ({_NAMES[runtime]}) let it need {size_words(found.likely_bytes)}; its memory limit is "
        f"{size_words(limit)}",
        evidence=(*(term_words(term, term.likely) for term in terms), *(shown(note) for note in found.notes)),
        advice=(f"lower {largest.name}, or raise the limit above {size_words(found.likely_bytes)}",),
        severity=(
            Severity.HIGH if (alone and not unset) or found.low_bytes > limit
            else Severity.LOW if unset or sure <= limit else Severity.MEDIUM
        ),
    )  # fmt: skip


_JAVA: Final = "command: [java, {}, -jar, /app.jar]\n"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS501", "Runtime needs more than its limit", Severity.MEDIUM, "program", _exceeds,
        what="a program (JVM, Node.js, Go, Python workers, PHP-FPM, databases …) whose heap, caches and workers as "
        "configured sum up to more than its memory limit. High where one of them alone does; low where only assumed sizes "
        "of workers bring it above.",
        why="the limit is for all of it: heap, metaspace, threads, direct buffers, caches, page tables.",
        leads="it runs well until the heap has grown to what it was allowed, and then the kernel kills it.",
        how="lower the term that is largest, or raise the limit above the sum.",
        source="each term of the estimate names its own; measured against real processes by bench/runtimes",
        sample_name="pod.yaml",
        failing=pod("requests: {memory: 512Mi}, limits: {memory: 512Mi}", container=_JAVA.format("-Xmx1g")),
        passing=pod("requests: {memory: 1Gi}, limits: {memory: 1Gi}", container=_JAVA.format("-Xmx256m")),
    ),
)  # fmt: skip
