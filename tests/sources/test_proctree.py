"""oomsight.sources.proctree"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

import pytest

from oomsight.score.model import Unseen
from oomsight.score.ranking import rank_host
from oomsight.score.rules import recognise
from oomsight.sources import procread, procreading, proctree
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import OUTSIDE, ProcTree, read_if_there, read_text, with_sharers

from .proc_files import add_process, make_host, stat_line, status_text, write


@pytest.fixture
def host(tmp_path):
    return make_host(tmp_path)


def tree(host):
    return ProcTree(str(host / "proc"), str(host / "sys"))


def test_snapshot_of_a_little_host(host):
    shot = tree(host).snapshot()
    assert [(p.pid, p.comm) for p in shot.processes] == [
        (1, "init"), (2, "kthreadd"), (30, "java"), (20, "a) b"), (40, "bash"),
    ]  # fork order, not pid order
    java = shot.processes[2]
    assert (java.stat.rss_pages, java.status.uid, java.status.vm_pte_kib, java.status.vm_swap_kib) == (60000, 1000, 40, 8)
    assert (java.oom_score, java.oom_score_adj, java.cgroup) == (818, 0, "/app.slice/big.service")
    assert shot.unseen == ()


def test_machine_of_a_little_host(host):
    pages = os.sysconf("SC_PAGE_SIZE") >> 10
    machine = tree(host).machine()
    assert (machine.ram_pages, machine.swap_pages) == (1048576 // pages, 8192 // pages)
    assert (machine.available_pages, machine.swap_free_pages) == (409600 // pages, 4096 // pages)
    assert (machine.cpus, machine.release, machine.swappiness) == (4, "6.12.1-test", 60)
    assert (machine.panic_on_oom, machine.oom_kill_allocating_task) == (0, False)


def test_snapshot_process_that_vanishes_at_any_file_is_left_out(host):
    for name in ("stat", "status", "oom_score", "oom_score_adj"):
        folder = add_process(host / "proc", 50)
        (folder / name).unlink()
        assert 50 not in {p.pid for p in tree(host).snapshot().processes}
    add_process(host / "proc", 50)
    (host / "proc/50/cgroup").unlink()
    assert next(p for p in tree(host).snapshot().processes if p.pid == 50).cgroup is None


def test_snapshot_process_that_dies_while_read(host, monkeypatch):
    real = os.read

    def dying(fd, size):
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/20/status"):
            raise ProcessLookupError(3, "No such process")
        return real(fd, size)

    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(proctree.os, "read", dying)
    shot = tree(host).snapshot()
    monkeypatch.undo()
    assert [p.pid for p in shot.processes] == [1, 2, 30, 40]
    assert shot.unseen == ()
    assert set(os.listdir("/proc/self/fd")) == before


def test_snapshot_denied_files_are_counted_with_the_right_that_helps(host, monkeypatch):
    real = os.open

    def refuse(path, flags, **more):
        if "/30/" in path or "/40/" in path:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, **more)

    monkeypatch.setattr(proctree.os, "open", refuse)
    assert tree(host).snapshot().unseen == (Unseen("2 processes could not be read", "root"),)


def test_snapshot_without_kernel_threads_says_what_is_hidden(host):
    (host / "proc/2/stat").unlink()
    assert tree(host).snapshot().unseen == (OUTSIDE,)
    assert not tree(host).sees_kernel()
    write(host / "proc/self", {"mountinfo": "24 1 0:22 / /proc rw - proc proc rw,hidepid=invisible\n"})
    (what, right), *_ = tree(host).snapshot().unseen
    assert what == "processes of other users are hidden (/proc is mounted with hidepid)"
    assert "gid=" in right


def test_process_whose_first_thread_has_ended_counts_the_others_memory(host):
    folder = add_process(host / "proc", 60, "main", rss=0, vsize=0, state="Z", threads=2, score=700)
    write(folder / "task", {
        "60/stat": stat_line(60, "main", rss=0, vsize=0, state="Z"), "61/stat": stat_line(61, "worker", rss=7000),
        "61/status": status_text(7000),
    })  # fmt: skip
    process = tree(host).process(60)
    assert (process.comm, process.stat.rss_pages, process.status.vm_rss_kib, process.stat.vsize_bytes > 0) == (
        "main", 7000, 28000, True,
    )  # fmt: skip


def test_zombie_without_threads_has_no_memory(host):
    add_process(host / "proc", 60, "gone", rss=0, vsize=0, state="Z", score=0)
    assert tree(host).process(60).stat.vsize_bytes == 0


def test_smaps_rollup_counts_what_is_denied(host, monkeypatch):
    write(host / "proc/30", {"smaps_rollup": "Rss:   100 kB\nPss:    60 kB\n"})
    found, denied = tree(host).smaps_rollup([30, 20])
    assert ({pid: rollup.pss_kib for pid, rollup in found.items()}, denied) == ({30: 60}, 0)
    monkeypatch.setattr(proctree, "read_text", lambda _path: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert tree(host).smaps_rollup([30, 20]) == ({}, 2)


def test_read_text_keeps_odd_bytes_and_reads_long_files_whole(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff" * 70000)
    assert read_text(str(tmp_path / "x")) == "\udcff" * 70000
    assert read_if_there(str(tmp_path / "y")) is None


def test_missing_tree_is_one_clear_error(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        ProcTree(str(tmp_path / "none")).snapshot()
    write(tmp_path / "proc", {"meminfo": "nothing\n"})
    with pytest.raises(SourceError, match="does not say how much memory"):
        ProcTree(str(tmp_path / "proc")).snapshot()


def test_with_sharers_marks_equal_address_spaces_only(host, monkeypatch):
    monkeypatch.setattr(proctree, "same_memory", lambda pid, other: (pid, other) == (31, 30))
    for pid in (31, 32):
        add_process(host / "proc", pid, rss=60000)
    marked = with_sharers(tree(host).snapshot().processes, 30)
    assert [(p.pid, p.shares_with) for p in marked if p.shares_with] == [(31, 30)]


def test_borrower_of_a_waiting_parents_memory_is_inside_vfork(host, monkeypatch):
    monkeypatch.setattr(proctree, "same_memory", lambda pid, other: True)
    add_process(host / "proc", 70, "parent", rss=900, state="D")
    add_process(host / "proc", 71, "child", rss=900, ppid=70)
    add_process(host / "proc", 72, "other", rss=901, ppid=70)
    shot = tree(host).snapshot()
    assert [(p.pid, p.in_vfork, p.shares_with) for p in shot.processes if p.pid >= 70] == [
        (70, False, None), (71, True, 70), (72, False, None),
    ]  # fmt: skip


def test_helper_reads_the_same_as_one_alone(host, monkeypatch):
    for pid in range(100, 140):
        add_process(host / "proc", pid, "näme\udcff", rss=pid, cgroup=f"0::/c{pid}\n")
    alone = tree(host).processes()
    monkeypatch.setattr(procreading, "WORTH_A_HELPER", 1)
    helped = ProcTree(str(host / "proc"), str(host / "sys"))
    helped.helper = True
    assert helped.processes() == alone
    assert len(alone) == 45


def test_helper_that_dies_is_done_without(host, monkeypatch):
    monkeypatch.setattr(procreading, "WORTH_A_HELPER", 1)
    monkeypatch.setattr(procreading.marshal, "dump", lambda *_: os._exit(9))  # only ever called in the helper
    begun = procreading.Reading(str(host / "proc"))
    os.waitid(os.P_PID, begun._child, os.WEXITED | os.WNOWAIT)  # it has taken every ticket, and told nothing
    helped = ProcTree(str(host / "proc"), str(host / "sys"), begun=begun)
    assert [p.pid for p in helped.processes()] == [1, 2, 30, 20, 40]


def test_cgroups_are_read_when_they_are_wanted(host):
    shot = tree(host).snapshot(cgroups=False)
    assert {p.cgroup for p in shot.processes} == {None}
    late = tree(host).with_cgroups(shot.processes, [30])
    assert [p.cgroup for p in late if p.cgroup] == ["/app.slice/big.service"]


@pytest.fixture
def crowd(host, monkeypatch):
    """The little host with 40 processes that only differ in what their oom_score tells, read by the short way."""
    for pid in range(100, 140):
        add_process(host / "proc", pid, rss=pid, score=670 + pid - 100)
    monkeypatch.setattr(procreading, "WORTH_A_HELPER", 1)
    monkeypatch.setattr(procreading, "ranks_like_oom_score", lambda *_: True)
    return host


@pytest.mark.parametrize("helper", [False, True])
def test_first_few_are_read_and_the_others_counted(crowd, helper):
    found = ProcTree(str(crowd / "proc"), str(crowd / "sys"), helper=helper)
    shot = found.snapshot(top=3)
    # java has 818; init, the kernel thread and the protected shell have 0: their files tell why
    assert {p.pid for p in shot.processes} == {1, 2, 30, 138, 139, 40}
    assert (shot.passed_over, shot.lowest_score) == (39, 708)
    assert next(p for p in shot.processes if p.pid == 139).oom_score == 709
    whole = found.snapshot()
    assert (len(whole.processes), whole.passed_over) == (45, 0)


def test_equals_of_the_last_of_the_first_few_are_read_too(crowd):
    for pid in (100, 101):
        write(crowd / "proc" / str(pid), {"oom_score": "708\n"})
    shot = tree(crowd).snapshot(top=3)
    assert {p.pid for p in shot.processes} == {1, 2, 30, 40, 100, 101, 138, 139}


@pytest.mark.parametrize("helper", [False, True])
def test_first_few_are_told_by_their_memory_where_oom_score_is_all_the_same(crowd, helper):
    for pid in (20, 30, *range(100, 140)):
        write(crowd / "proc" / str(pid), {"oom_score": "667\n"})
    found = ProcTree(str(crowd / "proc"), str(crowd / "sys"), helper=helper)
    shot = found.snapshot(cgroups=False, top=3)
    # the first three and four to spare; init, the kernel thread and the protected shell are read whole in any case
    assert {p.pid for p in shot.processes} == {1, 2, 40, 30, 20, 139, 138, 137, 136, 135}
    assert (shot.passed_over, shot.lowest_score, shot.passed_near, shot.unseen) == (35, 0, 0, ())
    whole = {p.pid: p for p in found.snapshot(cgroups=False).processes}
    assert all(process == whole[process.pid] for process in shot.processes)


@pytest.mark.parametrize("helper", [False, True])
def test_where_all_are_alike_the_youngest_of_equals_come_first_and_nothing_is_read_twice(crowd, helper, monkeypatch):
    for pid in (20, 30):  # nothing is bigger
        shutil.rmtree(crowd / "proc" / str(pid))
    for pid in range(100, 140):
        add_process(crowd / "proc", pid, rss=500, score=667, start=1000 - pid, adj=-1000 if pid == 101 else 0)
    monkeypatch.setattr(procreading, "read_rss", lambda *_: pytest.fail("stat was read along"))
    shot = ProcTree(str(crowd / "proc"), str(crowd / "sys"), helper=helper).snapshot(cgroups=False, top=3)
    assert {p.pid for p in shot.processes} == {1, 2, 40, 101, *(100, *range(102, 108))}
    assert (shot.passed_over, shot.passed_near) == (32, 32)
    ranking = rank_host(shot, recognise(shot.machine, shot.processes))
    assert [row.process.pid for row in ranking.rows] == [100, *range(102, 108)]


def test_who_is_not_read_whole_is_counted_if_it_could_be_the_victim(crowd):
    for pid in (20, 30, *range(100, 140)):
        add_process(crowd / "proc", pid, rss=100 + pid, start=pid)  # nearer than the error of the counters
    shot = tree(crowd).snapshot(cgroups=False, top=3)
    assert [p.pid for p in shot.processes if p.pid > 40] == [133, 134, 135, 136, 137, 138, 139]
    assert (shot.passed_over, shot.passed_near) == (35, 35)
    ranking = rank_host(shot, recognise(shot.machine, shot.processes))
    everybody = tree(crowd).snapshot(cgroups=False)
    whole = rank_host(everybody, recognise(everybody.machine, everybody.processes))
    assert len(ranking.rivals) + shot.passed_near == len(whole.rivals) == 41
    assert [row.process.pid for row in ranking.rows] == [row.process.pid for row in whole.rows[:7]]


def test_a_process_whose_first_thread_has_ended_is_read_whole(crowd):
    for pid in (20, 30, *range(100, 140)):
        write(crowd / "proc" / str(pid), {"oom_score": "667\n"})
    folder = add_process(crowd / "proc", 300, rss=0, state="Z", threads=2, score=700, vsize=0)
    write(folder, {"status": "Name:\tx\nState:\tZ (zombie)\nThreads:\t2\n", "task/300/stat": stat_line(300, "x", rss=0, vsize=0),
                   "task/301/stat": stat_line(301, "x", rss=70000), "task/301/status": status_text(70000)})  # fmt: skip
    shot = tree(crowd).snapshot(cgroups=False, top=3)
    assert next(p for p in shot.processes if p.pid == 300).stat.rss_pages == 70000


def test_short_way_reads_the_parent_whose_memory_a_process_borrows(crowd, monkeypatch):
    monkeypatch.setattr(proctree, "same_memory", lambda pid, other: True)
    add_process(crowd / "proc", 70, "parent", rss=900, state="D", score=668)
    add_process(crowd / "proc", 71, "child", rss=900, ppid=70, score=0)  # the kernel says 0 of those inside vfork
    shot = tree(crowd).snapshot(top=3)
    assert [(p.pid, p.in_vfork) for p in shot.processes if p.pid in {70, 71}] == [(70, False), (71, True)]
    assert shot.passed_over == 39


def test_short_way_counts_what_is_denied(crowd, monkeypatch):
    real = os.open

    def refuse(path, flags, **more):
        if "/100/" in path:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, **more)

    monkeypatch.setattr(procread.os, "open", refuse)
    assert tree(crowd).snapshot(top=3).unseen == (Unseen("1 processes could not be read", "root"),)


def test_helper_that_dies_before_it_has_chosen_is_done_without(crowd, monkeypatch):
    monkeypatch.setattr(procreading.marshal, "dump", lambda *_: os._exit(9))
    begun = procreading.Reading(str(crowd / "proc"), top=3)
    found = ProcTree(str(crowd / "proc"), str(crowd / "sys"), begun=begun).processes()
    assert [p.pid for p in found] == [1, 2, 138, 139, 30, 40]


@pytest.mark.parametrize(("release", "so"), [("6.2.0", True), ("6.12.9-amd64", True), ("6.1.0-13", False), ("odd", False)])
def test_oom_score_is_enough_to_know_on_newer_kernels(release, so):
    assert procreading.ranks_like_oom_score(release, "x86_64") is so
    assert procreading.ranks_like_oom_score(release, "aarch64") is so
    assert not procreading.ranks_like_oom_score(release, "armv8l")


def test_helper_that_dies_with_its_share_is_made_up_for(crowd, monkeypatch):
    real, calls = procreading.marshal.dump, []
    monkeypatch.setattr(procreading.marshal, "dump", lambda *what: calls.append(1) or (os._exit(9) if len(calls) > 1 else real(*what)))
    begun = procreading.Reading(str(crowd / "proc"), top=3)
    os.waitid(os.P_PID, begun._child, os.WEXITED | os.WNOWAIT)
    found = ProcTree(str(crowd / "proc"), str(crowd / "sys"), begun=begun).processes()
    assert [p.pid for p in found] == [1, 2, 138, 139, 30, 40]


def test_a_list_that_the_kernel_hands_out_in_short_pieces_is_read_whole(tmp_path, monkeypatch):
    """A line that does not fit into what is left of the kernel's page comes with the next read."""
    lines = "".join(f"{i} {'lowerdir=' + 'l' * 1500}\n" for i in range(5))
    (tmp_path / "mountinfo").write_text(lines)
    real = os.read
    monkeypatch.setattr(procread.os, "read", lambda fd, most: real(fd, min(most, 1600)))
    assert read_text(str(tmp_path / "mountinfo")) == lines


def test_helper_ends_when_its_parent_has_died(crowd):
    code = (
        "import os, sys\n"
        "from oomsight.sources import procreading\n"
        "procreading.WORTH_A_HELPER = 1\n"
        "os.sched_getaffinity = lambda _: {0, 1}\n"
        "procreading.read_rows = lambda *_, **__: ([b'x' * (1 << 20)], 0)\n"  # more than a pipe holds
        f"print(procreading.Reading({str(crowd / 'proc')!r})._child, flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    helper = os.pidfd_open(int(parent.stdout.readline()))
    parent.stdin.close()
    assert parent.wait() == 9
    gone = select.poll()
    gone.register(helper, select.POLLIN)
    try:
        assert gone.poll(30_000)
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(helper, signal.SIGKILL)
        os.close(helper)
        parent.stdout.close()
