"""oomsight.sources.cgrouptree"""

import os

import pytest

from oomsight.proc.machine import parse_mountinfo
from oomsight.sources import cgrouptree
from oomsight.sources.cgrouptree import CgroupTree, Hierarchy, find_hierarchy
from oomsight.sources.errors import SourceError

from .proc_files import make_host, write


@pytest.fixture
def tree(tmp_path):
    return CgroupTree(Hierarchy(2, str(make_host(tmp_path) / "sys/fs/cgroup")))


V1 = "30 25 0:27 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V2 = "31 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "found"),
    [
        (V1.format(root="/") + V2, Hierarchy(1, "/sys/fs/cgroup/memory", "/")), (V2, Hierarchy(2, "/sys/fs/cgroup/unified", "/")),
        (V1.format(root="/docker/x"), Hierarchy(1, "/sys/fs/cgroup/memory", "/docker/x")), ("", None),
    ],
)  # fmt: skip
def test_find_hierarchy_prefers_where_memory_is(mountinfo, found, monkeypatch):
    monkeypatch.setattr(cgrouptree, "read_if_there", lambda path: None)  # not what is mounted on this machine
    assert find_hierarchy(parse_mountinfo(mountinfo)) == found


def test_find_hierarchy_finds_none_where_memory_cgroups_are_switched_off(tmp_path):
    mounts = parse_mountinfo(f"30 1 0:27 / {tmp_path} rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io pids\n")  # cgroup_disable=memory
    assert find_hierarchy(mounts) is None
    assert find_hierarchy((), str(tmp_path)) is None
    (tmp_path / "cgroup.controllers").write_text("cpuset memory\n")
    assert find_hierarchy(mounts) == Hierarchy(2, str(tmp_path)) == find_hierarchy((), str(tmp_path))


def test_find_hierarchy_below_another_root():
    assert find_hierarchy(parse_mountinfo(V2), root="/host").mount_point == "/host/sys/fs/cgroup/unified"


def test_find_hierarchy_at_a_directory(tmp_path):
    write(tmp_path / "two", {"cgroup.controllers": "memory\n"})
    write(tmp_path / "one/memory", {"memory.limit_in_bytes": "1\n"})
    assert find_hierarchy((), str(tmp_path / "two")) == Hierarchy(2, str(tmp_path / "two"))
    assert find_hierarchy((), str(tmp_path / "one")) == Hierarchy(1, str(tmp_path / "one/memory"))
    assert find_hierarchy((), str(tmp_path / "none")) is None


def test_read_one_cgroup(tree):
    found = tree.read("/app.slice/big.service")
    assert (found.limit_bytes, found.usage_bytes, found.need_bytes, found.pids) == (256 << 20, 240 << 20, 239 << 20, (30,))
    assert tree.read("/gone") is None


def test_chain_from_the_root_down(tree):
    assert list(tree.chain("/app.slice/big.service")) == ["/", "/app.slice", "/app.slice/big.service"]


def test_paths_parents_first_siblings_by_age(tree, tmp_path, monkeypatch):
    mount = tree.hierarchy.mount_point
    ages = {"app.slice": 9, "b": 7, "a": 8}
    for name in ("a", "b", "b/x"):
        os.mkdir(f"{mount}/{name}")
    real = os.scandir

    class Entry:
        def __init__(self, entry):
            self.entry, self.name = entry, entry.name

        def inode(self):
            return ages.get(self.name, 100)

        def is_dir(self, *, follow_symlinks):
            return self.entry.is_dir(follow_symlinks=follow_symlinks)

    class Listing(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("oomsight.sources.cgrouptree.os.scandir", lambda path: Listing(map(Entry, real(path))))
    assert list(tree.paths())[:4] == ["/", "/b", "/b/x", "/a"]
    assert list(tree.paths("/b")) == ["/b", "/b/x"]


def test_paths_of_nothing_is_one_clear_error(tree):
    with pytest.raises(SourceError, match="no such memory cgroup"):
        list(tree.paths("/gone"))


def test_directory_and_path_of_a_mounted_part():
    part = CgroupTree(Hierarchy(1, "/m", "/docker/abc"))
    assert part.directory("/docker/abc/x") == "/m/x"
    assert part.directory("/docker/abc") == "/m"
    assert part.directory("/docker/abcd") is None
    assert part.path_of("/m/x/") == "/docker/abc/x"
    assert part.path_of("/elsewhere") is None
    assert CgroupTree(Hierarchy(2, "/m", "/../..")).directory("/x") == "/m/x"
    assert CgroupTree(Hierarchy(2, "/m")).directory("/../other") is None


def test_seen_from_a_namespace_below_paths_lead_from_what_is_mounted(tmp_path, monkeypatch):
    """A container with a cgroup namespace of its own, and the host's processes and cgroups: a node agent."""
    for path in ("docker/abc/init", "docker/other", "system.slice/ssh.service"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "docker/abc/init/cgroup.procs").write_text(f"7\n{os.getpid()}\n")
    real = cgrouptree.read_if_there
    monkeypatch.setattr(
        cgrouptree, "read_if_there", lambda path: "0::/init\n" if path == "/proc/self/cgroup" else real(path)
    )
    tree = CgroupTree(Hierarchy(2, str(tmp_path), "/../.."))
    named = {"/init": "/docker/abc/init", "/": "/docker/abc", "/../other": "/docker/other",
             "/../../system.slice/ssh.service": "/system.slice/ssh.service", "/../..": "/"}  # fmt: skip
    assert {path: tree.absolute(path) for path in named} == named
    assert tree.directory("/../../system.slice/ssh.service") == f"{tmp_path}/system.slice/ssh.service"
    assert "/docker/other" in tree.below()
    (tmp_path / "docker/abc/init/cgroup.procs").write_text("7\n")
    lost = CgroupTree(Hierarchy(2, str(tmp_path), "/../.."))
    assert (lost.absolute("/../other"), lost.directory("/../other")) == ("/../other", None)


def test_in_a_container_the_mounted_part_is_the_whole_tree(tmp_path):
    (tmp_path / "inner").mkdir()
    part = CgroupTree(Hierarchy(1, str(tmp_path), "/docker/abc"))
    assert list(part.paths()) == list(part.below()) == ["/docker/abc", "/docker/abc/inner"]
    assert part.find("/") == ["/docker/abc"]


def test_find_by_path_directory_unit_and_part(tree):
    mount = tree.hierarchy.mount_point
    big = "/app.slice/big.service"
    assert tree.find(big) == tree.find(mount + big) == tree.find("big.service") == tree.find("big") == [big]
    assert tree.find("service") == sorted(tree.find("service"), key=list(tree.paths()).index)
    assert len(tree.find("service")) == 2
    assert tree.find("/gone") == tree.find("gone") == tree.find(mount + "/gone") == []
