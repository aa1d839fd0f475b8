"""
Recommendations written into the text of a manifest: values are replaced or inserted where they belong, and nothing else
is touched (comments, order, quotes and indentation stay).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.audit.quantity import docker_size, kubernetes_words
from oomsight.rightsize.heap_patch import Edit, heap_edits, heap_in_line
from oomsight.rightsize.words import systemd_size

if TYPE_CHECKING:
    from oomsight.audit.tree import Node
    from oomsight.rightsize.model import Advice


class Patched(NamedTuple):
    """What became of a text."""

    text: str
    done: tuple[str, ...]  #: subjects that were found
    notes: tuple[str, ...]  #: what could not be written


_POD_PATHS: Final = (
    ("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec"), ("spec",),
)  # fmt: skip
"""Where a pod's specification stands: Deployment and the like, CronJob, Pod."""


def patch_manifest(text: str, roots: Sequence[Node], advices: Sequence[Advice]) -> Patched:
    """Return *text*, Kubernetes manifests or a compose file, with the limits and requests of *advices*."""
    edits: list[Edit] = []
    done: list[str] = []
    notes: list[str] = []
    for root in _documents(roots):
        for advice, container, compose in _targets(root, advices):
            values = _compose_values(advice, container) if compose else _values(advice)
            name = advice.usage.subject.full_name
            if not values:
                why = "it leaks" if advice.usage.leak.growth == "leak" else "it stays as it is"
                notes.append(f"{name}: nothing to set: {why}")
                continue
            done.append(name)
            try:
                edits += _set(text, container, values)
                more, said = heap_edits(text, container, advice)
                edits += more
                notes += (f"{name}: {words}" for words in said)
            except ValueError as error:
                notes.append(f"{name}: {error}")
    for edit in sorted(set(edits), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return Patched(text, tuple(done), tuple(notes))


def _documents(roots: Sequence[Node]) -> Iterator[Node]:
    for root in roots:
        items = root.own("items")
        if items is not None and items.is_sequence:  # kind: List
            yield from items.entries()
        else:
            yield root


def _targets(root: Node, advices: Sequence[Advice]) -> Iterator[tuple[Advice, Node, bool]]:
    services = root.own("services")
    if services is not None and services.is_mapping and root.own("kind") is None:
        for key, service in services.written():
            for advice in advices:
                subject = advice.usage.subject
                # Compose calls a container PROJECT-SERVICE-1.
                pattern = rf"(?:.*[-_])?{re.escape(key.text)}(?:[-_]\d+)?"
                named = service.own("container_name")
                wanted = subject.container or ""
                if wanted and (re.fullmatch(pattern, wanted) or (named is not None and named.text == wanted)):
                    yield advice, service, True
                    break
        return
    name, namespace = root.own("metadata", "name"), root.own("metadata", "namespace")
    pod = next((found for path in _POD_PATHS if (found := root.own(*path)) and found.own("containers")), None)
    if name is None or pod is None:
        return
    for kind in ("containers", "initContainers"):
        listed = pod.own(kind)
        for container in listed.entries() if listed is not None else ():
            own = container.own("name")
            for advice in advices:
                subject = advice.usage.subject
                same_space = namespace is None or subject.namespace in {None, namespace.text}
                if own and own.text == subject.container and subject.workload == name.text and same_space:
                    yield advice, container, False


def _values(advice: Advice) -> dict[tuple[str, ...], str]:
    """Path below the container of a pod -> value; swap and oom_score_adj are the kubelet's to set there."""
    limit, request = advice.setting("limit"), advice.setting("request")
    found: dict[tuple[str, ...], str] = {}
    if request is not None and request.bytes:
        found["resources", "requests", "memory"] = kubernetes_words(request.bytes)
    if limit is not None and limit.bytes:
        found["resources", "limits", "memory"] = kubernetes_words(limit.bytes)
    return found


def _compose_values(advice: Advice, service: Node) -> dict[tuple[str, ...], str]:
    """
    Path below the service -> value. ``memswap_limit`` is memory and swap together and may not be below ``mem_limit``
    (docs.docker.com, compose file reference): one that would be too small now is raised to it, which means no swap.
    """
    limit, request, swap = (advice.setting(key) for key in ("limit", "request", "swap"))
    found: dict[tuple[str, ...], str] = {}
    if request is not None and request.bytes:
        found["mem_reservation",] = systemd_size(request.bytes).lower()
    if limit is not None and limit.bytes:
        found["mem_limit",] = systemd_size(limit.bytes).lower()
        there = service.own("memswap_limit")
        written = docker_size(there.text).size_bytes if there is not None and there.is_scalar else None
        if swap is not None and swap.bytes:
            found["memswap_limit",] = systemd_size(limit.bytes + swap.bytes).lower()
        elif written and written < limit.bytes:  # 0 = as if it were not there, -1 = as much as there is
            found["memswap_limit",] = systemd_size(limit.bytes).lower()
    if (adj := advice.setting("oom_score_adj")) is not None:
        found["oom_score_adj",] = adj.value
    return found


_COMPOSE_DEPLOY: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("mem_limit",): ("deploy", "resources", "limits", "memory"),
    ("mem_reservation",): ("deploy", "resources", "reservations", "memory"),
}  # fmt: skip
"""The other place of the same setting in a compose file: written there if it is there."""


def _set(text: str, node: Node, values: Mapping[tuple[str, ...], str]) -> list[Edit]:
    missing: dict[str, object] = {}
    edits: list[Edit] = []
    for wanted, value in values.items():
        other = _COMPOSE_DEPLOY.get(wanted)
        path = other if other is not None and node.own(*other) is not None else wanted
        found = node.own(*path)
        if found is not None and found.is_scalar:
            if text[found.start] in "*&!|>":
                raise ValueError(f"{'.'.join(path)} is an alias, an anchor or a tag; set it by hand to {value}")
            if found.text != value:
                edits.append(Edit(found.start, found.end, f'"{value}"' if found.quoted else value))
            continue
        deepest, depth = node, 0
        while depth < len(path) - 1 and (below := deepest.own(path[depth])) is not None:
            if not below.is_mapping:
                raise ValueError(f"{'.'.join(path[: depth + 1])} is no mapping; set it by hand")
            deepest, depth = below, depth + 1
        # All that is missing at one place goes there as one piece.
        place = missing.setdefault(f"{deepest.start}:{deepest.end}", (deepest, {}))
        assert isinstance(place, tuple)
        tree: dict[str, object] = place[1]
        for name in path[depth:-1]:
            inner = tree.setdefault(name, {})
            assert isinstance(inner, dict)
            tree = inner
        tree[path[-1]] = value
    for place in missing.values():
        assert isinstance(place, tuple)
        edits.append(_insert(text, *place))
    return edits


def _insert(text: str, node: Node, tree: Mapping[str, object]) -> Edit:
    """New keys at the end of mapping *node*, as it is written: in a block or in braces."""
    written = node.written()
    if node.is_flow or not written:
        inside = text[node.start + 1 : node.end - 1].rstrip() if node.is_flow else ""
        comma = ", " if inside.strip() else ""
        at = node.start + 1 + len(inside)
        return Edit(at, at, comma + _flow(tree))
    key, value = written[-1]
    if value.start < key.end:  # an alias: its place is elsewhere
        raise ValueError("the mapping ends with an alias; set it by hand")
    at = _line_end(text, _last(value, key))
    lines = list(_block(tree, node.place.column - 1, _step(node)))
    front = "" if at == 0 or text[at - 1 : at] == "\n" else "\n"
    return Edit(at, at, front + "".join(f"{line}\n" for line in lines))


def _last(node: Node, key: Node) -> int:
    """Offset behind the last character of *node*, value of *key*, that is not blank: a block ends at the next token."""
    while not node.is_scalar and not node.is_flow:
        if entries := list(node.entries()):
            node = entries[-1]
            if node.start < max((entry.end for entry in entries[:-1]), default=key.end):
                raise ValueError("it ends with an alias; set it by hand")
        elif written := node.written():
            key, node = written[-1]
            if node.start < key.end:  # an alias: what it stands for is elsewhere
                return key.end
        else:
            break
    return max(node.end, key.end)


def _line_end(text: str, at: int) -> int:
    if at and text[at - 1] == "\n":  # a block scalar ends with its line
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _step(node: Node) -> int:
    column = node.place.column
    for key, value in node.written():
        below = value.place.line > key.place.line  # an anchor, where a mapping begins, stands beside its key
        if value.is_mapping and not value.is_flow and below and value.place.column > column:
            return value.place.column - column
    return 2


def _block(tree: Mapping[str, object], column: int, step: int) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{' ' * column}{name}:"
            yield from _block(value, column + step, step)
        else:
            yield f"{' ' * column}{name}: {value}"


def _flow(tree: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name}: {{{_flow(value)}}}" if isinstance(value, dict) else f"{name}: {value}" for name, value in tree.items()
    )


# -- systemd ----------------------------------------------------------------------------------------------------------

_UNIT_KEYS: Final = (("limit", "MemoryMax"), ("high", "MemoryHigh"), ("swap", "MemorySwapMax"))


def patch_unit(text: str, name: str, advices: Sequence[Advice]) -> Patched:
    """Return *text*, the unit file or drop-in of unit *name*, with what *advices* say about it."""
    advice = next((a for a in advices if a.usage.subject.name == name), None)
    if advice is None:
        return Patched(text, (), ())
    values = {key: systemd_size(one.bytes) for word, key in _UNIT_KEYS if (one := advice.setting(word)) and one.bytes}
    if (adj := advice.setting("oom_score_adj")) is not None:
        values["OOMScoreAdjust"] = adj.value
    if not values:
        return Patched(text, (), (f"{name}: nothing to set",))
    section = "Slice" if name.endswith(".slice") else "Scope" if name.endswith(".scope") else "Service"
    lines = text.split("\n")
    current, last_of_section = "", None
    for number, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            current = stripped[1:-1]
        if current != section:
            continue
        if stripped:
            last_of_section = number
        key, equals, _ = stripped.partition("=")
        if key.strip() in {"ExecStart", "Environment"} and (heap := heap_in_line(line, advice)) is not None:
            lines[number] = heap
        if equals and key.strip() in values:
            lines[number] = f"{key.strip()}={values.pop(key.strip())}"
    new = [f"{key}={value}" for key, value in values.items()]
    if last_of_section is not None:
        lines[last_of_section + 1 : last_of_section + 1] = new
    elif new:
        tail = [""] if lines and lines[-1] == "" else []
        body = lines[: len(lines) - len(tail)]
        lines = [*body, *([""] if body else []), f"[{section}]", *new, *(tail or [""])]
    return Patched("\n".join(lines), (name,), ())
