"""Which files an audit reads: paths, directories and patterns -> tasks. Reads how files begin, nothing more."""

from __future__ import annotations

import glob
import mmap
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from oomsight.audit.sniff import BOUNDS, HEAD_BYTES, FileKind, kind_of, names_any
from oomsight.sources.errors import SourceError, from_os_error

SKIPPED_DIRECTORIES: Final = frozenset(
    {".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".terraform"}
)
_OVERRIDES: Final = {
    f"{base}.override.{ending}": tuple(f"{base}.{other}" for other in (ending, "yml", "yaml"))
    for base in ("docker-compose", "compose") for ending in ("yml", "yaml")
}  # fmt: skip
STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"
MAPPED_FROM_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Task:
    """Files that are audited together: a manifest; a compose file and its override; a unit and its drop-ins."""

    kind: FileKind
    paths: list[str]
    size_bytes: int = 0
    chart: str | None = None  #: directory of the Helm chart whose template this is
    bounds: bool = True  #: it may say what others are held against (limit ranges, quotas, what a ConfigMap tells)
    data: bytes | None = None  #: what came on standard input, which can be read once


@dataclass(slots=True)
class Found:
    """What the paths hold."""

    tasks: list[Task] = field(default_factory=list)
    files: int = 0  #: looked at
    unreadable: list[tuple[str, str]] = field(default_factory=list)  #: path, why
    failed: list[SourceError] = field(default_factory=list)  #: paths that were asked for and cannot be read
    charts: set[str] = field(default_factory=set)  #: directories of Helm charts with templates


def find(paths: Iterable[str], leave_out: Callable[[str], bool]) -> Found:
    """
    Return what there is to audit at *paths*: files, directories (all below them) and patterns.

    A path that does not exist, or a pattern that matches nothing, is in :attr:`Found.failed`; the rest is found.
    """
    finder = _Finder(leave_out)
    for path in paths:
        try:
            if path == STDIN:
                finder.stdin()
                continue
            for each in _expand(path):
                finder.path(each)
        except SourceError as error:
            finder.found.failed.append(error)
    finder.finish()
    return finder.found


def _expand(path: str) -> list[str]:
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(path):
        if matched := sorted(glob.glob(path, recursive=True)):
            return matched
        raise SourceError(path, "no file matches")
    raise SourceError(path, "no such file or directory")


class _Finder:
    def __init__(self, leave_out: Callable[[str], bool]) -> None:
        self.leave_out = leave_out
        self.found = Found()
        self.seen: set[tuple[int, int]] = set()  # files and directories, so that no loop of links is entered
        self.dropins: dict[str, list[Task]] = {}  # by name of the unit

    def stdin(self) -> None:
        """Take what comes on standard input."""
        if sys.stdin is None:
            raise SourceError(STDIN_NAME, "is closed")
        data = sys.stdin.buffer.read()
        self.found.tasks.insert(0, Task("yaml", [STDIN_NAME], len(data), data=data))
        self.found.files += 1

    def path(self, path: str) -> None:
        """Take a path the user gave."""
        try:
            info = os.stat(path)
        except OSError as error:
            raise from_os_error(path, error) from None
        if stat.S_ISDIR(info.st_mode):
            self.directory(path, info)
        elif stat.S_ISREG(info.st_mode):
            self.file(path, info, asked=True)
        else:
            raise SourceError(path, "is neither file nor directory", "a pipe: oomsight audit - < PIPE")

    def directory(self, path: str, info: os.stat_result) -> None:
        todo = [(path, info)]
        while todo:
            here, about = todo.pop()
            if (about.st_dev, about.st_ino) in self.seen:
                continue
            self.seen.add((about.st_dev, about.st_ino))
            try:
                with os.scandir(here) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.found.unreadable.append((here, (error.strerror or str(error)).lower()))
                continue
            below = []
            for entry in entries:
                where = os.path.join(here, entry.name)
                if self.leave_out(where):
                    continue
                try:
                    inner = entry.stat()
                except OSError as error:
                    if not entry.is_symlink():  # a link that leads nowhere is no file
                        self.found.unreadable.append((where, (error.strerror or str(error)).lower()))
                    continue
                if stat.S_ISDIR(inner.st_mode):
                    if entry.name not in SKIPPED_DIRECTORIES:
                        below.append((where, inner))
                elif stat.S_ISREG(inner.st_mode):
                    self.file(where, inner)
            todo.extend(reversed(below))

    def file(self, path: str, info: os.stat_result, asked: bool = False) -> None:
        if (info.st_dev, info.st_ino) in self.seen:
            return
        self.seen.add((info.st_dev, info.st_ino))
        self.found.files += 1
        folder, name = os.path.split(path)
        try:
            with open(path, "rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            if asked:
                raise from_os_error(path, error) from None
            self.found.unreadable.append((path, (error.strerror or str(error)).lower()))
            return
        kind = kind_of(name, os.path.basename(folder), head)
        if kind is None:
            return
        whole = info.st_size <= len(head)
        task = Task(kind, [path], info.st_size, bounds=not whole or names_any(head, BOUNDS))
        if kind == "dropin":
            self.dropins.setdefault(os.path.basename(folder).removesuffix(".d"), []).append(task)
            return
        if kind in {"yaml", "template"} and (chart := _chart_of(folder)) is not None:
            task.chart = chart
        self.found.tasks.append(task)

    def finish(self) -> None:
        """Put together what belongs together."""
        units: dict[str, list[Task]] = {}
        for task in self.found.tasks:
            if task.kind == "unit":
                units.setdefault(os.path.basename(task.paths[0]), []).append(task)
        for name, dropins in self.dropins.items():
            left = []
            for dropin in dropins:
                folder = os.path.dirname(dropin.paths[0])
                owners = [
                    task for unit in units if is_for(name, unit) for task in units[unit]
                    if _beside(task.paths[0], folder)
                ]  # fmt: skip
                if not owners and len(units.get(name, ())) == 1:
                    owners = units[name]
                for owner in owners:
                    owner.paths.append(dropin.paths[0])
                if not owners:
                    left.append(dropin)
            if left:
                first, *more = left
                first.paths += [task.paths[0] for task in more]
                self.found.tasks.append(first)
        for each in self.found.tasks:
            if each.kind == "unit":
                each.paths[1:] = in_order(each.paths[1:])
            elif each.kind == "dropin":
                each.paths[:] = in_order(each.paths)
        by_path = {task.paths[0]: task for task in self.found.tasks}
        for path, task in list(by_path.items()):
            folder, name = os.path.split(path)
            for base in _OVERRIDES.get(name, ()):
                overridden = by_path.get(os.path.join(folder, base))
                if overridden is not None:
                    overridden.paths.append(path)
                    self.found.tasks.remove(task)
                    break


def is_for(dropins: str, unit: str) -> bool:
    """
    Whether the drop-ins for *dropins* are for *unit*, too: ``service.d`` is for all services, ``web-.service.d`` for
    all whose name begins so (systemd.unit(5)).
    """
    stem, _, kind = unit.rpartition(".")
    base, _, ending = dropins.rpartition(".")
    return dropins in {unit, kind} or (ending == kind and base.endswith("-") and stem.startswith(base))


def _beside(unit: str, dropin_directory: str) -> bool:
    """Whether systemd reads *unit* and the drop-ins together: one directory, or directories of one search path."""
    here, there = os.path.dirname(unit), os.path.dirname(dropin_directory)
    if here == there:
        return True
    ends = [tuple(path.split(os.sep)[-2:]) for path in (here, there)]
    return ends[0] == ends[1] and ends[0] in {("systemd", "system"), ("systemd", "user")}


def in_order(paths: list[str]) -> list[str]:
    """Return drop-ins as systemd reads them: by file name; one in ``/etc`` replaces its namesake elsewhere."""
    by_name: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: "/etc/" in f"/{path}"):
        by_name[os.path.basename(path)] = path
    return [by_name[name] for name in sorted(by_name)]


def _chart_of(folder: str) -> str | None:
    """Return the directory of the Helm chart whose templates *folder* belongs to."""
    parts = folder.split(os.sep)
    for depth in range(len(parts) - 1, -1, -1):
        if parts[depth] == "templates":
            chart = os.sep.join(parts[:depth]) or ("." if not folder.startswith(os.sep) else os.sep)
            if os.path.exists(os.path.join(chart, "Chart.yaml")):
                return chart
    return None


@contextmanager
def content(path: str, data: bytes | None = None) -> Iterator[bytes | mmap.mmap]:
    """
    Give the bytes of a file, or *data* where it was read before; one bigger than a document may be is mapped, so that
    it takes no memory of ours.
    """
    if data is not None:
        yield data
        return
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= MAPPED_FROM_BYTES:
            yield file.read(MAPPED_FROM_BYTES + 1)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped
