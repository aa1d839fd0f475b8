"""
Which knob sets the limit of a cgroup: table :data:`PLACES`, by who made the cgroup and in which era.

The most specific manager is named: a pod is a systemd slice too, but the kubelet owns it. Names are marked in texts,
are arguments of commands, and go into no snippet and no shell string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight.diagnose.model import Advice
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomsight.kernel.release import Release
    from oomsight.naming.cgroup_path import Owner

MEMORY_MAX_SINCE: Final[Release] = (4, 9)
"""systemd 231 (2016) brought MemoryMax=; distributions with an older kernel have an older systemd (el7: 3.10, 219)."""


class Wish(NamedTuple):
    """A limit wanted: how much, for whom, and what is known of the host."""

    mib: int
    owner: Owner
    v1: bool = False  #: the report shows cgroup v1
    release: Release | None = None  #: of the kernel


class Place(NamedTuple):
    """One kind of owner of a cgroup and its knobs."""

    name: str
    fits: Callable[[Owner], bool]
    limit: Callable[[Wish], list[Advice]]  #: how to set it; nothing = the text does not name what that takes
    knob: str  #: words: what sets the limit
    swap: str  #: words: what lets it swap
    example: str  #: a path of such an owner
    source: str
    look: Callable[[Owner], tuple[str, ...] | None] = lambda _owner: None  #: command that shows the limit
    files: tuple[str, str] | None = None  #: where limit and peak are read, if not in the cgroup's files


def _runtime(*names: str) -> Callable[[Owner], bool]:
    return lambda owner: owner.runtime in names


def _orchestrator(name: str) -> Callable[[Owner], bool]:
    return lambda owner: owner.orchestrator == name


def _snippet(text: str, snippet: str) -> Callable[[Wish], list[Advice]]:
    """Advice with a snippet; ``{mib}`` and ``{bytes}`` are filled in."""

    def advice(wish: Wish) -> list[Advice]:
        mib = wish.mib
        return [Advice(text, snippet=snippet.replace("{mib}", str(mib)).replace("{bytes}", str(mib << 20)))]

    return advice


# --- systemd ---------------------------------------------------------------------------------------------------------


def unit_of(owner: Owner) -> str | None:
    """Return the unit or slice that *owner*'s limit is a property of."""
    name = owner.unit if owner.level == "unit" else owner.slice if owner.level in ("slice", "user") else None
    name = name or owner.unit or owner.slice
    return f"user-{owner.uid}.slice" if name is None and owner.uid is not None else name


def of_user(owner: Owner) -> bool:
    """Return whether a user's own systemd knows the unit, and the host's does not."""
    manager = f"/user@{owner.uid}.service/"
    return owner.uid is not None and manager in owner.path and owner.unit != manager[1:-1]


def systemctl(owner: Owner) -> tuple[str, ...]:
    """Return the start of a command to the systemd that knows *owner*'s unit."""
    return ("systemctl", "--user") if of_user(owner) else ("systemctl",)


def _systemd(wish: Wish) -> list[Advice]:
    owner, name = wish.owner, unit_of(wish.owner)
    if name is None:
        return []
    old = wish.v1 and wish.release is not None and wish.release < MEMORY_MAX_SINCE
    setting = "MemoryLimit" if old else "MemoryMax"
    value = f"{setting}={wish.mib}M"
    run = "systemd-run --user" if of_user(owner) else "systemd-run"
    kept = (
        f"it holds until the scope ends; start the program with `{run} --scope -p {value} COMMAND` to have it always"
        if name.endswith(".scope")
        else "kept over reboots; add --runtime to try it first"
    )
    who = f", as the user with id {owner.uid}, whose own systemd knows it" if of_user(owner) else ""
    era = "; MemoryLimit= where systemd is older than 231" if wish.v1 and wish.release is None else ""
    command = (*systemctl(owner), "set-property", "--", name, value)
    return [Advice(f"set it on the unit {mark(name, Kind.OWNER)}{who} ({kept}{era})", command)]


def _show(owner: Owner) -> tuple[str, ...] | None:
    name = unit_of(owner)
    return (*systemctl(owner), "show", "-p", "MemoryMax", "-p", "MemoryPeak", "--", name) if name else None


# --- containers ------------------------------------------------------------------------------------------------------


def _docker(wish: Wish) -> list[Advice]:
    owner, mib = wish.owner, wish.mib
    if not owner.container_id:
        return []
    runtime = "podman" if owner.runtime == "podman" else "docker"
    return [
        Advice(
            f"give the running container {mib} MiB of memory, and as much swap on top where the host has any; set the "
            "same in the compose file or run command, or it is lost when the container is made anew",
            (runtime, "update", "--memory", f"{mib}m", "--memory-swap", f"{2 * mib}m", owner.container_id),
        )
    ]


def _inspect(owner: Owner) -> tuple[str, ...] | None:
    runtime = "podman" if owner.runtime == "podman" else "docker"
    wanted = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"
    return (runtime, "inspect", "--format", wanted, owner.container_id) if owner.container_id else None


_PODS: Final = (
    "kubectl", "get", "pods", "-A", "-o", "custom-columns=NS:.metadata.namespace,POD:.metadata.name,UID:.metadata.uid",
)  # fmt: skip


def _kubernetes(wish: Wish) -> list[Advice]:
    owner, mib = wish.owner, wish.mib
    if owner.level not in ("pod", "container"):
        return [
            Advice(
                "lower the pods' requests and limits, or move pods: this limit covers all pods of the node (or of one "
                "QoS class). It is what the kubelet leaves of the node's memory after --system-reserved, "
                "--kube-reserved and --eviction-hard, and what it writes again when somebody raises it by hand"
            )
        ]
    what = (
        "the limit of the whole pod (the sum of its containers' limits, or spec.resources)"
        if owner.level == "pod"
        else "the container's limit"
    )
    advice = [
        Advice(
            f"raise {what} in the workload's manifest, with the request at the same value if the "
            "pod must not be evicted first",
            snippet=f"resources:\n  requests:\n    memory: {mib}Mi\n  limits:\n    memory: {mib}Mi\n",
        )
    ]
    if owner.container_id:
        found = ("crictl", "inspect", owner.container_id)
        advice.append(Advice("find the pod and container behind this id (on the node)", found))
    elif owner.pod_uid:
        advice.append(Advice(f"find the pod with the uid {mark(owner.pod_uid, Kind.ID)} in the list", _PODS))
    return advice


def pod_limit(owner: Owner | None) -> list[Advice]:
    """What keeps one pod from using up what all of them share; nothing where it has a limit anyway."""
    if owner is None or owner.qos not in ("besteffort", "burstable") or not owner.pod_uid:
        return []
    no_limit = "has no limit of its own" if owner.qos == "besteffort" else "may have no limit of its own"
    name = mark(owner.pod_uid, Kind.ID)
    text = f"pod {name} {no_limit}: with resources.limits.memory it alone is killed when it grows, and no neighbour"
    return [Advice(text, _PODS)]


def _of_pod(owner: Owner) -> tuple[str, ...] | None:
    return ("crictl", "inspect", owner.container_id) if owner.container_id else _PODS if owner.pod_uid else None


def _proxmox(owner: Owner) -> bool:
    """Proxmox VE numbers its containers; elsewhere they have names."""
    return owner.runtime == "lxc" and (owner.machine or "").isdigit()


def _pct(wish: Wish) -> list[Advice]:
    name = wish.owner.machine or ""
    text = f"give the container {mark(name, Kind.OWNER)} more memory; it holds at once and is kept"
    return [Advice(text, ("pct", "set", name, "-memory", str(wish.mib)))]


def _lxc(wish: Wish) -> list[Advice]:
    name = wish.owner.machine
    if not name:
        return []
    file, key = ("memory.limit_in_bytes", "lxc.cgroup.") if wish.v1 else ("memory.max", "lxc.cgroup2.")
    return [
        Advice(
            f"raise the limit of the container {mark(name, Kind.OWNER)} now, and keep it with the line below in its "
            f"config (of LXD or Incus: config set {mark(name, Kind.OWNER)} limits.memory {wish.mib}MiB)",
            ("lxc-cgroup", "-n", name, file, f"{wish.mib}M"),
            f"{key}{file} = {wish.mib}M\n",
        )
    ]


def _vzctl(wish: Wish) -> list[Advice]:
    name = wish.owner.machine or ""
    return [
        Advice(
            f"give the container {mark(name, Kind.OWNER)} more memory, kept over restarts (with vzctl older than 4, "
            f"--physpages 0:{wish.mib}M)",
            ("vzctl", "set", name, "--ram", f"{wish.mib}M", "--save"),
        )
    ]


def _virsh(wish: Wish) -> list[Advice]:
    name = wish.owner.machine
    if not name:
        return []
    return [
        Advice(
            f"raise the hard limit of the domain {mark(name, Kind.OWNER)}, or take it away with -1: what qemu needs "
            "beside the guest's memory cannot be told beforehand, so libvirt advises against such a limit",
            ("virsh", "memtune", name, "--hard-limit", str(wish.mib << 10), "--live", "--config"),
        )
    ]


# --- the table -------------------------------------------------------------------------------------------------------

_ID: Final = "3f4a8c0d1e2f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"
_UID: Final = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"

PLACES: Final[tuple[Place, ...]] = (
    Place("kubernetes", _orchestrator("kubernetes"), _kubernetes, "limits.memory in the workload's manifest",
          "the kubelet gives pods swap only with failSwapOn: false and memorySwap.swapBehavior: LimitedSwap",
          f"/kubepods/burstable/pod{_UID}/{_ID}", "kubernetes.io docs: manage resources, swap memory", _of_pod),
    Place("slurm", _orchestrator("slurm"),
          _snippet("ask for more memory in the job script", "#SBATCH --mem={mib}M\n"),
          "--mem or --mem-per-cpu of the job",
          "AllowedSwapSpace of Slurm's cgroup.conf, in percent of the memory asked for",
          "/slurm/uid_1001/job_4711/step_0", "slurm.schedmd.com sbatch, cgroup.conf",
          lambda owner: ("scontrol", "show", "job", (owner.unit or "").removeprefix("job_")) if owner.unit else None),
    Place("pbs", _orchestrator("pbs"),
          _snippet("ask for more memory in the job script", "#PBS -l mem={mib}mb\n"),
          "-l mem or select=…:mem of the job",
          "vmem of the job, and the memsw part of the cgroups hook's configuration",
          "/pbs_jobs.service/jobid/12345.head1", "openpbs cgroups hook",
          lambda owner: ("qstat", "-f", owner.unit) if owner.unit else None),
    Place("htcondor", _orchestrator("htcondor"),
          _snippet("ask for more memory in the submit file", "request_memory = {mib}\n"),
          "request_memory of the job and CGROUP_MEMORY_LIMIT_POLICY of the execute node",
          "CGROUP_MEMORY_LIMIT_POLICY and CGROUP_SWAP settings of the execute node", "/htcondor/condor_slot1_1@node7",
          "htcondor.readthedocs.io: cgroup limits"),
    Place("yarn", _orchestrator("yarn"),
          _snippet("ask for bigger containers (Spark: executor memory and its overhead together; MapReduce: below)",
                   "mapreduce.map.memory.mb={mib}\nmapreduce.reduce.memory.mb={mib}\n"),
          "the container size the application asks for", "vmem settings of the NodeManager",
          "/hadoop-yarn/container_1700000000000_0001_01_000002", "hadoop NodeManagerCgroups"),
    Place("ecs", _orchestrator("ecs"),
          _snippet("raise the container's hard limit in the task definition (and the task's, if it has one)",
                   '"memory": {mib}\n'), "memory of the container or task definition",
          "linuxParameters.maxSwap and swappiness of the task definition", "/ecs/e95a40efbde84cbc8600660a109ec194",
          "AWS ECS task definition parameters"),
    Place("nomad", _orchestrator("nomad"),
          _snippet("raise the task's memory in the job file", "resources {\n  memory = {mib}\n}\n"),
          "resources.memory (or memory_max) of the task", "memory_swap of the docker driver's config",
          f"/nomad/{_UID}", "developer.hashicorp.com nomad resources block"),
    Place("mesos", _orchestrator("mesos"),
          _snippet("raise the memory of the application's definition (Marathon)", '"mem": {mib}\n'),
          "mem of the task's resources", "--cgroups_limit_swap of the agent", f"/mesos/{_UID}",
          "mesos cgroups/mem isolator"),
    Place("cloudfoundry", _orchestrator("cloudfoundry"),
          _snippet("give the application more memory in its manifest, and push it", "memory: {mib}M\n"),
          "memory of the application's manifest, or cf scale -m", "the platform's operator sets it", f"/garden/{_UID}",
          "cloudfoundry docs: app manifest attributes"),
    Place("docker", lambda o: o.runtime in ("docker", "podman") and o.container_id is not None, _docker,
          "--memory of the run command, mem_limit of Compose", "--memory-swap above --memory", f"/docker/{_ID}",
          "docs.docker.com resource constraints", _inspect),
    Place("openvz", _runtime("openvz"), _vzctl, "vzctl set CTID --ram SIZE --save (--physpages before vzctl 4)",
          "vzctl set CTID --swap SIZE --save", "UB 1234", "vzctl(8)",
          lambda owner: ("cat", f"/proc/bc/{owner.machine}/resources") if (owner.machine or "").isdigit() else None,
          ("limit of physpages", "maxheld of physpages")),
    Place("proxmox-lxc", _proxmox, _pct, "pct set ID -memory MIB", "pct set ID -swap MIB", "/lxc/107/ns",
          "Proxmox VE pct(1)", lambda owner: ("pct", "config", owner.machine or "")),
    Place("lxc", _runtime("lxc"), _lxc, "lxc.cgroup2.memory.max of its config (lxc.cgroup.memory.limit_in_bytes on v1)",
          "lxc.cgroup2.memory.swap.max of its config (lxc.cgroup.memory.memsw.limit_in_bytes on v1)",
          "/lxc.payload.web1", "lxc.container.conf(5); LXD and Incus: limits.memory",
          lambda owner: ("lxc-info", "-n", owner.machine) if owner.machine else None),
    Place("libvirt", lambda o: o.runtime == "qemu" and o.machine is not None and not o.machine.isdigit(), _virsh,
          "virsh memtune DOMAIN --hard-limit KIB", "virsh memtune DOMAIN --swap-hard-limit KIB",
          r"/machine.slice/machine-qemu\x2d3\x2dweb1.scope", "virsh(1) memtune",
          lambda owner: ("virsh", "memtune", owner.machine or "")),
    Place("firecracker", _runtime("firecracker"),
          _snippet("start the jailer with a higher limit (on cgroup v1: memory.limit_in_bytes)",
                   "--cgroup memory.max={bytes}\n"), "--cgroup of the jailer", "--cgroup memory.swap.max of the jailer",
          "/firecracker/vm-7", "firecracker docs/jailer.md"),
    Place("systemd", lambda o: o.kind in ("unit", "slice", "user", "user_session", "machine"), _systemd,
          "MemoryMax= of the unit", "MemorySwapMax= of the unit, on cgroup v2",
          "/system.slice/app.service", "systemd.resource-control(5)", _show),
)  # fmt: skip
"""Who owns a cgroup -> its knobs; the first row that fits is used, plain cgroups have none."""


def place_of(owner: Owner | None) -> Place | None:
    """Return the row of :data:`PLACES` for *owner*; ``None`` = a plain cgroup, the root, or not known."""
    return None if owner is None else next((place for place in PLACES if place.fits(owner)), None)


def swap_knob(owner: Owner | None, *, v1: bool) -> str:
    """Return words for what lets *owner*'s cgroup swap."""
    place = place_of(owner)
    files = "memory.memsw.limit_in_bytes above memory.limit_in_bytes" if v1 else "memory.swap.max of the cgroup"
    return files if place is None else place.swap


def set_limit(
    owner: Owner | None, kib: int, *, v1: bool = False, path: str | None = None, release: Release | None = None
) -> list[Advice]:
    """
    Return how to set the memory limit of *owner*'s cgroup to *kib*.

    A plain cgroup is written directly; the path travels as an argument, so that no name reaches a shell. Unknown
    owner: no advice.

    :param v1: the report shows a v1 hierarchy.
    :param path: the cgroup as the host sees it, where *owner* is one inside a container.
    :param release: of the kernel, which tells the era of what else is installed.
    """
    if owner is None or owner.kind == "root":
        return []
    mib = max(1, kib >> 10)
    for place in PLACES:
        if place.fits(owner) and (advice := place.limit(Wish(mib, owner, v1, release))):
            return advice
    path = path or owner.path
    if "…" in path or "..." in path or not path.startswith("/"):
        return []  # somebody shortened it before posting
    mount, knob = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if v1 else ("/sys/fs/cgroup", "memory.max")
    return [
        Advice(
            f"write the new limit into {knob} of the cgroup {mark(path, Kind.CGROUP)} (and into whatever made "
            "the cgroup, or it is lost)",
            ("sh", "-c", 'echo "$1" > "$2"', "sh", str(mib << 20), f"{mount}{path}/{knob}"),
        )
    ]


def look_up(owner: Owner | None, *, v1: bool, name: str = "that cgroup") -> tuple[str, tuple[str, ...] | None]:
    """
    Return words for where the limit and the peak of *owner*'s cgroup are read, and the command that shows them; *name*
    (marked) is what it is called there.
    """
    place = place_of(owner)
    limit, peak = ("memory.limit_in_bytes", "memory.max_usage_in_bytes") if v1 else ("memory.max", "memory.peak")
    if place is None or owner is None:
        return f"look up the limit of {name} ({limit}) and its peak ({peak}): neither is in this text", None
    limit, peak = place.files or (limit, peak)
    where = f"{name} ({limit}), set by {place.knob}, and its peak ({peak})"
    return f"look up the limit of {where}: neither is in this text", place.look(owner)


def enter(owner: Owner) -> tuple[str, ...]:
    """Return the start of a command that is to run inside the container *owner*; empty when it is not known how."""
    if owner.container_id is not None and owner.runtime in ("docker", "podman"):
        return (owner.runtime, "exec", owner.container_id)
    if owner.machine is not None and owner.runtime == "lxc":
        return ("pct", "exec", owner.machine, "--") if _proxmox(owner) else ("lxc-attach", "-n", owner.machine, "--")
    if owner.machine is not None and owner.runtime == "openvz":
        return ("vzctl", "exec", owner.machine)
    return ()
