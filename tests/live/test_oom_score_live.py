"""The arithmetic against the running kernel: oom_score of every process, and what an unprivileged user is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from oomsight.kernel.badness import oom_score
from oomsight.proc.process import parse_stat
from oomsight.score.rules import error_reader, exemption, memory_reader, recognise, score_points
from oomsight.sources.proctree import ProcTree, read_text

pytestmark = pytest.mark.live
SRC = Path(__file__).parents[2] / "src"
TRIES = 50  # a process may be busy: its files are compared only if it did not change between them


def _steady(tree: ProcTree, pid: int):
    """The process, read while its size stood still; ``None`` = it is gone or never stands still."""
    for _ in range(TRIES):
        process = tree.process(pid)
        if process is None:
            return None
        try:
            again = parse_stat(read_text(f"/proc/{pid}/stat"))
        except OSError:
            return None
        if again is not None and (again.rss_pages, again.vsize_bytes) == (process.stat.rss_pages, process.stat.vsize_bytes):
            return process
    return None


def test_oom_score_equals_proc_for_every_process():
    tree = ProcTree()
    machine = tree.machine()
    rules = recognise(machine, ())
    read, error, total = memory_reader(machine, rules.era), error_reader(machine, rules.era), machine.total.pages
    compared, wrong, own_kernel_threads = 0, [], 0
    for pid in tree.pids():
        process = _steady(tree, pid)
        if process is None:
            continue
        compared += 1
        if process.stat.is_kthread:
            own_kernel_threads += 1
            wrong += [(pid, "kernel thread")] if read_text(f"/proc/{pid}/oom_score") != "0\n" else []
            continue
        expected = {0}
        if exemption(process) is None:
            points, slack = score_points(rules.rule, process, read(process), total, machine), error(process)
            expected = {oom_score(rules.rule, points + by, total) for by in (-slack, 0, slack)}
        if process.oom_score not in expected:
            wrong.append((pid, process.comm, process.oom_score, sorted(expected)))
    assert wrong == []
    assert compared > own_kernel_threads


def test_oom_score_of_this_process_follows_its_adj():
    """From its own adj up to 1000: the formula, and the kernel at each step."""
    child = subprocess.Popen([sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE)
    try:
        tree, adj_file = ProcTree(), Path(f"/proc/{child.pid}/oom_score_adj")
        machine = tree.machine()
        rules = recognise(machine, ())
        own = int(adj_file.read_text())
        for adj in range(max(own, 0), 1001, 125):
            adj_file.write_text(str(adj))
            process = _steady(tree, child.pid)
            assert process is not None
            assert process.oom_score_adj == adj
            slack = error_reader(machine, rules.era)(process)
            points = score_points(rules.rule, process, memory_reader(machine, rules.era)(process), machine.total.pages, machine)
            assert process.oom_score in {oom_score(rules.rule, points + by, machine.total.pages) for by in (-slack, 0, slack)}
    finally:
        child.communicate(b"\n")


def test_hidden_processes_are_said_to_be_hidden():
    """A /proc mounted with hidepid=2, looked at by nobody: half of the host is missing and the answer says so."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount another /proc")
    with tempfile.TemporaryDirectory() as proc:
        os.chmod(proc, 0o755)
        mount = subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", proc], capture_output=True, check=False)
        if mount.returncode:
            pytest.skip("mounting another /proc is not allowed here")
        try:
            # Everything is imported first: nobody may not be allowed to read where Python lives.
            begin = f"import sys; sys.path.insert(0, {str(SRC)!r}); from oomsight.cli.main import run;"
            ask = "run(['score', '--format', 'json', '--proc', sys.argv[1]])"
            listed = f"{begin} {ask}; print(*sys.modules, file=sys.stderr)"
            needed = subprocess.run([sys.executable, "-c", listed, proc], capture_output=True, text=True, timeout=60, check=True)
            program = (
                f"{begin} import importlib, os, oomsight.sinks.safe;"
                f" [importlib.import_module(name) for name in set({needed.stderr.splitlines()[-1].split()}) - {{'__main__'}}];"
                f" os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit({ask})"
            )
            done = subprocess.run([sys.executable, "-c", program, proc], capture_output=True, text=True, timeout=60, check=False)
        finally:
            subprocess.run(["umount", proc], check=True)
    assert "not seen: processes of other users are hidden" in done.stderr
    assert "root, or membership of the group" in done.stderr
    assert done.returncode == 0
    seen = json.loads(done.stdout)["ranking"]
    assert {row["uid"] for row in seen["processes"]} <= {65534}  # it leaves itself out: often there is nobody else
