"""The kernel's own count, boot id and cgroups, over a made-up /proc."""

from __future__ import annotations

import pytest

from oomsight.sources.vmstat import read_boot_id, read_cgroup, read_oom_kill


def test_read_oom_kill_and_boot_id(tmp_path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 1\noom_kill 3\n")
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("daabfa9f-f3cc-432f-a7a9-088aad548744\n")
    assert read_oom_kill(str(tmp_path)) == 3
    assert read_boot_id(str(tmp_path)) == "daabfa9ff3cc432fa7a9088aad548744"
    assert read_oom_kill(str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("text", "path"),
    [("0::/a.slice/b.service\n", "/a.slice/b.service"), ("5:cpu,memory:/m\n1:name=systemd:/s\n0::/u\n", "/m"),
     ("0::/\n", None), ("", None), ("0::/x (deleted)\n", "/x"), ("2:memory:/a:b\n", "/a:b")],
)  # fmt: skip
def test_read_cgroup(tmp_path, text, path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text(text)
    assert read_cgroup(7, str(tmp_path)) == path


def test_read_cgroup_of_nobody_is_none(tmp_path) -> None:
    assert read_cgroup(8, str(tmp_path)) is None
