"""Whose a cgroup path is. Paths are the forms runtimes create; ids are made up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.naming.cgroup_layouts import LAYOUTS
from oomsight.naming.cgroup_path import SHORT_CHARS, describe, is_ancestor, relation, split, walk
from oomsight.naming.marked import Kind, mark, unmark

ID = "3f4a8c0d1e2f" + "5a" * 26
ID2 = "b7" * 32
UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
UID_ = UID.replace("-", "_")
STATIC = "95387fa4da9c11e79d365254b24cbf5e"
PODS = "/kubepods.slice/kubepods-burstable.slice"
POD = f"{PODS}/kubepods-burstable-pod{UID_}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"
K8S = {"orchestrator": "kubernetes"}
NODE = f"/system.slice/docker-{ID}.scope"

CASES = [
    # Kubernetes
    ("/kubepods", "slice", "all pods", K8S),
    ("/kubepods.slice", "slice", "all pods", K8S | {"slice": "kubepods.slice"}),
    ("/kubepods/besteffort", "slice", "qos class", K8S | {"qos": "besteffort"}),
    (PODS, "slice", "qos class", K8S | {"qos": "burstable", "slice": "kubepods-burstable.slice"}),
    (f"/kubepods/burstable/pod{UID}", "pod", "pod", K8S | {"qos": "burstable", "pod_uid": UID}),
    (f"/kubepods/pod{UID}", "pod", "pod", K8S | {"qos": "guaranteed", "pod_uid": UID}),
    (f"/kubepods/burstable/pod{STATIC}", "pod", "pod", K8S | {"qos": "burstable", "pod_uid": STATIC}),
    (f"/kubepods/pod{UID}/{ID}", "container", "container",
     K8S | {"qos": "guaranteed", "pod_uid": UID, "container_id": ID}),
    (f"/kubepods/besteffort/pod{UID}/crio-{ID}", "container", "container",
     K8S | {"qos": "besteffort", "pod_uid": UID, "container_id": ID, "runtime": "cri-o"}),
    (POD, "pod", "pod", K8S | {"qos": "burstable", "pod_uid": UID, "slice": POD.rpartition("/")[2]}),
    (f"/kubepods.slice/kubepods-pod{UID_}.slice", "pod", "pod",
     K8S | {"qos": "guaranteed", "pod_uid": UID, "slice": f"kubepods-pod{UID_}.slice"}),
    (f"{POD}/cri-containerd-{ID}.scope", "container", "container",
     K8S | {"qos": "burstable", "pod_uid": UID, "container_id": ID, "runtime": "containerd",
            "unit": f"cri-containerd-{ID}.scope", "slice": POD.rpartition("/")[2]}),
    (f"{POD}/crio-{ID}.scope/container", "container", "container",
     K8S | {"qos": "burstable", "pod_uid": UID, "container_id": ID, "runtime": "cri-o",
            "unit": f"crio-{ID}.scope", "slice": POD.rpartition("/")[2]}),
    (f"/kubepods.slice/kubepods-pod{UID_}.slice/docker-{ID}.scope", "container", "container",
     K8S | {"qos": "guaranteed", "pod_uid": UID, "container_id": ID, "runtime": "docker",
            "unit": f"docker-{ID}.scope", "slice": f"kubepods-pod{UID_}.slice"}),
    (f"/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{ID}", "container",
     "container", K8S | {"qos": "besteffort", "pod_uid": UID, "container_id": ID, "runtime": "containerd",
                         "slice": f"kubepods-besteffort-pod{UID_}.slice"}),
    (f"/kubepods-pod{UID_}.slice:cri-containerd:{ID}", "container", "container",
     K8S | {"qos": "guaranteed", "pod_uid": UID, "container_id": ID, "runtime": "containerd",
            "slice": f"kubepods-pod{UID_}.slice"}),
    (f"/k8s.io/{ID}", "container", "container", K8S | {"container_id": ID, "runtime": "containerd"}),
    (f"…/pod{UID}/{ID}", "container", "container", K8S | {"pod_uid": UID, "container_id": ID}),
    # container runtimes
    (f"/docker/{ID}", "container", "container", {"runtime": "docker", "container_id": ID}),
    (f"0::/docker/{ID}", "container", "container", {"runtime": "docker", "container_id": ID}),
    (f"/sys/fs/cgroup/memory/docker/{ID}", "container", "container", {"runtime": "docker", "container_id": ID}),
    (f"/docker/{ID} (deleted)", "container", "container", {"runtime": "docker", "container_id": ID}),
    ("/docker", "slice", "slice", {"runtime": "docker"}),
    (NODE, "container", "container",
     {"runtime": "docker", "container_id": ID, "unit": f"docker-{ID}.scope", "slice": "system.slice"}),
    ("/system.slice/docker-<id>.scope", "container", "container",
     {"runtime": "docker", "unit": "docker-<id>.scope", "slice": "system.slice"}),
    ("/system.slice/docker-3f4a8c….scope", "container", "container",
     {"runtime": "docker", "container_id": "3f4a8c…", "unit": "docker-3f4a8c….scope", "slice": "system.slice"}),
    (f"/build-farm/{ID}", "container", "container", {"container_id": ID}),
    (f"/actions_job/{ID}", "container", "container", {"container_id": ID, "orchestrator": "github-actions"}),
    ("/docker/buildkit/rlzkfo3i8mgqc4u3cjx2uj1u6", "container", "container",
     {"runtime": "buildkit", "container_id": "rlzkfo3i8mgqc4u3cjx2uj1u6"}),
    (f"{USER}/user.slice/libpod-{ID}.scope/container", "container", "container",
     {"runtime": "podman", "container_id": ID, "uid": 1000, "unit": f"libpod-{ID}.scope", "slice": "user.slice"}),
    (f"{USER}/app.slice/docker-{ID}.scope", "container", "container",
     {"runtime": "docker", "container_id": ID, "uid": 1000, "unit": f"docker-{ID}.scope", "slice": "app.slice"}),
    (f"/machine.slice/libpod-{ID}.scope", "container", "container",
     {"runtime": "podman", "container_id": ID, "unit": f"libpod-{ID}.scope", "slice": "machine.slice"}),
    (f"/machine.slice/libpod-conmon-{ID}.scope", "container", "container",
     {"runtime": "podman", "container_id": ID, "unit": f"libpod-conmon-{ID}.scope", "slice": "machine.slice"}),
    (f"/libpod_parent/libpod-{ID}", "container", "container", {"runtime": "podman", "container_id": ID}),
    (f"/machine.slice/machine-libpod_pod_{ID2}.slice/libpod-{ID}.scope", "container", "container",
     {"runtime": "podman", "container_id": ID, "pod_uid": ID2, "unit": f"libpod-{ID}.scope",
      "slice": f"machine-libpod_pod_{ID2}.slice"}),
    # other orchestrators
    (f"/ecs/{STATIC}/{ID}", "container", "container", {"orchestrator": "ecs", "pod_uid": STATIC, "container_id": ID}),
    (f"/ecs/production/{STATIC}/{ID}", "container", "container",
     {"orchestrator": "ecs", "pod_uid": STATIC, "container_id": ID}),
    (f"/ecs/{STATIC}/{STATIC}-2531612879", "container", "container",
     {"orchestrator": "ecs", "pod_uid": STATIC, "container_id": f"{STATIC}-2531612879"}),
    (f"/ecstasks.slice/ecstasks-{STATIC}.slice/docker-{ID}.scope", "container", "container",
     {"orchestrator": "ecs", "pod_uid": STATIC, "container_id": ID, "runtime": "docker",
      "unit": f"docker-{ID}.scope", "slice": f"ecstasks-{STATIC}.slice"}),
    (f"/nomad.slice/share.slice/{UID}.web.scope", "container", "container",
     {"orchestrator": "nomad", "pod_uid": UID, "unit": f"{UID}.web.scope", "slice": "share.slice"}),
    (f"/nomad.slice/docker-{ID}.scope", "container", "container",
     {"orchestrator": "nomad", "container_id": ID, "runtime": "docker", "unit": f"docker-{ID}.scope",
      "slice": "nomad.slice"}),
    ("/slurm/uid_1001/job_4711/step_batch/task_0", "unit", "unit",
     {"orchestrator": "slurm", "uid": 1001, "unit": "job_4711"}),
    ("/slurm_node7/uid_1001", "user", "user", {"orchestrator": "slurm", "uid": 1001}),
    ("/system.slice/slurmstepd.scope/job_4711/step_0/user/task_special", "unit", "unit",
     {"orchestrator": "slurm", "unit": "job_4711", "slice": "system.slice"}),
    ("/pbs_jobs.service/jobid/12345.head1", "unit", "unit", {"orchestrator": "pbs", "unit": "12345"}),
    # system containers and machines
    ("/lxc/100102/ns/.lxc", "machine", "machine", {"runtime": "lxc", "machine": "100102"}),
    ("/lxc/docker", "machine", "machine", {"runtime": "lxc", "machine": "docker"}),
    ("/lxc/web.service", "machine", "machine", {"runtime": "lxc", "machine": "web.service"}),
    ("/lxc/web.slice", "machine", "machine", {"runtime": "lxc", "machine": "web.slice"}),
    ("/lxc.payload.web1", "machine", "machine", {"runtime": "lxc", "machine": "web1"}),
    ("/lxc.payload/web1", "machine", "machine", {"runtime": "lxc", "machine": "web1"}),
    ("/lxc.monitor.web1", "machine", "machine", {"runtime": "lxc", "machine": "web1"}),
    ("/machine.slice/systemd-nspawn@web1.service/payload", "machine", "machine",
     {"runtime": "nspawn", "machine": "web1", "unit": "systemd-nspawn@web1.service", "slice": "machine.slice"}),
    ("/machine.slice/machine-web1.scope/payload", "machine", "machine",
     {"runtime": "nspawn", "machine": "web1", "unit": "machine-web1.scope", "slice": "machine.slice"}),
    ("/machine.slice/machine-web1.scope", "machine", "machine",
     {"machine": "web1", "unit": "machine-web1.scope", "slice": "machine.slice"}),
    (r"/machine.slice/machine-qemu\x2d1\x2dweb\x2d1.scope/libvirt/emulator", "machine", "machine",
     {"runtime": "qemu", "machine": "web-1", "unit": r"machine-qemu\x2d1\x2dweb\x2d1.scope", "slice": "machine.slice"}),
    ("/qemu.slice/104.scope", "machine", "machine",
     {"runtime": "qemu", "machine": "104", "unit": "104.scope", "slice": "qemu.slice"}),
    # systemd
    ("/system.slice", "slice", "slice", {"slice": "system.slice"}),
    ("/system.slice/ssh.service", "unit", "unit", {"unit": "ssh.service", "slice": "system.slice"}),
    ("/system.slice/system-getty.slice/getty@tty1.service", "unit", "unit",
     {"unit": "getty@tty1.service", "slice": "system-getty.slice"}),
    (r"/system.slice/acme\x2dbilling.service/workers/3", "unit", "cgroup",
     {"unit": r"acme\x2dbilling.service", "slice": "system.slice"}),
    ("/init.scope", "unit", "unit", {"unit": "init.scope"}),
    ("/user.slice/user-1000.slice", "user", "user", {"uid": 1000, "slice": "user-1000.slice"}),
    ("/user.slice/user-1000.slice/session-c3.scope", "user_session", "session",
     {"uid": 1000, "session": "c3", "unit": "session-c3.scope", "slice": "user-1000.slice"}),
    (USER, "user", "unit", {"uid": 1000, "unit": "user@1000.service", "slice": "user-1000.slice"}),
    (f"{USER}/init.scope", "user", "unit", {"uid": 1000, "unit": "init.scope", "slice": "user-1000.slice"}),
    (f"{USER}/app.slice", "slice", "slice", {"uid": 1000, "slice": "app.slice"}),
    (f"{USER}/app.slice/app-gnome-org.gnome.Maps-4711.scope", "unit", "unit",
     {"uid": 1000, "unit": "app-gnome-org.gnome.Maps-4711.scope", "slice": "app.slice"}),
    (f"{USER}/app.slice/snap.code.code-{UID}.scope", "unit", "unit",
     {"uid": 1000, "unit": f"snap.code.code-{UID}.scope", "slice": "app.slice"}),
    (".../app.slice/run-p3295453-i208789885.scope", "unit", "unit",
     {"unit": "run-p3295453-i208789885.scope", "slice": "app.slice"}),
    # Android, plain names, nothing
    ("/uid_10123/pid_4567", "user", "user", {"orchestrator": "android", "uid": 10123}),
    ("/apps/uid_10123/pid_4567", "user", "user", {"orchestrator": "android", "uid": 10123}),
    ("/syz1", "cgroup", "cgroup", {}),
    ("/a b,task=x", "cgroup", "cgroup", {}),
    ("…", "cgroup", "cgroup", {}),
    ("", "cgroup", "cgroup", {}),
    ("/", "root", "root", {}),
    ("0::/", "root", "root", {}),
]  # fmt: skip

FIELDS = ("orchestrator", "runtime", "container_id", "pod_uid", "qos", "unit", "slice", "uid", "session", "machine")


@pytest.mark.parametrize(("path", "kind", "level", "fields"), CASES, ids=[case[0][:60] for case in CASES])
def test_describe_layout(path, kind, level, fields):
    owner = describe(path)
    assert (owner.path, owner.kind, owner.level, owner.nested) == (path, kind, level, None)
    assert {name: getattr(owner, name) for name in FIELDS} == dict.fromkeys(FIELDS) | fields


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_table_example_is_decided_by_its_own_row(layout):
    assert list(walk(split(layout.example)[1]))[-1].layout is layout


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@settings(max_examples=6)
@given(data=st.data())
def test_table_ends_are_those_of_every_match(layout, data):
    text = data.draw(st.one_of(st.from_regex(one, fullmatch=True) for one in layout.pattern.patterns))
    assert text.startswith(layout.first)
    assert text.endswith(layout.last)


def test_table_ends_spare_most_patterns():
    ends = {layout.name: (layout.first, layout.last) for layout in LAYOUTS}
    assert sum(first != "" or last != "" for first, last in ends.values()) > len(ends) * 0.5
    assert ends["user-slice"] == ("user.slice", "user.slice")


def test_table_names_are_unique():
    names = [layout.name for layout in LAYOUTS]
    assert sorted(set(names)) == sorted(names)


NESTED = [
    # kind on systemd, kind on cgroupfs, pods in LXC, systemd in LXC (Proxmox), Docker in Docker
    (f"{NODE}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
     f"kubelet-kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID2}.scope",
     ("container", "docker", ID), ("container", "containerd", ID2), "container"),
    (f"/docker/{ID}/kubelet/kubepods/burstable/pod{UID}", ("container", "docker", ID), ("pod", None, None), "pod"),
    (f"/lxc.payload.node1{POD}/cri-containerd-{ID2}.scope", ("machine", "lxc", None),
     ("container", "containerd", ID2), "container"),
    ("/lxc/107/ns/system.slice/paperless.service", ("machine", "lxc", None), ("unit", None, None), "unit"),
    (f"/docker/{ID}/docker/{ID2}", ("container", "docker", ID), ("container", "docker", ID2), "container"),
    ("/machine.slice/machine-web1.scope/init.scope", ("machine", None, None), ("unit", None, None), "unit"),
    (f"/docker/{ID}/jobs", ("container", "docker", ID), ("cgroup", None, None), "cgroup"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "outer", "inner", "level"), NESTED)
def test_describe_nested(path, outer, inner, level):
    owner = describe(path)
    assert (owner.kind, owner.runtime, owner.container_id) == outer
    assert owner.leaf is owner.nested
    assert (owner.leaf.kind, owner.leaf.runtime, owner.leaf.container_id) == inner
    assert owner.level == owner.leaf.level == level


def test_describe_none_is_none():
    assert describe(None) is None


WORDS = [
    (f"{POD}/cri-containerd-{ID}.scope",
     f"container 3f4a8c0d1e2f of a Burstable pod (uid {UID}), run by containerd",
     "container 3f4a8c0d1e2f in pod 8dbc2f0a"),
    (f"…/pod{UID}/{ID}", f"container 3f4a8c0d1e2f of a pod (uid {UID})", "container 3f4a8c0d1e2f in pod 8dbc2f0a"),
    (f"/kubepods/pod{UID}", f"a Guaranteed pod (uid {UID})", f"pod {UID}"),
    ("/lxc/107/ns/system.slice/paperless.service", "systemd unit paperless.service, inside LXC container 107",
     "paperless.service in LXC container 107"),
    (f"{USER}/user.slice/libpod-{ID}.scope", "container 3f4a8c0d1e2f, run by podman, of user id 1000",
     "container 3f4a8c0d1e2f"),
    ("/user.slice/user-1000.slice/session-3.scope", "session 3 of user id 1000", "session 3 of user 1000"),
    (r"/system.slice/acme\x2dbilling.service/workers/3", r"cgroup workers/3 in systemd unit acme\x2dbilling.service",
     "cgroup 3"),
    (f"/nomad.slice/share.slice/{UID}.web.scope", f"Nomad task web of Nomad allocation {UID}",
     "Nomad task web in Nomad allocation 8dbc2f0a"),
    ("/slurm/uid_1001/job_4711/step_batch", "Slurm job 4711, step batch of user id 1001", "job_4711 of user 1001"),
    (f"{USER}/app.slice/app-flatpak-org.mozilla.firefox-4711.scope",
     "Flatpak application org.mozilla.firefox of user id 1000",
     "app-flatpak-org.mozilla.firefox-4711.scope of user 1000"),
    ("/foo/bar", "cgroup /foo/bar", "bar"),
    ("/system.slice/docker-<id>.scope", "container …, run by docker", "container …"),
    ("/", "the root cgroup", "the root cgroup"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "words", "short"), WORDS)
def test_describe_words(path, words, short):
    owner = describe(path)
    assert (unmark(owner.words), unmark(owner.short)) == (words, short)


def test_describe_marks_hostile_names():
    owner = describe("/system.slice/\x1b[31m) \x02evil\x03,task=x.service")
    assert owner.unit == "\x1b[31m) \x02evil\x03,task=x.service"
    assert owner.words == "systemd unit " + mark("\x1b[31m) \x02evil\x03,task=x.service", Kind.OWNER)


def test_describe_survives_endless_nesting():
    owner = describe(f"/docker/{ID}" * 5000)
    assert (owner.container_id, owner.leaf.container_id) == (ID, ID)


SURROGATES = st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]), max_size=3)
HOSTILE = st.text(max_size=20) | SURROGATES | st.sampled_from(["\x1b[2J", "a\nb", "x) ,task=y,pid=1", "\x02c\x1f\x03"])
PIECES = st.sampled_from(sorted({part for layout in LAYOUTS for part in layout.example.split("/")}))
PATHS = st.lists(PIECES | HOSTILE, max_size=8).map("/".join)


@given(PATHS)
def test_describe_never_raises_and_keeps_its_promises(path):
    owner = describe(path)
    assert owner.path == path
    while owner is not None:
        assert len(owner.short) <= SHORT_CHARS
        assert unmark(owner.short)
        assert owner.level == owner.leaf.level
        assert (owner.kind == "root") == (owner.words == "the root cgroup")
        assert (owner.session is not None) or owner.kind != "user_session"
        owner = owner.nested


@given(PATHS)
def test_split_is_lossless(path):
    prefix, components, suffix = split(path)
    assert prefix + "/".join(components) + suffix == path


@given(st.text(st.characters(exclude_characters="/", exclude_categories=[]), min_size=1, max_size=9))
def test_unknown_name_is_never_the_root(name):
    assert describe("/unknown/" + name).kind != "root"


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [("/", "/a", True), ("/a", "/a/b", True), ("/a", "/a/b/c", True), ("/a", "/a", False), ("/a", "/ab", False),
     ("/a/b", "/a", False), ("/", "/", False), ("0::/a", "/a/b", True)],
)  # fmt: skip
def test_is_ancestor(above, below, expected):
    assert is_ancestor(above, below) is expected


CONTAINER = f"{POD}/cri-containerd-{ID}.scope"
CONTAINER_WORDS = f"container 3f4a8c0d1e2f of a Burstable pod (uid {UID}), run by containerd"
RELATIONS = [
    (None, CONTAINER, "The report names no cgroup whose limit was hit."),
    ("/lxc/107", None,
     "The limit of LXC container 107 was hit; the report does not say which cgroup the process was in."),
    (CONTAINER, CONTAINER, f"The process hit the limit of its own container: {CONTAINER_WORDS}."),
    ("/lxc/100102", "/lxc/100102/ns/.lxc",
     "The process hit the limit of its own machine: LXC container 100102."),
    (POD, CONTAINER, "The limit of the whole pod was hit, not that of one container: "
     f"a Burstable pod (uid {UID}), 1 level above the process, which was in container 3f4a8c0d1e2f in pod {UID[:8]}."),
    (PODS, CONTAINER, "The limit that all pods of one QoS class share was hit, not the pod's own: "
     f"all Burstable pods of the node, 2 levels above the process, which was in {CONTAINER_WORDS}."),
    ("/kubepods.slice", CONTAINER, "The limit that all pods of the node share was hit, not the pod's own: "
     f"all pods of the node (kubepods.slice), 3 levels above the process, which was in {CONTAINER_WORDS}."),
    ("/system.slice", "/system.slice/ssh.service",
     "The limit of a parent slice was hit, not the process's own: all system services (system.slice), "
     "1 level above the process, which was in systemd unit ssh.service."),
    ("/user.slice/user-1000.slice", "/user.slice/user-1000.slice/session-3.scope",
     "The limit for everything of one user was hit, not the process's own: everything of user id 1000, "
     "1 level above the process, which was in session 3 of user id 1000."),
    ("/lxc/107", "/lxc/107/ns/system.slice/paperless.service",
     "The limit of the whole machine or system container was hit, not that of anything inside it: LXC container 107, "
     "3 levels above the process, which was in systemd unit paperless.service, inside LXC container 107."),
    ("/a", "/a/b/c", "The limit of a parent cgroup was hit, not the process's own: cgroup /a, "
     "2 levels above the process, which was in cgroup /a/b/c."),
    ("/a", "/b", "The limit of cgroup /a was hit, but the process was in cgroup /b, which is not below it."),
]  # fmt: skip


@pytest.mark.parametrize(("oom_memcg", "task_memcg", "sentence"), RELATIONS)
def test_relation(oom_memcg, task_memcg, sentence):
    assert unmark(relation(oom_memcg, task_memcg)) == sentence


@given(st.none() | PATHS, st.none() | PATHS)
def test_relation_is_always_one_sentence(oom_memcg, task_memcg):
    assert relation(oom_memcg, task_memcg).endswith(".")
