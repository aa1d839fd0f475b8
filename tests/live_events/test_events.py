"""Whether an event is news."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from kmsg_lines import BOOT, Log

from oomsight.live.events import Registry, Stage, kill_id
from oomsight.live.merge import Merger


def _events(records):
    merger = Merger()
    told = [event for record in records for event in merger.feed(record, 1.0)]
    return told, merger.flush()


def test_kill_id_is_the_same_for_both_spellings_of_a_boot_id() -> None:
    dashed = "daabfa9f-f3cc-432f-a7a9-088aad548744"
    assert kill_id(dashed, 5, 1) == kill_id(dashed.replace("-", ""), 5, 1)
    assert len({kill_id(dashed, 5, 1), kill_id(dashed, 6, 1), kill_id(dashed, 5, 2), kill_id(None, 5, 1)}) == 4


def test_admit_takes_provisional_complete_and_richer_and_nothing_twice() -> None:
    log = Log()
    (told,), (done,) = _events([*log.report(), log.kill()])
    registry = Registry()
    assert registry.admit(told) is told
    assert registry.admit(told) is None
    assert registry.admit(done) is done
    assert registry.admit(done) is None
    assert registry.admit(told) is None
    richer = registry.admit(replace(done, weight=done.weight + 1))
    assert richer is not None
    assert richer.stage is Stage.UPDATE
    assert registry.kills == {BOOT: 1}


def test_admit_poorer_reading_of_another_source_is_no_news() -> None:
    log = Log()
    records = [*log.report(), log.kill()]
    _, (whole,) = _events(records)
    _, (cut,) = _events(records[-1:])
    assert cut.event_id == whole.event_id
    registry = Registry()
    assert registry.admit(whole) is whole
    assert registry.admit(cut) is None


def test_admit_group_read_from_its_middle_belongs_to_the_event() -> None:
    log = Log()
    records = [*log.report(7), log.kill(7), log.group(), log.kill(8), log.kill(9)]
    _, (whole,) = _events(records)
    _, parts = _events(records[-2:])
    registry = Registry()
    registry.admit(whole)
    assert [registry.admit(part) for part in parts] == [None, None]


def test_admit_what_the_store_holds_is_known() -> None:
    log = Log()
    (told,), (done,) = _events([*log.report(), log.kill()])
    kill = done.kills[0]
    row = (kill.kill_id, done.event_id, done.weight, BOOT, kill.pid, kill.time_us)
    assert Registry([row]).admit(done) is None
    half = Registry([(*row[:2], -1, *row[3:])])  # provisional when we died
    assert half.admit(told) is None
    again = half.admit(done)
    assert again is not None
    assert again.stage is Stage.COMPLETE


def test_admit_reaper_line_of_a_kill_told_before_the_restart_is_no_event() -> None:
    log = Log()
    _, (done,) = _events([*log.report(), log.kill()])
    _, (reaper,) = _events([log.reaper(7)])
    _, (other,) = _events([log.reaper(8)])
    registry = Registry([(done.kills[0].kill_id, done.event_id, done.weight, BOOT, 7, done.time_us)])
    assert registry.admit(reaper) is None
    assert registry.admit(other) is other
