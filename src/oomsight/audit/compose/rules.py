"""Rules about compose files (OS301 to OS312)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import size_words
from oomsight.audit.containers import options
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity, Where
from oomsight.audit.quantity import docker_size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.compose.read import ComposeFile, Service

SIZES: Final = (
    # (keys, whether Docker insists on a least size)
    (("mem_limit",), True), (("mem_reservation",), True), (("memswap_limit",), True), (("shm_size",), False),
    (("deploy", "resources", "limits", "memory"), True), (("deploy", "resources", "reservations", "memory"), True),
)  # fmt: skip


def _no_limit(service: Service, _: Settings) -> Iterator[Hit]:
    if service.limit() is not None or not service.whole:
        return
    zero = service.get("mem_limit") or service.get("deploy", "resources", "limits", "memory")
    yield Hit(
        zero.where if zero else service.where, service.subject,
        ("has a memory limit of 0, which is none" if zero else "has no memory limit") + ": it may take the whole host",
        fix=Fix("deploy:\n  resources:\n    limits:\n      memory: SIZE", "yaml"),
    )  # fmt: skip


def _wrong_size(service: Service, _: Settings) -> Iterator[Hit]:
    for keys, least in SIZES:
        value = service.get(*keys)
        if value is not None and value.known and (wrong := options.no_size(value, "Docker", least=least)):
            yield Hit(value.where, service.subject, wrong.words, advice=wrong.advice)


def _contradiction(service: Service, _: Settings) -> Iterator[Hit]:
    limit, reservation, swap = service.limit(), service.reservation(), service.get("memswap_limit")
    if reservation and (words := options.above_limit(limit, reservation, "Docker")):
        yield Hit(reservation.where, service.subject, words)
    if swap and (words := options.swap_below_memory(limit, swap, "Docker")):
        yield Hit(swap.where, service.subject, words)
    first, second = service.get("mem_limit"), service.get("deploy", "resources", "limits", "memory")
    if first and second and (a := first.bytes()) and (b := second.bytes()) and a != b:
        yield Hit(
            first.where, service.subject,
            f"{first.name} says {size_words(a)} and {second.name} {size_words(b)}: compose refuses that",
        )  # fmt: skip


def _swap_ignored(service: Service, _: Settings) -> Iterator[Hit]:
    swap = service.get("memswap_limit")
    if swap is not None and swap.text != "0" and service.limit() is None and service.whole:
        yield Hit(swap.where, service.subject, "memswap_limit without a memory limit is ignored")


def _kill_disabled(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("oom_kill_disable")
    if value is not None and value.node.truth():
        words = options.kill_disabled(value.name, limited=_limited(service))
        yield Hit(value.where, service.subject, words, advice=(options.KILL_AGAIN,))


def _protected(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("oom_score_adj")
    if value is None or not value.known:
        return
    limited = _limited(service)
    if words := options.no_adj(value.name, value.text):
        yield Hit(value.where, service.subject, words)
    elif words := options.hardly_chosen(value.name, int(value.text), limited=limited):
        severity = Severity.MEDIUM if limited else None
        yield Hit(value.where, service.subject, words, advice=(options.GIVE_LIMIT,), severity=severity)


def _limited(service: Service) -> bool:
    """Whether it has a limit, or may have one in a part that is not here."""
    return service.limit() is not None or not service.whole


def _shared_memory(service: Service, _: Settings) -> Iterator[Hit]:
    shm = service.get("shm_size")
    if shm and (words := options.shm_fills_limit(shm.bytes(), service.limit_bytes())):
        yield Hit(shm.where, service.subject, words, advice=(options.ROOM_FOR_SHM,))


class Tmpfs(NamedTuple):
    """A file system in memory of a service."""

    target: str
    size_bytes: int | None  #: ``None`` = none given
    where: Where


def tmpfs_of(service: Service) -> Iterator[Tmpfs]:
    """Yield the file systems in memory that a service mounts, by ``tmpfs`` and by ``volumes`` of that type."""
    for node, path in service.entries("tmpfs"):
        value = service.value(node, path)
        target, _, options = value.text.partition(":")
        given = [part[5:] for part in options.split(",") if part.startswith("size=")]
        if target and value.known:
            yield Tmpfs(target, docker_size(given[-1]).size_bytes if given else None, value.where)
    for node, path in service.entries("volumes"):
        kind = node.get("type") if node.is_mapping else None
        if kind is not None and kind.text == "tmpfs":
            place, size = node.get("target"), node.get("tmpfs", "size")
            found = service.value(size, path) if size else None
            if found is None or found.known:
                yield Tmpfs(place.text if place else "?", found.size.size_bytes if found else None,
                            Where(path, node.place.line, node.place.column))  # fmt: skip


def _files_in_memory(service: Service, _: Settings) -> Iterator[Hit]:
    most = service.limit_bytes()
    mounts = list(tmpfs_of(service))
    for mount in mounts:
        if not mount.size_bytes:
            yield Hit(
                mount.where, service.subject,
                f"the tmpfs at {mark(mount.target, Kind.FILE)} has no size: it may fill "
                + ("until the container is killed" if most else "half of the host's memory"),
                advice=("give it a size, and count that in the memory limit",),
                fix=Fix(f"tmpfs: {mount.target}:size=64m", "yaml") if mount.target.isprintable() else None,
            )  # fmt: skip
    shm = service.get("shm_size")
    total = sum(mount.size_bytes or 0 for mount in mounts) + ((shm.bytes() or 0) if shm else 0)
    if most and mounts and total >= most:
        yield Hit(
            mounts[0].where, service.subject,
            f"its file systems in memory may hold {size_words(total)}, its memory limit is {size_words(most)}",
            advice=("raise the limit by what they are to hold, or shrink them",), severity=Severity.HIGH,
        )  # fmt: skip


def _pids(service: Service, _: Settings) -> Iterator[Hit]:
    for value in (service.get("pids_limit"), service.get("deploy", "resources", "limits", "pids")):
        if value is not None and value.known and value.number() in {0, -1}:
            yield Hit(value.where, service.subject, "no limit of processes: a fork bomb takes the host's memory")


def _swappiness(service: Service, _: Settings) -> Iterator[Hit]:
    value = service.get("mem_swappiness")
    if value is None or not value.known:
        return
    number = value.number()
    if number is None or not -1 <= number <= 100:
        yield Hit(value.where, service.subject,
                  f"mem_swappiness {mark(value.text, Kind.ID)} is no number from 0 to 100: the container does not start",
                  severity=Severity.HIGH)  # fmt: skip
    elif number >= 0:
        yield Hit(
            value.where, service.subject,
            "mem_swappiness does nothing on cgroup v2" + (
                ", and on v1 a value of 0 has the kernel kill rather than swap" if number == 0 else ""),
            advice=("bound swap with memswap_limit instead",),
        )  # fmt: skip


def _stack(service: Service, _: Settings) -> Iterator[Hit]:
    limit = service.get("mem_limit")
    if limit is None or service.get("deploy", "resources", "limits", "memory") is not None:
        return
    if any(service.get("deploy", key) is not None for key in ("placement", "update_config", "rollback_config", "mode")):
        yield Hit(
            limit.where, service.subject,
            "mem_limit beside settings of a swarm: docker stack deploy ignores it, and the service has no limit there",
            fix=Fix(f"deploy:\n  resources:\n    limits:\n      memory: {limit.text}" if limit.text.isalnum() else
                    "deploy:\n  resources:\n    limits:\n      memory: SIZE", "yaml"),
        )  # fmt: skip


def _together(file: ComposeFile, settings: Settings) -> Iterator[Hit]:
    ram = settings.ram_bytes
    if ram is None:
        return
    sums = (
        ("limits", "mem_limit", sum((service.limit_bytes() or 0) * service.replicas() for service in file.services)),
        ("reservations", "mem_reservation",
         sum(((value.bytes() or 0) if (value := service.reservation()) else 0) * service.replicas()
             for service in file.services)),
    )  # fmt: skip
    for name, key, total in sums:
        if total > ram:
            yield Hit(
                Where(file.path, 1), mark(file.path, Kind.FILE),
                f"the {name} of its {len(file.services)} services sum up to {size_words(total)}; the machine has "
                f"{size_words(ram)}",
                evidence=(f"{key} and deploy.resources.{name}.memory, times replicas",),
                severity=Severity.MEDIUM if name == "reservations" else None,
            )  # fmt: skip
    for service in file.services:
        limit = service.limit()
        if limit is not None and (most := limit.bytes()) and most > ram:
            yield Hit(
                limit.where, service.subject,
                f"its memory limit ({size_words(most)}) is more than the machine has ({size_words(ram)}): it limits "
                "nothing", severity=Severity.MEDIUM,
            )  # fmt: skip


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
     "`pids_limit` (or `deploy.resources.limits.pids`) of 0 or -1.",
     "each process costs kernel memory as well, which a small limit does not foresee.",
     "a runaway fork fills the host with processes of no size, which the OOM killer finds hard to choose among.",
     "set it to a few times what runs.", "kernel kernel/cgroup/pids.c", _LIMIT + "    pids_limit: -1\n",
     _LIMIT + "    pids_limit: 200\n"),
    ("OS309", "Files in memory of a container", Severity.MEDIUM, _files_in_memory,
     "a `tmpfs` without a size, or file systems in memory (with /dev/shm) not below the memory limit.",
     "a page of a tmpfs counts against the container that wrote it, until the file is deleted.",
     "temporary files fill the limit; killing a process frees none of them.",
     "give each a size, and add that to the limit.", "Docker documentation, tmpfs mounts; kernel mm/shmem.c",
     _LIMIT + "    tmpfs:\n      - /tmp\n", _LIMIT + "    tmpfs:\n      - /tmp:size=64m\n"),
    ("OS310", "Swappiness of a container", Severity.INFO, _swappiness,
     "`mem_swappiness`.", "cgroup v2 has one swappiness for the host.",
     "who relies on it for a database that must not swap, or one that must, gets neither.",
     "`memswap_limit`; equal to the memory limit it forbids swap.", "Docker documentation, resource constraints",
     _LIMIT + "    mem_swappiness: 0\n", _LIMIT + "    memswap_limit: 512m\n"),
    ("OS312", "Limit that a swarm ignores", Severity.MEDIUM, _stack,
     "`mem_limit` in a service with `placement`, `update_config`, `mode` … under `deploy`, and no "
     "`deploy.resources.limits`.",
     "docker stack deploy reads `deploy` alone.", "the service runs without a limit on nodes shared with others.",
     "`deploy.resources.limits.memory`.", "Docker documentation, docker stack deploy (unsupported options)",
     _LIMIT + "    deploy:\n      placement: {constraints: [node.role == worker]}\n",
     "    deploy:\n      placement: {constraints: [node.role == worker]}\n      resources: {limits: {memory: 512m}}\n"),
)  # fmt: skip

RULES: Final[tuple[Rule, ...]] = (
    *(
        Rule(id_, title, severity, "compose", find, what, why, leads, how, source, "compose.yaml", _compose(bad),
             _compose(good))
        for id_, title, severity, find, what, why, leads, how, source, bad, good in _ROWS
    ),
    Rule(
        "OS311", "Limits of a compose file past RAM", Severity.LOW, "composefile", _together,
        what="limits or reservations of all services, times their replicas, above `ram` of `.oomsight.toml`; or one limit "
        "above it.",
        why="limits are promises; the host keeps those it has memory for.",
        leads="when all services are busy at once the host runs out before any limit is reached, and the kernel chooses "
        "among all of them.",
        how="fewer replicas, smaller limits, a bigger host; keep the sum of reservations below RAM in any case.",
        source=_REF,
        sample_name="compose.yaml",
        failing=_compose("    mem_limit: 12g\n    deploy: {replicas: 3}\n"),
        passing=_compose("    mem_limit: 2g\n    deploy: {replicas: 3}\n"),
    ),
)  # fmt: skip
