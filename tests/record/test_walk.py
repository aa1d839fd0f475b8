"""A file of chunks from head to head: what is in it, however it is read, cut or damaged."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
from tests.record.test_needs import machine

from oomsight.record.codec import CHUNK, ENTITIES, HEADER, MAGIC, PROCESSES, records
from oomsight.record.walk import Walk, walk
from oomsight.sources import history_walks
from oomsight.sources.history import History
from oomsight.sources.history_files import MANY, HistoryError, HistoryNewer, Shelf


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """Three runs over several files."""
    path = tmp_path_factory.mktemp("walk")
    for hour in range(3):
        machine(str(path), 600 * hour, 500, seed=hour, boot="bc"[hour // 2])
    return path


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.hist"))


def seen(data: bytes) -> Walk:
    return walk(lambda length, at: data[at : at + length], len(data))


def places(found: Walk) -> list[tuple[int, int, int]]:
    parts = [part for run in found.runs for part in (*run.described, *(part for part, _ in run.chunks))]
    return sorted((part.start, part.length, part.kind) for part in parts)


def test_what_is_in_a_file_is_what_its_records_are(recorded) -> None:
    assert len(files(recorded)) >= 3
    for file in files(recorded):
        data = file.read_bytes()
        found = seen(data)
        every = list(records(data, len(MAGIC)))
        assert places(found) == sorted((end - len(body), len(body), kind) for kind, body, end in every
                                       if kind in {CHUNK, ENTITIES, PROCESSES})  # fmt: skip
        assert (found.end, found.damaged) == (len(data), False)


def test_a_file_cut_anywhere_has_what_is_whole(recorded) -> None:
    data = files(recorded)[0].read_bytes()
    whole, chance = places(seen(data)), random.Random(1)
    ends = [start + length for start, length, _ in whole]
    for size in {*ends, *(end + step for end in ends for step in (-1, 1, HEADER.size, HEADER.size + 3)),
                 *(chance.randrange(len(data)) for _ in range(40))}:  # fmt: skip
        found = seen(data[:size])
        assert places(found) == [one for one in whole if one[0] + one[1] <= size]
        assert not found.damaged


def test_what_comes_behind_damage_is_left_out(recorded) -> None:
    data = files(recorded)[0].read_bytes()
    start, length, _ = places(seen(data))[-2]
    at = start + length  # the head of the next
    found = seen(data[:at] + b"\0" + data[at + 1 :])
    assert (found.end, found.damaged) == (at, True)
    assert places(found) == places(seen(data))[:-1]


def test_all_files_at_once_are_each_of_them(recorded, monkeypatch) -> None:
    paths = [str(file) for file in files(recorded)]
    alone = [(path, seen(Path(path).read_bytes())) for path in paths]
    for most in (1, 2, 64):
        monkeypatch.setattr(history_walks, "MOST_OPEN", most)
        assert list(history_walks.walks(paths, lambda *_: True)) == alone
    before = len(os.listdir("/proc/self/fd"))
    gone = [*paths[:1], f"{paths[0]}.gone", *paths[1:]]
    assert list(history_walks.walks(gone, lambda path, _: path != paths[1])) == [alone[0], (paths[1], None), *alone[2:]]
    assert len(os.listdir("/proc/self/fd")) == before


def test_heads_in_one_page_are_read_once(recorded) -> None:
    data, read = files(recorded)[0].read_bytes(), []

    def reading(length: int, at: int) -> bytes:
        read.append((at, length))
        return data[at : at + length]

    found = walk(reading, len(data))
    assert len(read) <= len(places(found)) + 2 * len(found.runs) + 1
    assert max(length for _, length in read) < 2 * 4096


def test_a_file_of_another_kind_is_left_out_and_a_newer_one_said(recorded, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(recorded, folder)
    chunks, first = len(Shelf(str(folder)).chunks), files(folder)[0]
    there = sum(chunk.file.path == str(first) for chunk in Shelf(str(folder)).chunks)
    first.write_bytes(b"something else")
    shelf = Shelf(str(folder))
    assert (len(shelf.chunks), shelf.damaged) == (chunks - there, 1)
    first.write_bytes(b"")
    shelf = Shelf(str(folder))
    assert (len(shelf.chunks), shelf.damaged) == (chunks - there, 0)
    first.write_bytes(MAGIC[:4] + bytes([MAGIC[4] + 1]) + MAGIC[5:])
    with pytest.raises(HistoryNewer):
        Shelf(str(folder))
    first.unlink()
    first.mkdir()
    with pytest.raises(HistoryError, match=first.name):
        Shelf(str(folder))


def test_what_is_expected_is_what_is_read(recorded, monkeypatch) -> None:
    asked: set[tuple[int, int]] = set()
    read: set[tuple[int, int]] = set()
    pread = os.pread
    history = History(str(recorded))
    low, high = history.span()
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, start, length, _: asked.add((start, length)))
    monkeypatch.setattr(os, "pread", lambda fd, length, start: read.add((start, length)) or pread(fd, length, start))
    everyone = history.described("cgroup", low, high, 1800)
    assert len(everyone) > MANY
    assert dict(history.needs(everyone, low, high, 1800))
    assert asked and asked <= read  # noqa: PT018 - and nothing else
    packed = [chunk for chunk in History(str(recorded)).pieces(low, high, 1800) if chunk[0].length]
    assert len(asked) >= 2 * len(packed) - 2  # where its parts are, and one of them
    asked.clear()
    history.columns(everyone, (), low, high, 1800, need=True)
    assert asked <= read


def test_a_file_system_that_cannot_read_ahead_says_the_same(recorded, monkeypatch) -> None:
    def told() -> list:
        history = History(str(recorded))
        low, high = history.span()
        everyone = history.described("cgroup", low, high, 1800)
        return [(one.key, held.peak_bytes, held.ordered[9]) for one, held in history.needs(everyone, low, high, 1800)]

    def cannot(*_: int) -> None:
        raise OSError(errno.EINVAL, "no")

    before = told()
    monkeypatch.setattr(os, "posix_fadvise", cannot)
    assert told() == before
    assert len(before) > MANY


def test_what_was_let_go_comes_again(recorded) -> None:
    one, other = Shelf(str(recorded)), Shelf(str(recorded))
    for kept, slim in zip(one.chunks, other.chunks, strict=True):
        if not kept.length:
            continue
        assert one.load(kept, "cgroup")
        assert other.timed(slim, "cgroup")
        assert other.timed(slim, "cgroup")
        assert one.marks(kept) == other.marks(slim) is not None
    last = Shelf(str(recorded))
    chunk = next(chunk for chunk in last.chunks if chunk.length)
    assert last.timed(chunk, "cgroup")
    last.close()
    chunk.file.path += ".gone"
    assert last.marks(chunk) is None
    assert last.damaged == 1


def test_streams_are_there_where_only_the_times_were_read(recorded) -> None:
    one, other = Shelf(str(recorded)), Shelf(str(recorded))
    numbers, some = [101, 105, 999], 0
    for whole, slim in zip(one.chunks, other.chunks, strict=True):
        assert one.timed(whole, "cgroup")
        assert other.has_times(slim, "cgroup")
        assert slim.index is None or not slim.length
        assert slim.times == whole.times
        assert other.lived(slim, []) == {}
        found = one.lived(whole, numbers)
        assert other.lived(slim, numbers) == found
        some += len(found)
    assert some > 10
    damage_index(one.chunks[0].file.path, one.chunks[0].start + one.chunks[0].head.index_at)
    try:
        last = Shelf(str(recorded))
        assert not last.has_times(last.chunks[0], "cgroup")
        assert last.damaged == 1
    finally:
        damage_index(one.chunks[0].file.path, one.chunks[0].start + one.chunks[0].head.index_at)


def damage_index(path: str, at: int) -> None:
    """Turn a byte around, or back."""
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 255]))
