"""Rules about containers that units run (OS216 to OS218)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.audit.compose.rules import LEAST_BYTES
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.units.read import Unit

_SIZES: Final = (("memory", True), ("memory-reservation", True), ("memory-swap", True), ("shm-size", False))


def _wrong_size(unit: Unit, _: Settings) -> Iterator[Hit]:
    run = unit.container()
    if run is None:
        return
    for name, bounded in _SIZES:
        row = run.option(name)
        if row is None or row.text in {"0", "-1"}:
            continue
        size, shown = row.size, f"--{name} {mark(row.text, Kind.ID)}"
        if size.problem:
            yield Hit(row.where, unit.subject, f"{shown} {size.problem}: {run.tool} refuses to start it")
        elif bounded and size.size_bytes is not None and size.size_bytes < LEAST_BYTES:
            meant = (f"probably meant: {row.text}m",) if row.text.isdecimal() else ()
            yield Hit(
                row.where, unit.subject, f"{shown} is {size_words(size.size_bytes)}: nothing runs in that", advice=meant
            )
    most, total, shm = run.limit_bytes(), run.option("memory-swap"), run.option("shm-size")
    if most and total and (swap := total.bytes()) and swap < most:
        yield Hit(
            total.where, unit.subject,
            f"--memory-swap ({size_words(swap)}) is memory and swap together, and below --memory ({size_words(most)}): "
            f"{run.tool} refuses to start it",
        )  # fmt: skip
    if most and shm and (size_bytes := shm.bytes()) and size_bytes >= most:
        yield Hit(
            shm.where, unit.subject,
            f"/dev/shm may hold {size_words(size_bytes)} and --memory is {size_words(most)}: files there count, it is "
            "killed before /dev/shm is full",
            advice=("raise the limit by what /dev/shm is to hold",),
        )  # fmt: skip


def _unkillable(unit: Unit, _: Settings) -> Iterator[Hit]:
    run = unit.container()
    if run is None:
        return
    bare = run.limit_bytes() is None and not (run.in_unit and unit.limit_bytes() is not None)
    row = run.option("oom-kill-disable")
    if row is not None and row.text not in {"false", "0"}:
        yield Hit(
            row.where, unit.subject,
            "--oom-kill-disable: at its limit its processes sleep, holding locks and connections, until somebody ends it",
            advice=("remove it; version 2 of cgroups does not know it",),
        )  # fmt: skip
    row = run.option("oom-score-adj")
    adj = int(row.text) if row is not None and row.text.lstrip("-").isdecimal() else None
    if row is not None and adj is not None and adj <= -900:
        yield Hit(
            row.where, unit.subject,
            f"--oom-score-adj {adj}" + (" and no memory limit" if bare else "")
            + ": whatever it takes, something else is killed for it",
            advice=("give it a memory limit, and an oom_score_adj above -900",),
            severity=None if bare else Severity.MEDIUM,
        )  # fmt: skip


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
        "another (--memory-swap below --memory, --shm-size not below it).",
        why="a number without a letter is bytes, and what contradicts itself is refused.",
        leads="the unit does not start, until somebody takes the limit out; or /dev/shm fills the limit.",
        how="`--memory 512m`; --memory-swap is memory and swap together; limit = program + /dev/shm.",
        source=_REFERENCE, sample_name="api.service",
        failing=_unit(_RUN.format("--memory 512")), passing=_unit(_RUN.format("--memory 512m")),
    ),
    Rule(
        "OS217", "Container of a unit that cannot be chosen", Severity.HIGH, "unit", _unkillable,
        what="`--oom-kill-disable`, or `--oom-score-adj` of -900 or less, in a unit or quadlet.",
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
