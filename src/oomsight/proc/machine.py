"""
The machine as /proc shows it: meminfo, zoneinfo, vmstat, mountinfo, cpu lists.

Sources: fs/proc/meminfo.c, mm/vmstat.c (zoneinfo, vmstat), fs/proc_namespace.c (mountinfo).
"""

from __future__ import annotations

from oomsight._lazy import lazy
from oomsight._named import NamedTuple

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_UNITS: Final[tuple[list[str], ...]] = ([], ["kB"])
_MOST_DIGITS: Final = 20  # of 64 bits
_COUNT: Final = lazy(r"(?am)^(\S+) (-?\d{1,20})$")


class MemInfo(NamedTuple):
    """/proc/meminfo. ``None`` = this kernel has no such line. The kernel's own names, all lines, are in ``fields``."""

    mem_total_kib: int | None
    mem_free_kib: int | None
    mem_available_kib: int | None  #: 3.14+
    swap_total_kib: int | None
    swap_free_kib: int | None
    fields: Mapping[str, int]  #: KiB, except the ``HugePages_…`` counts

    @property
    def long_bits(self) -> int:
        """Width of this kernel's integers: with 32 bits all kernel addresses together are 4 GiB at most."""
        return 32 if 0 < self.fields.get("VmallocTotal", 0) < 4 << 20 else 64


def parse_meminfo(text: str) -> MemInfo:
    """/proc/meminfo or a node's meminfo (whose lines begin with ``Node N``)."""
    fields: dict[str, int] = {}
    for line in text.split("\n"):
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal() and len(words[0]) <= _MOST_DIGITS and words[1:] in _UNITS:
            fields[key.split()[-1] if " " in key else key] = int(words[0])
    get = fields.get
    return MemInfo(get("MemTotal"), get("MemFree"), get("MemAvailable"), get("SwapTotal"), get("SwapFree"), fields)


def parse_vmstat(text: str) -> dict[str, int]:
    """/proc/vmstat or any other file of ``name number`` lines: pages or events, by the kernel's names."""
    return {key: int(value) for key, value in _COUNT.findall(text)}


class ZoneInfo(NamedTuple):
    """One zone of /proc/zoneinfo, in pages. ``None`` = not printed (an unpopulated zone prints no marks)."""

    node: int
    name: str
    protection_pages: tuple[int, ...]  #: lowmem reserve against each zone's requests
    free_pages: int | None
    min_pages: int | None
    low_pages: int | None
    high_pages: int | None
    spanned_pages: int | None  #: with holes; T of a node up to 5.3
    present_pages: int | None  #: T of a node from 5.4
    managed_pages: int | None
    cma_pages: int | None


_ZONE: Final = lazy(r"(?am)^Node (\d{1,9}), zone +(\S+)\n")
_ZONE_FIELD: Final = lazy(
    r"(?am)^ +(?:pages )?(free|min|low|high|spanned|present|managed|cma) +(\d{1,20})$"
)
_PROTECTION: Final = lazy(r"(?am)^ +protection: \(([\d, ]*)\)")
_NUMBER: Final = lazy(r"(?a)\d{1,20}")
_ZONE_NAMES: Final = ("free", "min", "low", "high", "spanned", "present", "managed", "cma")


def parse_zoneinfo(text: str) -> tuple[ZoneInfo, ...]:
    """The zones of /proc/zoneinfo, in its order."""
    pieces = _ZONE.split(text)
    zones = []
    for node, name, whole in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        body = whole.partition("pagesets")[0]  # per-CPU lists below have a ``high`` of their own
        fields: dict[str, int] = {}
        for key, value in _ZONE_FIELD.findall(body):
            fields.setdefault(key, int(value))
        found = _PROTECTION.search(body)
        protection = tuple(map(int, _NUMBER.findall(found[1]))) if found else ()
        zones.append(ZoneInfo(int(node), name, protection, *map(fields.get, _ZONE_NAMES)))
    return tuple(zones)


class Mount(NamedTuple):
    """One line of /proc/PID/mountinfo."""

    root: str  #: what of the file system is mounted (of a cgroup mount: which cgroup)
    mount_point: str
    options: tuple[str, ...]  #: of the mount
    fs_type: str
    source: str
    super_options: tuple[str, ...]  #: of the file system: version 1 controllers, hidepid=


_OCTAL: Final = lazy(r"\\([0-7]{3})")


def _unescape(text: str) -> str:
    """Spaces, tabs, newlines and backslashes are printed as octal escapes, everything else as it is."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text) if "\\" in text else text


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts of /proc/PID/mountinfo, in its order: a later mount on the same point hides an earlier one."""
    mounts = []
    for line in text.split("\n"):
        front, dash, back = line.partition(" - ")
        head, tail = front.split(" "), back.split(" ")
        if dash and len(head) >= 6 and len(tail) >= 3:
            mounts.append(
                Mount(_unescape(head[3]), _unescape(head[4]), tuple(head[5].split(",")), tail[0], _unescape(tail[1]),
                      tuple(tail[2].split(",")))
            )  # fmt: skip
    return tuple(mounts)


_MOST_CPUS: Final = 1 << 16  # NR_CPUS is at most 8192 today


def parse_cpu_list(text: str) -> frozenset[int] | None:
    """A list of CPUs or nodes like ``0-3,8``; ``None`` if it is none. An empty list is empty."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 11 or int(last or 0) > _MOST_CPUS:
            return None
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def parse_version(text: str) -> str | None:
    """The release in /proc/version (``6.1.0-13-amd64``); ``None`` = not there."""
    words = text.split(None, 3)
    return words[2] if words[:2] == ["Linux", "version"] and len(words) > 2 else None


def zram_kib(texts: list[str]) -> tuple[int, int] | None:
    """
    (stored, taken) KiB of all zram devices from their mm_stat: what is in them uncompressed, and the RAM it takes,
    which no line of /proc/meminfo holds; ``None`` = there is none. Documentation/admin-guide/blockdev/zram.rst (4.1+).
    """
    stored = taken = 0
    found = False
    for text in texts:
        numbers = text.split()
        if len(numbers) >= 3 and all(number.isdecimal() for number in numbers[:3]):
            stored, taken, found = stored + int(numbers[0]), taken + int(numbers[2]), True
    return (stored >> 10, taken >> 10) if found else None
