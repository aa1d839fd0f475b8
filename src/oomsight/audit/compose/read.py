"""Services out of compose files: anchors and fragments filled in, ``extends`` followed, an override on top."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from oomsight._lazy import lazy
from oomsight.audit.compose.variables import filled
from oomsight.audit.env_file import read_env_file
from oomsight.audit.model import Where
from oomsight.audit.program import Program, command_words
from oomsight.audit.quantity import Size, docker_size
from oomsight.audit.runtimes import recognise
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.configs.read import ConfigFile
    from oomsight.audit.dockerfile.read import Image
    from oomsight.audit.tree import Node

MAX_EXTENDS: Final = 10
_LIMIT: Final = ("deploy", "resources", "limits", "memory")
_RESERVATION: Final = ("deploy", "resources", "reservations", "memory")


@dataclass(frozen=True, slots=True)
class Beside:
    """How to look at what lies beside a compose file. Each returns ``None`` for what is not there or cannot be read."""

    text: Callable[[str], str | None] = lambda _path: None  #: the text of a file
    compose: Callable[[str], Node | None] = lambda _path: None  #: the document of another compose file
    image: Callable[[str], Image | None] = lambda _path: None  #: what a Dockerfile makes
    config: Callable[[str], ConfigFile | None] = lambda _path: None  #: the configuration of a server


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a service, as it is written."""

    name: str  #: of its key: ``mem_limit``, ``deploy.resources.limits.memory``
    text: str
    where: Where
    node: Node
    known: bool  #: ``False`` = it comes from a variable without a default

    @property
    def size(self) -> Size:
        """As a size; unknown ones have neither bytes nor a problem."""
        return docker_size(self.text) if self.known else Size(None)

    def bytes(self) -> int | None:
        """As bytes; ``None`` = not known, wrong, or without a bound (0, -1)."""
        return self.size.size_bytes or None

    def number(self) -> int | None:
        """As a whole number; ``None`` = none."""
        try:
            return int(self.text.strip())
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Service:
    """One service; ``layers`` are the mappings that make it up, the strongest first, each with its file."""

    name: str
    subject: str  #: marked
    where: Where
    layers: tuple[tuple[Node, str], ...]
    whole: bool = True  #: unset: it extends something that is not here
    variables: Mapping[str, str] = field(default_factory=dict)
    beside: Beside = field(default_factory=Beside)

    def value(self, node: Node, path: str, name: str = "") -> Value:
        """Return *node* of file *path* as a value of key *name*."""
        text, known = filled(node.text, self.variables)
        return Value(name, text, Where(path, node.place.line, node.place.column), node, known)

    def get(self, *keys: str) -> Value | None:
        """Return the value at *keys*, from the strongest layer that has it; ``None`` = not given."""
        for layer, path in self.layers:
            node = layer.get(*keys)
            if node is not None:
                return self.value(node, path, ".".join(keys))
        return None

    def entries(self, key: str) -> Iterator[tuple[Node, str]]:
        """Yield the entries of list *key* of all layers (compose joins them), each with its file; a scalar is one."""
        for layer, path in self.layers:
            node = layer.get(key)
            if node is not None:
                for entry in node.entries() if node.is_sequence else [node]:
                    yield entry, path

    def limit(self) -> Value | None:
        """Return the memory limit, whichever of its two keys gives it; one of 0 is none."""
        for value in (self.get("mem_limit"), self.get(*_LIMIT)):
            if value is not None and not (value.known and value.size.size_bytes == 0):
                return value
        return None

    def limit_bytes(self) -> int | None:
        """Return the memory limit in bytes; ``None`` = none, wrong, or not known."""
        value = self.limit()
        return value.bytes() if value else None

    def reservation(self) -> Value | None:
        """Return the reservation, whichever of its two keys gives it."""
        return self.get("mem_reservation") or self.get(*_RESERVATION)

    def replicas(self) -> int:
        """Return how many of it run: ``deploy.replicas`` or ``scale``."""
        value = self.get("deploy", "replicas") or self.get("scale")
        number = value.number() if value and value.known else None
        return 1 if number is None or number < 0 else number

    def environment(self) -> tuple[dict[str, str], dict[str, Where]]:
        """Return the variables with a known value, and where each is written; ``env_file`` first, weakest layer first."""
        env: dict[str, str] = {}
        places: dict[str, Where] = {}
        for layer, path in reversed(self.layers):
            folder = posixpath.dirname(path)
            files = layer.get("env_file")
            for entry in (files.entries() if files.is_sequence else [files]) if files else ():
                file = entry.get("path") if entry.is_mapping else entry
                text = self.beside.text(posixpath.join(folder, file.text)) if file and file.text else None
                for key, value in read_env_file(text or "").items():
                    env[key] = value
                    places[key] = Where(path, entry.place.line, entry.place.column)
            held = layer.get("environment")
            if held is None:
                continue
            pairs = (
                [(name, node, node.text) for name, node in held.pairs()] if held.is_mapping else
                [(entry.text.partition("=")[0], entry, entry.text.partition("=")[2]) for entry in held.entries()
                 if "=" in entry.text]
            )  # fmt: skip
            for name, node, raw in pairs:
                value, known = filled(raw, self.variables)
                if known and not node.is_null:
                    env[name] = value
                    places[name] = Where(path, node.place.line, node.place.column)
        return env, places

    def program(self) -> Program:
        """Return what runs in it, under its limit; what is not said here comes from the Dockerfile it is built from."""
        env, places = self.environment()
        limit, image, cpus = self.limit(), self.get("image"), self.get("cpus") or self.get(
            "deploy", "resources", "limits", "cpus"
        )  # fmt: skip
        built = self._built()
        given = {key: self._command(key) for key in ("entrypoint", "command")}
        base = image.text if image else None
        if built is not None:
            stage = built.stage
            env, places = {**stage.env, **env}, {**stage.places, **places}
            base = stage.base or base
            if given["entrypoint"] is None:
                given["entrypoint"] = list(stage.entrypoint)
                if given["command"] is None:
                    given["command"] = list(stage.arguments)
        replaced = bool(given["entrypoint"]) or (built is not None and bool(given["command"]))
        words = [*(given["entrypoint"] or []), *(given["command"] or [])]
        try:
            cores = float(cpus.text) if cpus else None
        except ValueError:
            cores = None
        argv = command_words(words, env, "nothing")
        config = self._mounted(recognise(argv, env, base))
        return Program(
            self.where, self.subject, argv, env, base, self.limit_bytes(),
            limit is None and self.whole, None, None, cores, places, limit.where if limit else None,
            config.settings if config else {}, config.path.rpartition("/")[2] if config else "configuration",
            replaces_entrypoint=replaced,
        )  # fmt: skip

    def _mounted(self, runtime: str | None) -> ConfigFile | None:
        """Return the configuration of *runtime* that is mounted from beside the compose file."""
        for node, path in self.entries("volumes"):
            source = node.get("source") if node.is_mapping else None
            text = source.text if source else "" if node.is_mapping else node.text.partition(":")[0]
            name, known = filled(text, self.variables)
            if known and name.startswith(("./", "../", "/")) and "." in name.rpartition("/")[2]:
                found = self.beside.config(posixpath.join(posixpath.dirname(path), name))
                if found is not None and found.kind.runtime == runtime:
                    return found
        return None

    def _command(self, key: str) -> list[str] | None:
        for layer, _ in self.layers:
            node = layer.get(key)
            if node is not None:
                texts = [node.text] if node.is_scalar else node.words()
                known = [filled(text, self.variables)[0] for text in texts]
                return _split(known[0]) if node.is_scalar else known
        return None

    def _built(self) -> Image | None:
        for layer, path in self.layers:
            build = layer.get("build")
            if build is None:
                continue
            context = build if build.is_scalar else build.get("context")
            name = None if build.is_scalar else build.get("dockerfile")
            text, known = filled(context.text if context else ".", self.variables)
            if not known or "://" in text:
                return None
            return self.beside.image(posixpath.join(posixpath.dirname(path), text, name.text if name else "Dockerfile"))
        return None


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """All services of a file."""

    path: str
    services: tuple[Service, ...]


def is_compose(node: Node) -> bool:
    """Whether a document is a compose file: services that say what to run."""
    services = node.get("services")
    if services is None or not services.is_mapping or node.has("apiVersion"):
        return False
    keys = ("image", "build", "extends", "command", "deploy", "mem_limit", "environment", "volumes", "ports")
    return any(service.is_mapping and any(service.has(key) for key in keys) for _, service in services.pairs())


_NAMED = lazy(r"(?:docker-)?compose[\w.-]*\.ya?ml")


def includes(node: Node, path: str) -> bool:
    """Whether a document is a compose file that only includes others: its name has to say that it is one."""
    return bool(_NAMED.fullmatch(posixpath.basename(path))) and node.get("include") is not None


def included(node: Node, path: str) -> Iterator[tuple[str, Where]]:
    """Yield the files that the compose file *node* at *path* includes, and where it says so."""
    held = node.get("include")
    for entry in held.entries() if held else ():
        named = entry.get("path") if entry.is_mapping else entry
        for text in named.words() if named else ():
            place = named.place if named else entry.place
            other = text if "://" in text else posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
            yield other, Where(path, place.line, place.column)


def services(
    files: Sequence[tuple[Node, str]], beside: Beside | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """
    Yield the services of compose *files*, the strongest (the override) first; each with its path. *variables* are those
    of the ``.env`` file.
    """
    near = beside or Beside()
    names: dict[str, None] = {}
    for root, _ in reversed(files):
        found = root.get("services")
        names.update(dict.fromkeys(found.keys() if found else ()))
    for name in names:
        layers: list[tuple[Node, str]] = []
        whole = True
        for root, path in files:
            more, complete = _layers(root, path, name, 0, near)
            layers += more
            whole &= complete
        own = [path for root, path in files if root.get("services", name) is not None]
        if layers and own:
            path = own[-1]
            holder = next(root for root, other in files if other == path).get("services")
            place = holder.key_place(name) if holder is not None else layers[-1][0].place
            service = Service(
                name, f"service {mark(name, Kind.OWNER)}", Where(path, place.line, place.column), tuple(layers), whole,
                variables or {}, near,
            )  # fmt: skip
            image = service.get("image")
            yield replace(service, whole=False) if image is None and not _runs(service) else service


def _runs(service: Service) -> bool:
    """Whether the service says what to run: without it this is an override whose base is elsewhere."""
    return any(service.get(key) is not None for key in ("image", "build", "extends", "provider"))


def _layers(root: Node, path: str, name: str, depth: int, beside: Beside) -> tuple[list[tuple[Node, str]], bool]:
    own = root.get("services", name)
    if own is None or not own.is_mapping or depth > MAX_EXTENDS:
        return [], depth == 0  # extended, and not there
    base = own.get("extends")
    layers = [(own, path)]
    if base is None:
        return layers, True
    other: Node | None = root
    place, service = path, base
    if not base.is_scalar:
        file, named = base.get("file"), base.get("service")
        if named is None:
            return layers, False
        service = named
        if file is not None:
            place = posixpath.join(posixpath.dirname(path), file.text)
            other = beside.compose(place)
    if other is None:
        return layers, False
    more, complete = _layers(other, place, service.text, depth + 1, beside)
    return layers + more, complete


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
