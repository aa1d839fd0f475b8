"""
Everything a guest is made of: kernel and modules, its first root file system, a disk with Python, and the product.

Fetched and built below the work directory, each part once: :func:`kernel` and :func:`userland` look whether their
result is there. The rig's own files and the product go in freshly at every run, so what runs is what is in the tree.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmtest import cpio, kmod
from vmtest.debian import Suite, resolve
from vmtest.paths import KERNELS, PRODUCT, REPOSITORY, RIG, USERLAND_IMAGE, WORK

if TYPE_CHECKING:
    from vmtest.conf import Kernel

GUEST_PYTHON: Final = (3, 11)
_USERLAND_SUITE: Final = "bookworm"
_USERLAND_PACKAGES: Final = ("python3", "util-linux")
_USERLAND_MIB: Final = 200
_BUSYBOX: Final = Path("/bin/busybox")


def kernel(wanted: Kernel) -> Path:
    """The directory of an unpacked kernel (``vmlinuz``, ``modules.cpio``, ``origin.json``), fetched when missing."""
    home = KERNELS / wanted.label
    if (home / "vmlinuz").exists():
        return home
    suite = Suite(WORK, wanted.suite)
    packages = resolve(wanted, suite.names())
    print(f"fetch kernel {wanted.label}: {' '.join(packages)}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        tree = Path(scratch) / "tree"
        debs = suite.unpack(packages, tree)
        home.mkdir(parents=True, exist_ok=True)
        (home / "modules.cpio").write_bytes(cpio.archive(module_entries(tree)))
        origin = [{"file": deb.file, "size_bytes": deb.size_bytes, "sha256": deb.sha256} for deb in debs]
        (home / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")
        image = next(path for path in sorted(tree.rglob("vmlinuz*")) if path.is_file() and not path.is_symlink())
        shutil.move(image, home / "vmlinuz")  # last: its presence says that the rest is there
    return home


def module_entries(tree: Path) -> Iterator[cpio.Entry]:
    """``/mods``: for each group the modules it needs and ``GROUP.list`` with their names in the order of loading."""
    read = kmod.reader(tree)
    yield cpio.directory("mods")
    for group, wanted in kmod.GROUPS.items():
        images = kmod.load_order(wanted, read)
        if group == "base" or group in images:
            yield cpio.regular(f"mods/{group}.list", "".join(f"{name}.ko\n" for name in images).encode())
        yield from (cpio.regular(f"mods/{name}.ko", image) for name, image in images.items())


def guest_entries(programs: Path, applets: list[str]) -> Iterator[cpio.Entry]:
    """The guest's root: busybox under its names, our two programs, the init script and the scenarios."""
    for name in ("bin", "sbin", "lib", "proc", "sys", "dev", "mnt", "tmp", "out", "etc", "scenarios"):
        yield cpio.directory(name)
    yield cpio.regular("bin/busybox", _BUSYBOX.read_bytes(), 0o755)
    yield from (cpio.link(f"bin/{applet}", "busybox") for applet in applets if applet != "busybox")
    for program in ("hog", "snap"):
        yield cpio.regular(f"bin/{program}", (programs / program).read_bytes(), 0o755)
    yield cpio.regular("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    yield cpio.regular("init", (RIG / "guest/init").read_bytes(), 0o755)
    yield cpio.regular("lib/guest.sh", (RIG / "guest/guest.sh").read_bytes())
    for path in sorted((RIG / "scenarios").glob("*.sh")):
        yield cpio.regular(f"scenarios/{path.name}", path.read_bytes())


def guest() -> bytes:
    """Compile the guest's programs and archive its root."""
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        for program in ("hog", "snap"):
            subprocess.run(
                ["gcc", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-s", "-o", f"{scratch}/{program}",
                 RIG / "guest" / f"{program}.c"],
                check=True,
            )  # fmt: skip
        applets = subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        return cpio.archive(guest_entries(Path(scratch), applets))


def _precompile(tree: Path) -> None:
    """Byte code beside the sources, to be trusted unseen: compiling takes the emulated guest tens of seconds."""
    if sys.version_info[:2] != GUEST_PYTHON:
        print(f"not Python {GUEST_PYTHON[0]}.{GUEST_PYTHON[1]}: the guest has to compile for itself", file=sys.stderr)
        return
    compileall.compile_dir(
        tree, quiet=2, stripdir=str(tree), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def userland() -> Path:
    """The disk image with Python and util-linux, built when missing."""
    if USERLAND_IMAGE.exists():
        return USERLAND_IMAGE
    print(f"build userland: {' '.join(_USERLAND_PACKAGES)} of {_USERLAND_SUITE}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        tree = Path(scratch) / "tree"
        skeleton = Path(scratch) / "skeleton"
        for name in ("bin", "sbin", "lib", "lib64"):  # merged /usr before the packages that rely on it
            (skeleton / "usr" / name).mkdir(parents=True)
            (skeleton / name).symlink_to(f"usr/{name}")
        Suite(WORK, _USERLAND_SUITE).unpack(_USERLAND_PACKAGES, tree, with_dependencies=True, skeleton=skeleton)
        for name in ("doc", "man", "locale", "info", "bash-completion", "i18n", "zoneinfo"):
            shutil.rmtree(tree / "usr/share" / name, ignore_errors=True)
        for name in ("dev", "proc", "sys", "tmp", "product"):
            (tree / name).mkdir(exist_ok=True)
        _precompile(tree / "usr/lib/python3.11")
        image = Path(scratch) / "userland.img"
        how = ("-t", "ext4", "-O", "^has_journal", "-d", tree)
        subprocess.run(["mke2fs", "-q", *how, image, f"{_USERLAND_MIB}M"], stdout=subprocess.DEVNULL, check=True)
        image.rename(USERLAND_IMAGE)
    return USERLAND_IMAGE


def requirements(pyproject: str) -> tuple[str, ...]:
    """The product's run-time dependencies, from the text of its pyproject.toml."""
    return tuple(tomllib.loads(pyproject)["project"]["dependencies"])


def product() -> bytes:
    """``/product`` of the guest: the package from the tree and its dependencies from pip, precompiled."""
    wanted = requirements((REPOSITORY / "pyproject.toml").read_text())
    wheels = WORK / "wheels" / (re.sub(r"[^\w.]+", "_", " ".join(sorted(wanted))) or "none")
    if wanted and not wheels.exists():
        python = f"{GUEST_PYTHON[0]}.{GUEST_PYTHON[1]}"
        fresh = wheels.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        how = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--python-version", python)
        subprocess.run([sys.executable, "-m", "pip", "install", *how, "--target", fresh, *wanted], check=True)
        fresh.rename(wheels)
    with tempfile.TemporaryDirectory(dir=WORK) as scratch:
        tree = Path(scratch) / "product"
        if wanted:
            shutil.copytree(wheels, tree, ignore=shutil.ignore_patterns("__pycache__", "bin", "*.dist-info"))
        shutil.copytree(PRODUCT, tree / "oomsight", ignore=shutil.ignore_patterns("__pycache__", "captures"))
        _precompile(tree)
        return cpio.archive(cpio.walk(tree, "product"))
