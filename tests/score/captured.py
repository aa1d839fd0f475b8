"""
Recordings of real kernels as snapshots: what /proc and the cgroup tree said just before the OOM killer struck.

The data file is made by ``python -m tests.score.captured DIRECTORY`` from recordings of the project's QEMU rig; see
data/README.md for what is in them.
"""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oomsight.kernel.badness import oom_score
from oomsight.proc.machine import parse_meminfo, parse_version
from oomsight.proc.memcg import MEMCG_FILES, parse_memcg
from oomsight.proc.process import Process, Status, memory_cgroup, parse_int, parse_stat, parse_status
from oomsight.report import parse_text
from oomsight.score.model import Machine, Ranking, Rules, Snapshot
from oomsight.score.ranking import rank_cgroup, rank_host
from oomsight.score.rules import error_reader, exemption, memory_reader, recognise, score_points

DATA = Path(__file__).parent / "data" / "recordings.json.xz"
_STATUS = ("Name", "Uid", "Vm", "Rss", "Hugetlb", "Threads", "CapEff")
_FILES = (
    "/proc/meminfo", "/proc/version", "/proc/sys/vm/panic_on_oom", "/proc/sys/vm/oom_kill_allocating_task",
    "/proc/sys/vm/swappiness",
)  # fmt: skip


@dataclass
class Moment:
    """One snapshot and the kill that followed it (``kill`` is ``None`` after the last one)."""

    name: str
    snapshot: Snapshot
    kill: dict[str, Any] | None


def raw(text: str) -> str:
    """The recorder wrote each byte as one character; names are UTF-8 with odd bytes kept."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def snapshot_of(recorded: dict[str, Any]) -> Snapshot:
    files, page_size = recorded["files"], recorded["page_size"]
    memory = parse_meminfo(files["/proc/meminfo"])
    pages = page_size >> 10
    machine = Machine(
        ram_pages=(memory.mem_total_kib or 0) // pages,
        swap_pages=(memory.swap_total_kib or 0) // pages,
        page_size=page_size,
        cpus=1,
        release=parse_version(files["/proc/version"]),
        swappiness=parse_int(files.get("/proc/sys/vm/swappiness")),
        panic_on_oom=parse_int(files["/proc/sys/vm/panic_on_oom"]) or 0,
        oom_kill_allocating_task=bool(parse_int(files["/proc/sys/vm/oom_kill_allocating_task"])),
    )
    processes = []
    for texts in recorded["procs"].values():
        stat = parse_stat(raw(texts.get("stat", "")))
        if stat is not None:
            processes.append(
                Process(stat, parse_status(raw(texts.get("status", ""))), parse_int(texts.get("oom_score_adj")),
                        parse_int(texts.get("oom_score")), memory_cgroup(raw(texts.get("cgroup", ""))))
            )  # fmt: skip
    processes.sort(key=lambda process: process.stat.starttime_ticks)
    cgroups = {
        raw(path): parse_memcg(raw(path), 1 if "memory.limit_in_bytes" in texts else 2, texts)
        for path, texts in recorded["cgroups"].items()
    }
    return Snapshot(machine=machine, processes=tuple(processes), cgroups=cgroups)


def moments(documents: list[dict[str, Any]], name: str) -> Iterator[Moment]:
    for document in documents:
        yield Moment(f"{name} {document['name']}", snapshot_of(document), document["kill"])


def load() -> list[Moment]:
    """All recordings kept with the tests."""
    recordings = json.loads(lzma.decompress(DATA.read_bytes()))
    return [moment for name, documents in recordings.items() for moment in moments(documents, name)]


# --- judging -------------------------------------------------------------------------------------------------------


def differing_scores(snapshot: Snapshot, rules: Rules) -> list[tuple[Process, int]]:
    """Processes whose oom_score the rules do not give within the error of the counters, and what they give."""
    machine, total = snapshot.machine, snapshot.machine.total.pages
    read, error = memory_reader(machine, rules.era), error_reader(machine, rules.era)
    found = []
    for process in snapshot.processes:
        wanted = (0, 0)
        if exemption(process) is None:
            points, slack = score_points(rules.rule, process, read(process), total, machine), error(process)
            wanted = tuple(oom_score(rules.rule, points + by, total) for by in (-slack, slack))
        if process.oom_score is not None and not wanted[0] <= process.oom_score <= wanted[1]:
            found.append((process, wanted[0]))
    return found


def changed_while_read(process: Process) -> bool:
    """Whether the recorder saw the process at different sizes: its files are read one after the other."""
    if process.comm == "snap" or process.status.vm_rss_kib is None:  # the recorder itself; one that just ended
        return True
    return process.status.vm_rss_kib >> 2 != process.stat.rss_pages


def ranking_for(moment: Moment, snapshot: Snapshot | None = None) -> Ranking:
    """The ranking for the OOM that followed."""
    snapshot = snapshot or moment.snapshot
    rules = recognise(moment.snapshot.machine, moment.snapshot.processes)
    assert moment.kill is not None
    if moment.kill["constraint"] == "CONSTRAINT_MEMCG":
        return rank_cgroup(snapshot, rules, raw(moment.kill["oom_memcg"]))
    return rank_host(snapshot, rules)


def with_sizes_at_the_kill(moment: Moment) -> Snapshot:
    """The snapshot with the sizes the kernel's own task table printed: what grew since the snapshot has grown."""
    assert moment.kill is not None
    known = {process.pid: process for process in moment.snapshot.processes}
    pages = moment.snapshot.machine.page_size >> 10
    processes = []
    for pid, total_vm, rss, pgtables, swap, adj in moment.kill["table"]:
        old = known.get(pid)
        if old is None:  # born since
            stat = next(iter(known.values())).stat._replace(pid=pid, comm="?", ppid=0, flags=0, starttime_ticks=1 << 40)
            old = Process(stat, Status(), adj, 1, raw(moment.kill["oom_memcg"] or "/"))
        stat = old.stat._replace(vsize_bytes=total_vm * pages << 10, rss_pages=rss)
        status = old.status._replace(vm_rss_kib=rss * pages, vm_pte_kib=pgtables >> 10, vm_swap_kib=swap * pages)
        processes.append(old._replace(stat=stat, status=status, oom_score_adj=adj))
    return Snapshot(machine=moment.snapshot.machine, processes=tuple(processes), cgroups=moment.snapshot.cgroups)


def verdict(moment: Moment) -> str:
    """How the killed process follows from the snapshot: ``exact``, ``interval``, ``grown``, ``allocating`` or ``no``."""
    assert moment.kill is not None
    killed = set(moment.kill["victim"])
    for snapshot, exact in ((moment.snapshot, "exact"), (with_sizes_at_the_kill(moment), "grown")):
        ranking = ranking_for(moment, snapshot) if snapshot.processes else None
        if ranking is None or ranking.victim is None:
            continue
        if ranking.victim.process.pid in killed:
            return exact
        if killed & {row.process.pid for row in ranking.rivals}:
            return "interval"
    if moment.snapshot.machine.oom_kill_allocating_task and moment.kill["allocating"]:
        return "allocating"
    return "no"


# --- making the data -----------------------------------------------------------------------------------------------


def reduce_recording(folder: Path) -> list[dict[str, Any]]:
    """The snapshots of one recording that a kill followed (and one after all), with what the tests look at."""
    truth = json.loads(lzma.decompress((folder / "truth.json.xz").read_bytes()))
    first = truth.get("pre") or next(iter(truth.values()))
    kills = _kills(folder, truth.get("post", {}).get("oom_kill"))
    found = []
    for name, recorded in sorted(truth.items()):
        report = kills.get(recorded.get("oom_kill")) if name.startswith("lastpre") else None
        if "procs" not in recorded or (report is None and name != "post"):
            continue
        files = {**first["files"], **recorded["files"]}
        found.append(
            {
                "name": name,
                "page_size": recorded["page_size"],
                "files": {path: files[path] for path in _FILES if path in files},
                "procs": {pid: _reduced(texts) for pid, texts in recorded["procs"].items()},
                "cgroups": {path: _memory_files(texts) for path, texts in recorded["cgroups"].items()},
                "kill": None if report is None or report.kind == "sysrq" else _kill(report),
            }
        )
    return found


def _kills(folder: Path, in_all: int | None) -> dict[int, Any]:
    """
    The reports of a recording by how many processes had been killed before each. ``in_all``: what the kernel's counter
    said in the end. Where the log has fewer, its beginning was overwritten: it is counted from the end, and what the
    serial console kept of the beginning fills in.
    """
    found: dict[str, list[Any]] = {}
    for name in ("kmsg", "console"):
        for log in sorted(folder.glob(f"{name}.txt*")):
            data = log.read_bytes()
            text = gzip.decompress(data) if log.suffix == ".gz" else data
            found.setdefault(name, [r for r in parse_text(text, log.name) if r.victims])
    reports = found["kmsg"] if "kmsg" in found else found["console"]
    done = max((in_all or 0) - sum(len(report.victims) for report in reports), 0) if "kmsg" in found else 0
    kills = {0: found["console"][0]} if done and found.get("console") else {}
    for report in reports:
        kills[done] = report
        done += len(report.victims)
    return kills


def _reduced(texts: dict[str, str]) -> dict[str, str]:
    kept = {name: texts[name] for name in ("stat", "oom_score", "oom_score_adj", "cgroup") if name in texts}
    lines = [line for line in texts.get("status", "").splitlines(keepends=True) if line.startswith(_STATUS)]
    return kept | {"status": "".join(lines)}


def _memory_files(texts: dict[str, str]) -> dict[str, str]:
    version = 1 if "memory.limit_in_bytes" in texts else 2
    return {row.name: texts[row.name] for row in MEMCG_FILES[version] if row.name in texts}


def _kill(report: Any) -> dict[str, Any]:
    victim = report.victims[0]
    return {
        "victim": sorted({victim.pid, victim.tgid or victim.pid}),
        "killed": [v.pid for v in report.victims],
        "constraint": report.constraint,
        "oom_memcg": report.oom_memcg,
        "allocating": report.trigger is not None and report.trigger.pid == victim.pid,
        "table": [
            [t.tgid, t.total_vm_pages, t.rss_pages, t.pgtables_bytes or 0, t.swapents_pages or 0, t.oom_score_adj]
            for t in report.tasks
        ],
    }


def main(directory: Path) -> None:
    """Write the data file from every recording below ``directory``, then print how each follows."""
    recordings = {}
    for folder in sorted({path.parent for path in directory.glob("*/*/truth.json.xz")}):
        recordings[f"{folder.parent.name}/{folder.name}"] = reduce_recording(folder)
    text = json.dumps(recordings, separators=(",", ":")).encode()
    DATA.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    counts: dict[tuple[str, str], int] = {}
    for moment in load():
        rules = recognise(moment.snapshot.machine, moment.snapshot.processes)
        for process, _ in differing_scores(moment.snapshot, rules):
            print("oom_score", moment.name, process.pid, process.comm, changed_while_read(process))
        if moment.kill is not None:
            key = (moment.name.partition("/")[0], verdict(moment))
            counts[key] = counts.get(key, 0) + 1
            if key[1] != "exact":
                print(key[1], moment.name)
    print(counts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
