"""The best place of a host's kernel log, with the file system moved into a directory."""

from __future__ import annotations

import pytest

from oomsight.sources.dmesg import DmesgSource
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.host import best_host_sources


def test_best_host_sources_files_when_nothing_else(tmp_path):
    log = tmp_path / "var/log"
    log.mkdir(parents=True)
    for name in ("kern.log", "kern.log.1", "syslog", "kern.logger"):
        (log / name).write_bytes(b"text\n")
    tried = best_host_sources(str(tmp_path))
    assert [(c.name, c.usable, c.reason) for c in tried] == [
        ("journal", False, "this host keeps no journal"),
        ("/dev/kmsg", False, "no such file or directory"),
        ("/var/log/kern.log*", True, None),
    ]
    assert [source.name for source in tried[-1].sources] == [f"{log}/kern.log.1", f"{log}/kern.log"]
    assert tried[-1].period is not None
    assert tried[-1].period.startswith("files last written 2")


def test_best_host_sources_messages_when_no_kern_log(tmp_path):
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/messages-20240101").write_bytes(b"text\n")
    tried = best_host_sources(str(tmp_path))
    assert [c.name for c in tried] == ["journal", "/dev/kmsg", "/var/log/kern.log*", "/var/log/messages*"]
    assert [b"".join(source.blocks()) for source in tried[-1].sources] == [b"text\n"]


def test_best_host_sources_nothing_at_all_every_reason_given(tmp_path):
    tried = best_host_sources(str(tmp_path))
    assert [c.name for c in tried][-3:] == ["/var/log/kern.log*", "/var/log/messages*", "/var/log/syslog*"]
    assert not any(c.usable for c in tried)
    assert all(c.reason and not c.sources for c in tried)


def test_best_host_sources_stand_in_for_kmsg_is_not_used(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_bytes(b"6,1,2,-;text\n")
    tried = best_host_sources(str(tmp_path))
    assert (tried[1].name, tried[1].reason) == ("/dev/kmsg", "is not the kernel's log here (a container?)")


@pytest.fixture
def dmesg(tmp_path):
    """Make a program: ``dmesg(script) -> path``."""

    def make(script: str) -> str:
        path = tmp_path / "dmesg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_dmesg_raw_where_it_can(dmesg):
    source = DmesgSource(dmesg('echo "<6>[ 1.0] asked with $1"'))
    assert list(source.blocks()) == [b"<6>[ 1.0] asked with -r\n"]


def test_dmesg_without_the_option(dmesg):
    source = DmesgSource(dmesg('[ -z "$1" ] || { echo "invalid option" >&2; exit 1; }; echo "[ 1.0] plain"'))
    assert list(source.blocks()) == [b"[ 1.0] plain\n"]


def test_dmesg_not_permitted_names_the_right(dmesg):
    source = DmesgSource(dmesg('echo "dmesg: read kernel buffer failed: Operation not permitted" >&2; exit 1'))
    with pytest.raises(NotReadable) as caught:
        list(source.blocks())
    assert str(caught.value) == (
        "dmesg: operation not permitted; try: run as root, or with CAP_SYSLOG; or sysctl kernel.dmesg_restrict=0"
    )


def test_dmesg_other_failure_is_said(dmesg):
    with pytest.raises(SourceError) as caught:
        list(DmesgSource(dmesg('echo "dmesg: out of order" >&2; exit 3')).blocks())
    assert str(caught.value) == "dmesg: dmesg: out of order"
