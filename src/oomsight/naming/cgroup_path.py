"""
Whose is a cgroup: container, pod, systemd unit, user session, machine; from the path alone.

Nothing here asks the system: the path is all that an old log has, and pods and containers it names are usually gone.
A path is walked component by component along the table in :mod:`oomsight.naming.cgroup_layouts`. Paths are hostile (any
byte but ``/`` and NUL can be in a name, people cut and elide): nothing raises, and what no row knows is an unknown
``cgroup`` with its own name, never ``/``.
"""

from __future__ import annotations

from oomsight._lazy import lazy, remembered
from oomsight._named import NamedTuple
from oomsight.naming.cgroup_layouts import ELIDED, ROWS, RUNTIMES, Layout
from oomsight.naming.marked import Kind, mark, unmark
from oomsight.naming.shapes import is_hex

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from typing import Any, Final

    from oomsight.naming.cgroup_layouts import OwnerKind
    from oomsight.naming.shapes import Part

SHORT_CHARS: Final = 60
"""Longest :attr:`Owner.short`, marks included."""

SHORT_ID_CHARS: Final = 12
"""Digits of a container id in sentences: what ``docker ps`` shows; ``crictl`` and ``podman`` accept it."""

_MAX_NESTING: Final = 8  # a log line can claim any depth; real ones are 1-3 (kind in Docker in LXC)
_ANCHORS: Final = frozenset({"pod", "container", "unit", "user_session", "user", "machine"})
_UNIT_SUFFIXES: Final = (".service", ".scope", ".socket", ".mount", ".automount", ".swap")
_QOS_WORDS: Final = {"guaranteed": "Guaranteed", "burstable": "Burstable", "besteffort": "BestEffort"}
_POD_WORDS: Final = {"ecs": "ECS task", "nomad": "Nomad allocation"}

# What may stand before a path: a /proc/<pid>/cgroup field ("0::", "5:memory:") or a cgroupfs mount point.
_PREFIX: Final = lazy(
    r"(?a)(?:\d{1,4}:[\w=,.]*:)?"
    r"(?:/sys/fs/cgroup(?:/(?:memory|unified|systemd|cpuset|cpu,cpuacct|cpu|pids|freezer|devices|blkio))?(?=/|$))?",
)
_MOUNTED: Final = "/sys/fs/cgroup"
_DELETED: Final = " (deleted)"  # /proc/<pid>/cgroup says so of a removed cgroup
_HOLE: Final = lazy(r"(?a)…|\.{2,3}|<[\w -]*>")  # an id somebody took out before posting
_ESCAPES: Final = lazy(r"(?:\\x[0-9a-f]{2})+")


class Owner(NamedTuple):
    """
    Who a cgroup path belongs to. ``None`` = the path does not tell.

    ``kind`` and the fields describe the outermost owner that the host knows; ``nested`` is the owner inside it, named
    by the container's or machine's own system. ``level`` says what the path itself is, whoever owns it, and so is the
    same along the chain: a pod inside a kind node has ``kind="container"``, ``level="pod"``, ``leaf.kind="pod"``.
    """

    path: str  #: as given; of a nested owner: as seen from inside
    kind: OwnerKind
    orchestrator: str | None  #: kubernetes, ecs, nomad, slurm, yarn, mesos, pbs, htcondor, android, …
    runtime: str | None  #: containerd, cri-o, docker, podman, buildkit, kata, lxc, nspawn, qemu, firecracker, garden
    container_id: str | None  #: as printed; may be shortened in the text
    pod_uid: str | None  #: pod uid with dashes (static pods: 32 digits without); ECS task, Nomad allocation, podman pod
    qos: str | None  #: guaranteed, burstable, besteffort
    unit: str | None  #: nearest systemd service or scope (raw, escapes kept), or batch job as named there
    slice: str | None  #: nearest systemd slice
    uid: int | None  #: numeric user id from a user slice, user manager, Slurm or Android name
    session: str | None  #: logind session id
    machine: str | None  #: LXC container, nspawn container or virtual machine, escapes resolved
    level: str  #: container, pod, qos class, all pods, unit, slice, user, session, machine, root, cgroup
    words: str  #: marked text for sentences
    short: str  #: marked text for tables and headlines, at most :data:`SHORT_CHARS` long
    nested: Owner | None = None
    own: str = ""  #: *short* without what is nested

    @property
    def leaf(self) -> Owner:
        """The innermost owner: the one that a person inside the container would name."""
        owner = self
        while owner.nested is not None:
            owner = owner.nested
        return owner


class Step(NamedTuple):
    """One component of a path and the table row that knows it (``None``: unknown or elided)."""

    text: str
    layout: Layout | None
    match: re.Match[str] | Part | None


def split(path: str) -> tuple[str, list[str], str]:
    """Return (prefix, components, suffix) so that ``prefix + "/".join(components) + suffix == path``."""
    found = None if path[:1] == "/" and not path.startswith(_MOUNTED) else _PREFIX.match(path)
    start = found.end() if found else 0
    end = len(path) - len(_DELETED) if path.endswith(_DELETED) else len(path)
    return path[:start], path[start:end].split("/"), path[end:]


def walk(components: list[str]) -> Iterator[Step]:
    """Yield a :class:`Step` for each component that is not empty."""
    context = "start"
    for text in filter(None, components):
        layout, match = (None, None) if text in ELIDED else _known(context, text)
        yield Step(text, layout, match)
        if layout is not None:
            context = "inside" if layout.boundary else layout.opens
        else:
            context = "start" if text in ELIDED else ""


@remembered(1024)  # the upper components of paths are the same again and again
def _known(context: str, text: str) -> tuple[Layout, re.Match[str] | Part] | tuple[None, None]:
    """The row of the table that knows a component in such a place, and what it finds in it."""
    for row in ROWS.get(context, ROWS[""]):
        if text.startswith(row.first) and text.endswith(row.last) and (match := row.pattern.fullmatch(text)):
            return row, match
    return None, None


def _is_hole(value: str) -> bool:
    return value[0] in "….<" and _HOLE.fullmatch(value) is not None


def unescape(name: str) -> str:
    r"""Return a systemd-escaped *name* with ``\xNN`` resolved (UTF-8, odd bytes as surrogates)."""
    if "\\x" not in name:
        return name
    return _ESCAPES.sub(lambda m: bytes.fromhex(m[0].replace("\\x", "")).decode("utf-8", "surrogateescape"), name)


def describe(path: str | None) -> Owner | None:
    """Return who *path* belongs to; ``None`` for ``None`` (the report names no cgroup)."""
    return None if path is None else _describe(path)


def short_words(path: str) -> str:
    """The shortest name of a cgroup (marked): of its owner, where the path tells one."""
    owner = describe(path)
    return owner.short if owner is not None and owner.kind not in {"root", "unknown"} else mark(path, Kind.CGROUP)


@remembered(4096)
def _describe(path: str) -> Owner:
    segments: list[list[Step]] = [[]]
    closed = False  # a container or machine was seen; the next component that is not its wrapper is inside it
    for step in walk(split(path)[1]):
        wrapper = step.layout is not None and step.layout.kind is None
        if closed and not wrapper and len(segments) < _MAX_NESTING:
            segments.append([])
            closed = False
        segments[-1].append(step)
        closed = closed or (step.layout is not None and step.layout.boundary)
    if not segments[0] and path:
        return _plain(path, "root", "the root cgroup")
    if not path:
        return _plain(path, "cgroup", "a cgroup without a name")
    owner: Owner | None = None
    for depth in range(len(segments) - 1, -1, -1):
        inner = "/" + "/".join(step.text for segment in segments[depth:] for step in segment)
        owner = _owner(inner if depth else path, segments[depth], owner)
    assert owner is not None
    return owner


def _plain(path: str, kind: OwnerKind, words: str) -> Owner:
    return Owner(path, kind, None, None, None, None, None, None, None, None, None, None, kind, words, words)


def _owner(path: str, steps: list[Step], nested: Owner | None) -> Owner:
    """Return the owner of one segment: fold its steps, later ones winning, then put it into words."""
    kind: OwnerKind = "cgroup"
    level, noun = "cgroup", "cgroup {path}"
    values: dict[str, Any] = dict.fromkeys(
        ("orchestrator", "runtime", "container_id", "pod_uid", "qos", "unit", "slice", "uid", "session", "machine")
    )
    groups: dict[str, str] = {}
    below: list[str] = []  # unknown components under a known owner
    for text, row, match in steps:
        if row is None or match is None:
            level = "cgroup"
            if kind in _ANCHORS:
                below.append(text)
            else:
                kind, noun = "cgroup", "cgroup {path}"
            continue
        if row.kind is None or row.level is None:
            if kind == "machine":
                values["runtime"] = values["runtime"] or row.runtime
            continue
        kind, level, noun = row.kind, row.level, row.noun
        below.clear()
        found = {name: value for name, value in match.groupdict().items() if value and not _is_hole(value)}
        groups.pop("name", None)
        groups |= found
        read = {
            "orchestrator": row.orchestrator,
            "runtime": RUNTIMES.get(found.get("rt", ""), row.runtime),
            "container_id": found.get("id"),
            "pod_uid": found["pod"].replace("_", "-") if "pod" in found else None,
            "qos": found.get("qos", row.qos),
            "uid": int(found["uid"]) if "uid" in found else None,
            "session": found.get("session"),
            "machine": unescape(found["machine"]) if "machine" in found else None,
            "unit": found.get("job"),
        }
        values |= {name: value for name, value in read.items() if value is not None}
        head = text.partition(":")[0]
        if head.endswith(".slice") and not _chosen(match, len(head)):
            values |= {"slice": head, "unit": None}
        elif kind != "slice" and text.endswith(_UNIT_SUFFIXES) and not _chosen(match, len(text)):
            values["unit"] = text
    names = _Names(kind, noun, groups, steps[-1].text, path)
    words, short = _words(names, values), _short(names, values)
    if below:
        words = f"cgroup {mark('/'.join(below), Kind.CGROUP)} in {words}"
        short = _fit("cgroup ", below[-1], Kind.CGROUP)
    own = short
    if nested is not None:
        level = nested.level
        words = f"{nested.words}, inside {words}"
        both = f"{nested.short} in {short}"
        short = both if len(both) <= SHORT_CHARS else nested.short
    return Owner(path, kind, level=level, words=words, short=short, nested=nested, own=own, **values)


class _Names(NamedTuple):
    """What :func:`_words` and :func:`_short` need besides the fields of the owner."""

    kind: OwnerKind
    noun: str
    groups: dict[str, str]
    last: str
    path: str


def _chosen(match: re.Match[str] | Part, end: int) -> bool:
    """Return whether the text before *end* is part of a name: an LXC container may be called ``web.service``."""
    return any(start < end <= stop for start, stop in map(match.span, match.re.groupindex))


def _words(names: _Names, values: dict[str, Any]) -> str:
    qos = _QOS_WORDS.get(values["qos"] or "", "")
    pod = mark(values["pod_uid"] or "…", Kind.ID)
    a_pod = f"a {qos} pod (uid {pod})" if qos else f"a pod (uid {pod})"
    words = names.noun.format_map(
        {
            "id": mark(_short_id(values["container_id"] or "…"), Kind.ID),
            "pod": pod,
            "Qos": qos,
            "a Qos pod": a_pod,
            "unit": mark(values["unit"] or "…", Kind.OWNER),
            "slice": mark(values["slice"] or "…", Kind.OWNER),
            "machine": mark(values["machine"] or "…", Kind.OWNER),
            "name": mark(unescape(names.groups.get("name", "…")), Kind.OWNER),
            "uid": values["uid"],
            "session": mark(values["session"] or "…", Kind.SERIAL),
            "job": names.groups.get("job", "job").replace("_", " "),
            "step": names.groups.get("step", "step").replace("_", " "),
            "last": mark(names.last, Kind.CGROUP),
            "path": mark(names.path, Kind.CGROUP),
        }
    )
    if names.kind == "container" and values["pod_uid"]:
        kubernetes = values["orchestrator"] == "kubernetes"
        words += f" of {a_pod if kubernetes else f'{_pod_word(values)} {pod}'}"
    if names.kind == "container" and values["runtime"] and values["runtime"] != "buildkit":
        words += f", run by {values['runtime']}"
    if values["uid"] is not None and "{uid}" not in names.noun:
        words += f"{',' if 'run by' in words else ''} of user id {values['uid']}"
    return words


def _short(names: _Names, values: dict[str, Any]) -> str:
    user = "" if values["uid"] is None else f" of user {values['uid']}"
    before = names.noun.partition("{")[0]
    match names.kind:
        case "container":
            name = _short_id(values["container_id"] or names.groups.get("name", "…"))
            pod = f" in {_pod_word(values)} {mark(values['pod_uid'][:8], Kind.ID)}" if values["pod_uid"] else ""
            kind = Kind.ID if values["container_id"] else Kind.OWNER
            whole = before + mark(name, kind) + pod
            return whole if len(whole) <= SHORT_CHARS else _fit(before, name, kind)
        case "pod":
            return _fit(before or "pod ", _short_id(values["pod_uid"] or "…"), Kind.ID)
        case "machine":
            return _fit(before, values["machine"] or "…", Kind.OWNER)
        case "user_session":
            return f"session {mark(values['session'], Kind.SERIAL)}{user}"
        case "user" if not values["unit"]:
            return user.removeprefix(" of ")
        case "unit" | "user" if values["unit"]:
            return _fit("", _without_token(names, values["unit"], user), Kind.OWNER, user)
        case _:
            return _fit("", names.last, Kind.CGROUP, user if names.kind == "slice" else "")


def _without_token(names: _Names, unit: str, after: str) -> str:
    """Return *unit* without what its maker made up, if it is too long with it: the rest tells more."""
    token = names.groups.get("token")
    too_long = len(mark(unit, Kind.OWNER)) + len(after) > SHORT_CHARS
    return unit.replace(token, "…") if token and too_long else unit


def _pod_word(values: dict[str, Any]) -> str:
    return _POD_WORDS.get(values["orchestrator"] or "", "pod")


def _short_id(container_id: str) -> str:
    """Return the usual short form of a 64-digit id; other ids are not abbreviated by their runtimes."""
    long_hex = 32 < len(container_id) <= 64 and is_hex(container_id)
    return container_id[:SHORT_ID_CHARS] if long_hex else container_id


def _fit(before: str, name: str, kind: Kind, after: str = "") -> str:
    room = SHORT_CHARS - len(before) - len(after) - len(mark("", kind))
    visible = unmark(mark(name, kind))  # forged marks are escaped, which makes the name longer
    return before + mark(visible if len(visible) <= room else visible[: room - 1] + "…", kind) + after


def _components(path: str) -> list[str]:
    return [text for text in split(path)[1] if text]


def is_ancestor(a: str, b: str) -> bool:
    """Return whether cgroup *a* is a proper ancestor of cgroup *b* (the root is one of every other cgroup)."""
    above, below = _components(a), _components(b)
    return len(above) < len(below) and below[: len(above)] == above


_HEADS: Final = {
    "container": "The limit of the container was hit, above the cgroup inside it that the process was in",
    "pod": "The limit of the whole pod was hit, not that of one container",
    "qos class": "The limit that all pods of one QoS class share was hit, not the pod's own",
    "all pods": "The limit that all pods of the node share was hit, not the pod's own",
    "unit": "The limit of the unit was hit, above the cgroup inside it that the process was in",
    "slice": "The limit of a parent slice was hit, not the process's own",
    "user": "The limit for everything of one user was hit, not the process's own",
    "session": "The limit of the whole session was hit, not the process's own",
    "machine": "The limit of the whole machine or system container was hit, not that of anything inside it",
    "root": "The limit of the root cgroup was hit",
    "cgroup": "The limit of a parent cgroup was hit, not the process's own",
}
"""Level of ``oom_memcg``, when it is above ``task_memcg`` -> first half of the sentence."""


def relation(oom_memcg: str | None, task_memcg: str | None) -> str:
    """
    Return a marked sentence: whose limit was hit, seen from the process that was killed.

    *oom_memcg* is the cgroup whose limit was hit, *task_memcg* the one the victim was in, both as the ``oom-kill:``
    line or ``Task in … killed as a result of limit of …`` has them; ``None`` = not printed.
    """
    limit, own = describe(oom_memcg), describe(task_memcg)
    if oom_memcg is None or limit is None:
        return "The report names no cgroup whose limit was hit."
    if task_memcg is None or own is None:
        return f"The limit of {limit.words} was hit; the report does not say which cgroup the process was in."
    levels = len(_components(task_memcg)) - len(_components(oom_memcg))
    same = _components(oom_memcg) == _components(task_memcg)
    if not same and not is_ancestor(oom_memcg, task_memcg):
        return f"The limit of {limit.words} was hit, but the process was in {own.words}, which is not below it."
    # What a runtime wraps around its payload (…/ns/.lxc, …/container) is no level anybody sets a limit on.
    rest = list(walk(split(task_memcg)[1]))[len(_components(oom_memcg)) :]
    if all(step.layout is not None and step.layout.kind is None for step in rest):
        return f"The process hit the limit of its own {limit.level}: {limit.words}."
    inner = own.short if own.pod_uid is not None and own.pod_uid == limit.pod_uid else own.words
    up = "1 level" if levels == 1 else f"{levels} levels"
    return f"{_HEADS[limit.level]}: {limit.words}, {up} above the process, which was in {inner}."
