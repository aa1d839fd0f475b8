"""
Real kills of this machine's kernel, and programs of this tree to see them: for the benches and the live tests.

Kills are memory-cgroup kills of small processes of its own (16 MiB against a limit of 4 MiB) in a scratch cgroup, which
is removed at the end. Needs root and a memory controller (v1 or v2) one may make cgroups in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_BYTES = 4 << 20
FIRST_PID_NAMESPACE = 0xEFFFFFFC  #: inode of the one the kernel's log counts in (linux/proc_ns.h)


def why_not() -> str | None:
    """Return what is missing for real kills here; ``None`` = nothing."""
    if os.geteuid() != 0:
        return "making cgroups needs root"
    if os.stat("/proc/self/ns/pid").st_ino != FIRST_PID_NAMESPACE:
        return "a pid namespace of its own: the kernel's log calls its processes by other numbers"
    if memory_root() is None:
        return "no memory controller in which one may make cgroups"
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return f"/dev/kmsg: {error.strerror}"
    return None


def memory_root() -> tuple[int, str] | None:
    v1 = "/sys/fs/cgroup/memory"
    if os.path.exists(f"{v1}/memory.limit_in_bytes") and os.access(v1, os.W_OK):
        return 1, v1
    try:
        controllers = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text(encoding="ascii")
    except OSError:
        return None
    return (2, "/sys/fs/cgroup") if "memory" in controllers.split() and os.access("/sys/fs/cgroup", os.W_OK) else None


@contextmanager
def scratch(name: str = "bench"):
    """A cgroup of 4 MiB, removed at the end."""
    found = memory_root()
    assert found is not None
    version, root = found
    path = Path(root, f"oomsight-{name}-{os.getpid()}")
    path.mkdir()
    try:
        (path / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(LIMIT_BYTES))
        if version == 2:
            (path / "memory.swap.max").write_text("0")
        yield path
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        for _ in range(100):
            try:
                path.rmdir()
                break
            except OSError:
                time.sleep(0.02)


@contextmanager
def crowd(count: int):
    """So many empty memory cgroups, a hundred to a parent; removed at the end. Yields the seconds it took."""
    found = memory_root()
    assert found is not None
    version, root = found
    top = Path(root, f"oomsight-crowd-{os.getpid()}")
    made: list[Path] = []
    begin = time.monotonic()

    def make(path: Path) -> None:
        path.mkdir()
        made.append(path)

    try:
        for number in range(count):
            if not made:
                make(top)
            if number % 100 == 0:
                for path in (top, part := top / f"part-{number // 100:03d}"):
                    if path is part:
                        make(path)
                    if version == 2:
                        (path / "cgroup.subtree_control").write_text("+memory")
            make(part / f"pod-{number:05d}")
        yield time.monotonic() - begin
    finally:
        for path in reversed(made):
            path.rmdir()


def kill_one(group: Path) -> int:
    """Have the kernel kill one small process of ours in *group*; return its pid once it is dead."""
    pid = os.fork()
    if pid == 0:
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            Path("/proc/self/oom_score_adj").write_text("500")
            block = bytearray(16 << 20)
            os._exit(len(block) & 1)
        except BaseException:
            os._exit(3)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return pid
    raise RuntimeError(f"the process was not killed (status {status})")


def printk_offset() -> float:
    """Return CLOCK_MONOTONIC minus printk's clock in seconds, by writing a record of our own."""
    fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
    os.lseek(fd, 0, os.SEEK_END)
    before = time.monotonic()
    os.write(fd, b"<6>oomsight bench: clock\n")  # without the newline the record stays open
    after = time.monotonic()
    while b"oomsight bench: clock" not in (record := os.read(fd, 8192)):
        pass
    os.close(fd)
    return (before + after) / 2 - int(record.split(b",", 3)[2]) / 1e6


@contextmanager
def cpu_group(weight: int):
    """A cgroup with this CPUWeight= (100 is everybody's) for the watcher; ``None`` without one."""
    if not weight:
        yield None
        return
    v1 = Path("/sys/fs/cgroup/cpu")
    group = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / f"oomsight-bench-cpu-{os.getpid()}"
    group.mkdir()
    try:
        if v1.is_dir():
            (group / "cpu.shares").write_text(str(weight * 1024 // 100))
        else:
            (group / "cpu.weight").write_text(str(weight))
        yield group
    finally:
        group.rmdir()


def oomsight(*args: str, nice: int = 0, rr: bool = False, group: Path | None = None, **kwargs) -> subprocess.Popen:
    """Start oomsight from this tree, with another priority where asked for."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        if nice:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        if rr:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", "from oomsight.cli.entry import main; main()", *args]
    # A shell's background job ignores SIGINT, and so would its children.
    return subprocess.Popen(command, env=env, preexec_fn=prepare, **kwargs)  # noqa: PLW1509 - before any thread


def agent(store: str, *args: str, group: Path | None = None) -> subprocess.Popen:
    """Start an agent on *store* and wait until it is at work."""
    import socket

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{folder}/notify")
        ready.settimeout(60)
        os.environ["NOTIFY_SOCKET"] = f"{folder}/notify"
        try:
            process = oomsight("agent", "--store", store, *args, group=group, stderr=subprocess.DEVNULL)
            ready.recv(4096)
        finally:
            del os.environ["NOTIFY_SOCKET"]
    return process


def vm_kills() -> int:
    """Return the kernel's own count."""
    line = next(x for x in Path("/proc/vmstat").read_text().splitlines() if x.startswith("oom_kill "))
    return int(line.split()[1])
