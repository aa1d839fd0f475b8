"""
Memory options of containers, judged in one way wherever they stand: in a compose file, on a command line of ``docker
run`` or ``podman run``, in a quadlet, or in a container that runs.

Each function returns what is wrong in words, or ``None``. The rules of compose files (OS3xx), units (OS2xx) and running
containers (OS33x) say where it stands and how bad it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from oomsight._named import NamedTuple
from oomsight._sizes import MIB, size_words
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.quantity import Size

LEAST_BYTES: Final = 6 * MIB  #: Docker refuses less (moby, daemon/daemon_unix.go, linuxMinMemory)
HARDLY_CHOSEN: Final = -900  #: an oom_score_adj so low leaves a tenth of the machine's memory before one is a candidate
DEFAULT_SHM_BYTES: Final = 64 * MIB  #: ``--shm-size``, where nobody gives it

GIVE_LIMIT: Final = "give it a memory limit, and an oom_score_adj above -900"
KILL_AGAIN: Final = "remove it, and size the limit"
ROOM_FOR_SHM: Final = "raise the limit by what /dev/shm is to hold"


class Written(Protocol):
    """A size as somebody wrote it."""

    @property
    def name(self) -> str:
        """Of the option, as it is written there: ``--memory``, ``mem_limit``."""

    @property
    def text(self) -> str:
        """Its value."""

    @property
    def size(self) -> Size:
        """Its value as a size."""

    def bytes(self) -> int | None:
        """Its value in bytes; ``None`` = wrong, not known, or without a bound (0, -1)."""


class Wrong(NamedTuple):
    """What is wrong with a size."""

    words: str
    advice: tuple[str, ...] = ()


def no_size(option: Written, refuses: str, *, least: bool) -> Wrong | None:
    """Return what is wrong with a size; *refuses* is who will not start it. With *least* Docker's least size counts."""
    if option.text in {"0", "-1"}:
        return None
    shown, size = f"{option.name} {mark(option.text, Kind.ID)}", option.size
    if size.problem:
        return Wrong(f"{shown} {size.problem}: {refuses} refuses to start it")
    if least and size.size_bytes is not None and size.size_bytes < LEAST_BYTES:
        words = f"{shown} is {size_words(size.size_bytes)}: Docker refuses less than 6 MiB, and nothing runs in that"
        return Wrong(words, (f"probably meant: {option.text}m",) if option.text.isdecimal() else ())
    return None


def above_limit(limit: Written | None, reservation: Written | None, refuses: str) -> str | None:
    """Return what is wrong with a reservation above the limit."""
    if limit is None or reservation is None:
        return None
    most, least = limit.bytes(), reservation.bytes()
    if most is None or least is None or least <= most:
        return None
    return (
        f"{reservation.name} ({size_words(least)}) is above {limit.name} ({size_words(most)}): {refuses} refuses to start it"
    )


def swap_below_memory(limit: Written | None, swap: Written | None, refuses: str) -> str | None:
    """Return what is wrong with memory and swap together below memory alone."""
    if limit is None or swap is None:
        return None
    most, total = limit.bytes(), swap.bytes()
    if most is None or total is None or total >= most:
        return None
    return (
        f"{swap.name} ({size_words(total)}) is memory and swap together, and below {limit.name} ({size_words(most)}): "
        f"{refuses} refuses to start it"
    )


def shm_fills_limit(shm_bytes: int | None, limit_bytes: int | None) -> str | None:
    """Return what is wrong with a /dev/shm that is not smaller than the limit."""
    if not shm_bytes or not limit_bytes or shm_bytes < limit_bytes:
        return None
    return (
        f"/dev/shm may hold {size_words(shm_bytes)} and the memory limit is {size_words(limit_bytes)}: files there count, it"
        " is killed before /dev/shm is full"
    )


def hardly_chosen(name: str, adj: int, *, limited: bool) -> str | None:
    """Return what is wrong with an ``oom_score_adj`` near the end of its range; *name* is the option's."""
    if adj > HARDLY_CHOSEN:
        return None
    return f"{name} {adj}{'' if limited else ' and no memory limit'}: whatever it takes, something else is killed for it"


def no_adj(name: str, text: str) -> str | None:
    """Return what is wrong with an ``oom_score_adj`` that is none."""
    try:
        if -1000 <= int(text.strip()) <= 1000:
            return None
    except ValueError:
        pass
    return f"{name} {mark(text, Kind.ID)} is no number from -1000 to 1000: the container does not start"


def kill_disabled(name: str, *, limited: bool) -> str:
    """Return what is wrong with a container whose OOM killer is switched off."""
    if limited:
        return (
            f"{name}: at its limit its processes hang, holding locks and connections, until somebody ends it (cgroup v1;"
            " v2 does not know the option)"
        )
    return f"{name} without a memory limit: it takes the host's memory, and everything else is killed for it"
