"""Rules about systemd units (OS201 to OS211)."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._sizes import size_words
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.quantity import systemd_size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.units.read import Unit

_SIZES: Final = ("MemoryMin", "MemoryLow", "MemoryHigh", "MemoryMax", "MemorySwapMax", "MemoryLimit", "MemoryZSwapMax")
_LIMITS: Final = frozenset({"MemoryHigh", "MemoryMax", "MemoryLimit"})
LEAST_BYTES: Final = 1 << 20
"""Less is no limit anybody means: a process that does nothing at all takes about this much."""
_SPAN = lazy(r"(\d+(?:\.\d+)?)\s*(us|ms|s|sec|min|m|h|)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "": 1, "min": 60, "m": 60, "h": 3600}


_RESOURCE: Final = ("Service", "Slice", "Scope", "Socket", "Mount", "Swap")
_RUNS: Final = ("Service", "Socket", "Mount", "Swap")
SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("MemoryMin", "MemoryLow", "MemoryHigh", "MemoryMax", "MemorySwapMax", "MemoryZSwapMax", "MemoryLimit",
         "MemoryAccounting", "ManagedOOMSwap", "ManagedOOMMemoryPressure", "ManagedOOMMemoryPressureLimit",
         "ManagedOOMPreference", "TasksMax", "TasksAccounting"), _RESOURCE),
    "OOMScoreAdjust": _RUNS, "OOMPolicy": ("Service", "Scope"), "LimitRSS": _RUNS, "LimitAS": _RUNS,
    "Restart": ("Service",), "RestartSec": ("Service",),
}  # fmt: skip
"""Which sections a setting counts in (systemd, src/core/load-fragment-gperf.gperf.in)."""
OTHERS: Final = frozenset(
    {"MemoryDenyWriteExecute", "MemoryKSM", "MemoryTHP", "MemoryPressureWatch", "MemoryPressureThresholdSec",
     "MemoryZSwapWriteback", "ManagedOOMMemoryPressureDurationSec"}
)  # fmt: skip
"""Settings with such a name that are right where they are."""


def _seconds(text: str) -> float | None:
    """Return a time span of systemd.time(7) in seconds; ``None`` = infinity or not understood."""
    parts = _SPAN.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None


def _size(unit: Unit, key: str) -> int | None:
    row = unit.last(key)
    return systemd_size(row.value).size_bytes if row else None


def _no_limit(unit: Unit, _: Settings) -> Iterator[Hit]:
    if unit.is_service and unit.whole and not any(unit.last(key) for key in ("MemoryMax", "MemoryLimit", "MemoryHigh")):
        kind, run = unit.last("Type"), unit.container()
        if run is not None and run.option("memory") is not None:
            return
        if unit.last("Slice") is None and (kind is None or kind.value != "oneshot"):  # that ends soon, or holds nothing
            yield Hit(
                unit.where, unit.subject,
                ("has no MemoryMax" if run is None else f"has no memory limit ({'MemoryMax=, ' if run.in_unit else ''}"
                 f"{'--memory of ' + run.tool if not run.quadlet else 'Memory='})") + ": it may take the whole host",
                fix=Fix("[Service]\nMemoryMax=SIZE", "ini") if run is None or run.in_unit
                else Fix(f"{run.tool} run --memory SIZE …", "sh"),
            )  # fmt: skip


def _wrong_size(unit: Unit, _: Settings) -> Iterator[Hit]:
    for key in _SIZES:
        row = unit.last(key)
        size = systemd_size(row.value) if row else None
        if row is not None and size is not None and size.problem:
            yield Hit(
                row.where, unit.subject,
                f"{key}={mark(row.value, Kind.ID)} {size.problem}: systemd ignores the line, there is no limit",
                fix=Fix(f"{key}={size.meant}", "ini") if size.meant else None,
            )  # fmt: skip
        elif row is not None and size is not None and key in _LIMITS and 0 < (size.size_bytes or 0) < LEAST_BYTES:
            meant = f"{key}={row.value}M" if row.value.isdecimal() else None
            yield Hit(
                row.where, unit.subject,
                f"{key}={mark(row.value, Kind.ID)} is {size_words(size.size_bytes or 0)}: nothing runs in that",
                advice=("a number without a letter is bytes",), fix=Fix(meant, "ini") if meant else None,
            )  # fmt: skip


def _order(unit: Unit, _: Settings) -> Iterator[Hit]:
    most, high = _size(unit, "MemoryMax"), _size(unit, "MemoryHigh")
    row = unit.last("MemoryHigh")
    if row and most is not None and high is not None and high >= most:
        yield Hit(
            row.where, unit.subject,
            f"MemoryHigh ({size_words(high)}) is not below MemoryMax ({size_words(most)}): it is killed before it is "
            "slowed down",
            fix=Fix(f"MemoryHigh={most * 9 // 10}", "ini"),
        )  # fmt: skip
    for key in ("MemoryMin", "MemoryLow"):
        least, row = _size(unit, key), unit.last(key)
        for bound, allowed in (("MemoryMax", most), ("MemoryHigh", high)):
            if row and allowed is not None and least is not None and least > allowed:
                yield Hit(
                    row.where, unit.subject,
                    f"{key} ({size_words(least)}) protects more than {bound} allows ({size_words(allowed)})",
                )  # fmt: skip
                break


def _unkillable(unit: Unit, _: Settings) -> Iterator[Hit]:
    row = unit.last("OOMScoreAdjust")
    if row is None:
        return
    try:
        adj = int(row.value)
    except ValueError:
        yield Hit(row.where, unit.subject, f"OOMScoreAdjust={mark(row.value, Kind.ID)} is no number: it is ignored")
        return
    if not -1000 <= adj <= 1000:
        yield Hit(row.where, unit.subject, f"OOMScoreAdjust={adj} is outside of -1000 to 1000: it is ignored")
    elif adj == -1000:
        bounded = unit.limit_bytes() is not None
        yield Hit(
            row.where, unit.subject,
            "can never be chosen (OOMScoreAdjust=-1000)"
            + (": at its own limit there is nobody to kill, and it stalls" if bounded else
               " and has no MemoryMax: when it leaks, everything else is killed"),
            advice=("use -900, and give it MemoryMax",),
            fix=Fix("[Service]\nOOMScoreAdjust=-900\nMemoryMax=SIZE", "ini"),
            severity=Severity.MEDIUM if bounded else None,
        )  # fmt: skip


def _restart_loop(unit: Unit, _: Settings) -> Iterator[Hit]:
    restart = unit.last("Restart")
    if restart is None or restart.value not in {"always", "on-failure", "on-abnormal", "on-abort"}:
        return
    limited = unit.last("MemoryMax") or unit.last("MemoryLimit")
    if limited is None:
        return
    interval_row = unit.last("StartLimitIntervalSec") or unit.last("StartLimitInterval")
    interval = _seconds(interval_row.value) if interval_row else 10.0
    pause_row, burst_row = unit.last("RestartSec"), unit.last("StartLimitBurst")
    pause = _seconds(pause_row.value) if pause_row else 0.1
    burst = int(burst_row.value) if burst_row and burst_row.value.isdecimal() else 5
    if interval == 0 and (pause or 0) < 5:
        yield Hit(
            (interval_row or restart).where, unit.subject,
            f"restarts without end and without a pause after an OOM kill (RestartSec {pause:g} s, no start limit)",
            advice=("pause longer, or let the start limit stop it: a service that is killed at once tells nobody",),
            fix=Fix("[Unit]\nStartLimitIntervalSec=300\nStartLimitBurst=5\n[Service]\nRestartSec=10", "ini"),
        )  # fmt: skip
    elif not pause_row and interval and burst * 0.1 < interval and interval_row is None and restart.value == "always":
        yield Hit(
            restart.where, unit.subject,
            f"{burst} OOM kills within {interval:g} s and it stays down: RestartSec is 0.1 s and the start limit is used "
            "up at once",
            fix=Fix("[Service]\nRestartSec=5", "ini"), severity=Severity.INFO,
        )  # fmt: skip


def _policy(unit: Unit, _: Settings) -> Iterator[Hit]:
    row = unit.last("OOMPolicy")
    if row is None:
        return
    if row.value not in {"continue", "stop", "kill"}:
        yield Hit(row.where, unit.subject, f"OOMPolicy={mark(row.value, Kind.ID)} is none of continue, stop, kill: it is ignored")
    elif row.value == "continue" and unit.last("Restart") and (unit.last("Type") is None or unit.last("Type").value != "forking"):  # type: ignore[union-attr]
        yield Hit(
            row.where, unit.subject,
            "OOMPolicy=continue: when a process of it is killed the unit goes on without it, and Restart= does nothing",
            advice=("use stop (with Restart=) or kill, unless the program replaces its own workers",),
        )  # fmt: skip


def _tasks(unit: Unit, _: Settings) -> Iterator[Hit]:
    row = unit.last("TasksMax")
    delegate = unit.last("Delegate")  # its tasks are in cgroups of their own, with limits of their own
    if row is not None and row.value == "infinity" and (delegate is None or delegate.value in {"no", "false", "0"}):
        yield Hit(row.where, unit.subject, "TasksMax=infinity: a fork bomb takes the host's memory with it",
                  fix=Fix("TasksMax=4096", "ini"))  # fmt: skip


def _stall(unit: Unit, _: Settings) -> Iterator[Hit]:
    swap, high = unit.last("MemorySwapMax"), unit.last("MemoryHigh")
    most = unit.last("MemoryMax")
    if swap and high and systemd_size(swap.value).size_bytes == 0 and (most is None or most.value == "infinity") and high.value != "infinity":
        yield Hit(
            high.where, unit.subject,
            "MemoryHigh without MemoryMax and without swap: a leak is slowed down until it stands still, and nothing ends it",
            fix=Fix("MemoryMax=SIZE", "ini"),
        )  # fmt: skip


def _managed(unit: Unit, _: Settings) -> Iterator[Hit]:
    kills = [row for key in ("ManagedOOMSwap", "ManagedOOMMemoryPressure") if (row := unit.last(key)) and row.value == "kill"]
    preference = unit.last("ManagedOOMPreference")
    bound = unit.last("ManagedOOMMemoryPressureLimit")
    if preference and preference.value == "omit" and kills:
        yield Hit(preference.where, unit.subject, "ManagedOOMPreference=omit beside ManagedOOM…=kill: systemd-oomd watches it and must not touch it")
    if bound and not unit.last("ManagedOOMMemoryPressure"):
        yield Hit(bound.where, unit.subject, "ManagedOOMMemoryPressureLimit without ManagedOOMMemoryPressure=kill does nothing",
                  fix=Fix("ManagedOOMMemoryPressure=kill", "ini"))  # fmt: skip


def _no_limit_at_all(unit: Unit, _: Settings) -> Iterator[Hit]:
    row = unit.last("LimitRSS")
    if row is not None:
        yield Hit(row.where, unit.subject, "LimitRSS does nothing since Linux 2.4.30: use MemoryMax",
                  fix=Fix(f"MemoryMax={row.value}" if row.value.isalnum() else "MemoryMax=SIZE", "ini"))  # fmt: skip
    row = unit.last("MemoryLimit")
    if row is not None and unit.last("MemoryMax") is None:
        yield Hit(row.where, unit.subject, "MemoryLimit is the setting of cgroup v1: use MemoryMax",
                  fix=Fix(f"MemoryMax={row.value}" if row.value.isalnum() else "MemoryMax=SIZE", "ini"))  # fmt: skip


def _misplaced(unit: Unit, _: Settings) -> Iterator[Hit]:
    for row in unit.settings:
        sections = SECTIONS.get(row.key)
        limits = row.key in _LIMITS
        if sections is not None:
            if row.section not in sections and not row.section.startswith("X-"):
                right = next((name for name in sections if name.lower() == unit.name.rpartition(".")[2]), sections[0])
                yield Hit(
                    row.where, unit.subject,
                    f"{row.key} stands in [{mark(row.section, Kind.ID)}], where systemd ignores it",
                    fix=Fix(f"[{right}]\n{row.key}={row.value}", "ini") if row.value.isprintable() else None,
                    severity=None if limits else Severity.MEDIUM,
                )  # fmt: skip
        elif row.section in _RESOURCE and row.key.lower().startswith(("memory", "oom", "managedoom", "tasks")):
            near = get_close_matches(row.key, SECTIONS, 1, 0.75)
            if near and row.key not in OTHERS:
                yield Hit(
                    row.where, unit.subject,
                    f"systemd knows no {mark(row.key, Kind.ID)} and ignores the line; probably meant: {near[0]}",
                    fix=Fix(f"{near[0]}={row.value}", "ini") if row.value.isprintable() else None,
                    severity=None if near[0] in _LIMITS else Severity.MEDIUM,
                )  # fmt: skip


def _service(text: str) -> str:
    return f"[Unit]\nDescription=api\n\n[Service]\nExecStart=/usr/bin/api\n{text}"


_REF: Final = "systemd.resource-control(5)"
_MAX: Final = "MemoryMax=512M\n"
_ROWS: Final = (
    ("OS201", "Service without MemoryMax", Severity.LOW, _no_limit, "a service with neither MemoryMax= nor MemoryHigh=.",
     "its cgroup is unlimited.", "a leak takes the host, and the kernel chooses among all services.",
     "MemoryMax= from its peak plus a margin (systemctl show -p MemoryPeak).", _REF, "Restart=on-failure\n", _MAX),
    ("OS202", "Size that systemd cannot read", Severity.HIGH, _wrong_size, "a memory setting with a value that is no size: "
     "`512MB`, `512m`.", "systemd warns once in the journal and ignores the line.",
     "the service everybody believes limited is not; one of 512 bytes is killed when it starts.",
     "K, M, G, T without B; a percentage; infinity.",
     "systemd, src/basic/parse-util.c, parse_size()", "MemoryMax=512MB\n", _MAX),
    ("OS203", "Memory settings out of order", Severity.MEDIUM, _order, "MemoryHigh= not below MemoryMax=, or protection "
     "(MemoryMin=, MemoryLow=) above it.", "MemoryHigh= slows down and reclaims; it has to come first.",
     "the kill comes without warning.", "MemoryLow ≤ MemoryHigh < MemoryMax.", _REF, "MemoryHigh=1G\n" + _MAX,
     "MemoryHigh=460M\n" + _MAX),
    ("OS204", "Service that cannot be chosen", Severity.HIGH, _unkillable, "OOMScoreAdjust=-1000, or a value that is ignored.",
     "at -1000 the kernel never chooses it.", "its leak kills everything else first, and in the end there is nobody left.",
     "-900, and a limit.", "kernel mm/oom_kill.c, oom_badness()", "OOMScoreAdjust=-1000\n", "OOMScoreAdjust=-500\n" + _MAX),
    ("OS205", "Restart loop after an OOM kill", Severity.MEDIUM, _restart_loop, "Restart= with a memory limit and no start "
     "limit (StartLimitIntervalSec=0) and hardly a pause.", "each start costs memory and CPU at once.",
     "a service that needs more than its limit is killed ten times a second, and floods the kernel log.",
     "RestartSec= of seconds, and a start limit.", "systemd.unit(5), StartLimitIntervalSec=",
     _MAX + "Restart=always\nStartLimitIntervalSec=0\n", _MAX + "Restart=always\nRestartSec=10\n"),
    ("OS206", "Unit that goes on without its killed process", Severity.LOW, _policy, "OOMPolicy=continue beside Restart=, or a "
     "value that is none.", "after a kill the unit counts as running.", "half a service stays, and nothing restarts the rest.",
     "OOMPolicy=stop or kill.", "systemd.service(5), OOMPolicy=", _MAX + "Restart=always\nRestartSec=5\nOOMPolicy=continue\n",
     _MAX + "Restart=always\nRestartSec=5\nOOMPolicy=stop\n"),
    ("OS207", "No limit of tasks", Severity.MEDIUM, _tasks, "TasksMax=infinity.", "each task costs kernel memory, too.",
     "a fork bomb exhausts the host with processes too small to be worth killing.", "a number.", _REF,
     _MAX + "TasksMax=infinity\n", _MAX + "TasksMax=512\n"),
    ("OS208", "Slowed down for ever", Severity.MEDIUM, _stall, "MemoryHigh= without MemoryMax= and with MemorySwapMax=0.",
     "above memory.high a process sleeps before each allocation; without swap there is nothing to reclaim.",
     "the service hangs instead of being killed and restarted.", "MemoryMax= a little above MemoryHigh=.",
     "kernel mm/memcontrol.c, mem_cgroup_handle_over_high()", "MemoryHigh=512M\nMemorySwapMax=0\n",
     "MemoryHigh=460M\nMemoryMax=512M\nMemorySwapMax=0\n"),
    ("OS209", "systemd-oomd told two things", Severity.LOW, _managed, "ManagedOOM settings that contradict each other or do "
     "nothing alone.", "systemd-oomd acts only where ManagedOOMSwap= or ManagedOOMMemoryPressure= says kill.",
     "the userspace killer that was to come first does not.", "one clear setting.", _REF,
     _MAX + "ManagedOOMMemoryPressureLimit=60%\n",
     _MAX + "ManagedOOMMemoryPressure=kill\nManagedOOMMemoryPressureLimit=60%\n"),
    ("OS210", "Limit that limits nothing", Severity.MEDIUM, _no_limit_at_all, "LimitRSS=, or MemoryLimit= alone.",
     "the first has no effect, the second is of cgroup v1.", "the service is unlimited although a limit is written.",
     "MemoryMax=.", "getrlimit(2); systemd.resource-control(5)", "LimitRSS=512M\n", _MAX),
    ("OS211", "Memory setting that systemd does not know", Severity.HIGH, _misplaced, "MemoryMax= and its like in a "
     "section where they do not count ([Unit], [Install]), or misspelt.", "systemd warns once in the journal and goes on.",
     "the service everybody believes limited is not.", "[Service], [Slice], …; systemd-analyze verify finds it, too.",
     "systemd, src/core/load-fragment-gperf.gperf.in", "MemoryMaximum=512M\n", _MAX),
)  # fmt: skip

RULES: Final[tuple[Rule, ...]] = tuple(
    Rule(id_, title, severity, "unit", find, what, why, leads, how, source, "api.service", _service(bad), _service(good))
    for id_, title, severity, find, what, why, leads, how, source, bad, good in _ROWS
)
