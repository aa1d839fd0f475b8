"""
The simulator against this machine's kernel: the same scenario on paper and in a scratch memory cgroup.

The hogs live only inside a cgroup of at most 256 MiB, are this test's own processes, and are gone at its end. The same
victim must die, in the same order, at the same time within :data:`TOLERANCE_SECONDS` plus 5 % of the time since the
start, or later by what the hogs and we who watch them waited for a CPU, which is the load of others. The table in
docs/explanation/simulator.md is what this test measured (``pytest -rP`` prints it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from oomsight.simulate.engine import simulate
from oomsight.simulate.scenario import Scenario, read_scenario

pytestmark = pytest.mark.live

MEMORY = Path("/sys/fs/cgroup/memory")
MIB = 1 << 20
TOLERANCE_SECONDS = 0.5
RUN_SECONDS = 12.0
STEP_SECONDS = 0.05

# Grows by the clock, not by steps: a busy machine makes it late, not slow. kind, MiB at once, MiB a second, MiB at most.
HOG = """
import mmap, sys, time
kind, size, rate, most, path = sys.argv[1], *map(float, sys.argv[2:5]), sys.argv[5]
held, chunk, MIB = [], b"x" * (1 << 18), 1 << 20
out = open(path, "wb", buffering=0) if kind == "file" else None
def take(amount):
    while amount > 0:
        if out is not None:
            out.write(chunk)
        else:
            page = mmap.mmap(-1, 1 << 18, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.write(chunk)
            held.append(page)
        amount -= 1 << 18
    return -amount
take(int(size * MIB))
print("ready", flush=True)
sys.stdin.readline()
begin, had = time.monotonic(), 0
while True:
    wanted = min((time.monotonic() - begin) * rate, most) * MIB
    if wanted > had:
        had = wanted + take(int(wanted - had))
    time.sleep(0.01)
"""


AT_ONCE = 1e6  #: MiB a second: as fast as it can


class Hog(NamedTuple):
    """One process, on paper and for real."""

    name: str
    size_mib: float = 1
    rate_mib: float = 0  #: a second
    most_mib: float = 250
    adj: int = 0
    cgroup: str = ""  #: below the scratch cgroup
    kind: str = "anon"  #: or ``file``: written to a tmpfs
    cache_mib: int = 0  #: page cache it has read before the start


class Case(NamedTuple):
    """One scenario."""

    limit_mib: int
    hogs: tuple[Hog, ...]
    deaths: int = 1  #: how many to wait for


CASES = {
    "a leak alone": Case(96, (Hog("leak", rate_mib=50),)),
    "the leak is the biggest": Case(128, (Hog("sitter", 40), Hog("leak", rate_mib=50))),
    "the sitter is the biggest": Case(128, (Hog("sitter", 70), Hog("leak", rate_mib=50)), 2),
    "adj outweighs size": Case(128, (Hog("sitter", 70), Hog("leak", rate_mib=50, adj=500))),
    "a jump far beyond the limit": Case(128, (Hog("sitter", 70), Hog("jump", rate_mib=AT_ONCE, most_mib=240)), 2),
    "nested cgroups, the parent's limit": Case(
        128, (Hog("side", 70, cgroup="/side"), Hog("main", rate_mib=40, cgroup="/main"))
    ),
    "tmpfs stays when its writer dies": Case(
        128, (Hog("app", 30), Hog("writer", rate_mib=50, most_mib=200, kind="file")), 2
    ),
    "page cache goes first": Case(128, (Hog("reader", 5, cache_mib=80), Hog("leak", rate_mib=50))),
}


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A cgroup of this test; skips with a reason where there can be none."""
    if not (MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip("no cgroup v1 memory controller at /sys/fs/cgroup/memory")
    path = MEMORY / f"oomsight-sim-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"memory cgroups cannot be made here: {error.strerror}")
    try:
        yield path
    finally:
        _empty(path)


def _empty(path: Path) -> None:
    """Kill what is left in *path* and remove it."""
    for below in [*(p for p in path.iterdir() if p.is_dir()), path]:
        for pid in (below / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(100):
            try:
                below.rmdir()
                break
            except OSError:
                time.sleep(0.02)


def _start(hog: Hog, cgroup: Path, work: Path) -> subprocess.Popen[str]:
    """A hog inside *cgroup*, holding its first memory, waiting for the start."""
    cgroup.mkdir(exist_ok=True)
    command = 'echo $$ > "$0/cgroup.procs"; echo "$1" > /proc/self/oom_score_adj; shift; exec "$@"'
    args = [hog.kind, hog.size_mib, hog.rate_mib, hog.most_mib, work / hog.name]
    return subprocess.Popen(
        ["/bin/sh", "-c", command, str(cgroup), str(hog.adj), sys.executable, "-I", "-S", "-c", HOG, *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


class Death(NamedTuple):
    """What became of one hog for real."""

    seconds: float  #: since the start
    name: str
    waited_seconds: float  #: all hogs and this process, for a CPU, until then


def _waited_seconds(pid: int) -> float:
    """How long *pid*, dead or alive, has waited for a CPU in all; 0 where the kernel does not count it."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


def _anon_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def _real(case: Case, scratch: Path, work: Path) -> tuple[list[Death], dict[str, int]]:
    """The deaths, and what each hog held at the start."""
    (scratch / "memory.limit_in_bytes").write_text(str(case.limit_mib * MIB))
    running: dict[str, subprocess.Popen[str]] = {}
    started: list[subprocess.Popen[str]] = []
    deaths: list[Death] = []
    try:
        for hog in case.hogs:
            started.append(_start(hog, scratch / hog.cgroup.lstrip("/"), work))
            running[hog.name] = started[-1]
            assert running[hog.name].stdout.readline() == "ready\n"
            if hog.cache_mib:
                _read_cache(scratch, work, hog.cache_mib)
        held = {name: _anon_bytes(process.pid) for name, process in running.items()}
        before = {pid: _waited_seconds(pid) for pid in (os.getpid(), *(process.pid for process in started))}
        waited = dict(before)
        begin = time.monotonic()
        for process in running.values():
            process.stdin.write("go\n")
            process.stdin.flush()
        while len(deaths) < case.deaths and time.monotonic() - begin < RUN_SECONDS:
            waited[os.getpid()] = _waited_seconds(os.getpid())
            for name, process in list(running.items()):
                waited[process.pid] = _waited_seconds(process.pid)  # before poll, after which a dead one is gone
                if process.poll() is not None:
                    assert process.returncode == -signal.SIGKILL
                    lost = sum(waited.values()) - sum(before.values())
                    deaths.append(Death(time.monotonic() - begin, name, lost))
                    del running[name]
            time.sleep(0.005)
        return deaths, held
    finally:
        for process in running.values():
            process.kill()
        for process in started:
            process.wait(10)
            process.stdin.close()
            process.stdout.close()
        for file in work.iterdir():
            file.unlink()


def _read_cache(scratch: Path, work: Path, mib: int) -> None:
    """Fill page cache of *scratch* by a process that is gone again; the file stays until the hogs are gone."""
    script = f'echo $$ > {scratch}/cgroup.procs; head -c {mib * MIB} /dev/zero > "$0"; sync "$0"; cat "$0" > /dev/null'
    subprocess.run(["/bin/sh", "-c", script, str(work / "cache")], check=True, timeout=60)
    assert int((scratch / "memory.usage_in_bytes").read_text()) > mib * MIB // 2


def _on_paper(case: Case, held: dict[str, int]) -> Scenario:
    """The same scenario for the simulator, told what each hog held at the start."""
    text = (
        f'title = "reality"\n[run]\nduration = {RUN_SECONDS}\nstep = {STEP_SECONDS}\nkernel = "{os.uname().release}"\n'
        f'[machine]\nram = "16GiB"\n[[cgroup]]\npath = "/s"\nmax = "{case.limit_mib}MiB"\n'
    )
    for hog in case.hogs:
        kind = f'kind = "constant"\nsize = {held[hog.name]}'
        if hog.rate_mib:
            at_once = hog.rate_mib >= AT_ONCE
            rate = hog.most_mib / STEP_SECONDS if at_once else hog.rate_mib
            kind = (
                f'kind = "leak"\nsize = {held[hog.name]}\nrate = "{rate}MiB/s"\nstep_every = {STEP_SECONDS}\n'
                f'shape = "{"step" if at_once else "linear"}"\nceiling = {held[hog.name] + int(hog.most_mib * MIB)}'
            )
        if hog.kind == "file":
            kind = f'kind = "tmpfs"\nsize = {held[hog.name]}\nrate = "{hog.rate_mib}MiB/s"\nfiles = "{hog.most_mib}MiB"'
        text += f'[[process]]\nname = "{hog.name}"\ncgroup = "/s{hog.cgroup}"\nadj = {hog.adj}\n{kind}\n'
        if hog.cache_mib:
            text += (f'[[process]]\nname = "cache"\ncgroup = "/s"\nkind = "cache"\nsize = 0\nadj = -1000\n'
                     f'files = "{hog.cache_mib}MiB"\nrate = "1000MiB/s"\n')  # fmt: skip
    found, problems = read_scenario(text)
    assert not problems, problems
    return found


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    """A directory on a tmpfs, for files that cost memory."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        pytest.skip("/dev/shm is not writable")
    path = shm / f"oomsight-sim-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


@pytest.mark.parametrize("name", CASES)
def test_same_victim_at_the_same_time(name, scratch, tmpfs, tmp_path) -> None:
    case = CASES[name]
    work = tmpfs
    if any(hog.cache_mib for hog in case.hogs):  # page cache needs a disk
        work = tmp_path / "work"
        work.mkdir()
    real, held = _real(case, scratch, work)
    run = simulate(_on_paper(case, held))
    paper = [(kill.time_seconds, v.name) for kill in run.kills for v in kill.victims][: case.deaths]
    print(f"| {name} | {case.limit_mib} MiB | {_words(paper)} | {_words((d.seconds, d.name) for d in real)} |")
    assert [death.name for death in real] == [who for _, who in paper]
    for death, (paper_at, _) in zip(real, paper, strict=True):
        tolerance = TOLERANCE_SECONDS + 0.05 * paper_at
        assert paper_at - tolerance <= death.seconds <= paper_at + tolerance + death.waited_seconds


def _words(deaths: Iterable[tuple[float, str]]) -> str:
    return ", ".join(f"{who} {at:.2f} s" for at, who in deaths)
