"""Disks that are full, nearly full, small, read-only or without inodes: what is told, what is kept, what a reader sees."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from types import SimpleNamespace

import pytest

from oomsight.cli.main import run
from oomsight.record.answers import choose
from oomsight.record.model import Change
from oomsight.sinks.history_health import DISK_SHARE, Health, room_on
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.history import History
from oomsight.sources.history_silent import NOT_RUNNING, silent_seconds, why_silent

from .test_history_read import Piece
from .test_recorder import WALL, fill, process, read, words

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be filled: ``full`` says whether the next write fails."""
    state, write = SimpleNamespace(full=lambda: False, tries=0), os.pwrite

    def tried(*arguments):
        state.tries += 1
        if state.full():
            raise FULL
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", tried)
    return state


def moments(path) -> list[float]:
    return [round(one - WALL / 1000) for one in History(str(path)).hours(0, 1e11)]


def test_a_disk_at_its_brink_is_told_once(tmp_path, disk) -> None:
    """What is packed frees a page, and the next row fails again: that is one story, not a line for each."""
    store = HistoryStore(str(tmp_path), "b" * 32)
    disk.full = lambda: disk.tries % 3 == 0
    fill(store, 400)
    assert store.remarks == [f"{tmp_path}: no space left on device; samples wait in memory"]
    disk.full = lambda: False
    fill(store, 40, first=400)
    assert store.remarks[1:] == [f"{tmp_path}: can be written again; nothing was lost"]
    store.close()
    assert len(moments(tmp_path)) >= 440


def test_a_full_disk_is_tried_now_and_then_and_not_for_every_sample(tmp_path, disk) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 20)
    disk.full, disk.tries = lambda: True, 0
    fill(store, 300, first=20)
    assert 20 <= disk.tries <= 4 * 30 + 10
    disk.full = lambda: False
    store.close()


def test_of_what_is_lost_the_coarser_rows_and_what_was_written_before_are_kept(tmp_path, disk) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 100)
    disk.full = lambda: True
    fill(store, 1000, first=100)
    assert store.remarks[1:] == [
        f"{tmp_path}: no space left on device still; of a part of this time only every 10 s is kept"]
    disk.full = lambda: False
    fill(store, 60, first=1100)
    assert "only every 10 s is kept" in store.remarks[-1]
    store.close()
    kept = moments(tmp_path)
    assert kept[:100] == list(range(1, 101))  # they were in the journal when the samples after them were lost
    assert max(b - a for a, b in pairwise(kept)) <= 20  # in the hole of the seconds
    assert kept[-1] == 1160
    history, (series,) = read(tmp_path)
    assert (history.damaged, series.restarts) == (0, ())


def test_a_recorder_that_starts_on_a_full_disk_keeps_what_the_one_before_left(tmp_path, disk) -> None:
    before = HistoryStore(str(tmp_path), "b" * 32)
    fill(before, 50)
    os.close(before._lock)  # killed: nothing was packed
    disk.full = lambda: True
    after = HistoryStore(str(tmp_path), "b" * 32)
    fill(after, 50, first=60)
    disk.full = lambda: False
    fill(after, 40, first=110)
    after.close()
    kept = moments(tmp_path)
    assert [*range(1, 51), *range(61, 151)] == kept
    assert History(str(tmp_path)).damaged == 0


def test_what_could_not_be_written_in_the_end_is_told(tmp_path, disk, capsys) -> None:
    disk.full = lambda: True
    assert run(["record", "--once", "--store", str(tmp_path)]) == 4
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"oomsight: {tmp_path}: no space left on device; the last sample could not be written"


@pytest.mark.parametrize(("wanted", "blocks", "room"), [
    (512 << 20, 1 << 20, 512 << 20), (512 << 20, 2048, int(DISK_SHARE * (8 << 20))),
    (None, 2048, int(DISK_SHARE * (8 << 20))), (1 << 20, 0, 1 << 20),
])  # fmt: skip
def test_a_history_never_fills_its_file_system(monkeypatch, wanted, blocks, room) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=blocks, f_frsize=4096))
    assert room_on("/x", wanted) == room


def crowd(store: HistoryStore, rows: int, count: int) -> None:
    """*count* processes that change at every sample."""
    for i in range(rows):
        change = Change(rows=[(n, "process", process((i * 7919 * n) % (1 << 22))) for n in range(1, count + 1)])
        if i == 0:
            change.new = [(n, words(n)) for n in range(1, count + 1)]
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000, change)


def size(path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(path))


def test_a_small_quota_is_kept_by_smaller_files(tmp_path) -> None:
    """A file of ten minutes alone may be more than all that is allowed."""
    store = HistoryStore(str(tmp_path), "b" * 32, max_bytes=1 << 20)
    store._clock = iter(WALL / 1000 + 61 * n for n in range(10**6)).__next__
    crowd(store, 800, 150)
    store.prune()
    assert size(tmp_path) <= 1 << 20
    assert store.remarks == []
    assert len(moments(tmp_path)) > 300
    store.close()


def test_a_quota_that_cannot_be_kept_is_told_once(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32, max_bytes=100_000)
    store._clock = iter(WALL / 1000 + 61 * n for n in range(10**6)).__next__
    crowd(store, 400, 300)
    assert store.remarks == [f"{tmp_path}: the newest files alone take 1 MiB, more than is allowed"]
    store.close()


@pytest.mark.parametrize(("flags", "blocks", "inodes", "words"), [
    (0, 1 << 20, 100, NOT_RUNNING), (os.ST_RDONLY, 1 << 20, 100, "mounted read-only"), (0, 3, 100, "disk is full"),
    (0, 1 << 20, 0, "no inodes left"),
])  # fmt: skip
def test_why_nothing_is_recorded(monkeypatch, flags, blocks, inodes, words) -> None:
    found = SimpleNamespace(f_flag=flags, f_blocks=1 << 21, f_bavail=blocks, f_frsize=4096, f_files=1000, f_favail=inodes)
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    assert words in why_silent("/x")


@pytest.mark.parametrize(("apart", "late", "silent"), [
    (5, 50, False), (5, 61, True), (30, 119, False), (30, 125, True), (300, 1100, False), (300, 1210, True),
    (1800, 7000, False), (1800, 15_000, True),
])  # fmt: skip
def test_when_a_record_is_silent_its_pace_tells(tmp_path, apart, late, silent) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 5, step_ms=apart * 1000)
    store.close()
    now = WALL / 1000 + 1 + 4 * apart + late
    assert silent_seconds(History(str(tmp_path)), now) == (pytest.approx(late) if silent else None)


def test_a_hole_in_a_tier_is_filled_from_the_next_coarser_one() -> None:
    held = [Piece(0, 0, 100), Piece(0, 600, 700), Piece(0, 705, 800), Piece(1, 0, 790), Piece(2, 0, 780)]
    found = [(one.tier, low, high) for one, low, high in choose(held, 0, 800, None) if one.tier]
    assert found == [(1, 110, 590)]
    assert [one.tier for one, _, _ in choose(held, 0, 800, None)] == [0, 1, 0, 0]
    assert not [one for one, _, _ in choose(held, 650, 800, None) if one.tier]
    held[3] = Piece(1, 0, 90)  # neither has it
    assert [(one.tier, low) for one, low, _ in choose(held, 0, 800, None) if one.tier] == [(2, 160)]


def test_health_of_tiers_is_told_together() -> None:
    health = Health("/h")
    for tier in (0, 1):
        health.failed(tier, FULL)
    health.now_ms = 60_000
    health.worked(0)
    assert (len(health.remarks), health.trouble) == (1, "no space left on device")
    health.worked(1)
    assert (health.remarks[-1], health.trouble) == ("/h: can be written again; nothing was lost", None)
