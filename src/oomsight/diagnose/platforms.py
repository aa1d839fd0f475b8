"""
Systems that are told by their kernel's release and where swap or more memory is set in a way of their own: table
:data:`PLATFORMS`. Names of releases: the distributions' kernel packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._lazy import remembered
from oomsight._named import NamedTuple
from oomsight.diagnose.model import Advice

if TYPE_CHECKING:
    from oomsight.report.model import OomReport


class Platform(NamedTuple):
    """One system: how its kernel's release tells it, and what is different there. ``{gib}`` is the swap advised."""

    name: str
    tells: str  #: part of the release
    example: str  #: a release of it
    swap: str | None  #: how swap is added, instead of a swap file
    room: str | None  #: how the machine gets more memory
    source: str
    snippet: str | None = None


PLATFORMS: Final[tuple[Platform, ...]] = (
    Platform("WSL 2", "-microsoft-", "5.15.167.4-microsoft-standard-WSL2",
             "WSL makes its swap itself: set it in %UserProfile%\\.wslconfig on Windows, then wsl --shutdown",
             "this is WSL 2, whose virtual machine gets half of Windows' memory unless memory= in "
             "%UserProfile%\\.wslconfig says otherwise: raise it there, then wsl --shutdown",
             "learn.microsoft.com windows/wsl/wsl-config", "[wsl2]\nswap={gib}GB\n"),
    Platform("Unraid", "-Unraid", "5.19.17-Unraid",
             "add swap, {gib} GiB is a start, as a file on a pool's disk (the Swapfile plugin): the root file system "
             "of Unraid lies in RAM itself, a swap file there would take what it gives", None, "docs.unraid.net"),
    Platform("Talos", "-talos", "6.12.40-talos",
             "add swap by a SwapVolumeConfig document of the machine configuration, {gib} GiB is a start, and tell the "
             "kubelet (swapBehavior)", None, "docs.siderolabs.com talos SwapVolumeConfig"),
    Platform("Android", "-android", "5.10.177-android12-9-00001-g1a2b3c4d5e6f",
             "Android swaps into zram: its size is zramsize= in the fstab of the vendor partition", None,
             "source.android.com low-ram devices"),
    Platform("Proxmox VE", "-pve", "6.8.12-4-pve",
             "add swap, {gib} GiB is a start, on a partition or disk of its own: a swap file on ZFS does not work, and "
             "swap on a ZFS volume can block under memory pressure", None, "pve.proxmox.com wiki: ZFS on Linux, swap"),
)  # fmt: skip


def platform_of(report: OomReport) -> Platform | None:
    """Return the system *report* comes from, if its kernel's release tells one of :data:`PLATFORMS`."""
    return _of_release(report.trigger.kernel_release if report.trigger else None)


@remembered(64)  # several causes ask, and reports of one machine have one
def _of_release(release: str | None) -> Platform | None:
    return next((platform for platform in PLATFORMS if release and platform.tells in release), None)


def swap_there(platform: Platform | None, kib: int) -> list[Advice]:
    """Return how *kib* of swap are added on *platform*; nothing where a swap file does it."""
    if platform is None or platform.swap is None:
        return []
    gib = str(max(1, -(-kib // (1 << 20))))
    snippet = platform.snippet.replace("{gib}", gib) if platform.snippet else None
    return [Advice(platform.swap.replace("{gib}", gib), snippet=snippet)]
