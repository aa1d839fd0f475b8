"""Which runtimes are known, how they are recognised, and one door to all their estimates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.audit.runtimes import databases, jvm, node, servers

if TYPE_CHECKING:
    from oomsight.audit.runtimes.model import Estimate, Inputs, Term


class Runtime(NamedTuple):
    """One runtime: its key, its name for people, what gives it away, its estimate."""

    key: str
    name: str
    argv: str  #: pattern for the program's name or, with ``python -m`` and the like, for the words after it
    images: str  #: pattern for the last part of an image's name without tag; empty = none
    env: tuple[str, ...]  #: variables that only it reads
    estimate: Callable[[Inputs], Estimate]


_JVM_VARIABLES: Final = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", *jvm.SCRIPT_VARIABLES)

RUNTIMES: Final[tuple[Runtime, ...]] = (
    Runtime("elasticsearch", "Elasticsearch", r"elasticsearch|opensearch", r"elasticsearch|opensearch",
            ("ES_JAVA_OPTS", "OPENSEARCH_JAVA_OPTS"), servers.elasticsearch),
    Runtime("postgres", "PostgreSQL", r"postgres|postmaster", r"postgres(?:ql)?|postgis|timescaledb", ("POSTGRES_DB",),
            databases.postgres),
    Runtime("mysql", "MySQL or MariaDB", r"mysqld|mariadbd|mysqld_safe", r"mysql|mariadb|percona(?:-server)?",
            ("MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD"), databases.mysql),
    Runtime("redis", "Redis", r"(?:redis|valkey)-server", r"redis|valkey", (), databases.redis),
    Runtime("php-fpm", "PHP-FPM", r"php-fpm[\d.]*", r"php-fpm|wordpress|nextcloud", (), servers.php_fpm),
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

_WRAPPERS: Final = frozenset(
    {"sh", "bash", "dash", "env", "exec", "sudo", "tini", "dumb-init", "docker-entrypoint.sh", "nice", "ionice", "-c",
     "-m", "--", "setpriv", "gosu", "su-exec", "poetry", "run", "pipenv", "npx", "-g"}
)  # fmt: skip
_ROLE: Final = re.compile(r"^(?:nginx|postgres|php-fpm)(?=: )")  # setproctitle: "nginx: worker process"
_PYTHON: Final = re.compile(r"python[\d.]*")


def recognise(argv: Sequence[str] = (), env: Mapping[str, str] | None = None, image: str | None = None) -> str | None:
    """The runtime's key by command line, then by variables only it reads, then by image; ``None`` = none known."""
    for row in RUNTIMES:
        if row.argv and any(re.fullmatch(row.argv, word) for word in _programs(argv)):
            return row.key
    for row in RUNTIMES:
        if any(name in (env or {}) for name in row.env):
            return row.key
    name = _image_name(image)
    for row in RUNTIMES:
        if name and row.images and re.fullmatch(row.images, name):
            return row.key
    return None


def _programs(argv: Sequence[str]) -> list[str]:
    """The words of a command line that may name the program: wrappers and their options are stepped over."""
    names: list[str] = []
    for word in argv[:8]:
        titled = _ROLE.match(word)
        name = titled[0] if titled else word.split(None, 1)[0].rpartition("/")[2] if word.strip() else ""
        if name in _WRAPPERS or "=" in name:
            continue
        if name.startswith("-"):
            if names:
                break
            continue
        names.append(name)
        # A script that Python runs may be the server: /usr/bin/python3 /usr/bin/gunicorn app
        if not _PYTHON.fullmatch(name) or len(names) > 1:
            break
    return names[::-1]


def _image_name(image: str | None) -> str:
    return (image or "").partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def _ordered(term: Term) -> Term:
    """A bound below what the program holds anyway is not reached: least <= likely <= most."""
    high = None if term.bytes_high is None else max(term.bytes_high, term.bytes_low)
    likely = max(term.likely, term.bytes_low)
    return term._replace(bytes_high=high, bytes_likely=likely if high is None else min(likely, high))


def estimate(runtime: str, inputs: Inputs) -> Estimate:
    """What *runtime* (a key) needs by *inputs*. :raises KeyError: there is no such runtime"""
    for row in RUNTIMES:
        if row.key == runtime:
            found = row.estimate(inputs)
            return replace(found, terms=tuple(_ordered(term) for term in found.terms))
    raise KeyError(runtime)
