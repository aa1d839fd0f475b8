"""The same exit code, many stories: facts in, verdict out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.naming.marked import unmark
from oomsight.why import Coverage, EndedBy, Fact, FactKind, Subject, judge

ID = "3f4a8c0d1e2f" + "5a" * 26
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
PATH = f"/docker/{ID}"
POD = f"/kubepods/burstable/pod{UID}/{ID}"
UNIT = "/system.slice/web.service"
LOG = Coverage(kernel_log=True, kernel_from=0.0)
BLIND = Coverage(missing=("journal: the system journal may not be read; sudo",))


def box(**fields):
    """A container that ran from 100 to 200."""
    base = {"alive": False, "container_id": ID, "container": "web", "started": 100.0, "ended": 200.0, "runtime": "docker"}
    return Subject("container", "web", **(base | fields))


def unit(**fields):
    base = {"alive": False, "unit": "web.service", "cgroup": UNIT, "started": 100.0, "ended": 200.0, "pid": 40}
    return Subject("unit", "web", **(base | fields))


def kill(at, pid=41, comm="java", cgroup=PATH, **fields):
    return Fact(FactKind.KERNEL_KILL, "kernel log", "killed", at, pid=pid, comm=comm, cgroup=cgroup, incident="i1", **fields)


def sent(at, signal, **fields):
    return Fact(FactKind.SIGNAL_SENT, "docker", "sent", at, signal=signal, **({"container_id": ID} | fields))


def daemon(at, killer, **fields):
    return Fact(FactKind.USERSPACE_KILL, "journal", "ended", at, killer=killer, **fields)


def said(kind, at, **fields):
    return Fact(kind, "journal", "said", at, **fields)


CASES = [
    # name, subject, facts, coverage -> ended by, confidence
    ("kernel kill at the end, 137", box(exit_code=137), [kill(199.5)], LOG, "kernel_oom", "certain"),
    ("kernel kill some seconds before the end", box(exit_code=137), [kill(193.0)], LOG, "kernel_oom", "likely"),
    ("kill of the main pid", unit(signal=9), [kill(195.0, pid=40, cgroup=None)], LOG, "kernel_oom", "certain"),
    ("137 and flag, log rate-limited", box(exit_code=137, oom_flag=True), [kill(199.9, cgroup=None)], LOG, "kernel_oom",
     "likely"),
    ("137 and flag, no log", box(exit_code=137, oom_flag=True), [], BLIND, "kernel_oom", "likely"),
    ("137 and flag, log silent", box(exit_code=137, oom_flag=True), [], LOG, "kernel_oom", "possible"),
    ("137 without flag, log silent", box(exit_code=137, oom_flag=False), [], LOG, "plain_sigkill", "likely"),
    ("137 without flag, no log", box(exit_code=137, oom_flag=False), [], BLIND, "plain_sigkill", "possible"),
    ("137, log begins after the end", box(exit_code=137), [], Coverage(True, 250.0), "plain_sigkill", "possible"),
    ("137 and flag of an early child", box(exit_code=137, oom_flag=True), [kill(110.0)], LOG, "plain_sigkill", "likely"),
    ("docker kill", box(exit_code=137), [sent(199.9, 9)], LOG, "plain_sigkill", "certain"),
    ("docker kill just after a child's OOM", box(exit_code=137, oom_flag=True), [kill(199.0), sent(199.9, 9)], LOG,
     "plain_sigkill", "certain"),
    ("docker stop, too slow", box(exit_code=137), [sent(189.0, 15), sent(199.9, 9)], LOG, "stop_timeout", "certain"),
    ("reload, later docker kill", box(exit_code=137), [sent(150.0, 1), sent(199.9, 9)], LOG, "plain_sigkill", "certain"),
    ("stop with another signal, too slow", box(exit_code=137),
     [sent(189.0, 3), sent(199.9, 9), said(FactKind.STOP_TIMEOUT, 199.9, container_id=ID, signal=9)], LOG,
     "stop_timeout", "certain"),
    ("docker stop in time", box(exit_code=143), [sent(199.0, 15)], LOG, "stopped", "certain"),
    ("143 without request", box(exit_code=143), [], LOG, "stopped", "likely"),
    ("stop, exit 0", box(exit_code=0), [sent(199.0, 15)], LOG, "stopped", "certain"),
    ("own exit", box(exit_code=1), [], LOG, "exited_itself", "certain"),
    ("own exit after a child's OOM", box(exit_code=1, oom_flag=True), [kill(199.0)], LOG, "exited_itself", "certain"),
    ("segfault", box(exit_code=139), [], LOG, "other_signal", "certain"),
    ("running", box(alive=True, ended=None), [], LOG, "alive", "certain"),
    ("running, child killed", box(alive=True, ended=None, pid=40), [kill(150.0)], LOG, "alive", "certain"),
    ("running again after an OOM", box(alive=True, started=300.0), [kill(199.0)], LOG, "kernel_oom", "certain"),
    ("running again, but a child was killed since", box(alive=True, started=300.0, pid=9), [kill(199.0), kill(350.0)],
     LOG, "alive", "certain"),
    ("running again after an ordinary end", box(alive=True, started=300.0), [], LOG, "alive", "certain"),
    ("liveness probe", box(exit_code=137, pod="api", namespace="p"),
     [said(FactKind.PROBE, 195.0, pod="p/api")], LOG, "plain_sigkill", "likely"),
    # units
    ("unit, child killed, systemd stopped it", unit(signal=15, result="oom-kill"), [kill(199.0, cgroup=UNIT)], LOG,
     "kernel_oom", "certain"),
    ("unit, oomd by its own log", unit(signal=9, result="oom-kill"), [daemon(199.0, "systemd-oomd", cgroup=UNIT)], LOG,
     "systemd_oomd", "certain"),
    ("unit, oomd killed the slice", unit(signal=9), [daemon(199.0, "systemd-oomd", cgroup="/system.slice")], LOG,
     "systemd_oomd", "certain"),
    ("unit, oomd killed its neighbour", unit(signal=9),
     [daemon(199.0, "systemd-oomd", cgroup="/system.slice/web")], LOG, "plain_sigkill", "likely"),
    ("unit, oomd as systemd saw it", unit(signal=9, result="oom-kill"),
     [said(FactKind.UNIT_OOMD, 199.0, unit="web.service")], LOG, "systemd_oomd", "certain"),
    ("unit, kernel as systemd saw it", unit(signal=9, result="oom-kill"),
     [said(FactKind.UNIT_OOM, 199.0, unit="web.service")], BLIND, "kernel_oom", "likely"),
    ("unit, stop time-out", unit(signal=9, result="timeout"),
     [said(FactKind.STOP_TIMEOUT, 199.0, unit="web.service", signal=9)], LOG, "stop_timeout", "certain"),
    ("unit, result timeout only", unit(signal=9, result="timeout"), [], LOG, "stop_timeout", "likely"),
    ("unit, systemctl kill", unit(signal=9, result="signal"), [sent(199.9, 9, container_id=None, unit="web.service")], LOG,
     "plain_sigkill", "certain"),
    ("unit, someone's SIGKILL", unit(signal=9, result="signal"), [], LOG, "plain_sigkill", "likely"),
    ("unit, its end known from the log only", Subject("unit", "web", unit="web.service"),
     [said(FactKind.EXIT, 199.0, unit="web.service", signal=9)], LOG, "plain_sigkill", "likely"),
    # processes and names
    ("process in the kernel log", Subject("process", "41", alive=False, pid=41), [kill(150.0)], LOG, "kernel_oom",
     "certain"),
    ("process, earlyoom", Subject("process", "41", alive=False, pid=41), [daemon(150.0, "earlyoom", pid=41, signal=15)],
     LOG, "earlyoom", "certain"),
    ("process, nohang", Subject("process", "41", alive=False, pid=41), [daemon(150.0, "nohang", pid=41, signal=9)],
     LOG, "nohang", "certain"),
    ("process, nothing known", Subject("process", "41", alive=False, pid=41), [], LOG, "unknown", "possible"),
    ("process alive", Subject("process", "41", alive=True, pid=41, started=160.0), [], LOG, "alive", "certain"),
    ("process whose pid was another's", Subject("process", "41", alive=True, pid=41, started=160.0), [kill(150.0)], LOG,
     "alive", "certain"),
    ("process that does not die", Subject("process", "41", alive=True, pid=41, started=100.0), [kill(150.0)], LOG,
     "alive", "certain"),
    ("name, long", Subject("name", "averyverylongname1"), [kill(150.0, comm="averyverylongna")], LOG, "kernel_oom",
     "certain"),
    ("name, oomd", Subject("name", "java"), [daemon(150.0, "oomd", comm="java")], LOG, "oomd", "likely"),
    # pods
    ("pod evicted", Subject("pod", "p/api", alive=False, pod="api", namespace="p", pod_uid=UID, ended=200.0),
     [said(FactKind.RECLAIM, 195.0), said(FactKind.EVICTION, 199.0, pod="p/api")], LOG, "kubelet_eviction", "certain"),
    ("pod, container of it killed", Subject("pod", "p/api", pod="api", namespace="p", pod_uid=UID),
     [kill(150.0, cgroup=POD)], LOG, "kernel_oom", "certain"),
    ("pod evicted says the API", Subject("pod", "p/api", alive=False, evicted=True), [], BLIND, "kubelet_eviction",
     "certain"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "facts", "coverage", "ended_by", "confidence"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_judge_case(subject, facts, coverage, ended_by, confidence):
    verdict = judge(subject, facts, coverage)
    assert (verdict.ended_by.value, verdict.confidence.value) == (ended_by, confidence)


def _notes(subject, facts, coverage=LOG):
    return " ".join(map(unmark, judge(subject, facts, coverage).notes))


def test_notes_flag_of_an_early_child_names_the_child():
    notes = _notes(box(exit_code=137, oom_flag=True), [kill(110.0)])
    assert "OOMKilled is set, but it is not the reason" in notes
    assert "here java (pid 41) 90.0 s before the end, and the main process survived that" in notes


def test_notes_missing_flag_on_a_kernel_kill_is_explained():
    assert "The flag OOMKilled is not set although" in _notes(box(exit_code=137, oom_flag=False), [kill(199.9)])


def test_notes_own_exit_right_after_a_child_was_killed():
    notes = _notes(box(exit_code=1), [kill(199.0)])
    assert "killed java (pid 41) in it right before: that the main process then exited with 1 may well be" in notes


def test_notes_limit_of_a_parent():
    notes = _notes(box(exit_code=137), [kill(199.9, limit_cgroup="/docker")])
    assert "The limit of a parent slice was hit, not the process's own: all Docker containers (docker)" in notes
    assert "limit" not in _notes(box(exit_code=137), [kill(199.9, limit_cgroup=PATH)])


def test_notes_runs_again():
    assert "It runs again" in _notes(box(alive=True, started=300.0), [kill(199.0)])


def test_settles_blind_verdict_says_what_is_missing():
    verdict = judge(box(exit_code=137), [], BLIND)
    assert "journal: the system journal may not be read; sudo" in verdict.settles
    assert judge(box(exit_code=137), [kill(199.9)], BLIND).settles == ()


def test_judge_advice_explains_the_kill_by_its_pid():
    verdict = judge(box(exit_code=137), [kill(199.9)], LOG)
    assert verdict.advice[0].command == ("oomsight", "explain", "--pid", "41")


@pytest.mark.parametrize(
    ("subject", "words"),
    [(unit(signal=9, result="timeout"), "TimeoutStopSec="),
     (box(exit_code=137, pod="a", namespace="b"), "terminationGracePeriodSeconds"), (box(exit_code=137), "--init")],
)  # fmt: skip
def test_judge_advice_for_stop_timeouts_fits_who_stops(subject, words):
    facts = [said(FactKind.STOP_TIMEOUT, 199.9, unit=subject.unit, container_id=subject.container_id, signal=9)]
    assert words in judge(subject, facts, LOG).advice[0].text


def test_judge_facts_about_others_are_left_out():
    verdict = judge(box(exit_code=137), [kill(199.9, cgroup="/docker/" + "b7" * 32), sent(199.9, 9, container_id="c" * 64)], LOG)
    assert verdict.timeline == ()
    assert verdict.ended_by is EndedBy.PLAIN_SIGKILL


def test_judge_evidence_is_in_order_of_time():
    verdict = judge(box(exit_code=137), [sent(199.9, 9), sent(189.0, 15), kill(110.0)], LOG)
    assert [fact.at for fact in verdict.timeline] == [110.0, 189.0, 199.9]


_AT = st.none() | st.floats(0, 400)
_FACTS = st.lists(st.builds(
    Fact, st.sampled_from(FactKind), st.just("x"), st.just("words"), _AT, pid=st.none() | st.integers(38, 42),
    comm=st.sampled_from([None, "java"]), cgroup=st.sampled_from([None, PATH, UNIT, POD, "/"]),
    unit=st.sampled_from([None, "web.service"]), container_id=st.sampled_from([None, ID, ID[:12]]),
    signal=st.sampled_from([None, 9, 15, 6]), killer=st.sampled_from([None, "earlyoom", "systemd-oomd", "slurm"]),
    incident=st.sampled_from([None, "a"]),
), max_size=6)  # fmt: skip
_SUBJECTS = st.builds(
    Subject, st.sampled_from(["process", "name", "unit", "container", "pod"]), st.just("java"),
    alive=st.sampled_from([None, True, False]), pid=st.none() | st.integers(38, 42),
    unit=st.sampled_from([None, "web.service"]), container_id=st.sampled_from([None, ID]), started=_AT, ended=_AT,
    exit_code=st.none() | st.integers(0, 255), oom_flag=st.sampled_from([None, True, False]),
    result=st.sampled_from([None, "oom-kill", "timeout", "signal"]),
)  # fmt: skip


@given(_SUBJECTS, _FACTS, st.builds(Coverage, st.booleans(), _AT))
def test_judge_anything_gives_one_verdict_that_rests_on_its_evidence(subject, facts, coverage):
    verdict = judge(subject, facts, coverage)
    assert set(verdict.decisive) <= set(verdict.timeline) <= set(facts)
    assert verdict.headline
    if verdict.ended_by is EndedBy.ALIVE:
        assert subject.alive
    if verdict.ended_by is EndedBy.EARLYOOM:
        assert any(fact.killer == "earlyoom" for fact in verdict.decisive)
