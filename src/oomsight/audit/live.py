"""
Running programs -> :class:`oomsight.audit.program.Program`: what their command line is, which configuration they read,
what bounds them, how big their workers are. And the rule about those that share one bound (OS509).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.audit.estimates import inputs_of
from oomsight.audit.model import Hit, Rule, Settings, Severity, Where
from oomsight.audit.program import Program
from oomsight.audit.runtimes import RUNTIMES, estimate, program_words, recognise
from oomsight.audit.runtimes.command import WRAPPERS, base_name, names
from oomsight.audit.runtimes.flags import option
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.proc.memcg import Memcg, ancestors

if TYPE_CHECKING:
    from oomsight.proc.process import Process

MAX_WORDS: Final = 2000
MAX_DEPTH: Final = 50
MANY_PROCESSES: Final = frozenset({"python", "postgres", "mysql", "redis", "php-fpm", "nginx"})
"""Runtimes whose estimate is about a parent with all its workers."""

NAMES: Final = {row.key: row.name for row in RUNTIMES}
_TITLE: Final = re.compile(r"(?:nginx|php-fpm): master process (?:\((?P<config>[^)]*)\)|(?P<command>.*))")
_REDIS: Final = re.compile(r"(\S*(?:redis|valkey)-server) \S*:\d+")
_GUNICORN: Final = re.compile(r"gunicorn: (?:master|worker) \[.*\]")


def argv_of(cmdline: str) -> tuple[str, ...]:
    """Return the words of ``/proc/PID/cmdline``; a title that a server wrote over it becomes the command it stands for."""
    words = tuple(cmdline.rstrip("\0").split("\0"))[:MAX_WORDS] if cmdline.strip("\0") else ()
    if len([word for word in words if word]) == 1:
        title = words[0].strip()
        found = _TITLE.match(title)
        if found is not None:
            if found["config"] is not None:
                return ("php-fpm", "--fpm-config", found["config"])
            return tuple(found["command"].split())
        if _GUNICORN.fullmatch(title):
            return ("gunicorn",)
        if (redis := _REDIS.match(title)) is not None:
            return (redis[1], "redis.conf")  # the title hides which; config_paths() looks at the usual places
    return words


def runtime_of(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str | None:
    """
    Return the runtime a process is, by its own program; a shell that starts one is none. *env* is looked at only where
    it is given: a child inherits it, so it tells nothing unless the program was seen to be a Go binary.
    """
    if not argv or base_name(argv[0]) in WRAPPERS:
        return None
    return recognise(argv, env)


CONFIGS: Final[Mapping[str, tuple[str, ...]]] = {
    "mysql": ("/etc/my.cnf", "/etc/mysql/my.cnf", "/etc/mysql/mariadb.cnf", "/etc/mysql/conf.d/*.cnf",
              "/etc/mysql/mysql.conf.d/*.cnf", "/etc/mysql/mariadb.conf.d/*.cnf", "/etc/my.cnf.d/*.cnf"),
    "redis": ("/etc/redis/redis.conf", "/etc/redis.conf", "/etc/valkey/valkey.conf"),
    "nginx": ("/etc/nginx/nginx.conf",),
}  # fmt: skip
"""Where a program that was not told looks, patterns allowed; later files win."""


def config_paths(runtime: str, argv: Sequence[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the configuration files that a program reads, patterns allowed, in its own order."""
    match runtime:
        case "postgres":
            data = option(argv, "-D", "--data-directory") or env.get("PGDATA")
            told = next((word.partition("=")[2] for word in argv if word.startswith(("config_file=", "--config-file=",
                        "--config_file=", "-cconfig_file="))), None)  # fmt: skip
            own = told or (f"{data}/postgresql.conf" if data else None)
            include = (f"{own.rpartition('/')[0]}/conf.d/*.conf",) if own else ()
            return (*((own,) if own else ()), *include, *((f"{data}/postgresql.auto.conf",) if data else ()))
        case "mysql":
            told = option(argv, "--defaults-file")
            return (told,) if told else CONFIGS["mysql"]
        case "redis":
            told = next((word for word in argv[1:] if word.startswith("/") and not word.startswith("--")), None)
            return (told,) if told else CONFIGS["redis"]
        case "nginx":
            told = option(argv, "-c")
            return (told,) if told else CONFIGS["nginx"]
        case "php-fpm":
            told = option(argv, "--fpm-config", "-y")
            return (
                (told, f"{told.rpartition('/')[0]}/pool.d/*.conf", f"{told.rpartition('/')[0]}/php-fpm.d/*.conf")
                if told
                else ()
            )
    return ()


def told_settings(runtime: str, argv: Sequence[str]) -> dict[str, str]:
    """Return what a command line sets over the configuration: ``-c work_mem=4MB``, ``--shared_buffers=1GB``."""
    if runtime not in {"postgres", "mysql"}:
        return {}
    found = {}
    for at, word in enumerate(argv[1:], 1):
        text = word.removeprefix("--") if word.startswith("--") else word.removeprefix("-c") if word != "-c" else ""
        if (word.startswith(("--", "-c")) or argv[at - 1] == "-c") and "=" in text:
            name, _, value = text.partition("=")
            found[name.strip().replace("-", "_")] = value
    return found


class Read(NamedTuple):
    """What was read of one process."""

    process: Process
    argv: tuple[str, ...]
    runtime: str
    env: Mapping[str, str] = {}  #: empty where it is not ours to read
    release: str | None = None
    config: Mapping[str, str] = {}
    config_name: str = "configuration"


@dataclass(frozen=True, slots=True)
class Bound:
    """The least limit that holds for a cgroup."""

    path: str
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Host:
    """What programs run on."""

    ram_bytes: int
    cpus: int | None = None
    cgroups: Mapping[str, Memcg] = field(default_factory=dict)
    pss_kib: Mapping[int, int] = field(default_factory=dict)  #: anonymous memory of workers, shared pages divided

    def bound(self, cgroup: str | None) -> Bound | None:
        """Return the limit that bounds *cgroup*: its own or one above; ``None`` = none below RAM."""
        found = None
        for path in ancestors(cgroup) if cgroup else ():
            memcg = self.cgroups.get(path)
            limit = memcg.limit_bytes if memcg is not None else None
            if isinstance(limit, int) and limit < self.ram_bytes and (found is None or limit < found.limit_bytes):
                found = Bound(path, limit)
        return found


def _program(row: Read) -> str:
    return names(program_words(row.argv) or row.argv)[0]


def families(rows: Iterable[Read]) -> Iterator[tuple[Read, list[Read]]]:
    """Yield each program with its workers: children that run the same program belong to their parent."""
    by_pid = {row.process.stat.pid: row for row in rows}

    def parent(row: Read) -> Read | None:
        above = by_pid.get(row.process.stat.ppid)
        same = above is not None and row.runtime in MANY_PROCESSES and (
            (above.runtime, above.process.cgroup, _program(above)) == (row.runtime, row.process.cgroup, _program(row))
        )  # fmt: skip
        return above if same else None

    workers: dict[int, list[Read]] = {}
    for row in by_pid.values():
        top, depth = row, 0
        while (above := parent(top)) is not None and depth < MAX_DEPTH:  # pids are reused: parents could form a ring
            top, depth = above, depth + 1
        if top is not row:
            workers.setdefault(top.process.stat.pid, []).append(row)
    inside = {row.process.stat.pid for rows_ in workers.values() for row in rows_}
    for pid, row in by_pid.items():
        if pid not in inside:
            yield row, workers.get(pid, [])


def program_of(row: Read, workers: Sequence[Read], host: Host) -> Program:
    """Return a running program under the limit it really runs in."""
    process = row.process
    pid, name = process.stat.pid, base_name(row.argv[0]) or process.comm
    owner = describe(process.cgroup)
    inside = f" in {owner.words}" if owner is not None and owner.level not in {"root", "cgroup"} else ""
    bound = host.bound(process.cgroup)
    memcg = host.cgroups.get(process.cgroup or "")
    counts = {}
    if row.runtime in {"jvm", "elasticsearch"}:
        counts["threads"] = process.stat.num_threads
    sizes = [
        kib << 10 for worker in workers
        if (kib := host.pss_kib.get(worker.process.stat.pid, worker.process.status.rss_anon_kib or 0))
    ]  # fmt: skip
    if sizes and row.runtime in {"python", "php-fpm"}:
        counts["worker_bytes"] = sum(sizes) // len(sizes)
    return Program(
        Where(key=f"pid {pid}"), f"{mark(name)} (pid {pid}){inside}", row.argv, row.env, None,
        bound.limit_bytes if bound else None, bound is None, ram_bytes=host.ram_bytes, cpus=host.cpus,
        limit_where=Where(key=bound.path) if bound else None, config=row.config, config_name=row.config_name,
        replaces_entrypoint=True, release=row.release, counts=counts,
        cgroup_version=memcg.version if memcg is not None else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Together:
    """Programs under one bound."""

    path: str | None  #: of the cgroup with the limit; ``None`` = the host's RAM
    limit_bytes: int
    programs: tuple[Program, ...]


def together(programs: Iterable[Program], ram_bytes: int) -> Iterator[Together]:
    """Yield the programs of each bound, where there are several."""
    groups: dict[str | None, list[Program]] = {}
    for program in programs:
        groups.setdefault(program.limit_where.key if program.limit_where else None, []).append(program)
    for path, rows in groups.items():
        if len(rows) > 1:
            yield Together(path, rows[0].limit_bytes or ram_bytes, tuple(rows))


def _sum(group: Together, settings: Settings) -> Iterator[Hit]:
    needs = []
    for program in group.programs:
        runtime = runtime_of(program.argv, program.env)
        if runtime is None:
            continue
        found = estimate(runtime, inputs_of(program, settings, runtime))
        if group.path is not None and found.likely_bytes > group.limit_bytes:
            return  # OS501 says so of that one
        needs.append((found.likely_bytes, program, NAMES[runtime]))
    total = sum(size for size, _, _ in needs)
    if total <= group.limit_bytes or len(needs) < 2:
        return
    needs.sort(key=lambda row: -row[0])
    bound = "the memory limit of their cgroup" if group.path is not None else "the RAM of this host"
    where = Where(key=group.path) if group.path is not None else Where(key="RAM")
    subject = mark(group.path, Kind.CGROUP) if group.path is not None else "programs of this host"
    evidence = [f"{program.subject}, {name}: {size_words(size)}" for size, program, name in needs[:8]]
    if len(needs) > 8:
        evidence.append(f"{len(needs) - 8} more: {size_words(sum(size for size, _, _ in needs[8:]))}")
    yield Hit(
        where, subject,
        f"{len(needs)} programs may need {size_words(total)} together by their settings; {bound} is "
        f"{size_words(group.limit_bytes)}",
        tuple(evidence), ("lower the heap of the first, or give each a cgroup with a limit of its own",),
    )  # fmt: skip


_JAVA: Final = "100 /jobs 1200 java -Xmx{0}m -jar a.jar\n101 /jobs 1200 java -Xmx{0}m -jar b.jar\n"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS509", "Programs that need more than their bound together", Severity.LOW, "together", _sum,
        what="running programs (JVM, Node.js, databases …) in one cgroup, or without a limit on one host, each of which "
        "fits and which by their settings do not fit together.",
        why="each was sized as if it were alone.",
        leads="when all are busy at once, the biggest is killed, which need not be the one that grew.",
        how="smaller heaps, or a limit for each.",
        source="each estimate as in OS501, from the command line, the environment and the configuration of the process",
        sample_name="processes", failing=_JAVA.format(700), passing=_JAVA.format(64),
    ),
)  # fmt: skip
"""Rule OS509. A sample is: pid, cgroup, its limit in MiB, command."""


def parse_sample(text: str) -> Iterator[Together]:
    """Yield the groups of a sample on a host with 16 GiB."""
    programs = []
    for line in text.splitlines():
        pid, path, limit, *argv = line.split()
        programs.append(Program(
            Where(key=f"pid {pid}"), mark(argv[0]), tuple(argv), limit_bytes=int(limit) << 20,
            limit_where=Where(key=path), ram_bytes=16 << 30,
        ))  # fmt: skip
    yield from together(programs, 16 << 30)
