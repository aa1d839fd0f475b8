"""
``oomsight drill``: a kill is made, and followed to everybody who should hear of it.

Where an agent runs, it is that agent's store and channels that are watched. Where none does, the drill plays the agent:
the same detector, names, store and channels, with spools of its own that go away afterwards.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from oomsight.actions.drill import Kill, Scratch
from oomsight.daemons.attribution import NAMES_FILE, Attribution
from oomsight.daemons.detector import Detector, Sources
from oomsight.daemons.telling import Telling, deliveries, directory_for, settings_of
from oomsight.daemons.watch import now as iso_now
from oomsight.drill.plan import Ground, Plan, make_plan
from oomsight.drill.report import CHANNEL, DrillReport, Link, Outcome, planned
from oomsight.live.events import LiveEvent, Stage
from oomsight.naming.marked import Kind, mark
from oomsight.proc.machine import parse_meminfo, parse_mountinfo
from oomsight.proc.memcg import ancestors
from oomsight.sinks.even_clock import boot_seconds
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.notify.sender import WAITING
from oomsight.sinks.store import Batch, Reader, Store, StoreError, default_path
from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy
from oomsight.sources.procread import read_if_there
from oomsight.sources.vmstat import read_oom_kill

if TYPE_CHECKING:
    from oomsight.alerts.rules import Settings
    from oomsight.daemons.config import Config
    from oomsight.sinks.notify import Delivery

POLL_SECONDS: Final = 0.02
SEEN_SECONDS: Final = 10.0  #: a report that has not come by then will not come
MOST_STRAYS: Final = 32
COUNTED_SECONDS: Final = 1.5  #: that the scratch cgroup stays for its counter to be read by all
END_SECONDS: Final = 11.0  #: more than a drill's group stays open


def look(proc: str = "/proc") -> Ground:
    """Return what a drill must know about this host."""
    root = os.geteuid() == 0
    hierarchy = find_hierarchy(parse_mountinfo(read_if_there(f"{proc}/self/mountinfo") or ""))
    available = parse_meminfo(read_if_there(f"{proc}/meminfo") or "").mem_available_kib
    panic = (read_if_there(f"{proc}/sys/vm/panic_on_oom") or "").strip()
    available_bytes = available << 10 if available is not None else None
    panic_on_oom = int(panic) if panic.isdigit() else None
    controllers = ""
    if hierarchy is not None and hierarchy.version == 2:
        controllers = read_if_there(f"{hierarchy.mount_point}/cgroup.controllers") or ""
    if hierarchy is None or (hierarchy.version == 2 and "memory" not in controllers.split()):
        return Ground(root, None, "/", "", available_bytes=available_bytes, panic_on_oom=panic_on_oom)
    tree = CgroupTree(hierarchy)
    parent = hierarchy.root if not hierarchy.root.startswith("/..") else "/"
    above = tuple(memcg for path in ancestors(parent) if (memcg := tree.read(path)) is not None)
    given = (read_if_there(f"{hierarchy.mount_point}/cgroup.subtree_control") or "").split()
    return Ground(
        root, hierarchy.version, parent, hierarchy.mount_point, os.access(hierarchy.mount_point, os.W_OK),
        "memory" in given, above, available_bytes, panic_on_oom,
    )  # fmt: skip


def run_drill(
    config: Config, *, dry_run: bool = False, wait_seconds: float = 30.0, say: Callable[[str], None] = lambda _: None,
    ground: Ground | None = None,
) -> DrillReport:  # fmt: skip
    """
    Make a kill and follow it; with *dry_run*, or where it could hurt, only say what would be done.

    *wait_seconds* is how long each channel may take. Raises :class:`OSError` when the cgroup cannot be made after all.
    """
    settings = settings_of(config)
    plan = make_plan(look() if ground is None else ground, os.getpid())
    if dry_run or plan.refusals:
        return planned(plan, tuple(spec.name for spec in settings.channels))
    with ExitStack() as stack:
        return _Drill(config, settings, plan, say, wait_seconds, stack).run()


@dataclass(slots=True)
class _Drill:
    """One drill at work."""

    config: Config
    settings: Settings
    plan: Plan
    say: Callable[[str], None]
    wait_seconds: float
    stack: ExitStack

    links: list[Link] = field(default_factory=list)
    _event: LiveEvent | None = None
    _pid: int | None = None
    _strays: list[LiveEvent] = field(default_factory=list)  #: told before our pid was known
    _seen: float = 0.0  #: CLOCK_MONOTONIC
    _own: str = ""

    def run(self) -> DrillReport:
        by_agent = agent_runs(self._store_path())
        before = read_oom_kill()
        detector = self._open()
        killed = self._kill(detector)
        event = self._event
        self._say_kill(killed)
        if killed.killed:
            self._say_log(detector, killed)
            self._say_counters(before, killed)
            if event is not None:
                document = event_dict(event, iso_now())
                self._say_names(document, killed)
                if by_agent:
                    self._say_stored(event, killed)
                    self._say_told(event, killed)
                else:
                    self._store(event, document, killed)
                    self._tell(document, killed)
        return DrillReport(
            self.plan, tuple(self.links), False, by_agent, event.event_id if event else None, killed.pid
        )

    # -- kill and log -------------------------------------------------------------------------------------------------

    def _open(self) -> Detector:
        c = self.config
        sources = Sources(
            c["sources.kmsg"], c["sources.journal"], c["sources.cgroups"], c["sources.tracepoint"], history=False
        )
        detector = Detector(sources, self._on_event, lambda _: None)
        self.stack.callback(detector.close)
        detector.open()
        return detector

    def _on_event(self, event: LiveEvent) -> None:
        report = event.incident.report
        paths = (report.task_memcg, report.oom_memcg, *(victim.task_memcg for victim in report.victims))
        ours = any(path is not None and path.rpartition("/")[2] == self.plan.name for path in paths)
        # A kill line without its report names no cgroup; the pid is ours all the same.
        if ours or (self._pid is not None and any(kill.pid == self._pid for kill in event.kills)):
            self._seen = self._seen or time.monotonic()
            if event.stage is not Stage.PROVISIONAL:
                self._event = event
        elif self._pid is None:
            self._strays = [*self._strays[-MOST_STRAYS:], event]

    def _kill(self, detector: Detector) -> Kill:
        """Make the kill while the detector watches, and wait until its report is complete."""
        found: list[Kill] = []
        errors: list[BaseException] = []
        seen = threading.Event()

        def work() -> None:
            try:
                with Scratch(self.plan) as scratch:
                    killed = scratch.kill()
                    self._pid = killed.pid
                    found.append(killed)
                    # Where the rate limit ate the report only the cgroup's counter names it: it stays for a while.
                    seen.wait(SEEN_SECONDS if killed.killed else 0.0)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, name="drill", daemon=False)
        thread.start()
        try:
            while thread.is_alive() and not found:
                detector.poll(POLL_SECONDS)
            for event in self._strays:
                self._on_event(event)
            until = time.monotonic() + SEEN_SECONDS
            while found and found[0].killed and self._event is None and time.monotonic() < until:
                detector.poll(POLL_SECONDS)
            if self._event is not None and self._event.incident.report.trigger is None:
                self._until(lambda: False, COUNTED_SECONDS)  # the agent counts, too
        finally:
            seen.set()
            thread.join()
        if errors:
            raise errors[0]
        return found[0]

    def _say_kill(self, killed: Kill) -> None:
        if killed.killed:
            words = f"the kernel killed pid {killed.pid} in {mark(self.plan.cgroup, Kind.CGROUP)}"
            self._link("kill", Outcome.OK, words, 0.0)
        else:
            self._link("kill", Outcome.FAILED, f"the process did not die of the OOM killer: {killed.words}")

    def _say_log(self, detector: Detector, killed: Kill) -> None:
        usable = [source for source in detector.health.sources.values() if source.usable]
        if self._event is not None:
            self._link("log", Outcome.OK, f"seen in {self._event.source}", self._seen - killed.at)
        elif not usable:
            missing = "; ".join(detector.health.missing()) or "all are switched off in the configuration"
            self._link("log", Outcome.FAILED, f"no source of events can be used: {missing}")
        else:
            names = ", ".join(source.name for source in usable)
            self._link("log", Outcome.FAILED, f"its report did not come through {names} within {SEEN_SECONDS:.0f} s")

    def _say_counters(self, before: int | None, killed: Kill) -> None:
        after = read_oom_kill()
        if killed.counted is None and (before is None or after is None):
            self._link("counters", Outcome.SKIPPED, "this kernel counts no OOM kills (before 4.13)")
            return
        host = f", the host {after - before} more than before" if after is not None and before is not None else ""
        fine = killed.counted in {None, 1} and (after is None or before is None or after > before)
        own = f"the cgroup counts {killed.counted}" if killed.counted is not None else "the cgroup has no counter"
        self._link("counters", Outcome.OK if fine else Outcome.FAILED, f"{own}{host}")

    def _say_names(self, document: dict[str, Any], killed: Kill) -> None:
        path = os.path.join(os.path.dirname(os.path.abspath(self._store_path())), NAMES_FILE)
        names = Attribution(path, self.say, node=os.uname().nodename)
        started = time.monotonic()
        document["enrichment"] = names(document)
        took = time.monotonic() - started
        found = document["enrichment"]["attribution"] if document["enrichment"] else None
        if found is None or (found["path"] or "").rpartition("/")[2] != self.plan.name:
            cut = self._event is not None and self._event.incident.report.trigger is None
            why = "the kernel's rate limit ate the report of this kill, and others were killed at the same moment"
            self._link("names", Outcome.FAILED, why if cut else "the report does not name the cgroup of the victim")
            return
        self._link("names", Outcome.OK, f"charged to {mark(found['path'], Kind.CGROUP)}", self._seen - killed.at + took)

    # -- an agent is there --------------------------------------------------------------------------------------------

    def _say_stored(self, event: LiveEvent, killed: Kill) -> None:
        if not self.config["store.enabled"]:
            self._link("store", Outcome.SKIPPED, "the configuration says store.enabled = false")
            return

        def stored() -> bool:
            try:
                reader = Reader(self._store_path())
            except StoreError:
                return False
            try:
                return any(row.stage == "complete" for row in reader.find(event.event_id))
            finally:
                reader.close()

        if self._until(stored, SEEN_SECONDS):
            self._link("store", Outcome.OK, "the agent stored it", time.monotonic() - killed.at)
        else:
            words = f"the agent did not store it within {SEEN_SECONDS:.0f} s"
            self._link("store", Outcome.FAILED, words)

    def _say_told(self, event: LiveEvent, killed: Kill) -> None:
        directory = directory_for(self._store_path())
        wall = time.time() - time.monotonic()
        waiting = {spec.name for spec in self.settings.channels}

        troubles: dict[str, str] = {}

        def told() -> bool:
            for delivery in deliveries(directory):
                # Of any message: behind one that cannot be delivered ours waits untried.
                troubles[delivery.channel] = delivery.words if delivery.status == WAITING else ""
                ours = delivery.event_id == event.event_id and delivery.status != WAITING
                if ours and delivery.channel in waiting:
                    waiting.discard(delivery.channel)
                    self._delivered(delivery, delivery.at - wall - killed.at)
            return not waiting

        self._until(told, self.wait_seconds)
        for name in sorted(waiting):
            late = f"not delivered within {self.wait_seconds:.0f} s"
            words = f"{late}; the agent does not know the channel, or is at another: reload it, read its log"
            if why := troubles.get(name):
                words = f"{mark(why, Kind.HOST)}: {late}, the agent goes on trying"
            self._link(CHANNEL + name, Outcome.FAILED, words)
        self._nobody()

    # -- no agent: we are it ------------------------------------------------------------------------------------------

    def _store(self, event: LiveEvent, document: dict[str, Any], killed: Kill) -> None:
        if not self.config["store.enabled"]:
            self._link("store", Outcome.SKIPPED, "the configuration says store.enabled = false")
            return
        path = self._store_path()
        where = "stored (no agent runs here: by the drill itself)"
        if not os.path.exists(path):
            path = os.path.join(self._folder(), "incidents.db")
            where = "stored in a file of its own, since there is no store and no agent here yet"
        try:
            store = Store(path)
            try:
                store.write(Batch([(event, document, time.time_ns() // 1000)]))
            finally:
                store.close()
            reader = Reader(path)
            there = bool(reader.find(event.event_id))
            reader.close()
        except StoreError as error:
            self._link("store", Outcome.FAILED, str(error))
            return
        after = time.monotonic() - killed.at
        self._link("store", Outcome.OK if there else Outcome.FAILED, where if there else "it cannot be found", after)

    def _tell(self, document: dict[str, Any], killed: Kill) -> None:
        wall = time.time() - time.monotonic()
        ahead = 0.0
        arrived: list[Delivery] = []
        telling = Telling(
            self.settings, os.path.join(self._folder(), "alerts"), self.say, node=os.uname().nodename,
            told=arrived.append, clock=lambda: time.time() + ahead,
            steady=lambda: boot_seconds() + ahead, scale=0.2,
        )  # fmt: skip
        waiting = {spec.name for spec in self.settings.channels}
        try:
            telling(document)

            def told() -> bool:
                while arrived:
                    delivery = arrived.pop(0)
                    waiting.discard(delivery.channel)
                    self._delivered(delivery, delivery.at - wall - killed.at)
                return not waiting

            self._until(told, self.wait_seconds)
            for name in sorted(waiting):
                trouble = telling.health()[name]["trouble"] or f"no answer within {self.wait_seconds:.0f} s"
                self._link(CHANNEL + name, Outcome.FAILED, mark(trouble, Kind.HOST))
            # The drill is over: whoever keeps alerts open (Alertmanager) is told so at once.
            ahead = END_SECONDS
            telling.wake()
            resolved = {spec.name for spec in self.settings.channels if spec.resolved} - waiting
            self._until(lambda: len(arrived) >= len(resolved), 5.0 if resolved else 0.0)
        finally:
            telling.close()
        self._nobody()

    # -----------------------------------------------------------------------------------------------------------------

    def _delivered(self, delivery: Delivery, seconds: float) -> None:
        name = CHANNEL + delivery.channel
        if delivery.status == "told":
            tries = f" at attempt {delivery.attempts}, after: {mark(delivery.words, Kind.HOST)}"
            self._link(name, Outcome.OK, f"delivered{tries if delivery.words else ''}", seconds)
        elif delivery.status == "refused":
            self._link(name, Outcome.FAILED, f"refused: {mark(delivery.words, Kind.HOST)}", seconds)
        else:
            self._link(name, Outcome.SKIPPED, "not for it: the process that died was in no pod")

    def _nobody(self) -> None:
        if not self.settings.channels:
            self._link("channels", Outcome.SKIPPED, "no [[alerts.channel]] is configured: nobody is told")

    def _link(self, name: str, outcome: Outcome, words: str, seconds: float | None = None) -> None:
        self.links.append(Link(name, outcome, words, round(max(seconds, 0.0), 4) if seconds is not None else None))

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _store_path(self) -> str:
        return str(self.config["store.path"] or default_path())

    def _folder(self) -> str:
        """A directory of our own that goes away at the end."""
        if not self._own:
            self._own = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="oomsight-drill-"))
        return self._own


def agent_runs(store_path: str) -> bool:
    """Whether an agent works with the store at *store_path*: it holds the lock of its alerts, or of the store."""
    paths = (os.path.join(directory_for(store_path), "lock"), f"{store_path}.lock")
    return any(_held(path) for path in paths)


def _held(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
