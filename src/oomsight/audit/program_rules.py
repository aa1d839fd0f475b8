"""Rules about how a runtime is told what it may use (OS502 to OS508): containers, services, units and images alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._lazy import lazy
from oomsight._sizes import MIB, size_words
from oomsight.audit.estimates import LEAST_BYTES, inputs_of, shown
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.program_samples import OF_PROGRAMS
from oomsight.audit.runtimes import jvm, node, program_words, recognise
from oomsight.audit.runtimes.command import base_name
from oomsight.audit.runtimes.flags import option, words
from oomsight.audit.runtimes.units import go_size, jvm_size, mysql_size, postgres_size, redis_size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.program import Program

_HEAP_WORD = lazy(r"-Xm[xs]\S+|-XX:(?:Max|Min|Initial)(?:RAM(?:Percentage|Fraction)|HeapSize)=\S+|-mx\S+")
_OLD_SPACE = lazy(r"--max[-_]old[-_]space[-_]size(?:=\S*)?")
_UNKNOWN: Final = ("${", "$(", "{{", "<", "$")
HIGH_SHARE: Final = 85.0
"""A heap of this share of the limit leaves less than most programs hold outside of it (metaspace, threads, buffers)."""


def _runtime(program: Program) -> str | None:
    return recognise(program.argv, program.env, program.image)


def _bounded(program: Program) -> bool:
    """Whether there is a limit to miss: a known one, or that of whoever runs the image."""
    return program.limit_bytes is not None or program.image_only


# -- OS502 ------------------------------------------------------------------------------------------------------------


def _blind(program: Program, settings: Settings) -> Iterator[Hit]:
    runtime = _runtime(program)
    if runtime not in {"jvm", "node"} or not _bounded(program):
        return
    inputs = inputs_of(program, settings, runtime)
    if runtime == "jvm":
        # Of no known image: of a release with support, so only a flag can take that away.
        from dataclasses import replace

        options = jvm.Options(replace(inputs, argv=program_words(program.argv)))
        if options.size("MaxHeapSize") is not None:
            return
        version = jvm.parse_version(inputs.version)
        sees, why = jvm.sees_limit(version, None, options)
        sees2, why2 = jvm.sees_limit(version, 2, options)
        remedy = "set -Xmx, or use a current release (8u372, 11.0.16, 17 or later)"
    else:
        text = " ".join((*program.argv, program.env.get("NODE_OPTIONS", "")))
        if _OLD_SPACE.search(text):
            return
        sees, why = node.sees_limit(inputs.version, None)
        sees2, why2 = node.sees_limit(inputs.version, 2)
        remedy = "set --max-old-space-size, or use a current release (18.17, 20.3 or later)"
    if sees and sees2:
        return
    name = f" (image {mark(program.image, Kind.OWNER)})" if program.image else ""
    yield Hit(
        program.where, program.subject,
        f"it does not see its memory limit{name}: it sizes its heap by the host"
        + ("" if not sees else " where the host has cgroup v2, as all current distributions do"),
        evidence=(why if not sees else why2,), advice=(remedy,), severity=None if not sees else Severity.MEDIUM,
    )  # fmt: skip


# -- OS503 ------------------------------------------------------------------------------------------------------------


def _unheard(program: Program, _: Settings) -> Iterator[Hit]:
    argv = program_words(program.argv)
    runtime = _runtime(program)
    if not argv or runtime not in {"jvm", "node"}:
        return
    name = base_name(argv[0])
    if runtime == "jvm" and name == "java":
        told = set(argv)
        read = {name for name, _, _ in jvm.VARIABLES}
        for variable in jvm.SCRIPT_VARIABLES:
            found = [word for word in words(program.env.get(variable, "")) if _HEAP_WORD.fullmatch(word)]
            if found and variable not in read and not told.intersection(found):
                yield Hit(
                    program.env_places.get(variable, program.where), program.subject,
                    f"nobody reads {variable}: java is started directly, so {mark(found[0], Kind.ID)} does nothing",
                    advice=("call it JAVA_TOOL_OPTIONS, which the JVM itself reads",),
                    fix=(
                        Fix(f"JAVA_TOOL_OPTIONS={value}", "text") if (value := program.env[variable]).isprintable()
                        else None
                    ),
                    # The image may put a start script before the command, which reads it.
                    severity=None if program.replaces_entrypoint else Severity.MEDIUM,
                )  # fmt: skip
        own = len(jvm.command_options(argv)) + 1
        yield from _behind(program, argv[own:], _HEAP_WORD, "the jar or main class")
    elif runtime == "node" and name in {"node", "nodejs"}:
        own = len(node.command_options(argv)) + 1
        yield from _behind(program, argv[own:], _OLD_SPACE, "the script")


def _behind(program: Program, rest: tuple[str, ...], pattern: re.Pattern[str], what: str) -> Iterator[Hit]:
    for word in rest[1:]:
        if pattern.fullmatch(word):
            yield Hit(
                program.where, program.subject,
                f"{mark(word, Kind.ID)} stands behind {what}: it is an argument of the program and sets no heap",
                advice=(f"put it before {what}",),
            )  # fmt: skip
            return


# -- OS504 ------------------------------------------------------------------------------------------------------------


def _whole_share(program: Program, settings: Settings) -> Iterator[Hit]:
    if _runtime(program) != "jvm" or program.limit_bytes is not None:  # with a limit the sum is known (OS501)
        return
    from dataclasses import replace

    options = jvm.Options(replace(inputs_of(program, settings, "jvm"), argv=program_words(program.argv)))
    if options.size("MaxHeapSize") is not None:
        return
    share, fraction = options.number("MaxRAMPercentage"), options.number("MaxRAMFraction")
    percent, source = share or ((100 / fraction[0], fraction[1]) if fraction and fraction[0] > 0 else (0.0, ""))
    if percent >= HIGH_SHARE:
        yield Hit(
            program.place_of(source.split(" ", 1)[0]), program.subject,
            f"its heap may take {percent:.0f} % of the limit; metaspace, threads and buffers come on top",
            evidence=(shown(source),),
            advice=("75 % and less; the smaller the limit, the smaller the share",),
            fix=Fix("-XX:MaxRAMPercentage=75", "text"),
            severity=Severity.HIGH if percent >= 100 else None,
        )  # fmt: skip


# -- OS505 ------------------------------------------------------------------------------------------------------------


def _go(program: Program, _: Settings) -> Iterator[Hit]:
    text = program.env.get("GOMEMLIMIT")
    if text is not None and text != "off" and not any(sign in text for sign in _UNKNOWN):
        where = program.env_places.get("GOMEMLIMIT", program.where)
        size, limit = go_size(text), program.limit_bytes
        if size is None:
            meant = re.sub(r"^(\d+)\s*([KMGT])i?[bB]?$", r"\1\2iB", text.strip(), flags=re.IGNORECASE)
            yield Hit(
                where, program.subject,
                f"GOMEMLIMIT={mark(text, Kind.ID)} is no size to Go: the program does not start",
                advice=("sizes are written 512MiB, 2GiB",),
                fix=Fix(f"GOMEMLIMIT={meant}", "text") if meant != text.strip() and go_size(meant) else None,
                severity=Severity.HIGH,
            )  # fmt: skip
        elif limit is not None and size > limit * 0.97:
            yield Hit(
                where, program.subject,
                f"GOMEMLIMIT ({size_words(size)}) leaves nothing below the memory limit ({size_words(limit)}): the kernel "
                "kills before Go collects",
                advice=("90 % of the limit leaves room for stacks of C code and the binary",),
                fix=Fix(f"GOMEMLIMIT={limit * 9 // 10 // MIB}MiB", "text"),
            )  # fmt: skip
    if program.env.get("GOGC") == "off" and (text is None or text == "off"):
        yield Hit(
            program.env_places.get("GOGC", program.where), program.subject,
            "GOGC=off without GOMEMLIMIT: nothing is ever collected",
            advice=("set GOMEMLIMIT beside it",), severity=Severity.HIGH,
        )  # fmt: skip


# -- OS506 ------------------------------------------------------------------------------------------------------------

_BY_CPUS = lazy(
    r"\$\(nproc[^)]*\)|`nproc[^`]*`|nproc\b|cpu_count\(|--(?:workers|processes|concurrency)[= ](?:auto|%k)|"
    r"-w[= ]?auto|pm2(?:-runtime)?\b.* (?:-i|--instances)[= ](?:max|0|-1)\b"
)


def _by_cpus(program: Program, _: Settings) -> Iterator[Hit]:
    if not _bounded(program):
        return
    text = " ".join(program.argv)
    said = None
    if found := _BY_CPUS.search(text):
        said = found[0]
    elif program.env.get("WEB_CONCURRENCY") == "auto":
        said = "WEB_CONCURRENCY=auto"
    else:
        argv = program_words(program.argv)
        celery = bool(argv) and "celery" in {base_name(word) for word in argv[:3]} and "worker" in argv
        if celery and option(argv, "--concurrency", "-c", "--autoscale", "--pool", "-P") is None:
            said = "celery worker without --concurrency"
    if said is not None:
        yield Hit(
            program.where, program.subject,
            f"the number of its processes follows the CPUs of the host ({mark(said, Kind.ID)}), its memory limit does not",
            evidence=(
                (f"all of them share {size_words(program.limit_bytes)}",)
                if program.limit_bytes is not None else ()
            ),
            advice=("give a number that fits the limit: a CPU quota does not change what the program counts",),
        )  # fmt: skip


# -- OS507 ------------------------------------------------------------------------------------------------------------


def _no_bound(program: Program, _: Settings) -> Iterator[Hit]:
    if program.limit_bytes is None or program.limit_bytes < LEAST_BYTES or _runtime(program) != "redis":
        return
    if "sentinel" in " ".join((*program.argv, *program.env)).lower():  # which holds no data
        return
    argv = program_words(program.argv)
    given = " ".join(value for name, value in program.env.items() if "ARGS" in name or "FLAGS" in name)
    if option(argv, "--maxmemory") is not None or "maxmemory" in given or "REDIS_MAXMEMORY" in program.env:
        return
    if program.config:
        if (redis_size(program.config.get("maxmemory", "0")) or 0) > 0:
            return
    elif any("/" in word or word.endswith(".conf") for word in argv[1:]) or program.argv[:1] == ("sh",):
        return  # a configuration file that is not here
    limit = program.limit_bytes
    yield Hit(
        program.where, program.subject,
        f"Redis without maxmemory: its data grow to the memory limit ({size_words(limit)}), and the kernel ends it there",
        advice=("set maxmemory to three quarters of the limit or less, and a policy for what then happens",),
        fix=Fix(f"--maxmemory {limit * 3 // 4 // MIB}mb --maxmemory-policy allkeys-lru", "text"),
    )  # fmt: skip


# -- OS508 ------------------------------------------------------------------------------------------------------------


class SizeFlag(NamedTuple):
    """An option that takes a size, and who reads it."""

    runtime: str
    pattern: re.Pattern[str]  #: its group is the value
    read: Callable[[str], int | None]
    wants: str
    separate: bool = False  #: the value is the next word


SIZE_FLAGS: Final[tuple[SizeFlag, ...]] = (
    SizeFlag("jvm", lazy(r"-Xm[xsn](.+)|-Xss(.+)"), jvm_size, "a number and k, m or g"),
    SizeFlag("jvm", lazy(r"-XX:Max(?:HeapSize|MetaspaceSize|DirectMemorySize|RAM)=(.+)"), jvm_size,
             "a number and k, m or g"),
    SizeFlag("jvm", lazy(r"-XX:(?:Max|Min|Initial)RAMPercentage=(.+)"),
             lambda text: 1 if re.fullmatch(r"\d+(\.\d+)?", text) else None, "a number without %"),
    SizeFlag("node", lazy(r"--max[-_](?:old|semi)[-_]space[-_]size=(.+)"),
             lambda text: int(text) if text.isdecimal() else None, "a number of MiB without a letter"),
    SizeFlag("redis", lazy(r"--maxmemory"), redis_size, "bytes, or kb, mb, gb", True),
    SizeFlag("mysql", lazy(r"--innodb[-_]buffer[-_]pool[-_]size=(.+)"), mysql_size, "a number and K, M or G"),
    SizeFlag("postgres", lazy(r"(?:-c)?(?:--)?(?:shared_buffers|work_mem|maintenance_work_mem)=(.+)"),
             lambda text: postgres_size(text, 8192), "a number and kB, MB or GB, capitals as here"),
)  # fmt: skip
_READ_BY: Final = {"jvm": tuple(name for name, _, _ in jvm.VARIABLES) + jvm.SCRIPT_VARIABLES, "node": ("NODE_OPTIONS",)}


def _refused(program: Program, _: Settings) -> Iterator[Hit]:
    runtime = _runtime(program)
    if runtime == "elasticsearch":
        runtime = "jvm"
    rows = [row for row in SIZE_FLAGS if row.runtime == runtime]
    if not rows:
        return
    places = [(word, program.where) for word in program_words(program.argv)]
    for name in _READ_BY.get(runtime or "", ()):
        where = program.env_places.get(name, program.where)
        places += [(word, where) for word in words(program.env.get(name, ""))]
    told: set[str] = set()
    for at, (word, where) in enumerate(places):
        for row in rows:
            found = row.pattern.fullmatch(word)
            if found is None:
                continue
            value = (places[at + 1][0] if at + 1 < len(places) else "") if row.separate else (
                next(group for group in found.groups() if group is not None)
            )  # fmt: skip
            if word in told or any(sign in value for sign in _UNKNOWN) or row.read(value) is not None:
                continue
            told.add(word)
            shown = f"{word} {value}" if row.separate else word
            yield Hit(
                where, program.subject, f"{mark(shown, Kind.ID)} is refused: the program does not start",
                advice=(f"it takes {row.wants}",),
            )  # fmt: skip


_FINDS: Final = {
    "OS502": (Severity.HIGH, _blind), "OS503": (Severity.HIGH, _unheard), "OS504": (Severity.MEDIUM, _whole_share),
    "OS505": (Severity.MEDIUM, _go), "OS506": (Severity.MEDIUM, _by_cpus), "OS507": (Severity.MEDIUM, _no_bound),
    "OS508": (Severity.HIGH, _refused),
}  # fmt: skip

RULES: Final[tuple[Rule, ...]] = tuple(
    Rule(text.id, text.title, _FINDS[text.id][0], "program", _FINDS[text.id][1], text.what, text.why, text.leads,
         text.how, text.source, text.sample_name, text.failing, text.passing)
    for text in OF_PROGRAMS
)  # fmt: skip
