"""The command lines, environments and configuration files of running programs whose memory can be estimated."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.configs.kinds import KINDS
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.live import Read, argv_of, config_paths, runtime_of, told_settings
from oomsight.record.cmdline import MASK, masked_words
from oomsight.sources.procread import read_if_there

if TYPE_CHECKING:
    from oomsight.proc.process import Process

HEAD_BYTES: Final = 64 << 10
MAX_CONFIG_BYTES: Final = 1 << 20
MAX_CONFIGS: Final = 50
_GO: Final = re.compile(rb"Go build ID: |\x04\x00\x00\x00.{4}\x04\x00\x00\x00Go\x00\x00", re.DOTALL)
_JAVA_VERSION: Final = re.compile(r'^JAVA_VERSION="([^"]+)"', re.MULTILINE)


def read_programs(processes: Iterable[Process], proc: str = "/proc") -> tuple[list[Read], int]:
    """Return those of *processes* whose runtime is known, and how many environments could not be read."""
    found: list[Read] = []
    denied = 0
    for process in processes:
        if process.stat.is_kthread or process.stat.is_exiting or not process.stat.vsize_bytes:
            continue
        folder = f"{proc}/{process.stat.pid}"
        # What is shown of it may be shared: secrets are masked before anybody sees them.
        argv = tuple(masked_words(argv_of(read_if_there(f"{folder}/cmdline") or "")))
        if not argv:
            continue
        runtime = runtime_of(argv)
        env: dict[str, str] | None = None
        if runtime is None:
            env = _environment(folder)
            # A child inherits GOMEMLIMIT; only a Go binary reads it.
            if not env or runtime_of(argv, env) != "go" or not _is_go(folder):
                continue
            runtime = "go"
        if env is None:
            env = _environment(folder)
            denied += env is None
        config, name = _config(folder, runtime, argv, env or {})
        release = _java_release(folder) if runtime in {"jvm", "elasticsearch"} else None
        found.append(Read(process, argv, runtime, env or {}, release, config, name))
    return found, denied


def _environment(folder: str) -> dict[str, str] | None:
    text = read_if_there(f"{folder}/environ")
    if text is None:
        return None
    found = {}
    for row in text.split("\0"):
        name, given, value = row.partition("=")
        if given:
            secret = masked_words(["", f"{name}=x"])[1] != f"{name}=x"
            found[name] = MASK if secret else " ".join(masked_words(["", *value.split(" ")])[1:])
    return found


def _is_go(folder: str) -> bool:
    try:
        with open(f"{folder}/exe", "rb") as file:
            return _GO.search(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def _java_release(folder: str) -> str | None:
    """The file ``release`` of the Java home: two directories above the program."""
    try:
        home = os.path.dirname(os.path.dirname(os.readlink(f"{folder}/exe")))
    except OSError:
        return None
    found = _JAVA_VERSION.search(read_if_there(f"{folder}/root{home}/release") or "")
    return found[1] if found else None


def _config(folder: str, runtime: str, argv: tuple[str, ...], env: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the settings of the configuration files of a program, and their names; what cannot be read is left out."""
    kind = next((kind for kind in KINDS if kind.runtime == runtime), None)
    settings: dict[str, str] = {}
    names = []
    if kind is not None:
        for path in _expanded(folder, config_paths(runtime, argv, env)):
            text = _text(path)
            if text is not None:
                read = read_config_file(kind, path, text).settings
                if read:
                    settings |= read
                    names.append(path.removeprefix(f"{folder}/root"))
    told = told_settings(runtime, argv)
    places = [*names[:3], *(["command line"] if told or not names else [])]
    return settings | told, ", ".join(places)


def _expanded(folder: str, patterns: tuple[str, ...]) -> Iterator[str]:
    """Yield the files of *patterns* as the process sees them: below its own root."""
    root = glob.escape(f"{folder}/root")
    for pattern in patterns:
        inside = pattern if pattern.startswith("/") else f"/../cwd/{pattern}"
        yield from sorted(glob.glob(root + inside))[:MAX_CONFIGS]


def _text(path: str) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read(MAX_CONFIG_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None
