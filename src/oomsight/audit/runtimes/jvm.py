"""
The Java virtual machine (HotSpot): heap, metaspace, code, threads, direct buffers, what the collector needs besides.

Sources: hotspot/share/runtime/arguments.cpp (set_heap_size, set_ergonomics), gc/shared/gcConfig.cpp (which collector),
os/linux/cgroupSubsystem_linux.cpp; JDK 8u, 11, 17, 21. Sizes without a flag or a default of the JDK were measured with
OpenJDK 17 (bench/runtimes; docs/benchmarks.md has the figures).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from oomsight._sizes import GIB, KIB, MIB
from oomsight.audit.runtimes.command import base_name
from oomsight.audit.runtimes.flags import Flag, flags, words
from oomsight.audit.runtimes.model import Estimate, Inputs, Term
from oomsight.audit.runtimes.units import jvm_size

DEFAULT_MAX_HEAP_BYTES: Final = 130_862_080  #: MaxHeapSize before ergonomics: ScaleForWordSize(96 * M), 64-bit
COMPRESSED_OOPS_BYTES: Final = 32 * GIB - 32 * MIB  #: ergonomics goes no higher, or pointers would double
DEFAULT_MAX_RAM_BYTES: Final = 128 * GIB  #: MaxRAM
SERVER_RAM_BYTES: Final = 1792 * MIB  #: with less, or one CPU, Serial is chosen (is_server_class_machine)
THREADS_ASSUMED: Final = 50
STACK_USED_BYTES: Final = 96 * KIB  #: of a thread that waits in a few frames; measured
KERNEL_THREAD_BYTES: Final = 24 * KIB  #: kernel stack of 16 KiB, task_struct, page tables; measured
JVM_BYTES: Final = 11 * MIB  #: the JVM's own data and what its libraries write to; measured
CLASSES_LOW_BYTES: Final = 1 * MIB
CLASSES_LIKELY_BYTES: Final = 96 * MIB  #: a framework application of some 15,000 classes
CODE_LOW_BYTES: Final = 3 * MIB
CODE_LIKELY_BYTES: Final = 48 * MIB
HEAP_LOW_BYTES: Final = 2 * MIB
DIRECT_LIKELY_BYTES: Final = 16 * MIB

VARIABLES: Final = (
    # (variable, by whom it is read, before the command line?)
    ("JDK_JAVA_OPTIONS", "read by java, 9 and later", True),
    ("JAVA_TOOL_OPTIONS", "read by the JVM", True),
    ("_JAVA_OPTIONS", "read by the JVM, overrides the command line", False),
)
SCRIPT_VARIABLES: Final = (
    "JAVA_OPTS", "JAVA_OPTIONS", "CATALINA_OPTS", "JVM_OPTS", "JAVA_ARGS", "KAFKA_HEAP_OPTS", "ES_JAVA_OPTS",
    "LS_JAVA_OPTS", "SBT_OPTS", "SOLR_JAVA_MEM", "ZK_SERVER_HEAP", "JAVA_MEM",
)  # fmt: skip
"""Variables the JVM does not read itself; start scripts pass them on. They count when the command line has no heap."""


class Collector(NamedTuple):
    """What a collector needs besides the heap, as a share of it."""

    flag: str
    name: str
    low_pct: float
    high_pct: float  #: bit maps, cards, remembered sets when all are touched
    why: str


COLLECTORS: Final = (
    Collector("UseSerialGC", "Serial", 0.2, 0.6, "card table and offset table, 1/512 each"),
    Collector("UseParallelGC", "Parallel", 0.4, 4.0, "mark bit maps of 1/32, card table 1/512"),
    Collector("UseG1GC", "G1", 0.6, 6.2, "mark bit maps of 1/64 (two up to 19), cards, remembered sets"),
    Collector("UseConcMarkSweepGC", "CMS", 0.6, 5.0, "mark bit map 1/64, cards, free lists"),
    Collector("UseShenandoahGC", "Shenandoah", 0.6, 5.0, "mark bit maps of 1/32, region tables"),
    Collector("UseZGC", "ZGC", 0.6, 6.0, "page table, mark maps, forwarding tables"),
)

_NAMED: Final = re.compile(r"-XX:(\w+)=(.+)", re.ASCII)
_SWITCH: Final = re.compile(r"-XX:([+-])(\w+)", re.ASCII)
_X: Final = re.compile(r"-(Xmx|Xms|Xss|Xmn|mx|ms|ss)(\d+[kKmMgGtT]?)", re.ASCII)
_X_NAMES: Final = {
    "Xmx": "MaxHeapSize", "mx": "MaxHeapSize", "Xms": "InitialHeapSize", "ms": "InitialHeapSize",
    "Xss": "ThreadStackSize", "ss": "ThreadStackSize", "Xmn": "NewSize",
}  # fmt: skip
_WITH_VALUE: Final = frozenset({"-cp", "-classpath", "--class-path", "-p", "--module-path"})
_STARTS_PROGRAM: Final = frozenset({"-jar", "-m", "--module"})
_VERSION: Final = re.compile(r"(?:1\.)?(\d{1,3})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?(?:u(\d{1,4})|_(\d{1,4}))?", re.ASCII)


class Options:
    """The options that reached the JVM; the last of a kind wins."""

    def __init__(self, inputs: Inputs) -> None:
        self.named: dict[str, tuple[str, str]] = {}  #: name -> (value, source)
        self.switches: dict[str, tuple[bool, str]] = {}
        self.assumed: list[str] = []  #: variables that count only if a start script passes them on
        for flag in gather(inputs):
            self._take(flag)
        # With java itself as the command there is no script that could pass them on.
        bare = bool(inputs.argv) and base_name(inputs.argv[0]) == "java"
        if not bare and "MaxHeapSize" not in self.named and "MaxRAMPercentage" not in self.named:
            for name in SCRIPT_VARIABLES:
                if name in inputs.env:
                    before = (len(self.named), len(self.switches))
                    for word in words(inputs.env[name]):
                        self._take(Flag(word, name))
                    if before != (len(self.named), len(self.switches)):
                        self.assumed.append(name)
        if inputs.start_flags and "MaxHeapSize" not in self.named and "MaxRAMPercentage" not in self.named:
            for word in words(inputs.start_flags[0]):
                self._take(Flag(word, inputs.start_flags[1]))

    def _take(self, flag: Flag) -> None:
        text, source = flag
        if found := _X.fullmatch(text):
            self.named[_X_NAMES[found[1]]] = (found[2], f"{text} ({source})")
        elif found := _NAMED.fullmatch(text):
            name, value = found[1], found[2]
            # Of these the number alone is KiB, of -Xss bytes.
            if name in {"ThreadStackSize", "VMThreadStackSize"} and value.isdecimal():
                value += "k"
            self.named[name] = (value, f"{text} ({source})")
        elif found := _SWITCH.fullmatch(text):
            self.switches[found[2]] = (found[1] == "+", f"{text} ({source})")

    def size(self, name: str) -> tuple[int, str] | None:
        """A size in bytes and its source; ``None`` = not given, or a value the JVM refuses."""
        value, source = self.named.get(name, ("", ""))
        size = jvm_size(value)
        return None if size is None else (size, source)

    def number(self, name: str) -> tuple[float, str] | None:
        """A number and its source."""
        value, source = self.named.get(name, ("", ""))
        try:
            return float(value), source
        except ValueError:
            return None

    def on(self, name: str, default: bool = False) -> bool:
        """Whether a switch is on."""
        return self.switches.get(name, (default, ""))[0]


def gather(inputs: Inputs) -> list[Flag]:
    """The options in the order in which the JVM takes them."""
    places: list[tuple[str, Sequence[str]]] = []
    for name, why, before in VARIABLES:
        if before and name in inputs.env:
            places.append((f"{name}, {why}", words(inputs.env[name])))
    places.append(("command line", command_options(inputs.argv)))
    if "jvm.options" in inputs.config:
        places.append((inputs.config_name, words(inputs.config["jvm.options"])))
    for name, why, before in VARIABLES:
        if not before and name in inputs.env:
            places.append((f"{name}, {why}", words(inputs.env[name])))
    return flags(places)


def command_options(argv: Sequence[str]) -> list[str]:
    """The JVM's own options of a command line that begins with java: what follows -jar or the main class is not."""
    own: list[str] = []
    for word in argv[1:]:
        value = bool(own) and own[-1] in _WITH_VALUE
        # @FILE holds more options.
        if not value and (not word.startswith(("-", "@")) or word in _STARTS_PROGRAM):
            break
        own.append(word)
    return own


class Version(NamedTuple):
    """A Java release: ``8u191`` is (8, 191), ``11.0.16`` is (11, 16)."""

    feature: int
    update: int


def parse_version(text: str | None) -> Version | None:
    """``1.8.0_191``, ``8u372-b07``, ``17.0.15``, ``openjdk:11-jre``'s ``11``; ``None`` = none of these."""
    found = _VERSION.match(text or "")
    if found is None:
        return None
    feature = int(found[1])
    update = found[4] or found[5] or (found[3] if feature > 8 else None)
    return Version(feature, int(update) if update else (0 if feature == 8 or found[2] else 999))


def sees_limit(version: Version | None, cgroup_version: int | None, options: Options) -> tuple[bool, str]:
    """
    Whether this JVM sizes itself by its cgroup, and why. JDK-8146115 (10, 8u191), JDK-8170888 (8u131, experimental),
    JDK-8230305 (version 2: 15, 11.0.16, 8u372).
    """
    if not options.on("UseContainerSupport", True):
        return False, "-XX:-UseContainerSupport"
    if version is None:
        return True, "release not known, taken as one with container support"
    name = f"Java {version.feature}" + (f" update {version.update}" if version.update not in {0, 999} else "")
    since = {8: 191, 9: 10_000}.get(version.feature, 0)
    if version.feature < 8 or version.update < since:
        if version.feature == 8 and version.update >= 131 and options.on("UseCGroupMemoryLimitForHeap"):
            return True, "-XX:+UseCGroupMemoryLimitForHeap"
        return False, f"{name} knows no cgroups (8u191 and 10 do)"
    if cgroup_version == 2:
        since2 = {8: 372, 10: 10_000, 11: 16, 12: 10_000, 13: 10_000, 14: 10_000}.get(version.feature, 0)
        if version.update < since2:
            return False, f"{name} knows cgroups of version 1 only (8u372, 11.0.16 and 15 know both)"
    return True, f"{name} knows cgroups"


def max_heap(options: Options, ram_bytes: int | None) -> tuple[int | None, str]:
    """MaxHeapSize as set_heap_size() finds it, from flags and the memory the JVM sees; ``None`` = memory not known."""
    if (given := options.size("MaxHeapSize")) is not None and given[0] > 0:
        return given
    if ram_bytes is None:
        return None, "a quarter of the memory the JVM sees, which is not known here"
    ram = min(ram_bytes, (options.size("MaxRAM") or (DEFAULT_MAX_RAM_BYTES, ""))[0])
    share = options.number("MaxRAMPercentage")
    fraction = options.number("MaxRAMFraction")
    if share is None and fraction is not None and fraction[0] > 0:
        share = (100 / fraction[0], fraction[1])
    percent, source = share or (25.0, "MaxRAMPercentage = 25 (default)")
    small, small_source = options.number("MinRAMPercentage") or (50.0, "MinRAMPercentage = 50 (default)")
    where = f" of the {ram // MIB:,} MiB it sees"
    if int(ram * small / 100) < DEFAULT_MAX_HEAP_BYTES:
        return int(ram * small / 100), small_source + where
    most = int(ram * percent / 100)
    if most < DEFAULT_MAX_HEAP_BYTES:
        return DEFAULT_MAX_HEAP_BYTES, f"MaxHeapSize = 124 MiB (default), more than {source}{where}"
    return min(most, COMPRESSED_OOPS_BYTES), source + where


def collector(options: Options, version: Version | None, ram_bytes: int | None, cpus: int | None) -> Collector:
    """The collector the flags choose, else the one ergonomics does."""
    for row in COLLECTORS:
        if options.on(row.flag):
            return row
    server = (cpus or 2) >= 2 and (ram_bytes is None or ram_bytes >= SERVER_RAM_BYTES)
    if not server:
        return COLLECTORS[0]
    return COLLECTORS[1] if version is not None and version.feature == 8 else COLLECTORS[2]


def estimate(inputs: Inputs) -> Estimate:
    """The sum for one JVM."""
    options, version = Options(inputs), parse_version(inputs.version)
    sees, why = sees_limit(version, inputs.cgroup_version, options)
    seen = inputs.limit_bytes if sees and inputs.limit_bytes is not None else inputs.ram_bytes
    if seen is not None and inputs.ram_bytes is not None:
        seen = min(seen, inputs.ram_bytes)
    notes = []
    if not sees and inputs.limit_bytes is not None:
        notes.append(f"the JVM does not see its limit: {why}; it sizes itself by the host")
    notes += [f"{name} counts only if the start script passes it to java" for name in options.assumed]
    heap, heap_source = max_heap(options, seen)
    gc = collector(options, version, seen, inputs.cpus)
    terms = [_heap(options, heap, heap_source), _gc(gc, heap), _metaspace(options), _code(options)]
    terms += [*_threads(options, inputs.counts.get("threads")), _direct(options, heap)]
    terms.append(Term("JVM itself", JVM_BYTES, 3 * JVM_BYTES, "libjvm, symbols, arenas (measured)", 2 * JVM_BYTES))
    held = sum(term.likely for term in terms)
    most = None if any(term.bytes_high is None for term in terms) else sum(term.bytes_high or 0 for term in terms)
    terms.append(
        Term("page tables", 512 * KIB, None if most is None else most // 256 + MIB,
             "1/512 of what is mapped, and the process itself (kernel memory)", held // 512 + 512 * KIB, "*", 1 / 512)
    )  # fmt: skip
    return Estimate("jvm", tuple(terms), inputs.limit_bytes, tuple(notes), sees)


def _heap(options: Options, heap: int | None, source: str) -> Term:
    initial = options.size("InitialHeapSize")
    low = HEAP_LOW_BYTES
    if options.on("AlwaysPreTouch") and heap is not None:
        low = heap if initial is None else min(initial[0], heap)
        source += ", -XX:+AlwaysPreTouch"
    most = None if heap is None else max(heap, low)
    return Term("heap", min(low, most or low), most, source, most)


def _gc(gc: Collector, heap: int | None) -> Term:
    heap = heap or 0
    return Term(
        "garbage collector", int(heap * gc.low_pct / 100), int(heap * gc.high_pct / 100),
        f"{gc.name}: {gc.why}", int(heap * (gc.low_pct + gc.high_pct) / 200),
        grows_with="heap", share=(gc.high_pct - gc.low_pct) / 200,
    )  # fmt: skip


def _metaspace(options: Options) -> Term:
    given = options.size("MaxMetaspaceSize")
    if given is not None:
        return Term("metaspace", CLASSES_LOW_BYTES, max(given[0], CLASSES_LOW_BYTES), given[1],
                    max(min(CLASSES_LIKELY_BYTES, given[0]), CLASSES_LOW_BYTES))  # fmt: skip
    space = options.size("CompressedClassSpaceSize")
    source = "MaxMetaspaceSize not set: no bound" + (f"; {space[1]} bounds class structures" if space else "")
    return Term("metaspace", CLASSES_LOW_BYTES, None, source, CLASSES_LIKELY_BYTES)


def _code(options: Options) -> Term:
    tiered = options.on("TieredCompilation", True) and "TieredStopAtLevel" not in options.named
    default = (240 * MIB if tiered else 48 * MIB, f"ReservedCodeCacheSize = {240 if tiered else 48}m (default)")
    most, source = options.size("ReservedCodeCacheSize") or default
    if (options.named.get("TieredStopAtLevel") or ("",))[0] == "0" or options.on("Xint"):
        source += ", interpreted only"
    return Term("code cache", min(CODE_LOW_BYTES, most), most, source, min(CODE_LIKELY_BYTES, most))


def _threads(options: Options, count: int | None) -> tuple[Term, Term]:
    stack, source = options.size("ThreadStackSize") or (MIB, "Xss = 1m (default)")
    stack = stack or MIB
    number = THREADS_ASSUMED if count is None else count
    source += f" × {number} threads" + (" (assumed)" if count is None else "")
    used = min(STACK_USED_BYTES, stack)
    # Without a number nothing is certain but the JVM's own threads, which "JVM itself" holds.
    low = 0 if count is None else count * used
    return (
        Term("thread stacks", low, number * stack, source, number * min(stack, 2 * STACK_USED_BYTES)),
        Term("threads in the kernel", 0 if count is None else count * KERNEL_THREAD_BYTES,
             number * KERNEL_THREAD_BYTES, f"{KERNEL_THREAD_BYTES // KIB} KiB × {number} (measured)"),
    )  # fmt: skip


def _direct(options: Options, heap: int | None) -> Term:
    given = options.size("MaxDirectMemorySize")
    if given is not None and given[0] > 0:
        return Term("direct buffers", 0, given[0], given[1], min(DIRECT_LIKELY_BYTES, given[0]))
    source = "MaxDirectMemorySize not set: as much as the heap (default)"
    likely = DIRECT_LIKELY_BYTES if heap is None else min(DIRECT_LIKELY_BYTES, heap)
    return Term("direct buffers", 0, heap, source, likely)
