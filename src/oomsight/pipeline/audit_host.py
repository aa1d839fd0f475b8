"""A host in, findings out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.audit.engine import chosen, run
from oomsight.audit.registry import rules
from oomsight.audit.report import AuditReport
from oomsight.naming.marked import Kind, mark
from oomsight.sources.host_facts import read_host

if TYPE_CHECKING:
    from oomsight.audit.host.facts import HostFacts
    from oomsight.audit.settings import Config


def audit_host(config: Config, ignore: tuple[str, ...] = (), root: str = "/") -> AuditReport:
    """
    Audit the host below *root*.

    :raises SourceError: no host is there
    """
    return audit_facts(read_host(root), config, ignore, root)


def audit_facts(host: HostFacts, config: Config, ignore: tuple[str, ...] = (), root: str = "/") -> AuditReport:
    """Audit what was read of a host."""
    title = "this host" if root == "/" else mark(root, Kind.FILE)
    report = AuditReport(of="host", title=title, remarks=[f"not seen: {line}" for line in host.unseen])
    if host.snapshot is not None:
        report.seen["process"] = len(host.snapshot.processes)
    for finding in run(chosen(rules(), config.select, ignore), "host", host, config.settings):
        reason = next((row.reason for row in config.ignore if row.covers(finding)), None)
        report.findings.append(finding if reason is None else finding.because(reason))
    report.sort()
    return report
