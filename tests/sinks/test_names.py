"""The agent's names on disk."""

import os

from oomsight.attribute import Key, Memory, Names, Observation
from oomsight.sinks.names import load_names, save_names

KEY = Key("container", "a" * 64)


def test_save_names_then_load_gives_the_same(tmp_path):
    memory = Memory()
    memory.see(Observation(KEY, Names(container="w\udcff\n", labels=(("a", "b"),)), 5.0))
    save_names(str(tmp_path / "names.json"), memory)
    record = load_names(str(tmp_path / "names.json")).ask(KEY)
    assert record is not None
    assert record.names == Names(container="w\udcff\n", labels=(("a", "b"),))
    assert os.listdir(tmp_path) == ["names.json"]


def test_load_names_damaged_or_missing_is_empty(tmp_path):
    (tmp_path / "names.json").write_text('[{"kind": "container"')
    assert len(load_names(str(tmp_path / "names.json"))) == 0
    assert len(load_names(str(tmp_path / "gone.json"))) == 0
