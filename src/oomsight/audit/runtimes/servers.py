"""
Go, Python, PHP, Elasticsearch, nginx and .NET: what bounds them, and what their settings multiply.

A worker's own size is nobody's setting. ``counts["worker_bytes"]`` gives it when it was measured; else the term says
what was assumed.
"""

from __future__ import annotations

from typing import Final

from oomsight._sizes import GIB, KIB, MIB
from oomsight.audit.runtimes import jvm
from oomsight.audit.runtimes.flags import count, option, words
from oomsight.audit.runtimes.model import Estimate, Inputs, Term, setting
from oomsight.audit.runtimes.units import go_size, nginx_size, php_size

GO_BYTES: Final = 4 * MIB
PYTHON_WORKER_LOW: Final = 15 * MIB
PYTHON_WORKER_LIKELY: Final = 80 * MIB  #: a web framework and its imports, after some requests
ARENA_BYTES: Final = 64 * MIB  #: HEAP_MAX_SIZE in glibc's malloc/arena.c, 64-bit
PHP_WORKER_LOW: Final = 8 * MIB
PHP_WORKER_LIKELY: Final = 40 * MIB
NGINX_WORKER_BYTES: Final = 4 * MIB
DOTNET_BYTES: Final = 30 * MIB


def go(inputs: Inputs) -> Estimate:
    """
    Go: GOMEMLIMIT (1.19+) bounds all the runtime maps, softly; GOGC says how far the heap may grow past what lives.
    Source: runtime/debug package, "A Guide to the Go Garbage Collector".
    """
    text = inputs.env.get("GOMEMLIMIT")
    limit = None if text in {None, "off"} else go_size(text or "")
    gogc = inputs.env.get("GOGC", "100")
    percent = None if gogc == "off" else count(gogc)
    live, notes = inputs.counts.get("live_bytes"), []
    if text is not None and text != "off" and limit is None:
        notes.append(f"GOMEMLIMIT={text} is no size to Go: write it as 512MiB; the program refuses to start")
    if limit is not None:
        notes.append("GOMEMLIMIT is soft: what lives is never refused, and memory of C libraries is not counted in it")
    likely = None
    source = f"GOGC={gogc}" + ("" if "GOGC" in inputs.env else " (default)")
    if live is not None:
        likely = live * (100 + percent) // 100 if percent is not None else live
        source += f": {100 + (percent or 0)} % of the {live // MIB:,} MiB that live"
    if limit is not None:
        source = f"GOMEMLIMIT={text}, soft; {source}"
        likely = limit if likely is None else min(likely, max(limit, live or 0))
    outside = None if limit is None else 16 * MIB
    terms = (
        Term("heap and stacks", GO_BYTES, limit, source, likely),
        Term("outside of the runtime", 0, outside, "cgo, the program's own mappings", 8 * MIB),
    )
    return Estimate("go", terms, inputs.limit_bytes, tuple(notes), False)


def _python_workers(inputs: Inputs) -> tuple[int, str, bool]:
    """Number of worker processes, where it is said, and whether it follows the host's CPUs."""
    argv = inputs.argv
    program = " ".join(argv[:4])
    cpus = inputs.host_cpus or inputs.cpus or 1
    if "celery" in program:
        given = option(argv, "--concurrency", "-c")
        number = count(given)
        if number is not None:
            return number + 1, f"--concurrency {number} and the main process", False
        return cpus + 1, f"celery starts one process per CPU of the host ({cpus}; default) and the main process", True
    if "uwsgi" in program:
        config = inputs.config
        given = option(argv, "--processes", "--workers", "-p") or config.get("processes") or config.get("workers")
        number = count(given) or 1
        return number + 1, f"processes = {number} and the master", False
    extra = words(inputs.env.get("GUNICORN_CMD_ARGS", ""))
    given, place = option(argv, "--workers", "-w"), "--workers"
    if given is None and extra:
        given, place = option(extra, "--workers", "-w"), "GUNICORN_CMD_ARGS --workers"
    if given is None and "workers" in inputs.config:
        given, place = inputs.config["workers"], f"workers ({inputs.config_name})"
    if given is None and "WEB_CONCURRENCY" in inputs.env:
        given, place = inputs.env["WEB_CONCURRENCY"], "WEB_CONCURRENCY"
    number = count(given)
    if number is not None:
        return number + 1, f"{place} = {number} and the arbiter", False
    if given is not None and "cpu_count" in given:
        return 2 * cpus + 2, f"{place} = {given}: cpu_count() sees the host's {cpus} CPUs, not the quota", True
    served = any(name in program for name in ("gunicorn", "uvicorn", "hypercorn"))
    return (2, "one worker (default) and the arbiter", False) if served else (1, "one process", False)


def python(inputs: Inputs) -> Estimate:
    """Python under gunicorn, uvicorn, uWSGI, Celery or alone: processes times size, and what malloc keeps."""
    number, source, by_cpus = _python_workers(inputs)
    each, notes = inputs.counts.get("worker_bytes"), []
    low = PYTHON_WORKER_LOW if each is None else each
    likely = PYTHON_WORKER_LIKELY if each is None else each
    child = count(option(inputs.argv, "--max-memory-per-child"))
    on_rss = count(option(inputs.argv, "--reload-on-rss") or inputs.config.get("reload-on-rss"))
    high, bound = None, "nothing bounds a worker"
    if child is not None:
        high, bound = child * KIB, f"--max-memory-per-child {child} KiB, looked at after each task"
    elif on_rss is not None:
        high, bound = on_rss * MIB, f"reload-on-rss {on_rss} MiB, looked at after each request"
    if high is not None:
        low, likely = min(low, high), min(likely, high)
    size = f"{likely // MIB} MiB each " + ("(assumed)" if each is None else "(as given)")
    if by_cpus:
        notes.append("the number of workers follows the CPUs of the host, not the quota of the container")
    arenas = count(inputs.env.get("MALLOC_ARENA_MAX"))
    threads = count(option(inputs.argv, "--threads")) or inputs.counts.get("threads", 1)
    most = max(min(arenas or 8 * (inputs.host_cpus or inputs.cpus or 1), threads), 1)
    why = f"MALLOC_ARENA_MAX={arenas}" if arenas else "8 per CPU (glibc's default)"
    terms = (
        Term("workers", number * low, None if high is None else number * high, f"{source}; {size}; {bound}",
             number * likely),
        Term("malloc arenas", 0, number * (most - 1) * ARENA_BYTES // 4,
             f"{most} of {threads} threads per process, {why}; a quarter of 64 MiB each may stay in pieces",
             number * (most - 1) * ARENA_BYTES // 16),
    )  # fmt: skip
    return Estimate("python", terms, inputs.limit_bytes, tuple(notes))


def php_fpm(inputs: Inputs) -> Estimate:
    """PHP-FPM: pm.max_children × memory_limit. Source: php.net, FPM configuration; opcache settings."""
    children, source = setting(inputs, "pm.max_children", "5", "default of the www pool")
    number = count(children) or 0
    name = next((key for key in inputs.config if key.endswith("[memory_limit]")), "memory_limit")
    limit_text, limit_source = setting(inputs, name, "128M", "php.ini's default")
    limit = None if limit_text.strip() == "-1" else php_size(limit_text) or 128 * MIB
    each = inputs.counts.get("worker_bytes")
    likely = each or (PHP_WORKER_LIKELY if limit is None else min(PHP_WORKER_LIKELY, limit))
    start = number
    if inputs.config.get("pm", "dynamic") != "static":
        start = count(inputs.config.get("pm.start_servers")) or (0 if inputs.config.get("pm") == "ondemand" else 2)
    most = None if limit is None else number * (limit + PHP_WORKER_LOW)
    cache = (count(inputs.config.get("opcache.memory_consumption")) or 128) * MIB
    terms = (
        Term("children", min(start, number) * PHP_WORKER_LOW, most,
             f"{source} × {limit_source}; {likely // MIB} MiB each " + ("(assumed)" if each is None else "(as given)"),
             number * likely),
        Term("opcache", 4 * MIB, cache + 8 * MIB, f"opcache.memory_consumption = {cache // MIB} MiB, shared",
             cache // 2),
        Term("master", 6 * MIB, 12 * MIB, "php-fpm: master process", 8 * MIB),
    )  # fmt: skip
    return Estimate("php-fpm", terms, inputs.limit_bytes)


def elasticsearch(inputs: Inputs) -> Estimate:
    """
    Elasticsearch, OpenSearch and Logstash: a JVM whose heap and direct memory the start script sets.

    Without -Xmx Elasticsearch 7.11+ takes half of the memory it sees, 31 GiB at most, and half of the heap as direct
    memory (JvmErgonomics, MachineDependentHeap).
    """
    options = jvm.Options(inputs)
    seen = min((size for size in (inputs.limit_bytes, inputs.ram_bytes) if size is not None), default=None)
    config = dict(inputs.env)
    extra: list[str] = []
    heap = options.size("MaxHeapSize")
    size = None if heap is None else heap[0]
    if size is None and seen is not None:
        size = min(seen // 2, 31 * GIB)
        extra.append(f"-Xmx{size // MIB}m")
    if size is not None and options.size("MaxDirectMemorySize") is None:
        extra.append(f"-XX:MaxDirectMemorySize={size // 2 // MIB}m")
    argv = (*(inputs.argv[:1] or ("java",)), *extra, "-XX:+AlwaysPreTouch", *inputs.argv[1:])
    text = " ".join(part for part in (config.get("ES_JAVA_OPTS", ""), inputs.config.get("jvm.options", "")) if part)
    settings = {"jvm.options": text} if text else {}
    name = "ES_JAVA_OPTS" if "ES_JAVA_OPTS" in config and "jvm.options" not in inputs.config else inputs.config_name
    same = Inputs(
        argv=argv, env=config, config=settings, config_name=name, limit_bytes=inputs.limit_bytes,
        ram_bytes=inputs.ram_bytes, cpus=inputs.cpus, version=inputs.version, cgroup_version=inputs.cgroup_version,
        counts=inputs.counts,
    )  # fmt: skip
    found = jvm.estimate(same)
    notes = found.notes
    if heap is None and size is not None:
        notes += (f"heap set by Elasticsearch itself: half of the {(seen or 0) // MIB:,} MiB it sees",)
    return Estimate("elasticsearch", found.terms, inputs.limit_bytes, notes, True)


def nginx(inputs: Inputs) -> Estimate:
    """nginx: workers, connections with their buffers, shared zones. Source: nginx.org, core, proxy and ssl modules."""
    workers_text, source = setting(inputs, "worker_processes", "1")
    cpus = inputs.host_cpus or inputs.cpus or 1
    workers = cpus if workers_text == "auto" else count(workers_text) or 1
    notes = ("worker_processes auto follows the CPUs of the host, not the quota of the container",)
    text, per = setting(inputs, "worker_connections", "512")
    connections = workers * (count(text) or 512)
    buffers, buffer_source = setting(inputs, "proxy_buffers", "8 8k")
    pieces = buffers.split()
    each = (count(pieces[0]) or 8) * (nginx_size(pieces[-1]) or 8 * KIB) if pieces else 64 * KIB
    each += 8 * KIB + KIB  # client_header_buffer_size, proxy_buffer_size, the connection itself
    zones = sum(nginx_size(size) or 0 for size in inputs.config.get("zones", "").split())
    terms = (
        Term("workers", workers * NGINX_WORKER_BYTES, workers * 4 * NGINX_WORKER_BYTES,
             f"{source}" + (f" = {workers}" if workers_text == "auto" else ""), workers * 2 * NGINX_WORKER_BYTES),
        Term("connections", 0, connections * each, f"{per} × {workers} × ({buffer_source} and header buffers)",
             connections * each // 10),
        Term("shared zones", 0, zones, "keys_zone, limit_req_zone, ssl_session_cache, zone", zones),
        Term("master", 2 * MIB, 8 * MIB, "nginx: master process", 4 * MIB),
    )  # fmt: skip
    return Estimate("nginx", terms, inputs.limit_bytes, notes if workers_text == "auto" else ())


def dotnet(inputs: Inputs) -> Estimate:
    """
    .NET 5 and later: the GC's hard limit, 75 % of the container's limit by default. Source: learn.microsoft.com,
    "Runtime configuration options for garbage collection". Numbers in variables are hexadecimal.
    """

    def variable(name: str) -> tuple[int, str] | None:
        for prefix in ("DOTNET_", "COMPlus_"):
            if (text := inputs.env.get(prefix + name)) is not None:
                try:
                    return int(text, 16), f"{prefix}{name}={text} (hexadecimal)"
                except ValueError:
                    return None
        return None

    def setting_of(name: str) -> tuple[int, str] | None:
        """The same in runtimeconfig.json, in decimal."""
        value = count(inputs.config.get(f"System.GC.{name}"))
        return None if value is None else (value, f"System.GC.{name} = {value} ({inputs.config_name})")

    hard = variable("GCHeapHardLimit") or setting_of("HeapHardLimit")
    percent = variable("GCHeapHardLimitPercent") or setting_of("HeapHardLimitPercent")
    seen = inputs.limit_bytes
    limit: int | None = None
    source = "no limit to take 75 % of: the heap may take all memory"
    if hard is not None:
        limit, source = hard
    elif percent is not None and (base := seen or inputs.ram_bytes) is not None:
        limit, source = base * percent[0] // 100, f"{percent[1]} = {percent[0]} %"
    elif seen is not None:
        limit, source = max(20 * MIB, seen * 3 // 4), "75 % of the container's limit (default)"
    terms = (
        Term("GC heap", 4 * MIB, None if limit is None else max(limit, 4 * MIB), source, limit and max(limit, 4 * MIB)),
        Term("runtime and code", DOTNET_BYTES, 4 * DOTNET_BYTES, "CLR, JIT, assemblies (assumed)", 2 * DOTNET_BYTES),
        Term("thread stacks", 0, 64 * (MIB + MIB // 2), "1.5 MiB × 64 threads (assumed)", 64 * 100 * KIB),
    )
    return Estimate("dotnet", terms, inputs.limit_bytes, (), True)
