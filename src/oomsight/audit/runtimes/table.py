"""Which runtimes are known, how they are recognised, and one door to all their estimates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.audit.runtimes import databases, jvm, node, servers
from oomsight.audit.runtimes.command import base_name, commands, names

if TYPE_CHECKING:
    from oomsight.audit.runtimes.model import Estimate, Inputs, Term


class Runtime(NamedTuple):
    """One runtime: its key, its name for people, what gives it away, its estimate."""

    key: str
    name: str
    argv: str  #: pattern for the program's name or, with ``python -m`` and the like, for the words after it
    images: str  #: pattern for the last part of an image's name, without or with its tag; empty = none
    env: tuple[str, ...]  #: variables that only it reads
    estimate: Callable[[Inputs], Estimate]


_JVM_VARIABLES: Final = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", *jvm.SCRIPT_VARIABLES)

RUNTIMES: Final[tuple[Runtime, ...]] = (
    Runtime("elasticsearch", "Elasticsearch", r"elasticsearch|opensearch", r"elasticsearch|opensearch",
            ("ES_JAVA_OPTS", "OPENSEARCH_JAVA_OPTS"), servers.elasticsearch),
    Runtime("postgres", "PostgreSQL", r"postgres|postmaster", r"postgres(?:ql)?|postgis|timescaledb", (),
            databases.postgres),
    Runtime("mysql", "MySQL or MariaDB", r"mysqld|mariadbd|mysqld_safe", r"mysql|mariadb|percona(?:-server)?", (),
            databases.mysql),
    Runtime("redis", "Redis", r"(?:redis|valkey)-server", r"redis|valkey", (), databases.redis),
    Runtime("php-fpm", "PHP-FPM", r"php-fpm[\d.]*", r"php-fpm(?::.*)?|(?:php|wordpress|nextcloud):.*fpm.*", (), servers.php_fpm),
    Runtime("nginx", "nginx", r"nginx", r"nginx|openresty", (), servers.nginx),
    Runtime("jvm", "Java", r"java",
            r"openjdk|eclipse-temurin|amazoncorretto|tomcat|.*-jre|.*-jdk|kafka|cassandra|zookeeper",
            _JVM_VARIABLES, jvm.estimate),
    Runtime("node", "Node.js", r"node(?:js)?", r"node", ("NODE_OPTIONS",), node.estimate),
    Runtime("python", "Python", r"gunicorn|uvicorn|hypercorn|uwsgi|celery|python[\d.]*", r"python",
            ("GUNICORN_CMD_ARGS",), servers.python),
    Runtime("dotnet", ".NET", r"dotnet", r"aspnet|dotnet.*",
            ("DOTNET_GCHeapHardLimit", "DOTNET_GCHeapHardLimitPercent"), servers.dotnet),
    Runtime("go", "Go", r"", r"golang", ("GOMEMLIMIT", "GOGC"), servers.go),
)  # fmt: skip
"""Every runtime; the first that matches wins."""

_SERVERS: Final = frozenset({"elasticsearch", "postgres", "mysql", "redis", "php-fpm", "nginx"})
_TELLING: Final = frozenset(name for row in RUNTIMES for name in row.env)
_SCRIPT: Final = re.compile(r"\.sh$|entrypoint|start|run", re.IGNORECASE)


def recognise(argv: Sequence[str] = (), env: Mapping[str, str] | None = None, image: str | None = None) -> str | None:
    """The runtime's key by command line, then by variables only it reads, then by image; ``None`` = none known."""
    telling = tuple(name for name in env if name in _TELLING) if env else ()
    return _recognised(tuple(argv), telling, image)


@lru_cache(1024)  # several rules ask about the same program, and many containers are alike
def _recognised(argv: tuple[str, ...], variables: tuple[str, ...], image: str | None) -> str | None:
    found = _by_command(argv)
    if found is not None:
        return found[0]
    for row in RUNTIMES:
        if any(name in variables for name in row.env):
            return row.key
    name = _image_name(image)
    other = _runs_something_else(argv)
    for row in RUNTIMES:
        if name and not (other and row.key in _SERVERS) and _is_image(row, name):
            return row.key
    return None


def _runs_something_else(argv: Sequence[str]) -> bool:
    """Whether a program is named that is no start script: ``pg_dump`` in the image of PostgreSQL is no server."""
    command = next(commands(argv), ())
    return bool(command) and not _SCRIPT.search(base_name(command[0]))


def program_words(argv: Sequence[str]) -> tuple[str, ...]:
    """The words of *argv* from the runtime's program on, wrappers and shells left out; all where none is known."""
    found = _by_command(tuple(argv))
    return tuple(argv) if found is None else found[1]


@lru_cache(1024)
def _by_command(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    for command in commands(argv):
        for name in names(command):
            for row in RUNTIMES:
                if row.argv and re.fullmatch(row.argv, name):
                    return row.key, command
    return None


def _image_name(image: str | None) -> str:
    return (image or "").partition("@")[0].rpartition("/")[2].lower()


def _is_image(row: Runtime, name: str) -> bool:
    return bool(row.images and (re.fullmatch(row.images, name.partition(":")[0]) or re.fullmatch(row.images, name)))


def _ordered(term: Term) -> Term:
    """A bound below what the program holds anyway is not reached: least <= likely <= most."""
    high = None if term.bytes_high is None else max(term.bytes_high, term.bytes_low)
    likely = max(term.likely, term.bytes_low)
    return term._replace(bytes_high=high, bytes_likely=likely if high is None else min(likely, high))


def estimate(runtime: str, inputs: Inputs) -> Estimate:
    """What *runtime* (a key) needs by *inputs*. :raises KeyError: there is no such runtime"""
    for row in RUNTIMES:
        if row.key == runtime:
            argv = program_words(inputs.argv)
            if argv and argv[0].startswith("-"):  # arguments alone: the image puts its program before them
                argv = (runtime, *argv)
            found = row.estimate(replace(inputs, argv=argv))
            return replace(found, terms=tuple(_ordered(term) for term in found.terms))
    raise KeyError(runtime)
