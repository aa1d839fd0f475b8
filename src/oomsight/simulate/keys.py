"""
Every key of a scenario file: type, range, default, meaning. Reading, ``--keys`` and the documentation walk this table.

Sizes and rates are held in bytes and bytes per second, durations in seconds. ``default=None`` with ``needed=False``
means "not set": no limit, no end, no restart, as the meaning says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from oomsight._sizes import GIB, KIB, MIB, rate_words, size_words
from oomsight.kernel.badness import OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN
from oomsight.simulate.units import duration_words, parse_duration, parse_rate, parse_size

Type = Literal["size", "rate", "duration", "int", "bool", "text", "texts", "choice"]


class Key(NamedTuple):
    """One key of a table in a scenario file."""

    name: str
    type: Type
    meaning: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    needed: bool = False
    scales: bool = False  #: varied by ``--monte-carlo``: what nobody knows exactly about a workload


_TIB: Final = 1 << 40
_YEAR: Final = 366 * 86400


def _size(name: str, meaning: str, default: Any = None, low: int = 0, high: int = 64 * _TIB, **more: Any) -> Key:
    return Key(name, "size", meaning, default, low, high, **more)


def _span(name: str, meaning: str, default: Any = None, low: float = 0, high: float = _YEAR, **more: Any) -> Key:
    return Key(name, "duration", meaning, default, low, high, **more)


ROOT_KEYS: Final = (
    Key("title", "text", "one line that names the scenario", needed=True),
    Key("about", "text", "what it shows, in a few sentences", ""),
    Key("protect", "texts", "names of processes that must live; the run is a success if none of them is killed", ()),
)

RUN_KEYS: Final = (
    _span("duration", "simulated time", 3600.0, 1, needed=True),
    _span("step", "length of a step: the finest time the run tells apart", 1.0, 0.001, 3600),
    Key("kernel", "text", "kernel release whose rules choose the victim", "6.12"),
    Key("spread", "int", "percent by which --monte-carlo varies sizes, rates and times of workloads", 30, 0, 95),
)

MACHINE_KEYS: Final = (
    _size("ram", "MemTotal", None, 4 * MIB, needed=True),
    _size("swap", "SwapTotal", 0),
    Key("swappiness", "int", "vm.swappiness", 60, 0, 200),
    Key("overcommit", "int", "vm.overcommit_memory: 0 guess, 1 always, 2 never", 0, 0, 2),
    Key("overcommit_ratio", "int", "vm.overcommit_ratio, in mode 2", 50, 0, 1000),
    _size("kernel", "memory of the kernel itself; not set = 3 % of ram"),
    _size("page_size", "bytes of a page", 4 * KIB, 4 * KIB, 64 * KIB),
    Key("oom_kill_allocating_task", "bool", "vm.oom_kill_allocating_task", False),
    Key("panic_on_oom", "int", "vm.panic_on_oom", 0, 0, 2),
)

CGROUP_KEYS: Final = (
    Key("path", "text", "path of the cgroup, from /", needed=True),
    _size("max", "memory.max; not set = no limit"),
    _size("high", "memory.high: slowed down above; not set = no limit"),
    _size("low", "memory.low: reclaimed from only if nothing else is left", 0),
    _size("min", "memory.min: never reclaimed from", 0),
    _size("swap_max", "memory.swap.max; not set = no limit"),
    Key("oom_group", "bool", "memory.oom.group: all die together", False),
    Key("pids_max", "int", "pids.max; not set = no limit", None, 1, 4_194_304),
)

PROCESS_KEYS: Final = (
    Key("name", "text", "name of the process (comm)", needed=True),
    Key("kind", "choice", "what it does with memory", needed=True, choices=(
        "constant", "leak", "traffic", "heap", "cache", "tmpfs", "forkbomb")),
    Key("cgroup", "text", "path of its cgroup", "/"),
    Key("count", "int", "how many of them", 1, 1, 20_000),
    Key("adj", "int", "oom_score_adj", 0, OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX),
    Key("threads", "int", "threads: each has a kernel stack of 16 KiB", 1, 1, 1_000_000),
    _span("start", "when it starts", 0.0, scales=True),
    _span("stagger", "time between the starts of several", 0.0),
    _span("stop", "when it ends by itself; not set = never"),
    _span("restart", "restarted this long after it was killed; not set = never"),
)  # fmt: skip

_BASE: Final = _size("size", "memory it starts with", 10 * MIB, scales=True)

KIND_KEYS: Final[dict[str, tuple[Key, ...]]] = {
    "constant": (_BASE,),
    "leak": (
        _BASE,
        Key("rate", "rate", "growth", None, 0, _TIB, needed=True, scales=True),
        Key("shape", "choice", "linear, or in steps of step_every", "linear", choices=("linear", "step")),
        _span("step_every", "time between two steps of shape = step", 60.0, 0.001),
        _size("ceiling", "stops growing there; not set = never"),
    ),
    "traffic": (
        _BASE,
        Key("idle_connections", "int", "connections outside the spike", 0, 0, 100_000_000, scales=True),
        Key("peak_connections", "int", "connections at the peak", None, 0, 100_000_000, needed=True, scales=True),
        _size("per_connection", "heap for each connection", 256 * KIB, scales=True),
        Key("connections_per_thread", "int", "connections one thread serves; 0 = no threads",
            0, 0, 1_000_000),
        _size("thread_stack", "user stack a thread touches", 128 * KIB),
        _size("socket_buffer", "kernel memory queued for each connection", 16 * KIB, scales=True),
        _size("cache", "page cache it works with", 0),
        _span("spike_at", "when the spike begins, after the start", 600.0, scales=True),
        _span("ramp", "time from idle to peak, and back", 60.0, 0.001),
        _span("hold", "time at the peak", 300.0, 0, scales=True),
        _span("every", "time from one spike to the next; not set = one spike"),
    ),
    "heap": (
        Key("runtime", "choice", "what manages the heap; sets how much of the garbage goes back", "jvm",
            choices=("jvm", "node", "python")),
        _size("heap_max", "-Xmx, --max-old-space-size, or what the pool may reach", None, MIB, needed=True),
        _size("live", "objects in use", 64 * MIB, scales=True),
        Key("live_growth", "rate", "growth of what is in use", 0.0, 0, _TIB, scales=True),
        Key("garbage", "rate", "garbage made between collections", 8.0 * MIB, 0, _TIB, scales=True),
        _size("overhead", "outside the heap: code, metaspace, stacks, buffers", 120 * MIB, scales=True),
        Key("returned", "int", "percent of the garbage given back to the system by a collection; not set = the"
            " runtime's: jvm 0, node 80, python 30", None, 0, 100),
    ),
    "cache": (
        _BASE,
        _size("files", "size of the files it reads", GIB, scales=True),
        Key("rate", "rate", "reading speed", 50.0 * MIB, 1, _TIB, scales=True),
    ),
    "tmpfs": (
        _BASE,
        _size("files", "size it writes in all", GIB, scales=True),
        Key("rate", "rate", "writing speed", 10.0 * MIB, 1, _TIB, scales=True),
    ),
    "forkbomb": (
        _BASE,
        _size("child_size", "memory of each child", 2 * MIB, scales=True),
        Key("forks", "int", "children a minute", 600, 1, 600_000, scales=True),
        Key("most", "int", "children at most", 2000, 1, 20_000),
    ),
}  # fmt: skip
"""Keys of a ``[[process]]`` that depend on its ``kind``."""

GUARD_KEYS: Final = (
    Key("kind", "choice", "what it looks at: memory left, or a signal like PSI", "available",
        choices=("available", "pressure")),
    Key("cgroup", "text", "whose memory it looks at", "/"),
    Key("available", "int", "acts below this percentage of memory left (kind = available)", 10, 0, 99),
    Key("swap_free", "int", "and below this percentage of swap left", 10, 0, 100),
    Key("pressure", "int", "acts at this percentage of demand that is not in RAM (kind = pressure)", 20, 1, 100),
    _span("interval", "time between two looks", 1.0, 0.001),
    _span("hold", "how long it must last", 0.0),
    Key("action", "choice", "kill by the kernel's ranking, or restart what it would kill", "kill",
        choices=("kill", "restart")),
    Key("avoid", "texts", "names of processes it never touches", ()),
)  # fmt: skip

ALERT_KEYS: Final = (
    Key("at", "int", "percent of a limit or of RAM in use that alerts", 80, 1, 100),
    _span("lead", "how long people need to act on an alert", 900.0),
)

VARIANT_KEYS: Final = (
    Key("name", "text", "short name", needed=True),
    Key("title", "text", "what is changed, in words", ""),
    Key("cures", "bool", "whether it is meant to help", True),
)
"""Besides these a variant has a table ``set``: ``machine.swap``, ``cgroup./app.max``, ``process.web.adj``."""

TABLES: Final[tuple[tuple[str, tuple[Key, ...]], ...]] = (
    ("", ROOT_KEYS), ("[run]", RUN_KEYS), ("[machine]", MACHINE_KEYS), ("[[cgroup]]", CGROUP_KEYS),
    ("[[process]]", PROCESS_KEYS), *((f"[[process]] kind = {kind}", keys) for kind, keys in KIND_KEYS.items()),
    ("[guard]", GUARD_KEYS), ("[alert]", ALERT_KEYS), ("[[variant]]", VARIANT_KEYS),
)  # fmt: skip
"""Everything a file may hold, in the order it is best written."""

_PARSE: Final[dict[str, Callable[[Any], float | None]]] = {
    "size": parse_size, "rate": parse_rate, "duration": parse_duration,
}  # fmt: skip
_SHOW: Final[dict[str, Callable[[float], str]]] = {"size": size_words, "rate": rate_words, "duration": duration_words}
_EXAMPLE: Final = {"size": "512MiB", "rate": "10MiB/min", "duration": "15min", "bool": "true", "texts": '["web"]'}


def value_words(key: Key, value: Any) -> str:
    """A value of *key* as one would write or say it; ``None`` is ``not set``."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    show = _SHOW.get(key.type)
    return show(value) if show else str(value)


def range_words(key: Key) -> str:
    """What *key* may be, in words: type, example, bounds."""
    if key.choices:
        return "one of " + ", ".join(key.choices)
    if key.type in {"text", "bool"}:
        return {"text": "text", "bool": "true or false"}[key.type]
    if key.type == "texts":
        return f"a list of names such as {_EXAMPLE['texts']}"
    words = "a whole number" if key.type == "int" else f"a {key.type} such as {_EXAMPLE[key.type]}"
    if key.low is None or key.high is None:
        return words
    return f"{words}, {value_words(key, key.low)} to {value_words(key, key.high)}"


def read_value(key: Key, value: object) -> Any:
    """*value* from the file as the run needs it; ``None`` = not what :func:`range_words` says."""
    match key.type:
        case "text":
            return value if isinstance(value, str) and value else None
        case "texts":
            good = isinstance(value, list) and all(isinstance(item, str) for item in value)
            return tuple(value) if good and isinstance(value, list) else None
        case "choice":
            return value if value in key.choices else None
        case "bool":
            return value if isinstance(value, bool) else None
    number: float | None = None
    if key.type == "int":
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, str) and value.strip().lstrip("-").isdecimal():  # from the command line
            number = int(value)
    elif isinstance(value, str | int | float):
        number = _PARSE[key.type](value)
    if number is None or (key.low is not None and number < key.low) or (key.high is not None and number > key.high):
        return None
    return number
