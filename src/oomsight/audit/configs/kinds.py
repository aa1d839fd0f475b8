"""Which configuration file is whose: by its name where that is telling, by what stands in it where several share one."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from oomsight._lazy import lazy


class ConfigKind(NamedTuple):
    """A kind of configuration file."""

    runtime: str  #: key of :data:`oomsight.audit.runtimes.RUNTIMES`
    syntax: str  #: how it is written: a key of ``READERS`` in :mod:`oomsight.audit.configs.read`
    name: re.Pattern[str]  #: of the file
    holds: re.Pattern[bytes]  #: what its beginning must hold


_ANY = lazy(rb"")
KINDS: Final[tuple[ConfigKind, ...]] = (
    ConfigKind("postgres", "postgres", lazy(r"postgresql(?:\.\w+)?\.conf|postgresql\.conf\.\w+"), _ANY),
    ConfigKind("postgres", "postgres", lazy(r"(?i).*(?:postgres|pg).*\.conf"),
               lazy(rb"(?m)^\s*(?:shared_buffers|work_mem|max_connections|effective_cache_size)\s*=")),
    ConfigKind("mysql", "mysql", lazy(r".*\.cnf|my\.ini"), lazy(rb"(?m)^\[(?:mysqld|mariadbd?|server)\b")),
    ConfigKind("redis", "redis", lazy(r"(?i)(?:.*(?:redis|valkey).*)\.conf"),
               lazy(rb"(?m)^(?:bind|port|maxmemory|appendonly|save|dir|protected-mode|requirepass|databases)[ \t]")),
    ConfigKind("php-fpm", "php-fpm", lazy(r".*\.conf"), lazy(rb"(?m)^\s*pm(?:\.max_children)?\s*=")),
    ConfigKind("jvm", "jvm.options", lazy(r"(?:.*[-.])?jvm\d*(?:-server|-clients)?\.options|.*\.vmoptions"), _ANY),
    ConfigKind("nginx", "nginx", lazy(r"nginx.*\.conf"), lazy(rb"(?m)^\s*(?:events|worker_processes|http)\b")),
    ConfigKind("dotnet", "runtimeconfig", lazy(r".*\.runtimeconfig\.json"), _ANY),
)  # fmt: skip
"""Every kind; the first that matches wins."""


def config_kind(name: str, head: bytes) -> ConfigKind | None:
    """Return whose configuration the file called *name* is, which begins with *head*; ``None`` = none known."""
    for kind in KINDS:
        if kind.name.fullmatch(name) and kind.holds.search(head):
            return kind
    return None
