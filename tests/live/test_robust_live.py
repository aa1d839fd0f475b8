"""What goes wrong around an agent: a full or read-only disk, a log that overran, a journald that was restarted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from oomsight.daemons.detector import Detector, Sources
from oomsight.sinks.store import Reader, StoreError

from .docker_rig import eventually
from .test_alerts_live import ROOT, agent, bench

pytestmark = [pytest.mark.live, pytest.mark.skipif(bench.why_not() is not None, reason=f"live: {bench.why_not()}")]

QUIET = "[record]\nenabled = false\n[alerts.memory]\nenabled = false\n"
JOURNALD = "/lib/systemd/systemd-journald"


@contextmanager
def disk(path: Path, size: str):
    """A file system of its own at *path*."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def _stored(path: Path) -> set[int | None]:
    try:
        reader = Reader(str(path))
    except StoreError:
        return set()
    try:
        return {row.pid for row in reader.rows() if row.stage == "complete"}
    finally:
        reader.close()


def test_full_disk_loses_no_kill_once_there_is_room(tmp_path) -> None:
    with disk(tmp_path / "disk", "1m") as folder, agent(folder, QUIET) as process, bench.scratch("disk") as group:
        first = bench.kill_one(group)
        eventually(lambda: first in _stored(folder / "i.db"))
        filler = folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:  # until it is full
                file.write(bytes(4096))
        pids = [bench.kill_one(group) for _ in range(12)]
        # The log has no room either, so it cannot say so; the agent goes on all the same.
        time.sleep(1)
        assert process.poll() is None
        assert not set(pids) <= _stored(folder / "i.db")
        filler.unlink()
        eventually(lambda: set(pids) <= _stored(folder / "i.db"))
        reader = Reader(str(folder / "i.db"))
        found = [row.pid for row in reader.rows() if row.pid in pids]
        reader.close()
        assert sorted(found) == sorted(pids)


def test_read_only_disk_is_said_and_kills_are_kept_until_it_can_be_written(tmp_path) -> None:
    with disk(tmp_path / "disk", "8m") as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        extra = QUIET.replace("[record]", f"[record]\npath = '{tmp_path}/history'")
        with _agent_with_store(tmp_path, folder / "i.db", extra) as process, bench.scratch("ro") as group:
            pids = [bench.kill_one(group) for _ in range(3)]
            log = tmp_path / "agent.log"
            eventually(lambda: "events are kept in memory until it can be written" in log.read_text())
            assert process.poll() is None
            subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
            eventually(lambda: set(pids) <= _stored(folder / "i.db"))
            eventually(lambda: "it can be written again" in log.read_text())
        assert "Traceback" not in log.read_text()


@contextmanager
def _agent_with_store(folder: Path, store: Path, extra: str):
    """An agent whose configuration and log lie elsewhere than its store."""
    config = folder / "agent.toml"
    config.write_text(f'[store]\npath = "{store}"\n[sources]\njournal = false\nhistory = false\n{extra}')
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "agent", "-c", str(config)]
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stderr=log)
    try:
        eventually(lambda: "store: " in (folder / "agent.log").read_text())
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_log_that_overran_is_noted_and_the_next_kill_is_told() -> None:
    told, notes = [], []
    detector = Detector(Sources(journal=False, cgroups=False, tracepoint=False, history=False), told.append, notes.append)
    with bench.scratch("overrun") as group:
        try:
            detector.open()
            first = bench.kill_one(group)
            eventually(lambda: detector.poll(0.05) or any(k.pid == first for e in told for k in e.kills))
            _overrun(_ring_bytes())  # and nobody reads meanwhile
            last = bench.kill_one(group)
            eventually(lambda: detector.poll(0.05) or any(k.pid == last for e in told for k in e.kills))
        finally:
            detector.close()
    assert [note.code for note in notes if note.code == "records_lost"]
    assert detector.health.sources["/dev/kmsg"].lost > 0


def _overrun(count: int) -> None:
    """Write *count* bytes into the kernel's log, as a user's program may: ten lines each time it is opened."""
    line = b"<14>oomsight test: " + b"x" * 900 + b"\n"
    for _ in range(count // (10 * len(line)) + 1):
        fd = os.open("/dev/kmsg", os.O_WRONLY)
        for _ in range(10):
            os.write(fd, line)
        os.close(fd)


def _ring_bytes() -> int:
    import ctypes

    size = int(ctypes.CDLL(None).klogctl(10, None, 0))  # SYSLOG_ACTION_SIZE_BUFFER
    if not 0 < size <= 1 << 20:
        pytest.skip(f"the kernel's log buffer has {size:,} bytes: the test would push out too much of it")
    return size


IN_A_NAMESPACE = f"""
mount -t tmpfs none /run && mkdir -p /run/log/journal /run/systemd/journal || exit 9
{JOURNALD} 2>/dev/null & journald=$!
while [ -z "$(ls /run/log/journal/*/*.journal 2>/dev/null)" ]; do sleep 0.05; done
"$@" <&- &
watch=$!
while read -r order; do
    case $order in
    stop) kill $journald; wait $journald ;;
    start) {JOURNALD} 2>/dev/null & journald=$! ;;
    esac
    echo "{{}}"
done
kill -INT $watch; wait $watch
kill $journald
"""
"""A journald that only this test sees: it reads the same /dev/kmsg and writes below its own /run."""


WATCH_THE_JOURNAL = """
import signal
from oomsight.daemons.detector import Sources
from oomsight.daemons.watch import watch
from oomsight.sinks.live_event import event_dict, event_json
signal.signal(signal.SIGINT, signal.default_int_handler)
sources = Sources(kmsg=False, cgroups=False, tracepoint=False, history=False)
try:
    watch(sources, lambda event, seen: print(event_json(event_dict(event, seen)), flush=True), lambda *_: None,
          lambda *_: print("{}", flush=True))
except KeyboardInterrupt:
    pass
"""


def test_restart_of_journald_loses_no_kill_and_tells_none_twice() -> None:
    if not os.path.exists(JOURNALD) or shutil.which("unshare") is None or shutil.which("journalctl") is None:
        pytest.skip("systemd-journald, journalctl or unshare is not installed (Debian: systemd, util-linux)")
    watch = [sys.executable, "-c", WATCH_THE_JOURNAL]
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", IN_A_NAMESPACE, "sh", *watch], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen: list[dict] = []
    rest = b""

    def read() -> list[dict]:
        nonlocal rest
        if process.poll() == 9:
            pytest.skip("no tmpfs may be mounted in a namespace of our own")
        assert process.stdout is not None
        with suppress(BlockingIOError):
            rest += os.read(process.stdout.fileno(), 1 << 20)
        *lines, rest = rest.split(b"\n")
        seen.extend(json.loads(line) for line in lines if line)
        return seen

    def told(pid: int) -> bool:
        return any(kill["pid"] == pid for event in read() for kill in event.get("kills", ()))

    def order(word: str) -> None:
        assert process.stdin is not None
        before = seen.count({})
        process.stdin.write(f"{word}\n".encode())
        process.stdin.flush()
        eventually(lambda: read().count({}) > before)

    try:
        eventually(lambda: read().count({}) > 0)
        with bench.scratch("journald") as group:
            pids = [bench.kill_one(group)]
            eventually(lambda: told(pids[0]))
            order("stop")
            pids.append(bench.kill_one(group))  # journald reads on from where it was
            order("start")
            pids.append(bench.kill_one(group))
            eventually(lambda: told(pids[1]) and told(pids[2]))
        complete = [e["event_id"] for e in read() if e.get("stage") == "complete"]
        assert len(complete) == len(set(complete))
        first = [kill["pid"] for e in read() if e.get("stage") == "provisional" for kill in e["kills"]]
        assert [pid for pid in first if pid in pids] == pids
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
