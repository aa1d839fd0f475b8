"""Rules about compose files (OS301 to OS309)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.quantity import MIB, size_words
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.compose.read import Service

LEAST_BYTES: Final = 6 * MIB  #: Docker refuses less (moby, daemon/daemon_unix.go, linuxMinMemory)


def _no_limit(service: Service, _: Settings) -> Iterator[Hit]:
    if service.limit() is None:
        yield Hit(
            service.where, service.subject, "has no memory limit: it may take the whole host",
            fix=Fix("deploy:\n  resources:\n    limits:\n      memory: SIZE", "yaml"),
        )  # fmt: skip


def _wrong_size(service: Service, _: Settings) -> Iterator[Hit]:
    for keys in (
        ("mem_limit",), ("mem_reservation",), ("memswap_limit",), ("shm_size",),
        ("deploy", "resources", "limits", "memory"), ("deploy", "resources", "reservations", "memory"),
    ):  # fmt: skip
        value = service.get(*keys)
        if value is None or not value.known or value.text in {"0", "-1"}:
            continue
        size, name, shown = value.size, ".".join(keys), mark(value.text, Kind.ID)
        if size.problem:
            yield Hit(value.where, service.subject, f"{name} {shown} {size.problem}")
        elif "limit" in keys[-1] + keys[-2:][0] and size.size_bytes is not None and size.size_bytes < LEAST_BYTES:
            meant = f"{value.text}m" if value.text.isdecimal() else None
            yield Hit(
                value.where, service.subject,
                f"{name} {shown} is {size_words(size.size_bytes)}: Docker refuses less than 6 MiB",
                advice=(f"probably meant: {meant}",) if meant else (),
            )  # fmt: skip


def _contradiction(service: Service, _: Settings) -> Iterator[Hit]:
    limit, reservation, swap = service.limit(), service.reservation(), service.get("memswap_limit")
    most = limit.size.size_bytes if limit else None
    least = reservation.size.size_bytes if reservation else None
    if limit and reservation and most and least and least > most:
        yield Hit(
            reservation.where, service.subject,
            f"its reservation ({size_words(least)}) is above its limit ({size_words(most)}): Docker refuses to start it",
        )  # fmt: skip
    total = swap.size.size_bytes if swap else None
    if swap and most and total and total < most:
        yield Hit(
            swap.where, service.subject,
            f"memswap_limit ({size_words(total)}) is memory and swap together, and below the memory limit "
            f"({size_words(most)}): Docker refuses to start it",
        )  # fmt: skip
    first, second = service.get("mem_limit"), service.get("deploy", "resources", "limits", "memory")
    if first and second and (a := first.size.size_bytes) and (b := second.size.size_bytes) and a != b:
        yield Hit(
            first.where, service.subject,
            f"mem_limit says {size_words(a)} and deploy.resources.limits.memory {size_words(b)}: compose refuses that",
        )  # fmt: skip


def _swap_ignored(service: Service, _: Settings) -> Iterator[Hit]:
    swap = service.get("memswap_limit")
    if swap is not None and service.limit() is None:
        yield Hit(swap.where, service.subject, "memswap_limit without a memory limit is ignored")


def _kill_disabled(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("oom_kill_disable")
    if value is not None and value.node.truth():
        bare = service.limit() is None
        yield Hit(
            value.where, service.subject,
            "oom_kill_disable: its processes hang at the limit instead of being killed (cgroup v1; v2 ignores it)"
            if not bare else
            "oom_kill_disable without a memory limit: it takes the host's memory, and everything else is killed for it",
            advice=("remove it, and size the limit",),
        )  # fmt: skip


def _protected(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("oom_score_adj")
    adj = value.node.integer() if value else None
    if value is not None and adj is not None and adj <= -900:
        bare = service.limit() is None
        yield Hit(
            value.where, service.subject,
            f"oom_score_adj {adj}" + (" and no memory limit" if bare else "")
            + ": whatever it takes, something else is killed for it",
            advice=("give it a memory limit, and an oom_score_adj above -900",),
            severity=Severity.HIGH if bare else Severity.MEDIUM,
        )  # fmt: skip


def _shared_memory(service: Service, _: Settings) -> Iterator[Hit]:
    limit, shm = service.limit(), service.get("shm_size")
    most, size = (limit.size.size_bytes if limit else None), (shm.size.size_bytes if shm else None)
    if shm and most and size and size >= most:
        yield Hit(
            shm.where, service.subject,
            f"/dev/shm may hold {size_words(size)} and the memory limit is {size_words(most)}: files there count, it is "
            "killed before /dev/shm is full",
            advice=("raise the limit by what /dev/shm is to hold",),
        )  # fmt: skip


def _pids(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("pids_limit")
    if value is not None and value.known and value.node.integer() in {0, -1}:
        yield Hit(value.where, service.subject, "no limit of processes: a fork bomb takes the host's memory")


def _compose(text: str) -> str:
    return f"services:\n  web:\n    image: example.org/web:3\n{text}"


_REF: Final = "Compose specification, services"
_LIMIT: Final = "    mem_limit: 512m\n"
_ROWS: Final = (
    ("OS301", "Compose service without a memory limit", Severity.MEDIUM, _no_limit,
     "a service with neither `mem_limit` nor `deploy.resources.limits.memory`.",
     "its cgroup is unlimited.",
     "it grows until the host is out of memory, and the kernel chooses among all services.",
     "set a limit from its recorded peak plus a margin.", _REF, "    restart: always\n", _LIMIT),
    ("OS302", "Compose size that says something else", Severity.HIGH, _wrong_size,
     "a size Docker cannot read, or a limit below the 6 MiB it insists on; `512` is 512 bytes.",
     "a number without a unit is bytes.", "the service does not start, or starts without the limit once it is taken out.",
     "write the unit: `512m`, `2g`.", "moby, daemon/daemon_unix.go (linuxMinMemory); go-units, RAMInBytes",
     "    mem_limit: 512\n", _LIMIT),
    ("OS303", "Compose limits that contradict each other", Severity.HIGH, _contradiction,
     "a reservation above the limit, memory and swap together below memory, or the two ways to give the limit in "
     "disagreement.", "Docker or compose refuses the service.", "the raised limit never arrives; the old container goes on.",
     "memory reservation ≤ limit ≤ memswap_limit, and one way to write the limit.", "moby, daemon/daemon_unix.go",
     "    mem_limit: 512m\n    mem_reservation: 1g\n", "    mem_limit: 1g\n    mem_reservation: 512m\n"),
    ("OS304", "Swap limit without a memory limit", Severity.MEDIUM, _swap_ignored,
     "`memswap_limit` in a service without a memory limit.", "alone it has no effect.",
     "the service is unlimited although a limit is written.", "give `mem_limit`, too.",
     "Docker documentation, resource constraints", "    memswap_limit: 1g\n", _LIMIT + "    memswap_limit: 1g\n"),
    ("OS305", "OOM killer disabled for a container", Severity.HIGH, _kill_disabled,
     "`oom_kill_disable: true`.", "processes then sleep at the limit, holding their locks and connections.",
     "without a limit the host runs out and others die; with one the service hangs and only a person ends it.",
     "remove it; size the limit.", "kernel mm/memcontrol-v1.c (memory.oom_control)",
     _LIMIT + "    oom_kill_disable: true\n", _LIMIT),
    ("OS306", "Container that cannot be chosen", Severity.HIGH, _protected,
     "`oom_score_adj` of -900 or less.", "at -1000 the kernel never chooses it, near it hardly ever.",
     "a leak in this service kills everything else on the host first.", "a limit, and a value above -900.",
     "kernel mm/oom_kill.c, oom_badness()", "    oom_score_adj: -1000\n", _LIMIT + "    oom_score_adj: -200\n"),
    ("OS307", "Shared memory as big as the limit", Severity.HIGH, _shared_memory,
     "`shm_size` not below the memory limit.", "/dev/shm is a tmpfs: its pages count against the container.",
     "a browser or database fills it and the container is killed.", "limit = program + shm_size.",
     "kernel mm/shmem.c (charged to the writer)", _LIMIT + "    shm_size: 1g\n", _LIMIT + "    shm_size: 128m\n"),
    ("OS308", "No limit of processes", Severity.LOW, _pids,
     "`pids_limit` of 0 or -1.", "each process costs kernel memory as well, which a small limit does not foresee.",
     "a runaway fork fills the host with processes of no size, which the OOM killer finds hard to choose among.",
     "set it to a few times what runs.", "kernel kernel/cgroup/pids.c", _LIMIT + "    pids_limit: -1\n",
     _LIMIT + "    pids_limit: 200\n"),
)  # fmt: skip

RULES: Final[tuple[Rule, ...]] = tuple(
    Rule(id_, title, severity, "compose", find, what, why, leads, how, source, "compose.yaml", _compose(bad), _compose(good))
    for id_, title, severity, find, what, why, leads, how, source, bad, good in _ROWS
)
