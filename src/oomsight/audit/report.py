"""What an audit found: the value that every sink shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from oomsight.audit.model import Finding, Severity

KIND_WORDS: Final[dict[str, tuple[str, str]]] = {
    "pod": ("pod template", "pod templates"),
    "namespace": ("namespace bound", "namespace bounds"),
    "kubelet": ("kubelet configuration", "kubelet configurations"),
    "compose": ("compose service", "compose services"),
    "dockerfile": ("Dockerfile", "Dockerfiles"),
    "unit": ("systemd unit", "systemd units"),
    "config": ("configuration file", "configuration files"),
    "container": ("container", "containers"),
    "process": ("process", "processes"),
    "program": ("program of a known runtime", "programs of known runtimes"),
}
"""Kinds of things an audit counts, one and many."""


@dataclass(slots=True)
class AuditReport:
    """Findings, worst first, and what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    of: str = "files"  #: ``files`` or ``host``
    title: str = ""  #: marked: what was audited, ``deploy/`` or a host's name
    files: int = 0  #: files read
    seen: Counter[str] = field(default_factory=Counter)  #: how many of each of :data:`KIND_WORDS`
    failed: list[str] = field(default_factory=list)  #: what was asked for and could not be read, and why; plain text
    remarks: list[str] = field(default_factory=list)  #: marked: what could not be seen, and what would show it

    def open(self) -> list[Finding]:
        """Return the findings that are not suppressed."""
        return [finding for finding in self.findings if finding.suppressed is None]

    def worst(self) -> Severity | None:
        """Return the worst severity that is not suppressed; ``None`` = nothing found."""
        return max((finding.severity for finding in self.open()), default=None)

    def counts(self) -> dict[Severity, int]:
        """Return how many open findings there are of each severity, worst first."""
        found = Counter(finding.severity for finding in self.open())
        return {severity: found[severity] for severity in reversed(Severity) if found[severity]}

    def sort(self) -> None:
        """Put the findings in order: worst first, then by place."""
        self.findings.sort(key=lambda finding: finding.order)


def counted(seen: Counter[str]) -> str:
    """Return ``3 pod templates, 1 compose service``."""
    words = []
    for kind, (one, many) in KIND_WORDS.items():
        if seen[kind]:
            words.append(f"{seen[kind]} {one if seen[kind] == 1 else many}")
    return ", ".join(words) or "nothing to audit"
