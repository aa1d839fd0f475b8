"""The loop of an exporter: what is retried, what is dropped, what is said."""

from __future__ import annotations

import threading
import time

import pytest

from oomsight.daemons import exporter as exporter_module
from oomsight.daemons.exporter import Exporter
from oomsight.metrics.agent import ExportState
from oomsight.sinks.export import ExportError


class Receiver:
    """A transport that answers as told: a list of errors (or ``None``), then success."""

    name = "test"

    def __init__(self, *answers: ExportError | None) -> None:
        self.answers = list(answers)
        self.batches: list[list[object]] = []
        self.pushes: list[tuple[float, list[object]]] = []
        self.refused: set[object] = set()

    def item(self, document, now):
        return document.get("n")

    def _answer(self) -> None:
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error

    def send_items(self, items) -> int:
        self.batches.append(list(items))
        if self.refused & set(items):
            raise ExportError("bad", permanent=True)
        self._answer()
        return 0

    def send_metrics(self, families, since, now) -> None:
        self.pushes.append((since, families))
        self._answer()


@pytest.fixture
def run(monkeypatch):
    """Runs exporters that retry at once."""
    monkeypatch.setattr(exporter_module, "SHORTEST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(exporter_module, "FIRST_SECONDS", 0.0)
    started, said = [], []

    def start(receiver, interval=1000.0):
        exporter = Exporter(receiver, lambda: ["families"], lambda: 42.0, interval, said.append)
        exporter.start()
        started.append(exporter)
        return exporter, said

    yield start
    for exporter in started:
        exporter.close()


def until(condition, seconds=10.0) -> None:
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < end, "not in time"
        pause.wait(0.005)


def offer(exporter, *numbers) -> None:
    for number in numbers:
        exporter.offer({"n": number}, 0.0)


def test_metrics_are_pushed_every_interval(run) -> None:
    receiver = Receiver()
    run(receiver, 0.02)
    until(lambda: len(receiver.pushes) >= 3)
    assert receiver.pushes[0] == (42.0, ["families"])


def test_items_are_sent_at_once_and_in_order(run) -> None:
    receiver = Receiver()
    exporter, said = run(receiver)
    offer(exporter, *range(250))
    until(lambda: sum(map(len, receiver.batches)) == 250)
    assert [n for batch in receiver.batches for n in batch] == list(range(250))
    assert max(map(len, receiver.batches)) <= exporter_module.BATCH
    assert said == []


def test_items_nothing_is_lost_while_the_receiver_is_down_and_it_is_said_once(run) -> None:
    receiver = Receiver(*[ExportError("Connection refused")] * 4)
    exporter, said = run(receiver)
    offer(exporter, 1, 2)
    until(lambda: exporter.state().queue == 0 and exporter.state().sent > 0)
    state = exporter.state()
    assert (state.failed, state.dropped) == (4, 0)
    assert said == ["test: Connection refused; it is tried again", "test: it works again after 4 failed requests"]
    assert receiver.batches[-1][:1] == [1] or [1] in receiver.batches or receiver.batches[-1] == [1, 2]


def test_items_one_that_is_refused_for_good_does_not_take_others_with_it(run) -> None:
    receiver = Receiver()
    receiver.refused = {5}
    exporter = Exporter(receiver, list, lambda: 0.0, 1000.0, lambda _: None)
    offer(exporter, *range(10))
    exporter.start()
    until(lambda: exporter.state().queue == 0 and exporter.state().dropped == 1)
    exporter.close()
    sent = [n for batch in receiver.batches if 5 not in batch for n in batch]
    assert sorted(sent) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_items_more_than_fit_the_oldest_go_and_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(exporter_module, "MOST_QUEUED", 3)
    exporter = Exporter(Receiver(), list, lambda: 0.0, 1000.0, lambda _: None)
    offer(exporter, 1, 2, 3, 4, 5)
    assert exporter.state() == ExportState(dropped=2, queue=3)


def test_items_the_transport_does_not_want_are_not_queued() -> None:
    exporter = Exporter(Receiver(), list, lambda: 0.0, 1000.0, lambda _: None)
    exporter.offer({}, 0.0)
    assert exporter.state().queue == 0


def test_retry_waits_as_long_as_the_receiver_says(run) -> None:
    receiver = Receiver(ExportError("busy", retry_seconds=0.3))
    exporter, _ = run(receiver)
    begin = time.monotonic()
    until(lambda: len(receiver.pushes) == 1)
    offer(exporter, 1)
    until(lambda: receiver.batches == [[1]])
    assert time.monotonic() - begin >= 0.25


def test_a_bug_in_what_is_collected_does_not_end_the_thread(run) -> None:
    def collect():
        raise ZeroDivisionError("x")

    said: list[str] = []
    receiver = Receiver()
    exporter = Exporter(receiver, collect, lambda: 0.0, 0.01, said.append)
    exporter.start()
    until(lambda: exporter.state().failed >= 2)
    offer(exporter, 1)
    until(lambda: receiver.batches == [[1]])
    exporter.close()
    assert said[0] == "test: ZeroDivisionError: x; it is tried again"


def test_close_sends_what_waits_once_and_ends(run) -> None:
    receiver = Receiver(*[ExportError("down", retry_seconds=1000.0)])
    exporter, _ = run(receiver)
    until(lambda: exporter.state().failed == 1)
    offer(exporter, 1, 2)
    exporter.close()
    assert receiver.batches == [[1, 2]]
    assert exporter.state().queue == 0
