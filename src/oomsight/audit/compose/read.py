"""Services out of compose files: anchors and fragments filled in, ``extends`` within the file, an override on top."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.audit.model import Where
from oomsight.audit.program import Program, command_words
from oomsight.audit.quantity import Size, docker_size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.tree import Node

MAX_EXTENDS: Final = 10
_VARIABLE = lazy(r"\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a service, as it is written."""

    text: str
    where: Where
    node: Node
    known: bool  #: ``False`` = it comes from a variable without a default

    @property
    def size(self) -> Size:
        """As a size; unknown ones have neither bytes nor a problem."""
        return docker_size(self.text) if self.known else Size(None)


@dataclass(frozen=True, slots=True)
class Service:
    """One service; ``layers`` are the mappings that make it up, the strongest first, each with its file."""

    name: str
    subject: str  #: marked
    where: Where
    layers: tuple[tuple[Node, str], ...]

    def get(self, *keys: str) -> Value | None:
        """Return the value at *keys*, from the strongest layer that has it; ``None`` = not given."""
        for layer, path in self.layers:
            node = layer.get(*keys)
            if node is not None:
                text, known = _filled(node.text)
                place = node.place
                return Value(text, Where(path, place.line, place.column), node, known)
        return None

    def limit(self) -> Value | None:
        """Return the memory limit, whichever of its two keys gives it."""
        return self.get("mem_limit") or self.get("deploy", "resources", "limits", "memory")

    def reservation(self) -> Value | None:
        """Return the reservation, whichever of its two keys gives it."""
        return self.get("mem_reservation") or self.get("deploy", "resources", "reservations", "memory")

    def program(self) -> Program:
        """Return what runs in it, under its limit."""
        env: dict[str, str] = {}
        places: dict[str, Where] = {}
        held = self.get("environment")
        if held is not None:
            pairs = held.node.pairs() if held.node.is_mapping else (
                (entry.text.partition("=")[0], entry) for entry in held.node.entries() if "=" in entry.text
            )  # fmt: skip
            for name, node in pairs:
                text = node.text if held.node.is_mapping else node.text.partition("=")[2]
                value, known = _filled(text)
                if known:
                    env[name] = value
                    places[name] = Where(held.where.path, node.place.line, node.place.column)
        words: list[str] = []
        for key in ("entrypoint", "command"):
            given = self.get(key)
            if given is not None:
                words += _split(given.text) if given.node.is_scalar else given.node.words()
        limit, image, cpus = self.limit(), self.get("image"), self.get("cpus")
        size = limit.size.size_bytes if limit else None
        try:
            cores = float(cpus.text) if cpus else None
        except ValueError:
            cores = None
        return Program(
            self.where, self.subject, command_words(words, env), env, image.text if image else None, size,
            limit is None, None, None, cores, places, limit.where if limit else None,
        )  # fmt: skip


def is_compose(node: Node) -> bool:
    """Whether a document is a compose file: services that say what to run."""
    services = node.get("services")
    if services is None or not services.is_mapping or node.has("apiVersion"):
        return False
    keys = ("image", "build", "extends", "command", "deploy", "mem_limit", "environment", "volumes", "ports")
    return any(service.is_mapping and any(service.has(key) for key in keys) for _, service in services.pairs())


def services(files: Sequence[tuple[Node, str]]) -> Iterator[Service]:
    """Yield the services of compose *files*, the strongest (the override) first; each with its path."""
    names: dict[str, None] = {}
    for root, _ in reversed(files):
        found = root.get("services")
        names.update(dict.fromkeys(found.keys() if found else ()))
    for name in names:
        layers: list[tuple[Node, str]] = []
        for root, path in files:
            layers += _layers(root, path, name, 0)
        if layers:
            path = layers[-1][1]
            holder = next(root for root, other in files if other == path).get("services")
            place = holder.key_place(name) if holder is not None else layers[-1][0].place
            yield Service(
                name, f"service {mark(name, Kind.OWNER)}", Where(path, place.line, place.column), tuple(layers)
            )  # fmt: skip


def _layers(root: Node, path: str, name: str, depth: int) -> list[tuple[Node, str]]:
    own = root.get("services", name)
    if own is None or not own.is_mapping or depth > MAX_EXTENDS:
        return []
    base = own.get("extends")
    layers = [(own, path)]
    if base is not None and base.is_scalar:
        layers += _layers(root, path, base.text, depth + 1)
    elif base is not None and base.get("file") is None:
        service = base.get("service")
        layers += _layers(root, path, service.text, depth + 1) if service else []
    return layers


def _filled(text: str) -> tuple[str, bool]:
    """Return *text* with the defaults of its variables, and whether all had one."""
    if "$" not in text:
        return text, True
    known = True

    def value(match: object) -> str:
        nonlocal known
        default = match[2]  # type: ignore[index]
        known &= default is not None
        return default if default is not None else str(match[0])  # type: ignore[index]

    return _VARIABLE.sub(value, text), known


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
