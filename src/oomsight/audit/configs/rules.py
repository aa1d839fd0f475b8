"""Rules about configuration files of servers (OS510 to OS512)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.audit.estimates import term_words
from oomsight.audit.model import Hit, Rule, Settings, Severity
from oomsight.audit.runtimes import RUNTIMES, Inputs, estimate
from oomsight.audit.runtimes.units import mysql_size, php_size, postgres_size, redis_size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.configs.read import ConfigFile

_NAMES: Final = {row.key: row.name for row in RUNTIMES}


def _past_ram(file: ConfigFile, settings: Settings) -> Iterator[Hit]:
    ram = settings.ram_bytes
    if ram is None or not settings.runtime_estimates:
        return
    runtime = file.kind.runtime
    found = estimate(
        runtime,
        Inputs(config=file.settings, config_name=file.path.rpartition("/")[2], limit_bytes=ram, ram_bytes=ram),
    )
    most = found.high_bytes
    if found.likely_bytes <= ram and (most is None or most <= 2 * ram or runtime in {"jvm", "nginx", "php-fpm"}):
        return
    over = found.likely_bytes > ram
    needs = found.likely_bytes if over or most is None else most
    rows = sorted(found.terms, key=lambda term: -(term.likely if over else term.bytes_high or 0))
    yield Hit(
        file.where(*_LARGEST.get(rows[0].name, ())), mark(file.path, Kind.FILE),
        f"its settings ({_NAMES[runtime]}) let it need {size_words(needs)}"
        + ("" if over else " at worst") + f"; the machine has {size_words(ram)}",
        evidence=tuple(
            term_words(term, size) for term in rows if (size := term.likely if over else term.bytes_high or 0)
        ),
        advice=(f"lower {rows[0].name}",), severity=Severity.MEDIUM if over else Severity.LOW,
    )  # fmt: skip


_LARGEST: Final = {
    "shared_buffers": ("shared_buffers",), "work_mem": ("work_mem", "max_connections"),
    "InnoDB buffer pool": ("innodb_buffer_pool_size",), "connections": ("max_connections",),
    "temporary tables": ("tmp_table_size", "max_connections"), "data": ("maxmemory",), "children": ("pm.max_children",),
    "heap": ("jvm.options",),
}  # fmt: skip
"""Settings behind a term, for the place of a finding."""


class SizeSetting(NamedTuple):
    """A setting that is a size."""

    runtime: str
    names: tuple[str, ...]
    read: Callable[[str], int | None]
    wants: str


SIZES: Final[tuple[SizeSetting, ...]] = (
    SizeSetting("postgres", ("shared_buffers", "work_mem", "maintenance_work_mem", "temp_buffers", "wal_buffers",
                             "effective_cache_size", "autovacuum_work_mem", "logical_decoding_work_mem"),
                lambda text: 0 if text.strip() == "-1" else postgres_size(text, 8192),
                "kB, MB, GB or TB, capitals as here"),
    SizeSetting("mysql", ("innodb_buffer_pool_size", "key_buffer_size", "sort_buffer_size", "join_buffer_size",
                          "tmp_table_size", "max_heap_table_size", "read_buffer_size", "innodb_log_buffer_size"),
                mysql_size, "K, M or G, one letter"),
    SizeSetting("redis", ("maxmemory", "repl-backlog-size"),
                lambda text: 0 if text.endswith("%") else redis_size(text), "bytes, or k, kb, m, mb, g, gb"),
    SizeSetting("php-fpm", ("php_admin_value[memory_limit]", "php_value[memory_limit]"),
                lambda text: 0 if text.strip() == "-1" else php_size(text), "K, M or G, one letter"),
)  # fmt: skip


def _wrong_size(file: ConfigFile, _: Settings) -> Iterator[Hit]:
    for row in SIZES:
        for name in row.names if row.runtime == file.kind.runtime else ():
            value = file.settings.get(name)
            if value and not any(sign in value for sign in "${}") and row.read(value) is None:
                yield Hit(
                    file.where(name), mark(file.path, Kind.FILE),
                    f"{name} {mark(value, Kind.ID)} is no size to {_NAMES[row.runtime]}",
                    advice=(f"it takes {row.wants}",),
                    severity=Severity.MEDIUM if row.runtime == "php-fpm" else None,  # PHP reads what it can, and warns
                )  # fmt: skip


def _no_bound(file: ConfigFile, _: Settings) -> Iterator[Hit]:
    if file.kind.runtime == "redis":
        value = file.settings.get("maxmemory")
        if "sentinel" in file.path.lower() or "include" in file.settings:
            return
        if value is None or (redis_size(value) == 0 and not value.endswith("%")):
            yield Hit(
                file.where("maxmemory"), mark(file.path, Kind.FILE),
                "no maxmemory: the data grow until a limit or the host ends it",
                advice=("set maxmemory to three quarters of what it may use, and a maxmemory-policy",),
            )  # fmt: skip
    elif file.kind.runtime == "php-fpm":
        for name in ("php_admin_value[memory_limit]", "php_value[memory_limit]"):
            if file.settings.get(name) == "-1":
                children = file.settings.get("pm.max_children", "5")
                yield Hit(
                    file.where(name), mark(file.path, Kind.FILE),
                    f"memory_limit -1: one request may take everything, and there are {mark(children, Kind.ID)} children",
                    advice=("give a memory_limit; pm.max_children times it is what the pool may need",),
                )  # fmt: skip


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS510", "Configuration that needs more than the machine", Severity.MEDIUM, "config", _past_ram,
        what="a configuration of PostgreSQL, MySQL, Redis, PHP-FPM, nginx or a JVM whose caches and connections sum up to "
        "more than `ram` of `.oomsight.toml`; low where only all connections at once, at their most, need twice the RAM.",
        why="each setting looks modest; work_mem times connections does not.",
        leads="it runs for months, until a report, a vacuum and a busy hour meet.",
        how="lower the term that is largest; fewer connections behind a pooler.",
        source="each term of the estimate names its own",
        sample_name="postgresql.conf",
        failing="shared_buffers = 12GB\nwork_mem = 256MB\nmax_connections = 400\n",
        passing="shared_buffers = 4GB\nwork_mem = 16MB\nmax_connections = 100\n",
    ),
    Rule(
        "OS511", "Size in a configuration that its server refuses", Severity.HIGH, "config", _wrong_size,
        what="`shared_buffers = 512mb`, `innodb_buffer_pool_size = 1GB`, `maxmemory 1Gi`: sizes with the letters of "
        "another program.",
        why="each program has its own letters.",
        leads="the server does not start, or runs with its default after somebody took the line out.",
        how="write it as that program wants it.",
        source="PostgreSQL guc.c (convert_to_base_unit); MySQL my_getopt.c; redis util.c (memtoull)",
        sample_name="my.cnf",
        failing="[mysqld]\ninnodb_buffer_pool_size = 4GB\n",
        passing="[mysqld]\ninnodb_buffer_pool_size = 4G\n",
    ),
    Rule(
        "OS512", "Configuration without a bound", Severity.MEDIUM, "config", _no_bound,
        what="a redis.conf without `maxmemory`, or a PHP-FPM pool with `memory_limit` -1.",
        why="the default of the first and the meaning of the second is: as much as there is.",
        leads="data or one bad request grow until the kernel kills, and what it kills need not be this.",
        how="a bound, and for Redis a policy.",
        source="redis.conf, maxmemory; php.net, memory_limit",
        sample_name="redis.conf",
        failing="port 6379\nappendonly yes\n",
        passing="port 6379\nappendonly yes\nmaxmemory 2gb\nmaxmemory-policy allkeys-lru\n",
    ),
)  # fmt: skip
