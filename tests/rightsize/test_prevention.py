"""Real kills played again: what the advice would have changed, and a real kill that the advice really prevents."""

from __future__ import annotations

import gzip
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from oomsight.audit.registry import rules
from oomsight.diagnose.explain import explain_report
from oomsight.naming.marked import unmark
from oomsight.pipeline.prevention import replay
from oomsight.report import parse_text
from oomsight.rightsize.prevention import CURES
from oomsight.sinks.prevention import prevention_blocks, prevention_document
from oomsight.sinks.text import render_text

GOLDEN = Path(__file__).parents[1] / "golden"


def raw_of(folder: Path) -> bytes:
    path = next(p for p in sorted(folder.iterdir()) if p.name.split(".")[0] in {"dmesg", "kmsg", "console"})
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def played(name: str):
    result = replay(raw_of(GOLDEN / name), "")
    assert result is not None
    return {(one.rule, one.outcome): one for one in result.found}, result


BY_NAME = {cure.title: cure.rule for cure in CURES}
LIMIT, SWAP, NOISY, ADJ, ALLOCATING, HUGE, TMPFS, PANIC, TASKS, GROUP = (cure.rule for cure in CURES)


def test_every_cure_is_a_rule_of_the_audit() -> None:
    assert {cure.rule for cure in CURES} - {"rightsize"} <= {row.id for row in rules()}


@pytest.mark.parametrize(
    ("name", "rule", "outcome"),
    [
        ("6.12.107-memcg_max", LIMIT, "prevented"),
        ("7.3.4-global_noswap", SWAP, "prevented"),
        ("6.1.192-many300", NOISY, "prevented"),  # what held the memory cannot be killed: it is alone with its limit
        ("6.1.192-many300", ADJ, "other_victim"),
        ("7.3.4-kill_allocating", ALLOCATING, "other_victim"),
        ("7.3.4-kill_allocating", NOISY, "other_victim"),
        ("6.18.15-hugetlb_reserved", HUGE, "prevented"),
        ("6.12.107-tmpfs_fill", TMPFS, "prevented"),
        ("7.3.4-panic_on_oom1", PANIC, "other_victim"),
        ("6.18.15-panic_on_oom2", PANIC, "other_victim"),
        ("7.3.4-forkbomb_memcg", TASKS, "prevented"),  # refused forks need no memory
        ("7.3.4-forkbomb_memcg", LIMIT, "delayed"),  # a bomb never has enough
        ("6.1.192-memcg_group", GROUP, "other_victim"),
        ("6.18.15-global_oomgroup", GROUP, "other_victim"),
    ],
)
def test_a_rule_changes_what_the_kernels_rules_say(name, rule, outcome) -> None:
    found, _ = played(name)
    assert (rule, outcome) in found, sorted(found)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("6.18.15-movable_zone", SWAP), ("7.3.4-global_swap_disk", SWAP), ("6.12.107-memcg_max", SWAP),
     ("7.3.4-global_noswap", PANIC), ("7.3.4-global_noswap", TASKS), ("7.3.4-global_noswap", GROUP),
     ("7.3.4-global_noswap", HUGE), ("7.3.4-global_noswap", TMPFS)],
)  # fmt: skip
def test_a_rule_that_does_not_apply_is_silent(name, rule) -> None:
    found, _ = played(name)
    assert rule not in {key[0] for key in found}


def test_a_kill_a_person_asked_for_is_prevented_by_nothing() -> None:
    raw = raw_of(GOLDEN / "7.3.4-sysrq_f")
    asked = [explain_report(report).id for report in parse_text(raw, "the stored incident") if report.sysrq]
    assert asked
    assert all(replay(raw, one).found == () for one in asked)


def test_a_report_without_a_table_says_why_it_cannot_be_played() -> None:
    _, result = played("6.18.15-dump_tasks0")
    assert "no task table" in unmark(result.missing)
    text = render_text(prevention_blocks("x", (), result.missing), width=80, colour=False, unicode=True)
    assert "It cannot be played again" in text


@pytest.mark.parametrize("path", sorted(p.parent for p in GOLDEN.glob("*/expected.json")), ids=lambda p: p.name)
def test_every_capture_can_be_told(path) -> None:
    result = replay(raw_of(path), "")
    if result is None:
        assert "negatives" in path.name or "notime" in path.name
        return
    document = prevention_document("0", result.incident.id, result.incident.headline, result.found, result.missing)
    assert all("\x02" not in str(row) for row in document["rules"])
    text = render_text(
        prevention_blocks(result.incident.headline, result.found, result.missing), width=80, colour=False, unicode=True
    )
    assert all(ord(char) >= 32 or char == "\n" for char in text)


# -- reality ----------------------------------------------------------------------------------------------------------

V1 = Path("/sys/fs/cgroup/memory")
NEED_BYTES = 24 << 20


def _hog(limit_bytes: int) -> int:
    """Wait status of a process that needs :data:`NEED_BYTES` in a cgroup of *limit_bytes*."""
    group = V1 / f"oomsight-prevent-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        with suppress(OSError):  # swap accounting may be off
            (group / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
        pid = os.fork()
        if pid == 0:
            try:
                (group / "cgroup.procs").write_text(str(os.getpid()))
                block = bytearray(NEED_BYTES)
                for at in range(0, len(block), 4096):
                    block[at] = 1
                os._exit(0)
            except BaseException:
                os._exit(3)
        return os.waitpid(pid, 0)[1]
    finally:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.02)


def _log_since(mark: str) -> bytes:
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    records = []
    with suppress(BlockingIOError):
        while True:
            try:
                records.append(os.read(fd, 8192))
            except BrokenPipeError:  # overwritten while we read
                continue
    os.close(fd)
    start = next((n for n, record in enumerate(records) if mark.encode() in record), None)
    return b"".join(records[start:]) if start is not None else b""


@pytest.mark.live
@pytest.mark.xdist_group("kills")
def test_the_limit_it_recommends_really_prevents_the_kill() -> None:
    if os.geteuid() != 0 or not os.access(V1 / "memory.limit_in_bytes", os.W_OK):
        pytest.skip("needs root and a version 1 memory controller")
    for attempt in range(4):  # another test's storm may cost us the report's head (printk's rate limit)
        mark = f"oomsight prevention test {os.getpid()} {attempt}"
        with open("/dev/kmsg", "wb", buffering=0) as log:
            log.write(f"<6>{mark}\n".encode())
        status = _hog(20 << 20)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        own = f"/oomsight-prevent-{os.getpid()}".encode()
        if (raw := _log_since(mark)).count(own) and (result := _mine(raw, own)) is not None:
            break
        time.sleep(6)  # the rate limit opens again after 5 s (mm/oom_kill.c)
    else:
        pytest.skip("the kernel log is flooded: every report came without its head")
    limit = next(one for one in result.found if one.rule == LIMIT)
    assert limit.outcome == "prevented"
    size = int(limit.setting.split("a limit of ")[1].split(" MiB")[0].split(".")[0]) << 20
    assert NEED_BYTES <= size <= 2 * NEED_BYTES
    assert _hog(size) == 0  # it lives


def _mine(raw: bytes, own: bytes):
    for report in parse_text(raw, "x"):
        if report.oom_memcg == own.decode() and report.tasks:
            return replay(raw, explain_report(report).id)
    return None
