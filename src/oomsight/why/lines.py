"""
What daemons write when they end something: one row per line, from the text alone (kernel lines are not here).

Texts come from the journal (``MESSAGE``) or from a syslog file behind its carrier. A row's named groups fill the
fields of a :class:`~oomsight.why.evidence.Fact`; ``{…}`` in its words are those groups, marked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from oomsight.naming.marked import Kind, mark
from oomsight.why.evidence import Fact, FactKind
from oomsight.why.signals import signal_number

_UNIT = r"(?P<unit>[^\s/:]+\.(?:service|scope|socket|mount|swap|slice)): "
_ID = r"(?P<container>[0-9a-f]{12,64})"
_Q = r"\\*\""  # quotes inside logfmt values are escaped, once or twice


@dataclass(frozen=True, slots=True)
class LineRule:
    """One line: who writes it, its shape, an example, and what it says in words."""

    kind: FactKind
    pattern: re.Pattern[str]
    hint: str  #: a literal part of every such line, to pass over the others quickly
    sample: str
    words: str
    source: str
    signal: int | None = None  #: the signal it speaks of, where the text names none


def _rule(  # noqa: PLR0917 - columns of a table
    kind: FactKind, pattern: str, hint: str, sample: str, words: str, source: str, signal: int | None = None
) -> LineRule:
    return LineRule(kind, re.compile(pattern), hint, sample, words, source, signal)


LINE_RULES: Final[tuple[LineRule, ...]] = (
    # systemd, PID 1 or a user's instance
    _rule(FactKind.EXIT,
          rf"{_UNIT}[Mm]ain process exited, code=(?P<code>\w+), status=(?P<status>\d+)(?:/(?P<name>\S+))?",
          "ain process exited, code=", "flux.service: Main process exited, code=killed, status=9/KILL",
          "systemd: the main process of {unit} ended, code {code}, status {status}/{name}",
          "systemd src/core/service.c"),
    _rule(FactKind.RESULT, rf"{_UNIT}Failed with result '(?P<result>[\w-]+)'", "Failed with result",
          "flux.service: Failed with result 'timeout'.", "systemd: {unit} failed with result {result}",
          "systemd src/core/unit.c"),
    _rule(FactKind.UNIT_OOM, rf"{_UNIT}(?:A process of this unit has been killed by the OOM killer|"
          r"The kernel OOM killer killed some processes in this unit)", "OOM killer",
          "web.service: A process of this unit has been killed by the OOM killer.",
          "systemd saw that the kernel OOM killer killed a process of {unit}", "systemd src/core/unit.c"),
    _rule(FactKind.UNIT_OOMD, rf"{_UNIT}systemd-oomd killed (?:\d+|some) process", "systemd-oomd killed",
          "web.service: systemd-oomd killed 3 process(es) in this unit.",
          "systemd saw that systemd-oomd killed in {unit}",
          "systemd src/core/unit.c, 248"),
    _rule(FactKind.STOP_TIMEOUT, rf"{_UNIT}State '(?P<state>(?:stop|final)-[\w-]+)' timed out\. "
          r"(?:Killing|Terminating|Aborting)", "timed out. ", "flux.service: State 'stop-sigterm' timed out. Killing.",
          "systemd: {unit} did not stop in time ({state})", "systemd src/core/service.c", 9),
    _rule(FactKind.STOP_TIMEOUT, rf"{_UNIT}(?:Stopping|stop-sigterm|stop-final-sigterm) timed out\. Killing",
          "timed out. Killing", "session-3.scope: Stopping timed out. Killing.",
          "systemd: {unit} did not stop in time", "systemd src/core/scope.c, service.c before 236", 9),
    _rule(FactKind.SIGNAL_SENT, rf"{_UNIT}Watchdog timeout \(limit (?P<limit>[^)]+)\)!", "Watchdog timeout",
          "web.service: Watchdog timeout (limit 30s)!", "systemd: the watchdog of {unit} ran out, it gets SIGABRT",
          "systemd src/core/service.c", 6),
    _rule(FactKind.SIGNAL_SENT, rf"{_UNIT}Sent signal SIG(?P<signame>\w+) to (?:main|control) process (?P<pid>\d+) "
          r"\((?P<comm>.*)\) on client request", "on client request",
          "web.service: Sent signal SIGKILL to main process 4242 (web) on client request.",
          "systemd sent SIG{signame} to the main process of {unit} because somebody asked (systemctl kill)",
          "systemd src/core/unit.c, 250"),
    _rule(FactKind.SIGNAL_SENT,
          rf"{_UNIT}Killing process (?P<pid>\d+) \((?P<comm>.*)\) with signal SIG(?P<signame>\w+)",
          "Killing process ", "flux.service: Killing process 1640 (flux-broker-0) with signal SIGKILL.",
          "systemd sent SIG{signame} to {comm} (pid {pid}) of {unit}", "systemd src/core/unit.c"),
    # dockerd
    _rule(FactKind.STOP_TIMEOUT, rf"Container(?: {_ID})? failed to exit within (?P<grace>\d+ ?s\w*) of "
          r"(?:signal (?P<first>\d+)|kill)", "failed to exit within",
          'msg="Container failed to exit within 10s of signal 15 - using the force" container=' + "3f" * 32,
          "dockerd: the container did not exit within {grace} of the stop signal", "moby daemon/stop.go", 9),
    # containerd's CRI plugin
    _rule(FactKind.SIGNAL_SENT, rf"Stop container {_Q}{_ID}{_Q} with signal (?P<signame>\w+)", "Stop container ",
          r'msg="Stop container \"' + "3f" * 32 + r'\" with signal terminated"',
          "containerd was asked to stop the container and sent {signame}", "containerd pkg/cri container_stop.go"),
    _rule(FactKind.STOP_TIMEOUT, rf"Kill container {_Q}{_ID}{_Q}", "Kill container ",
          r'msg="Kill container \"' + "3f" * 32 + r'\""',
          "containerd killed the container: it had not stopped within its grace period",
          "containerd pkg/cri container_stop.go", 9),
    _rule(FactKind.RUNTIME_OOM, rf"TaskOOM event .*?(?:container_id|ContainerID):{_Q}?{_ID}", "TaskOOM event",
          r'msg="TaskOOM event container_id:\"' + "3f" * 32 + r'\""',
          "containerd was told of an OOM kill in the container", "containerd pkg/cri events.go"),
    _rule(FactKind.RUNTIME_OOM, rf"container oom {_ID} \(", "container oom ", f"container oom {'3f' * 32} (name=web)",
          "docker was told of an OOM kill in the container", "docker events"),
    # kubelet
    _rule(FactKind.EVICTION, rf'Eviction manager: pod is evicted successfully{_Q} pod={_Q}(?P<pod>[^"\\]+)',
          "is evicted successfully",
          '"Eviction manager: pod is evicted successfully" pod="sre/infras-logstash-d484d57fc-rkx95"',
          "kubelet: it evicted pod {pod}", "kubernetes pkg/kubelet/eviction, 1.21"),
    _rule(FactKind.EVICTION, r"eviction manager: pod (?P<oldpod>\S+) is evicted successfully",
          "is evicted successfully",
          "eviction manager: pod api-7d9f_payments(8dbc2f0a-54a5-4b3e-9c5d-0123456789ab) is evicted successfully",
          "kubelet: it evicted pod {oldpod}", "kubernetes pkg/kubelet/eviction before 1.21"),
    _rule(FactKind.RECLAIM, rf"must evict pod\(s\) to reclaim{_Q}? ?(?:resourceName={_Q})?(?P<resource>[\w-]+)",
          "must evict pod(s) to reclaim", '"Eviction manager: must evict pod(s) to reclaim" resourceName="memory"',
          "kubelet: it has to evict pods to get back {resource}", "kubernetes pkg/kubelet/eviction"),
    _rule(FactKind.PROBE,
          r"Container \\*\"?(?P<name>[\w.-]+)\\*\"? failed (?P<probe>liveness|startup) probe, will be restarted",
          "probe, will be restarted", 'containerMessage="Container web failed liveness probe, will be restarted"',
          "kubelet: container {name} failed its {probe} probe and is restarted", "kubernetes pkg/kubelet/kuberuntime"),
)  # fmt: skip

_CONTAINER: Final = re.compile(r'\bcontainer(?:ID)?="?(?:\w+://)?([0-9a-f]{12,64})\b')
_POD: Final = re.compile(r'\bpod="([^"]+)"')
_OLD_POD: Final = re.compile(r"(?P<name>[^_\s]+)_(?P<namespace>[^(\s]+)\((?P<uid>[0-9a-f-]+)\)")
_NUMBERS: Final = frozenset({"status", "pid"})


def read_line(text: str, *, at: float | None = None, source: str = "journal") -> Fact | None:
    """Return what *text* says about an end or a kill, or ``None``. Never raises."""
    for rule in LINE_RULES:
        if rule.hint in text and (match := rule.pattern.search(text)):
            return _fact(rule, match, text, at, source)
    return None


def _fact(rule: LineRule, match: re.Match[str], text: str, at: float | None, source: str) -> Fact:
    groups = {name: value for name, value in match.groupdict().items() if value is not None}
    signal = signal_number(groups["signame"]) if "signame" in groups else rule.signal
    status = int(groups["status"][:6]) if "status" in groups else None
    if rule.kind is FactKind.EXIT and groups.get("code") in {"killed", "dumped"}:
        signal, status = status, None
    container = groups.get("container") or (m[1] if (m := _CONTAINER.search(text)) else None)
    pod = groups.get("pod") or (m[1] if (m := _POD.search(text)) else None)
    if "oldpod" in groups and (m := _OLD_POD.fullmatch(groups["oldpod"])):
        pod = f"{m['namespace']}/{m['name']}"
    shown = {name: value if name in _NUMBERS else mark(value, Kind.OWNER) for name, value in groups.items()}
    words = rule.words.format_map(_Blank(shown)).removesuffix("/")
    pid = int(groups["pid"][:10]) if "pid" in groups else None
    return Fact(
        rule.kind, source, words, at, pid=pid, comm=groups.get("comm"), unit=groups.get("unit"), signal=signal,
        status=status, result=groups.get("result"), container_id=container, pod=pod,
    )  # fmt: skip


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""
