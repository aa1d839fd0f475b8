"""
Measures the live detector against real kills of this machine's kernel.

    python bench/live_bench.py latency [--kills 200] [--load 2] [--weight 1000 | --nice -5 | --rr]
                                                        kill line on the printk clock -> NDJSON line, beside a program
                                                        that only reads /dev/kmsg; the watcher with this
                                                        CPUWeight=, nice value, or in the real-time class
    python bench/live_bench.py burst [--kills 1000]     a storm, the agent storing: victims, duplicates, lost
    python bench/live_bench.py crash [--kills 300] [--weight 1000]
                                                        the same with kill -9 of the agent at random moments
    python bench/live_bench.py idle [--seconds 60]      CPU and memory of an agent scraped every 15 s

latency and idle take --cgroups N: beside so many real, empty memory cgroups, made for it and removed at the end.

Kills are memory-cgroup kills of small processes of its own (16 MiB against a limit of 4 MiB) in a scratch cgroup, which
is removed at the end. Needs root and a memory controller (v1 or v2) one may make cgroups in.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from live_kit import agent, cpu_group, crowd, kill_one, oomsight, printk_offset, scratch, vm_kills, why_not

ROOT = Path(__file__).resolve().parents[1]
SCRAPE_SECONDS = 15.0


_PLAIN_READER = """
import os, select, sys, time
fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
os.lseek(fd, 0, os.SEEK_END)
poll = select.poll()
poll.register(fd)
print(flush=True)
while True:
    poll.poll()
    try:
        record = os.read(fd, 8192)
    except BlockingIOError:
        continue
    if b"illed process" in record:
        at, pid = time.monotonic(), record.split(b"ed process ")[1].split()[0]
        print(at, record.split(b",", 3)[2].decode(), pid.decode(), flush=True)
"""


@contextmanager
def _reader(offset: float):
    """What any reader of the log could do at best: a list of (pid, seconds after the kill line), filled meanwhile."""
    found: list[tuple[int, float]] = []
    process = subprocess.Popen([sys.executable, "-ISc", _PLAIN_READER], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()

    def read() -> None:
        for line in process.stdout:
            at, micros, pid = line.split()
            found.append((int(pid), float(at) - (int(micros) / 1e6 + offset)))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        process.kill()
        process.wait()
        thread.join(20)
        process.stdout.close()


@contextmanager
def busy(count: int):
    """So many processes that only compute."""
    processes = [subprocess.Popen([sys.executable, "-ISc", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def latency(
    kills: int, *, load: int = 0, weight: int = 0, nice: int = 0, rr: bool = False, cgroups: int = 0
) -> dict[str, float]:
    """
    Measure kill -> line for *kills* kills, each on its own, beside *load* processes that only compute; the watcher with
    this *weight* (``CPUWeight=``) or *nice* value, or in the real-time class (*rr*).
    """
    offset = printk_offset()
    with crowd(cgroups), _reader(offset) as plain, busy(load), cpu_group(weight) as group:
        found, victims = _latency(kills, offset, {"nice": nice, "rr": rr, "group": group})
    ms = sorted(late * 1000 for pid, late in plain if pid in victims)
    return {
        **found, "load": load, "weight": weight, "nice": nice, "rr": rr,
        "cgroups": cgroups, "reader_median_ms": round(statistics.median(ms), 2),
        "reader_p99_ms": round(ms[int(len(ms) * 0.99) - 1], 2),
    }  # fmt: skip


def _latency(kills: int, offset: float, priority: dict) -> tuple[dict[str, float], set[int]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    watch = oomsight("watch", "--format", "ndjson", "--no-journal", **priority, **pipes)
    seen: dict[int, float] = {}
    late: list[float] = []

    def read() -> None:
        for line in watch.stdout:
            at = time.monotonic()
            event = json.loads(line)
            if event["type"] == "incident" and event["kills"] and event["kills"][0]["pid"] not in seen:
                seen[event["kills"][0]["pid"]] = at
                late.append(at - (event["time_us"] / 1e6 + offset))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    victims = []
    with scratch() as group:
        end = time.monotonic() + 60
        while not seen and time.monotonic() < end:  # it is at work when it tells the first
            kill_one(group)
            time.sleep(0.2)
        time.sleep(0.5)
        seen.clear()
        late.clear()
        for _ in range(kills):
            victims.append(kill_one(group))
            time.sleep(0.01)
    end = time.monotonic() + 30
    while not seen.keys() >= set(victims) and time.monotonic() < end:
        time.sleep(0.05)
    watch.send_signal(signal.SIGINT)
    reader.join(20)
    watch.wait(20)
    watch.stdout.close()
    watch.stderr.close()
    ms = sorted(x * 1000 for x in late)
    return {
        "kills": kills, "seen": sum(v in seen for v in victims), "median_ms": round(statistics.median(ms), 2),
        "p99_ms": round(ms[int(len(ms) * 0.99) - 1], 2), "max_ms": round(ms[-1], 2), "status": watch.returncode,
    }, set(victims)  # fmt: skip


def stored(path: str) -> dict[str, object]:
    """Return what the store holds, told by facts of the log alone."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    kills = db.execute("SELECT boot_id, time_us, pid, comm FROM kills ORDER BY 1, 2, 3").fetchall()
    # The cgroup of a kill without a report is read from /proc as it dies: who is down then cannot know it.
    events = db.execute(
        "SELECT event_id, kind, cause, name, pid, kills, weight > 1100, stage FROM incidents ORDER BY 1"
    ).fetchall()
    notes = db.execute("SELECT code, text FROM notes").fetchall()
    db.close()
    return {"kills": kills, "events": events, "notes": notes}


def storm(kills: int, jobs: int = 2) -> list[int]:
    """Make *kills* kills as fast as the kernel does, *jobs* at a time in cgroups of their own; return the pids."""
    pids: list[int] = []
    lock = threading.Lock()

    def work(count: int, number: int) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import live_bench as b; from pathlib import Path\n"
            "with b.scratch(sys.argv[3]) as g:\n    print(*[b.kill_one(g) for _ in range(int(sys.argv[2]))])"
        )
        command = [sys.executable, "-c", code, str(ROOT / "bench"), str(count), f"storm{number}"]
        found = [int(x) for x in subprocess.run(command, capture_output=True, check=True).stdout.split()]
        with lock:
            pids.extend(found)

    shares = [kills // jobs + (i < kills % jobs) for i in range(jobs)]
    threads = [threading.Thread(target=work, args=(share, i)) for i, share in enumerate(shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pids


def settle(path: str, pids: list[int], seconds: float = 30) -> dict[str, object]:
    """Wait until every one of *pids* is stored and complete, or the time is over."""
    end = time.monotonic() + seconds
    while True:
        have = stored(path)
        complete = all(event[7] != "provisional" for event in have["events"])
        if ({k[2] for k in have["kills"]} >= set(pids) and complete) or time.monotonic() > end:
            return have
        time.sleep(0.2)


def burst(kills: int) -> dict[str, object]:
    """A storm under one agent."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/incidents.db"
        process = agent(path)
        before, counted = len(stored(path)["kills"]), vm_kills()
        begin = time.monotonic()
        pids = storm(kills)
        took = time.monotonic() - begin
        have = settle(path, pids)
        process.terminate()
        status = process.wait(20)
        mine = [k for k in have["kills"] if k[2] in set(pids)]
        return {
            "kills": len(pids), "kernel_counted": vm_kills() - counted, "seconds": round(took, 1),
            "stored_victims": len(mine), "stored_new": len(have["kills"]) - before,
            "duplicates": len(mine) - len({k[2] for k in mine}),
            "incomplete": sum(e[7] == "provisional" for e in have["events"]), "notes": have["notes"], "status": status,
        }  # fmt: skip


def crash(kills: int, *, weight: int = 0, seed: int = 1) -> dict[str, object]:
    """
    The same storm under an agent that lives and one that is killed again and again: do their stores differ? *weight*:
    ``CPUWeight=`` of both, as their unit gives them.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, cpu_group(weight) as group:
        steady, broken = f"{folder}/steady.db", f"{folder}/broken.db"
        first, second = agent(steady, group=group), agent(broken, group=group)
        pids: list[int] = []
        thread = threading.Thread(target=lambda: pids.extend(storm(kills)))
        thread.start()
        deaths = 0
        while thread.is_alive():
            time.sleep(rng.uniform(0.05, 1.0))
            second.kill()
            second.wait()
            deaths += 1
            second = agent(broken, group=group)
        a, b = settle(steady, pids), settle(broken, pids)
        for process in (first, second):
            process.terminate()
            process.wait(20)
        mine = set(pids)
        a, b = stored(steady), stored(broken)
        kills = [[k for k in have["kills"] if k[2] in mine] for have in (a, b)]
        events = [[e for e in have["events"] if e[4] in mine] for have in (a, b)]
        return {
            "kills": len(pids), "deaths": deaths, "stored": len({k[2] for k in kills[0]}),
            "same_kills": kills[0] == kills[1], "same_events": events[0] == events[1],
            "differing": [x for x in zip(*events, strict=False) if x[0] != x[1]][:3],
            "notes": [a["notes"], b["notes"]],
        }  # fmt: skip


def idle(seconds: float, cgroups: int = 0) -> dict[str, float]:
    """
    CPU share of one core and resident memory of an agent with nothing to do but to answer a scrape every 15 s; its
    recorder apart.
    """
    import socket
    import urllib.request

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with crowd(cgroups), tempfile.TemporaryDirectory() as folder:
        Path(folder, "agent.toml").write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
        process = agent(f"{folder}/incidents.db", "-c", f"{folder}/agent.toml")

        def scrape() -> int:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                return len(answer.read())

        size = scrape()  # the first sample of everything is start-up, not idling
        tick = os.sysconf("SC_CLK_TCK")

        def cpu(pid: int) -> float:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / tick

        def rss(pid: int) -> float:
            status = Path(f"/proc/{pid}/status").read_text()
            return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)

        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        recorder = next(int(pid) for pid in children if b"record" in Path(f"/proc/{pid}/cmdline").read_bytes())
        for _ in range(30):  # what the log held is read and stored, names are looked up, memory is locked
            before = cpu(process.pid)
            time.sleep(3)
            if cpu(process.pid) - before < 0.02:
                break
        killed = vm_kills()
        begin, start, scrapes = (cpu(process.pid), cpu(recorder)), time.monotonic(), 0
        while (left := start + seconds - time.monotonic()) > 0:
            time.sleep(min(left, SCRAPE_SECONDS))
            size, scrapes = scrape(), scrapes + 1
        wall = time.monotonic() - start
        used = cpu(process.pid) - begin[0], cpu(recorder) - begin[1]
        resident = rss(process.pid), rss(recorder)
        process.terminate()
        process.wait(20)
        return {
            "seconds": round(wall, 1), "cgroups": cgroups, "scrapes": scrapes, "page_bytes": size,
            "cpu_pct": round(100 * used[0] / wall, 3), "rss_mib": resident[0],
            "recorder_cpu_pct": round(100 * used[1] / wall, 3), "recorder_rss_mib": resident[1],
            "kills_of_others": vm_kills() - killed,
        }  # fmt: skip


def main() -> None:
    """Run one measurement and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "burst", "crash", "idle"])
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--weight", type=int, default=0)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--rr", action="store_true")
    parser.add_argument("--cgroups", type=int, default=0)
    options = parser.parse_args()
    missing = why_not()
    if missing:
        sys.exit(f"live_bench: {missing}")
    if options.what == "idle":
        result = idle(options.seconds, options.cgroups)
    else:
        runs = {"latency": (latency, 200), "burst": (burst, 1000), "crash": (crash, 300)}
        call, kills = runs[options.what]
        wanted = {key: getattr(options, key) for key in ("load", "weight", "nice", "rr", "cgroups")}
        extra = wanted if options.what == "latency" else {}
        if options.what == "crash":
            extra = {"weight": options.weight}
        result = call(options.kills or kills, **extra)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
