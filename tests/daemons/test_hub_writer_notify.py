"""What must never hold up detection: slow or broken subscribers, a store that cannot be written."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sinks"))
from test_store import NOW_US, SEEN, events

from oomsight.daemons import hub as hub_module
from oomsight.daemons import writer as writer_module
from oomsight.daemons.hub import Hub
from oomsight.daemons.notify import Notifier
from oomsight.daemons.writer import StoreWriter
from oomsight.live.counters import Finding
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.store import Reader, Store, StoreError


def test_publish_reaches_everybody_while_one_is_stuck_and_one_raises() -> None:
    stuck, got = threading.Event(), []
    hub = Hub()
    hub.add("stuck", lambda _event: stuck.wait(10))
    hub.add("broken", lambda event: event["missing"])
    hub.add("good", got.append)
    for number in range(3):
        hub.publish({"n": number})
    stuck.set()
    hub.close()
    assert [e["n"] for e in got] == [0, 1, 2]
    assert hub.errors() == {"broken": 3}


def test_publish_full_queue_drops_the_oldest_and_counts(monkeypatch) -> None:
    monkeypatch.setattr(hub_module, "QUEUE_EVENTS", 2)
    begun, go, got = threading.Event(), threading.Event(), []

    def slow(event) -> None:
        begun.set()
        go.wait(10)
        got.append(event["n"])

    hub = Hub()
    hub.add("slow", slow)
    hub.publish({"n": 0})
    assert begun.wait(10)
    for number in range(1, 6):
        hub.publish({"n": number})
    assert hub.errors() == {"slow": 3}
    go.set()
    hub.close()
    assert got == [0, 4, 5]


class _Flaky:
    """Opens the store after failing so many times."""

    def __init__(self, path: str, failures: int) -> None:
        self.path, self.failures = path, failures
        self.done = threading.Event()

    def __call__(self) -> Store:
        if self.failures:
            self.failures -= 1
            raise StoreError("disk full")
        self.done.set()
        return Store(self.path)


def _put(writer, *found) -> None:
    for event in found:
        writer.event(event, event_dict(event, SEEN), NOW_US)


def test_writer_keeps_events_in_memory_until_the_store_can_be_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0.01)
    said: list[str] = []
    path = str(tmp_path / "i.db")
    opener = _Flaky(path, 3)
    writer = StoreWriter(opener, said.append)
    told, done = events(7, 8)
    _put(writer, *told, *done)
    writer.note(Finding("x", "noted"), NOW_US, None)
    writer.positions({"/dev/kmsg": ("b", "1", "2")}, {"b": 0})
    assert opener.done.wait(10)
    assert writer.close()
    assert said == [
        "store: disk full; events are kept in memory until it can be written",
        "store: it can be written again; 4 events were kept in memory",
    ]
    reader = Reader(path)
    assert ([r.stage for r in reader.rows()], len(list(reader.notes()))) == (["complete"] * 2, 1)
    reader.close()


def test_writer_without_room_drops_provisional_events_first_and_keeps_the_position(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_EVENTS", 150)
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 60)
    opener = _Flaky(str(tmp_path / "i.db"), 10**9)
    writer = StoreWriter(opener, lambda _line: None)
    told, done = events(*range(100, 200))
    _put(writer, *told, *done[:50])
    assert (len(writer), writer.dropped) == (150, 0)
    _put(writer, *done[50:90])
    assert (len(writer), writer.dropped) == (150, 0)
    writer.positions({"/dev/kmsg": ("b", "1", "2")}, {})
    _put(writer, *events(*range(300, 420))[1])
    assert len(writer) == 150
    assert writer.dropped > 0
    writer.positions({"/dev/kmsg": ("b", "3", "4")}, {})
    assert writer._rest.positions == {}
    assert not writer.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_notifier_speaks_to_the_socket_it_is_given(tmp_path, abstract) -> None:
    name = f"@oomsight-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if abstract else name)
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000"})
        notifier.send("READY=1", "STATUS=ok")
        assert sock.recv(100) == b"READY=1\nSTATUS=ok"
        notifier.reloading()
        assert sock.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notifier.interval_seconds == 10.0


def test_notifier_without_a_manager_is_silent() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    notifier.send("READY=1")
    assert notifier.interval_seconds is None
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).send("READY=1")
