"""Rules about numbers of tasks, userspace killers, cgroups that cannot work, and zram."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.audit.host.people import KILLERS
from oomsight.audit.host.row import host_rule as _rule
from oomsight.audit.host.row import sysctl_fix
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark
from oomsight.proc.memcg import ancestors

if TYPE_CHECKING:
    from oomsight.audit.host.facts import HostFacts

STACK_KIB: Final = 16  #: THREAD_SIZE of x86-64 and arm64 with pages of 4 KiB
_INFINITY: Final = re.compile(r"^\s*DefaultTasksMax\s*=\s*infinity\s*$", re.MULTILINE)


def _tasks(host: HostFacts, _: Settings) -> Iterator[Hit]:
    found = [(number, name) for name in ("kernel.pid_max", "kernel.threads-max") if (number := host.number(name))]
    if found and host.snapshot is not None:
        most, name = min(found)
        count = sum(process.stat.num_threads for process in host.snapshot.processes)
        if count * 5 > most * 4:
            words = f"{count:,} of {most:,} tasks are taken: soon no process and no thread can start"
            fix = sysctl_fix(name, 2 * most)
            yield Hit(Where(key=name), name, words, (f"{name} = {most}",), (), fix,
                      Severity.HIGH if count * 20 > most * 19 else None)  # fmt: skip
    ram = host.ram_kib
    if ram and len(found) == 2 and (least := min(found)[0]) * STACK_KIB * 2 > ram:
        words = (
            f"{least:,} tasks are allowed, and their kernel stacks alone take {least * STACK_KIB * 100 // ram} % of RAM"
        )
        fix = sysctl_fix("kernel.threads-max", ram // 8 // STACK_KIB)
        evidence = f"kernel.threads-max, kernel.pid_max: {least} or more; a stack is {STACK_KIB} KiB"
        yield Hit(Where(key="kernel.threads-max"), "kernel.threads-max", words, (evidence,), (), fix, Severity.LOW)
    if _INFINITY.search(host.texts.get("/etc/systemd/system.conf", "")):
        words = (
            "no unit has a limit of tasks: one fork bomb fills the host with processes too small to be worth killing"
        )
        yield Hit(Where(key="DefaultTasksMax"), "DefaultTasksMax", words, ("/etc/systemd/system.conf: infinity",), (),
                  Fix("[Manager]\nDefaultTasksMax=15%", "ini"))  # fmt: skip
    for path, tasks in host.pids.items():
        if isinstance(tasks.limit, int) and tasks.current is not None and tasks.current * 10 >= tasks.limit * 9:
            words = f"{tasks.current:,} of {tasks.limit:,} tasks are taken: fork() fails, and a JVM ends with OutOfMemoryError"
            yield Hit(Where(key=path), mark(path, Kind.CGROUP), words, (f"pids.max = {tasks.limit}",),
                      ("raise TasksMax= or --pids-limit, or find out who does not end its threads",))  # fmt: skip


def _nobody(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.snapshot is None or len(host.snapshot.processes) < 2:
        return
    if not any(process.comm in KILLERS for process in host.snapshot.processes):
        old = any(mount.fs_type == "cgroup" and "memory" in mount.super_options for mount in host.mounts)
        oomd = not old and "/proc/pressure/memory" in host.texts and bool(host.memory.swap_total_kib)
        words = "nobody acts before the kernel does, and the kernel waits until nothing can be reclaimed"
        name = "systemd-oomd" if oomd else "earlyoom"
        evidence = f"no process is called {', '.join(sorted(KILLERS))}"
        advice = () if oomd else ("the other, systemd-oomd, needs cgroup v2, PSI and swap",)
        yield Hit(
            Where(key="killers"), "userspace killers", words, (evidence,), advice, Fix(f"apt install {name}", "sh")
        )


def _switched_off(host: HostFacts, _: Settings) -> Iterator[Hit]:
    line = re.search(r"^memory\s+\d+\s+\d+\s+0\s*$", host.texts.get("/proc/cgroups", ""), re.MULTILINE)
    if line is None:
        return
    told = "cgroup_disable=memory" in host.texts.get("/proc/cmdline", "")
    words = "memory cgroups are switched off: no MemoryMax=, no container limit and no pod limit has any effect"
    fix = "cgroup_enable=memory on the kernel command line" + (", and no cgroup_disable=memory" if told else "")
    yield Hit(Where(key="cgroup"), "cgroup", words, ("/proc/cgroups: memory is not enabled",), (), Fix(fix))


def _big_zram(host: HostFacts, _: Settings) -> Iterator[Hit]:
    ram = host.ram_kib
    rows = [line.split() for line in host.texts.get("/proc/swaps", "").splitlines()]
    total = sum(int(row[2]) for row in rows if len(row) > 2 and row[0].startswith("/dev/zram") and row[2].isdecimal())
    if ram and total > 2 * ram:
        words = (
            f"zram promises {size_words(total << 10)} of swap out of {size_words(ram << 10)} of RAM: data compress two to three "
            "times, and what does not fit is taken from RAM that is not there"
        )
        yield Hit(Where(key="zram"), "zram", words, ("/proc/swaps",), (f"a disksize of {size_words(ram << 10)} or less",))


def _all_protected(host: HostFacts, _: Settings) -> Iterator[Hit]:
    if host.snapshot is None:
        return
    inside: dict[str, list[int]] = {}
    for process in host.snapshot.processes:
        if process.cgroup is not None and not process.stat.is_kthread and process.oom_score_adj is not None:
            for path in ancestors(process.cgroup):
                inside.setdefault(path, []).append(process.oom_score_adj)
    for path, memcg in host.snapshot.cgroups.items():
        if path != "/" and isinstance(memcg.limit_bytes, int) and set(inside.get(path, ())) == {-1000}:
            count = len(inside[path])
            words = "all of it is protected (oom_score_adj -1000): at its limit there is nobody to kill, and it stalls"
            limit = f"limit {size_words(memcg.limit_bytes)}, {count} process{'' if count == 1 else 'es'}"
            yield Hit(Where(key=path), mark(path, Kind.CGROUP), words, (limit,), ("use -900",))


_CGROUPS: Final = (
    "# /proc/cgroups\n#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t60\t1\nmemory\t0\t60\t{}\n"
)
_ZRAM: Final = "# /proc/swaps\nFilename Type Size Used Priority\n/dev/zram0 partition {} 0 100\n"

RULES: Final[tuple[Rule, ...]] = (
    _rule(117, "limits of tasks too high, absent or used up", Severity.MEDIUM, _tasks,
          "Each task costs a kernel stack and page tables, which only the end of the task gives back.",
          "Without a limit a fork bomb fills RAM; with one used up, programs die with OutOfMemoryError while memory is free.",
          "DefaultTasksMax=15 % (systemd's default), TasksMax= for what needs more, and threads-max as the kernel chose it.",
          "Documentation/admin-guide/sysctl/kernel.rst, threads-max and pid_max; cgroup-v2.rst, pids.max",
          "# /pids\n/system.slice/web.service 950 1000\n", "# /pids\n/system.slice/web.service 100 1000\n"),
    _rule(126, "no userspace killer", Severity.INFO, _nobody,
          "The kernel looks at memory that cannot be reclaimed, not at how long everything already waits.",
          "A host can thrash for minutes, unreachable, before the kernel kills.",
          "systemd-oomd, or earlyoom; one of them.", "systemd-oomd.service(8), earlyoom(1)",
          "# /processes\n1 systemd 5 0 /a max\n9 sshd 5 0 /b max\n", "# /processes\n1 systemd 5 0 /a max\n9 earlyoom 5 0 /b max\n"),
    _rule(127, "memory cgroups are switched off", Severity.HIGH, _switched_off,
          "Some distributions for small boards boot with cgroup_disable=memory.",
          "Limits are accepted and do nothing; the first leak is an OOM of the whole host.",
          "cgroup_enable=memory on the kernel command line.", "Documentation/admin-guide/kernel-parameters.txt, cgroup_disable=",
          _CGROUPS.format(0), _CGROUPS.format(1)),
    _rule(128, "zram bigger than what compression can hold", Severity.LOW, _big_zram,
          "A zram device takes its memory from RAM as it fills.",
          "The kernel swaps to a device that needs more RAM for it: the kill comes with swap free.",
          "A disksize of about RAM, or a mem_limit.", "Documentation/admin-guide/blockdev/zram.rst",
          _ZRAM.format(30_000_000), _ZRAM.format(4_000_000)),
    _rule(129, "a limited cgroup in which nobody can be chosen", Severity.MEDIUM, _all_protected,
          "oom_score_adj -1000 counts inside a cgroup as well.",
          "The kernel finds no victim and lets the allocation fail or wait; every kill attempt is logged, none helps.",
          "-900 instead of -1000.", "mm/oom_kill.c select_bad_process(), mm/memcontrol.c try_charge_memcg()",
          "# /processes\n9 db 100 -1000 /db 500\n10 sshd 5 0 /b max\n", "# /processes\n9 db 100 -900 /db 500\n10 sshd 5 0 /b max\n"),
)  # fmt: skip
"""Rules OS117 and OS126 to OS129."""
