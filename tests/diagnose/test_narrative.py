"""The incident in words: true for whole, cut and headless reports; every name marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.diagnose.model import Consumer, Incident
from oomsight.diagnose.wording import count, holder, listing, percent, sentence, share, size
from oomsight.naming.marked import map_names, unmark
from oomsight.report import parse_text
from oomsight.report.model import UNLIMITED, EventKind, Killed, MemcgLine, Note, OomReport, Span, Trigger, Victim, When

from .sample_reports import TASKS, host, memcg, task

POD = (
    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice/"
    "cri-containerd-5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f.scope"
)


def sentences(incident: Incident) -> list[str]:
    answers = incident.answers
    return [
        incident.headline,
        incident.summary,
        *answers.what_used_too_much,
        *answers.why_it_grew,
        *answers.why_nothing_stopped_it,
    ]


def plain(incident: Incident) -> str:
    return unmark("\n".join(sentences(incident)))


def test_memory_that_a_moved_process_brought_along_is_not_the_cgroup_s() -> None:
    """A real kill (Linux 6.18, version 1): a big process in a cgroup of 4 MiB, to which nearly none of it is charged."""
    [report] = parse_text((Path(__file__).parent / "moved_process.log").read_bytes())
    incident = explain_report(report)
    summary = unmark(incident.summary)
    assert "which held 359.3 MiB (351.6 MiB or more charged elsewhere), because cgroup" in summary
    assert "351.6 MiB of that at least is not charged to this cgroup" in unmark(
        "\n".join(incident.answers.what_used_too_much)
    )
    assert "elsewhere" not in unmark(explain_report(memcg()).summary)


def test_a_machine_out_of_memory() -> None:
    incident = explain_report(host())
    assert unmark(incident.headline) == (
        "python3 (pid 161, 125.6 MiB) was killed: the machine (274.7 MiB of RAM and no swap) was out of memory"
    )
    summary = unmark(incident.summary)
    assert summary.startswith(
        "The kernel killed python3 (pid 161), which held 125.6 MiB, because the machine (274.7 MiB"
    )
    assert "First thing to change: bound python3 (pid 161), which held 125.9 MiB" in summary
    assert "There is no swap" in unmark(" ".join(incident.answers.why_nothing_stopped_it))
    assert "Page cache was given back first: none was left." in plain(incident)


def test_a_pod_at_its_limit_names_the_container_once() -> None:
    rows = (task(165, "node", 12369, adj=968, shmem=145, pgtables=143360),)
    report = memcg(49152, 49152, stats={"anon": 50085888, "shmem": 0, "file": 0}, tasks=rows, victim=165, oom=POD, path=POD,
                   swap=MemcgLine(0, UNLIMITED, 0))  # fmt: skip
    incident = explain_report(report)
    assert unmark(incident.headline).endswith("reached its memory limit of 48.0 MiB")
    assert "because that container reached its memory limit of 48.0 MiB" in unmark(incident.summary)
    text = plain(incident)
    assert "needed one more page charged to the cgroup" in text
    assert "memory.high" in text
    assert "nothing was swapped" in text
    assert "What would settle it" in text


def test_a_parents_limit_is_said() -> None:
    incident = explain_report(memcg(oom="/app.slice", path="/app.slice/a.service"))
    assert "app.slice reached its memory limit of 64.0 MiB" in unmark(incident.headline)
    assert "parent" in plain(incident)


def test_victim_and_culprit_are_told_apart() -> None:
    rows = (*TASKS[:5], task(161, "python3", 32162, adj=-1000))
    incident = explain_report(host(tasks=rows, victim=143))
    assert incident.culprit is not None
    assert not incident.culprit.is_victim
    summary = unmark(incident.summary)
    assert "But the memory was really held by python3 (pid 161)" in summary
    assert "protected by oom_score_adj -1000" in plain(incident)


def test_kernel_memory_is_the_verdict_in_the_headline() -> None:
    incident = explain_report(host({"active_anon": 9400, "slab_unreclaimable": 55000, "shmem": 1500}))
    assert unmark(incident.headline).endswith("was out of memory: kernel objects hold it")
    assert "More than any process held" in unmark(incident.summary)


def test_a_lone_kill_line_invents_nothing() -> None:
    report = OomReport(EventKind.GLOBAL, Span("t", 7, 7))
    report.victims = [Victim(18694, "perl", total_vm_kib=2000000, anon_rss_kib=1950000, file_rss_kib=12, line=7)]
    report.lines = {"kill": 7}
    incident = explain_report(report)
    assert unmark(incident.headline) == "perl (pid 18694, 1.9 GiB) was killed: memory ran out"
    assert [cause.code for cause in incident.causes] == ["partial_report"]
    assert "paste the lines above, from 'invoked oom-killer' on" in unmark(incident.summary)
    assert "Whether a limit was involved is not in this text." in incident.answers.why_nothing_stopped_it


def test_a_lone_head_says_what_is_missing() -> None:
    report = OomReport(EventKind.GLOBAL, Span("t", 1, 1), trigger=Trigger("kthreadd", 2, line=1), lines={"head": 1})
    incident = explain_report(report)
    assert incident.headline == "The OOM killer ran; this text does not show whom it killed"
    assert "paste the lines below, down to 'Killed process'" in incident.summary


def test_a_reaper_line_alone_claims_no_cause() -> None:
    report = OomReport(EventKind.REAPER_ONLY, Span("t", 1, 1), victims=[Victim(7, "job", reaped=True)])
    assert unmark(explain_report(report).headline) == "job (pid 7) was killed; this text does not say why"


def test_panic_and_nobody_to_kill() -> None:
    panic = host(victim=0, kind=EventKind.PANIC)
    panic.panic = "Out of memory: system-wide panic_on_oom is enabled"
    assert explain_report(panic).headline.startswith("The kernel panicked instead of killing: the machine (274.7 MiB")
    assert "panic_on_oom" in explain_report(panic).summary
    nobody = OomReport(EventKind.NO_KILLABLE, Span("t", 1, 1))
    assert explain_report(nobody).headline == "The kernel was out of memory and found nobody to kill"


def test_a_kill_by_hand_asks_nothing() -> None:
    report = host({"free": 37628, "active_anon": 24474}, kind=EventKind.SYSRQ, order=-1)
    report.sysrq = True
    incident = explain_report(report)
    assert incident.headline.endswith("somebody asked for it (SysRq-f)")
    assert incident.answers.why_it_grew == ["Nothing needs to have grown: the kill was asked for by SysRq-f."]


def test_the_stack_says_what_the_trigger_did() -> None:
    report = host()
    assert report.trigger is not None
    report.trigger.frames = ("dump_header", "shmem_get_folio_gfp", "shmem_write_begin", "generic_perform_write")
    assert "while writing a file in tmpfs or /dev/shm" in plain(explain_report(report))


def test_a_group_kill_is_explained() -> None:
    report = memcg()
    report.group_memcg = "/system.slice/app.service"
    report.victims.append(Victim(152, "app-master", role="group"))
    incident = explain_report(report)
    assert "and 1 other process were killed" in unmark(incident.headline)
    # Not "all of it": what has oom_score_adj -1000 lives on (mm/oom_kill.c oom_kill_memcg_member).
    assert "memory.oom.group is set on app.service: whatever may be killed" in unmark(incident.summary)


def test_the_host_is_named() -> None:
    report = host()
    report.when = When(host="db-1")
    assert "on host db-1" in unmark(explain_report(report).summary)


# --- no kernel kill


def test_userspace_killer() -> None:
    report = OomReport(EventKind.USERSPACE_KILLER, Span("t", 3, 3), killer="earlyoom")
    report.killed = [Killed(9994, "termshark", rss_kib=4677632, reason="badness 1181", line=3)]
    incident = explain_report(report)
    assert unmark(incident.headline) == "earlyoom ended termshark (pid 9994); this is no kernel OOM kill"
    assert [cause.code for cause in incident.causes] == ["userspace_killer"]
    assert incident.causes[0].evidence[0].first_line == 3
    assert unmark(incident.answers.what_used_too_much[0]) == "termshark (pid 9994) held 4.5 GiB."


def test_a_daemon_that_only_reports_did_not_kill() -> None:
    report = OomReport(EventKind.USERSPACE_KILLER, Span("t", 3, 3), killer="kubelet")
    report.killed = [Killed(16713, "stress", reason="System OOM encountered", line=3)]
    report.notes = [Note("reported_not_done", 3, "")]
    assert "kubelet reports a kernel OOM kill of stress (pid 16713)" in unmark(explain_report(report).headline)


def test_allocation_failure_is_not_a_kill() -> None:
    report = OomReport(EventKind.ALLOCATION_FAILURE, Span("t", 1, 40), trigger=Trigger("swapper/0", 0, order=5))
    report.failure_mode = "page allocation failure"
    incident = explain_report(report)
    assert unmark(incident.headline) == "Page allocation failure for swapper/0; the kernel killed nothing"
    assert "not an OOM kill" in incident.summary
    assert [cause.code for cause in incident.causes] == ["allocation_failure"]


# --- names and words


@pytest.mark.parametrize("name", ["a\x1b[31mb", "x\x02c\x1fy\x03", ") total-vm:1kB", "\udcff", "{kib}"])
def test_names_are_marked_wherever_they_stand(name: str) -> None:
    rows = tuple(task(t.pid, name if t.pid == 161 else t.comm, t.rss_pages) for t in TASKS)
    report = host(tasks=rows)
    report.task_memcg = f"/system.slice/{name}.service"
    report.when = When(host=name)
    incident = explain_report(report)
    assert [note.text for note in report.notes if note.code == "diagnosis_failed"] == []
    outside = map_names("\n".join(sentences(incident)), lambda _name, _kind: "")
    assert name not in outside
    assert not set("\x02\x03\x1f\x1b\udcff") & set(outside)


@pytest.mark.parametrize(
    ("kib", "text"),
    [(None, "an unknown amount"), (0, "0 KiB"), (1023, "1023 KiB"), (1024, "1.0 MiB"), (1048530, "1.0 GiB"),
     (1048000, "1023.4 MiB"), (1 << 20, "1.0 GiB"), (3 << 30, "3.0 TiB"), (-2048, "-2.0 MiB")],
)  # fmt: skip
def test_size(kib: int | None, text: str) -> None:
    assert size(kib) == text


def test_small_words() -> None:
    assert [percent(1, 3), percent(1, 30), percent(1, 10**6), percent(0, 5)] == [
        "33 %", "3.3 %", "less than 0.1 %", "0.0 %",
    ]  # fmt: skip
    assert [count(1, "process"), count(2, "process"), count(1500, "page")] == [
        "1 process",
        "2 processes",
        "1,500 pages",
    ]
    assert [listing([]), listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert sentence("why not?") == "Why not?"
    assert unmark(holder(Consumer("name", "php-fpm", 9, None, count=3))) == "3 processes named php-fpm"
    assert holder(Consumer("kernel", "page tables", 9, None)) == "page tables"


@pytest.mark.parametrize(
    ("killer", "killed", "says", "command"),
    [
        ("systemd-oomd", Killed(cgroup="/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", reason="memory pressure"
         " for /user.slice being 90.60% > 80.00% for > 20s"), "have it end others before a.service",
         ("systemctl", "--user", "set-property", "a.service", "ManagedOOMPreference=avoid")),
        # a scope of that name is not there the next time
        ("systemd-oomd", Killed(cgroup="/user.slice/user-1000.slice/session-1.scope", reason="memory pressure for /user.slice"
         " being 90.60% > 80.00% for > 20s"), "raise ManagedOOMMemoryPressureLimit= of user.slice (80.00 % now) above the 90.60 %", None),
        ("earlyoom", Killed(1, "chrome.1", reason="badness 900"), "to spare chrome.1", None),
        # a name with signs of regular expressions in it is not put into one
        ("earlyoom", Killed(1, "a$(x) .*", reason="badness 900"), "to change when it acts", ("systemctl", "cat", "earlyoom")),
    ],
)  # fmt: skip
def test_how_a_killer_is_told_to_spare_its_victim(killer: str, killed: Killed, says: str, command: tuple[str, ...] | None) -> None:
    report = OomReport(EventKind.USERSPACE_KILLER, Span("t", 3, 3), killer=killer)
    report.killed = [killed]
    first = explain_report(report).causes[0].advice[0]
    assert says in unmark(first.text)
    assert first.command == command
    assert first.snippet in (None, "--avoid '^chrome\\.1$'\n")


def test_share_is_never_nothing_for_something_and_never_all_where_something_is_missing() -> None:
    assert [share(pct) for pct in (0.0, 0.9, 1.0, 41.6, 99.0, 99.9, 100.0)] == [
        "<1 %", "<1 %", "1 %", "42 %", "99 %", "99 %", "100 %",
    ]  # fmt: skip
