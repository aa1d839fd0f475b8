"""Two looks, the alerts held, the last incident -> the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from oomsight.alarms.culprit import holder_of
from oomsight.alarms.judge import holding
from oomsight.alarms.reading import Reading, need_kib
from oomsight.alarms.state import HOST
from oomsight.alarms.table import BY_CODE, Limits
from oomsight.naming.marked import Kind, mark
from oomsight.score.limits import limited_cgroups
from oomsight.score.ranking import rank_host
from oomsight.score.rules import error_reader, recognise
from oomsight.status.growth import before_of, growers
from oomsight.status.hurts import Facts, hurts
from oomsight.status.memory import account_meminfo
from oomsight.status.model import Alert, Earlier, Forecast, Holder, Last, Limited, Look, Status

if TYPE_CHECKING:
    from oomsight.alarms.judge import Reason
    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import Process
    from oomsight.status.growth import Grower

EXACT_SINCE: Final = (6, 17)  #: /proc/PID/status sums the counters of all CPUs (fs/proc/task_mmu.c)
RANKED_CGROUPS: Final = 12  #: fullest ones, whose victim is looked for


def earlier(look: Look) -> Earlier:
    """What the next look is compared with."""
    cgroups = {memcg.path: memcg.need_bytes for memcg in look.cgroups or () if memcg.need_bytes is not None}
    return Earlier(look.at, look.ticks, before_of(look.snapshot.processes), cgroups, look.memory.mem_available_kib)


def build(
    look: Look, before: Earlier | None, *, limits: Limits | None = None, alerts: Sequence[Alert] | None = None,
    last: Last | None = None, last_missing: str | None = None, forecasts: Sequence[Forecast] = (),
    forecast_missing: str | None = None, grown: Sequence[Grower] = (), grown_seconds: float | None = None,
) -> Status:  # fmt: skip
    """*alerts*: those a running agent holds; ``None`` = none runs, then what this look shows by itself."""
    snapshot, memory = look.snapshot, look.memory
    rules = recognise(snapshot.machine, snapshot.processes)
    error = error_reader(snapshot.machine, rules.era)
    user = [process for process in snapshot.processes if not process.stat.is_kthread]
    exact = rules.release is not None and rules.release >= EXACT_SINCE
    error_pages = 0 if exact else max((error(process) for process in user), default=0)
    error_kib = error_pages * (snapshot.machine.page_size >> 10)
    seconds = before.seconds_to(look) if before is not None else None
    found: list[Grower] = []
    rate = None
    if before is not None and seconds is not None and seconds > 0:
        found = growers(before.processes, user, seconds, before.ticks, error_kib)
        if before.available_kib is not None and memory.mem_available_kib is not None:
            rate = (memory.mem_available_kib - before.available_kib) / seconds
    ordered = sorted(look.cgroups or (), key=_emptiness)
    held = alerts if alerts is not None else list(_alerts(look, limits or Limits()))
    held = sorted(held, key=lambda alert: alert.severity != "critical")
    lists = [memory.fields.get(name) for name in ("Active(file)", "Inactive(file)")]
    return Status(
        look=look, accounting=account_meminfo(memory, look.zram_kib[1] if look.zram_kib else None),
        need_kib=need_kib(memory),
        droppable_kib=None if None in lists else sum(part for part in lists if part is not None),
        dirty_kib=memory.fields.get("Dirty"), holders=_holders(user, found), growers=found, seconds=seconds,
        counter_error_kib=error_kib, available_kib_per_second=rate,
        limited=tuple(_limited(look, ordered[:RANKED_CGROUPS], before, seconds)), limited_all=len(ordered),
        ranking=rank_host(snapshot, rules), forecasts=forecasts, forecast_missing=forecast_missing, grown=grown,
        grown_seconds=grown_seconds, alerts=tuple(held), watched=alerts is not None, hurts=tuple(hurts(_facts(look))),
        last=last, last_missing=last_missing,
        unseen=look.unseen,
    )  # fmt: skip


def _emptiness(memcg: Memcg) -> float:
    need, limit = memcg.need_bytes, memcg.limit_bytes
    return -need / limit if need is not None and isinstance(limit, int) and limit else 1.0


def _facts(look: Look) -> Facts:
    return Facts(look.memory, look.sysctl, psi="memory" in look.pressure, memory_cgroups=look.cgroups is not None)


def _holders(processes: Sequence[Process], found: Sequence[Grower]) -> tuple[Holder, ...]:
    rates = {grower.pid: grower.kib_per_second for grower in found if grower.pid is not None}
    by_name = {(grower.name, grower.processes): grower.kib_per_second for grower in found if grower.kind == "name"}
    groups: dict[tuple[str, str | None], list[Process]] = {}
    for process in processes:
        groups.setdefault((process.comm, process.cgroup), []).append(process)
    rows = []
    for (name, cgroup), members in groups.items():
        needs = [holder_of(process).need_kib for process in members]
        swap = sum(process.status.vm_swap_kib or 0 for process in members)
        if len(members) == 1:
            pid = members[0].pid
            rows.append(Holder(name, pid, 1, cgroup, needs[0], swap, rates.get(pid)))
        else:
            grown = sum(rates.get(process.pid, 0.0) for process in members) or by_name.get((name, len(members)))
            rows.append(Holder(name, None, len(members), cgroup, sum(needs), swap, grown))
    return tuple(sorted(rows, key=lambda row: -row.need_kib))


def _limited(
    look: Look, memcgs: Sequence[Memcg], before: Earlier | None, seconds: float | None
) -> Iterator[Limited]:
    rules = recognise(look.snapshot.machine, look.snapshot.processes)
    snapshot = look.snapshot._replace(cgroups={memcg.path: memcg for memcg in memcgs})
    for cgroup in limited_cgroups(snapshot, rules):
        memcg, rate, left = cgroup.memcg, None, None
        held = before.cgroups.get(memcg.path) if before is not None else None
        if before is not None and held is not None and memcg.need_bytes is not None and seconds:
            rate, grown = (memcg.need_bytes - held) / seconds, memcg.need_bytes - held
            goes_on = grown >= 1 << 20 and memcg.path not in before.stopped
            if goes_on and memcg.headroom_bytes is not None:
                left = memcg.headroom_bytes / rate
        yield Limited(cgroup, rate, left)


def _alerts(look: Look, limits: Limits) -> Iterator[Alert]:
    reading = Reading(look.memory, look.pressure.get("memory", {}), look.cgroups or (), look.cgroup_pressure)
    for key, reasons in holding(reading, limits).items():
        yield Alert("host" if key == HOST else key, _severity(reasons, limits), _words(key, reasons), None,
                    tuple(reason.code for reason in reasons))  # fmt: skip


def _severity(reasons: Sequence[Reason], limits: Limits) -> str:
    for reason in reasons:
        alarm = BY_CODE[reason.code]
        critical = limits.of(alarm, None).critical_at
        if critical is not None and (reason.value <= critical if alarm.downwards else reason.value >= critical):
            return "critical"
    return "warning"


_UNITS: Final[Mapping[str, str]] = {"pct": " %", "seconds": " s", "per_minute": " a minute"}


def _words(key: str, reasons: Sequence[Reason]) -> str:
    what = ", ".join(f"{BY_CODE[r.code].title} ({r.value:.0f}{_UNITS[BY_CODE[r.code].unit]})" for r in reasons)
    return what if key == HOST else f"{mark(key, Kind.CGROUP)}: {what}"
