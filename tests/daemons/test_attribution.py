"""Names for events: from memory at once, asked for in the background, kept over a restart."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "alerts"))
from events import event

from oomsight.attribute import Key, Names, Observation
from oomsight.daemons import attribution as module
from oomsight.daemons.attribution import Attribution, container_cgroups
from oomsight.sources.runtimes import Places

CONTAINER = "5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f"
API = Names(container="api", image="reg/api:3", pod="api-7d9f", namespace="payments", runtime="containerd", main_pid=165)


def until(done, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.fixture
def nowhere(tmp_path):
    (tmp_path / "root").mkdir()
    return Places(str(tmp_path / "root"), programs=False)


def test_event_of_a_known_container_is_named_at_once(nowhere) -> None:
    names = Attribution(None, lambda _: None, places=nowhere, node="n1")
    names.resolver.memory.see(Observation(Key("container", CONTAINER), API, time.time()))
    found = names(event(names=None))
    assert found["attribution"]["name"] == "payments/api-7d9f:api"
    assert (found["attribution"]["image"], found["attribution"]["node"]) == ("reg/api:3", "n1")
    assert found["main_process_survived"] is False
    child = event(names=None)
    child["incident"]["victims"][0]["tgid"] = 999
    assert names(child)["main_process_survived"] is True


def test_event_of_a_global_kill_is_charged_to_the_pod_whose_process_died(nowhere) -> None:
    names = Attribution(None, lambda _: None, places=nowhere)
    names.resolver.memory.see(Observation(Key("container", CONTAINER), API, time.time()))
    made = event(names=None, kind="global")
    made["incident"]["oom_memcg"] = None
    assert names(made)["attribution"]["pod"] == "api-7d9f"


def test_event_without_any_cgroup_has_no_names(nowhere) -> None:
    made = event(names=None)
    made["incident"].update(oom_memcg=None, task_memcg=None)
    made["incident"]["victims"][0]["task_memcg"] = None
    assert Attribution(None, lambda _: None, places=nowhere)(made) is None


def test_event_of_an_unknown_container_is_asked_for_in_the_background(nowhere, monkeypatch) -> None:
    asked = []

    def look_up(places, owner, now):
        asked.append(owner.container_id)
        return [Observation(Key("container", CONTAINER), API, now)]

    monkeypatch.setattr(module, "look_up", look_up)
    names = Attribution(None, lambda _: None, places=nowhere)
    names.start()
    try:
        assert names(event(names=None))["attribution"]["name"] == "unknown"
        until(lambda: asked)
        until(lambda: names(event(names=None))["attribution"]["name"] == "payments/api-7d9f:api")
    finally:
        names.close()
    assert set(asked) == {CONTAINER}


def test_settle_waits_for_the_answer_and_names_the_event(nowhere, monkeypatch) -> None:
    go = threading.Event()

    def look_up(places, owner, now):
        assert go.wait(10)
        return [Observation(Key("container", CONTAINER), API, now)]

    monkeypatch.setattr(module, "look_up", look_up)
    names = Attribution(None, lambda _: None, places=nowhere)
    names.start()
    try:
        made = event(names=None)
        made["enrichment"] = names(made)
        names.settle(made, 0.01)
        assert made["enrichment"]["attribution"]["name"] == "unknown"
        threading.Timer(0.05, go.set).start()
        names.settle(made)
        assert made["enrichment"]["attribution"]["name"] == "payments/api-7d9f:api"
    finally:
        names.close()


def test_settle_does_not_wait_for_what_nobody_knows(nowhere, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(module, "look_up", lambda *_: asked.append(1) or [])
    names = Attribution(None, lambda _: None, places=nowhere)
    names.start()
    try:
        for number in range(20):
            made = event(number, names=None)
            made["enrichment"] = names(made)
            started = time.monotonic()
            names.settle(made, 60)
            assert time.monotonic() - started < 30
    finally:
        names.close()
    assert asked == [1]


def test_names_survive_a_restart_and_the_container(nowhere, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "look_up", lambda *_: [Observation(Key("container", CONTAINER), API, time.time())])
    path = str(tmp_path / "state" / "names.json")
    names = Attribution(path, lambda _: None, places=nowhere)
    names.start()
    names(event(names=None))
    until(lambda: names(event(names=None))["attribution"]["container"] == "api")
    names.close()
    assert json.loads(Path(path).read_text())
    later = Attribution(path, lambda _: None, places=nowhere)
    assert later(event(names=None))["attribution"]["name"] == "payments/api-7d9f:api"


def test_source_of_names_that_breaks_does_not_end_the_asking(nowhere, monkeypatch) -> None:
    calls = []

    def survey(places, now):
        calls.append(now)
        raise RuntimeError("nonsense")

    said = []
    monkeypatch.setattr(module, "survey", survey)
    monkeypatch.setattr(module, "GLANCE_SECONDS", 0.01)
    monkeypatch.setattr(module, "SURVEY_SECONDS", 0.02)
    monkeypatch.setattr(module, "SHARE", 1.0)
    names = Attribution(None, said.append, places=nowhere)
    names.start()
    until(lambda: len(calls) >= 3)
    names.close()
    assert said[0] == "names: RuntimeError: nonsense"


def test_container_cgroups_finds_containers_and_does_not_look_inside(tmp_path) -> None:
    base = tmp_path / "sys/fs/cgroup/memory"
    for path in (f"docker/{CONTAINER}/inner/deep", "system.slice/cron.service", "lxc.payload.web/x"):
        (base / path).mkdir(parents=True)
    found = {path[len(str(base)) :] for path in container_cgroups(Places(str(tmp_path)))}
    assert found == {f"/docker/{CONTAINER}", "/lxc.payload.web"}
