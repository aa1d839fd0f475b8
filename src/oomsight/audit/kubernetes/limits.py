"""Rules about requests, limits and what the namespace adds to them (OS401 to OS409)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._sizes import MIB, size_words
from oomsight.audit.kubernetes.samples import deployment, pod
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.quantity import kubernetes_words
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.kubernetes.model import Container, PodCase, Quantity

LEAST_BYTES: Final = 4 * MIB
"""Below it a container cannot even start: runc and its init need about this much (runc, libcontainer/init_linux.go)."""

NODE_CRITICAL: Final = "system-node-critical"
"""Its pods have oom_score_adj -997 whatever they request, and are not evicted (pkg/kubelet/qos/policy.go)."""


def _partial(case: PodCase) -> bool:
    """Whether this is a patch (kustomize, strategic merge): containers that only say what they change."""
    return all(container.image is None for container in case.pod.containers)


def best_effort(case: PodCase) -> bool:
    """Whether the pod's quality of service is BestEffort: no container requests or limits memory or CPU."""
    pod_ = case.pod
    if pod_.request is not None or pod_.limit is not None or not pod_.containers:
        return False
    for container in pod_.containers:
        effective = case.effective(container)
        if container.has_cpu or effective.request_bytes is not None or effective.limit_bytes is not None:
            return False
        if container.request is not None or container.limit is not None:
            return False
    return True


def _no_limit(case: PodCase, _: Settings) -> Iterator[Hit]:
    if _partial(case) or case.pod.limit is not None:
        return
    for container in case.pod.containers:
        if container.limit is None and case.effective(container).limit_bytes is None:
            request = case.effective(container).request_bytes
            least = kubernetes_words(request) if request else "SIZE"
            once = container.kind == "init"
            yield Hit(
                container.resources_where, container.subject,
                "has no memory limit: it may take the whole node, and the node's OOM killer then chooses among all pods",
                evidence=(f"it requests {size_words(request)}",) if request else (),
                advice=("set limits.memory to its peak plus a margin (oomsight rightsize knows the peak)",),
                fix=Fix(f"resources:\n  limits:\n    memory: {least}", "yaml"),
                severity=Severity.LOW if once else None,
            )  # fmt: skip


def _no_request(case: PodCase, _: Settings) -> Iterator[Hit]:
    pod_ = case.pod
    if _partial(case) or best_effort(case) or pod_.request or pod_.limit or pod_.priority_class == NODE_CRITICAL:
        return
    for container in case.pod.running():
        if container.request is None and case.effective(container).request_bytes is None:
            yield Hit(
                container.resources_where, container.subject,
                "requests no memory: the scheduler counts it as nothing, and the kernel's OOM killer takes it early",
                evidence=("oom_score_adj of a Burstable container is 1000 - 1000 * request / node memory: here 999",),
                advice=("request what it usually holds",),
                fix=Fix("resources:\n  requests:\n    memory: SIZE", "yaml"),
            )  # fmt: skip


def _below_request(case: PodCase, _: Settings) -> Iterator[Hit]:
    for container in case.pod.containers:
        if container.limit is None and container.request is None:
            continue
        effective = case.effective(container)
        limit, request = effective.limit_bytes, effective.request_bytes
        if limit is None or request is None or limit >= request:
            continue
        source = f" from {effective.limit_from}" if effective.limit_from else ""
        where = (container.limit or container.request).where  # type: ignore[union-attr]  # one is there
        yield Hit(
            where, container.subject,
            f"its memory limit{source} ({size_words(limit)}) is below its request ({size_words(request)}): "
            "the API server refuses the pod",
            advice=("raise the limit, or lower the request",),
            fix=Fix(f"limits:\n  memory: {kubernetes_words(request)}", "yaml"),
        )  # fmt: skip


def _far_above(case: PodCase, settings: Settings) -> Iterator[Hit]:
    for container in case.pod.running():
        effective = case.effective(container)
        limit, request = effective.limit_bytes, effective.request_bytes
        if not limit or not request or limit < settings.limit_to_request * request:
            continue
        if limit - request < 128 * MIB:  # small change on any node
            continue
        source = f" from {effective.limit_from}" if effective.limit_from else ""
        yield Hit(
            container.limit.where if container.limit else container.resources_where, container.subject,
            f"its memory limit{source} is {limit / request:.1f} times its request: nodes are promised memory they do "
            "not have",
            evidence=(
                f"request {size_words(request)}, limit {size_words(limit)}; "
                f"{limit // request} such pods fit a node that can feed one of them",
            ),
            advice=("request what it usually holds, and keep the limit near; equal for what must not be evicted",),
        )  # fmt: skip


def _best_effort(case: PodCase, _: Settings) -> Iterator[Hit]:
    if best_effort(case) and not _partial(case) and case.pod.priority_class != NODE_CRITICAL:
        first = case.pod.containers[0]
        yield Hit(
            first.where, case.pod.subject,
            "no container requests or limits anything (quality of service BestEffort): first to be killed and first to "
            "be evicted",
            evidence=("kubelet gives BestEffort containers oom_score_adj 1000",),
            advice=("give every container at least a memory request",),
            fix=Fix("resources:\n  requests:\n    memory: SIZE\n  limits:\n    memory: SIZE", "yaml"),
        )  # fmt: skip


def _wrong_quantity(case: PodCase, _: Settings) -> Iterator[Hit]:
    for subject, what, quantity in case.pod.quantities():
        yield from wrong(subject, what, quantity)


def wrong(subject: str, what: str, quantity: Quantity, least_bytes: int = LEAST_BYTES) -> Iterator[Hit]:
    """Yield what is wrong with *quantity*, called *what*, of which less than *least_bytes* is too little."""
    size = quantity.size
    shown = mark(quantity.text, Kind.ID)
    if size.problem is not None:
        fix = Fix(f"memory: {size.meant}", "yaml") if size.meant else None
        meant = (f"probably meant: {size.meant}",) if size.meant else ()
        yield Hit(quantity.where, subject, f"{what} {shown} {size.problem}", advice=meant, fix=fix)
    elif size.size_bytes is not None and 0 < size.size_bytes < least_bytes and "sizeLimit" not in what:
        digits = quantity.text.rstrip("kKi")
        meant = (f"probably meant: {digits}Mi",) if digits.isdecimal() and len(digits) < 6 else ()
        yield Hit(
            quantity.where, subject, f"{what} {shown} is {size_words(size.size_bytes)}: nothing can start in that",
            advice=meant, severity=None if "limit" in what else Severity.MEDIUM,
        )  # fmt: skip


def _outside_range(case: PodCase, _: Settings) -> Iterator[Hit]:
    for row in case.cluster.range_of(case.pod):
        for container in case.pod.containers:
            yield from _against(case, container, row)


def _against(case: PodCase, container: Container, row: object) -> Iterator[Hit]:
    from oomsight.audit.kubernetes.model import LimitRange

    assert isinstance(row, LimitRange)
    effective = case.effective(container)
    limit, request = effective.limit_bytes, effective.request_bytes
    where = container.limit.where if container.limit else container.resources_where
    most = row.maximum.value_bytes if row.maximum else None
    least = row.minimum.value_bytes if row.minimum else None
    ratio = float(row.ratio.text) if row.ratio and row.ratio.text.replace(".", "", 1).isdecimal() else None
    if most is not None and limit is not None and limit > most:
        yield Hit(
            where, container.subject,
            f"its limit {size_words(limit)} is above what {row.subject} allows ({size_words(most)}): the pod is refused",
            fix=Fix(f"limits:\n  memory: {kubernetes_words(most)}", "yaml"),
        )  # fmt: skip
    elif most is not None and limit is None and case.pod.limit is None:
        yield Hit(
            where, container.subject, f"it has no limit, and {row.subject} wants one of at most {size_words(most)}",
            fix=Fix(f"limits:\n  memory: {kubernetes_words(most)}", "yaml"),
        )  # fmt: skip
    if least is not None and request is not None and request < least:
        yield Hit(
            container.request.where if container.request else where, container.subject,
            f"its request {size_words(request)} is below what {row.subject} allows ({size_words(least)}): "
            "the pod is refused",
            fix=Fix(f"requests:\n  memory: {kubernetes_words(least)}", "yaml"),
        )  # fmt: skip
    if ratio and limit and request and limit > ratio * request:
        yield Hit(
            where, container.subject,
            f"its limit is {limit / request:.1f} times its request; {row.subject} allows {ratio:g}: the pod is refused",
        )  # fmt: skip


def _mixed_qos(case: PodCase, _: Settings) -> Iterator[Hit]:
    running = case.pod.containers
    if len(running) < 2 or case.pod.limit is not None or best_effort(case) or _partial(case):
        return
    guaranteed = [c for c in running if (e := case.effective(c)).limit_bytes and e.limit_bytes == e.request_bytes]
    others = [c for c in running if c not in guaranteed]
    if not guaranteed or not others or len(others) >= len(guaranteed):
        return
    if not all(c.cpu_limit and c.cpu_limit == (c.cpu_request or c.cpu_limit) for c in guaranteed):
        return  # not meant to be Guaranteed
    names = ", ".join(mark(c.name, Kind.OWNER) for c in others)
    yield Hit(
        others[0].resources_where, others[0].subject,
        "takes the pod out of quality of service Guaranteed: all containers lose its protection (oom_score_adj -997)",
        evidence=(f"limit equals request everywhere but in {names}",),
        advice=("give it limits equal to its requests, CPU and memory",),
    )  # fmt: skip


_SOURCE_MANAGE: Final = "Kubernetes documentation, Resource Management for Pods and Containers"
_SOURCE_QOS: Final = "kubernetes, pkg/kubelet/qos/policy.go (GetContainerOOMScoreAdjust)"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS401", "Container without a memory limit", Severity.MEDIUM, "pod", _no_limit,
        what="a container without `limits.memory`, and no LimitRange or pod-level limit that gives one.",
        why="its cgroup has memory.max = max: only the node ends its growth.",
        leads="when the node runs out, the kernel's OOM killer compares all pods on it; a neighbour that requested little "
        "dies for this one's leak, or kubelet evicts.",
        how="set `limits.memory` from the recorded peak plus a margin; give namespaces a LimitRange with a default.",
        source=_SOURCE_MANAGE,
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 256Mi}"),
        passing=deployment("requests: {memory: 256Mi}, limits: {memory: 512Mi}"),
    ),
    Rule(
        "OS402", "Container without a memory request", Severity.MEDIUM, "pod", _no_request,
        what="a container that has neither a memory request nor a limit that would become one, in a pod that is not "
        "BestEffort.",
        why="the scheduler places the pod as if it needed no memory, and the kernel's protection follows the request.",
        leads="nodes fill beyond their RAM, and the container has oom_score_adj 999: it goes before all that asked.",
        how="request what it usually holds.",
        source=_SOURCE_QOS,
        sample_name="deployment.yaml",
        failing=deployment("requests: {cpu: 100m}"),
        passing=deployment("requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}"),
    ),
    Rule(
        "OS403", "Memory limit below the request", Severity.HIGH, "pod", _below_request,
        what="`limits.memory` (or the default of a LimitRange) less than `requests.memory`.",
        why="the API server refuses such a pod; with a LimitRange's default it fails only in that namespace.",
        leads="the old version keeps running with the old limit while everybody believes it was raised.",
        how="raise the limit to the request at least.",
        source="kubernetes, pkg/apis/core/validation (must be less than or equal to memory limit)",
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 512Mi}, limits: {memory: 512M}"),
        passing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}"),
    ),
    Rule(
        "OS404", "Memory limit far above the request", Severity.MEDIUM, "pod", _far_above,
        what="a limit at least three times the request (`limit-to-request`) and 128 MiB above it.",
        why="the scheduler counts requests; what lies between request and limit is promised to several pods at once.",
        leads="when two of them use what they were promised the node is out of memory, and what dies is decided there, "
        "not by any of these limits.",
        how="bring the request near to what it holds; for what must not be evicted make both equal.",
        source=_SOURCE_MANAGE,
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 256Mi}, limits: {memory: 4Gi}"),
        passing=deployment("requests: {memory: 3Gi}, limits: {memory: 4Gi}"),
    ),
    Rule(
        "OS405", "Pod of quality of service BestEffort", Severity.HIGH, "pod", _best_effort,
        what="a pod none of whose containers requests or limits memory or CPU.",
        why="BestEffort containers run with oom_score_adj 1000, the highest there is.",
        leads="whatever fills the node, this pod is killed first, however small it is; kubelet evicts it first, too.",
        how="give every container a memory request; equal requests and limits make the pod Guaranteed.",
        source=_SOURCE_QOS,
        sample_name="deployment.yaml",
        failing=deployment(""),
        passing=deployment("requests: {memory: 256Mi}, limits: {memory: 512Mi}"),
    ),
    Rule(
        "OS406", "Memory quantity that says something else", Severity.HIGH, "pod", _wrong_quantity,
        what="a quantity Kubernetes refuses (`512MB`, `1 Gi`), or one that means far less than it looks like: `128m` is "
        "0.128 bytes, `512` is 512 bytes.",
        why="`m` is the suffix for thousandths, made for CPUs.",
        leads="a limit of one byte kills the container before its program has begun; a request of one byte protects "
        "nothing.",
        how="write Ki, Mi or Gi.",
        source="kubernetes, apimachinery/pkg/api/resource/quantity.go",
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 128m}, limits: {memory: 512MB}"),
        passing=deployment("requests: {memory: 128Mi}, limits: {memory: 256Mi}"),
    ),
    Rule(
        "OS407", "Container outside the LimitRange of its namespace", Severity.HIGH, "pod", _outside_range,
        what="request or limit outside of what a LimitRange in the audited set allows in the same namespace.",
        why="the pod is refused when it is made, and a Deployment goes on with its old pods silently.",
        leads="the raise of a limit that was to end the kills never arrives.",
        how="stay within the range, or change the range first.",
        source="Kubernetes documentation, Limit Ranges",
        sample_name="deployment.yaml",
        failing=pod("requests: {memory: 1Gi}, limits: {memory: 4Gi}", extra="""\
---
apiVersion: v1
kind: LimitRange
metadata: {name: bounds}
spec:
  limits:
  - {type: Container, max: {memory: 2Gi}}
"""),
        passing=pod("requests: {memory: 1Gi}, limits: {memory: 2Gi}", extra="""\
---
apiVersion: v1
kind: LimitRange
metadata: {name: bounds}
spec:
  limits:
  - {type: Container, max: {memory: 2Gi}}
"""),
    ),
    Rule(
        "OS408", "One container ends the pod's guarantee", Severity.LOW, "pod", _mixed_qos,
        what="a pod whose containers all have limits equal to their requests, but for one or a few.",
        why="quality of service belongs to the pod: one container that is not sized makes all of it Burstable.",
        leads="the main container loses oom_score_adj -997 and is scored by its size again.",
        how="size the sidecar and init containers the same way, limits equal to requests.",
        source=_SOURCE_QOS,
        sample_name="pod.yaml",
        failing=pod(
            "requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}",
            containers="  - {name: cache, image: 'memcached:1.6', resources: {requests: {cpu: 1, memory: 64Mi}, "
            "limits: {cpu: 1, memory: 64Mi}}}\n  - {name: log, image: 'fluent-bit:3', resources: {requests: {memory: "
            "32Mi}, limits: {memory: 64Mi}}}\n",
        ),
        passing=pod(
            "requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}",
            containers="  - {name: log, image: 'fluent-bit:3', resources: {requests: {cpu: 1, memory: 64Mi}, "
            "limits: {cpu: 1, memory: 64Mi}}}\n",
        ),
    ),
)  # fmt: skip
