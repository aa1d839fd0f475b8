"""Rules about containers that units run (OS216 to OS218)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.containers import options
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity

if TYPE_CHECKING:
    from oomsight.audit.units.read import Unit

_SIZES: Final = (
    # (option, whether Docker insists on a least size)
    ("memory", True), ("memory-reservation", True), ("memory-swap", True), ("shm-size", False),
)  # fmt: skip


def _wrong_size(unit: Unit, _: Settings) -> Iterator[Hit]:
    run = unit.container()
    if run is None:
        return
    for name, least in _SIZES:
        row = run.option(name)
        if row is not None and (wrong := options.no_size(row, run.tool, least=least)):
            yield Hit(row.where, unit.subject, wrong.words, advice=wrong.advice)
    limit, total, shm = run.option("memory"), run.option("memory-swap"), run.option("shm-size")
    reservation = run.option("memory-reservation")
    if reservation and (words := options.above_limit(limit, reservation, run.tool)):
        yield Hit(reservation.where, unit.subject, words)
    if total and (words := options.swap_below_memory(limit, total, run.tool)):
        yield Hit(total.where, unit.subject, words)
    if shm and (words := options.shm_fills_limit(shm.bytes(), run.limit_bytes())):
        yield Hit(shm.where, unit.subject, words, advice=(options.ROOM_FOR_SHM,))


def _unkillable(unit: Unit, _: Settings) -> Iterator[Hit]:
    run = unit.container()
    if run is None:
        return
    limited = run.limit_bytes() is not None or (run.in_unit and unit.limit_bytes() is not None)
    row = run.option("oom-kill-disable")
    if row is not None and row.text not in {"false", "0"}:
        yield Hit(row.where, unit.subject, options.kill_disabled(row.name, limited=limited), advice=(options.KILL_AGAIN,))
    row = run.option("oom-score-adj")
    if row is None or not row.known:
        return
    if words := options.no_adj(row.name, row.text):
        yield Hit(row.where, unit.subject, words)
    elif words := options.hardly_chosen(row.name, int(row.text), limited=limited):
        severity = Severity.MEDIUM if limited else None
        yield Hit(row.where, unit.subject, words, advice=(options.GIVE_LIMIT,), severity=severity)


def _elsewhere(unit: Unit, _: Settings) -> Iterator[Hit]:
    run, limit = unit.container(), unit.last("MemoryMax") or unit.last("MemoryHigh")
    if run is None or run.in_unit or run.limit_bytes() is not None or limit is None or limit.value == "infinity":
        return
    value = unit.limit_bytes()
    size = f"{value >> 20}m" if value else "SIZE"
    words = f"{run.tool} run --memory {size}"
    where = "the daemon" if run.tool == "docker" else "podman (--cgroups enabled, its default)"
    yield Hit(
        limit.where, unit.subject,
        f"{limit.key} bounds the {run.tool} client only: {where} puts the container into a cgroup of its own, which has no "
        "limit",
        advice=(f"give the limit to the container: {words} …" + (
            ", or run it with --cgroups=split" if run.tool == "podman" else ""),),
        fix=Fix(f"{words} …", "sh"),
    )  # fmt: skip


def _unit(*lines: str) -> str:
    return "[Unit]\nDescription=API\n\n[Service]\nRestart=on-failure\nRestartSec=5\n" + "".join(f"{line}\n" for line in lines)


_RUN: Final = "ExecStart=/usr/bin/docker run --rm --name api {} example.org/api:3"
_REFERENCE: Final = "docker run reference; podman-run(1)"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS216", "Container of a unit with a wrong size", Severity.HIGH, "unit", _wrong_size,
        what="a memory option of `docker run`, `podman run` or a quadlet that is no size, below 6 MiB, or at odds with "
        "another (--memory-swap below --memory, --memory-reservation above it, --shm-size not below it).",
        why="a number without a letter is bytes, and what contradicts itself is refused.",
        leads="the unit does not start, until somebody takes the limit out; or /dev/shm fills the limit.",
        how="`--memory 512m`; --memory-swap is memory and swap together; limit = program + /dev/shm.",
        source=_REFERENCE, sample_name="api.service",
        failing=_unit(_RUN.format("--memory 512")), passing=_unit(_RUN.format("--memory 512m")),
    ),
    Rule(
        "OS217", "Container of a unit that cannot be chosen", Severity.HIGH, "unit", _unkillable,
        what="`--oom-kill-disable`, or `--oom-score-adj` of -900 or less (or out of its range), in a unit or quadlet.",
        why="the kernel then takes somebody else, or nobody.",
        leads="a leak in this container kills everything else on the host first.",
        how="a limit, and a value above -900.",
        source="kernel mm/oom_kill.c, oom_badness(); mm/memcontrol-v1.c (memory.oom_control)", sample_name="api.service",
        failing=_unit(_RUN.format("--oom-score-adj=-1000")), passing=_unit(_RUN.format("--memory 512m --oom-score-adj=-200")),
    ),
    Rule(
        "OS218", "MemoryMax that does not reach the container", Severity.HIGH, "unit", _elsewhere,
        what="MemoryMax= in a unit that starts its container by `docker run`, or by `podman run` without "
        "`--cgroups=split`, and gives the container no limit of its own.",
        why="the container runs in a cgroup beside the unit, not below it: the limit holds for the client alone.",
        leads="the service everybody believes limited takes the host.",
        how="`docker run --memory`; with podman a quadlet, or `--cgroups=split`.",
        source="Docker documentation, runtime metrics (cgroup of a container); podman-run(1), --cgroups",
        sample_name="api.service",
        failing=_unit("MemoryMax=512M", _RUN.format("")), passing=_unit("MemoryMax=512M", _RUN.format("--memory 512m")),
    ),
)  # fmt: skip
"""Rules OS216 to OS218."""
