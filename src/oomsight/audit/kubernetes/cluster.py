"""Rules about what bounds many pods: LimitRange, ResourceQuota, PriorityClass, the kubelet (OS420 to OS429)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from oomsight._sizes import MIB, size_words
from oomsight.audit.kubernetes.limits import LEAST_BYTES, wrong
from oomsight.audit.kubernetes.read import quantity
from oomsight.audit.kubernetes.samples import deployment
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.kubernetes.model import KubeletConfig, LimitRange, PriorityClass, Quota


def _range(row: LimitRange, _: Settings) -> Iterator[Hit]:
    named = {"default": row.default, "defaultRequest": row.default_request, "max": row.maximum, "min": row.minimum}
    for name, value in named.items():
        if value is not None:
            yield from wrong(row.subject, f"{name} of memory", value, least_bytes=0 if name == "min" else LEAST_BYTES)
    order = [(name, named[name]) for name in ("min", "defaultRequest", "default", "max")]
    given = [(name, value) for name, value in order if value is not None and value.value_bytes is not None]
    for (low, lower), (high, upper) in itertools.pairwise(given):
        if (lower.value_bytes or 0) > (upper.value_bytes or 0):
            yield Hit(
                lower.where, row.subject,
                f"{low} ({mark(lower.text, Kind.ID)}) is above {high} ({mark(upper.text, Kind.ID)}): pods that give "
                "nothing are refused",
            )  # fmt: skip


def _range_without_limit(row: LimitRange, _: Settings) -> Iterator[Hit]:
    if row.kind == "Container" and row.default is None and row.maximum is None:
        yield Hit(
            row.where, row.subject, "gives containers no default memory limit: those without one may take the node",
            fix=Fix("default:\n  memory: SIZE\ndefaultRequest:\n  memory: SIZE", "yaml"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A quota and what the workloads of its namespace ask for, all replicas together."""

    quota: Quota
    limits_bytes: int
    requests_bytes: int
    unlimited: Sequence[str]  #: marked: workloads with a container that has no limit
    workloads: int


def _quota_sum(asked: Asked, _: Settings) -> Iterator[Hit]:
    for name, given, total in (
        ("limits.memory", asked.quota.limits, asked.limits_bytes),
        ("requests.memory", asked.quota.requests, asked.requests_bytes),
    ):
        allowed = given.value_bytes if given else None
        if given is not None and allowed is not None and total > allowed:
            yield Hit(
                given.where, asked.quota.subject,
                f"{name} allows {size_words(allowed)}; the {asked.workloads} workloads of its namespace ask for "
                f"{size_words(total)}: the last pods are refused",
                advice=("raise the quota, or lower limits; a rollout needs room for one more pod of each",),
            )  # fmt: skip


def _quota_unlimited(asked: Asked, _: Settings) -> Iterator[Hit]:
    if asked.quota.limits is not None and asked.unlimited:
        names = ", ".join(asked.unlimited[:5]) + (" and others" if len(asked.unlimited) > 5 else "")
        yield Hit(
            asked.quota.limits.where, asked.quota.subject,
            f"limits.memory is bounded, so pods without a memory limit are refused: {names}",
            advice=("give them limits, or the namespace a LimitRange with a default",),
        )  # fmt: skip


def _class(row: PriorityClass, _: Settings) -> Iterator[Hit]:
    if row.is_default and row.value is not None and row.value > 0:
        yield Hit(
            row.where, row.subject,
            f"is the default with value {row.value}: every pod that says nothing is as important as those that should be",
            advice=("let the default be 0, and name the few classes above it",),
        )  # fmt: skip


_EVICTION_DEFAULTS: Final = "memory.available<100Mi,nodefs.available<10%,imagefs.available<15%,nodefs.inodesFree<5%"


def _eviction(config: KubeletConfig, _: Settings) -> Iterator[Hit]:
    hard = config.node.get("evictionHard")
    path = config.where.path or ""
    place = config.node.key_place("evictionHard")
    where = Where(path, place.line, place.column)
    merge = config.node.get("mergeDefaultEvictionSettings")
    if hard is not None and hard.get("memory.available") is None and not (merge and merge.truth()):
        yield Hit(
            where, config.subject,
            "evictionHard is given without memory.available: the default of 100Mi is gone, nothing is evicted for memory",
            evidence=("thresholds that are not written are 0 as soon as one is (mergeDefaultEvictionSettings is off)",),
            fix=Fix('evictionHard:\n  memory.available: "500Mi"', "yaml"),
        )  # fmt: skip
    elif hard is not None:
        yield from _small_threshold(config, hard, path)
    soft = config.node.get("evictionSoft", "memory.available")
    if soft is not None and config.node.get("evictionSoftGracePeriod", "memory.available") is None:
        spot = soft.place
        yield Hit(
            Where(path, spot.line, spot.column), config.subject,
            "evictionSoft for memory.available has no evictionSoftGracePeriod: the kubelet does not start",
            fix=Fix('evictionSoftGracePeriod:\n  memory.available: "1m30s"', "yaml"),
        )  # fmt: skip


def _small_threshold(config: KubeletConfig, hard: Any, path: str) -> Iterator[Hit]:
    value = quantity(hard, path, "memory.available")
    if value is None or value.text.endswith("%"):
        return
    if value.size.problem is not None:
        yield from wrong(config.subject, "evictionHard memory.available", value)
    elif value.value_bytes is not None and value.value_bytes < 100 * MIB:
        yield Hit(
            value.where, config.subject,
            f"eviction begins at {size_words(value.value_bytes)} of free memory: the kernel's OOM killer is there first",
            evidence=("kubelet looks every 10 s (housekeeping); a process can take more than that in one of them",),
            fix=Fix('evictionHard:\n  memory.available: "500Mi"', "yaml"),
            severity=Severity.MEDIUM,
        )  # fmt: skip


def _reserved(config: KubeletConfig, _: Settings) -> Iterator[Hit]:
    parts = [config.node.get(key, "memory") for key in ("systemReserved", "kubeReserved")]
    if not any(parts):
        yield Hit(
            config.where, config.subject,
            "reserves no memory for the system and the kubelet: pods are promised all of the node's RAM",
            advice=("reserve what sshd, journald, the runtime and the kubelet hold: 0.5 to 1 GiB and some per cent",),
            fix=Fix("systemReserved:\n  memory: 512Mi\nkubeReserved:\n  memory: 512Mi", "yaml"),
        )  # fmt: skip


def _swap(config: KubeletConfig, _: Settings) -> Iterator[Hit]:
    behaviour = config.node.get("memorySwap", "swapBehavior")
    fails = config.node.get("failSwapOn")
    if behaviour is not None and behaviour.text == "LimitedSwap" and (fails is None or fails.truth() is not False):
        place = behaviour.place
        yield Hit(
            Where(config.where.path, place.line, place.column), config.subject,
            "memorySwap asks for LimitedSwap, but failSwapOn is not false: with swap on the kubelet does not start",
            fix=Fix("failSwapOn: false\nmemorySwap:\n  swapBehavior: LimitedSwap", "yaml"),
        )  # fmt: skip


def _limit_range(*rows: str) -> str:
    lines = "".join(f"    {row}\n" for row in rows)
    return f"apiVersion: v1\nkind: LimitRange\nmetadata: {{name: bounds}}\nspec:\n  limits:\n  - type: Container\n{lines}"


def _kubelet(*rows: str) -> str:
    return "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n" + "".join(f"{r}\n" for r in rows)


def _quota(limits: str) -> str:
    return (
        f"---\napiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: team}}\nspec:\n  hard: {{limits.memory: {limits}}}\n"
    )


_KUBELET: Final = "Kubernetes documentation, Node-pressure Eviction; kubelet config v1beta1"
_RESERVED: Final = "systemReserved: {memory: 512Mi}"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS420", "LimitRange that contradicts itself", Severity.HIGH, "limitrange", _range,
        what="a LimitRange with a wrong quantity, or whose minimum, default request, default and maximum are out of order.",
        why="the defaults are written into every pod that gives nothing.",
        leads="a default of `256m` is a limit of one byte for a whole namespace.",
        how="min ≤ defaultRequest ≤ default ≤ max, with Mi or Gi.",
        source="Kubernetes documentation, Limit Ranges",
        sample_name="limitrange.yaml",
        failing=_limit_range("default: {memory: 4Gi}", "max: {memory: 2Gi}"),
        passing=_limit_range("default: {memory: 1Gi}", "max: {memory: 2Gi}"),
    ),
    Rule(
        "OS421", "LimitRange without a default limit", Severity.LOW, "limitrange", _range_without_limit,
        what="a LimitRange for containers that has neither `default` nor `max` for memory.",
        why="it is there to bound a namespace and does not.",
        leads="pods of the namespace run without memory limits (OS401).",
        how="add `default` and `defaultRequest`.",
        source="Kubernetes documentation, Limit Ranges",
        sample_name="limitrange.yaml",
        failing=_limit_range("defaultRequest: {memory: 256Mi}"),
        passing=_limit_range("defaultRequest: {memory: 256Mi}", "default: {memory: 512Mi}"),
    ),
    Rule(
        "OS422", "Workloads ask for more than their quota", Severity.MEDIUM, "asked", _quota_sum,
        what="limits or requests of all workloads of a namespace, times their replicas, above its ResourceQuota.",
        why="the last pods are refused, and a rollout stops half way.",
        leads="raised limits do not arrive; fewer replicas carry the load and are killed for it.",
        how="raise the quota or lower the sum.",
        source="Kubernetes documentation, Resource Quotas",
        sample_name="quota.yaml",
        failing=deployment("requests: {memory: 1Gi}, limits: {memory: 1Gi}") + _quota("1Gi"),
        passing=deployment("requests: {memory: 1Gi}, limits: {memory: 1Gi}") + _quota("4Gi"),
    ),
    Rule(
        "OS423", "Quota that refuses pods without a limit", Severity.MEDIUM, "asked", _quota_unlimited,
        what="a ResourceQuota for `limits.memory` beside workloads whose containers have no memory limit.",
        why="where the sum is bounded every pod has to give its part.",
        leads="the pods are refused; whoever is in a hurry removes the quota, and then nothing bounds the namespace.",
        how="give limits, or a LimitRange with a default.",
        source="Kubernetes documentation, Resource Quotas",
        sample_name="quota.yaml",
        failing=deployment("requests: {memory: 1Gi}") + _quota("4Gi"),
        passing=deployment("requests: {memory: 1Gi}, limits: {memory: 1Gi}") + _quota("4Gi"),
    ),
    Rule(
        "OS424", "Default priority above zero", Severity.LOW, "priorityclass", _class,
        what="a PriorityClass with `globalDefault: true` and a positive value.",
        why="importance that everybody has is none.",
        leads="under memory pressure the kubelet evicts by usage above request among equals; what should survive does not.",
        how="a default of 0, and classes above it for the few.",
        source="Kubernetes documentation, Pod Priority and Preemption",
        sample_name="priority.yaml",
        failing="apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: high}\nvalue: 100000\n"
        "globalDefault: true\n",
        passing="apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: high}\nvalue: 100000\n",
    ),
    Rule(
        "OS425", "Eviction that does not see memory", Severity.HIGH, "kubelet", _eviction,
        what="a KubeletConfiguration whose `evictionHard` has no `memory.available`, or too little; a soft threshold "
        "without its grace period.",
        why="eviction is what should act before the kernel has to; the kubelet chooses by priority and request, the "
        "kernel by size.",
        leads="the node runs into a global OOM, which can hit any process of it.",
        how="`memory.available: 500Mi` or 5 %, whichever is more.",
        source=_KUBELET + f" (defaults: {_EVICTION_DEFAULTS})",
        sample_name="kubelet.yaml",
        failing=_kubelet(_RESERVED, 'evictionHard: {nodefs.available: "10%"}'),
        passing=_kubelet(_RESERVED, 'evictionHard: {memory.available: "500Mi", nodefs.available: "10%"}'),
    ),
    Rule(
        "OS426", "Nothing reserved for the system", Severity.MEDIUM, "kubelet", _reserved,
        what="a KubeletConfiguration with neither `systemReserved` nor `kubeReserved` for memory.",
        why="allocatable is then all of RAM but the eviction threshold.",
        leads="pods that stay within their requests still push the node into OOM, and system daemons are among the "
        "candidates.",
        how="reserve what the system holds.",
        source="Kubernetes documentation, Reserve Compute Resources for System Daemons",
        sample_name="kubelet.yaml",
        failing=_kubelet('evictionHard: {memory.available: "500Mi"}'),
        passing=_kubelet(_RESERVED, 'evictionHard: {memory.available: "500Mi"}'),
    ),
    Rule(
        "OS427", "Swap asked for and refused", Severity.MEDIUM, "kubelet", _swap,
        what="`memorySwap.swapBehavior: LimitedSwap` without `failSwapOn: false`.",
        why="failSwapOn is true unless it is written.",
        leads="after the next restart the node has no kubelet, or somebody turns swap off: no cushion before OOM.",
        how="set `failSwapOn: false`.",
        source="Kubernetes documentation, Swap memory management",
        sample_name="kubelet.yaml",
        failing=_kubelet(_RESERVED, "memorySwap: {swapBehavior: LimitedSwap}"),
        passing=_kubelet(_RESERVED, "failSwapOn: false", "memorySwap: {swapBehavior: LimitedSwap}"),
    ),
)  # fmt: skip
