"""``oomsight history --around``: the time it shows is that of those it names."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from oomsight.cli import history_around
from oomsight.cli.main import cli
from oomsight.record.fields import INDEX
from oomsight.record.model import Change
from oomsight.sinks.history_store import HistoryStore

WALL = 1_700_000_000
CGROUP = "/docker/" + "e7" * 32


@pytest.mark.parametrize(("lived", "told"), [(20, "in the 20 s before"), (580, "in the 10 min before")])
def test_of_who_lived_for_seconds_only_those_are_shown(tmp_path, monkeypatch, lived, told) -> None:
    """Ten minutes of which they are the last column would be an empty picture."""
    store, begin = HistoryStore(str(tmp_path / "h"), "b" * 32), 600 - lived
    for second in range(600):
        change = Change(rows=[(1, "host", tuple(second for _ in INDEX["host"]))])
        if not second:
            change.new.append((1, {"kind": "host", "name": "box"}))
        if second == begin:
            change.new += [(2, {"kind": "cgroup", "name": CGROUP}),
                           (3, {"kind": "process", "pid": 7, "start": 5, "name": "app", "cgroup": CGROUP, "age": second})]  # fmt: skip
        if second >= begin:
            kib = (second - begin + 1) << 10
            figures = {"working_set_bytes": kib, "usage_bytes": kib, "limit_bytes": 1 << 20}
            change.rows += [(2, "cgroup", tuple(figures.get(name, 0) for name in INDEX["cgroup"])),
                            (3, "process", (kib, 0, 0, 0, 0, 0, None, kib))]  # fmt: skip
        store.write(1000 + second * 1000, (WALL + second) * 1000, change)
    store.close()
    kill = history_around._Kill("oom-x", WALL + 599.5, "app was killed", CGROUP, frozenset({7}))
    monkeypatch.setattr(history_around, "_kill", lambda *_: kill)
    picture = tmp_path / "p.svg"
    asked = ["history", "--store", str(tmp_path / "h"), "--around", "last", "--plot", str(picture)]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert f"Which processes in container e7e7e7e7e7e7 grew {told}" in " ".join(done.output.split())
    line, *_ = [line for line in done.output.splitlines() if line.startswith("  app (pid 7)")]
    assert len(set(line[-20:]) - {" "}) > 4  # a rise, not one bar
    assert picture.read_text().count("killed") >= 2
