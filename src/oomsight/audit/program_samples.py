"""What the rules about programs (OS502 to OS508) say of themselves, with their samples."""

from __future__ import annotations

from typing import Final, NamedTuple

from oomsight.audit.kubernetes.samples import pod


class Words(NamedTuple):
    """The words of a rule; fields as of :class:`oomsight.audit.model.Rule`."""

    id: str
    title: str
    what: str
    why: str
    leads: str
    how: str
    source: str
    sample_name: str
    failing: str
    passing: str


_HALF: Final = "requests: {memory: 512Mi}, limits: {memory: 512Mi}"
_TWO: Final = "requests: {memory: 2Gi}, limits: {memory: 2Gi}"


def _env(name: str, value: str) -> str:
    return f"env:\n- {{name: {name}, value: '{value}'}}\n"


OF_PROGRAMS: Final[tuple[Words, ...]] = (
    Words(
        "OS502", "Runtime that does not see its limit",
        what="Java before 8u191 (8u372 and 11.0.16 on cgroup v2), Node.js before 12 (18.17 and 20.3 on cgroup v2), by the "
        "tag of the image, or `-XX:-UseContainerSupport`, without a heap size of its own.",
        why="it takes the RAM of the host for its own, and a quarter or half of that for the heap.",
        leads="on a big node the heap may grow far past the limit; the kernel kills it long before it would collect.",
        how="a current release, or a heap size in flags.",
        source="JDK-8146115, JDK-8230305; libuv 1.29 and 1.45 (uv_get_constrained_memory)",
        sample_name="pod.yaml",
        failing=pod(_TWO, image="openjdk:8u131-jre-alpine", container="command: [java, -jar, /app.jar]\n"),
        passing=pod(_TWO, image="eclipse-temurin:21-jre", container="command: [java, -jar, /app.jar]\n"),
    ),
    Words(
        "OS503", "Heap setting that nobody reads",
        what="`JAVA_OPTS` beside `java` as the command (only start scripts read it), or a heap flag behind the jar, main "
        "class or script (an argument of the program then).",
        why="the runtime starts without a word of complaint, with its default heap.",
        leads="a heap sized in review is not the one that runs; the default one may be larger than the limit.",
        how="JAVA_TOOL_OPTIONS or JDK_JAVA_OPTIONS, which java reads itself; flags before `-jar`.",
        source="JDK, The java Command; JVM tool interface (JAVA_TOOL_OPTIONS); node --help",
        sample_name="Dockerfile",
        failing="FROM eclipse-temurin:21-jre\nENV JAVA_OPTS=-Xmx512m\nCOPY app.jar /app.jar\n"
        'ENTRYPOINT ["java", "-jar", "/app.jar"]\n',
        passing="FROM eclipse-temurin:21-jre\nENV JAVA_TOOL_OPTIONS=-Xmx512m\nCOPY app.jar /app.jar\n"
        'ENTRYPOINT ["java", "-jar", "/app.jar"]\n',
    ),
    Words(
        "OS504", "Heap share that leaves nothing for the rest",
        what="`-XX:MaxRAMPercentage` of 85 and more, or `-XX:MaxRAMFraction=1`, where the limit is not known.",
        why="metaspace, code cache, thread stacks and direct buffers are outside of the heap: 100 to 300 MiB of most "
        "servers.",
        leads="when the heap is full for the first time, the sum is above the limit.",
        how="75 % for limits of 1 GiB and more, less for smaller ones.",
        source="JDK, hotspot gc_globals.hpp (MaxRAMPercentage); oomsight's estimate of a JVM",
        sample_name="Dockerfile",
        failing="FROM eclipse-temurin:21-jre\nCOPY app.jar /app.jar\n"
        'ENTRYPOINT ["java", "-XX:MaxRAMPercentage=95", "-jar", "/app.jar"]\n',
        passing="FROM eclipse-temurin:21-jre\nCOPY app.jar /app.jar\n"
        'ENTRYPOINT ["java", "-XX:MaxRAMPercentage=70", "-jar", "/app.jar"]\n',
    ),
    Words(
        "OS505", "Go told a limit that does not work",
        what="a `GOMEMLIMIT` that Go cannot read or that is not below the memory limit, or `GOGC=off` without it.",
        why="GOMEMLIMIT is how the collector learns of the limit; it knows no cgroups.",
        leads="the heap doubles between collections until the kernel ends it.",
        how="GOMEMLIMIT at 90 % of the limit, in MiB or GiB.",
        source="Go, runtime package (GOMEMLIMIT, GOGC); A Guide to the Go Garbage Collector",
        sample_name="pod.yaml",
        failing=pod(_HALF, container=_env("GOMEMLIMIT", "512MiB")),
        passing=pod(_HALF, container=_env("GOMEMLIMIT", "450MiB")),
    ),
    Words(
        "OS506", "Workers counted by the host's CPUs",
        what="a number of workers from `nproc`, `cpu_count()`, `auto`, `pm2 -i max` or Celery's default, in a container "
        "with a memory limit.",
        why="programs count the CPUs of the host (or of the cpuset), not the quota of the container.",
        leads="the same container starts 4 workers on a laptop and 96 on a new node, each with its own memory.",
        how="a number that fits: limit / peak of one worker.",
        source="sched_getaffinity(2); celery, worker concurrency; gunicorn, How Many Workers",
        sample_name="pod.yaml",
        failing=pod(_HALF, container="command: [celery, -A, app, worker]\n"),
        passing=pod(_HALF, container="command: [celery, -A, app, worker, --concurrency, '3']\n"),
    ),
    Words(
        "OS507", "Cache without a bound",
        what="Redis or Valkey in a container with a memory limit and without `maxmemory`.",
        why="the default is no bound.",
        leads="it does not evict and does not refuse writes: at the limit the kernel kills it, and all data go at once.",
        how="maxmemory at three quarters of the limit (half with snapshots or a write-heavy load: fork copies pages).",
        source="redis.conf, maxmemory; Redis, Memory optimization",
        sample_name="pod.yaml",
        failing=pod(_HALF, image="redis:7"),
        passing=pod(_HALF, image="redis:7", container="args: [--maxmemory, 300mb, --maxmemory-policy, allkeys-lru]\n"),
    ),
    Words(
        "OS508", "Size that the runtime refuses",
        what="a memory option with a value its program does not take: `-Xmx512MB`, `--max-old-space-size=2g`, "
        "`MaxRAMPercentage=80%`, `--maxmemory 1Gi`.",
        why="each program has its own letters for sizes.",
        leads="the program does not start; taken out in a hurry, the option is missing afterwards.",
        how="write it as that program wants it.",
        source="hotspot arguments.cpp (atojulong); V8 flags; redis util.c (memtoull); PostgreSQL guc.c",
        sample_name="pod.yaml",
        failing=pod(_TWO, container="command: [java, -Xmx512MB, -jar, /app.jar]\n"),
        passing=pod(_TWO, container="command: [java, -Xmx512m, -jar, /app.jar]\n"),
    ),
)  # fmt: skip
