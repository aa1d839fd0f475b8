"""oomsight.score.rules, against the oom_score that real kernels showed"""

import pytest

from oomsight.kernel.badness import oom_score, rule_by_name
from oomsight.score.rules import error_reader, exemption, memory_reader, recognise, score_points

from .captured import changed_while_read, differing_scores, load
from .samples import machine, process

MOMENTS = load()


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_oom_score_of_every_process_of_every_recording(moment):
    rules = recognise(moment.snapshot.machine, moment.snapshot.processes)
    assert rules.rule.name == "5.9"
    assert rules.compared == len(moment.snapshot.processes) > 20
    wrong = [p.pid for p, _ in differing_scores(moment.snapshot, rules) if not changed_while_read(p)]
    assert wrong == []


def test_recorded_scores_that_differ_are_few():
    # what docs/explanation/badness.md says of them: all four changed while they were read
    compared = sum(process.oom_score is not None for moment in MOMENTS for process in moment.snapshot.processes)
    found = [
        (moment.name, process.comm)
        for moment in MOMENTS
        for process, _ in differing_scores(moment.snapshot, recognise(moment.snapshot.machine, moment.snapshot.processes))
    ]
    assert compared == 25_147
    assert found == [
        ("6.1.192/numa_cpuset post", "snap"), ("6.1.192/weird_names post", "snap"),
        ("6.12.107/threads_sharedmm lastpre_1", "java-vfork"), ("6.18.15/forkbomb_memcg lastpre_2", ":(){ :|:& };:"),
    ]  # fmt: skip


def test_recordings_span_both_ways_of_reading_rss():
    sources = {m.snapshot.machine.release.split(".")[0]: recognise(m.snapshot.machine, ()).era.rss_from for m in MOMENTS}
    assert sources == {"5": "stat", "6": "stat", "7": "status"}


def test_memory_reader_follows_the_era():
    old = process(5, 100, swap=3, pgtables_kib=20)._replace(status=process(5, 100, swap=3, pgtables_kib=20).status._replace(vm_rss_kib=440))
    assert memory_reader(machine(), recognise(machine(), ()).era)(old) == (100, 3, 20480)
    new = machine(release="7.3.4")
    assert memory_reader(new, recognise(new, ()).era)(old) == (110, 3, 20480)


@pytest.mark.parametrize(
    ("release", "cpus", "threads", "error"),
    [("6.12", 4, 9, 2 * 32 * 4), ("6.12", 128, 1, 2 * 256 * 128), ("6.1", 128, 3, 2 * 64 * 3), ("7.0", 128, 3, 0)],
)
def test_error_reader_counts_counters_in_use(release, cpus, threads, error):
    host = machine(release=release)
    host = type(host)(ram_pages=1, swap_pages=0, cpus=cpus, release=release)
    swapped = process(5, 100, swap=3, threads=threads)  # anonymous and swap counters in use, file and shmem are 0
    assert error_reader(host, recognise(host, ()).era)(swapped) == error


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (process(1, score=0), "global init"), (process(1, score=667), None), (process(2, kthread=True), "kernel thread"),
        (process(9, vsize=0), "no memory of its own"), (process(9, adj=-1000), "oom_score_adj -1000"),
        (process(9, adj=-999), None), (process(9, in_vfork=True), "inside vfork"),
    ],
)  # fmt: skip
def test_exemption(subject, reason):
    assert exemption(subject) == reason


def _scored(rule_name, host, processes):
    rule, read = rule_by_name(rule_name), memory_reader(host, recognise(host, ()).era)
    total = host.total.pages
    return [p._replace(oom_score=oom_score(rule, score_points(rule, p, read(p), total, host), total)) for p in processes]


def test_recognise_takes_the_formula_that_reproduces_proc_over_the_release():
    # a release line of 5.4 whose distribution back-ported the formula of 5.9
    host = machine(release="5.4.0-custom")
    processes = _scored("5.9", host, [process(pid, pid * 100, adj=pid % 7 * 20) for pid in range(10, 60)])
    rules = recognise(host, processes)
    assert (rules.rule.name, rules.matched, rules.compared) == ("5.9", 50, 50)
    assert "reproduces /proc/PID/oom_score better" in rules.words


def test_recognise_keeps_the_release_when_it_fits():
    host = machine(release="4.19.0")
    rules = recognise(host, _scored("4.17", host, [process(pid, pid * 100) for pid in range(10, 60)]))
    assert (rules.rule.name, rules.trusted) == ("4.17", True)


def test_recognise_does_not_trust_a_meminfo_that_lies():
    host = machine()
    processes = _scored("5.9", host, [process(pid, pid * 1000) for pid in range(10, 60)])
    lied = recognise(machine(ram=20000), processes)  # lxcfs shows a container's limit as MemTotal
    assert not lied.trusted
