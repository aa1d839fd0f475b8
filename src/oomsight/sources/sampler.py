"""
One look at the whole machine: host, processes, cgroups, each giving only what changed since the last look.

All files are those of :attr:`Places.proc`, :attr:`Places.sys` and the memory controller; nothing is written.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight.proc.machine import parse_zoneinfo
from oomsight.record.fields import INDEX
from oomsight.record.raw import host_values, swap_devices
from oomsight.sources.cgrouptree import hierarchy_of, is_whole
from oomsight.sources.errors import SourceError, from_os_error
from oomsight.sources.procread import read_if_there
from oomsight.sources.proctree import CGROUPS_OUTSIDE, ProcTree
from oomsight.sources.sampler_cgroups import CgroupSampler
from oomsight.sources.sampler_processes import ProcessSampler
from oomsight.sources.vmstat import read_boot_id, read_zram_kib

if TYPE_CHECKING:
    from oomsight.record.model import Change, Values
    from oomsight.score.model import Unseen
    from oomsight.sources.cgrouptree import Hierarchy

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
SLOW_SECONDS: Final = 10.0  #: zones and swap devices are read this often
_OWN: Final = 64  #: descriptors left for everything else
_HOST: Final = INDEX["host"]


class Places(NamedTuple):
    """Where the files are."""

    proc: str = "/proc"
    sys: str = "/sys"
    cgroup: str | None = None  #: mount point of the memory controller; ``None`` = as mountinfo says
    root: str = "/"  #: what stands for ``/`` in mountinfo


class Sampler:
    """The machine. :attr:`host` holds the host's figures of the last sample, :attr:`remarks` what cannot be read."""

    def __init__(self, places: Places | None = None, *, page_bytes: int | None = None) -> None:
        """Raises :class:`SourceError` where there is no /proc."""
        self.places = places = places or Places()
        self.remarks: list[str] = []
        self.host: Values = ()
        self.boot_id = read_boot_id(places.proc) or ""
        numbers = count(1)
        budget = descriptor_budget()
        page_kib = (page_bytes or os.sysconf("SC_PAGE_SIZE")) >> 10
        try:
            os.listdir(places.proc)
        except OSError as error:
            raise from_os_error(places.proc, error) from None
        if read_if_there(f"{places.proc}/meminfo") is None:
            raise SourceError(f"{places.proc}/meminfo", "cannot be read", "is a proc file system mounted there?")
        hierarchy = hierarchy_of(places.proc, places.sys, places.cgroup, places.root)
        share = min(4096, budget // 4) if hierarchy is not None else 0
        self._processes = ProcessSampler(
            numbers.__next__, places.proc, page_kib=page_kib, descriptors=budget - share,
            hertz=os.sysconf("SC_CLK_TCK"),
        )  # fmt: skip
        self._cgroups = None
        if hierarchy is None:
            self.remarks.append("no memory cgroups here: cgroups, units and containers are not recorded")
        else:
            self._cgroups = CgroupSampler(numbers.__next__, hierarchy, places.proc, descriptors=share)
        unseen = list(self._unseen(hierarchy))
        self._unseen_words = [one.what for one in unseen]
        self.remarks += [f"not recorded: {one.what}; it takes {one.right}" for one in unseen]
        self._next_id: Callable[[], int] = numbers.__next__
        self._files: dict[str, int] = {}
        self._host_id = 0
        self._slow: dict[tuple[str, str], tuple[int, Values]] = {}
        self._slow_at = -SLOW_SECONDS
        self._swapped, self._kills = (0, 0), 0
        self._page_kib = page_kib

    def close(self) -> None:
        """Give all descriptors back."""
        self._processes.close()
        if self._cgroups is not None:
            self._cgroups.close()
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def sample(self, now: float) -> Change:
        """What changed since the last sample. *now*: seconds of a clock that does not step."""
        meminfo, vmstat = self._kept("meminfo"), self._kept("vmstat")
        swapped = (_count_of(vmstat, "pswpin"), _count_of(vmstat, "pswpout"))
        change = self._processes.sample(now, swapped)
        kills = _count_of(vmstat, "oom_kill")
        if self._cgroups is not None:
            swapping, killed = swapped != self._swapped, kills != self._kills
            change.add(self._cgroups.sample(now, swapping=swapping, killed=killed))
        self._swapped, self._kills = swapped, kills
        self._host(meminfo, vmstat, change)
        if now - self._slow_at >= SLOW_SECONDS:
            self._slow_at = now
            self._zones_and_swaps(change)
        return change

    def headroom(self, now: float) -> tuple[float | None, float | None, bool]:
        """
        The least free share of any limited cgroup, seconds until the first is full (``None`` = there is none), and
        whether one of them is new.
        """
        return self._cgroups.headroom(now) if self._cgroups is not None else (None, None, False)

    def host_value(self, field: str) -> int | None:
        """A figure of the host as it is stored."""
        return self.host[_HOST[field]] if self.host else None

    # -----------------------------------------------------------------------------------------------------------------

    def _unseen(self, hierarchy: Hierarchy | None) -> Iterator[Unseen]:
        """What of the host cannot be seen from here."""
        tree = ProcTree(self.places.proc)
        if not tree.sees_kernel():
            yield tree.hidden()
        elif hierarchy is not None and not is_whole(hierarchy):
            yield CGROUPS_OUTSIDE

    def _host(self, meminfo: str, vmstat: str, change: Change) -> None:
        pressure = self._kept("pressure/memory") or None
        counted = {
            "processes": self._processes.count, "forks": self._fork_count(), "unseen_bytes": self._processes.unseen_kib,
        }  # fmt: skip
        values = host_values(meminfo, vmstat, pressure, read_zram_kib(self.places.sys), counted)
        if not self._host_id:
            self._host_id = self._next_id()
            name = (read_if_there(f"{self.places.proc}/sys/kernel/hostname") or "host").strip()
            unseen = {"unseen": self._unseen_words} if self._unseen_words else {}
            change.new.append((self._host_id, {"kind": "host", "name": name, **unseen}))
        if values != self.host:
            self.host = values
            change.rows.append((self._host_id, "host", values))

    def _fork_count(self) -> int | None:
        """``processes`` of /proc/stat: every fork, also of those that were gone before anybody looked."""
        text = self._kept("stat")
        at = text.find("\nprocesses ")
        end = text.find("\n", at + 1)
        return int(text[at + 11 : end]) if at >= 0 and text[at + 11 : end].isdecimal() else None

    def _zones_and_swaps(self, change: Change) -> None:
        found: dict[tuple[str, str], Values] = {}
        per = self._page_kib
        for zone in parse_zoneinfo(read_if_there(f"{self.places.proc}/zoneinfo") or ""):
            if zone.managed_pages:
                pages = (zone.free_pages, zone.min_pages, zone.low_pages, zone.high_pages, zone.managed_pages)
                found["zone", f"node {zone.node} {zone.name}"] = tuple(None if p is None else p * per for p in pages)
        for name, values in swap_devices(read_if_there(f"{self.places.proc}/swaps") or ""):
            found["swap", name] = values
        for (kind, name), values in found.items():
            eid, before = self._slow.get((kind, name), (0, ()))
            if not eid:
                eid = self._next_id()
                change.new.append((eid, {"kind": kind, "name": name}))
            if values != before:
                change.rows.append((eid, kind, values))
            self._slow[kind, name] = (eid, values)
        for key in self._slow.keys() - found.keys():
            change.gone.append(self._slow.pop(key)[0])

    def _kept(self, name: str) -> str:
        """A file of /proc that is read each time; empty = not there."""
        fd = self._files.get(name)
        try:
            if fd is None:
                fd = self._files[name] = os.open(f"{self.places.proc}/{name}", _FLAGS)
            data = os.pread(fd, 1 << 17, 0)
            if len(data) >= 4000:  # seq_file hands out what its buffer holds
                parts, at = [data], len(data)
                while part := os.pread(fd, 1 << 17, at):
                    parts.append(part)
                    at += len(part)
                data = b"".join(parts)
        except OSError:
            return ""
        return data.decode("ascii", "replace")


def descriptor_budget(most: int = 32768) -> int:
    """Raise the soft limit of open files as far as allowed (and needed); return how many the sampler may keep."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OWN if hard == resource.RLIM_INFINITY else min(hard, most + _OWN)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass
    room = most if soft == resource.RLIM_INFINITY else soft - _OWN
    return max(min(room, most), 0)


def _count_of(vmstat: str, name: str) -> int:
    """A counter of /proc/vmstat; 0 = this kernel has none."""
    key = f"\n{name} "
    at = vmstat.find(key)
    end = vmstat.find("\n", at + 1)
    text = vmstat[at + len(key) : end] if at >= 0 else ""
    return int(text) if text.isdecimal() else 0
