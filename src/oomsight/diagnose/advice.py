"""
What to change: limits by who owns the cgroup (table :data:`LIMIT_SETTERS`), caps, swap and sysctl steps.

Names in texts are marked; commands are argument vectors and hold names as they are, the sink quotes them. No name ever
goes into a snippet or a shell string. Settings of programs are in :mod:`oomsight.diagnose.runtimes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.model import Advice
from oomsight.diagnose.wording import percent, size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomsight.naming.cgroup_path import Owner

HEADROOM: Final = 1.25
"""Margin over the demand seen. At the kill the charge was refused, so the true peak is above what was printed; a
quarter covers allocator slack and the page cache a program needs to run at all."""
CAP_RESERVE: Final = 0.10
"""Share of RAM a cap leaves free for the kernel, page cache and everybody else."""
SWAP_SHARE: Final = 0.25
"""Swap advised, as a share of RAM: room to page out what is idle, not a substitute for memory."""
RESERVE_KIB: Final = 65536
"""A reserve below this does not outlast a burst of network buffers; a machine of 1.3 GiB or less gets a twentieth."""
SWAP_MIN_KIB: Final = 512 << 10
SWAP_MAX_KIB: Final = 8 << 20


def round_up(kib: int) -> int:
    """Round *kib* up to a number people write: steps of 4 MiB, 16 MiB (from 128 MiB), 64 MiB, 256 MiB, 1 GiB."""
    return -(-kib // (step := _step(kib))) * step


def round_down(kib: int) -> int:
    """Round *kib* down to the same steps, never to zero."""
    return kib // (step := _step(kib)) * step or kib


def _step(kib: int) -> int:
    for below_mib, step_mib in ((128, 4), (1024, 16), (4096, 64), (32768, 256)):
        if kib < below_mib << 10:
            return step_mib << 10
    return 1 << 20


# --- which command sets a cgroup's limit -------------------------------------------------------------------------


def _unit(name: str, mib: int) -> list[Advice]:
    return [
        Advice(
            f"set it on the unit {mark(name, Kind.OWNER)} (kept over reboots; add --runtime to try it first)",
            ("systemctl", "set-property", "--", name, f"MemoryMax={mib}M"),
        )
    ]


def _systemd(mib: int, owner: Owner) -> list[Advice]:
    name = owner.unit if owner.level == "unit" else owner.slice if owner.level in ("slice", "user") else None
    name = name or owner.unit or owner.slice
    if name is None and owner.uid is not None:
        name = f"user-{owner.uid}.slice"
    return _unit(name, mib) if name else []


def _docker(mib: int, owner: Owner) -> list[Advice]:
    runtime = "podman" if owner.runtime == "podman" else "docker"
    if not owner.container_id:
        return []
    return [
        Advice(
            f"give the running container {mib} MiB of memory, and as much swap on top where the host has any; set the "
            "same in the compose file or run command, or it is lost when the container is made anew",
            (runtime, "update", "--memory", f"{mib}m", "--memory-swap", f"{2 * mib}m", owner.container_id),
        )
    ]


def _kubernetes(mib: int, owner: Owner) -> list[Advice]:
    advice = []
    if owner.level in ("pod", "container"):
        what = (
            "the limit of the whole pod (the sum of its containers' limits, or spec.resources)"
            if owner.level == "pod"
            else "the container's limit"
        )
        advice.append(
            Advice(
                f"raise {what} in the workload's manifest, with the request at the same value if the "
                "pod must not be evicted first",
                snippet=f"resources:\n  requests:\n    memory: {mib}Mi\n  limits:\n    memory: {mib}Mi\n",
            )
        )
        if owner.container_id:
            advice.append(
                Advice(
                    "find the pod and container behind this id (on the node)", ("crictl", "inspect", owner.container_id)
                )
            )
        elif owner.pod_uid:
            advice.append(
                Advice(
                    f"find the pod with the uid {mark(owner.pod_uid, Kind.ID)} in the list",
                    (
                        "kubectl",
                        "get",
                        "pods",
                        "-A",
                        "-o",
                        "custom-columns=NS:.metadata.namespace,POD:.metadata.name,UID:.metadata.uid",
                    ),
                )
            )
        return advice
    return [
        Advice(
            "this limit covers all pods of the node (or of one QoS class): it is what the kubelet leaves after "
            "--system-reserved, --kube-reserved and --eviction-hard. Lower the pods' requests and limits or move pods; "
            "do not raise it by hand, the kubelet writes it again"
        )
    ]


def _slurm(mib: int, _owner: Owner) -> list[Advice]:
    return [Advice("ask for more memory in the job script", snippet=f"#SBATCH --mem={mib}M\n")]


def _ecs(mib: int, _owner: Owner) -> list[Advice]:
    return [
        Advice(
            "raise the container's hard limit in the task definition (and the task's, if it has one)",
            snippet=f'"memory": {mib}\n',
        )
    ]


def _nomad(mib: int, _owner: Owner) -> list[Advice]:
    return [Advice("raise the task's memory in the job file", snippet=f"resources {{\n  memory = {mib}\n}}\n")]


def _lxc(mib: int, owner: Owner) -> list[Advice]:
    if not owner.machine:
        return []
    name = owner.machine
    command = (
        ("pct", "set", name, "-memory", str(mib))  # Proxmox numbers its containers
        if name.isdigit()
        else ("lxc-cgroup", "-n", name, "memory.max", f"{mib}M")
    )
    return [Advice(f"raise the limit of the container {mark(name, Kind.OWNER)}, and keep it in its config", command)]


LIMIT_SETTERS: Final[tuple[tuple[str, Callable[[Owner], bool], Callable[[int, Owner], list[Advice]]], ...]] = (
    ("kubernetes", lambda o: o.orchestrator == "kubernetes", _kubernetes),
    ("slurm", lambda o: o.orchestrator == "slurm", _slurm),
    ("ecs", lambda o: o.orchestrator == "ecs", _ecs),
    ("nomad", lambda o: o.orchestrator == "nomad", _nomad),
    ("docker", lambda o: o.runtime in ("docker", "podman") and o.container_id is not None, _docker),
    ("lxc", lambda o: o.runtime in ("lxc", "lxd", "incus"), _lxc),
    ("systemd", lambda o: o.kind in ("unit", "slice", "user", "user_session", "machine"), _systemd),
)
"""Who owns a cgroup -> how its limit is set; the first row that fits is used, plain cgroups fall through."""


def set_limit(owner: Owner | None, kib: int, *, v1: bool = False, path: str | None = None) -> list[Advice]:
    """
    Return how to set the memory limit of *owner*'s cgroup to *kib*.

    The most specific manager is named (a pod is a systemd slice too, but the kubelet owns it). A plain cgroup is
    written directly; the path travels as an argument, so that no name reaches a shell. Unknown owner: no advice.

    :param v1: the report shows a v1 hierarchy.
    :param path: the cgroup as the host sees it, where *owner* is one inside a container.
    """
    if owner is None or owner.kind == "root":
        return []
    mib = max(1, kib >> 10)
    for _name, fits, setter in LIMIT_SETTERS:
        if fits(owner):
            advice = setter(mib, owner)
            if advice:
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


def enter(owner: Owner) -> tuple[str, ...]:
    """Return the start of a command that is to run inside the container *owner*; empty when it is not known how."""
    if owner.container_id is not None and owner.runtime in ("docker", "podman"):
        return (owner.runtime, "exec", owner.container_id)
    if owner.machine is not None and owner.runtime == "lxc":
        proxmox = owner.machine.isdigit()  # it numbers its containers
        return ("pct", "exec", owner.machine, "--") if proxmox else ("lxc-attach", "-n", owner.machine, "--")
    return ()


def cap(owner: Owner | None, held_kib: int, managed_kib: int) -> list[Advice]:
    """Return how to keep *owner* from filling the machine again: a limit below what it held by a tenth of RAM."""
    limit = round_down(max(held_kib - int(managed_kib * CAP_RESERVE), held_kib // 2))
    steps = set_limit(owner, limit)
    if not steps:
        return [
            Advice(
                f"run it in a cgroup with a limit, about {size(limit)} (the {size(held_kib)} it held, less "
                f"{100 * CAP_RESERVE:.0f} % of RAM), so that its own limit acts before the whole machine is out of "
                "memory: "
                f"for example `systemd-run --scope -p MemoryMax={limit >> 10}M COMMAND`, or MemoryMax= in its unit"
            )
        ]
    steps[0].text = (
        f"give it a limit of its own of {size(limit)} (the {size(held_kib)} it held, less {100 * CAP_RESERVE:.0f} % "
        "of RAM), "
        f"so that its own limit acts before the whole machine is out of memory: {steps[0].text}"
    )
    return steps


def add_swap(managed_kib: int | None, *, kubernetes: bool = False) -> list[Advice]:
    """Return the steps that add a swap file of a quarter of RAM (0.5 to 8 GiB)."""
    wanted = SWAP_MIN_KIB if managed_kib is None else int(managed_kib * SWAP_SHARE)
    mib = round_up(min(max(wanted, SWAP_MIN_KIB), SWAP_MAX_KIB)) >> 10
    note = (
        " (on a Kubernetes node the kubelet must be told: failSwapOn: false and a swapBehavior)" if kubernetes else ""
    )
    return [
        Advice(
            f"add swap, {size(mib << 10)} is a start: it takes idle memory, and the machine becomes slow before it "
            f"kills, which gives you time to act{note}",
            ("fallocate", "-l", f"{mib}M", "/swapfile"),
        ),
        Advice("keep it private to root", ("chmod", "600", "/swapfile")),
        Advice("make it a swap area", ("mkswap", "/swapfile")),
        Advice(
            "use it now, and after every boot with the line below in /etc/fstab",
            ("swapon", "/swapfile"),
            "/swapfile none swap sw 0 0\n",
        ),
    ]


def more_reserve(text: str, managed: int | None) -> Advice:
    """
    Return advice to raise ``vm.min_free_kbytes``: to 1 % of *managed* RAM in KiB, at least 64 MiB, at most a twentieth
    of it. Without that number the present value is shown, to be doubled.
    """
    if not managed:
        return Advice(f"{text}: double the value that this shows", ("sysctl", "vm.min_free_kbytes"))
    wanted = min(max(RESERVE_KIB, managed // 100), managed // 20)
    return sysctl(f"{text} ({percent(wanted, managed)} of RAM is a start)", "vm.min_free_kbytes", wanted)


def sysctl(text: str, name: str, value: str | int) -> Advice:
    """Return advice to set a sysctl."""
    return Advice(text, ("sysctl", "-w", f"{name}={value}"))
