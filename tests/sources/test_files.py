"""Which files arguments mean, in which order, and reading them."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import sys
import threading

import pytest

from oomsight.sources.below import Looked
from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.files import STDIN_NAME, FileRef, FileSource, expand, open_blocks


def touch(folder, *names: str) -> None:
    """Small text files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"text\n")


def test_expand_rotations_oldest_first_logs_in_order_of_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["syslog", "kern.log", "kern.log.1", "kern.log.10.gz", "kern.log.2.gz", "messages", "messages-20240301", "messages-20231201.gz"]
    touch(tmp_path, *names)
    assert [ref.name for ref in expand(names)] == [
        "syslog", "kern.log.10.gz", "kern.log.2.gz", "kern.log.1", "kern.log",
        "messages-20231201.gz", "messages-20240301", "messages",
    ]  # fmt: skip


def test_expand_directory_takes_logs_and_text_leaves_the_rest(tmp_path):
    touch(tmp_path, "kern.log", "kern.log.1", "sub/notes", "sub/dmesg")
    (tmp_path / "wtmp").write_bytes((b"\x07\0\0\0\x09\0\0\0tty1" + bytes(40)) * 20)
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "lastlog").write_bytes(bytes(5000))
    (tmp_path / "old.gz").write_bytes(gzip.compress(b"text\n"))
    found = expand([str(tmp_path)])
    assert [ref.name.removeprefix(f"{tmp_path}/") for ref in found] == [
        "kern.log.1", "kern.log", "old.gz", "sub/dmesg", "sub/notes",
    ]  # fmt: skip
    assert [ref.size_bytes for ref in found[:2]] == [5, 5]


def test_expand_looking_closer_drops_and_counts_what_cannot_hold_a_report(tmp_path):
    kill = b"Out of memory: Killed process 7 (a) total-vm:1kB\n"
    touch(tmp_path, "kern.log", "notes", "sub/code.c")
    (tmp_path / "ticket.txt").write_bytes(b"a line\n" + kill.replace(b"ed pro", b"ed\n> pro"))  # wrapped and quoted
    (tmp_path / "ticket.gz").write_bytes(gzip.compress(kill))
    (tmp_path / "story.gz").write_bytes(gzip.compress(b"once\nupon\n"))
    (tmp_path / "large").write_bytes(b"text\n" * 400_000 + kill)
    (tmp_path / "larger").write_bytes(b"text\n" * 500_000)
    (tmp_path / "late.bin").write_bytes(b"text\n" * 2_000 + bytes(range(32)) * 4_000)
    told = []
    looked = Looked(tell=lambda now: told.append(now.files))
    found = expand([str(tmp_path)], looked=looked)
    assert [ref.name.removeprefix(f"{tmp_path}/") for ref in found] == ["kern.log", "large", "ticket.gz", "ticket.txt"]
    assert (looked.files, looked.lines, looked.bytes) == (4, 500_004, 2_500_020)
    assert told[-1] == 4


def test_expand_looking_closer_directory_of_other_text_is_no_error(tmp_path):
    touch(tmp_path, "notes")
    assert expand([str(tmp_path)], looked=Looked()) == []


def test_expand_tells_of_each_path_that_fails_and_takes_the_others(tmp_path):
    touch(tmp_path, "kern.log")
    errors: list[SourceError] = []
    found = expand([f"{tmp_path}/gone", f"{tmp_path}/kern.log", f"{tmp_path}/*.none"], on_error=errors.append)
    assert [ref.name for ref in found] == [f"{tmp_path}/kern.log"]
    assert [error.what for error in errors] == ["no such file or directory", "no file matches this pattern"]


def test_expand_same_file_twice_taken_once(tmp_path):
    touch(tmp_path, "a.log")
    (tmp_path / "link").symlink_to("a.log")
    path = str(tmp_path / "a.log")
    assert [ref.name for ref in expand([path, str(tmp_path / "link"), str(tmp_path), "-", path, "-"])] == [path, STDIN_NAME]


def test_expand_pattern(tmp_path):
    touch(tmp_path, "a.log", "a.log.1", "b.txt")
    assert [os.path.basename(ref.name) for ref in expand([str(tmp_path / "a.*")])] == ["a.log.1", "a.log"]


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("gone", "no such file or directory", "ls {}"), ("*.none", "no file matches this pattern", "ls {}"),
        (".", "no log files in this directory", "the file itself, whatever it is called"),
        ("lost", "is a link to /nowhere/kern.log, which is not there", "the log itself"),
        ("round", "is one of links that lead back to each other", "the log itself"),
        ("talk", "is a socket, not a log", "the file that the program behind it writes"),
    ],
)  # fmt: skip
def test_expand_nothing_there_says_so_and_what_to_try(name, what, hint, tmp_path):
    (tmp_path / "lost").symlink_to("/nowhere/kern.log")
    (tmp_path / "round").symlink_to("and-round")
    (tmp_path / "and-round").symlink_to("round")
    with socket.socket(socket.AF_UNIX) as talk, contextlib.chdir(tmp_path):
        talk.bind("talk")  # a short name: there is little room for it
        with pytest.raises(SourceError) as caught:
            expand([f"{tmp_path}/{name}"])
    assert str(caught.value) == f"{tmp_path}/{name}: {what}; try: {hint.format(tmp_path)}"


def test_a_device_without_end_is_no_log():
    with pytest.raises(SourceError, match=r"^/dev/zero: is a device, not a log; try: oomsight explain, "):
        expand(["/dev/zero"])


def test_what_takes_messages_from_the_log_daemon_is_not_read():
    with pytest.raises(SourceError, match=r"^/proc/kmsg: hands out each message once .*; try: oomsight explain /dev/kmsg"):
        expand(["/proc/kmsg"])


def test_expand_journal_files_of_one_directory_are_one(tmp_path):
    for name in ("m/system.journal", "m/system@1.journal", "n/user.journal"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"LPKSHHRH" + bytes(100))
    refs = expand([str(tmp_path)])
    assert [(ref.kind, ref.name, len(ref.paths)) for ref in refs] == [
        ("journal", f"{tmp_path}/m", 2),
        ("journal", f"{tmp_path}/n/user.journal", 1),
    ]
    assert refs[0].size_bytes == 216


def test_expand_parts_that_pstore_keeps_are_one_log(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"dmesg-efi_pstore-{number}").write_text(f"Panic#2 Part{number}\n<6>[    1.0] part {number}\n")
    (tmp_path / "dmesg-note").write_text("Panic#2 Part 1 is missing\n")
    (tmp_path / "console-ramoops-0").write_text("[    1.0] text\n")
    refs = expand([str(tmp_path)])
    (log,) = [ref for ref in refs if len(ref.paths) > 1]
    assert (log.name, log.kind, len(log.paths), len(refs)) == (str(tmp_path), "file", 3, 3)
    source = FileSource(log)
    text = b"".join(source.blocks())
    assert (text.count(b"Part"), len(text), source.plain_file(10)) == (3, source.size_bytes, None)


def test_expand_kmsg_device_is_not_read_as_a_file():
    try:
        refs = expand(["/dev/kmsg"])
    except SourceError:
        pytest.skip("no /dev/kmsg here")
    if os.stat("/dev/kmsg").st_rdev != os.makedev(1, 11):
        pytest.skip("/dev/kmsg is something else here")
    assert [ref.kind for ref in refs] == ["kmsg"]


def test_open_blocks_progress_counts_raw_bytes(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(os.urandom(600_000).hex().encode()))
    seen: list[int] = []
    source = FileSource(expand([str(path)])[0])
    assert sum(map(len, source.blocks(seen.append))) == 1_200_000
    assert seen == sorted(seen)
    assert len(seen) >= 3
    assert seen[-1] == source.size_bytes == path.stat().st_size


def test_expand_closed_directories_below_are_told_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "kern.log").write_text("text\n")
    for name in "abcde":
        (tmp_path / name).mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:  # root, as whom these tests may run, may read all
        if str(path) != str(tmp_path):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    errors: list[str] = []
    refs = expand([str(tmp_path)], on_error=lambda error: errors.append(str(error)))
    assert [ref.name for ref in refs] == [str(tmp_path / "kern.log")]
    assert errors == [
        f"{tmp_path}/a, {tmp_path}/b, {tmp_path}/c and 2 more directories: permission denied, what is in there was left "
        f"out; try: sudo oomsight explain {tmp_path}"
    ]
    assert [ref.name for ref in expand([str(tmp_path)])] == [str(tmp_path / "kern.log")]


def test_open_blocks_unreadable_says_what_to_try(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "a.log"
    path.write_bytes(b"text\n")
    path.chmod(0)
    with pytest.raises(NotReadable) as caught:
        list(open_blocks(expand([str(path)])[0]))
    assert str(caught.value) == f"{path}: permission denied; try: sudo oomsight explain {path}"


def test_open_blocks_open_refused_says_what_to_try(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(NotReadable) as caught:
        list(open_blocks(FileRef("a b.log", "file", ("a b.log",), 5)))
    assert str(caught.value) == "a b.log: permission denied; try: sudo oomsight explain 'a b.log'"


def test_open_blocks_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = gzip.compress(b"through a pipe\n" * 50_000)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    ref = expand([str(path)])[0]
    assert ref.size_bytes is None
    assert b"".join(open_blocks(ref)) == b"through a pipe\n" * 50_000
    writer.join()


def test_open_blocks_stdin_file_descriptor(tmp_path, monkeypatch):
    path = tmp_path / "in"
    path.write_bytes(b"from \xff stdin\n")
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        monkeypatch.setattr(sys, "stdin", file)
        source = FileSource(expand(["-"])[0])
        assert (source.name, source.kind, source.size_bytes) == ("<stdin>", "stdin", None)
        assert b"".join(source.blocks()) == b"from \xff stdin\n"
        assert not file.closed


def test_open_blocks_stdin_replaced_by_an_object(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text\n")))
    assert b"".join(open_blocks(expand(["-"])[0])) == b"text\n"
