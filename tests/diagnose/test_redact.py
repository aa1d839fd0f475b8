"""A redacted incident gives no name away and keeps the verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from oomsight.diagnose.explain import explain_report
from oomsight.diagnose.redact import redact
from oomsight.naming.redact import Pseudonyms
from oomsight.report import parse_text
from oomsight.sinks.document import incident_json
from oomsight.sinks.markdown import render_markdown
from oomsight.sinks.story import story
from oomsight.sinks.text import render_text

CONTAINER = "5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f"
POD = "3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11"
PATHS = {
    "pod": f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD}.slice/cri-containerd-{CONTAINER}.scope",
    "docker": f"/docker/{CONTAINER}",
    "unit": "/system.slice/acme-billing.service",
    "lxc": "/lxc.payload.acmevault",
    "user": "/user.slice/user-1000.slice/user@1000.service/app.slice/app-acmeeditor-4242.scope",
    "plain": "/acmegroup/acmeinner",
}
SECRETS = ("acme", CONTAINER, CONTAINER[:12], POD, POD.replace("_", "-"), POD[:8], "vaulthost")


def report_text(path: str, comm: str) -> bytes:
    return f"""\
Nov 23 09:58:14 vaulthost kernel: [    3.313311] acme-trig invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
Nov 23 09:58:14 vaulthost kernel: [    3.313927] CPU: 0 UID: 1000 PID: 157 Comm: acme-trig Not tainted 6.12.107 #1
Nov 23 09:58:14 vaulthost kernel: [    3.319271] memory: usage 98304kB, limit 98304kB, failcnt 23
Nov 23 09:58:14 vaulthost kernel: [    3.319359] swap: usage 0kB, limit 9007199254740988kB, failcnt 0
Nov 23 09:58:14 vaulthost kernel: [    3.319425] Memory cgroup stats for {path}:
Nov 23 09:58:14 vaulthost kernel: [    3.320351] anon 100442112
Nov 23 09:58:14 vaulthost kernel: [    3.320508] file 0
Nov 23 09:58:14 vaulthost kernel: [    3.320536] kernel 221184
Nov 23 09:58:14 vaulthost kernel: [    3.322081] Tasks state (memory values in pages):
Nov 23 09:58:14 vaulthost kernel: [    3.322120] [  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
Nov 23 09:58:14 vaulthost kernel: [    3.322365] [    155]  1000   155    14118    13905    13824        0        81   151552        0             0 {comm}
Nov 23 09:58:14 vaulthost kernel: [    3.322737] [    157]  1000   157    11046    10801    10688        0       113   126976        0             0 acme-trig
Nov 23 09:58:14 vaulthost kernel: [    3.322917] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=acmeset,mems_allowed=0,oom_memcg={path},task_memcg={path},task={comm},pid=155,uid=1000
Nov 23 09:58:14 vaulthost kernel: [    3.323959] Memory cgroup out of memory: Killed process 155 ({comm}) total-vm:56472kB, anon-rss:55296kB, file-rss:0kB, shmem-rss:324kB, UID:1000 pgtables:148kB oom_score_adj:0
""".encode()


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("comm", ["acme-worker", "java", "acme, task=b", "acme\x1b[31m"])
def test_redact_gives_no_name_away_in_any_format(path: str, comm: str) -> None:
    (report,) = parse_text(report_text(path, comm), "/home/acme/kern.log")
    incident = explain_report(report)
    assert any(secret in incident_json(incident) for secret in SECRETS)
    hidden = redact(incident, Pseudonyms(b"key"))
    shown = [incident_json(hidden)]
    for level in ("brief", "normal", "evidence"):
        shown += [render_text(story(hidden, level=level)), render_markdown(story(hidden, level=level))]
    for text in shown:
        flat = text.replace("\n", "").replace(" ", "")
        assert [secret for secret in SECRETS if secret in flat] == []


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_redact_keeps_verdict_and_numbers(path: str) -> None:
    (report,) = parse_text(report_text(path, "acme-worker"))
    incident = explain_report(report)
    hidden = redact(incident, Pseudonyms(b"key"))
    before, after = json.loads(incident_json(incident)), json.loads(incident_json(hidden))
    assert [c["code"] for c in after["causes"]] == [c["code"] for c in before["causes"]]
    assert [c["confidence"] for c in after["causes"]] == [c["confidence"] for c in before["causes"]]
    for key in ("id", "kind", "constraint", "memory", "complete"):
        if key != "memory":
            assert after[key] == before[key]
    assert [i["kib"] for i in after["memory"]["items"]] == [i["kib"] for i in before["memory"]["items"]]
    assert after["victims"][0]["anon_rss_kib"] == 55296
    assert after["victims"][0]["pid"] == 155
    assert after["selection"]["explained"] is True
    assert after["oom_owner"]["kind"] == before["oom_owner"]["kind"]


def test_redact_leaves_the_incident_as_it_is() -> None:
    (report,) = parse_text(report_text(PATHS["unit"], "acme-worker"))
    incident = explain_report(report)
    before = incident_json(incident)
    redact(incident, Pseudonyms(b"key"))
    assert incident_json(replace(incident)) == before


def test_redact_with_one_key_is_comparable_with_another_not() -> None:
    (report,) = parse_text(report_text(PATHS["unit"], "acme-worker"))
    incident = explain_report(report)
    one, same, other = (incident_json(redact(incident, Pseudonyms(k))) for k in (b"a", b"a", b"b"))
    assert one == same
    assert one != other
