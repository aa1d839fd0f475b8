"""Cgroup path and moment to names: the path's own structure, filled with what was remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, Literal

from oomsight.attribute.memory import Key, Memory, Observation, Record
from oomsight.attribute.model import POD_FIELDS, UNKNOWN, Attribution, Names
from oomsight.naming.cgroup_path import SHORT_ID_CHARS, Owner, describe, split
from oomsight.naming.marked import Kind, mark

Lookup = Callable[[Owner], Iterable[Observation]]
"""Asks the host about one owner that memory does not know. Must not raise."""

RETRY_SECONDS: Final = 30.0
"""A subject nobody knew is asked for again only after so long: a storm of kills must not become one of look-ups."""

MAX_MISSES: Final = 10_000

_QOS_WORDS: Final = {"guaranteed": "Guaranteed", "burstable": "Burstable", "besteffort": "BestEffort"}


class Resolver:
    """
    Names cgroup paths.

    *memory* is what was seen before, *node* the name of this host, *lookup* is asked once about a container or pod
    that memory does not know.
    """

    def __init__(self, memory: Memory | None = None, *, node: str | None = None, lookup: Lookup | None = None) -> None:
        """Use *memory*, or an empty one."""
        self.memory = Memory() if memory is None else memory
        self.node = node
        self._lookup = lookup
        self._misses: dict[Key, float] = {}

    def observe(self, observations: Iterable[Observation]) -> None:
        """Remember what a source saw."""
        for observation in observations:
            self.memory.see(observation)

    def resolve(self, cgroup_path: str | None, at: float | None = None) -> Attribution:
        """
        Return whose *cgroup_path* was at *at* (unix seconds; ``None`` = now, the newest names).

        Never raises; a path nobody knows keeps what its own structure tells, the rest is ``None``.
        """
        owner = describe(cgroup_path)
        if owner is None or cgroup_path is None:
            return Attribution(None, "cgroup", "an unknown cgroup", UNKNOWN, node=self.node)
        around: Attribution | None = None
        for inner in _chain(owner):
            around = self._one(inner, at, around)
        assert around is not None
        return around

    def resolve_id(self, kind: Literal["container", "pod"], id_: str, at: float | None = None) -> Attribution:
        """As :meth:`resolve`, for a container id or pod uid whose cgroup path is not known (``path`` is ``None``)."""
        # Forms that tell nothing but the id: no runtime, no QoS class.
        return replace(self.resolve(f"/pod{id_}" if kind == "pod" else f"/{id_}", at), path=None)

    def find(self, text: str) -> list[tuple[Key, Record]]:
        """
        Return what *text* names, newest record of each: a container (name, id or its first 12 digits), a pod
        (name, ``namespace/name`` or uid) or a machine; newest first.
        """
        found: dict[Key, Record] = {}
        for key, record in self.memory:
            names = record.names
            known = {key.id, names.container, names.machine, names.pod, names.pod_uid}
            if names.pod is not None and names.namespace is not None:
                known.add(f"{names.namespace}/{names.pod}")
            if text in known or (key.kind == "container" and len(text) >= SHORT_ID_CHARS and key.id.startswith(text)):
                found[key] = record
        return sorted(found.items(), key=lambda pair: -pair[1].last)

    # -- one owner ----------------------------------------------------------------------------------------------------

    def _one(self, owner: Owner, at: float | None, around: Attribution | None) -> Attribution:
        records = list(self._records(owner, at, around is None))
        if not records and self._may_ask(owner, at):
            assert self._lookup is not None
            self.observe(self._lookup(owner))
            records = list(self._records(owner, at, around is None))
        names = Names()
        for only, record in records:
            names = names.filled(record.names, only)
        newest = max((record for _, record in records), key=lambda record: record.last, default=None)
        found = Attribution(
            path=owner.path, level=_level(owner, names), words="", short="", orchestrator=owner.orchestrator,
            runtime=names.runtime or owner.runtime, container_id=owner.container_id,
            container=names.container, image=names.image, labels=names.labels, pod=names.pod,
            namespace=names.namespace, pod_uid=owner.pod_uid or names.pod_uid, qos=owner.qos or names.qos,
            unit=owner.unit or names.unit, slice=owner.slice, uid=owner.uid if owner.uid is not None else names.uid,
            user=names.user, session=owner.session, machine=names.machine or owner.machine,
            limit_bytes=names.limit_bytes, node=self.node, main_pid=names.main_pid,
            first_seen=newest.first if newest else None, last_seen=newest.last if newest else None, host=around,
        )  # fmt: skip
        words, short = _words(found, owner)
        if around is not None:
            words += f", inside {around.words}"
        return replace(found, words=words, short=short)

    def _records(
        self, owner: Owner, at: float | None, outermost: bool
    ) -> Iterator[tuple[frozenset[str] | None, Record]]:
        """Records about *owner*, best first, each with the fields it may fill (``None`` = all)."""
        keys: list[tuple[frozenset[str] | None, Key | None]] = []
        if owner.container_id:
            keys.append((None, self.memory.full_id("container", owner.container_id)))
        if owner.pod_uid:
            only = POD_FIELDS if owner.container_id else None
            keys.append((only, self.memory.full_id("pod", owner.pod_uid)))
        if owner.session:
            keys.append((None, Key("session", owner.session)))
        if owner.uid is not None:
            keys.append((None, Key("user", str(owner.uid))))
        if owner.machine:
            keys.append((None, Key("machine", owner.machine)))
        whole = ""
        if outermost:
            # An owner whose path is its only name (containerd's /default/<name>), or something inside it.
            parts = [part for part in split(owner.path)[1] if part]
            whole = "/" + "/".join(parts)
            keys += [(None, Key("cgroup", "/" + "/".join(parts[:depth]))) for depth in range(len(parts), 0, -1)]
        for only, key in keys:
            record = self.memory.ask(key, at) if key is not None else None
            if record is None or key is None:
                continue
            if key.kind == "cgroup" and key.id != whole and not (record.names.container or record.names.unit):
                continue  # the limit of a cgroup above is not this one's
            yield only, record
            if key.kind == "container" and record.names.pod_uid and not owner.pod_uid:
                pod = self.memory.ask(Key("pod", record.names.pod_uid), at)
                if pod is not None:
                    yield POD_FIELDS, pod
            if key.kind == "cgroup":
                return  # the nearest one; those above belong to others

    def _may_ask(self, owner: Owner, at: float | None) -> bool:
        if self._lookup is None:
            return False
        if owner.container_id:
            key = Key("container", owner.container_id)
        elif owner.pod_uid:
            key = Key("pod", owner.pod_uid)
        elif owner.machine or owner.session:
            key = Key("machine" if owner.machine else "session", owner.machine or owner.session or "")
        else:
            return False
        asked = self._misses.get(key)
        if asked is not None and (at is None or at - asked < RETRY_SECONDS):
            return False
        if len(self._misses) >= MAX_MISSES:
            self._misses.clear()
        self._misses[key] = at if at is not None else float("-inf")
        return True


def charged_path(task_memcg: str | None, oom_memcg: str | None, live_cgroup: str | None = None) -> str | None:
    """
    Return the cgroup a kill is charged to: the one whose process died, not the one whose limit was hit.

    A node-level kill has no *oom_memcg* (or ``/``), yet its victim was in some pod: *task_memcg*, as the ``oom-kill:``
    line has it, or *live_cgroup*, read from /proc before the victim was gone (kernels before 5.0 print none).
    """
    for path in (task_memcg, live_cgroup, oom_memcg):
        if path is not None and any(split(path)[1]):
            return path
    return task_memcg or live_cgroup or oom_memcg


def _chain(owner: Owner) -> Iterator[Owner]:
    """*owner* and those nested in it, outermost first."""
    current: Owner | None = owner
    while current is not None:
        yield current
        current = current.nested


def _level(owner: Owner, names: Names) -> str:
    # Of an owner around others, ``level`` is that of the innermost one.
    level = owner.kind if owner.nested is not None else owner.level
    return "container" if level == "cgroup" and names.container and not owner.container_id else level


def _words(found: Attribution, owner: Owner) -> tuple[str, str]:
    """Marked words and short words; where memory knows no name, the path's own words, which say so."""
    own = owner.words.removeprefix(f"{owner.nested.words}, inside ") if owner.nested is not None else owner.words
    qos = _QOS_WORDS.get(found.qos or "", "")
    pod = f"{mark(found.namespace or UNKNOWN, Kind.OWNER)}/{mark(found.pod, Kind.OWNER)}" if found.pod else None
    if found.container is not None:
        words = f"container {mark(found.container, Kind.OWNER)}"
        if found.image:
            words += f" (image {mark(found.image, Kind.OWNER)})"
        if pod:
            words += f" of pod {pod}" + (f" ({qos})" if qos else "")
        if found.runtime:
            words += f", run by {mark(found.runtime, Kind.OWNER)}"
        name = mark(found.container, Kind.OWNER)
        return words, f"{pod}:{name}" if pod else f"container {name}"
    if pod:
        what = f"{'an unknown container of ' if found.level == 'container' else ''}pod {pod}"
        return what + (f" ({qos})" if qos else ""), f"pod {pod}"
    if found.user is not None and found.level in {"session", "user"}:
        user = mark(found.user, Kind.USER)
        where = f"session {mark(found.session, Kind.SERIAL)} of " if found.session else "everything of "
        return f"{where}user {user}", f"{where if found.session else ''}user {user}"
    if found.machine is not None and owner.machine not in {None, found.machine}:
        name = mark(found.machine, Kind.OWNER)
        return f"{own} ({name})", f"{owner.short} ({name})"
    nameless = found.level in {"container", "pod"}  # where there was a name to know
    return own + (f" (its name is {UNKNOWN})" if nameless else ""), owner.short
