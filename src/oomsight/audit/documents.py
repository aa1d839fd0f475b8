"""One YAML document -> what is in it -> findings: which rules get to see what."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from oomsight.audit.engine import run
from oomsight.audit.files import ACTION, Comment, Unread
from oomsight.audit.kubernetes.cluster import Asked
from oomsight.audit.kubernetes.kustomize import changes
from oomsight.audit.kubernetes.model import (
    Cluster,
    ConfigMap,
    KubeletConfig,
    LimitRange,
    Pod,
    PodCase,
    PriorityClass,
    Quota,
    same_namespace,
)
from oomsight.audit.kubernetes.programs import pod_programs
from oomsight.audit.kubernetes.read import is_object, objects
from oomsight.audit.suppress import apply, suppressions
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.kubernetes.read import Object
    from oomsight.audit.model import Finding, Rule, Settings, Where
    from oomsight.audit.program import Program
    from oomsight.audit.tree import Node


class Demand(NamedTuple):
    """What one workload asks of its namespace: for quotas."""

    namespace: str | None
    where: Where
    subject: str
    replicas: int
    limit_bytes: int | None
    request_bytes: int | None


@dataclass(slots=True)
class Outcome:
    """What came of some files; adds up."""

    findings: list[Finding] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    demands: list[Demand] = field(default_factory=list)
    templates: list[Unread] = field(default_factory=list)
    no_yaml: int = 0  #: files not read because there is no PyYAML

    def add(self, other: Outcome) -> None:
        """Take in what came of other files."""
        self.findings += other.findings
        self.seen += other.seen
        self.demands += other.demands
        self.templates += other.templates
        self.no_yaml += other.no_yaml


@dataclass(frozen=True, slots=True)
class Auditor:
    """Rules, thresholds and what is known of the cluster: everything a file is held against."""

    rules: Sequence[Rule]
    settings: Settings
    cluster: Cluster
    audited: frozenset[str] = frozenset()  #: paths of the files that are audited anyway, normalised
    _by_scope: dict[str, list[Rule]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.rules:
            self._by_scope.setdefault(rule.scope, []).append(rule)

    def run(self, scope: str, subject: object) -> Iterator[Finding]:
        """Yield what the rules for *scope* find."""
        return run(self._by_scope.get(scope, ()), scope, subject, self.settings)

    def programs(self, programs: Iterable[Program]) -> Iterator[Finding]:
        """Yield what the runtime rules find about *programs*."""
        if self.settings.runtime_estimates:
            for program in programs:
                yield from self.run("program", program)

    def unread(self, subject: Unread) -> list[Finding]:
        """Return the finding that something could not be audited."""
        return list(self.run("unread", subject))


def is_template(text: str) -> bool:
    """Whether *text*, which is no YAML or odd YAML, is a template that somebody has to render first."""
    return bool(ACTION.search(text))


def has_template_keys(node: Node) -> bool:
    """Whether a document composed from unrendered text: ``{{ .Values.x }}`` is a mapping whose key is a mapping."""
    todo = [node.raw]
    looked: set[int] = set()
    while todo:
        raw = todo.pop()
        if raw.id == "scalar" or id(raw) in looked:
            continue
        looked.add(id(raw))
        if raw.id == "mapping":
            for key, value in raw.value:
                if key.id == "mapping":
                    return True
                todo.append(value)
        else:
            todo.extend(raw.value)
    return False


def judged(findings: list[Finding], text: str, first_line: int, name: str, auditor: Auditor) -> list[Finding]:
    """Return *findings* of a text with its suppressions applied, and what is wrong with those."""
    comments = suppressions(text, first_line)
    if not comments:
        return findings
    kept, used = apply((finding for finding in findings if finding.where.path == name), comments)
    kept += (finding for finding in findings if finding.where.path != name)
    for comment in comments:
        kept += auditor.run("comment", Comment(name, comment, comment in used))
    return kept


def cluster_of(found: Iterable[Object], cluster: Cluster) -> None:
    """Add what *found* says about namespaces to *cluster*."""
    for thing in found:
        match thing:
            case LimitRange():
                cluster.ranges.append(thing)
            case Quota():
                cluster.quotas.append(thing)
            case PriorityClass():
                cluster.classes[thing.name] = thing
            case ConfigMap():
                cluster.config_maps.setdefault((thing.namespace, thing.name), []).append(thing)


def audit_objects(node: Node, path: str, auditor: Auditor, into: Outcome) -> bool:
    """Audit a Kubernetes document; return whether it is one."""
    if not is_object(node):
        return False
    for thing in objects(node, path):
        match thing:
            case Pod():
                if thing.windows:
                    continue
                into.seen["pod"] += 1
                case_ = PodCase(thing, auditor.cluster)
                into.findings += auditor.run("pod", case_)
                into.findings += auditor.programs(pod_programs(case_))
                into.demands.append(_demand(case_))
                _placeholder(thing, path, into)
            case LimitRange():
                into.seen["namespace"] += 1
                into.findings += auditor.run("limitrange", thing)
            case Quota():
                into.seen["namespace"] += 1
                into.findings += auditor.run("quota", thing)
            case PriorityClass():
                into.findings += auditor.run("priorityclass", thing)
            case KubeletConfig():
                into.seen["kubelet"] += 1
                into.findings += auditor.run("kubelet", thing)
    return True


def _placeholder(pod: Pod, path: str, into: Outcome) -> None:
    for subject, what, quantity in pod.quantities():
        if quantity.is_placeholder:
            words = f"{subject}: {what} {mark(quantity.text, Kind.ID)} is filled in by something else: audit the text with "
            into.templates.append(Unread(path, quantity.where.line, None, words + "its values", "values"))
            return


def kustomization(node: Node, path: str) -> Unread | None:
    """Return what of the kustomization *node* is not rendered here; ``None`` = its files are what is applied."""
    found = changes(node)
    if not found:
        return None
    folder = posixpath.dirname(path) or "."
    words = f"not rendered here: {', '.join(found)}; its files are audited as they lie"
    render = f"kubectl kustomize {shlex.quote(folder)} | oomsight audit -"
    return Unread(path, node.place.line, None, words, "kustomization", render)


def _demand(case: PodCase) -> Demand:
    limits, requests = 0, 0
    limited = requested = True
    for container in case.pod.running():
        effective = case.effective(container)
        limited &= effective.limit_bytes is not None
        requested &= effective.request_bytes is not None
        limits += effective.limit_bytes or 0
        requests += effective.request_bytes or 0
    replicas = case.pod.replicas if case.pod.replicas is not None else 1
    return Demand(
        case.pod.namespace, case.pod.where, case.pod.subject, replicas, limits if limited else None, requests if requested else None
    )


def quotas_asked(demands: Iterable[Demand], cluster: Cluster) -> Iterator[Asked]:
    """Yield each quota of *cluster* with what the workloads of its namespace ask for."""
    everyone = list(demands)
    for quota in cluster.quotas:
        here = [demand for demand in everyone if same_namespace(quota, demand.namespace, demand.where)]
        if here:
            yield Asked(
                quota,
                sum((demand.limit_bytes or 0) * demand.replicas for demand in here),
                sum((demand.request_bytes or 0) * demand.replicas for demand in here),
                [demand.subject for demand in here if demand.limit_bytes is None],
                len(here),
            )
