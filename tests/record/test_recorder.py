"""The recorder: what is packed comes back; crashes, full disks, stepped clocks and reused pids damage nothing."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from oomsight.cli.main import cli, run
from oomsight.pipeline.outlook import outlook
from oomsight.record import chunk, codec, dense
from oomsight.record.cmdline import masked
from oomsight.record.fields import FIELDS, UNLIMITED
from oomsight.record.gather import Gatherer
from oomsight.record.journal import add_row
from oomsight.record.model import Change
from oomsight.record.pace import Filling, Pace, Reading, decide
from oomsight.record.tiers import TIERS, StoredFile, combine, expired
from oomsight.sinks.history_store import HistoryBusy, HistoryStore, HistoryStoreNewer
from oomsight.sources.history import History, HistoryError
from oomsight.sources.history_files import Shelf
from oomsight.sources.sampler import Places, Sampler

WALL = 1_700_000_000_000
PROCESS = len(FIELDS["process"])
VALUE = st.one_of(st.none(), st.just(UNLIMITED), st.integers(0, 1 << 40))


def process(anon: int) -> tuple:
    return (anon, 10, 0, 0, 5, 0, None, anon)


def words(pid: int, start: int = 1, name: str = "app") -> dict:
    return {"kind": "process", "pid": pid, "start": start, "name": name, "cgroup": "/a", "cmd": name, "age": start / 100}


def fill(store: HistoryStore, rows: int, *, first: int = 0, step_ms: int = 1000, shift: int = WALL) -> None:
    for i in range(first, first + rows):
        change = Change(rows=[(1, "process", process(1000 + i))])
        if i == first:
            change.new.append((1, words(42)))
        store.write(i * step_ms + 1000, shift + i * step_ms + 1000, change)


def read(path, field: str = "rss_anon_bytes"):
    history = History(str(path))
    low, high = history.span()
    entities = history.entities("process", low, high)
    return history, [history.series(entity, field, low, high) for entity in entities]


@given(st.lists(st.tuples(*[VALUE] * PROCESS), min_size=1, max_size=20))
def test_what_is_packed_comes_back(rows) -> None:
    builder, before = chunk.ChunkBuilder(), None
    for i, row in enumerate(rows):
        builder.begin_row(i * 1000, WALL + i * 1000)
        if data := codec.event(before, row):
            builder.add(7, "process", data, row[0])
        before = row
    if not builder.entities():
        return
    body = builder.body(3)
    head = chunk.chunk_head(body[: chunk.HEAD_BYTES])
    times, index = chunk.chunk_front(head, body)
    place = index.place(7)
    start = head.streams_at + index.start(place)
    stream = chunk.stream_of(index, place, body[start : start + (index.lengths[place] >> 1)])
    seen: list = [(None,) * PROCESS] * len(rows)
    for at, values in codec.events(stream, "process"):
        seen[at:] = [tuple(map(codec.plain, values[:PROCESS]))] * (len(rows) - at)
    assert seen == rows
    for figure in range(PROCESS):
        alone: list = [None] * len(rows)
        for life in dense.lives(stream, [figure], len(rows)):
            alone[life.first : life.end] = map(codec.plain, life.columns[0])
        assert alone == [row[figure] for row in rows]
    assert times == [i * 1000 for i in range(len(rows))]


@given(st.binary(max_size=200))
def test_damaged_bytes_raise_one_error_only(data) -> None:
    for read_it in (chunk.chunk_head, lambda d: add_row(chunk.ChunkBuilder(), d), lambda d: list(codec.events(d, "process")),
                    lambda d: dense.lives(d, [3, 0], 100)):  # fmt: skip
        try:
            read_it(data)
        except codec.DamagedError:
            continue
    assert all(len(body) <= len(data) for _, body, _ in codec.records(data))


def test_a_step_keeps_the_peak_of_what_fills_and_the_lowest_of_what_is_left() -> None:
    anon, floor = 0, PROCESS - 1
    kept = combine("process", process(500), process(100))
    assert (kept[anon], kept[floor]) == (500, 100)
    gatherer = Gatherer(TIERS[1])
    for second, size in ((1, 100), (5, 900), (9, 200)):
        assert gatherer.feed(second * 1000, WALL, Change(rows=[(1, "process", process(size))])) is None
    row = gatherer.feed(11_000, WALL, Change())
    assert row.parts == [(1, "process", combine("process", process(900), process(100))[:PROCESS])]
    assert gatherer.finish().parts[0][2][anon] == 200  # what it ended with is the next step's, without a new sample


def test_every_sample_comes_back_while_recording_and_after(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 300)
    for packed in (False, True):
        if packed:
            store.close()
        _, (series,) = read(tmp_path)
        assert list(series.values) == [(1000 + i) * 1024 for i in range(300)]
        assert series.times[1] - series.times[0] == pytest.approx(1)


def test_one_writer_only(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b")
    with pytest.raises(HistoryBusy):
        HistoryStore(str(tmp_path), "b")
    store.close()


def test_a_cut_or_damaged_file_costs_itself_only(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 250)
    store.close()
    file = next(tmp_path.glob("t0-*.hist"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data[:-20])
    history, series = read(tmp_path)
    assert history.damaged or len(series[0]) < 250
    assert list(series[0].times) == sorted(series[0].times)
    assert all(1000 * 1024 <= value <= 1250 * 1024 for value in series[0].values)
    again = HistoryStore(str(tmp_path), "b" * 32)  # and the next run goes on
    fill(again, 50, first=1000)
    again.close()
    assert read(tmp_path)[1][0].values[-1] == (1000 + 1049) * 1024


def test_a_damaged_journal_is_set_aside_and_said(tmp_path) -> None:
    (tmp_path / "t0.journal").write_bytes(b"nonsense" * 10)
    store = HistoryStore(str(tmp_path), "b")
    assert "is kept as" in store.remarks[0]
    store.close()
    assert list(tmp_path.glob("t0.journal.damaged-*"))


def test_a_newer_format_is_named(tmp_path) -> None:
    (tmp_path / "t0-00000001.hist").write_bytes(codec.MAGIC[:4] + b"\x09" + codec.MAGIC[5:] + b"x" * 40)
    with pytest.raises(HistoryError, match="newer oomsight"):
        History(str(tmp_path))


@pytest.mark.parametrize("name", ["t0-00000001.hist", "t2.journal"])
def test_nothing_is_added_to_a_newer_format(tmp_path, capsys, name) -> None:
    theirs = codec.MAGIC[:4] + b"\x09" + codec.MAGIC[5:] + b"x" * 40
    (tmp_path / name).write_bytes(theirs)
    with pytest.raises(HistoryStoreNewer, match="newer oomsight"):
        HistoryStore(str(tmp_path), "b")
    for command in (["record", "--once"], ["history"], ["leaks"], ["forecast"]):
        assert run([*command, "--store", str(tmp_path)]) == 4
        assert "format 9); update this oomsight, or give another --store" in capsys.readouterr().err
    assert (outlook(str(tmp_path), 0.0).missing or "").endswith("newer oomsight (format 9)")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {name: theirs, "lock": b""}


def test_leaks_and_forecast_say_what_is_damaged(tmp_path, capsys) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 250)
    store.close()
    file = next(tmp_path.glob("t0-*.hist"))
    data = bytearray(file.read_bytes())
    data[-40] ^= 255
    file.write_bytes(data + b"nonsense" * 9)
    for command in (["history", "42"], ["leaks"], ["forecast"]):
        run([*command, "--store", str(tmp_path), "--since", "2023-01-01"])
        assert "damaged part(s) left out" in capsys.readouterr().err, command


def test_a_clock_set_later_corrects_what_was_recorded_before(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 100, shift=WALL - 3_600_000)
    fill(store, 100, first=100, shift=WALL)  # an hour forward
    store.close()
    _, (series,) = read(tmp_path)
    assert len(series) == 200
    assert max(b - a for a, b in pairwise(series.times)) == pytest.approx(1)
    assert series.times[-1] == pytest.approx((WALL + 200_000) / 1000)


def test_suspension_is_a_gap(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    fill(store, 10)
    fill(store, 10, first=5000)
    store.close()
    _, (series,) = read(tmp_path)
    assert max(b - a for a, b in pairwise(series.times)) > 4900
    assert len(series) == 20


def test_a_reused_pid_is_another_process(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    store.write(1000, WALL + 1000, Change([(1, words(42, 1))], [(1, "process", process(100))]))
    store.write(2000, WALL + 2000, Change([(2, words(42, 999))], [(2, "process", process(7))], [1]))
    store.close()
    _, series = read(tmp_path)
    assert sorted(tuple(one.values) for one in series) == [(7 * 1024,), (100 * 1024,)]


def test_kill_9_loses_nothing_written(tmp_path) -> None:
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "record", "--interval", "0.1",
               "--store", str(tmp_path)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if len(History(str(tmp_path)).hours(0, 1e11)) >= 5:
                    break
            except HistoryError:
                pass
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    before = History(str(tmp_path)).hours(0, 1e11)
    assert len(before) >= 5
    HistoryStore(str(tmp_path), "another").close()
    history = History(str(tmp_path))
    assert history.hours(0, 1e11) == before
    assert history.damaged == 0
    assert history.at(before[-1]).processes


def lives(store, seconds: int) -> None:
    """A machine with processes that come, change and go."""
    chance = random.Random(5)
    store.write(1000, WALL + 1000, Change([(1, {"kind": "host", "name": "box"})], [(1, "host", (0,) * len(FIELDS["host"]))]))
    there: list[int] = []
    for i in range(2, seconds):
        change = Change()
        if i % 37 == 2:
            there.append(i)
            change.new.append((i, {"kind": "process", "pid": i, "start": i, "name": "app", "cgroup": "/"}))
            change.rows.append((i, "process", process(90_000)))
        change.rows += [(n, "process", process(chance.randrange(70_000, 90_000))) for n in there if chance.random() < 0.1]
        if len(there) > 5 and i % 23 == 0:
            gone = there.pop(0)
            change.rows = [row for row in change.rows if row[0] != gone]
            change.gone.append(gone)
        store.write(i * 1000, WALL + i * 1000, change)


def rows_of(path, tier: int) -> dict[str, list[tuple[float, int]]]:
    """Who held how much when, by what one tier alone says."""
    shelf, found = Shelf(str(path)), {}
    for piece in [one for one in shelf.chunks if one.tier == tier]:
        assert shelf.load(piece, "process")
        for number, stream in shelf.lived(piece, piece.index.entities).items():
            one = shelf.words(piece.file, "process").get(number)
            state = dict(events_of(stream, "process", len(piece.times))) if one is not None else {}
            now = None
            for row, moment in enumerate(piece.times):
                now = state.get(row, now)
                if now is not None and now >= 0:
                    found.setdefault(one.ident, []).append((moment, now))
    return found


def events_of(stream: bytes, kind: str, rows: int):
    for row, values in codec.events(stream, kind, rows):
        yield row, -1 if values is None else values[0]


@pytest.mark.parametrize("seconds", [47, 700, 1437, 3000, 7333, 7805])
def test_what_a_kill_left_open_is_rebuilt_from_the_finer_tier(tmp_path, seconds) -> None:
    """
    After a kill the last row of every tier is that of the last sample: between what everybody held at its end and the
    highest since the row before, and nobody who had ended before is in it.
    """
    killed = tmp_path / "killed"
    store = HistoryStore(str(tmp_path / "runs"), "b" * 32)
    lives(store, seconds)
    shutil.copytree(tmp_path / "runs", killed)
    store.close()
    before = {tier: rows_of(killed, tier) for tier in range(4)}
    for boot in ("b", "c"):  # killed again before its first sample
        again = HistoryStore(str(killed), boot * 32)
        assert not again.remarks
        os.close(again._lock)
    assert rows_of(killed, 0) == before[0]
    for tier in (1, 2, 3):
        found = rows_of(killed, tier)
        rows = sorted({moment for some in found.values() for moment, _ in some})
        assert rows[-1] == (seconds - 1) * 1000
        low = rows[-2] if len(rows) > 1 else 0
        for who, finest in before[0].items():
            assert found.get(who, [])[: len(before[tier].get(who, ()))] == before[tier].get(who, [])
            step = TIERS[tier - 1].step_seconds * 1000  # as near as the finer tier knows
            about = [value for moment, value in finest if moment >= low - step]
            last = [value for moment, value in found.get(who, ()) if moment == rows[-1]]
            assert about or not last, (tier, who)
            if any(moment > low for moment, _ in finest):
                assert finest[-1][1] <= last[0] <= max(about), (tier, who)


def test_killed_again_and_again_at_random_moments(tmp_path) -> None:
    chance, before = random.Random(11), 0
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "record", "--interval", "0.1",
               "--store", str(tmp_path)]  # fmt: skip
    for _ in range(5):
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while moments(tmp_path) <= before and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 0.7))  # this is the moment, not a wait for anything
        finally:
            child.kill()
            child.wait()
        history = History(str(tmp_path))
        found = history.hours(0, 1e11)
        assert history.damaged == 0
        assert len(found) > before
        before = len(found)
        for entity in history.entities("name", *history.span())[:5]:
            series = history.series(entity, "rss_anon_bytes", *history.span())
            assert list(series.times) == sorted(set(series.times))


def moments(path) -> int:
    try:
        return len(History(str(path)).hours(0, 1e11))
    except HistoryError:
        return 0


def test_cut_anywhere_the_rest_is_whole_and_recording_goes_on(tmp_path) -> None:
    """A crash may end a file at any byte: what is before it is read, nothing is read wrong, the next run goes on."""
    whole = tmp_path / "whole"
    store = HistoryStore(str(whole), "b" * 32)
    fill(store, 150)
    files = {file.name: file.read_bytes() for file in whole.iterdir()}
    store.close()
    truth = {i + 1: (1000 + i) * 1024 for i in range(150)}
    chance = random.Random(3)
    cuts = [(name, chance.randrange(len(files[name]) + 1)) for name in files for _ in range(25) if files[name]]
    for number, (name, cut) in enumerate(cuts):
        place = tmp_path / str(number)
        place.mkdir()
        for other, data in files.items():
            (place / other).write_bytes(data[:cut] if other == name else data)
        for _ in range(2):  # as it was left, and after a run has taken it up
            history = History(str(place))
            span = history.span()
            if span is not None:
                for entity in history.entities("process", *span):
                    series = history.series(entity, "rss_anon_bytes", *span)
                    for moment, value in zip(series.times, series.values, strict=True):
                        assert truth[round(moment - WALL / 1000)] == value, (name, cut)
            HistoryStore(str(place), "c" * 32).close()
        if name.endswith("journal"):
            (again,) = read(place)[1]
            assert len(again) >= 120  # what was packed does not depend on the journal


def test_full_disk_is_a_gap_and_no_damage(tmp_path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        store = HistoryStore(str(place / "h"), "b" * 32)
        fill(store, 50)
        blocker = place / "blocker"
        assert subprocess.run(["dd", "if=/dev/zero", f"of={blocker}", "bs=4k"], check=False, stderr=-3).returncode
        chance = random.Random(5)
        for i in range(50, 900):
            noise = [(n, "process", process(chance.randrange(1 << 20))) for n in range(2, 30)]
            store.write(i * 1000 + 1000, WALL + i * 1000 + 1000,
                        Change([(n, words(n)) for n in range(2, 30)] if i == 50 else [], noise))
        assert store.health.trouble is not None
        assert any("every 10 s is kept" in remark for remark in store.remarks)
        blocker.unlink()
        fill(store, 30, first=2000)
        assert store.health.trouble is None
        assert "can be written again; of a part of this time only every 10 s is kept" in store.remarks[-1]
        assert len(store.remarks) == 3  # each once
        store.close()
        history, _ = read(place / "h")
        assert history.damaged == 0
        moments = history.hours(0, 1e11)
        assert len(moments) >= 80
        assert max(b - a for a, b in pairwise(moments)) > 60
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)  # also where a failure left it in use


def test_a_disk_that_is_full_for_a_moment_costs_no_sample(tmp_path, monkeypatch) -> None:
    store, write = HistoryStore(str(tmp_path), "b" * 32), os.pwrite
    fill(store, 50)
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    fill(store, 40, first=50)
    assert store.remarks == [f"{tmp_path}: no space left on device; samples wait in memory"]
    monkeypatch.setattr(os, "pwrite", write)
    fill(store, 30, first=90)
    assert "can be written again" in store.remarks[-1]
    assert not any("gap" in remark for remark in store.remarks)
    store.close()
    moments = read(tmp_path)[0].hours(0, 1e11)
    assert max(b - a for a, b in pairwise(moments)) < 1.5
    assert len(moments) >= 120


def test_short_lived_processes_are_summed_never_rows_of_their_own(tmp_path) -> None:
    gatherer = Gatherer(TIERS[1])
    for i in range(200):
        gatherer.feed(i * 40, WALL, Change(rows=[(i, "process", process(50))], gone=[i - 1] if i else []))
    row = gatherer.finish()
    assert len(row.parts) <= 1
    assert not gatherer.held or len(gatherer.held) == 1


def test_the_sampler_sees_this_process_with_few_system_calls() -> None:
    sampler = Sampler(Places())
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    change = sampler.sample(now)
    mine = next(d for _, d in change.new if d.get("pid") == os.getpid())
    assert mine["start"] > 0
    opened: list[str] = []
    real = os.open
    try:
        os.open = lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more)
        sampler.sample(now + 1)
    finally:
        os.open = real
        sampler.close()
    processes = sum(name.isdecimal() for name in os.listdir("/proc"))
    # psutil opens at least stat, status and statm of each process each time.
    assert len([path for path in opened if path.startswith("/proc/")]) < 3 * processes


def test_retention_removes_the_oldest_and_never_the_newest() -> None:
    files = [StoredFile(f"t{t}-{i}", t, 100, 1000.0 * i) for t in (0, 3) for i in range(5)]
    assert set(expired(files, 20_000, None)) == {f"t0-{i}" for i in range(4)}
    left = {file.name for file in files} - set(expired(files, 4000, 300))
    assert {"t0-4", "t3-4"} <= left
    assert len(left) == 3


def test_pace_is_dense_for_a_reason_and_a_while_after() -> None:
    filling = Filling()  # 64 MiB with 600 left: nothing for a burst that ends, soon for what goes on
    assert [filling.feed(5.0 * i, left) for i, left in enumerate((600, 600))] == [None, None]
    soon = [filling.feed(10.0 + 5 * i, 600 - 60 * (i + 1)) for i in range(5)]
    assert [seconds < 120 for seconds in soon] == [False, True, True, True, True]
    assert decide(Pace(), Reading(0, 0.9, 0.0, cgroup_seconds=soon[1])).reason == "a cgroup fills up fast"
    calm = decide(Pace(), Reading(0, 0.9, 0.0))
    assert (calm.wait_seconds, calm.reason) == (5.0, None)
    dense = decide(calm, Reading(10, 0.05, 0.0))
    assert dense.wait_seconds == 1.0
    assert decide(dense, Reading(30, 0.9, 0.0)).wait_seconds == 1.0
    assert decide(dense, Reading(100, 0.9, 0.0)).wait_seconds == 5.0
    new = decide(calm, Reading(10, 0.9, 0.0, new_limits=True))
    assert (new.wait_seconds, new.reason) == (1.0, "a cgroup with a limit is new")
    assert [decide(new, Reading(moment, 0.9, 0.0)).wait_seconds for moment in (29, 31)] == [1.0, 5.0]
    assert decide(dense, Reading(11, 0.9, 0.0, new_limits=True)).dense_until == 70  # a longer reason lasts


@pytest.mark.parametrize(
    ("line", "secret"),
    [("app\0--password=hunter2", "hunter2"), ("app\0--token\0abc123", "abc123"), ("mysql\0-phunter2", "hunter2"),
     ("x\0postgres://u:pw9@host/db", "pw9"), ("curl\0-H\0Authorization: Bearer zzz9", "zzz9")],
)  # fmt: skip
def test_secrets_do_not_get_on_record(line, secret) -> None:
    assert secret not in masked(line.encode())
    assert masked(b"nginx: worker process\0") == "nginx: worker process"


def test_the_command_line_shows_what_was_recorded(tmp_path) -> None:
    place, run = str(tmp_path / "h"), CliRunner()
    assert run.invoke(cli, ["record", "--store", place, "--interval", "0.1", "--count", "4"]).exit_code == 0
    for arguments in ([], ["--at", "now"], ["--by", "cgroup"], ["--by", "name", "--format", "csv"],
                      ["--format", "json"], ["--at", "now", "--format", "json"], ["--list-fields"],
                      [str(os.getpid())]):  # fmt: skip
        result = run.invoke(cli, ["history", "--store", place, *arguments])
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        assert result.output.strip()
