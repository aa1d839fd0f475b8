"""What a kustomization makes of its files, as far as that matters here: its own files are audited as they lie."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from oomsight.audit.tree import Node

NAMES: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
CHANGES: Final = (
    "patches", "patchesStrategicMerge", "patchesJson6902", "configMapGenerator", "images", "components", "replacements",
    "replicas", "namespace", "helmCharts", "helmChartInflationGenerator", "generators", "transformers", "vars",
)  # fmt: skip
"""Fields by which what is applied differs from what lies in the files (kustomize, api/types/kustomization.go)."""
_ELSEWHERE: Final = ("://", "?ref=", "git@", "github.com/")


def is_kustomization(node: Node, path: str) -> bool:
    """Whether a document is a kustomization; the kind may be left out, then its name says it."""
    if not node.is_mapping:
        return False
    kind, group = node.text_at("kind"), node.text_at("apiVersion")
    if kind:
        return kind in {"Kustomization", "Component"} and group.startswith("kustomize.config.k8s.io/")
    return posixpath.basename(path) in NAMES


def changes(node: Node) -> list[str]:
    """Return the fields of a kustomization that change what it gathers; empty = the files are what is applied."""
    found = [name for name in CHANGES if node.get(name) is not None]
    for name in ("resources", "bases"):
        held = node.get(name)
        if held is not None and any(sign in word for word in held.words() for sign in _ELSEWHERE):
            found.append(f"{name} from elsewhere")
    return found
