r"""
The table of cgroup layouts: how orchestrators, container runtimes and systemd name the cgroups they create.

One row per kind of path component, with an example path the row decides about and where the fact comes from. A row
knows one component and the *context* its parent opened (``under``/``opens``): ``burstable`` is a QoS class only below
``kubepods``, and below ``/lxc`` even ``docker`` is the name of a container. Rows for the context are tried before those
for any place, each top to bottom. A ``boundary`` row is a container or machine: what follows was named by the system
inside it and is read afresh, from context ``inside``.

Named groups carry what is read: ``id`` container id, ``pod`` pod uid (ECS task, Nomad allocation, podman pod), ``qos``,
``rt`` runtime prefix, ``uid``, ``session``, ``machine``, ``job``, ``step``, ``name`` and ``instance`` (any other chosen
name), ``token`` (what a program made up or counted to tell its scopes apart). :data:`SECRET` lists the groups that
pseudonyms replace; text outside them belongs to the layout.
"""

from __future__ import annotations

from oomsight._named import NamedTuple
from oomsight.naming.shapes import CUT, ID, POD, UNIT, UUID, Shape

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from typing import Final, Literal

    OwnerKind = Literal["pod", "container", "unit", "user_session", "user", "machine", "slice", "root", "cgroup"]


SECRET: Final = frozenset({"id", "pod", "machine", "name", "instance", "token", "session"})
"""Groups whose text was chosen by people or identifies them; the rest is numbers and fixed words."""

ELIDED: Final = frozenset({"…", "...", "..", "[...]", "(...)", "<...>"})
"""Components that stand for others: cut by whoever pasted the text, or ``..`` seen from inside a cgroup namespace."""

RUNTIMES: Final = {
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "docker": "docker",
    "libpod": "podman",
    "kata": "kata",
    "qemu": "qemu",
    "lxc": "lxc",
}
"""Prefix a runtime puts before the id -> the runtime."""

_ID = rf"(?P<id>{ID})"
_POD = rf"(?P<pod>{POD})"
_TOKEN = rf"(?P<token>{UUID}|{CUT})"
_QOS = r"(?P<qos>burstable|besteffort)"
_TASK = rf"(?P<pod>{UUID}|[0-9a-f]{{32}})"
_UID = r"(?P<uid>\d{1,10})"
_PREFIXED = r"(?P<name>.+?)-kubepods"  # below what kubelet --cgroup-root names
_PODSLICE = rf"(?:(?P<name>.+?)-)?kubepods(?:-{_QOS})?-pod{_POD}\.slice"


class Layout(NamedTuple):
    """One kind of path component."""

    name: str
    pattern: Shape
    example: str  #: a path whose last recognised component this row matches
    source: str
    kind: OwnerKind | None  #: ``None`` = changes nothing (a wrapper inside a container or machine)
    level: str | None  #: what a path that ends here is
    noun: str  #: words for it; ``{unit}``, ``{id}``, ``{machine}`` … are filled with marked names
    under: frozenset[str]  #: contexts it needs, empty = any
    opens: str  #: context of its children
    boundary: bool
    orchestrator: str | None
    runtime: str | None
    qos: str | None  #: QoS class when the name carries none
    first: str  #: what every match begins with, so that most rows are passed over without compiling their pattern
    last: str  #: what every match ends with


def _row(  # noqa: PLR0917 - columns of a table
    name: str,
    pattern: str | tuple[str, ...],
    example: str,
    source: str,
    kind: OwnerKind | None,
    level: str | None,
    noun: str,
    *,
    under: str = "",
    opens: str = "",
    boundary: bool = False,
    orch: str | None = None,
    runtime: str | None = None,
    qos: str | None = None,
) -> Layout:
    shape = Shape(pattern) if isinstance(pattern, str) else Shape(*pattern)
    contexts = frozenset(under.split())
    return Layout(
        name, shape, example, source, kind, level, noun, contexts, opens, boundary, orch, runtime, qos,
        shape.first, shape.last,
    )  # fmt: skip


_H = "3f4a8c0d1e2f" + "0" * 51 + "7"  # a container id for the examples
_U, _V = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab", "8dbc2f0a_54a5_4b3e_9c5d_0123456789ab"
_PODS = "/kubepods.slice/kubepods-burstable.slice"
_PSLICE = f"kubepods-burstable-pod{_V}.slice"
_K8S, _CG2 = "kubernetes pkg/kubelet/cm: pod and QoS container managers", "opencontainers/cgroups systemd driver"
_SD, _DESK = "systemd unit naming, systemd.slice(5)", "systemd doc DESKTOP_ENVIRONMENTS"
_CON = "container {id}"

LAYOUTS: Final[tuple[Layout, ...]] = (
    # Inside a container or machine: cgroups its runtime makes around the payload.
    _row("wrapper", (r"container|init|ns|\.lxc|libvirt|emulator", r"vcpu\d+|iothread\d+"), "/lxc/100102/ns/.lxc",
         "podman, dind, LXC and libvirt create these", None, None, "", under="inside", opens="inside"),
    _row("nspawn-wrapper", "payload|supervisor", "/machine.slice/machine-web1.scope/payload",
         "systemd-nspawn src/nspawn/nspawn-cgroup", None, None, "", under="inside", opens="inside", runtime="nspawn"),
    # Kubernetes, systemd and cgroupfs drivers; an optional prefix is --cgroup-root (kind: kubelet).
    _row("pods", (r"kubepods|kubepods\.slice", rf"{_PREFIXED}(?:\.slice)?"), "/kubepods.slice", _K8S, "slice",
         "all pods", "all pods of the node ({last})", opens="pods", orch="kubernetes"),
    _row("qos-dir", _QOS, "/kubepods/burstable", _K8S, "slice", "qos class", "all {Qos} pods of the node",
         under="pods", opens="qos", orch="kubernetes"),
    _row("qos-slice", (rf"kubepods-{_QOS}\.slice", rf"{_PREFIXED}-{_QOS}\.slice"), _PODS, _K8S, "slice", "qos class",
         "all {Qos} pods of the node", opens="qos", orch="kubernetes"),
    _row("pod-dir-guaranteed", f"pod{_POD}", f"/kubepods/pod{_U}", f"{_K8S}; Guaranteed pods have no QoS directory",
         "pod", "pod", "{a Qos pod}", under="pods", opens="pod", orch="kubernetes", qos="guaranteed"),
    _row("pod-dir", f"pod{_POD}", f"/kubepods/besteffort/pod{_U}", _K8S, "pod", "pod", "{a Qos pod}",
         under="qos start", opens="pod", orch="kubernetes"),
    _row("pod-slice", (rf"kubepods-{_QOS}-pod{_POD}\.slice", rf"kubepods-pod{_POD}\.slice",
                       rf"{_PREFIXED}(?:-{_QOS})?-pod{_POD}\.slice"),
         f"{_PODS}/{_PSLICE}", f"{_K8S}; systemd driver writes '-' of the uid as '_'", "pod", "pod",
         "{a Qos pod}", opens="pod", orch="kubernetes", qos="guaranteed"),
    _row("pod-colon", rf"{_PODSLICE}:(?P<rt>[a-z-]+):{_ID}",
         f"/system.slice/containerd.service/{_PSLICE}:cri-containerd:{_H}",
         "runc cgroupfs driver given a systemd-form cgroupsPath (slice:prefix:name)", "container", "container", _CON,
         boundary=True, orch="kubernetes", qos="guaranteed"),
    _row("pod-monitor", rf"(?P<rt>crio)-conmon-{_ID}", f"/kubepods/burstable/pod{_U}/crio-conmon-{_H}",
         "cri-o internal/config/cgmgr", "container", "container", f"the monitor (conmon) of {_CON}", under="pod"),
    _row("pod-container", (_ID, rf"(?P<rt>crio|docker|kata|cri-containerd)(?:-|_){_ID}"),
         f"/kubepods/burstable/pod{_U}/{_H}", f"{_K8S}; cri-o prefixes crio-", "container", "container", _CON,
         under="pod", boundary=True),
    _row("cri-namespace", r"k8s\.io", "/k8s.io", "containerd CRI plugin: namespace as parent", "slice", "slice",
         "all containers of containerd's k8s.io namespace", opens="k8s.io", orch="kubernetes", runtime="containerd"),
    _row("cri-namespace-container", _ID, f"/k8s.io/{_H}", "containerd CRI plugin", "container", "container", _CON,
         under="k8s.io", boundary=True),
    # Container runtimes.
    _row("conmon", tuple(rf"(?P<rt>crio|libpod)-conmon-{_ID}{end}" for end in ("", r"\.scope")),
         f"/machine.slice/libpod-conmon-{_H}.scope", "podman libpod/oci_conmon, cri-o cgmgr", "container", "container",
         f"the monitor (conmon) of {_CON}"),
    _row("container-scope", rf"(?P<rt>cri-containerd|crio|docker|libpod|nerdctl|containerd|kata)-{_ID}\.scope",
         f"{_PODS}/{_PSLICE}/cri-containerd-{_H}.scope", _CG2, "container", "container", _CON, boundary=True),
    _row("container-prefixed", rf"(?P<rt>crio|docker|kata|cri-containerd)-{_ID}", f"/crio-{_H}",
         "cri-o, cgroupfs driver; its last part alone is what cpuset= of a report shows", "container", "container",
         _CON, boundary=True),
    _row("slice-colon", rf"(?P<name>[^:]+)\.slice:(?P<rt>[a-z-]+):{_ID}", f"/system.slice:docker:{_H}",
         "runc cgroupfs driver given a systemd-form cgroupsPath", "container", "container", _CON, boundary=True),
    _row("buildkit-scope", r"buildkit-(?P<id>[a-z0-9]{20,64})\.scope",
         "/system.slice/buildkit-rlzkfo3i8mgqc4u3cjx2uj1u6.scope", "moby/buildkit executor/oci", "container",
         "container", "build step {id}", boundary=True, runtime="buildkit"),
    _row("docker", "docker", "/docker", "moby cgroupfs driver: default cgroup-parent", "slice", "slice",
         "all Docker containers ({last})", opens="docker", runtime="docker"),
    _row("buildkit", "buildkit", "/docker/buildkit", "moby builder-next executor", "slice", "slice",
         "all image builds of Docker ({last})", under="docker start", opens="buildkit", runtime="buildkit"),
    _row("buildkit-step", r"(?P<id>[a-z0-9]{20,64})", "/docker/buildkit/rlzkfo3i8mgqc4u3cjx2uj1u6",
         "moby builder-next executor", "container", "container", "build step {id}", under="buildkit", boundary=True),
    _row("docker-container", _ID, f"/docker/{_H}", "moby cgroupfs driver", "container", "container", _CON,
         under="docker", boundary=True),
    _row("podman-pod", r"(?:(?P<name>.+)-)?libpod_pod_(?P<pod>[0-9a-f]{12,64})\.slice",
         f"/machine.slice/machine-libpod_pod_{_H}.slice", "podman libpod/runtime_pod_linux", "pod", "pod",
         "podman pod {pod}", opens="podman-pod", runtime="podman"),
    _row("podman-parent", "libpod_parent", "/libpod_parent", "podman cgroupfs manager", "slice", "slice",
         "all podman containers ({last})", runtime="podman"),
    _row("podman-dir", (rf"(?P<rt>libpod)-{_ID}", rf"(?P<rt>libpod)-payload-{_ID}"), f"/libpod_parent/libpod-{_H}",
         "podman cgroupfs manager; libpod-payload- with --cgroups=split", "container", "container", _CON,
         boundary=True),
    _row("github-job", "actions_job", "/actions_job", "GitHub-hosted runners start containers with this parent",
         "slice", "slice", "all containers of a GitHub Actions job", orch="github-actions"),
    _row("ecs", "ecs", "/ecs", "aws/amazon-ecs-agent task cgroups", "slice", "slice", "all ECS tasks of the node",
         under="start", opens="ecs", orch="ecs"),
    _row("ecs-task", _TASK, "/ecs/e95a40efbde84cbc8600660a109ec194", "aws/amazon-ecs-agent, cgroup v1", "pod", "pod",
         "ECS task {pod}", under="ecs", opens="ecs-task"),
    _row("ecs-cluster", r"(?P<name>.+)", "/ecs/production", "ECS ARN form cluster/task", "slice", "slice",
         "ECS cluster {name}", under="ecs", opens="ecs"),
    _row("ecs-container", r"(?P<id>[0-9a-f]{32}-[0-9a-f]{1,10}|[0-9a-f]{64})",
         "/ecs/e95a40efbde84cbc8600660a109ec194/e95a40efbde84cbc8600660a109ec194-2531612879", "ECS on Fargate",
         "container", "container", _CON, under="ecs-task", boundary=True),
    _row("ecs-slice", r"(?:ecstasks|ECSTasks)\.slice", "/ecstasks.slice", "aws/amazon-ecs-agent, cgroup v2", "slice",
         "slice", "all ECS tasks of the node", orch="ecs"),
    _row("ecs-task-slice", rf"(?:ecstasks|ECSTasks)-{_TASK}\.slice",
         "/ecstasks.slice/ecstasks-e95a40efbde84cbc8600660a109ec194.slice", "aws/amazon-ecs-agent, cgroup v2", "pod",
         "pod", "ECS task {pod}", opens="ecs-task", orch="ecs"),
    _row("nomad", r"nomad(?:\.slice)?", "/nomad.slice", "hashicorp/nomad client/lib/cgroupslib", "slice", "slice",
         "all Nomad tasks of the node ({last})", opens="nomad", orch="nomad"),
    _row("nomad-part", r"(?:share|reserve)(?:\.slice)?", "/nomad.slice/share.slice",
         "hashicorp/nomad client/lib/cgroupslib, 1.7", "slice", "slice", "all Nomad tasks of one partition ({last})",
         under="nomad", opens="nomad"),
    _row("nomad-task", rf"(?P<pod>{UUID})\.(?P<name>.+?)(?:\.scope)?", f"/nomad.slice/share.slice/{_U}.web.scope",
         "hashicorp/nomad client/lib/cgroupslib", "container", "container", "Nomad task {name}", under="nomad",
         boundary=True),
    _row("nomad-alloc", f"(?P<pod>{UUID})", f"/nomad/{_U}", "hashicorp/nomad drivers/shared/executor before 1.2",
         "pod", "pod", "Nomad allocation {pod}", under="nomad"),
    _row("yarn", "hadoop-yarn", "/hadoop-yarn", "hadoop CGroupsHandlerImpl, default hierarchy", "slice", "slice",
         "all YARN containers of the node", opens="yarn", orch="yarn"),
    _row("yarn-container", r"(?P<id>container_(?:e\d+_)?\d+_\d+_\d+_\d+)",
         "/hadoop-yarn/container_e01_1700000000000_0001_01_000002", "hadoop ContainerId", "container", "container",
         _CON, under="yarn", boundary=True),
    _row("mesos", "mesos", "/mesos", "mesos --cgroups_root default", "slice", "slice",
         "all Mesos containers of the node", opens="mesos", orch="mesos"),
    _row("mesos-container", rf"(?P<id>{UUID})", f"/mesos/{_U}", "mesos cgroups isolator", "container", "container",
         _CON, under="mesos", boundary=True),
    _row("garden", "garden", "/garden", "cloudfoundry/guardian", "slice", "slice", "all Garden containers",
         opens="garden", orch="cloudfoundry", runtime="garden"),
    _row("garden-container", rf"(?P<id>{UUID})(?:-(?P<name>.+))?", f"/garden/{_U}", "cloudfoundry/guardian",
         "container", "container", _CON, under="garden", boundary=True),
    # Batch systems.
    _row("slurm", r"slurm(?:_(?P<name>.+))?|(?:(?P<instance>.+)_)?slurmstepd\.scope", "/system.slice/slurmstepd.scope",
         "slurm src/plugins/cgroup/v1 and v2", "slice", "slice", "all Slurm jobs of the node", under="start system",
         opens="slurm", orch="slurm"),
    _row("slurm-user", f"uid_{_UID}", "/slurm/uid_1001", "slurm cgroup/v1", "user", "user",
         "all Slurm jobs of user id {uid}", under="slurm", opens="slurm"),
    _row("slurm-job", r"(?P<job>job_\d{1,12})", "/system.slice/slurmstepd.scope/job_4711", "slurm cgroup/v1 and v2",
         "unit", "unit", "Slurm {job}", under="slurm", opens="slurm-job"),
    _row("slurm-step", r"(?P<step>step_(?:\d{1,10}|batch|extern|interactive|\w{1,40}))",
         "/slurm/uid_1001/job_4711/step_batch", "slurm cgroup/v1 and v2", "unit", "unit", "Slurm {job}, {step}",
         under="slurm-job", opens="slurm-step"),
    _row("slurm-task", r"user|slurm|system|task_(?:\d{1,10}|special)", "/slurm/uid_1001/job_4711/step_0/task_0",
         "slurm cgroup/v2", None, None, "", under="slurm-step", opens="slurm-step"),
    _row("pbs", r"pbs_jobs\.(?:service|slice)|pbspro(?:\.slice|\.service)?", "/pbs_jobs.service",
         "openpbs cgroups hook", "slice", "slice", "all PBS jobs of the node", opens="pbs", orch="pbs"),
    _row("pbs-dir", "jobid", "/pbs_jobs.service/jobid", "openpbs cgroups hook", None, None, "", under="pbs",
         opens="pbs"),
    _row("pbs-job", r"(?P<job>\d{1,12}(?:\[\d{0,9}\])?)(?:\.(?P<name>.+))?", "/pbs_jobs.service/jobid/12345.head1",
         "openpbs cgroups hook", "unit", "unit", "PBS job {job}", under="pbs"),
    _row("htcondor", "htcondor", "/htcondor", "htcondor BASE_CGROUP default", "slice", "slice",
         "all HTCondor jobs of the node", opens="htcondor", orch="htcondor"),
    _row("htcondor-job", r"condor_(?P<name>.+)", "/htcondor/condor_var_lib_condor_execute_slot1_1@node7",
         "htcondor cgroup naming", "unit", "unit", "HTCondor job {last}", under="htcondor"),
    # System containers and virtual machines.
    _row("beancounter", r"UB (?P<machine>.+)", "UB 1234", "OpenVZ: no path, but how its kill lines name a container",
         "machine", "machine", "OpenVZ container {machine}", under="start", boundary=True, runtime="openvz"),
    _row("lxc", r"lxc(?:\.(?P<step>payload|monitor))?", "/lxc", "LXC lxc.cgroup.pattern; Proxmox VE", "slice",
         "slice", "all LXC containers ({last})", under="start", opens="lxc", runtime="lxc"),
    _row("lxc-monitor", r"lxc\.monitor\.(?P<machine>.+)", "/lxc.monitor.web1", "LXC 4, LXD, Incus", "machine",
         "machine", "the monitor of LXC container {machine}", runtime="lxc"),
    _row("lxc-payload", r"lxc\.payload\.(?P<machine>.+)", "/lxc.payload.web1", "LXC 4, LXD, Incus", "machine",
         "machine", "LXC container {machine}", boundary=True, runtime="lxc"),
    _row("lxc-name", r"(?P<machine>.+)", "/lxc/100102", "LXC; Proxmox VE (the name is the VMID)", "machine", "machine",
         "LXC container {machine}", under="lxc", boundary=True),
    _row("nspawn", r"systemd-nspawn@(?P<machine>.+)\.service", "/machine.slice/systemd-nspawn@web1.service",
         "systemd-nspawn@.service", "machine", "machine", "nspawn container {machine}", boundary=True,
         runtime="nspawn"),
    _row("libvirt-lxc", r"machine-(?P<rt>lxc)\\x2d\d{1,10}\\x2d(?P<machine>.+)\.scope",
         r"/machine.slice/machine-lxc\x2d3\x2dweb1.scope", "libvirt src/util/virsystemd", "machine", "machine",
         "libvirt LXC container {machine}", boundary=True),
    _row("libvirt", r"machine-(?P<rt>qemu)\\x2d\d{1,10}\\x2d(?P<machine>.+)\.scope",
         r"/machine.slice/machine-qemu\x2d3\x2dweb1.scope", "libvirt src/util/virsystemd", "machine", "machine",
         "virtual machine {machine}", boundary=True),
    _row("machine", r"machine-(?P<machine>.+)\.scope", "/machine.slice/machine-web1.scope",
         "systemd-machined: any program may register one (nspawn, vmspawn)", "machine", "machine",
         "machine {machine}", boundary=True),
    _row("libvirt-parent", "machine", "/machine", "libvirt without systemd, cgroup v1", "slice", "slice",
         "all virtual machines ({last})", under="start", opens="libvirt"),
    _row("libvirt-v1", r"(?:qemu|lxc)-\d{1,10}-(?P<machine>.+)\.libvirt-(?P<rt>qemu|lxc)",
         "/machine/qemu-3-web1.libvirt-qemu", "libvirt without systemd", "machine", "machine",
         "libvirt domain {machine}", under="libvirt", boundary=True),
    _row("proxmox-vms", r"qemu\.slice", "/qemu.slice", "Proxmox VE qemu-server", "slice", "slice",
         "all virtual machines ({last})", opens="proxmox", runtime="qemu"),
    _row("proxmox-vm", r"(?P<machine>\d{1,10})\.scope", "/qemu.slice/104.scope", "Proxmox VE qemu-server", "machine",
         "machine", "virtual machine {machine}", under="proxmox", boundary=True),
    _row("firecracker", "firecracker", "/firecracker", "firecracker jailer", "slice", "slice",
         "all Firecracker virtual machines", under="start", opens="firecracker", runtime="firecracker"),
    _row("firecracker-vm", r"(?P<machine>.+)", "/firecracker/vm-7", "firecracker jailer", "machine", "machine",
         "virtual machine {machine}", under="firecracker", boundary=True),
    # systemd: system, users, desktop sessions.
    _row("system-slice", r"system\.slice", "/system.slice", _SD, "slice", "slice", "all system services ({last})",
         opens="system"),
    _row("user-slice", r"user\.slice", "/user.slice", _SD, "slice", "slice", "all user sessions ({last})",
         under="start"),
    _row("machine-slice", r"machine\.slice", "/machine.slice", _SD, "slice", "slice",
         "all machines and containers ({last})"),
    _row("user", rf"user-{_UID}\.slice", "/user.slice/user-1000.slice", _SD, "user", "user",
         "everything of user id {uid}"),
    _row("user-manager", rf"user@{_UID}\.service", "/user.slice/user-1000.slice/user@1000.service", _SD, "user", "unit",
         "the systemd instance of user id {uid} ({unit})", opens="user-manager"),
    _row("user-init", r"init\.scope", "/user.slice/user-1000.slice/user@1000.service/init.scope", _SD, "user", "unit",
         "the systemd instance itself of user id {uid} ({unit})", under="user-manager"),
    _row("session", r"session-(?P<session>c?\d{1,10})\.scope", "/user.slice/user-1000.slice/session-3.scope",
         "systemd-logind", "user_session", "session", "session {session}"),
    _row("init", r"init\.scope", "/init.scope", _SD, "unit", "unit", "systemd itself ({unit})"),
    _row("known-slice", r"(?:app|session|background)\.slice", "/user.slice/user-1000.slice/user@1000.service/app.slice",
         _DESK, "slice", "slice", "slice {slice}"),
    _row("template-slice", r"(?:system|app|user|machine)-(?P<name>.+)\.slice", "/system.slice/system-getty.slice", _SD,
         "slice", "slice", "slice {slice}"),
    _row("snap", rf"snap\.(?P<name>[^.]+)\.(?P<instance>.+?)(?:[.-]{_TOKEN})?\.(?:scope|service)",
         f"/user.slice/user-1000.slice/user@1000.service/app.slice/snap.code.code-{_U}.scope", "snapd cgroup tracking",
         "unit", "unit", "snap {name}"),
    _row("flatpak", r"app-flatpak-(?P<name>.+)-(?P<token>\d{1,10})\.scope",
         "/user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.mozilla.firefox-4711.scope",
         "flatpak common/flatpak-run", "unit", "unit", "Flatpak application {name}"),
    _row("application", r"app-(?:(?:gnome|kde|dbus|niri|sway|cosmic|xfce)-)?(?P<name>.+?)"
         r"(?:@(?P<instance>.*)\.service|-(?P<token>\d{1,10}|[0-9a-f]{32})\.scope)",
         "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org.gnome.Maps-4711.scope", _DESK, "unit",
         "unit", "desktop application {name}"),
    _row("terminal", rf"(?:vte|tmux|kitty|ptyxis)-spawn-{_TOKEN}\.scope",
         f"/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-{_U}.scope", "VTE, tmux", "unit", "unit",
         "a terminal window ({unit})"),
    _row("transient", r"run-(?:r(?=[0-9a-f]{8,32}\.)|p(?=\d{1,20}-i)|u?(?=\d{1,20}\.))"
         r"(?P<token>[0-9a-f]{8,32}|\d{1,20}(?:-i\d{1,20})?)\.(?:scope|service)",
         "/system.slice/run-r0123456789abcdef0123456789abcdef.scope", "systemd-run, systemd 257 for run-p…-i…",
         "unit", "unit", "transient unit {unit} (systemd-run)"),
    _row("template", rf"(?P<name>[^@]+)@(?P<instance>.*)\.{UNIT}", "/system.slice/getty@tty1.service",
         _SD, "unit", "unit", "systemd unit {unit}"),
    _row("unit", rf"(?P<name>.+)\.{UNIT}", "/system.slice/ssh.service", _SD, "unit", "unit", "systemd unit {unit}"),
    _row("slice", r"(?P<name>.+)\.slice", "/batch.slice", _SD, "slice", "slice", "slice {slice}"),
    # Names without a system of their own.
    _row("kubelet-root", "kubelet|podruntime", "/docker/" + _H + "/kubelet", "kind --cgroup-root, Talos", "cgroup",
         "cgroup", "cgroup {path}", under="start"),
    _row("android-group", "apps|system", "/apps", "Android 11+ per-app memcg, cgroup v2", "cgroup", "cgroup",
         "cgroup {path}", under="start", opens="android"),
    _row("android-uid", f"uid_{_UID}", "/apps/uid_10123", "Android libprocessgroup", "user", "user",
         "Android application or service with user id {uid}", under="start android", opens="android-uid",
         orch="android"),
    _row("android-pid", r"pid_\d{1,10}", "/uid_10123/pid_4567", "Android libprocessgroup", None, None, "",
         under="android-uid"),
    _row("any-container", r"(?P<id>[0-9a-f]{64})", f"/build-farm/{_H}",
         "container ids are 64 hex digits: docker --cgroup-parent, containerd cgroupfs", "container", "container",
         _CON, boundary=True),
)

_ANYWHERE: Final = tuple(row for row in LAYOUTS if not row.under)
_CONTEXTS: Final = frozenset().union(*(row.under for row in LAYOUTS))


def _rows_under(*contexts: str) -> tuple[Layout, ...]:
    return tuple(row for context in contexts for row in LAYOUTS if context in row.under) + _ANYWHERE


ROWS: Final = {context: _rows_under(context) for context in _CONTEXTS} | {
    "": _ANYWHERE,
    "inside": _rows_under("inside", "start"),  # the inside of a container is a start of its own
}
"""Context -> rows in the order they are tried; a context without rows of its own tries those for any place."""
