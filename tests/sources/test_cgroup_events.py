"""Counters of cgroups, over trees of ordinary files (v2: inotify works on them as on cgroupfs)."""

from __future__ import annotations

import pytest

from oomsight.sources.cgroup_events import CgroupEvents, watch_cgroups
from oomsight.sources.cgrouptree import Hierarchy
from oomsight.sources.errors import SourceError


def _events(path, **counts) -> None:
    path.mkdir(parents=True, exist_ok=True)
    values = {"low": 0, "high": 0, "max": 0, "oom": 0, "oom_kill": 0, "oom_group_kill": 0} | counts
    (path / "memory.events").write_text("".join(f"{k} {v}\n" for k, v in values.items()))


@pytest.fixture
def tree(tmp_path):
    _events(tmp_path / "a/b/c")
    _events(tmp_path / "a/b")
    _events(tmp_path / "a/d", oom_kill=3)
    _events(tmp_path / "a", oom_kill=3)
    _events(tmp_path / "z")
    return tmp_path


def _watch(path, local=False) -> CgroupEvents:
    return CgroupEvents(Hierarchy(2, str(path)), local=local)


@pytest.mark.parametrize(("option", "told"), [("", ["/a/b"]), (",memory_localevents", ["/a", "/a/b"])])
def test_watch_follows_the_mount_and_what_its_counters_mean(tree, tmp_path_factory, option, told) -> None:
    proc = tmp_path_factory.mktemp("proc")
    (proc / "self").mkdir()
    (proc / "self/mountinfo").write_text(f"31 25 0:28 / {tree} rw - cgroup2 cgroup2 rw{option}\n")
    watch = watch_cgroups(str(proc))
    for path in ("a", "a/b"):  # hierarchical: one kill, counted twice; local: two
        _events(tree / path, oom_kill=4 if path == "a" else 1)
    assert sorted(change.path for change in watch.changes()) == told
    watch.close()


def test_watch_without_a_cgroup_file_system_says_so(tmp_path) -> None:
    (tmp_path / "self").mkdir()
    with pytest.raises(SourceError, match="mountinfo"):
        watch_cgroups(str(tmp_path))
    (tmp_path / "self/mountinfo").write_text("broken\n")
    with pytest.raises(SourceError, match="no cgroup file system"):
        watch_cgroups(str(tmp_path))


def test_changes_of_a_deep_cgroup_are_told_once_and_by_its_name(tree) -> None:
    watch = _watch(tree)
    assert watch.changes() == []
    for path in ("a/b/c", "a/b"):
        _events(tree / path, oom=1, oom_kill=2)
    _events(tree / "a", oom=1, oom_kill=5)
    (change,) = watch.changes()
    assert (change.path, change.grown, change.now["oom_kill"]) == ("/a/b/c", {"oom": 1, "oom_kill": 2}, 2)
    assert watch.changes() == []
    watch.close()


def test_changes_of_a_cgroup_that_is_gone_are_told_of_its_parent(tree) -> None:
    watch = _watch(tree)
    (tree / "a/b/c/memory.events").unlink()
    (tree / "a/b/c").rmdir()
    _events(tree / "a/b", oom_kill=1)
    _events(tree / "a", oom_kill=4)
    assert [(c.path, c.grown) for c in watch.changes()] == [("/a/b", {"oom_kill": 1})]
    watch.close()


def test_changes_of_a_cgroup_made_later_are_seen(tree) -> None:
    watch = _watch(tree)
    _events(tree / "new/deep", oom_kill=1)
    _events(tree / "new", oom_kill=1)
    found = watch.changes() + watch.changes()
    assert {(c.path, c.grown["oom_kill"]) for c in found} >= {("/new/deep", 1)}
    watch.close()


def test_changes_in_a_container_whose_root_has_counters(tmp_path) -> None:
    _events(tmp_path)
    _events(tmp_path / "init")
    watch = _watch(tmp_path)
    _events(tmp_path / "init", oom_kill=1)
    _events(tmp_path, oom_kill=1)
    assert [c.path for c in watch.changes()] == ["/init"]
    watch.close()


def test_changes_with_local_events_watch_every_cgroup(tree) -> None:
    watch = _watch(tree, local=True)
    _events(tree / "a/b/c", oom_kill=1)
    assert [(c.path, c.local) for c in watch.changes()] == [("/a/b/c", True)]
    watch.close()


def test_changes_of_pressure_alone_are_no_news(tree) -> None:
    watch = _watch(tree)
    _events(tree / "z", high=10, max=4, low=1)
    assert watch.changes() == []
    watch.close()


def test_ten_thousand_cgroups_take_few_watches(tmp_path) -> None:
    for i in range(100):
        for j in range(100):
            _events(tmp_path / f"k{i}/p{j}")
    _events(tmp_path / "k0")
    watch = _watch(tmp_path)
    assert (len(watch), len(watch._dirs)) == (10_001, 1 + 1)  # the root for new ones, k0 whose file is there
    _events(tmp_path / "k0/p7", oom_kill=1)
    _events(tmp_path / "k0", oom_kill=1)
    assert [c.path for c in watch.changes()] == ["/k0/p7"]
    watch.close()


def test_open_nothing_to_watch_says_so(tmp_path) -> None:
    with pytest.raises(SourceError, match="no memory controller"):
        _watch(tmp_path)


def test_scan_v1_reads_local_counters(tmp_path) -> None:
    (tmp_path / "x").mkdir()
    control = tmp_path / "x/memory.oom_control"
    control.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    watch = CgroupEvents(Hierarchy(1, str(tmp_path)))
    control.write_text("oom_kill_disable 0\nunder_oom 1\noom_kill 2\n")
    (change,) = watch.scan()
    assert (change.path, change.grown["oom_kill"], change.waiting) == ("/x", 2, False)
    control.write_text("oom_kill_disable 1\nunder_oom 0\noom_kill 2\n")
    assert watch.scan() == []
    control.write_text("oom_kill_disable 1\nunder_oom 1\noom_kill 2\n")
    (change,) = watch.scan()
    assert change.waiting
    watch.close()
