"""
Words about memory and death that are not the kernel's: a service manager or container runtime that saw a kernel kill,
a program that reached a limit of its own, an exit status that names a signal only.

None of them is an incident: they name no process that the kernel killed. Where a text holds nothing else, whoever
pasted it is told what they are and where to look. :data:`SAYINGS` is the table; the first row that fits a line counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._enums import StrEnum
from oomsight._lazy import lazy
from oomsight._named import NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


class Of(StrEnum):
    """What a saying is about."""

    KERNEL_KILL = "kernel_kill"  #: somebody else saw a kernel OOM kill
    OWN_LIMIT = "own_limit"  #: a program or its runtime ran into a bound of its own; the kernel killed nothing
    REFUSED = "refused"  #: the kernel refused memory; the program was told and not killed
    WORDS = "words"  #: words like those, in whatever text
    SIGKILL = "sigkill"  #: ended by SIGKILL, by whom is not said


class Saying(NamedTuple):
    """One way of saying it."""

    of: Of
    who: str  #: whose words they are
    words: tuple[str, ...]  #: one of them is in the line
    means: str  #: a sentence or two: what it means and what to look at
    sample: str
    source: str
    pattern: re.Pattern[str] | None = None  #: what the line must match besides
    beside: str = ""  #: in the line as well, in whatever letters: looked for first, the regex is dear to compile


_HEAP: Final = "set it below the container's limit and above what the work needs"

_BY_SIGKILL: Final = (
    "137 is 128 + 9: it was ended by SIGKILL. The kernel's OOM killer sends that; so do people, timeouts and "
    "orchestrators, and this text does not say who did."
)

SAYINGS: Final[tuple[Saying, ...]] = (
    Saying(Of.KERNEL_KILL, "systemd", ("killed by the OOM killer", "'oom-kill'", "OOM killer killed some"), "",
        "system-db.slice: A process of this unit has been killed by the OOM killer.", "systemd core/unit.c, service.c"),
    Saying(Of.KERNEL_KILL, "the kubelet", ("TaskOOM", "SystemOOM", "System OOM encountered", "Created an OOM event"),
        "",
        "Warning  SystemOOM  12m (x4 over 25m)  kubelet, node-1  System OOM encountered",
        "kubelet oom_watcher_linux.go"),
    Saying(Of.SIGKILL, "systemd-oomd", ("cgroups for killing, top candidates", "oomd attempting to kill"),
        "It looked for a cgroup to end; its line 'Killed /…' or 'Marked /…', which is not in this text, says which it "
        "took.",
        "Considered 75 cgroups for killing, top candidates were:", "systemd oom/oomd-manager.c, basic/cgroup-util.c"),
    Saying(Of.SIGKILL, "Docker", ("OOMKilled",),
        "Docker noted no OOM kill in that container's cgroup. Where it ended with 137, somebody else sent SIGKILL, or "
        "the whole machine was out of memory.", '"OOMKilled": false,', "moby api State",
        lazy(r"OOMKilled[\"']?\s*[:=]\s*[Ff]alse")),
    Saying(Of.KERNEL_KILL, "the container runtime", ("OOMKilled", "OOM-killed", "OOM Killed", "/tasks/oom"), "",
        "      Reason:       OOMKilled", "kubelet, moby, containerd, podman"),
    Saying(Of.OWN_LIMIT, "Java",
        ("OutOfMemoryError: Java heap", "OutOfMemoryError: GC overhead", "OutOfMemoryError: Requested"),
        f"The heap of the JVM is full: its bound is -Xmx or -XX:MaxRAMPercentage; {_HEAP}. "
        "-XX:+HeapDumpOnOutOfMemoryError keeps what filled it.",
        "java.lang.OutOfMemoryError: Java heap space", "OpenJDK troubleshooting guide"),
    Saying(Of.OWN_LIMIT, "Java",
        ("OutOfMemoryError: Metaspace", "OutOfMemoryError: Compressed class", "OutOfMemoryError: PermGen"),
        "Classes filled their area (-XX:MaxMetaspaceSize): a class loader leak, or the bound is too low.",
        "java.lang.OutOfMemoryError: Metaspace", "OpenJDK troubleshooting guide"),
    Saying(Of.OWN_LIMIT, "Java", ("OutOfMemoryError: Direct buffer", "reserve 1 bytes of direct buffer"),
        "Buffers outside the heap reached -XX:MaxDirectMemorySize (by default as much as -Xmx).",
        "java.lang.OutOfMemoryError: Direct buffer memory", "OpenJDK java.nio.Bits"),
    Saying(Of.REFUSED, "Java", ("OutOfMemoryError: unable to create", "unable to create new native thread"),
        "No thread could be made: a limit on processes (pids.max, TasksMax=, ulimit -u) more often than memory.",
        "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits "
        "reached", "OpenJDK JavaThread"),
    Saying(Of.REFUSED, "Java", ("insufficient memory for the Java Runtime", "os::commit_memory"),
        "The kernel refused the JVM memory at once, it was not killed: vm.overcommit_memory=2, a limit on address "
        "space, or no memory and swap left. -Xmx and -Xms smaller than what is free help.",
        "# There is insufficient memory for the Java Runtime Environment to continue.", "HotSpot vmError.cpp"),
    Saying(Of.OWN_LIMIT, "Java", ("java.lang.OutOfMemoryError",),
        "The runtime ran into a bound of its own; the text behind the name says which.",
        "Exception in thread \"main\" java.lang.OutOfMemoryError", "OpenJDK"),
    Saying(Of.OWN_LIMIT, ".NET", ("System.OutOfMemoryException",),
        "The runtime could not have more: its GCHeapHardLimit (three quarters of a container's limit by default), or "
        "one huge array.",
        "Unhandled exception. System.OutOfMemoryException: Array dimensions exceeded supported range.",
        "learn.microsoft.com .NET garbage collector settings"),
    Saying(Of.OWN_LIMIT, "Node.js",
        ("JavaScript heap out of memory", "<--- Last few GCs --->", "Reached heap limit Allocation"),
        f"V8's heap is full: its bound is --max-old-space-size (MiB), also by NODE_OPTIONS; {_HEAP}.",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "V8 heap.cc, node"),
    Saying(Of.OWN_LIMIT, "PHP", ("Allowed memory size of",), "The request reached memory_limit of php.ini.",
        "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes)",
        "php-src Zend/zend_alloc.c"),
    Saying(Of.OWN_LIMIT, "the GPU", ("CUDA out of memory", "CUDA error: out of memory", "HIP out of memory",
                                  "CUDA_ERROR_OUT_OF_MEMORY", "torch.OutOfMemoryError"),
        "The memory of the graphics card is full, not that of the machine: smaller batches, or a bigger card.",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB", "PyTorch CUDACachingAllocator"),
    Saying(Of.OWN_LIMIT, "Redis", ("OOM command not allowed",),
        "Redis reached its own maxmemory: raise it, or let it evict (maxmemory-policy).",
        "(error) OOM command not allowed when used memory > 'maxmemory'.", "redis server.c"),
    Saying(Of.REFUSED, "Redis", ("aborting for OUT OF MEMORY", "Out Of Memory allocating"),
        "Redis asked for memory, was refused and ended itself: a 32-bit program, ulimit -v, or "
        "vm.overcommit_memory=2; maxmemory bounds what it asks for.",
        'Guru Meditation: "Redis aborting for OUT OF MEMORY" #redis.c:3034',
        "redis server.c redisOutOfMemoryHandler()"),
    Saying(Of.OWN_LIMIT, "Elasticsearch", ("CircuitBreakingException", "circuit_breaking_exception"),
        "A circuit breaker refused the request, so that the heap does not fill: indices.breaker.*, or a bigger heap.",
        "CircuitBreakingException: [parent] Data too large, data for [<http_request>] would be [1.2gb]",
        "Elasticsearch circuit breaker settings"),
    Saying(Of.OWN_LIMIT, "YARN",
        ("beyond physical memory limits", "beyond virtual memory limits", "killed by YARN for exceeding"),
        "The NodeManager ended the container itself: ask for a bigger one (memory overhead of executors, "
        "mapreduce.*.memory.mb).",
        "Container killed by YARN for exceeding memory limits. 5.5 GB of 5.5 GB physical memory used.",
        "hadoop ContainersMonitorImpl"),
    Saying(Of.REFUSED, "PostgreSQL", ("ERROR:  out of memory", "Failed on request of size"),
        "One request was refused and its statement failed: work_mem and maintenance_work_mem times connections, "
        "vm.overcommit_memory=2, or a limit on the service.",
        "ERROR:  out of memory", "postgres mcxt.c, aset.c"),
    Saying(Of.REFUSED, "MySQL", ("Out of memory (Needed", "Cannot allocate memory for the buffer pool"),
        "mysqld was refused memory and went on, or did not start: innodb_buffer_pool_size and buffers per connection, "
        "against what the machine has.",
        "mysqld: Out of memory (Needed 884856 bytes)", "mysql share/errmsg"),
    Saying(Of.REFUSED, "Go", ("runtime: out of memory", "runtime: cannot allocate memory"),
        "The kernel refused the Go runtime memory and it ended itself: a limit on address space (ulimit -v), "
        "vm.overcommit_memory=2, or a 32-bit program.",
        "fatal error: runtime: out of memory", "go runtime/malloc.go"),
    Saying(Of.REFUSED, "Rust", ("memory allocation of",),
        "The allocator got no memory and the program ended itself (abort): one huge request, ulimit -v, or "
        "vm.overcommit_memory=2.", "memory allocation of 17179869184 bytes failed", "rust library/std alloc.rs",
        lazy(r"memory allocation of \d+ bytes failed")),
    Saying(Of.REFUSED, "C++", ("std::bad_alloc",),
        "A request for memory was refused and nobody caught it: one huge request, ulimit -v, or "
        "vm.overcommit_memory=2.",
        "terminate called after throwing an instance of 'std::bad_alloc'", "libstdc++"),
    Saying(Of.REFUSED, "Python", ("MemoryError",),
        "One request of the program was refused; it was not killed: one huge array, ulimit -v, or "
        "vm.overcommit_memory=2.",
        "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array",
        "CPython, numpy", lazy(r"\b_?(?:Array)?MemoryError\b")),
    Saying(Of.REFUSED, "Ruby", ("NoMemoryError",), "One request of the program was refused; it was not killed.",
        "failed to allocate memory (NoMemoryError)", "ruby gc.c"),
    Saying(Of.WORDS, "memory", ("Cannot allocate memory", "Out of memory", "out of memory", "ENOMEM"),
        "These are not the kernel's words about a kill. Where a program wrote them, it asked for memory, was refused "
        "(ENOMEM) and not killed.",
        "bash: fork: Cannot allocate memory", "errno(3) ENOMEM"),
    Saying(Of.SIGKILL, "an exit status", ("status=9/KILL", "signal: killed", "Killed: 9", " status (137)"), _BY_SIGKILL,
        "web.service: Main process exited, code=killed, status=9/KILL", "signal(7); systemd core/service.c"),
    Saying(Of.SIGKILL, "an exit status", ("137",), _BY_SIGKILL, "ERROR: Job failed: exit code 137",
        "signal(7); bash(1) exit status",
        lazy(r"(?i)exit(?:ed)?\W{0,3}(?:with|code|status|value|error exit status)?[\w :=\"'(]{0,20}\b137\b"), "exit"),
)  # fmt: skip
"""What others than the kernel say, the more telling first."""


class Said(NamedTuple):
    """A line and what it says."""

    line: str
    saying: Saying


_ALL: Final = tuple(dict.fromkeys(word.encode() for saying in SAYINGS for word in saying.words))


def saying_of(line: str) -> Saying | None:
    """Return the row of :data:`SAYINGS` that *line* is one of, ``None`` = of none."""
    for saying in SAYINGS:
        fits = any(word in line for word in saying.words)
        if fits and saying.beside and saying.beside not in line.lower():
            continue
        if fits and (saying.pattern is None or saying.pattern.search(line)):
            return saying
    return None


def sayings(data: bytes) -> Iterator[Said]:
    """Yield the lines of *data* that say such a thing, as they stand there."""
    for start in sorted({start for word in _ALL for start in _lines_with(word, data)}):
        end = data.find(b"\n", start)
        text = data[start : end if end >= 0 else None].decode("utf-8", "replace").strip()
        if (saying := saying_of(text)) is not None:
            yield Said(text, saying)


def _lines_with(word: bytes, data: bytes) -> Iterator[int]:
    """Where the lines that hold *word* begin. Walked by finding: most texts hold none, and are long."""
    at = data.find(word)
    while at >= 0:
        yield data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at)
        at = data.find(word, end) if end >= 0 else -1
