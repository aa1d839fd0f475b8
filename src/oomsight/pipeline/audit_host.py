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
    from oomsight.audit.model import Finding
    from oomsight.audit.settings import Config


def audit_host(config: Config, ignore: tuple[str, ...] = (), root: str = "/") -> AuditReport:
    """
    Audit the host below *root*.

    :raises SourceError: no host is there
    """
    from oomsight.pipeline.audit_live import audit_live

    host = read_host(root)
    report = audit_facts(host, config, ignore, root)
    if host.snapshot is not None:
        outcome, unseen = audit_live(host.snapshot, chosen(rules(), config.select, ignore), config, root)
        report.findings += [_accepted(finding, config) for finding in outcome.findings]
        report.seen += outcome.seen
        report.remarks += [f"not seen: {line}" for line in unseen]
        report.sort()
    return report


def audit_facts(host: HostFacts, config: Config, ignore: tuple[str, ...] = (), root: str = "/") -> AuditReport:
    """Audit what was read of a host."""
    title = "this host" if root == "/" else mark(root, Kind.FILE)
    report = AuditReport(of="host", title=title, remarks=[f"not seen: {line}" for line in host.unseen])
    if host.snapshot is not None:
        report.seen["process"] = len(host.snapshot.processes)
    for finding in run(chosen(rules(), config.select, ignore), "host", host, config.settings):
        report.findings.append(_accepted(finding, config))
    report.sort()
    return report


def _accepted(finding: Finding, config: Config) -> Finding:
    if finding.suppressed is None:
        reason = next((row.reason for row in config.ignore if row.covers(finding)), None)
        if reason is not None:
            return finding.because(reason)
    return finding
