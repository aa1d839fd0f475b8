"""
What a verdict is made from and what it looks like.

A :class:`Subject` is the thing asked about with its last known state, a :class:`Fact` one thing some source said
about an end or a kill, with its time. Times are unix seconds; ``None`` = not known. ``text`` is marked text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from oomsight.naming.cgroup_path import describe, is_ancestor, split

if TYPE_CHECKING:
    from oomsight.attribute.model import Attribution
    from oomsight.diagnose.model import Advice, Confidence

SubjectKind = Literal["process", "name", "unit", "container", "pod"]


class EndedBy(StrEnum):
    """Who or what ended the subject."""

    KERNEL_OOM = "kernel_oom"
    SYSTEMD_OOMD = "systemd_oomd"
    EARLYOOM = "earlyoom"
    NOHANG = "nohang"
    OOMD = "oomd"
    LMKD = "lmkd"
    KUBELET_EVICTION = "kubelet_eviction"
    STOP_TIMEOUT = "stop_timeout"  #: asked to stop, did not in time, then SIGKILL
    PLAIN_SIGKILL = "plain_sigkill"  #: SIGKILL that no OOM killer sent
    STOPPED = "stopped"  #: asked to stop (SIGTERM) and did
    OTHER_SIGNAL = "other_signal"  #: a crash (SIGSEGV, SIGABRT, …) or another signal
    EXITED_ITSELF = "exited_itself"
    ALIVE = "alive"
    UNKNOWN = "unknown"


class FactKind(StrEnum):
    """What a fact is about."""

    KERNEL_KILL = "kernel_kill"  #: the kernel OOM killer killed a process
    USERSPACE_KILL = "userspace_kill"  #: an OOM daemon signalled a process or cgroup
    RUNTIME_OOM = "runtime_oom"  #: a container runtime was told of an OOM in the container's cgroup
    UNIT_OOM = "unit_oom"  #: systemd noticed a kernel OOM kill in the unit
    UNIT_OOMD = "unit_oomd"  #: systemd noticed that systemd-oomd killed in the unit
    EVICTION = "eviction"  #: the kubelet evicted the pod
    RECLAIM = "reclaim"  #: the kubelet says which resource it evicts for
    PROBE = "probe"  #: a liveness or startup probe failed; the kubelet restarts the container
    SIGNAL_SENT = "signal_sent"  #: somebody asked a runtime or systemd to send a signal
    STOP_TIMEOUT = "stop_timeout"  #: a stop request ran out of time, SIGKILL follows
    EXIT = "exit"  #: the main process ended, with status or signal
    RESULT = "result"  #: systemd's result of the unit
    COUNTER = "counter"  #: a cgroup's own OOM counters


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a source said."""

    kind: FactKind
    source: str  #: where it was read: ``kernel log``, ``docker``, ``journal``, a file name
    text: str  #: marked, one sentence without its full stop
    at: float | None = None
    pid: int | None = None
    comm: str | None = None
    cgroup: str | None = None  #: of the process, as the host sees it
    limit_cgroup: str | None = None  #: whose limit was hit
    unit: str | None = None
    container_id: str | None = None
    pod: str | None = None  #: ``namespace/name`` or uid
    signal: int | None = None
    status: int | None = None  #: exit status, of :attr:`FactKind.EXIT` without signal
    result: str | None = None
    killer: str | None = None
    incident: str | None = None  #: id of the incident ``explain`` tells


@dataclass(frozen=True, slots=True)
class Subject:
    """The thing asked about, in its last known state."""

    kind: SubjectKind
    asked: str  #: as the user wrote it, raw
    alive: bool | None = None
    pid: int | None = None  #: of a process; of a unit or container: its main process while it lives
    comm: str | None = None
    unit: str | None = None
    container_id: str | None = None
    container: str | None = None
    pod: str | None = None
    namespace: str | None = None
    pod_uid: str | None = None
    cgroup: str | None = None
    started: float | None = None  #: of the current or last run
    ended: float | None = None
    exit_code: int | None = None  #: 0-255, as a shell shows it (128 + signal)
    signal: int | None = None  #: that ended the main process; ``None`` = not known to be a signal
    oom_flag: bool | None = None  #: the runtime's OOMKilled flag or reason
    evicted: bool = False  #: the runtime or API says Evicted
    result: str | None = None  #: systemd's Result
    restarts: int | None = None
    runtime: str | None = None
    attribution: Attribution | None = None

    @property
    def ended_by_signal(self) -> int | None:
        """The signal the main process died of, read from the exit code where nobody says more; ``None`` = none."""
        if self.signal is not None:
            return self.signal
        return self.exit_code - 128 if self.exit_code is not None and 128 < self.exit_code <= 128 + 64 else None

    def holds(self, path: str | None) -> bool:
        """Whether the cgroup *path* is the subject's or inside it."""
        if path is None:
            return False
        own = self.cgroup if self.cgroup and any(split(self.cgroup)[1]) else None
        if own is not None and (is_ancestor(own, path) or _same(own, path)):
            return True
        owner = describe(path)
        while owner is not None:
            if self.container_id and owner.container_id and same_id(owner.container_id, self.container_id):
                return True
            if self.pod_uid and owner.pod_uid == self.pod_uid and not self.container_id:
                return True
            if self.unit and not self.container_id and self.unit in split(owner.path)[1]:
                return True
            owner = owner.nested
        return False


def _same(a: str, b: str) -> bool:
    return list(filter(None, split(a)[1])) == list(filter(None, split(b)[1]))


def same_id(a: str, b: str) -> bool:
    """Whether two container ids are one: logs and people shorten them, to 12 digits at least."""
    a, b = a.rstrip("…."), b.rstrip("….")
    return a == b or (min(len(a), len(b)) >= 12 and (a.startswith(b) or b.startswith(a)))


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the sources cover: only where they do is silence evidence."""

    kernel_log: bool = False  #: some kernel log could be read
    kernel_from: float | None = None  #: oldest moment it covers; ``None`` = not known
    missing: tuple[str, ...] = ()  #: sources that could not be read, one plain line each with what would give them

    def kernel_log_at(self, at: float | None) -> bool:
        """Whether a kernel OOM kill at *at* would be in the log that was read."""
        return self.kernel_log and (at is None or self.kernel_from is None or self.kernel_from <= at)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who ended it, how sure that is, and why."""

    ended_by: EndedBy
    confidence: Confidence
    headline: str  #: marked, one line
    reason: str  #: marked, one or two sentences: what the verdict rests on
    subject: Subject
    at: float | None  #: when it ended
    decisive: tuple[Fact, ...]  #: the facts the verdict rests on
    timeline: tuple[Fact, ...]  #: all facts about the subject, oldest first, decisive ones included
    notes: tuple[str, ...] = ()  #: marked: flags that mislead, children that died, runs that followed
    settles: tuple[str, ...] = ()  #: marked: what would make it certain; plain lines about missing sources
    advice: tuple[Advice, ...] = ()
