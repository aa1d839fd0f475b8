"""
Names for the agent: a thread that keeps asking who runs what, and an answer from memory for each event.

Containers live shorter than anybody's interval, so the thread also looks when a container's cgroup appears, and at once
when an event names one it does not know: a runtime forgets a container some moments after its death, we remember.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from oomsight.attribute import Resolver, charged_path
from oomsight.naming.cgroup_path import Owner, describe
from oomsight.pipeline.query import unix_seconds
from oomsight.sinks.attribution import attribution_dict
from oomsight.sinks.names import load_names, save_names
from oomsight.sources.runtimes import Places, look_up, survey

NAMES_FILE: Final = "names.json"  #: beside the incident store; ``oomsight why`` reads it too
SURVEY_SECONDS: Final = 120.0  #: between two rounds of asking everybody
GLANCE_SECONDS: Final = 5.0  #: between two looks for cgroups of containers that are new
SAVE_SECONDS: Final = 60.0
SHARE: Final = 0.0005  #: of one core for looking around, at most: many cgroups are looked at less often
FORGET_SECONDS: Final = 400 * 86400.0
MAX_WANTED: Final = 256
MAX_ASKED: Final = 4096
ASK_AGAIN_SECONDS: Final = 30.0  #: about a cgroup nobody could name
SETTLE_SECONDS: Final = 2.0  #: that a message or the store waits for a name; a runtime answers within some 50 ms
MAX_GLANCE_DIRS: Final = 20_000


class Attribution:
    """
    An enricher (:class:`oomsight.daemons.hub.Enricher`).

    *names_path* is where names are kept between runs (``None`` = nowhere). The memory is written by one thread only;
    the lock is held for single look-ups.
    """

    def __init__(
        self, names_path: str | None, say: Callable[[str], None], *, places: Places | None = None,
        node: str | None = None,
    ) -> None:  # fmt: skip
        """Load the remembered names; :meth:`start` begins to ask."""
        memory = load_names(names_path) if names_path else None
        self.resolver = Resolver(memory, node=node)
        self.places = places or Places()
        self.missing: list[str] = []  #: one line per source of names that cannot be used
        self._path, self._say = names_path, say
        self._lock = threading.Lock()
        self._wake = threading.Condition()
        self._wanted: dict[str, Owner] = {}  #: to be asked about, by path
        self._asked: dict[str, float] = {}  #: path -> when (CLOCK_MONOTONIC); infinite while it is being asked
        self._known: frozenset[str] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)

    def start(self) -> None:
        """Begin to ask, on a thread of its own."""
        self._thread.start()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Stop asking and save."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return ``{"attribution": …, "main_process_survived": …}`` of the cgroup *event* is charged to."""
        incident = event["incident"]
        victim: Mapping[str, Any] = next(iter(incident["victims"] or incident["killed"]), {})
        path = charged_path(
            victim.get("task_memcg") or incident["task_memcg"] or victim.get("cgroup"), incident["oom_memcg"]
        )
        if path is None:
            return None
        at = unix_seconds(incident["time"]) or unix_seconds(event["seen"])
        with self._lock:
            found = self.resolver.resolve(path, at)
        if found.last_seen is None or self._unnamed(found.level, found.container):
            self._want(path)
        survived = found.survived_by_main(victim.get("tgid") or victim.get("pid"))
        return {"attribution": attribution_dict(found), "main_process_survived": survived}

    def settle(self, event: dict[str, Any], timeout_seconds: float = SETTLE_SECONDS) -> None:
        """
        Name a complete *event* better, once what is being asked about it is answered. For whoever has the time (the
        store, the channels), never for the detecting thread.
        """
        found = (event.get("enrichment") or {}).get("attribution")
        if found is None or event["stage"] == "provisional" or not self._unnamed(found["level"], found["container"]):
            return
        with self._wake:
            asking = self._wake.wait_for(
                lambda: self._asked.get(found["path"], 0.0) < float("inf") or self._closing, timeout_seconds
            )
        if asking:
            event["enrichment"] = self(event)

    def whose(self, path: str) -> dict[str, Any]:
        """Return the attribution of the cgroup *path*, from memory; may be called from any thread."""
        with self._lock:
            return attribution_dict(self.resolver.resolve(path))

    # -----------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _unnamed(level: str, container: str | None) -> bool:
        return level == "container" and container is None

    def _want(self, path: str) -> None:
        owner = describe(path)
        if owner is None or not (owner.container_id or owner.pod_uid or owner.machine or owner.session):
            return
        with self._wake:
            recently = self._asked.get(path, float("-inf")) > time.monotonic() - ASK_AGAIN_SECONDS
            if not recently and len(self._wanted) < MAX_WANTED and self._thread.is_alive():
                self._wanted[path], self._asked[path] = owner, float("inf")
                self._wake.notify_all()

    def _ask(self, path: str, owner: Owner) -> None:
        try:
            self._remember(look_up(self.places, owner, time.time()))
        finally:
            with self._wake:
                self._asked[path] = time.monotonic()
                while len(self._asked) > MAX_ASKED:
                    self._asked.pop(next(iter(self._asked)))
                self._wake.notify_all()

    def _run(self) -> None:
        surveyed = saved = float("-inf")
        pause, changed = 0.0, False
        while True:
            with self._wake:
                if not self._wanted and not self._closing:
                    self._wake.wait(pause)
                wanted, self._wanted = self._wanted, {}
                if self._closing:
                    break
            now, spent = time.monotonic(), time.thread_time()
            try:
                for path, owner in wanted.items():
                    changed = True
                    self._ask(path, owner)
                if now >= surveyed + SURVEY_SECONDS or self._new_containers():
                    surveyed, changed = now, True
                    self._survey()
                if changed and now >= saved + SAVE_SECONDS:
                    saved, changed = now, False
                    self._save()
            except Exception as error:  # a runtime that answers nonsense must not end the asking
                self._say(f"names: {type(error).__name__}: {error}")
                surveyed = now
            pause = max(GLANCE_SECONDS, (time.thread_time() - spent) / SHARE)
        if changed:
            self._save()

    def _survey(self) -> None:
        found = survey(self.places, time.time())
        self._remember(found.observations)
        self.missing = found.missing

    def _remember(self, observations: Any) -> None:
        for observation in observations:
            with self._lock:
                self.resolver.memory.see(observation)

    def _new_containers(self) -> bool:
        """Whether the cgroup of a container, pod or machine appeared since the last look."""
        seen = frozenset(container_cgroups(self.places))
        new = self._known is not None and not seen <= self._known
        self._known = seen
        return new

    def _save(self) -> None:
        if self._path is None:
            return
        with self._lock:
            self.resolver.memory.forget(time.time() - FORGET_SECONDS)
        try:
            os.makedirs(os.path.dirname(os.path.abspath(self._path)), mode=0o750, exist_ok=True)
            save_names(self._path, self.resolver.memory)  # only this thread changes it
        except OSError as error:
            self._say(f"names: {self._path}: {(error.strerror or str(error)).lower()}")


def container_cgroups(places: Places) -> set[str]:
    """Return the names of directories that are cgroups of containers, pods or machines."""
    base = places.path(places.cgroup)
    root = next((p for p in (f"{base}/memory", f"{base}/unified", base) if os.path.isdir(p)), base)
    found: set[str] = set()
    waiting, looked = [root], 0
    while waiting and looked < MAX_GLANCE_DIRS:
        looked += 1
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                names = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for path in names:
            owner = describe(path[len(root) :])
            if owner is not None and owner.kind in {"container", "machine"}:
                found.add(path)  # what is inside belongs to it
            else:
                waiting.append(path)
    return found
