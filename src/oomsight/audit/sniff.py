"""What a file is, by its name where that says it and by how it begins where it does not."""

from __future__ import annotations

import mmap
import re
from typing import Final, Literal

from oomsight._lazy import lazy
from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.kubernetes.kustomize import NAMES as KUSTOMIZATIONS

FileKind = Literal["yaml", "dockerfile", "unit", "dropin", "template", "config"]

HEAD_BYTES: Final = 4096
_YAML_NAME = lazy(r".*\.(?:ya?ml|json)", re.IGNORECASE)
_DOCKER_NAME = lazy(r"(?:Dockerfile|Containerfile)(?:[.-].*)?|.*\.(?:Dockerfile|Containerfile)", re.IGNORECASE)
_UNIT_NAME = lazy(r".*\.(?:service|slice|scope|socket|mount|swap|container|pod)")
_DROPIN_DIR = lazy(r"(?:.*\.)?(?:service|slice|scope|socket|mount|swap|container|pod)\.d")
_NO_DOCKER: Final = (".dockerignore", ".md", ".sh", ".py", ".txt", ".yml", ".yaml", ".json", ".go")
_PROSE = lazy(
    r".*\.(?:md|rst|adoc|txt|log|py|go|js|ts|tsx|jsx|java|kt|c|h|cc|cpp|hpp|rs|rb|php|sh|bash|bats|zsh|pl|lua|css|scss|html?|"
    r"xml|svg|toml|lock|sum|mod|csv|tsv|sql|ipynb|proto|tf|tfvars|patch|diff|po|pot|map|key|pem|crt|ini|cfg|bat|ps1|jsonl|ndjson)",
    re.IGNORECASE,
)
_KUBERNETES = lazy(rb"^apiVersion:[ \t]", re.MULTILINE)
_KIND = lazy(rb"^kind:[ \t]", re.MULTILINE)
_COMPOSE = lazy(rb"^services:[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_FROM = lazy(rb"\A(?:\s*(?:#[^\n]*)?\n|\s*ARG[^\n]*\n)*\s*FROM[ \t]+\S+[^\n]*\n[^\n]*", re.IGNORECASE)
_INSTRUCTION = lazy(rb"^\s*(?:RUN|CMD|ENTRYPOINT|COPY|ENV|WORKDIR)[ \t]", re.MULTILINE)
_SECTION = lazy(rb"^\[(?:Unit|Service|Slice|Scope|Socket|Mount|Swap|Container|Pod)\][ \t]*\r?$", re.MULTILINE)
_ACTION = lazy(rb"\{\{|\{%")


def kind_of(name: str, parent: str, head: bytes) -> FileKind | None:
    """
    Return what the file called *name* in directory *parent* (its last component) is; ``None`` = nothing to audit.

    *head* is how it begins, at most :data:`HEAD_BYTES`. A file of data in YAML is ``yaml``, too: whether it holds
    anything is seen when it is read.
    """
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    if name.endswith(".runtimeconfig.json"):
        return "config"
    if _YAML_NAME.fullmatch(name) or name in KUSTOMIZATIONS:
        return "yaml"
    if name.endswith(".conf") and _DROPIN_DIR.fullmatch(parent):
        return "dropin"
    if _UNIT_NAME.fullmatch(name):
        return "unit" if _SECTION.search(head) else None
    if config_kind(name, head) is not None:
        return "config"
    if _DOCKER_NAME.fullmatch(name) and not name.endswith(_NO_DOCKER):
        return "dockerfile"
    if name.endswith((".tpl", ".j2", ".erb", ".tmpl", ".gotmpl")):
        looks = _KIND.search(head) or _COMPOSE.search(head)
        return "template" if looks and _ACTION.search(head) else "yaml" if looks else None
    if _PROSE.fullmatch(name.removesuffix(".in")):
        return None
    return by_content(head)


def by_content(head: bytes) -> FileKind | None:
    """Return what a text without a telling name is."""
    if (_KUBERNETES.search(head) and _KIND.search(head)) or _COMPOSE.search(head):
        return "yaml"
    if head.lstrip()[:1] == b"{" and b'"apiVersion"' in head and b'"kind"' in head:
        return "yaml"
    if _SECTION.search(head):
        return "unit"
    if _FROM.match(head) and _INSTRUCTION.search(head):
        return "dockerfile"
    return None


BOUNDS: Final = (
    b"LimitRange", b"ResourceQuota", b"PriorityClass", b"_OPT", b"GOMEMLIMIT:", b"GOGC:", b"WEB_CONCURRENCY:",
    b"GUNICORN_CMD_ARGS:", b"maxmemory", b"shared_buffers", b"innodb_buffer_pool", b"pm.max_children", b"worker_processes",
)  # fmt: skip
"""Words of what other files are held against: bounds of namespaces, and what a ConfigMap tells a runtime."""


def names_any(data: bytes | mmap.mmap, words: tuple[bytes, ...]) -> bool:
    """Whether one of *words* stands in *data*. One search for each is ten times as fast as a pattern of all of them."""
    return any(data.find(word) >= 0 for word in words)


def may_hold_any(data: bytes | mmap.mmap) -> bool:
    """Whether any document of a YAML file can hold anything to audit: spares looking for its documents."""
    return data.find(b"kind") >= 0 or data.find(b"services") >= 0 or data.find(b"include:") >= 0


def may_hold(data: bytes) -> bool:
    """
    Whether the YAML document *data* can hold anything to audit: saves composing translation files, CI pipelines, and
    those objects of Kubernetes itself that run nothing.
    """
    if b"kind" in data and (b"apiVersion" in data or b"items" in data):
        group, kind = _GROUP.search(data), _WHICH.search(data)
        return group is None or kind is None or kind[1] not in RUN_NOTHING.get(group[1] or b"", ())
    return b"services" in data or data.startswith(b"include:") or b"\ninclude:" in data


_GROUP = lazy(rb"^apiVersion:[ \t]*(?:([\w.-]+)/)?v\d\w*[ \t]*\r?$", re.MULTILINE)
_WHICH = lazy(rb"^kind:[ \t]*(\w+)[ \t]*\r?$", re.MULTILINE)
RUN_NOTHING: Final[dict[bytes, frozenset[bytes]]] = {
    b"": frozenset({b"Service", b"ConfigMap", b"Secret", b"ServiceAccount", b"Namespace", b"PersistentVolume",
                    b"PersistentVolumeClaim", b"Endpoints", b"Event", b"Node"}),
    b"rbac.authorization.k8s.io": frozenset({b"Role", b"RoleBinding", b"ClusterRole", b"ClusterRoleBinding"}),
    b"networking.k8s.io": frozenset({b"Ingress", b"IngressClass", b"NetworkPolicy"}),
    b"apiextensions.k8s.io": frozenset({b"CustomResourceDefinition"}),
    b"policy": frozenset({b"PodDisruptionBudget"}), b"storage.k8s.io": frozenset({b"StorageClass"}),
    b"autoscaling": frozenset({b"HorizontalPodAutoscaler"}),
    b"discovery.k8s.io": frozenset({b"EndpointSlice"}), b"coordination.k8s.io": frozenset({b"Lease"}),
}  # fmt: skip
"""Objects without a program, by API group; one that is broken is no gap in the audit."""
