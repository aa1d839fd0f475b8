"""
Settings that will hurt when memory runs out: a small table of facts about a host.

Only what decides about out-of-memory is here; ``audit`` looks at everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from oomsight._named import NamedTuple
from oomsight.proc.machine import MemInfo  # noqa: TC001 - read at run time by dataclass

Weight = Literal["bad", "warn", "note"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table looks at. ``None`` = not known, then nothing is said."""

    memory: MemInfo
    sysctl: Mapping[str, int] = field(default_factory=dict)  #: below /proc/sys/vm, those that could be read
    psi: bool | None = None  #: /proc/pressure/memory can be read
    memory_cgroups: bool | None = None  #: there is a hierarchy with the memory controller


class Hurt(NamedTuple):
    """One thing that is set so that it will hurt."""

    code: str
    weight: Weight
    text: str  #: what is, and what it means
    cure: str  #: what to do, or where it is a choice, why one may leave it


class Row(NamedTuple):
    """One row: when it applies, and what is said."""

    code: str
    weight: Weight
    applies: Callable[[Facts], bool | None]
    words: Callable[[Facts], str]
    cure: str
    source: str


def _is(name: str, *values: int) -> Callable[[Facts], bool]:
    return lambda facts: facts.sysctl.get(name) in values


def _swap(facts: Facts) -> int:
    return facts.memory.swap_total_kib or 0


def _share(facts: Facts, kib: int | None) -> float:
    return 0.0 if kib is None or not facts.memory.mem_total_kib else 100 * kib / facts.memory.mem_total_kib


def _idle_huge(facts: Facts) -> int:
    fields = facts.memory.fields
    free = fields.get("HugePages_Free", 0) - fields.get("HugePages_Rsvd", 0)
    return max(free, 0) * fields.get("Hugepagesize", 0)


def _commit_pct(facts: Facts) -> float:
    fields = facts.memory.fields
    return 100 * fields.get("Committed_AS", 0) / (fields.get("CommitLimit") or 1)


_VM: Final = "Documentation/admin-guide/sysctl/vm.rst"

HURTS: Final[tuple[Row, ...]] = (
    Row("panic_on_oom", "bad", _is("panic_on_oom", 1, 2),
        lambda f: f"vm.panic_on_oom = {f.sysctl['panic_on_oom']}: out of memory stops the whole machine"
                  + (", even when only a cgroup is full" if f.sysctl["panic_on_oom"] == 2 else ""),
        "sysctl vm.panic_on_oom=0, unless a cluster fails over by it", f"{_VM} panic_on_oom"),
    Row("overcommit_never", "warn", _is("overcommit_memory", 2),
        lambda f: f"vm.overcommit_memory = 2: allocations fail at the commit limit, {_commit_pct(f):.0f} % of it is"
                  " promised already",
        "right where programs handle a failed malloc; else 0", f"{_VM} overcommit_memory"),
    Row("overcommit_always", "note", _is("overcommit_memory", 1),
        lambda _: "vm.overcommit_memory = 1: nothing is refused, however large; the OOM killer is what is left",
        "0 unless a program (Redis fork, sparse arrays) needs it", f"{_VM} overcommit_memory"),
    Row("kill_allocating", "warn", _is("oom_kill_allocating_task", 1),
        lambda _: "vm.oom_kill_allocating_task = 1: who asks for memory dies, not who holds it",
        "0 lets the kernel choose by size and oom_score_adj", f"{_VM} oom_kill_allocating_task"),
    Row("no_swap", "note", lambda f: f.memory.swap_total_kib == 0,
        lambda _: "no swap: what processes hold cannot be moved out; when RAM is full, the kernel kills at once",
        "a little swap or zram buys minutes in which an alarm helps", "mm/vmscan.c can_reclaim_anon_pages()"),
    Row("swappiness_0", "warn", lambda f: _is("swappiness", 0)(f) and _swap(f) > 0,
        lambda _: "vm.swappiness = 0: swap is used only when files are nearly all dropped (3.5+)",
        "10 or more, and memory.swap.max where a cgroup must not swap", f"{_VM} swappiness"),
    Row("min_free", "warn", lambda f: _share(f, f.sysctl.get("min_free_kbytes")) > 5,
        lambda f: f"vm.min_free_kbytes keeps {_share(f, f.sysctl.get('min_free_kbytes')):.0f} % of RAM from everybody",
        "below 5 % of RAM", f"{_VM} min_free_kbytes"),
    Row("idle_hugepages", "warn", lambda f: _share(f, _idle_huge(f)) > 5,
        lambda f: f"huge pages that nobody uses hold {_share(f, _idle_huge(f)):.0f} % of RAM",
        "lower vm.nr_hugepages", "Documentation/admin-guide/mm/hugetlbpage.rst"),
    Row("no_psi", "warn", lambda f: f.psi is False,
        lambda _: "no pressure information (PSI): systemd-oomd and the pressure alarms are blind",
        "boot with psi=1 (kernel 4.20 or newer)", "Documentation/accounting/psi.rst"),
    Row("no_memory_cgroups", "warn", lambda f: f.memory_cgroups is False,
        lambda _: "no memory cgroups: no limit protects one service from another",
        "boot without cgroup_disable=memory", "Documentation/admin-guide/cgroup-v2.rst"),
    Row("no_dump", "note", _is("oom_dump_tasks", 0),
        lambda _: "vm.oom_dump_tasks = 0: reports of kills will not say who held the memory",
        "1, unless there are tens of thousands of tasks", f"{_VM} oom_dump_tasks"),
)  # fmt: skip
"""All of them, the worst first."""

SYSCTLS: Final = ("panic_on_oom", "overcommit_memory", "oom_kill_allocating_task", "swappiness", "min_free_kbytes",
                  "oom_dump_tasks")  # fmt: skip
"""Files below /proc/sys/vm that the table needs."""


def hurts(facts: Facts) -> Iterator[Hurt]:
    """Yield what applies, the worst first."""
    for row in HURTS:
        if row.applies(facts):
            yield Hurt(row.code, row.weight, row.words(facts), row.cure)
