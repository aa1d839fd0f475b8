"""Path and moment to names; unknown says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.attribute import UNKNOWN, Key, Names, Observation, Resolver, charged_path
from oomsight.naming.marked import unmark

ID = "3f4a8c0d1e2f" + "5a" * 26
INNER = "b7" * 32
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
UID_ = UID.replace("-", "_")
POD = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice"
CONTAINER = f"{POD}/cri-containerd-{ID}.scope"
SESSION = "/user.slice/user-1000.slice/session-3.scope"


def _resolver(*pairs, **kwargs):
    resolver = Resolver(**kwargs)
    resolver.observe(Observation(key, names, 100.0) for key, names in pairs)
    return resolver


CRI = (
    (Key("container", ID), Names(container="api", image="reg/api:7", limit_bytes=1 << 28)),
    (Key("pod", UID), Names(pod="api-7d9f", namespace="payments", pod_uid=UID, limit_bytes=5, labels=(("a", "b"),))),
)


def test_resolve_container_takes_pod_names_but_not_its_limit_or_labels():
    found = _resolver(*CRI, node="n1").resolve(CONTAINER, 100.0)
    assert (found.container, found.pod, found.namespace, found.image) == ("api", "api-7d9f", "payments", "reg/api:7")
    assert (found.pod_uid, found.qos, found.runtime, found.node) == (UID, "burstable", "containerd", "n1")
    assert (found.limit_bytes, found.labels) == (1 << 28, None)
    assert found.name == "payments/api-7d9f:api"
    assert unmark(found.words) == (
        "container api (image reg/api:7) of pod payments/api-7d9f (Burstable), run by containerd"
    )


def test_resolve_pod_that_only_the_container_names():
    found = _resolver((Key("container", ID), Names(container="api", pod_uid=UID)), CRI[1]).resolve(f"/docker/{ID}")
    assert (found.pod, found.namespace) == ("api-7d9f", "payments")


def test_resolve_pod_cgroup_is_the_pod():
    found = _resolver(*CRI).resolve(POD)
    assert (found.level, found.name, found.container, found.limit_bytes) == ("pod", "payments/api-7d9f", None, 5)


@pytest.mark.parametrize(
    ("path", "name", "words"),
    [
        (None, UNKNOWN, "an unknown cgroup"),
        ("/", UNKNOWN, "the root cgroup"),
        ("/foo/bar", UNKNOWN, "cgroup /foo/bar"),
        (f"/docker/{ID}", UNKNOWN, "container 3f4a8c0d1e2f, run by docker (its name is unknown)"),
        (SESSION, "uid 1000", "session 3 of user id 1000"),
        ("/system.slice/nginx.service", "nginx.service", "systemd unit nginx.service"),
    ],
)
def test_resolve_without_memory_says_what_the_path_tells(path, name, words):
    found = Resolver().resolve(path)
    assert (found.name, unmark(found.words)) == (name, words)
    assert found.text("pod") == UNKNOWN


def test_resolve_session_names_the_user():
    found = _resolver((Key("session", "3"), Names(user="anna", uid=1000))).resolve(SESSION, 100.0)
    assert (found.user, found.session, found.name) == ("anna", "3", "anna")
    assert unmark(found.words) == "session 3 of user anna"


def test_resolve_user_of_a_session_nobody_saw():
    found = _resolver((Key("user", "1000"), Names(user="anna"))).resolve(SESSION, 100.0)
    assert unmark(found.words) == "session 3 of user anna"


def test_resolve_proxmox_number_gets_its_host_name():
    found = _resolver((Key("machine", "104"), Names(machine="db1", limit_bytes=7))).resolve("/lxc/104/ns/system.slice")
    assert (found.host.machine, found.host.limit_bytes) == ("db1", 7)
    assert unmark(found.host.words) == "LXC container 104 (db1)"


def test_resolve_nested_names_both_and_does_not_mix_them():
    path = f"/docker/{ID}/kubelet/kubepods/burstable/pod{UID}/{INNER}"
    found = _resolver((Key("container", ID), Names(container="kind-worker", image="kind", limit_bytes=9))).resolve(path)
    assert (found.container_id, found.container, found.image, found.limit_bytes) == (INNER, None, None, None)
    assert (found.host.container, found.host.container_id) == ("kind-worker", ID)
    assert unmark(found.words).endswith("(its name is unknown), inside container kind-worker (image kind), run by docker")


def test_resolve_by_path_where_the_path_is_the_only_name():
    resolver = _resolver((Key("cgroup", "/default/batch-7"), Names(container="batch-7", limit_bytes=4)))
    for path in ("/default/batch-7", "/default/batch-7/inner", "/default//batch-7/"):
        found = resolver.resolve(path)
        assert (found.container, found.limit_bytes, found.level) == ("batch-7", 4, "container")
    assert resolver.resolve("/default").container is None


def test_resolve_limit_of_a_cgroup_above_is_not_its_own():
    resolver = _resolver((Key("cgroup", POD), Names(limit_bytes=5)))
    assert resolver.resolve(POD).limit_bytes == 5
    assert resolver.resolve(CONTAINER).limit_bytes is None


def test_survived_by_main_only_where_both_pids_are_known():
    found = _resolver((Key("container", ID), Names(container="api", main_pid=10))).resolve(CONTAINER)
    assert (found.survived_by_main(11), found.survived_by_main(10), found.survived_by_main(None)) == (True, False, None)
    assert Resolver().resolve(CONTAINER).survived_by_main(11) is None


def test_lookup_is_asked_once_then_again_only_later():
    asked = []

    def lookup(owner):
        asked.append(owner.container_id)
        return []

    resolver = Resolver(lookup=lookup)
    for at in (100.0, 101.0, 129.0, 131.0):
        resolver.resolve(CONTAINER, at)
    assert asked == [ID, ID]


def test_lookup_answer_is_used_and_remembered():
    asked = []

    def lookup(owner):
        asked.append(owner)
        return [Observation(Key("container", owner.container_id), Names(container="late"), 100.0)]

    resolver = Resolver(lookup=lookup)
    assert resolver.resolve(CONTAINER, 100.0).container == "late"
    assert resolver.resolve(CONTAINER, 500.0).container == "late"
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["api", ID, ID[:12], "payments/api-7d9f", "api-7d9f", UID])
def test_find_by_any_name(text):
    keys = {key.kind for key, _ in _resolver(*CRI, (Key("container", INNER), Names(container="other"))).find(text)}
    assert keys <= {"container", "pod"}
    assert keys


def test_find_nothing_for_a_name_nobody_has():
    assert _resolver(*CRI).find("None/None") == []
    assert _resolver(*CRI).find("ap") == []


@pytest.mark.parametrize(
    ("task", "oom", "live", "charged"),
    [
        (CONTAINER, "/", None, CONTAINER),  # node-level kill: the pod whose process died
        (CONTAINER, POD, None, CONTAINER),  # the pod's limit, the container's process
        (None, None, CONTAINER, CONTAINER),  # kernels before 5.0 print no cgroup for a global kill
        (None, POD, None, POD),
        ("/", None, None, "/"),
        (None, None, None, None),
    ],
)
def test_charged_path_is_that_of_the_process_that_died(task, oom, live, charged):
    assert charged_path(task, oom, live) == charged


@given(st.text(max_size=80), st.none() | st.floats(allow_nan=False))
def test_resolve_any_text_never_raises_and_is_never_a_bare_slash(path, at):
    found = _resolver(*CRI).resolve(path, at)
    assert found.name != "/"
    assert found.words
