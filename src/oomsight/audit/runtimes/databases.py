"""
PostgreSQL, MySQL and MariaDB, Redis and Valkey: shared caches, what each connection may take, what a fork copies.

Sources: postgresql.org "Resource Consumption" (9.6 … 18) and autovacuum; dev.mysql.com "How MySQL Uses Memory" (5.7,
8.x); redis.io "Redis configuration" and "Latency by fork", redis.conf of 5 … 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from oomsight._sizes import KIB, MIB
from oomsight.audit.runtimes.flags import count, option
from oomsight.audit.runtimes.model import Estimate, Inputs, Term, setting
from oomsight.audit.runtimes.units import mysql_size, postgres_size, redis_size

PG_BACKEND_LOW: Final = 2 * MIB
PG_BACKEND_LIKELY: Final = 6 * MIB  #: catalog and plan caches of a pooled connection
MYSQL_BYTES: Final = 150 * MIB  #: mysqld 8 before the buffer pool, without performance_schema
REDIS_BYTES: Final = 6 * MIB


def _major(version: str | None) -> int | None:
    return count((version or "").split(".")[0])


def _given(argv: Sequence[str]) -> dict[str, str]:
    """Settings of a command line of postgres: ``-c name=value``, ``--name=value``, ``-N connections``."""
    found: dict[str, str] = {}
    for at, word in enumerate(argv):
        following = argv[at + 1] if at + 1 < len(argv) else ""
        text = following if word in {"-c", "--set"} else word[2:] if word.startswith(("--", "-c")) else ""
        name, given, value = text.partition("=")
        if given and value:
            found[name.strip().replace("-", "_").lower()] = value.strip()
        elif word == "-N" and following.isdecimal():
            found["max_connections"] = following
    return found


def postgres(inputs: Inputs) -> Estimate:
    """PostgreSQL: shared_buffers once, work_mem per sort or hash of each connection, maintenance per worker."""
    if given := _given(inputs.argv):
        name = f"{inputs.config_name} and command line" if inputs.config else "command line"
        inputs = replace(inputs, config={**inputs.config, **given}, config_name=name)

    def size(name: str, default: str, unit_bytes: int) -> tuple[int, str]:
        text, source = setting(inputs, name, default)
        found = postgres_size(text, unit_bytes)
        return (postgres_size(default, unit_bytes) or 0 if found is None else found), source

    def number(name: str, default: str) -> tuple[float, str]:
        text, source = setting(inputs, name, default)
        try:
            return float(text), source
        except ValueError:
            return float(default), source

    buffers, buffers_source = size("shared_buffers", "128MB", 8 * KIB)
    work, work_source = size("work_mem", "4MB", KIB)
    connections, connections_source = number("max_connections", "100")
    major = _major(inputs.version)
    hash_default = "1.0" if major is not None and major < 15 else "2.0"
    hashes, hash_source = number("hash_mem_multiplier", hash_default)
    if major is not None and major < 13:
        hashes, hash_source = 1.0, "no hash_mem_multiplier before 13"
    maintenance, maintenance_source = size("maintenance_work_mem", "64MB", KIB)
    vacuums, vacuums_source = number("autovacuum_max_workers", "3")
    vacuum, vacuum_source = size("autovacuum_work_mem", "-1", KIB)
    if inputs.config.get("autovacuum_work_mem", "-1").strip() == "-1":
        vacuum, vacuum_source = maintenance, maintenance_source
    parallel, _ = number("max_parallel_workers_per_gather", "2")
    workers, workers_source = number("max_worker_processes", "8")
    workers = min(workers, number("max_parallel_workers", "8")[0]) if parallel else 0
    temp, temp_source = size("temp_buffers", "8MB", 8 * KIB)
    seen = int(inputs.counts.get("connections", connections))
    active = max(seen // 5, min(seen, 5))
    both = f"{work_source} × {connections_source} × {hash_source}"
    limit = max(connections, 1)
    terms = (
        Term("shared_buffers", 2 * MIB, int(buffers * 1.04) + 8 * MIB, buffers_source + ", and 4 % to manage them",
             int(buffers * 1.02) + 4 * MIB),
        Term("backends", 5 * PG_BACKEND_LOW, int(limit * 4 * PG_BACKEND_LIKELY),
             f"{connections_source} × 2 to 24 MiB of catalog and plan caches", seen * PG_BACKEND_LIKELY),
        Term("work_mem", 0, int(work * limit * hashes), both + ", one sort or hash each; plans may have several",
             int(active * work)),
        Term("parallel workers", 0, int(workers * work * hashes), f"{workers_source} × {work_source} × {hash_source}",
             int(min(workers, parallel) * work)),
        Term("autovacuum", 0, int(vacuums * vacuum), f"{vacuums_source} × {vacuum_source}", int(vacuum)),
        Term("maintenance", 0, maintenance, f"{maintenance_source}: one CREATE INDEX or VACUUM by hand", 0),
        Term("temp_buffers", 0, int(temp * limit), f"{temp_source} × {connections_source}, if used",
             0),
    )  # fmt: skip
    notes = []
    if inputs.config.get("huge_pages") == "on":
        notes.append("huge_pages = on: shared_buffers come from the hugetlb pool, which memory limits do not count")
    return Estimate("postgres", terms, inputs.limit_bytes, tuple(notes))


_MYSQL_SESSION: Final = (
    ("sort_buffer_size", "256K"), ("join_buffer_size", "256K"), ("read_buffer_size", "128K"),
    ("read_rnd_buffer_size", "256K"), ("binlog_cache_size", "32K"), ("thread_stack", "1M"),
    ("net_buffer_length", "16K"),
)  # fmt: skip


def mysql(inputs: Inputs) -> Estimate:
    """MySQL and MariaDB: the buffer pool with its overhead, and what each connection may take."""
    config = {key.replace("-", "_"): value for key, value in inputs.config.items()}
    for word in inputs.argv[1:]:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and equals:
            config[name.replace("-", "_")] = value

    def size(name: str, default: str) -> tuple[int, str]:
        text = config.get(name)
        found = None if text is None else mysql_size(text)
        if text is None or found is None:
            return mysql_size(default) or 0, f"{name} = {default} (default)"
        return found, f"{name} = {text} ({inputs.config_name})"

    pool, pool_source = size("innodb_buffer_pool_size", "128M")
    connections = count(config.get("max_connections")) or 151
    seen = inputs.counts.get("connections", connections)
    said = f"max_connections = {connections}" + ("" if "max_connections" in config else " (default)")
    each = sum(size(name, default)[0] for name, default in _MYSQL_SESSION)
    temporary = min(size("tmp_table_size", "16M")[0], size("max_heap_table_size", "16M")[0])
    others = sum(size(name, default)[0] for name, default in (
        ("key_buffer_size", "8M"), ("innodb_log_buffer_size", "16M"), ("query_cache_size", "0"),
        ("aria_pagecache_buffer_size", "0"),
    ))  # fmt: skip
    schema = 0 if config.get("performance_schema", "ON").upper() in {"OFF", "0"} else 100 * MIB
    terms = (
        Term("InnoDB buffer pool", pool // 50, int(pool * 1.1), pool_source + ", and up to 10 % for its control blocks",
             int(pool * 1.06)),
        Term("other caches", 0, others, "key_buffer_size, innodb_log_buffer_size, query and Aria caches", others),
        Term("connections", 0, connections * each, f"{said} × {each // KIB:,} KiB of session buffers",
             seen * each // 4),
        Term("temporary tables", 0, connections * temporary,
             f"{said} × {temporary // MIB} MiB: the smaller of tmp_table_size and max_heap_table_size", 2 * temporary),
        Term("server", MYSQL_BYTES // 2, 2 * MYSQL_BYTES + schema, "dictionary, performance_schema, … (assumed)",
             MYSQL_BYTES + schema),
    )  # fmt: skip
    return Estimate("mysql", terms, inputs.limit_bytes)


def redis(inputs: Inputs) -> Estimate:
    """Redis and Valkey: maxmemory, buffers that do not count in it, and what a saving fork copies."""
    config = dict(inputs.config)
    for name in ("maxmemory", "save", "appendonly", "repl-backlog-size"):
        if (value := option(inputs.argv, f"--{name}")) is not None:
            config[name] = value
    most = redis_size(config.get("maxmemory", "0")) or None
    live = inputs.counts.get("live_bytes")
    data = live if live is not None else most
    saves = config.get("save", "3600 1 300 100 60 10000").strip("'\" ") != ""
    forks = saves or config.get("appendonly", "no") == "yes"
    why = "appendonly yes" if config.get("appendonly", "no") == "yes" else "save points" + (
        " (default)" if "save" not in config else ""
    )
    given = f"{config['maxmemory']} ({inputs.config_name})" if "maxmemory" in config else "0 (default)"
    source = f"maxmemory = {given}"
    source += "" if most is not None else ": no bound"
    backlog = redis_size(config.get("repl-backlog-size", "1mb")) or MIB
    clients = count(config.get("maxclients")) or 10_000
    copied = Term(
        "copies while saving", 0, (data if most is None else most) if forks else 0,
        f"{why}: fork() shares pages until they are written; all of them at worst" if forks else "no saving, no fork",
        (data or 0) // 4 if forks else 0,
    )  # fmt: skip
    terms = (
        Term("data", 0, most, source, data),
        Term("fragmentation", 0, None if data is None else data // 2, "mem_fragmentation_ratio of 1.0 to 1.5",
             (data or 0) // 10),
        copied,
        Term("client and replica buffers", backlog, backlog + min(clients, 200) * MIB,
             "repl-backlog-size, query and output buffers; not all count in maxmemory", backlog + 16 * MIB),
        Term("Redis itself", REDIS_BYTES, 2 * REDIS_BYTES, "redis-server, empty (assumed)", REDIS_BYTES),
    )  # fmt: skip
    notes = () if most is not None else ("without maxmemory the data grow until something else stops them",)
    return Estimate("redis", terms, inputs.limit_bytes, notes)
