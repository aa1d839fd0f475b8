"""
Debian packages without touching the host: a private apt root per suite, every download checked by SHA-256.

apt itself verifies the signature of the index; the checksums compared here are those of that index. Nothing is
installed: packages are unpacked below the work directory.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vmtest.conf import ConfError, Kernel

_MIRROR: Final = os.environ.get("OOMSIGHT_VMTEST_MIRROR", "http://deb.debian.org/debian")
_SECURITY: Final = os.environ.get("OOMSIGHT_VMTEST_SECURITY", "http://deb.debian.org/debian-security")
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Deb(NamedTuple):
    """One file of the mirror, as the signed index describes it."""

    file: str
    size_bytes: int
    sha256: str


_URI: Final = re.compile(r"'\S+' (\S+\.deb) (\d+) SHA256:([0-9a-f]{64})")


def parse_uris(text: str) -> tuple[Deb, ...]:
    """What ``apt-get --print-uris`` printed: files with the size and SHA-256 of the Packages index."""
    return tuple(Deb(m[1], int(m[2]), m[3]) for m in map(_URI.match, text.splitlines()) if m)


def parse_plan(text: str) -> list[str]:
    """Names of the packages that ``apt-get --simulate install`` would install."""
    return [fields[1] for fields in map(str.split, text.splitlines()) if fields[:1] == ["Inst"]]


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key under which ``6.1.0-9`` comes before ``6.1.0-56``."""
    return tuple((int(digits or -1), rest) for digits, rest in re.findall(r"(\d*)(\D*)", name))


def resolve(kernel: Kernel, names: Iterable[str]) -> tuple[str, ...]:
    """
    The packages of a row of ``kernels.conf`` among the names of the index: the newest release that has all of them.
    Raises :class:`ConfError` when there is none.
    """
    have = set(names)
    first, *others = kernel.packages
    head, star, tail = first.partition("*")
    for name in sorted(fnmatch.filter(have, first), key=natural_key, reverse=True):
        version = name[len(head) : len(name) - len(tail)] if star else ""
        packages = (name, *(other.replace("*", version) for other in others))
        if have.issuperset(packages):
            return packages
    raise ConfError(f"kernel {kernel.label}: {kernel.suite} has no {','.join(kernel.packages)}; edit kernels.conf")


class Suite:
    """A Debian suite behind a private apt root in ``work``; the index is fetched on first use."""

    def __init__(self, work: Path, suite: str) -> None:
        self._root = work / "apt" / suite
        self._uri = _SECURITY if suite.endswith("-security") else _MIRROR
        self._suite = suite

    def _apt(self, tool: str, *args: str, cwd: Path | None = None) -> str:
        root = self._root
        options = {
            "Dir::State": root / "state", "Dir::State::status": root / "state/status", "Dir::Cache": root / "cache",
            "Dir::Etc::sourcelist": root / "sources.list", "Dir::Etc::sourceparts": "-", "Dir::Etc::main": "-",
            "Dir::Etc::parts": "-", "APT::Architecture": "amd64", "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
        }  # fmt: skip
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        done = subprocess.run([tool, "-qq", *flags, *args], cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfError(f"{tool} {' '.join(args)} ({self._suite}): {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def update(self) -> None:
        """Fetch the signed index, once; ``refresh`` of the rig removes the work directory's ``apt``."""
        root = self._root
        for part in ("state/lists/partial", "cache/archives/partial"):
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "state/status").touch()
        (root / "sources.list").write_text(f"deb [arch=amd64 signed-by={_KEYRING}] {self._uri} {self._suite} main\n")
        if not any((root / "state/lists").glob("*Packages*")):
            self._apt("apt-get", "update")

    def names(self) -> list[str]:
        """Names of all packages of the suite."""
        self.update()
        return self._apt("apt-cache", "pkgnames").split()

    def unpack(
        self, packages: Sequence[str], into: Path, *, with_dependencies: bool = False, skeleton: Path | None = None
    ) -> tuple[Deb, ...]:
        """Download packages, check each against the index, unpack them into ``into``, a new copy of ``skeleton``."""
        self.update()
        debs_dir = self._root / "debs"
        shutil.rmtree(debs_dir, ignore_errors=True)
        shutil.rmtree(into, ignore_errors=True)
        debs_dir.mkdir()
        if skeleton is None:
            into.mkdir(parents=True)
        else:
            shutil.copytree(skeleton, into, symlinks=True)
        names = list(packages)
        if with_dependencies:  # the private root has nothing installed, so this is the whole closure
            plan = self._apt("apt-get", "--simulate", "--no-install-recommends", "install", *packages)
            names = parse_plan(plan)
        debs = parse_uris(self._apt("apt-get", "--print-uris", "download", *names))
        self._apt("apt-get", "download", *names, cwd=debs_dir)
        if len(debs) != len(names):
            raise ConfError(f"{self._suite}: the index has no SHA-256 for one of {' '.join(names)}")
        for deb in debs:
            path = debs_dir / deb.file
            check(path, deb)
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE) as tar:
                subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", into], stdin=tar.stdout, check=True)
        shutil.rmtree(debs_dir)
        return debs


def check(path: Path, deb: Deb) -> None:
    """Raises :class:`ConfError` unless the file is byte for byte what the index promised."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != deb.sha256 or path.stat().st_size != deb.size_bytes:
        raise ConfError(f"{path.name}: SHA-256 {found}, the index says {deb.sha256}; nothing of it is used")
