"""oomsight.score.outcome"""

from oomsight.naming.marked import unmark
from oomsight.proc.memcg import Memcg
from oomsight.score.outcome import predict
from oomsight.score.ranking import rank_cgroup, rank_host
from oomsight.score.rules import recognise

from .samples import machine, process, snapshot


def outcome(shot, path=None):
    rules = recognise(shot.machine, ())
    ranking = rank_host(shot, rules) if path is None else rank_cgroup(shot, rules, path)
    return predict(ranking, shot)


def kills(prediction):
    return [(kill.pid, kill.role) for kill in prediction.kills]


def test_predict_one_process():
    prediction = outcome(snapshot(process(10, 5000), process(11, 100)))
    assert (prediction.outcome, kills(prediction), prediction.remarks) == ("killed", [(10, "selected")], ())


def test_predict_sharers_of_its_memory_die_silently():
    prediction = outcome(snapshot(process(10, 5000), process(11, 5000, adj=-1000, shares_with=10), process(12, 100)))
    assert kills(prediction) == [(10, "selected"), (11, "shared")]
    assert [kill.logged for kill in prediction.kills] == [True, False]


def test_predict_oom_group_takes_all_of_the_highest_marked_cgroup():
    shot = snapshot(
        process(10, 5000, cgroup="/pod/a"), process(11, 10, cgroup="/pod/b"), process(12, 10, cgroup="/pod/b", adj=-1000),
        process(13, 4000, cgroup="/other"),
        cgroups=(Memcg(path="/pod", version=2, oom_group=True), Memcg(path="/pod/a", version=2, oom_group=False)),
    )  # fmt: skip
    assert kills(outcome(shot)) == [(10, "selected"), (11, "group")]


def test_predict_child_is_sacrificed_before_5_2():
    processes = process(10, 5000), process(11, 5, ppid=10), process(12, 7, ppid=10), process(13, 90)
    assert kills(outcome(snapshot(*processes, on=machine(release="4.19")))) == [(12, "child")]
    assert kills(outcome(snapshot(*processes, on=machine(release="4.8")))) == [(12, "child")]
    assert kills(outcome(snapshot(*processes, on=machine(release="5.10")))) == [(10, "selected")]


def test_predict_panic_on_oom_host_only_at_1():
    on = machine(panic_on_oom=1)
    limited = Memcg(path="/a", version=2, limit_bytes=1 << 20)
    shot = snapshot(process(10, 50, cgroup="/a"), on=on, cgroups=(limited,))
    prediction = outcome(shot)
    assert (prediction.outcome, prediction.kills) == ("panic", ())
    assert "vm.panic_on_oom is 1" in prediction.remarks[0]
    assert outcome(shot, "/a").outcome == "killed"


def test_predict_no_killable_process():
    prediction = outcome(snapshot(process(10, 50, adj=-1000)))
    assert (prediction.outcome, prediction.remarks) == ("no_killable", ("No process can be killed: the kernel panics.",))


def test_predict_version_1_with_the_killer_disabled_waits():
    limited = Memcg(path="/a", version=1, limit_bytes=1 << 20, oom_kill_disable=True)
    prediction = outcome(snapshot(process(10, 50, cgroup="/a"), cgroups=(limited,)), "/a")
    assert (prediction.outcome, prediction.kills) == ("waits", ())


def test_predict_remarks():
    assert "oom_kill_allocating_task" in outcome(snapshot(process(10), on=machine(oom_kill_allocating_task=True))).remarks[0]
    small = Memcg(path="/a/b", version=2, limit_bytes=3 << 20, high_bytes=2 << 20, usage_bytes=1 << 20,
                  stat={"inactive_file": 0, "active_file": 0})  # fmt: skip
    parent = Memcg(path="/a", version=2, limit_bytes=4 << 20, usage_bytes=4 << 20, stat={"inactive_file": 0, "active_file": 0})
    shot = snapshot(process(10, 50, adj=5, cgroup="/a/b"), cgroups=(parent, small))
    remarks = [unmark(remark) for remark in outcome(shot, "/a/b").remarks]
    assert [words in remark for words, remark in zip(("oom_score_adj other than -1000", "memory.high", "/a, is nearer"), remarks, strict=True)] == [True] * 3
