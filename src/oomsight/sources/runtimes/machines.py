"""
System containers and virtual machines: systemd-machined's state, LXC's and Proxmox's configuration.

The machine's name is in its cgroup path already; what these add is the host name behind a Proxmox number, and limits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import LimitBytes, Names
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes.places import Places, key_values, listed, read_text

_SERVICES: Final = {"systemd-nspawn": "nspawn", "libvirt-lxc": "lxc", "libvirt-qemu": "qemu"}
"""Who registered a machine -> runtime."""

_LIMITS: Final = ("lxc.cgroup2.memory.max", "lxc.cgroup.memory.limit_in_bytes")
_SIZE: Final = re.compile(r"(\d+)\s*([KMGT]?)", re.IGNORECASE)
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def observe_machines(places: Places, now: float) -> Iterator[Observation]:
    """Yield machines; raises :class:`SourceError` when this host keeps none of them."""
    found = False
    for source in (_machined, _lxc, _proxmox):
        try:
            for observation in source(places, now):
                found = True
                yield observation
        except SourceError:
            continue
    if not found:
        raise SourceError("machines", "no nspawn, LXC or virtual machines here")


def _machined(places: Places, now: float) -> Iterator[Observation]:
    folder = places.path("run/systemd/machines")
    for name in listed(folder):
        if name.startswith("unit:"):
            continue  # a link from the unit's name
        state = key_values(os.path.join(folder, name))
        leader = int(state["LEADER"]) if state.get("LEADER", "").isdigit() else None
        since = int(state["REALTIME"]) / 1e6 if state.get("REALTIME", "").isdigit() else None
        unit = state.get("SCOPE") or state.get("UNIT")
        names = Names(machine=name, runtime=_SERVICES.get(state.get("SERVICE", "")), unit=unit, main_pid=leader)
        yield Observation(Key("machine", name), names, now, since)


def _lxc(places: Places, now: float) -> Iterator[Observation]:
    folder = places.path("var/lib/lxc")
    for name in listed(folder):
        config = _settings(os.path.join(folder, name, "config"), "=")
        if config:
            limit = next((value for key in _LIMITS if (value := _bytes(config.get(key)))), None)
            names = Names(machine=config.get("lxc.uts.name") or name, runtime="lxc", limit_bytes=limit)
            yield Observation(Key("machine", name), names, now)


def _proxmox(places: Places, now: float) -> Iterator[Observation]:
    for folder, key, runtime in (("etc/pve/lxc", "hostname", "lxc"), ("etc/pve/qemu-server", "name", "qemu")):
        try:
            names = listed(places.path(folder))
        except SourceError:
            continue
        for name in names:
            config = _settings(os.path.join(places.path(folder), name), ":")
            if not config:
                continue
            # Of a container it is the limit; of a virtual machine what the guest sees, not what its cgroup allows.
            limit = _bytes(config.get("memory", "") + "M") if runtime == "lxc" else None
            found = Names(machine=config.get(key), runtime=runtime, limit_bytes=limit)
            yield Observation(Key("machine", name.removesuffix(".conf")), found, now)


def _settings(path: str, separator: str) -> dict[str, str]:
    """``key SEPARATOR value`` lines up to the first section (Proxmox keeps snapshots in sections)."""
    found: dict[str, str] = {}
    for line in (read_text(path) or "").split("\n"):
        if line.startswith("["):
            break
        key, sign, value = line.partition(separator)
        if sign and not key.startswith("#"):
            found[key.strip()] = value.strip()
    return found


def _bytes(text: str | None) -> LimitBytes:
    match = _SIZE.fullmatch(text or "")
    return int(match[1]) << _SHIFTS[match[2].upper()] if match else None
