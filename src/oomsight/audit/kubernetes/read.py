"""Kubernetes objects out of documents: any kind with a pod template, lists of them, and what bounds a namespace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.audit.kubernetes.model import (
    KIND_WORDS,
    ConfigMap,
    Container,
    ContainerKind,
    Hook,
    KubeletConfig,
    LimitRange,
    MemoryVolume,
    Mount,
    Pod,
    PriorityClass,
    Quantity,
    Quota,
)
from oomsight.audit.model import Where
from oomsight.audit.program import command_words
from oomsight.audit.quantity import Size, kubernetes_size
from oomsight.audit.tree import Node
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.tree import Place

Object = Pod | LimitRange | Quota | PriorityClass | KubeletConfig | ConfigMap

POD_SPEC: Final[dict[str, tuple[str, ...]]] = {
    "Pod": ("spec",),
    "PodTemplate": ("template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "ScheduledJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "CronWorkflow": ("spec", "workflowSpec"),
}
"""Where each kind keeps its pod; all others of Kubernetes at ``spec.template.spec``."""

_WORKLOADS: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Rollout"}
)
MAX_LIST: Final = 100_000  #: objects of one list, nested ones included
MAX_SEARCH: Final = 20_000  #: values looked at for a pod template inside a kind that is not known
MAX_DEPTH: Final = 14
MAX_CONFIG_CHARS: Final = 1 << 16  #: of one value of a ConfigMap
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")
PLACEHOLDER = lazy(r"\$|\{\{|^(?:[A-Z][A-Z_]+|[a-z]+(?:_[a-z]+)+|__\w+__|@[\w.]+@|%[\w.]+%|<[^<>]+>)$")
"""A value that something else fills in: a variable, ``{{ … }}``, ``MEMORY_LIMIT``, ``__LIMIT__``, ``@LIMIT@``, ``<limit>``."""
_SAFE = lazy(r"[\w.-]+")


def is_object(node: Node) -> bool:
    """Whether a document is a Kubernetes object."""
    return node.is_mapping and node.has("kind") and (node.has("apiVersion") or node.has("items"))


def objects(node: Node, path: str) -> Iterator[Object]:
    """Yield what the object *node* (of file *path*) says about memory, lists taken apart."""
    todo = [node]
    seen = 0
    while todo and seen < MAX_LIST:
        seen += 1
        here = todo.pop()
        kind = _text(here, "kind")
        items = here.get("items")
        if items is not None and items.is_sequence and (kind.endswith("List") or not here.has("spec")):
            todo.extend(reversed([entry for entry in items.entries() if entry.is_mapping][:MAX_LIST]))
        elif kind:
            yield from _object(here, kind, path)


def _object(node: Node, kind: str, path: str) -> Iterator[Object]:
    name = _text(node, "metadata", "name") or _text(node, "metadata", "generateName") or "?"
    namespace = _text(node, "metadata", "namespace") or None
    subject = f"{kind if _SAFE.fullmatch(kind) else mark(kind, Kind.OWNER)}/{mark(name, Kind.OWNER)}"
    where = _where(path, node.place)
    if kind == "LimitRange":
        yield from _ranges(node, subject, namespace, path)
    elif kind == "ResourceQuota":
        hard = node.get("spec", "hard")
        if hard is not None:
            yield Quota(
                subject, namespace, where, quantity(hard, path, "limits.memory"),
                quantity(hard, path, "requests.memory") or quantity(hard, path, "memory"),
            )  # fmt: skip
    elif kind == "ConfigMap":
        yield _config_map(node, name, namespace, where)
    elif kind == "PriorityClass":
        value = node.get("value")
        default = node.get("globalDefault")
        yield PriorityClass(
            subject, name, value.integer() if value else None, bool(default and default.truth()), where
        )  # fmt: skip
    elif kind == "KubeletConfiguration":
        yield KubeletConfig("KubeletConfiguration", where, node)
    else:
        for index, (spec, template) in enumerate(_pod_specs(node, kind)):
            title = subject if index == 0 else f"{subject} (template {index + 1})"
            yield pod(node, spec, template, kind, name, namespace, title, path)


def _config_map(node: Node, name: str, namespace: str | None, where: Where) -> ConfigMap:
    held = node.get("data")
    pairs = [(key, value) for key, value in held.pairs() if value.is_scalar] if held else []
    return ConfigMap(
        name, namespace, {key: value.text[:MAX_CONFIG_CHARS] for key, value in pairs},
        {key: _where(where.path or "", value.place) for key, value in pairs}, where,
    )  # fmt: skip


def _pod_specs(node: Node, kind: str) -> Iterator[tuple[Node, Node]]:
    """Yield each pod spec inside *node* with the mapping that holds it."""
    known = POD_SPEC.get(kind, ("spec", "template", "spec"))
    spec = node.get(*known)
    if spec is not None and _is_pod_spec(spec):
        yield spec, node.get(*known[:-1]) or node
        return
    if kind in _WORKLOADS or kind in POD_SPEC:
        return
    # A kind of somebody's own (operators, Argo, Knative, Tekton, Flink …): a pod spec looks like one.
    todo: list[tuple[Node, Node, int]] = [(value, node, 0) for key, value in node.pairs() if key != "metadata"]
    looked = 0
    while todo and looked < MAX_SEARCH:
        looked += 1
        here, parent, depth = todo.pop(0)
        if here.is_mapping:
            if _is_pod_spec(here):
                yield here, parent
            elif depth < MAX_DEPTH and not here.has("openAPIV3Schema"):
                todo.extend((value, here, depth + 1) for _, value in here.pairs() if not value.is_scalar)
        elif here.is_sequence and depth < MAX_DEPTH:
            todo.extend((value, here, depth + 1) for value in here.entries() if not value.is_scalar)


def _is_pod_spec(node: Node) -> bool:
    containers = node.get("containers")
    if containers is None or not containers.is_sequence:
        return False
    first = next(containers.entries(), None)
    return first is not None and first.is_mapping and (first.has("image") or first.has("name"))


def pod(  # noqa: PLR0917 - one call
    node: Node, spec: Node, template: Node, kind: str, name: str, namespace: str | None, subject: str, path: str
) -> Pod:
    """Return the pod at *spec* of object *node*."""
    found = []
    for key, usual in (("initContainers", "init"), ("containers", "app")):
        holder = spec.get(key)
        for index, entry in enumerate(holder.entries() if holder else ()):
            if entry.is_mapping:
                restarts = usual == "init" and _text(entry, "restartPolicy") == "Always"
                found.append(_container(entry, "sidecar" if restarts else usual, subject, path, index))  # type: ignore[arg-type]
    replicas = node.get("spec", "replicas")
    resources = spec.get("resources")
    os_name = _text(spec, "os", "name") or _text(spec, "nodeSelector", "kubernetes.io/os")
    return Pod(
        subject, kind, name, namespace or _text(template, "metadata", "namespace") or None, _where(path, node.place),
        tuple(found), tuple(_memory_volumes(spec, path)), _text(spec, "priorityClassName") or None,
        quantity(resources, path, "requests", "memory"), quantity(resources, path, "limits", "memory"),
        replicas.integer() if replicas else None, os_name == "windows", dict(_config_volumes(spec)),
    )  # fmt: skip


def _container(node: Node, kind: ContainerKind, pod_subject: str, path: str, index: int) -> Container:
    name = _text(node, "name") or f"#{index + 1}"
    where = _where(path, node.place)
    resources = node.get("resources")
    cpu_request = cpu_limit = ""
    request = limit = None
    if resources is not None:
        cpu_request, cpu_limit = _text(resources, "requests", "cpu"), _text(resources, "limits", "cpu")
        request, limit = quantity(resources, path, "requests", "memory"), quantity(resources, path, "limits", "memory")
    env, places, refs = environment(node, path)
    command = node.get("command")
    args = node.get("args")
    words = [*(command.words() if command else []), *(args.words() if args else [])]
    return Container(
        name, kind, where, f"{pod_subject}, {KIND_WORDS[kind]} {mark(name, Kind.OWNER)}",
        _text(node, "image") or None, request, limit, bool(cpu_request or cpu_limit),
        cpu_request or None, cpu_limit or None, command_words(words, env), env, places,
        tuple(_mounts(node)), tuple(_hooks(node, path)),
        _where(path, node.key_place("resources")) if resources is not None else where,
        tuple(words), command is not None, tuple(_env_from(node)), tuple(refs),
    )  # fmt: skip


def environment(node: Node, path: str) -> tuple[dict[str, str], dict[str, Where], list[tuple[str, str, str]]]:
    """
    Return the variables of a container that are given with a value, where each is, and those that come from a
    ConfigMap: variable, ConfigMap, key.
    """
    env: dict[str, str] = {}
    places: dict[str, Where] = {}
    refs: list[tuple[str, str, str]] = []
    holder = node.get("env")
    for entry in holder.entries() if holder else ():
        name = _text(entry, "name")
        value = entry.get("value")
        if value is None:
            reference = entry.get("valueFrom", "configMapKeyRef")
            if reference is not None:
                refs.append((name, _text(reference, "name"), _text(reference, "key")))
        elif name and value.is_scalar:
            text = value.text
            env[name] = command_words([text], env)[0] if "$(" in text else text
            places[name] = _where(path, value.place)
    return env, places, refs


def _env_from(node: Node) -> Iterator[str]:
    holder = node.get("envFrom")
    for entry in holder.entries() if holder else ():
        if (name := _text(entry, "configMapRef", "name")) and not _text(entry, "prefix"):
            yield name


def _config_volumes(spec: Node) -> Iterator[tuple[str, str]]:
    holder = spec.get("volumes")
    for entry in holder.entries() if holder else ():
        if name := _text(entry, "configMap", "name"):
            yield _text(entry, "name"), name


def _mounts(node: Node) -> Iterator[Mount]:
    holder = node.get("volumeMounts")
    for entry in holder.entries() if holder else ():
        yield Mount(_text(entry, "name"), _text(entry, "mountPath"))


def _hooks(node: Node, path: str) -> Iterator[Hook]:
    for name in _PROBES:
        command = node.get(name, "exec", "command")
        if command is not None:
            period = node.get(name, "periodSeconds")
            seconds = period.integer() if period else 10
            yield Hook(name, command_words(command.words(), {}), _where(path, node.key_place(name)), seconds)
    holder = node.get("lifecycle")
    for name in _HOOKS if holder is not None else ():
        assert holder is not None
        command = holder.get(name, "exec", "command")
        if command is not None:
            yield Hook(name, command_words(command.words(), {}), _where(path, holder.key_place(name)), None)


def _memory_volumes(spec: Node, path: str) -> Iterator[MemoryVolume]:
    holder = spec.get("volumes")
    for entry in holder.entries() if holder else ():
        volume = entry.get("emptyDir")
        if volume is not None and _text(volume, "medium") == "Memory":
            yield MemoryVolume(_text(entry, "name"), quantity(volume, path, "sizeLimit"), _where(path, entry.place))


def _ranges(node: Node, subject: str, namespace: str | None, path: str) -> Iterator[LimitRange]:
    holder = node.get("spec", "limits")
    for entry in holder.entries() if holder else ():
        if entry.is_mapping:
            yield LimitRange(
                subject, namespace, _where(path, entry.place), _text(entry, "type"),
                *(quantity(entry, path, key, "memory") for key in
                  ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio")),
            )  # fmt: skip


def quantity(node: Node | None, path: str, *keys: str) -> Quantity | None:
    """Return the quantity at *keys* below *node*; ``None`` = not given."""
    found = node.get(*keys) if node is not None else None
    if found is None or not found.is_scalar or found.text == "":
        return None
    size = Size(None) if PLACEHOLDER.search(found.text) else kubernetes_size(_as_json(found))
    return Quantity(found.text, size, _where(path, found.place))


def _as_json(node: Node) -> str:
    """Return a scalar as it arrives at the API server: kubectl turns YAML 1.1 into JSON first, ``010`` into 8."""
    number = node.integer() if node.plain else None
    return node.text if number is None else str(number)


_text = Node.text_at


def _where(path: str, place: Place) -> Where:
    return Where(path, *place)
