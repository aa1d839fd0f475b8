"""
Which setting bounds a program's memory: one row per program or language runtime, found by process name.

A name is a hint, never proof of what runs: texts say "by its name", and causes built on it are questions.
"""

from __future__ import annotations

from typing import Final

from oomsight._named import NamedTuple
from oomsight.diagnose.model import Advice
from oomsight.diagnose.wording import size
from oomsight.naming.marked import mark

POOL_SHARE: Final = 0.80
"""Share of the limit a pool of workers may fill; the rest is the master, shared pages and page cache."""


class Runtime(NamedTuple):
    """
    One program or language runtime: what bounds its memory.

    ``text`` may hold ``{mib}`` (``share`` of the limit or of RAM, in MiB), ``{workers}`` (how many processes of the
    size seen fit, at least 1), ``{fit}`` (that in words) and ``{each}`` (that size). ``snippet`` likewise.
    """

    label: str
    text: str
    share: float = 0.75  #: of the limit the program's own bound should take
    snippet: str | None = None
    heap: bool = False  #: has a heap or cache that is sized by configuration, apart from the limit
    pool: bool = False  #: serves load with several processes
    serves: bool = False  #: memory follows the requests it serves


_JAVA = Runtime(
    "Java",
    "the JVM needs more than its heap (metaspace, threads, direct buffers, code cache): set the heap to at most "
    "three quarters of the limit, -Xmx{mib}m or -XX:MaxRAMPercentage=75.0, and watch the rest with "
    "-XX:NativeMemoryTracking=summary",
    snippet='JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=75.0"\n',
    heap=True,
    serves=True,
)
_NODE = Runtime(
    "Node.js",
    "V8 sizes its old space by itself and may not see the limit; buffers live outside of it: set "
    "--max-old-space-size={mib} (MiB) so that the collector works before the kernel kills",
    snippet='NODE_OPTIONS="--max-old-space-size={mib}"\n',
    heap=True,
    serves=True,
)
_PYTHON = Runtime(
    "Python",
    "Python has no heap limit: bound the work in flight (batch sizes, caches, concurrency), recycle workers, and look "
    "for growth with tracemalloc or memray",
    serves=True,
)
_WORKERS = Runtime(
    "Python workers",
    "every worker holds its own copy: at {each} each, {fit}. Lower --workers or --concurrency, and recycle "
    "them (gunicorn --max-requests with jitter, celery --max-memory-per-child, uwsgi --reload-on-rss)",
    pool=True,
    serves=True,
)
_PHP = Runtime(
    "PHP-FPM",
    "pm.max_children times memory_limit is what the pool may take: at {each} each, {fit}. Also set "
    "pm.max_requests to recycle them",
    snippet="pm.max_children = {workers}\npm.max_requests = 500\n",
    pool=True,
    serves=True,
)
_RUBY = Runtime(
    "Ruby workers",
    "processes times threads decide: at {each} each, {fit}; MALLOC_ARENA_MAX=2 or jemalloc cuts "
    "fragmentation",
    pool=True,
    serves=True,
)
_APACHE = Runtime(
    "Apache httpd",
    "in the prefork model each connection is a process: at {each} each, {fit}: set "
    "MaxRequestWorkers (MaxClients before 2.4)",
    snippet="MaxRequestWorkers {workers}\n",
    pool=True,
    serves=True,
)
_POSTGRES = Runtime(
    "PostgreSQL",
    "shared_buffers (about a quarter: {mib} MiB) plus max_connections times work_mem (a query may use several) must "
    "fit; use a connection pooler, and huge pages for large shared_buffers. Keep the postmaster from being killed "
    "(oom_score_adj -900, and PG_OOM_ADJUST_VALUE=0 for its children)",
    share=0.25,
    heap=True,
    pool=True,
    serves=True,
)
_MYSQL = Runtime(
    "MySQL/MariaDB",
    "innodb_buffer_pool_size plus max_connections times the per-connection buffers must fit: about {mib} MiB for the "
    "pool",
    share=0.6,
    snippet="[mysqld]\ninnodb_buffer_pool_size = {mib}M\n",
    heap=True,
    serves=True,
)
_REDIS = Runtime(
    "Redis",
    "without maxmemory it grows with the data, and a fork for RDB or AOF rewriting can double it (copy on write): set "
    "maxmemory {mib}mb and a maxmemory-policy",
    share=0.6,
    snippet="maxmemory {mib}mb\nmaxmemory-policy allkeys-lru\n",
    heap=True,
    serves=True,
)
_MONGO = Runtime(
    "MongoDB",
    "WiredTiger's cache defaults to half of RAM less 1 GiB, and older versions look at the host, not at the limit: set "
    "storage.wiredTiger.engineConfig.cacheSizeGB explicitly",
    share=0.5,
    heap=True,
    serves=True,
)
_CLICKHOUSE = Runtime(
    "ClickHouse",
    "set max_server_memory_usage (about {mib} MiB) and max_memory_usage per query; the server then refuses a query "
    "instead of being killed",
    share=0.8,
    heap=True,
    serves=True,
)
_GO = Runtime(
    "Go",
    "the Go collector does not know the limit: set GOMEMLIMIT={mib}MiB so that it collects harder near it",
    share=0.9,
    snippet="GOMEMLIMIT={mib}MiB\n",
    heap=True,
    serves=True,
)
_PROMETHEUS = Runtime(
    "Prometheus",
    "memory follows the number of active series: find the biggest in /tsdb-status, drop labels, or shard; "
    "GOMEMLIMIT={mib}MiB helps near the limit, a wide query can still need more (--query.max-samples)",
    share=0.9,
    heap=True,
    serves=True,
)
_BROWSER = Runtime(
    "browser",
    "each tab or site is a process: close or discard tabs; in a container give /dev/shm enough room and count it "
    "(--shm-size), and bound the number of pages opened at once",
    pool=True,
)
_GIT = Runtime(
    "git",
    "packing holds whole deltas in memory: bound it",
    snippet="[pack]\n  windowMemory = 100m\n  threads = 1\n[core]\n  packedGitLimit = 128m\n",
)
_BUILD = Runtime(
    "compiler or linker",
    "parallel jobs multiply: at {each} each, {fit}. Run fewer (make -j{workers}, ninja -j{workers}, "
    "CARGO_BUILD_JOBS={workers}), link with less parallelism, or use a linker that needs less",
    pool=True,
)
_BEAM = Runtime(
    "Erlang/RabbitMQ",
    "RabbitMQ's vm_memory_high_watermark is a share of what it thinks is there: set "
    "total_memory_available_override_value "
    "to the limit, and watch queues that grow without consumers",
    heap=True,
    serves=True,
)
_QEMU = Runtime(
    "virtual machine",
    "the guest's RAM plus QEMU's own overhead (allow 5 to 10 %) must fit: lower the guest's memory or the number of "
    "guests, or use ballooning",
)
_MEMCACHED = Runtime(
    "memcached", "its -m bounds the items only: {mib} MiB leaves room for connections", share=0.8, heap=True
)

_EXACT: Final[dict[str, Runtime]] = {
    "java": _JAVA, "elasticsearch": _JAVA, "kafka": _JAVA, "logstash": _JAVA,
    "node": _NODE, "nodejs": _NODE, "npm": _NODE, "yarn": _NODE, "next-server": _NODE, "MainThread": _NODE,
    "node-MainThread": _NODE,
    "gunicorn": _WORKERS, "celery": _WORKERS, "uwsgi": _WORKERS, "uvicorn": _WORKERS,
    "puma": _RUBY, "ruby": _RUBY, "unicorn": _RUBY, "sidekiq": _RUBY,
    "apache2": _APACHE, "httpd": _APACHE,
    "postgres": _POSTGRES, "postmaster": _POSTGRES,
    "mysqld": _MYSQL, "mariadbd": _MYSQL,
    "redis-server": _REDIS, "valkey-server": _REDIS, "keydb-server": _REDIS,
    "mongod": _MONGO, "mongos": _MONGO,
    "prometheus": _PROMETHEUS, "go": _GO, "etcd": _GO, "grafana": _GO, "influxd": _GO, "telegraf": _GO, "caddy": _GO,
    "traefik": _GO, "dockerd": _GO, "containerd": _GO, "kubelet": _GO, "kube-apiserver": _GO, "vault": _GO,
    "consul": _GO, "nomad": _GO, "k3s-server": _GO, "loki": _GO,
    "chrome": _BROWSER, "chromium": _BROWSER, "chromium-browse": _BROWSER, "firefox": _BROWSER, "firefox-bin": _BROWSER,
    "Web Content": _BROWSER, "Isolated Web Co": _BROWSER, "WebKitWebProces": _BROWSER,
    "git": _GIT,
    "cc1": _BUILD, "cc1plus": _BUILD, "gcc": _BUILD, "g++": _BUILD, "clang": _BUILD, "clang++": _BUILD, "ld": _BUILD,
    "ld.lld": _BUILD, "lld": _BUILD, "ld.gold": _BUILD, "ld.bfd": _BUILD, "collect2": _BUILD, "rustc": _BUILD,
    "make": _BUILD, "ninja": _BUILD, "lto1": _BUILD, "lto1-wpa": _BUILD,
    "beam.smp": _BEAM, "kvm": _QEMU, "memcached": _MEMCACHED,
}  # fmt: skip
_PREFIX: Final[tuple[tuple[str, Runtime], ...]] = (
    ("gunicorn", _WORKERS),
    ("celery", _WORKERS),
    ("[celeryd", _WORKERS),
    ("python", _PYTHON),
    ("pypy", _PYTHON),
    ("php", _PHP),
    ("puma", _RUBY),
    ("node ", _NODE),
    ("npm ", _NODE),
    ("clickhouse", _CLICKHOUSE),
    ("qemu-", _QEMU),
    ("clang-", _BUILD),
    ("x86_64-linux-gn", _BUILD),
)
RUNTIMES: Final[dict[str, Runtime]] = _EXACT | dict(_PREFIX)
"""Program by comm: exact names, and names that begin so. A comm has at most 15 bytes, longer names are cut."""


def runtime_of(comm: str | None) -> Runtime | None:
    """Return the row of :data:`RUNTIMES` for a process name. A name is a hint, never proof of what runs."""
    if not comm:
        return None
    found = _EXACT.get(comm)
    if found is None:
        for prefix, runtime in _PREFIX:
            if comm.startswith(prefix):
                return runtime
    return found


def fitting(room_kib: int, each_kib: int | None) -> int:
    """Return how many processes of *each_kib* fill no more than four fifths of *room_kib*."""
    return int(room_kib * POOL_SHARE) // each_kib if each_kib else 0


def fit_words(room_kib: int, each_kib: int | None) -> str:
    """Return that in words, with the room: ``12 of them fit into four fifths of 1.0 GiB``."""
    number = fitting(room_kib, each_kib)
    fit = f"{number} of them fit" if number > 1 else "one of them fits" if number else "not even one of them fits"
    return f"{fit} into four fifths of {size(room_kib)}"


def tune(comm: str | None, base_kib: int | None, each_kib: int | None = None) -> list[Advice]:
    """
    Return which setting bounds the program called *comm*, with numbers for *base_kib* (the room it may take).

    *each_kib* is the size of one process, for programs that run as a pool. Unknown program or size: nothing.
    """
    runtime = runtime_of(comm)
    if runtime is None or comm is None or not base_kib:
        return []
    if "{fit}" in runtime.text and not each_kib:
        return []
    values: dict[str, str | int] = {
        "mib": max(1, int(base_kib * runtime.share) >> 10),
        "each": size(each_kib),
        "workers": max(1, fitting(base_kib, each_kib)),
        "fit": fit_words(base_kib, each_kib),
    }
    return [
        Advice(
            f"{mark(comm)} ({runtime.label}, by its name): {runtime.text.format(**values)}",
            snippet=runtime.snippet.format(**values) if runtime.snippet else None,
        )
    ]
