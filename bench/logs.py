"""
Logs to measure with: real reports varied, among the lines an ordinary server writes. Seeded, so every run is the same.

A report is the bundled capture of a real kernel with other names, process ids, times and more rows in its task table;
its shape is not touched. Ordinary lines are made to be unpleasant for a search: rooms, zooms and blooms, programs that
say they are out of memory, the kernel's own lines about everything else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from oomsight.data import read_capture

SEED = 20261123
HOST = "web-07"
START = datetime(2026, 11, 1)  # noqa: DTZ001 - syslog has no zone
ORDINARY = 40_000  # different ordinary lines; they are drawn from again and again

_CLOCK = re.compile(r"^\[ *\d+\.\d+\] ?")
_SPLIT_RSS = re.compile(r"^(\[[ \w]+\](?: +\w+){4})(?: +\w+){3}")  # behind uid, tgid, total_vm and rss
_NAMES = (
    "systemd", "systemd-journal", "systemd-udevd", "dbus-daemon", "sshd", "cron", "rsyslogd", "containerd", "dockerd",
    "containerd-shim", "kubelet", "nginx", "php-fpm", "postgres", "mysqld", "redis-server", "java", "node", "python3",
    "gunicorn", "celery", "ruby", "prometheus", "node_exporter", "fluent-bit", "bash",
)  # fmt: skip


def report(rng: random.Random, tasks: int | None = None, *, columns: bool = True) -> list[str]:
    """
    One report as kernel messages, carriers taken off; *tasks* rows in its table (``None`` = as captured). Without
    *columns* the table does not say what resident memory is made of, as before 6.8.
    """
    messages = [_CLOCK.sub("", line) for line in read_capture(rng.choice(("tmpfs", "pod"))).splitlines() if line]
    head = next(i for i, line in enumerate(messages) if " invoked oom-killer" in line)
    last = next(i for i, line in enumerate(messages) if "illed process" in line)
    messages = messages[head : last + 1]
    victim = re.search(r"illed process (\d+) \(([^)]*)\)", messages[-1])
    assert victim is not None
    pid, name = victim[1], victim[2]
    if tasks is not None:
        first = next(i for i, line in enumerate(messages) if re.match(r"\[ *\d+\] ", line))
        have = sum(bool(re.match(r"\[ *\d+\] ", line)) for line in messages)
        messages[first:first] = [_row(rng, 200 + 7 * i) for i in range(max(0, tasks - have))]
    new_pid, new_name = str(rng.randrange(3000, 4_000_000)), rng.choice(_NAMES)
    size = rng.randrange(20_000, 60_000)
    if not columns:
        messages = [_SPLIT_RSS.sub(r"\1", line) if line.startswith("[") else line for line in messages]
    word = re.compile(rf"\b{pid}\b")
    return [
        re.sub(r"total-vm:\d+kB", f"total-vm:{size}kB", word.sub(new_pid, line).replace(name, new_name))
        for line in messages
    ]


def _row(rng: random.Random, pid: int) -> str:
    anon, file = rng.randrange(40, 2000), rng.randrange(0, 400)
    return (
        f"[{pid:7d}] {rng.choice((0, 33, 113, 1000)):5d} {pid:5d} {anon + file + 900:8d} {anon + file:8d} {anon:8d}"
        f" {file:8d} {0:9d} {4096 * rng.randrange(10, 60):8d} {0:8d} {0:13d} {rng.choice(_NAMES)[:15]}"
    )


def dmesg(messages: list[str], uptime: float) -> str:
    """*messages* as ``dmesg`` prints them."""
    return "".join(f"[{uptime + i / 5000:12.6f}] {line}\n" for i, line in enumerate(messages))


def syslog(messages: list[str], moment: datetime, uptime: float) -> str:
    """*messages* as rsyslog writes them."""
    stamp = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} {HOST} kernel: "
    return "".join(f"{stamp}[{uptime + i / 5000:12.6f}] {line}\n" for i, line in enumerate(messages))


def ordinary(rng: random.Random) -> str:
    """What stands behind the time and host of one line that is no concern of ours; one in 25 holds "oom"."""
    n, pid, ip = rng.randrange(1 << 20), rng.randrange(300, 99999), f"203.0.113.{rng.randrange(256)}"
    kernel = f"kernel: [{n}.{pid:06d}]"
    common = (
        f"sshd[{pid}]: Failed password for invalid user admin from {ip} port {n % 60000 + 1024} ssh2",
        f"sshd[{pid}]: Connection closed by authenticating user root {ip} port {n % 60000 + 1024} [preauth]",
        f"systemd[1]: Started session-{n}.scope - Session {n} of User deploy.",
        "systemd[1]: logrotate.service: Deactivated successfully.",
        "systemd[1]: Starting apt-daily.service - Daily apt download activities...",
        f"CRON[{pid}]: (root) CMD (test -x /usr/sbin/anacron || {{ cd / && run-parts --report /etc/cron.hourly; }})",
        f"{kernel} IPv6: ADDRCONF(NETDEV_CHANGE): veth{n:x}: link becomes ready",
        f"{kernel} TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.",
        f'{kernel} audit: type=1400 audit(1795427894.750:{n}): apparmor="ALLOWED" operation="open"',
        f'nginx[{pid}]: {ip} - - "POST /api/v2/orders/{n} HTTP/1.1" 201 {n % 5000} "-" "okhttp/4.12.0"',
        f'nginx[{pid}]: {ip} - - "GET /static/{n:x}.js HTTP/1.1" 304 0 "-" "Mozilla/5.0 (X11; Linux x86_64)"',
        f"postgres[{pid}]: LOG:  checkpoint complete: wrote {n} buffers (0.3%); 0 WAL file(s) added, 1 removed",
        f'dockerd[{pid}]: time="2026-11-23T09:58:14Z" level=info msg="ignoring event" container={n:064x}',
        f'kubelet[{pid}]: I1123 09:58:14.750231 {pid} kubelet.go:2421] "SyncLoop ADD" pods=["shop/cart-{n:x}"]',
        f"java[{pid}]: [GC (Allocation Failure) {n}K->{n % 9999}K({n + 4096}K), 0.0{n % 999} secs]",
        f"indexer[{pid}]: segment {n} rebuilt: {n} keys, memory {n % 512} MiB, process {pid} healthy",
    )
    alike = (
        f'nginx[{pid}]: {ip} - - "GET /room/{n}/photos?zoom={n % 20} HTTP/1.1" 200 {n} "-" "okhttp/4.12.0"',
        f"bookings[{pid}]: INFO room {n} confirmed, {n % 9} nights, processed in {n % 900} ms",
        f"indexer[{pid}]: bloom filter of segment {n}: 0.01 false positives, memory {n % 512} MiB",
    )
    return rng.choice(alike if rng.random() < 0.04 else common)


def lines(rng: random.Random, size: int, reports: int) -> Iterator[bytes]:
    """A syslog of about *size* bytes with *reports* reports spread evenly over it, in blocks."""
    pool = [ordinary(rng).encode() for _ in range(ORDINARY)]
    moment, made, told = START, 0, 0
    while made < size or told < reports:
        moment += timedelta(seconds=rng.randrange(1, 20))
        stamp = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S} {HOST} ".encode()
        # One stamp for some hundred lines: a second of a busy server.
        data = stamp + (b"\n" + stamp).join(rng.sample(pool, 400)) + b"\n"
        while told < reports and told * size <= made * reports:
            uptime = 1000 + (moment - START).total_seconds()
            data += syslog(report(rng, rng.randrange(8, 60)), moment, uptime + told % 7).encode()
            told += 1
        made += len(data)
        yield data


def write(path: Path, blocks: Iterator[bytes]) -> int:
    """Write *blocks* to *path*; return how many bytes."""
    with path.open("wb") as file:
        return sum(file.write(block) for block in blocks)


def only_reports(rng: random.Random, size: int, tasks: int = 110) -> Iterator[bytes]:
    """Nothing but reports of *tasks* tasks, about *size* bytes, as dmesg prints them."""
    made, uptime = 0, 100.0
    while made < size:
        uptime += rng.uniform(1.0, 900.0)
        data = dmesg(report(rng, tasks), uptime).encode()
        made += len(data)
        yield data
