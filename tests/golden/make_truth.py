"""
Make the golden inputs and their truths from captures of the QEMU rig.

    python tests/golden/make_truth.py CAPTURES

CAPTURES holds ``<kernel>/<scenario>/`` folders: the kernel log in several carriers, ``run.json`` (what was run) and
``truth.json.xz`` (/proc and the cgroup tree as read inside the guest before and after each kill). For every row of
:data:`GOLDENS` this writes a folder with the logs (gzip), a small ``truth.json`` and ``origin.md``; ``expected.json``
is written by ``pytest tests/golden --update-golden``.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import sys
from pathlib import Path
from typing import Any

KERNELS = ("5.10.262", "6.1.192", "6.12.107", "6.18.15", "7.3.4")
HERE = Path(__file__).parent

# Every scenario on two kernels, so that each kernel has more than ten and every scenario an old and a new one.
SCENARIOS = (
    "adj_biased", "dump_tasks0", "forkbomb_memcg", "formats", "global_noswap", "global_oomgroup", "global_swap_disk",
    "global_swap_zram", "hugetlb_reserved", "kill_allocating", "logwrap", "many300", "memcg_group", "memcg_max",
    "memcg_nested", "memcg_pod", "memcg_swap", "memcg_v1", "movable_zone", "negatives", "nokillable_global",
    "nokillable_memcg", "notime", "numa_cpuset", "numa_global", "numa_mempolicy", "order_dgram", "panic_on_oom1",
    "panic_on_oom2", "ratelimit", "shmem_hold", "sysrq_f", "threads_sharedmm", "tmpfs_cap", "tmpfs_fill", "weird_names",
)  # fmt: skip
PINNED = {
    "formats": ("5.10.262", "6.18.15"),  # with every carrier
    "memcg_v1": ("5.10.262", "6.1.192"),  # Debian's newer kernels have no cgroup v1 memory controller
    "tmpfs_fill": ("5.10.262", "6.12.107"),
    "many300": ("6.1.192",), "logwrap": ("6.12.107",), "nokillable_memcg": ("7.3.4",),  # large: one kernel
}  # fmt: skip
GOLDENS = tuple(
    (kernel, scenario)
    for i, scenario in enumerate(SCENARIOS)
    for kernel in PINNED.get(scenario, (KERNELS[i % 5], KERNELS[(i + 2 + i // 5) % 5 if (2 + i // 5) % 5 else (i + 1) % 5]))
)
# On these the slow serial console lost lines or the capture was cut in its middle: no copy of the whole log.
_TORN_CONSOLE = {"many300", "logwrap", "nokillable_memcg", "forkbomb_memcg"}
_RANKED = 10
_LIMITS = ("memory.max", "memory.high", "memory.swap.max", "memory.current", "memory.swap.current", "memory.limit_in_bytes",
           "memory.usage_in_bytes")  # fmt: skip

Snapshot = dict[str, Any]


def name(text: str) -> str:
    """Undo the recorder's Latin-1 reading: raw bytes as UTF-8 with lone surrogates, as the product holds names."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def status_kib(process: Snapshot, key: str) -> int | None:
    """One ``Key: <n> kB`` line of /proc/PID/status in KiB; ``None`` when the kernel prints no such line."""
    m = re.search(rf"^{key}:\s*(\d+) kB$", process["status"], re.M)
    return int(m[1]) if m else None


def rss_pages(process: Snapshot) -> int:
    """Field 24 of /proc/PID/stat, the approximate counter badness reads (fs/proc/array.c do_task_stat())."""
    return int(process["stat"].rpartition(")")[2].split()[21])


def describe(pid: int, before: list[Snapshot]) -> dict[str, Any]:
    """What /proc said about *pid* in the latest snapshot that has it; only the pid when it started too late."""
    seen = [s["procs"][str(pid)] for s in before if str(pid) in s["procs"]]
    if not seen:
        return {"pid": pid}
    last = seen[-1]
    uid = re.search(r"^Uid:\t(\d+)", last["status"], re.M)
    cgroup = re.search(r"^0::(/.*)$", last.get("cgroup", ""), re.M)
    return {
        "pid": pid,
        "comm": name(last["comm"][:-1]),
        "uid": int(uid[1]) if uid else None,
        "oom_score_adj": int(last["oom_score_adj"]),
        "rss_kib": rss_pages(last) * before[-1]["page_size"] // 1024,
        "swap_kib": status_kib(last, "VmSwap"),
        "pgtables_kib": status_kib(last, "VmPTE"),
        "threads": int(re.search(r"^Threads:\t(\d+)", last["status"], re.M)[1]),  # type: ignore[index]
        "cgroup": name(cgroup[1]) if cgroup else None,
    }


def ranking(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The processes of the highest oom_score, highest first: the kernel's own badness for a global OOM."""
    rows = [
        (int(p["oom_score"]), int(pid), name(p["comm"][:-1]), rss_pages(p))
        for pid, p in snapshot["procs"].items()
        if pid != "1" and rss_pages(p)
    ]
    rows.sort(key=lambda r: (-r[0], r[1]))
    return [dict(zip(("oom_score", "pid", "comm", "rss_pages"), r, strict=True)) for r in rows[:_RANKED]]


def cgroups(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """Limits and usage of every cgroup that has a limit, by path."""
    found = {}
    for path, files in snapshot.get("cgroups", {}).items():
        shown = {f: files[f].strip() for f in _LIMITS if f in files}
        if any(v.isdigit() for f, v in shown.items() if not f.endswith(("current", "usage_in_bytes"))):
            found[name(path)] = shown
    return found


def truth(run: dict[str, Any], snapshots: dict[str, Snapshot]) -> dict[str, Any]:
    """The small truth of one capture."""
    before = [snapshots[k] for k in ("pre", *sorted(k for k in snapshots if k.startswith("lastpre"))) if k in snapshots]
    post = snapshots.get("post")
    killed = [int(re.match(r"Killed process (\d+)", k)[1]) for k in run["killed"]]  # type: ignore[index]
    if run["scenario"] == "negatives":
        killed = []  # the line in that log was written by a program
    kills, done = [], set()
    for pid in killed:
        if pid in done:
            continue
        # Snapshots taken after this kill do not have the process any more.
        kills.append(describe(pid, before))
        done.add(pid)
    first = before[min(1, len(before) - 1)]
    return {
        "kernel": run["kernel"],
        "scenario": run["scenario"],
        "ended": run["ended"],
        "page_size": first["page_size"],
        "oom_kill": post["oom_kill"] - before[0]["oom_kill"] if post else None,
        "kills": kills,
        "ranking": ranking(first),
        "cgroups": cgroups(first),
        "meminfo_kib": {
            k: int(v)
            for k, v in re.findall(r"^(MemTotal|SwapTotal):\s*(\d+) kB", first["files"]["/proc/meminfo"], re.M)
        },
    }


def read(path: Path) -> bytes:
    """A capture file, gzipped or not."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def write_gz(path: Path, data: bytes) -> None:
    """Write *data* so that the same data gives the same file."""
    path.write_bytes(gzip.compress(data, mtime=0))


def make(captures: Path, kernel: str, scenario: str) -> int:
    """Write one golden folder; return its size in bytes."""
    source, target = captures / kernel / scenario, HERE / f"{kernel}-{scenario}"
    target.mkdir(exist_ok=True)
    carriers = ["kmsg.txt", "dmesg.txt"] + ([] if scenario in _TORN_CONSOLE else ["console.txt"])
    paths = {c.split(".")[0]: p for c in carriers if (p := _either(source / c))}
    if scenario == "formats":
        paths |= {p.name.split(".")[0]: p for p in sorted((source / "formats").iterdir())}
        paths["dmesg-T"] = _either(source / "dmesg-T.txt") or paths["dmesg"]
    for carrier, path in paths.items():
        write_gz(target / f"{carrier}.gz", read(path))
    run = json.loads((source / "run.json").read_text())
    snapshots = json.loads(lzma.decompress((source / "truth.json.xz").read_bytes()))
    (target / "truth.json").write_text(json.dumps(truth(run, snapshots), indent=1) + "\n")
    (target / "origin.md").write_text(
        f"# {kernel}, {scenario}\n\n{run['desc'][:1].upper()}{run['desc'][1:]}.\n\n"
        f"Made in QEMU with Debian's kernel {kernel}, {run['mem_mib']} MiB, {run['smp']} CPU, by the rig's scenario"
        f" `{scenario}`; the run ended by: {run['ended']}. Carriers: {', '.join(paths)}. Kernel logs and counters are"
        " facts; `truth.json` is read from /proc and the cgroup tree of the guest.\n"
    )
    return sum(p.stat().st_size for p in target.iterdir())


def _either(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.exists()), None)


if __name__ == "__main__":
    sizes = {f"{k}-{s}": make(Path(sys.argv[1]), k, s) for k, s in GOLDENS}
    print(f"{len(sizes)} goldens, {sum(sizes.values()) / 1e6:.1f} MB, largest {max(sizes, key=sizes.__getitem__)}")
