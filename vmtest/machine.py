"""One guest from power-on to the end: QEMU's command line, the watch over the run, and what it sent home."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from vmtest.paths import PATIENCE, WORK

if TYPE_CHECKING:
    from vmtest.conf import Scenario

QEMU: Final = "qemu-system-x86_64"
PRODUCT_MIB: Final = 128
"""RAM added for Python when the product runs in the guest."""
BOOT_ATTEMPTS: Final = 3
_POLL_SECONDS: Final = 0.2

Ended = Literal["end", "panic", "unsupported", "died", "timeout", "cut"]
"""``end``: in order; ``panic``: of the kernel; ``unsupported``: this kernel cannot; ``cut``: without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What QEMU is told; sizes in MiB."""

    kernel: Path
    initrd: Path
    scenario: Scenario
    console: Path  #: file that takes the serial console
    port: Path  #: file that takes what the guest sends
    swap: Path | None = None
    userland: Path | None = None  #: disk with Python; with it the product runs in the guest


@dataclass(slots=True, kw_only=True)
class Run:
    """A finished run."""

    ended: Ended
    reason: str | None  #: the guest's own words for ``unsupported`` and ``died``
    console: bytes
    files: Mapping[str, bytes] = field(default_factory=dict)  #: what the guest sent
    boot_seconds: float | None = None  #: wall time from power-on to /init; ``None`` = never got there
    wall_seconds: float = 0.0
    qemu: str = ""  #: what QEMU itself printed


def kernel_arguments(scenario: Scenario) -> str:
    """The kernel command line: the guest's init reads the ``vmtest.`` words."""
    words = ["console=ttyS0", "panic=-1", "rdinit=/init", f"vmtest.scenario={scenario.name}"]
    if scenario.domain is not None:
        words.append(f"vmtest.domain={scenario.domain}")
    if not scenario.predict:
        words.append("vmtest.predict=no")
    if scenario.append:
        words.append(scenario.append)
    return " ".join(words)


def command(machine: Machine) -> list[str]:
    """The command line of QEMU: software emulation only, so that the rig runs wherever Python does."""
    scenario = machine.scenario
    mem_mib = scenario.mem_mib + (PRODUCT_MIB if machine.userland else 0)
    # cx16 off: QEMU 7.2 corrupts EFLAGS around an emulated cmpxchg16b now and then, and the guest dies while booting.
    # One CPU: its clock counts instructions, so that a busy host makes a run take longer, but nothing in it later.
    clock = ["-accel", "tcg", "-icount", "shift=2,sleep=off"] if scenario.smp == 1 else ["-accel", "tcg,thread=multi"]
    words = [QEMU, *clock, "-M", "q35", "-cpu", "qemu64,-cx16", "-m", f"{mem_mib}M",
             "-smp", str(scenario.smp), "-nodefaults", "-display", "none", "-no-reboot",
             "-kernel", str(machine.kernel), "-initrd", str(machine.initrd), "-append", kernel_arguments(scenario),
             "-chardev", f"file,id=console,path={machine.console}", "-serial", "chardev:console",
             "-device", "virtio-serial-pci", "-chardev", f"file,id=port,path={machine.port}",
             "-device", "virtserialport,chardev=port,name=port"]  # fmt: skip
    for node in range(scenario.numa_nodes or 0):
        share_mib = mem_mib // (scenario.numa_nodes or 1)
        cpu = f",cpus={node}" if node < scenario.smp else ""
        words += ["-object", f"memory-backend-ram,id=node{node},size={share_mib}M",
                  "-numa", f"node,nodeid={node},memdev=node{node}{cpu}"]  # fmt: skip
    disks = (("swap", machine.swap, "cache=unsafe"), ("userland", machine.userland, "readonly=on"))
    for serial, path, how in disks:  # the guest finds them by their serial number
        if path is not None:
            words += ["-drive", f"file={path},format=raw,if=none,id={serial},{how}",
                      "-device", f"nvme,drive={serial},serial={serial}"]  # fmt: skip
    return words


def unpack(port: bytes) -> dict[str, bytes]:
    """
    The files the guest sent, as tar after tar. A file that came again replaces the earlier one, except notes, which add
    up; a last archive that was cut off by the end of the guest gives what it has.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(port), ignore_zeros=True) as archive:
            for member in archive:
                data = archive.extractfile(member) if member.isfile() else None
                if data is not None:
                    name = member.name.removeprefix("./")
                    earlier = files.get(name, b"") if name == "notes.txt" else b""
                    files[name] = earlier + data.read()
    except (tarfile.TarError, EOFError, OSError):
        pass
    return files


_WORD: Final = re.compile(rb"^VMTEST (END|UNSUPPORTED|DIE)(?: (.*))?$", re.M)


def ending(console: bytes, *, timed_out: bool) -> tuple[Ended, str | None]:
    """How a run ended, by what is on the console."""
    match = _WORD.search(console)
    if match is not None:
        word: dict[bytes, Ended] = {b"END": "end", b"UNSUPPORTED": "unsupported", b"DIE": "died"}
        return word[match[1]], match[2].decode(errors="replace") if match[2] else None
    if b"Kernel panic - not syncing" in console:
        return "panic", None
    return ("timeout" if timed_out else "cut"), None


def boot(
    scenario: Scenario, kernel: Path, initrd_parts: Sequence[bytes], userland: Path | None, *, attempts: int
) -> Run:
    """Boot, wait for the end, collect. One that never reaches its init is started again, ``attempts`` times in all."""
    for attempt in range(1, attempts + 1):
        run = _boot_once(scenario, kernel, initrd_parts, userland)
        if run.boot_seconds is not None or attempt == attempts:
            break
    return run


def _boot_once(scenario: Scenario, kernel: Path, initrd_parts: Sequence[bytes], userland: Path | None) -> Run:
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        place = Path(scratch)
        initrd, console, port = place / "initrd", place / "console", place / "port"
        initrd.write_bytes(b"".join(initrd_parts))
        swap = None
        if scenario.swapdisk_mib is not None:
            swap = place / "swap"
            with swap.open("wb") as file:
                file.truncate(scenario.swapdisk_mib << 20)
        words = command(Machine(kernel=kernel, initrd=initrd, scenario=scenario, console=console, port=port, swap=swap,
                                userland=userland))  # fmt: skip
        began, boot_seconds, timed_out = time.monotonic(), None, False
        with (
            (place / "qemu").open("wb+") as log,
            subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as qemu,
        ):
            try:
                while qemu.poll() is None and not timed_out:
                    if boot_seconds is None and console.exists() and b"VMTEST INIT" in console.read_bytes():
                        boot_seconds = time.monotonic() - began
                    timed_out = time.monotonic() - began > scenario.timeout_seconds * PATIENCE
                    time.sleep(_POLL_SECONDS)
            finally:
                qemu.kill()  # no effect on one that has ended
            qemu.wait()
            log.seek(0)
            said = log.read().decode(errors="replace")
        text = (console.read_bytes() if console.exists() else b"").replace(b"\r\n", b"\n")
        ended, reason = ending(text, timed_out=timed_out)
        return Run(
            ended=ended, reason=reason, console=text, files=unpack(port.read_bytes() if port.exists() else b""),
            boot_seconds=boot_seconds, wall_seconds=time.monotonic() - began, qemu=said,
        )  # fmt: skip
