"""Readings in, events out: by the clocks of the feed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from alarms.samples import host
from oomsight.alarms.table import Limits
from oomsight.daemons.memory_watch import MemoryFeed
from oomsight.sinks.alarm_file import load_alerts
from oomsight.sources.memory_reading import MemoryReader


class Host:
    """A feed with clocks set by hand and an empty /proc."""

    def __init__(self, proc: Path) -> None:
        self.wall, self.steady, self.told = 1_000_000.0, 10.0, []
        self.feed = MemoryFeed(
            Limits(), self.told.append, MemoryReader(str(proc)), file=str(proc / "alarms.json"),
            clock=lambda: self.wall, steady=lambda: self.steady,
        )  # fmt: skip

    def run(self, seconds: int, available_pct: float) -> None:
        for _ in range(seconds):
            self.wall, self.steady = self.wall + 1, self.steady + 1
            self.feed.take(host(available_pct=available_pct))

    @property
    def moments(self) -> list[str]:
        return [event["moment"] for event in self.told]


def test_clock_set_forward_neither_raises_nor_ends_an_alert_early(tmp_path) -> None:
    machine = Host(tmp_path)
    machine.run(20, available_pct=10)
    machine.wall += 3600
    machine.run(20, available_pct=10)
    assert machine.moments == []
    machine.run(40, available_pct=10)
    machine.run(20, available_pct=90)
    machine.wall += 86_400
    machine.run(20, available_pct=90)
    assert machine.moments == ["raised"]
    (held,) = machine.feed.active()
    assert machine.wall - held["since"] < 120, "it has not become older by the step"
    machine.run(40, available_pct=90)
    assert machine.moments == ["raised", "cleared"]


def test_while_an_alert_is_held_its_file_says_how_bad_it_is_now(tmp_path) -> None:
    machine = Host(tmp_path)
    machine.run(80, available_pct=10)
    assert machine.moments == ["raised"]
    machine.run(10, available_pct=60)
    (told,) = load_alerts(str(tmp_path / "alarms.json"), machine.wall) or ()
    assert "40 % of RAM needed" in told.text
    assert machine.wall - (told.at or 0) <= 5
