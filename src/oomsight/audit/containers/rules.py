"""Rules about running containers (OS330 to OS337)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from oomsight._sizes import MIB, size_words
from oomsight.audit.containers import options
from oomsight.audit.containers.read import Container, of_inspect
from oomsight.audit.model import Find, Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark


def _hit(
    found: Container, message: str, *evidence: str, advice: tuple[str, ...] = (), update: str = "",
    severity: Severity | None = None,
) -> Hit:  # fmt: skip
    command = "podman" if found.runtime == "podman" else "docker"
    plain = found.key.isascii() and found.key.replace("-", "").replace("_", "").replace(".", "").isalnum()
    fix = None
    if update and plain and found.runtime in {"docker", "podman"} and not found.in_pod:
        fix = Fix(f"{command} update {update} {found.key}", "sh")
    about = (f"{found.runtime}, image {mark(found.image, Kind.ID)}" if found.image else found.runtime,)
    return Hit(Where(key=found.key), found.subject, message, (*evidence, *about), advice, fix, severity)


def _holds(found: Container) -> int | None:
    return found.memcg.need_bytes or found.memcg.usage_bytes if found.memcg is not None else None


def _no_limit(found: Container, _: Settings) -> Iterator[Hit]:
    if not found.running or found.limited:
        return
    holds = _holds(found)
    room = max(2 * holds // MIB, 64) if holds else None
    words = "has no memory limit: it may take the whole host"
    evidence = (f"it holds {size_words(holds)} now",) if holds else ()
    update = f"--memory {room}m --memory-swap {room}m" if room else "--memory SIZE --memory-swap SIZE"
    yield _hit(found, words, *evidence, update=update)


def _above_ram(found: Container, _: Settings) -> Iterator[Hit]:
    limit, ram = found.limit_bytes, found.ram_bytes
    if found.running and isinstance(limit, int) and ram and limit >= ram:
        yield _hit(
            found, f"its limit ({size_words(limit)}) is more than the host has ({size_words(ram)}): it limits nothing"
        )


def _swap(found: Container, _: Settings) -> Iterator[Hit]:
    if found.running and isinstance(found.limit_bytes, int) and found.total_bytes == "unlimited" and found.swap_bytes:
        size = found.limit_bytes // MIB
        yield _hit(
            found, f"may use all swap of the host ({size_words(found.swap_bytes)}): at its limit it thrashes instead of ending",
            f"memory limit {size_words(found.limit_bytes)}, memory and swap together without a bound",
            update=f"--memory {size}m --memory-swap {size * 3 // 2}m",
        )  # fmt: skip


def _disabled(found: Container, _: Settings) -> Iterator[Hit]:
    real = found.memcg.oom_kill_disable if found.memcg is not None else None
    if not found.running or not (found.oom_kill_disable or real):
        return
    if found.memcg is not None and found.memcg.version == 2:
        return
    words = options.kill_disabled("--oom-kill-disable", limited=found.limited)
    severity = Severity.MEDIUM if found.limited else None
    yield _hit(found, words, advice=("start it without --oom-kill-disable, and size the limit",), severity=severity)


def _protected(found: Container, _: Settings) -> Iterator[Hit]:
    adj = found.oom_score_adj
    if not found.running or adj is None or (found.in_pod and found.limited):  # -997: the kubelet's, Guaranteed
        return
    if words := options.hardly_chosen("oom_score_adj", adj, limited=found.limited):
        severity = Severity.MEDIUM if found.limited else None
        yield _hit(found, words, advice=(options.GIVE_LIMIT,), severity=severity)


def _no_pids(found: Container, _: Settings) -> Iterator[Hit]:
    if found.running and found.pids_limit == "unlimited" and not found.in_pod:
        yield _hit(found, "no limit of processes: a fork bomb in it takes the host's memory", update="--pids-limit 512")


def _killed(found: Container, _: Settings) -> Iterator[Hit]:
    kills = (found.memcg.oom_kills or 0) if found.memcg is not None else 0
    again = f", restarted {found.restarts} time{'' if found.restarts == 1 else 's'}" if found.restarts else ""
    limit = f"memory limit {size_words(found.limit_bytes)}" if isinstance(found.limit_bytes, int) else "no memory limit"
    advice = ("oomsight incidents lists the kills, oomsight rightsize says what it needs",)
    if not found.running and found.oom_killed:
        yield _hit(found, "was ended by the OOM killer and stays down", limit + again, advice=advice)
    elif kills:
        words = f"{kills} OOM kill{'' if kills == 1 else 's'} in it since it started, and it goes on"
        yield _hit(found, words, limit + again, advice=advice)
    elif found.oom_killed:
        yield _hit(found, "was ended by the OOM killer the last time", limit + again, advice=advice)


def _shm(found: Container, _: Settings) -> Iterator[Hit]:
    limit, shm = found.limit_bytes, found.shm_bytes
    if not found.running or not isinstance(limit, int) or shm is None or shm <= options.DEFAULT_SHM_BYTES:
        return
    if words := options.shm_fills_limit(shm, limit):
        yield _hit(found, words, advice=(f"{options.ROOM_FOR_SHM}, or start it with a smaller --shm-size",))


def _sample(**host: Any) -> str:
    rest = host.pop("State", {})
    document = {
        "Id": "0123456789abcdef", "Name": "/web", "Config": {"Image": "example.org/web:3"},
        "State": {"Running": True, "Pid": 42, **rest},
        "HostConfig": {"Memory": 536870912, "MemorySwap": 536870912, "PidsLimit": 512, **host},
    }  # fmt: skip
    return json.dumps(document, indent=2) + "\n"


def parse_sample(text: str) -> Container:
    """Return the container of a sample on a host with 16 GiB and 4 GiB of swap."""
    from dataclasses import replace

    found = of_inspect(json.loads(text), "docker")
    assert found is not None
    return replace(found, ram_bytes=16 << 30, swap_bytes=4 << 30)


def _rule(  # noqa: PLR0917 - one column of the table each
    number: int, title: str, severity: Severity, find: Find, what: str, why: str, leads: str, how: str, source: str,
    failing: str, passing: str,
) -> Rule:  # fmt: skip
    return Rule(
        f"OS{number}", title, severity, "container", find, what, why, leads, how, source, "inspect", failing, passing
    )


_DOCKER: Final = "Docker documentation, resource constraints"

RULES: Final[tuple[Rule, ...]] = (
    _rule(330, "Running container without a memory limit", Severity.MEDIUM, _no_limit,
          "a running container without a limit, neither its own nor of a cgroup above it.", "its cgroup is unlimited.",
          "it grows until the host is out of memory, and the kernel chooses among all processes.",
          "`docker update --memory` now, `mem_limit` in the compose file for the next start.", _DOCKER,
          _sample(Memory=0, MemorySwap=0), _sample()),
    _rule(331, "Container limit above RAM", Severity.MEDIUM, _above_ram,
          "a limit that is not below the host's RAM.", "it is never reached.", "the host runs out first.",
          "a limit that leaves room for the rest.", _DOCKER, _sample(Memory=32 << 30, MemorySwap=32 << 30), _sample()),
    _rule(332, "Container that may use all swap", Severity.LOW, _swap,
          "a memory limit with `--memory-swap -1` on a host with swap.", "the limit then only bounds RAM.",
          "at its limit it swaps without end: the disk is busy, everybody waits, and nobody is killed.",
          "`--memory-swap` a little above `--memory`.", _DOCKER, _sample(MemorySwap=-1), _sample()),
    _rule(333, "Running container with the OOM killer disabled", Severity.HIGH, _disabled,
          "`--oom-kill-disable` on a host with cgroup v1.", "its processes then sleep at the limit, with their locks.",
          "without a limit the host runs out and others die; with one it hangs until a person ends it.",
          "start it without the option; size the limit.", "kernel mm/memcontrol-v1.c (memory.oom_control)",
          _sample(OomKillDisable=True, Memory=0, MemorySwap=0), _sample(OomKillDisable=False)),
    _rule(334, "Running container that cannot be chosen", Severity.HIGH, _protected,
          "`--oom-score-adj` of -900 or less (in pods only where nothing limits it: Guaranteed ones have -997).",
          "near -1000 the kernel hardly ever chooses it.", "its leak kills everything else on the host first.",
          "a limit, and a value above -900.", "kernel mm/oom_kill.c, oom_badness()",
          _sample(OomScoreAdj=-1000, Memory=0, MemorySwap=0), _sample(OomScoreAdj=-200)),
    _rule(335, "Running container without a limit of processes", Severity.LOW, _no_pids,
          "a running container without `--pids-limit` (Docker's default).", "each process costs kernel memory.",
          "a fork bomb in it ends in an OOM of the host.", "`--pids-limit`, or a default in daemon.json.", _DOCKER,
          _sample(PidsLimit=None), _sample()),
    _rule(336, "Container in which something was OOM-killed", Severity.MEDIUM, _killed,
          "a container whose cgroup counts OOM kills, or whose last end was one.",
          "what was killed once and got neither more memory nor a fix is killed again.",
          "it is restarted with the same settings and grows to the same limit.",
          "find the cause (oomsight incidents), then the size (oomsight rightsize).",
          "Engine API, State.OOMKilled; memory.events oom_kill", _sample(State={"Running": False, "OOMKilled": True}),
          _sample()),
    _rule(337, "Running container with shared memory as big as its limit", Severity.LOW, _shm,
          "`--shm-size` not below the memory limit.", "/dev/shm is a tmpfs: its pages count against the container.",
          "a browser or database fills it and the container is killed.", "limit = program + shm size.",
          "kernel mm/shmem.c (charged to the writer)", _sample(ShmSize=1 << 30), _sample(ShmSize=64 << 20)),
)  # fmt: skip
"""Rules OS330 to OS337."""
