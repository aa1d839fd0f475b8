"""What runs on a host, audited: loaded units, containers, programs under the limits they really have."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from oomsight.audit.documents import Auditor, Outcome
from oomsight.audit.kubernetes.model import Cluster
from oomsight.audit.live import Host, families, program_of, together
from oomsight.audit.units.live import OF_CHOICE, AllLoaded
from oomsight.audit.units.read import parse_unit
from oomsight.pipeline.audit import audit_unit
from oomsight.sources.containers_live import live_containers
from oomsight.sources.errors import SourceError
from oomsight.sources.proctree import ProcTree
from oomsight.sources.programs_live import read_programs
from oomsight.sources.runtimes.places import Places
from oomsight.sources.units_live import loaded_units, texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.audit.live import Read
    from oomsight.audit.model import Rule
    from oomsight.audit.settings import Config
    from oomsight.score.model import Snapshot

MOST_WORKERS = 200
"""Workers whose memory is measured page by page; the kernel walks all of their pages for it."""


def audit_live(snapshot: Snapshot, rules: Sequence[Rule], config: Config, root: str = "/") -> tuple[Outcome, list[str]]:
    """Return what is found about the units, containers and programs of a host, and what could not be seen."""
    auditor = Auditor(rules, config.settings, Cluster())
    outcome, unseen = Outcome(), []
    wanted = {rule.scope for rule in rules}
    if wanted & {"unit", "loaded", "allloaded"}:
        unseen += _units(snapshot, auditor, outcome, root)
    if "container" in wanted:
        unseen += _containers(snapshot, auditor, outcome, root)
    if wanted & {"program", "together"} and config.settings.runtime_estimates:
        unseen += _programs(snapshot, auditor, outcome, root)
    return outcome, unseen


def _units(snapshot: Snapshot, auditor: Auditor, outcome: Outcome, root: str) -> list[str]:
    try:
        units, asked = loaded_units(root, snapshot.cgroups)
    except SourceError:
        return []  # a host without systemd
    for unit in units:
        texts = texts_of(root, unit)
        if texts:
            here = Outcome()
            # What a process does is seen in the process itself, under the limit it has.
            audit_unit(parse_unit(unit.name, texts, bool(unit.properties.get("FragmentPath"))), texts,
                       replace(auditor, settings=replace(auditor.settings, runtime_estimates=False)), here)  # fmt: skip
            if unit.is_packaged:
                here.findings = [finding for finding in here.findings if finding.rule not in OF_CHOICE]
            outcome.add(here)
        if asked:
            outcome.findings += auditor.run("loaded", unit)
    if asked:
        outcome.findings += auditor.run("allloaded", AllLoaded(tuple(units)))
        return []
    return ["what systemd has loaded: it cannot be asked here, so its unit files were read"]


def _containers(snapshot: Snapshot, auditor: Auditor, outcome: Outcome, root: str) -> list[str]:
    machine = snapshot.machine
    cgroups = {process.stat.pid: process.cgroup for process in snapshot.processes}
    host = _host(snapshot)
    found, unseen = live_containers(Places(root=root, programs=os.path.realpath(root) == "/"))
    for container in found:
        path = cgroups.get(container.pid or 0)
        bound = host.bound(path)
        whole = replace(
            container, memcg=snapshot.cgroups.get(path or ""), bound_bytes=bound.limit_bytes if bound else None,
            ram_bytes=host.ram_bytes, swap_bytes=machine.swap_pages * machine.page_size,
        )  # fmt: skip
        outcome.seen["container"] += 1
        outcome.findings += auditor.run("container", whole)
    return unseen


def _host(snapshot: Snapshot) -> Host:
    machine = snapshot.machine
    return Host(machine.ram_pages * machine.page_size, machine.cpus, snapshot.cgroups)


def _programs(snapshot: Snapshot, auditor: Auditor, outcome: Outcome, root: str) -> list[str]:
    proc = os.path.join(root, "proc")
    read, denied = read_programs(snapshot.processes, proc)
    rows = list(families(read))
    host = replace(_host(snapshot), pss_kib=_worker_sizes(rows, proc))
    programs = [program_of(row, workers, host) for row, workers in rows]
    outcome.seen["program"] += len(programs)
    outcome.findings += auditor.programs(programs)
    for group in together(programs, host.ram_bytes):
        outcome.findings += auditor.run("together", group)
    return [f"the environment of {denied} programs could not be read; it takes root"] if denied else []


def _worker_sizes(rows: list[tuple[Read, list[Read]]], proc: str) -> dict[int, int]:
    pids = [
        worker.process.stat.pid for row, workers in rows if row.runtime in {"python", "php-fpm"} for worker in workers
    ]
    rollups, _ = ProcTree(proc).smaps_rollup(pids[:MOST_WORKERS])
    return {pid: rollup.pss_anon_kib for pid, rollup in rollups.items() if rollup.pss_anon_kib}
