"""
Where and how a drill may kill: every reason against it is a row of :data:`REFUSALS`.

The kill is the kernel's own, of one process of ours, in a cgroup made for it, at a limit of 32 MiB. It must not be able
to reach anybody else: no limit above may be near, the machine may not be short of memory, and the kernel must not be
set to panic (vm.panic_on_oom = 2 panics for cgroup kills, too: mm/oom_kill.c check_panic_on_oom()).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import MIB
from oomsight.alerts.facts import DRILL_PREFIX
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.proc.memcg import Memcg

LIMIT_BYTES: Final = 32 * MIB  #: of the scratch cgroup
MOST_BYTES: Final = 4 * LIMIT_BYTES  #: what the process takes at most, should the kernel let it live
ROOM_BYTES: Final = 2 * MOST_BYTES  #: that every limit above, and the machine, must have left
PROCESS_NAME: Final = "oomsight-drill"  #: comm of the process that dies; at most 15 bytes


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known about this host. ``None`` = not known."""

    root: bool  #: effective user id 0
    version: int | None  #: of the cgroup hierarchy with the memory controller; ``None`` = there is none
    parent: str  #: cgroup the scratch cgroup would be made in, as the kernel names it
    directory: str  #: where that is
    writable: bool = True  #: cgroups can be made there
    delegated: bool = True  #: v2: children of it get the memory controller (cgroup.subtree_control)
    above: tuple[Memcg, ...] = ()  #: the parent and everything above it
    available_bytes: int | None = None  #: MemAvailable
    panic_on_oom: int | None = None


class Refusal(NamedTuple):
    """One reason not to do it."""

    code: str
    hurts: Callable[[Ground], bool]
    words: Callable[[Ground], str]  #: marked; what is wrong and what would help


def _tight(ground: Ground) -> Memcg | None:
    """The cgroup above with the least room left, if that is too little (or not known)."""
    limited = [memcg for memcg in ground.above if isinstance(memcg.limit_bytes, int)]
    return next((memcg for memcg in limited if (memcg.headroom_bytes or 0) < ROOM_BYTES), None)


def _tight_words(ground: Ground) -> str:
    memcg = _tight(ground)
    assert memcg is not None
    left = "an unknown amount" if memcg.headroom_bytes is None else f"{memcg.headroom_bytes // MIB} MiB"
    return (
        f"cgroup {mark(memcg.path, Kind.CGROUP)} has {left} left below its limit, a drill wants {ROOM_BYTES // MIB} MiB"
        " there: others could be hurt"
    )


REFUSALS: Final = (
    Refusal("not_root", lambda g: not g.root, lambda _: "making a cgroup needs root: use sudo"),
    Refusal("no_controller", lambda g: g.version is None,
            lambda _: "no cgroup hierarchy with a memory controller is mounted here: run it on the host itself"),
    Refusal("read_only", lambda g: g.version is not None and g.root and not g.writable,
            lambda g: f"no cgroup can be made in {mark(g.directory, Kind.FILE)}: run it on the host, or in a privileged"
            " container"),
    Refusal("not_delegated", lambda g: g.version == 2 and not g.delegated,
            lambda g: f"cgroups in {mark(g.directory, Kind.FILE)} get no memory controller (cgroup.subtree_control)"),
    Refusal("panic_on_oom", lambda g: g.panic_on_oom == 2,
            lambda _: "vm.panic_on_oom is 2: the kernel would panic instead of killing one process"),
    Refusal("killer_disabled", lambda g: any(memcg.oom_kill_disable for memcg in g.above),
            lambda _: "the OOM killer is disabled there (memory.oom_control): the process would hang, not die"),
    Refusal("memory_short", lambda g: g.available_bytes is not None and g.available_bytes < ROOM_BYTES,
            lambda g: f"this machine has {(g.available_bytes or 0) // MIB} MiB of memory available, a drill wants"
            f" {ROOM_BYTES // MIB} MiB"),
    Refusal("little_headroom", lambda g: _tight(g) is not None, _tight_words),
)  # fmt: skip
"""Why a drill is not made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done."""

    name: str  #: of the scratch cgroup
    cgroup: str  #: its path, as the kernel will print it
    directory: str
    version: int
    limit_bytes: int
    refusals: tuple[tuple[str, str], ...]  #: (code, marked words); empty = it may be done

    def steps(self) -> tuple[str, ...]:
        """Return what the drill does, in order (marked)."""
        where, size = mark(self.cgroup, Kind.CGROUP), f"{self.limit_bytes // MIB} MiB"
        return (
            f"make the memory cgroup {where} with a limit of {size} and no swap",
            f"start one process of its own in it, {mark(PROCESS_NAME)}, with oom_score_adj 1000",
            f"let it take memory, {MOST_BYTES // MIB} MiB at the very most, until the kernel kills it",
            "follow the kill through log, counters, names, store and every configured channel",
            "remove the cgroup, whatever happened",
        )


def make_plan(ground: Ground, number: int) -> Plan:
    """Return what a drill on *ground* would do; *number* makes its cgroup's name unique (a pid)."""
    name = f"{DRILL_PREFIX}{number}"
    refusals = tuple((row.code, row.words(ground)) for row in REFUSALS if row.hurts(ground))
    inside = "" if ground.parent == "/" else ground.parent
    return Plan(name, f"{inside}/{name}", f"{ground.directory}/{name}", ground.version or 2, LIMIT_BYTES, refusals)
