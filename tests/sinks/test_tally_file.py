"""The counters' file, and what the store has that it has not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from oomsight.metrics.tally import Tally
from oomsight.sinks import tally_file
from oomsight.sinks.live_event import event_dict
from oomsight.sinks.store import Batch, Store

sys.path.insert(0, str(Path(__file__).parent))
from test_store import NOW_US, SEEN, events


def test_save_and_load_give_the_state_back(tmp_path) -> None:
    path = str(tmp_path / "metrics.json")
    state = Tally(5.0).state()
    tally_file.save(path, state)
    assert tally_file.load(path) == state
    assert os.listdir(tmp_path) == ["metrics.json"]
    assert os.stat(path).st_mode & 0o777 == 0o640


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_load_damaged_or_missing_is_nothing(tmp_path, content) -> None:
    (tmp_path / "x").write_bytes(content)
    assert tally_file.load(str(tmp_path / "x")) is None
    assert tally_file.load(str(tmp_path / "missing")) is None


def test_save_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "metrics.json"
    tally_file.save(str(path), {"a": 1})
    (tmp_path / "metrics.json.new").mkdir()
    with pytest.raises(OSError):
        tally_file.save(str(path), {"a": 2})
    assert tally_file.load(str(path)) == {"a": 1}


def test_stored_after_gives_what_is_newer_oldest_first(tmp_path) -> None:
    path = str(tmp_path / "incidents.db")
    _, complete = events(7, 8, 9)
    hour_us = 3600 * 1_000_000
    store = Store(path)
    written = [(event, event_dict(event, SEEN), NOW_US + i * 10 * hour_us) for i, event in enumerate(complete)]
    store.write(Batch(written))
    store.close()
    ids = [event.event_id for event in complete]
    assert [d["event_id"] for d in tally_file.stored_after(path, None)] == ids
    assert [d["event_id"] for d in tally_file.stored_after(path, (NOW_US + 15 * hour_us) / 1e6)] == ids[2:]
    assert list(tally_file.stored_after(str(tmp_path / "none.db"), None)) == []
