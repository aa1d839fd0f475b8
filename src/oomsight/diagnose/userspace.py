"""Events that are no kernel kill: a userspace killer acted, or an allocation failed. What they mean, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight._named import NamedTuple
from oomsight.diagnose.advice import more_reserve
from oomsight.diagnose.knobs import systemctl, unit_of
from oomsight.diagnose.model import Advice, Answers, Cause, Confidence, Evidence
from oomsight.diagnose.scope import managed_kib, page_kib_of
from oomsight.diagnose.wording import count, listing, process, sentence, size
from oomsight.naming.cgroup_path import describe
from oomsight.naming.marked import Kind, mark
from oomsight.report.model import EventKind

if TYPE_CHECKING:
    from oomsight.diagnose.model import GfpWords
    from oomsight.naming.cgroup_path import Owner
    from oomsight.report.model import Killed, OomReport


class Killer(NamedTuple):
    """A userspace killer: what makes it act and where that is set."""

    acts: str
    setting: str
    command: tuple[str, ...]


KILLERS: Final[dict[str, Killer]] = {
    "systemd-oomd": Killer(
        "it kills a whole cgroup when memory pressure stays above a threshold, or when memory and swap are nearly full",
        "ManagedOOMMemoryPressure=, ManagedOOMMemoryPressureLimit= and ManagedOOMSwap= of the unit or its slice, "
        "defaults "
        "in oomd.conf; ManagedOOMPreference=avoid spares a unit",
        ("oomctl",),
    ),
    "earlyoom": Killer(
        "it kills the process with the highest oom_score when available memory and free swap are both below a "
        "percentage",
        "its options -m and -s (thresholds), --prefer and --avoid (names)",
        ("systemctl", "cat", "earlyoom"),
    ),
    "nohang": Killer(
        "it acts on thresholds of available memory, free swap, zram and PSI",
        "its configuration file (thresholds, badness adjustments)",
        ("systemctl", "cat", "nohang"),
    ),
    "oomd": Killer(
        "it kills a cgroup when the detectors of a rule fire (pressure, swap, memory)",
        "its rule set (detectors, actions)",
        ("systemctl", "cat", "oomd"),
    ),
    "lmkd": Killer(
        "Android's low memory killer ends the least important app under memory pressure",
        "the ro.lmkd.* properties and the oom_score_adj the activity manager gives",
        ("getprop",),
    ),
    "lowmemorykiller": Killer(
        "the low memory killer inside older Android kernels ends the biggest process of the least important class when "
        "free memory and page cache are both below that class's mark",
        "/sys/module/lowmemorykiller/parameters (minfree in pages, adj) and the oom_score_adj the activity manager "
        "gives",
        ("sh", "-c", "grep . /sys/module/lowmemorykiller/parameters/*"),
    ),
    "talos": Killer(
        "Talos Linux ends the cgroup that ranks highest when memory pressure triggers its rule",
        "an OOMConfig document (triggerExpression, cgroupRankingExpression)",
        ("talosctl", "get", "oomconfig"),
    ),
    "docker": Killer(
        "its events tell that the kernel's OOM killer acted in a container's cgroup",
        "--memory of docker run, mem_limit of Compose",
        ("docker", "stats", "--no-stream"),
    ),
    "kubelet": Killer(
        "it evicts pods below its eviction thresholds, or reports a kill that the kernel did",
        "evictionHard and evictionSoft of the kubelet, requests and priorities of the pods",
        ("kubectl", "get", "events", "-A", "--field-selector", "reason=Evicted"),
    ),
    "slurm": Killer(
        "it ends or reports a job step that used more than the memory asked for",
        "--mem or --mem-per-cpu of the job",
        ("sacct", "-o", "JobID,MaxRSS,ReqMem,State"),
    ),
    "lsf": Killer(
        "it ends a job that used more memory than its limit",
        "bsub -M (the limit) and -R rusage[mem=…] (what is reserved) of the job",
        ("bjobs", "-l"),
    ),
    "flux": Killer(
        "its shell counts what the kernel killed in the job's cgroup",
        "the memory limit of the job's unit (exec.sdexec-properties, MemoryMax), the job's --nodes and --exclusive",
        ("flux", "jobs", "-a"),
    ),
    "htcondor": Killer(
        "it holds a job that reached the memory it asked for, often after the kernel ended a process in its cgroup",
        "request_memory of the job, CGROUP_MEMORY_LIMIT_POLICY of the execute node",
        ("condor_q", "-hold"),
    ),
    "simple_lmk": Killer(
        "Android's Simple LMK ends the least important apps until enough memory is free",
        "CONFIG_ANDROID_SIMPLE_LMK_MINFREE and _TIMEOUT_MSEC of the kernel",
        ("dmesg",),
    ),
}
"""Killers by the name the parser gives. Sources: the projects' manuals."""

_SPELLED: Final = {
    "docker": "Docker", "flux": "Flux", "htcondor": "HTCondor", "kubelet": "The kubelet", "lsf": "LSF",
    "lowmemorykiller": "The kernel's lowmemorykiller", "slurm": "Slurm", "talos": "Talos",
}  # fmt: skip
"""Names as sentences begin with them, where the parser's differ."""

CODES: Final[dict[str, str]] = {
    "userspace_killer": "A userspace killer acted, not the kernel",
    "kernel_kill_reported": "A daemon reports a kernel OOM kill",
    "allocation_failure": "An allocation failed; nothing was killed",
}
"""Cause codes of these events and their titles."""


def is_userspace(report: OomReport) -> bool:
    """Return whether *report* is one of the events worded here."""
    return report.kind in (EventKind.USERSPACE_KILLER, EventKind.ALLOCATION_FAILURE)


def reports_kernel_kill(report: OomReport) -> bool:
    """Return whether the daemon only reports what the kernel did (kubelet's SystemOOM, Slurm's oom-kill event)."""
    return any(note.code == "reported_not_done" for note in report.notes)


def headline(report: OomReport) -> str:
    """Return one line for an event that is no kernel kill."""
    if report.kind is EventKind.ALLOCATION_FAILURE:
        by = f" for {mark(report.trigger.comm)}" if report.trigger and report.trigger.comm else ""
        return f"{_failure(report)}{by}; the kernel killed nothing"
    if reports_kernel_kill(report):
        return (
            f"{_killer(report)} reports a kernel OOM kill of {_all(report)}; the kernel's own report is not part of it"
        )
    return f"{_killer(report)} {_killed_words(report)}; this is no kernel OOM kill"


def _failure(report: OomReport) -> str:
    mode = report.failure_mode or "allocation failure"
    if "stall" in mode:
        return "A slow page allocation"
    # Our own words are letters; anything else came from the text.
    return (
        f"{mode[:1].upper()}{mode[1:]}"
        if mode.isascii() and mode.replace(" ", "").isalpha()
        else mark(mode, Kind.OWNER)
    )


def summary(report: OomReport, gfp: GfpWords | None = None) -> str:
    """Return plain sentences for an event that is no kernel kill."""
    if report.kind is EventKind.ALLOCATION_FAILURE:
        what = f" It asked for {gfp.words}." if gfp else ""
        slow = "stall" in (report.failure_mode or "")
        told = (
            "The caller waited long for memory and still waits or got it"
            if slow
            else "The caller was told that there is no memory and went on or gave up"
        )
        return (
            f"{headline(report)}.{what} {told}; this is not an OOM kill. {_what_it_means(report, gfp)}"
        )
    reasons = [killed.reason for killed in report.killed if killed.reason]
    if reports_kernel_kill(report):
        said = f" It says: {mark(reasons[0], Kind.OWNER)}." if reasons else ""
        return (
            f"{headline(report)}.{said} Look for the kernel's lines of the same time: they say whose memory it was and "
            "why."
        )
    known = KILLERS.get(report.killer or "")
    acts = f" {sentence(known.acts)}" if known else ""
    why = f" It gives as its reason: {mark(reasons[0], Kind.OWNER)}." if reasons else ""
    if reasons and reasons[0].startswith(("badness", "oom_score ", "adj ")):
        why = f" It was picked by its rank: {mark(reasons[0], Kind.OWNER)}."
    where = f" What it acts on is set in {known.setting}." if known else ""
    return f"{headline(report)}.{acts}{why}{where}"


def causes(report: OomReport, gfp: GfpWords | None = None) -> list[Cause]:
    """Return the one cause of an event that is no kernel kill."""
    line = report.source.first_line
    if report.kind is EventKind.ALLOCATION_FAILURE:
        evidence = [Evidence("the line says allocation failure; no process was killed", line, report.source.last_line)]
        if gfp is not None:
            evidence.append(Evidence(f"the request: {gfp.words}", line, line))
        return [
            Cause(
                "allocation_failure",
                CODES["allocation_failure"],
                Confidence.CERTAIN,
                evidence,
                _failure_advice(report, gfp),
            )
        ]
    known = KILLERS.get(report.killer or "")
    evidence = [
        Evidence(f"{_killer(report)} ended {_one(killed)}", killed.line, killed.line) for killed in report.killed[:5]
    ] or [Evidence(f"{_killer(report)} says that it acted", line, line)]
    if reports_kernel_kill(report):
        look = Advice("read the kernel's report of the same time", ("oomsight", "explain"))
        return [
            Cause(
                "kernel_kill_reported",
                CODES["kernel_kill_reported"],
                Confidence.CERTAIN,
                [Evidence(f"{_killer(report)} names {_named(report)}", line, line)],
                [look, *_set_in(report)],
            )
        ]
    advice = _spare(report)
    if known is not None:
        advice.append(Advice(f"to change when it acts: {known.setting}", known.command))
    return [Cause("userspace_killer", CODES["userspace_killer"], Confidence.CERTAIN, evidence, advice)]


_PRESSURE: Final = lazy(r"memory pressure for (\S+) being ([\d.]+)% > ([\d.]+)% for > (\w+)")
"""The reason of systemd-oomd: cgroup, pressure, limit, and for how long. systemd src/oom/oomd-manager.c"""
_PLAIN_NAME: Final = lazy(r"[\w.-]+$")


def _spare(report: OomReport) -> list[Advice]:
    """How this killer is told to leave this victim alone, with the names and numbers of this case."""
    killed = report.killed[0] if report.killed else None
    if killed is None:
        return []
    if report.killer == "systemd-oomd":
        return [*_avoid(describe(killed.cgroup)), *_later(killed.reason or "")]
    if report.killer == "earlyoom" and killed.comm is not None and _PLAIN_NAME.match(killed.comm):
        name = killed.comm.replace(".", "\\.")
        return [Advice(f"to spare {mark(killed.comm)} as long as others can be ended, start earlyoom with this",
                       snippet=f"--avoid '^{name}$'\n")]  # fmt: skip
    return []


def _avoid(owner: Owner | None) -> list[Advice]:
    """A scope has a name for as long as it lives: nothing to set for the next one."""
    unit = unit_of(owner) if owner is not None else None
    if owner is None or unit is None or not unit.endswith((".service", ".slice")):
        return []
    command = (*systemctl(owner), "set-property", unit, "ManagedOOMPreference=avoid")
    return [Advice(f"to have it end others before {owner.short}", command)]


def _later(reason: str) -> list[Advice]:
    over = _PRESSURE.search(reason)
    watched = describe(over[1]) if over is not None else None
    if over is None or watched is None:
        return []
    return [
        Advice(
            f"to have it act later: raise ManagedOOMMemoryPressureLimit= of {watched.short} ({over[3]} % now) above "
            f"the {over[2]} % it saw, or find what made its processes wait for memory that long ({over[4]})"
        )
    ]


def _named(report: OomReport) -> str:
    """Whom a daemon that only reports names."""
    named = any(killed.comm or killed.cgroup or killed.pid is not None for killed in report.killed)
    return _all(report) if named else "no process"


def _set_in(report: OomReport) -> list[Advice]:
    """Where the limit is set that such a daemon speaks of, if that is its own."""
    known = KILLERS.get(report.killer or "")
    if known is None or report.killer == "kubelet":
        return []
    return [Advice(f"what it may use is set by {known.setting}", known.command)]


_ANY_SIZE: Final = frozenset({"x86_64", "amd64", "aarch64", "arm64", "ppc64le", "s390x", "riscv64"})
"""Architectures whose space for vmalloc is bigger than any memory, as releases name them."""
_AREA_WHY: Final = (
    ("exceeds", "No machine of this size can give that much: the size itself is wrong, or somebody outside chose it."),
    ("failed to alloc", "The pages for it could not all be had: memory was short, or a cgroup's limit refused them."),
)
"""What the reasons mean that mm/vmalloc.c prints, by their first words."""


def _in_vmalloc(report: OomReport) -> bool:
    return "vm" in (report.failure_mode or "")


def _charged(gfp: GfpWords | None) -> bool:
    """Whether the request counts against a cgroup's limit: then it is that limit which refused it."""
    return gfp is not None and bool({"__GFP_ACCOUNT", "GFP_KERNEL_ACCOUNT"}.intersection(gfp.flags))


def _what_it_means(report: OomReport, gfp: GfpWords | None) -> str:
    if _in_vmalloc(report):
        for why, means in _AREA_WHY:
            if (report.failure_why or "").startswith(why):
                return means
        return (
            "The kernel could not build a large area out of single pages: its size is refused, the address space for "
            "such areas is used up (32-bit kernels), or a cgroup's limit refused the pages."
        )
    if _small_and_patient(gfp):
        return (
            "A request this small that may wait is refused only where memory is really short, or where the limit of a "
            "cgroup says so: look for an OOM kill at the same time."
        )
    if _big_and_patient(gfp):
        return (
            "The kernel does not try hard for blocks this big: they fail where free memory lies in pieces, and most "
            "callers go on with smaller ones."
        )
    return (
        "Once in a while it is harmless (network drivers try again); often repeated it means that the reserve of free "
        "memory is too small or too much in pieces."
    )


def _small_and_patient(gfp: GfpWords | None) -> bool:
    """Whether the request may wait and is of an order (up to 3) that the kernel else kills for."""
    return gfp is not None and "may sleep" in gfp.words and (gfp.size_kib or 0) <= 32


def _big_and_patient(gfp: GfpWords | None) -> bool:
    """Whether the request may wait and is of an order above 3, for which the kernel neither tries hard nor kills."""
    return gfp is not None and "may sleep" in gfp.words and (gfp.size_kib or 0) > 32


def _failure_advice(report: OomReport, gfp: GfpWords | None) -> list[Advice]:
    big = report.trigger is None or report.trigger.order is None or report.trigger.order >= 2
    driver = [
        Advice("look for the driver in the stack below the line: big requests (order 2 and more) are its choice")
    ] if big else []  # fmt: skip
    if _charged(gfp):
        limit = Advice(
            "the request counts against a cgroup's limit: raise that limit (memory.max, or memory.kmem.limit_in_bytes "
            "of cgroup v1), more free memory on the host does not help"
        )
        return [limit, *driver]
    if _in_vmalloc(report):
        asks = Advice("look in the stack below the line for who asks for it: its size is the caller's choice")
        if (report.failure_why or "").startswith("exceeds"):
            return [asks]
        advice = [Advice("see what takes the address space of such areas", ("sort", "-k2nr", "/proc/vmallocinfo"))]
        release = (report.trigger.kernel_release if report.trigger else None) or ""
        if not any(name in release for name in _ANY_SIZE):
            advice.append(Advice("on a 32-bit kernel vmalloc=SIZE on its command line makes that space bigger"))
        return [*advice, asks]
    if _small_and_patient(gfp):
        kill = "see whether the kernel killed for want of memory at that time, and whom: that is what there is to mend"
        return [Advice(kill, ("oomsight", "explain")), *driver]
    if _big_and_patient(gfp):
        pieces = "if it comes often, free memory lies too much in pieces: have it put together"
        return [Advice(pieces, ("sysctl", "-w", "vm.compact_memory=1")), *driver]
    managed = managed_kib(report.meminfo, page_kib_of(report))
    return [more_reserve("if it comes often, keep more memory free for requests that cannot wait",
                         managed[0] if managed else None), *driver]  # fmt: skip


def answers(report: OomReport, gfp: GfpWords | None = None) -> Answers:
    """Return the three questions as far as such an event answers them."""
    if report.kind is EventKind.ALLOCATION_FAILURE:
        grew = "Requests that may not wait (interrupts, network receive) live from a small reserve; a burst uses it up."
        if (report.failure_why or "").startswith("exceeds"):
            grew = "Nothing needs to have grown: the size of this one request decided."
        elif _in_vmalloc(report):
            grew = "One moment is shown. Areas that are made and never given back would show in /proc/vmallocinfo."
        elif _big_and_patient(gfp):
            grew = "Nothing needs to have grown: free memory in pieces is enough to fail a block this big."
        elif gfp is not None and "may sleep" in gfp.words:
            grew = "One moment is shown: a request that may wait fails only after reclaim found nothing for it."
        return Answers(
            ["Nothing needs to have used too much: one request could not be met at that moment."],
            [grew],
            ["Nothing was to be stopped: the caller was told, and no process died."],
        )
    sizes = [f"{_one(killed)} held {size(killed.rss_kib)}" for killed in report.killed if killed.rss_kib is not None]
    return Answers(
        [sentence(listing(sizes[:3]))] if sizes else ["Its line does not say how much memory the victim held."],
        ["One line is one moment; the killer's own log around this time shows what it saw."],
        ["The kernel did, by the kill that this line reports."]
        if reports_kernel_kill(report)
        else [
            f"{_killer(report)} is what stopped it, before the kernel had to; the kernel's counters (oom_kill in "
            "/proc/vmstat and memory.events) do not count such a kill."
        ],
    )


def _killer(report: OomReport) -> str:
    return (
        _SPELLED.get(report.killer, report.killer)
        if report.killer in KILLERS
        else mark(report.killer, Kind.OWNER)
        if report.killer
        else "A userspace killer"
    )


def _one(killed: Killed) -> str:
    if killed.comm or killed.pid is not None:
        return process(killed.comm, killed.pid)
    owner = describe(killed.cgroup)
    if owner is not None and owner.kind not in ("cgroup", "root"):
        return owner.short  # the whole path is among the facts
    return f"cgroup {mark(killed.cgroup, Kind.CGROUP)}" if killed.cgroup else "a process it does not name"


def _all(report: OomReport) -> str:
    if not report.killed:
        return "a process it does not name"
    if len(report.killed) > 2:
        return f"{_one(report.killed[0])} and {count(len(report.killed) - 1, 'other')}"
    return listing([_one(killed) for killed in report.killed])


def _killed_words(report: OomReport) -> str:
    return f"ended {_all(report)}" if report.killed else "acted; whom it ended is not in this text"
