"""
What to change: limits by who owns the cgroup, settings by the program behind a name, swap and sysctl steps.

Two tables carry the facts: :data:`RUNTIMES` (which setting bounds a program's memory) and :data:`LIMIT_SETTERS` (which
command sets a cgroup's limit). Names in texts are marked; commands are argument vectors and hold names as they are,
the sink quotes them. No name ever goes into a snippet or a shell string.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oomsight.diagnose.model import Advice
from oomsight.diagnose.wording import size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomsight.naming.cgroup_path import Owner

HEADROOM: Final = 1.25
"""Margin over the demand seen. At the kill the charge was refused, so the true peak is above what was printed; a
quarter covers allocator slack and the page cache a program needs to run at all."""
CAP_RESERVE: Final = 0.10
"""Share of RAM a cap leaves free for the kernel, page cache and everybody else."""
SWAP_SHARE: Final = 0.25
"""Swap advised, as a share of RAM: room to page out what is idle, not a substitute for memory."""
SWAP_MIN_KIB: Final = 512 << 10
SWAP_MAX_KIB: Final = 8 << 20
POOL_SHARE: Final = 0.80
"""Share of the limit a pool of workers may fill; the rest is the master, shared pages and page cache."""


def round_up(kib: int) -> int:
    """Round *kib* up to a number people write: steps of 4 MiB, 16 MiB (from 128 MiB), 64 MiB, 256 MiB, 1 GiB."""
    return -(-kib // (step := _step(kib))) * step


def round_down(kib: int) -> int:
    """Round *kib* down to the same steps, never to zero."""
    return kib // (step := _step(kib)) * step or kib


def _step(kib: int) -> int:
    for below_mib, step_mib in ((128, 4), (1024, 16), (4096, 64), (32768, 256)):
        if kib < below_mib << 10:
            return step_mib << 10
    return 1 << 20


# --- which command sets a cgroup's limit -------------------------------------------------------------------------


def _unit(name: str, mib: int, owner: Owner) -> list[Advice]:  # noqa: ARG001 - one signature for the table
    return [
        Advice(
            f"set it on the unit {mark(name, Kind.OWNER)} (kept over reboots; add --runtime to try it first)",
            ("systemctl", "set-property", "--", name, f"MemoryMax={mib}M"),
        )
    ]


def _systemd(mib: int, owner: Owner) -> list[Advice]:
    name = owner.unit if owner.level == "unit" else owner.slice if owner.level in ("slice", "user") else None
    name = name or owner.unit or owner.slice
    if name is None and owner.uid is not None:
        name = f"user-{owner.uid}.slice"
    return _unit(name, mib, owner) if name else []


def _docker(mib: int, owner: Owner) -> list[Advice]:
    runtime = "podman" if owner.runtime == "podman" else "docker"
    if not owner.container_id:
        return []
    return [
        Advice(
            f"give the running container {mib} MiB of memory, and as much swap on top where the host has any; set the "
            "same in the compose file or run command, or it is lost when the container is made anew",
            (runtime, "update", "--memory", f"{mib}m", "--memory-swap", f"{2 * mib}m", owner.container_id),
        )
    ]


def _kubernetes(mib: int, owner: Owner) -> list[Advice]:
    advice = []
    if owner.level in ("pod", "container"):
        what = (
            "the limit of the whole pod (the sum of its containers' limits, or spec.resources)"
            if owner.level == "pod"
            else "the container's limit"
        )
        advice.append(
            Advice(
                f"raise {what} in the workload's manifest, with the request at the same value if the "
                "pod must not be evicted first",
                snippet=f"resources:\n  requests:\n    memory: {mib}Mi\n  limits:\n    memory: {mib}Mi\n",
            )
        )
        if owner.container_id:
            advice.append(
                Advice(
                    "find the pod and container behind this id (on the node)", ("crictl", "inspect", owner.container_id)
                )
            )
        elif owner.pod_uid:
            advice.append(
                Advice(
                    f"find the pod with the uid {mark(owner.pod_uid, Kind.ID)} in the list",
                    (
                        "kubectl",
                        "get",
                        "pods",
                        "-A",
                        "-o",
                        "custom-columns=NS:.metadata.namespace,POD:.metadata.name,UID:.metadata.uid",
                    ),
                )
            )
        return advice
    return [
        Advice(
            "this limit covers all pods of the node (or of one QoS class): it is what the kubelet leaves after "
            "--system-reserved, --kube-reserved and --eviction-hard. Lower the pods' requests and limits or move pods; "
            "do not raise it by hand, the kubelet writes it again"
        )
    ]


def _slurm(mib: int, owner: Owner) -> list[Advice]:  # noqa: ARG001
    return [Advice("ask for more memory in the job script", snippet=f"#SBATCH --mem={mib}M\n")]


def _ecs(mib: int, owner: Owner) -> list[Advice]:  # noqa: ARG001
    return [
        Advice(
            "raise the container's hard limit in the task definition (and the task's, if it has one)",
            snippet=f'"memory": {mib}\n',
        )
    ]


def _nomad(mib: int, owner: Owner) -> list[Advice]:  # noqa: ARG001
    return [Advice("raise the task's memory in the job file", snippet=f"resources {{\n  memory = {mib}\n}}\n")]


def _lxc(mib: int, owner: Owner) -> list[Advice]:
    if not owner.machine:
        return []
    name = owner.machine
    command = (
        ("pct", "set", name, "-memory", str(mib))  # Proxmox numbers its containers
        if name.isdigit()
        else ("lxc-cgroup", "-n", name, "memory.max", f"{mib}M")
    )
    return [Advice(f"raise the limit of the container {mark(name, Kind.OWNER)}, and keep it in its config", command)]


LIMIT_SETTERS: Final[tuple[tuple[str, Callable[[Owner], bool], Callable[[int, Owner], list[Advice]]], ...]] = (
    ("kubernetes", lambda o: o.orchestrator == "kubernetes", _kubernetes),
    ("slurm", lambda o: o.orchestrator == "slurm", _slurm),
    ("ecs", lambda o: o.orchestrator == "ecs", _ecs),
    ("nomad", lambda o: o.orchestrator == "nomad", _nomad),
    ("docker", lambda o: o.runtime in ("docker", "podman") and o.container_id is not None, _docker),
    ("lxc", lambda o: o.runtime in ("lxc", "lxd", "incus"), _lxc),
    ("systemd", lambda o: o.kind in ("unit", "slice", "user", "user_session", "machine"), _systemd),
)
"""Who owns a cgroup -> how its limit is set; the first row that fits is used, plain cgroups fall through."""


def set_limit(owner: Owner | None, kib: int, *, v1: bool = False, path: str | None = None) -> list[Advice]:
    """
    Return how to set the memory limit of *owner*'s cgroup to *kib*.

    The most specific manager is named (a pod is a systemd slice too, but the kubelet owns it). A plain cgroup is
    written directly; the path travels as an argument, so that no name reaches a shell. Unknown owner: no advice.

    :param v1: the report shows a v1 hierarchy.
    :param path: the cgroup as the host sees it, where *owner* is one inside a container.
    """
    if owner is None or owner.kind == "root":
        return []
    mib = max(1, kib >> 10)
    for _name, fits, setter in LIMIT_SETTERS:
        if fits(owner):
            advice = setter(mib, owner)
            if advice:
                return advice
    path = path or owner.path
    if "…" in path or "..." in path or not path.startswith("/"):
        return []  # somebody shortened it before posting
    mount, knob = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if v1 else ("/sys/fs/cgroup", "memory.max")
    return [
        Advice(
            f"write the new limit into {knob} of the cgroup {mark(path, Kind.CGROUP)} (and into whatever made "
            "the cgroup, or it is lost)",
            ("sh", "-c", 'echo "$1" > "$2"', "sh", str(mib << 20), f"{mount}{path}/{knob}"),
        )
    ]


def cap(owner: Owner | None, held_kib: int, managed_kib: int) -> list[Advice]:
    """Return how to keep *owner* from filling the machine again: a limit below what it held by a tenth of RAM."""
    limit = round_down(max(held_kib - int(managed_kib * CAP_RESERVE), held_kib // 2))
    steps = set_limit(owner, limit)
    if not steps:
        return [
            Advice(
                f"run it in a cgroup with a limit, about {size(limit)} (the {size(held_kib)} it held, less "
                f"{100 * CAP_RESERVE:.0f} % of RAM), so that its own limit acts before the whole machine is out of "
                "memory: "
                f"for example `systemd-run --scope -p MemoryMax={limit >> 10}M COMMAND`, or MemoryMax= in its unit"
            )
        ]
    steps[0].text = (
        f"give it a limit of its own of {size(limit)} (the {size(held_kib)} it held, less {100 * CAP_RESERVE:.0f} % "
        "of RAM), "
        f"so that its own limit acts before the whole machine is out of memory: {steps[0].text}"
    )
    return steps


def add_swap(managed_kib: int | None, *, kubernetes: bool = False) -> list[Advice]:
    """Return the steps that add a swap file of a quarter of RAM (0.5 to 8 GiB)."""
    wanted = SWAP_MIN_KIB if managed_kib is None else int(managed_kib * SWAP_SHARE)
    mib = round_up(min(max(wanted, SWAP_MIN_KIB), SWAP_MAX_KIB)) >> 10
    note = (
        " (on a Kubernetes node the kubelet must be told: failSwapOn: false and a swapBehavior)" if kubernetes else ""
    )
    return [
        Advice(
            f"add swap, {size(mib << 10)} is a start: it takes idle memory, and the machine becomes slow before it "
            f"kills, which gives you time to act{note}",
            ("fallocate", "-l", f"{mib}M", "/swapfile"),
        ),
        Advice("keep it private to root", ("chmod", "600", "/swapfile")),
        Advice("make it a swap area", ("mkswap", "/swapfile")),
        Advice(
            "use it now, and after every boot with the line below in /etc/fstab",
            ("swapon", "/swapfile"),
            "/swapfile none swap sw 0 0\n",
        ),
    ]


def sysctl(text: str, name: str, value: str | int) -> Advice:
    """Return advice to set a sysctl."""
    return Advice(text, ("sysctl", "-w", f"{name}={value}"))


# --- which setting bounds a program's memory ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Runtime:
    """
    One program or language runtime: what bounds its memory.

    ``text`` may hold ``{mib}`` (``share`` of the limit or of RAM, in MiB), ``{workers}`` (how many processes of the
    size seen fit) and ``{each}`` (that size). ``snippet`` likewise.
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
    "every worker holds its own copy: at {each} each, {workers} fit. Lower --workers or --concurrency, and recycle "
    "them (gunicorn --max-requests with jitter, celery --max-memory-per-child, uwsgi --reload-on-rss)",
    pool=True,
    serves=True,
)
_PHP = Runtime(
    "PHP-FPM",
    "pm.max_children times memory_limit is what the pool may take: at {each} each, {workers} children fit. Also set "
    "pm.max_requests to recycle them",
    snippet="pm.max_children = {workers}\npm.max_requests = 500\n",
    pool=True,
    serves=True,
)
_RUBY = Runtime(
    "Ruby workers",
    "processes times threads decide: at {each} each, {workers} processes fit; MALLOC_ARENA_MAX=2 or jemalloc cuts "
    "fragmentation",
    pool=True,
    serves=True,
)
_APACHE = Runtime(
    "Apache httpd",
    "in the prefork model each connection is a process: at {each} each, {workers} fit in MaxRequestWorkers "
    "(MaxClients before 2.4)",
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
    "parallel jobs multiply: at {each} each, {workers} fit. Run fewer (make -j{workers}, ninja -j{workers}, "
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


def tune(comm: str | None, base_kib: int | None, each_kib: int | None = None) -> list[Advice]:
    """
    Return which setting bounds the program called *comm*, with numbers for *base_kib* (limit or RAM).

    *each_kib* is the size of one process, for programs that run as a pool. Unknown program or size: nothing.
    """
    runtime = runtime_of(comm)
    if runtime is None or comm is None or not base_kib:
        return []
    if "{workers}" in runtime.text and not each_kib:
        return []
    values: dict[str, str | int] = {
        "mib": max(1, int(base_kib * runtime.share) >> 10),
        "each": size(each_kib),
        "workers": max(1, int(base_kib * POOL_SHARE) // each_kib) if each_kib else 0,
    }
    return [
        Advice(
            f"{mark(comm)} ({runtime.label}, by its name): {runtime.text.format(**values)}",
            snippet=runtime.snippet.format(**values) if runtime.snippet else None,
        )
    ]
