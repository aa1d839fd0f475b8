"""
What to change: caps, swap and sysctl steps, and numbers people write.

Names in texts are marked; commands are argument vectors and hold names as they are, the sink quotes them. What
sets whose limit is in :mod:`oomsight.diagnose.knobs`, settings of programs are in :mod:`oomsight.diagnose.runtimes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight.diagnose.knobs import MEMORY_MAX_SINCE, set_limit
from oomsight.diagnose.model import Advice
from oomsight.diagnose.platforms import swap_there
from oomsight.diagnose.wording import percent, size
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.diagnose.platforms import Platform
    from oomsight.kernel.release import Release
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
SMALL_KIB: Final = 256 << 10
"""A machine with less RAM is a router or a board that boots from flash: no place for half a GiB of swap."""


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


def _less_memory(owner: Owner, limit_kib: int) -> list[Advice]:
    """A virtual machine is made smaller: a limit on its process would only get the guest killed."""
    name, mib = owner.machine, limit_kib >> 10
    if owner.runtime != "qemu" or not name:
        return []
    who = f"the virtual machine {mark(name, Kind.OWNER)} (from its next start on)"
    if name.isdigit():
        return [Advice(f"give {who} less memory", ("qm", "set", name, "-memory", str(mib)))]
    return [Advice(f"give {who} less memory", ("virsh", "setmaxmem", name, str(mib << 10), "--config"))]


def cap_kib(held_kib: int, managed_kib: int) -> int:
    """Return a limit for what held *held_kib*: a tenth of RAM below that, at least half of it."""
    return round_down(max(held_kib - int(managed_kib * CAP_RESERVE), held_kib // 2))


def cap(owner: Owner | None, held_kib: int, managed_kib: int, *, release: Release | None = None) -> list[Advice]:
    """Return how to keep *owner* from filling the machine again: a limit below what it held by a tenth of RAM."""
    limit = cap_kib(held_kib, managed_kib)
    v1 = release is not None and release < MEMORY_MAX_SINCE  # v2 had a memory controller since 4.5, and no users
    if smaller := _less_memory(owner, limit) if owner else []:
        return smaller
    steps = set_limit(owner, limit, v1=v1, release=release)
    if not steps:
        knob = "MemoryLimit" if v1 else "MemoryMax"
        return [
            Advice(
                f"run it in a cgroup with a limit, about {size(limit)} (the {size(held_kib)} it held, less "
                f"{100 * CAP_RESERVE:.0f} % of RAM), so that its own limit acts before the whole machine is out of "
                "memory: "
                f"for example `systemd-run --scope -p {knob}={limit >> 10}M COMMAND`, or {knob}= in its unit"
            )
        ]
    steps[0].text = (
        f"give it a limit of its own of {size(limit)} (the {size(held_kib)} it held, less {100 * CAP_RESERVE:.0f} % "
        "of RAM), "
        f"so that its own limit acts before the whole machine is out of memory: {steps[0].text}"
    )
    return steps


def add_swap(
    managed_kib: int | None, *, kubernetes: bool = False, platform: Platform | None = None
) -> list[Advice]:
    """
    Return the steps that add swap of a quarter of RAM (0.5 to 8 GiB): a file, or as *platform* does it. Machines too
    small for that (routers, boards that boot from flash) get compressed swap in RAM.
    """
    wanted = SWAP_MIN_KIB if managed_kib is None else int(managed_kib * SWAP_SHARE)
    mib = round_up(min(max(wanted, SWAP_MIN_KIB), SWAP_MAX_KIB)) >> 10
    if steps := swap_there(platform, mib << 10):
        return steps
    if managed_kib is not None and managed_kib < SMALL_KIB:
        return [
            Advice(
                f"a machine with {size(managed_kib)} of RAM gains most from compressed swap in RAM (zram), half of RAM "
                "is a start (OpenWrt: the package zram-swap; Debian: zram-tools): swap on flash memory is slow and "
                "wears it out"
            )
        ]
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
