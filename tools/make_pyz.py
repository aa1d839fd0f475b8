#!/usr/bin/env python3
"""
Build the one-file program: ``python tools/make_pyz.py dist/oomsight.pyz``.

The file holds this package and click, nothing compiled and nothing to install: copy it to a host that is in trouble
and run it with its python3. The same input gives the same bytes: sorted names, one fixed date, no paths of this
machine. Modules are also stored compiled for the Python that builds, which starts faster there; any other Python from
3.11 on ignores those and compiles the sources.
"""

from __future__ import annotations

import os
import py_compile
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).resolve().parents[1] / "src"
BUNDLED = ("click",)
"""Distributions that go in besides our own package; pure Python only."""

SHEBANG = b"#!/usr/bin/env python3\n"
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip file can hold

# Old Pythons must be able to compile this one file, to say why they cannot do more.
MAIN = b"""\
import sys
if sys.version_info < (3, 11):
    sys.exit("oomsight needs Python 3.11 or newer; this is %d.%d" % sys.version_info[:2])
from oomsight.cli.entry import main
main()
"""


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield every file that goes in, by its name in the archive."""
    yield "__main__.py", MAIN
    for path in (SOURCE / "oomsight").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(SOURCE).as_posix(), path.read_bytes()
    for name in BUNDLED:
        for file in distribution(name).files or ():
            path, inside = Path(str(file.locate())), file.as_posix()
            if inside.endswith((".so", ".pyd")):
                raise SystemExit(f"make_pyz: {inside} is compiled; {name} cannot go into one file")
            if "__pycache__" not in inside and not inside.startswith("..") and _wanted(inside):
                yield inside, path.read_bytes()


def _wanted(inside: str) -> bool:
    """Of a distribution: its modules, its licence, and METADATA (click asks for its own version)."""
    return inside.endswith((".py", "METADATA", "LICENSE", "LICENSE.txt"))


def compiled(name: str, data: bytes, folder: Path) -> bytes:
    """Return the module *data* as the ``.pyc`` that zipimport takes without looking at the source's date."""
    source, target = folder / "module.py", folder / "module.pyc"
    source.write_bytes(data)
    # By hash, and never checked: source and code are in one archive and cannot part.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), str(target), dfile=name, doraise=True, invalidation_mode=mode)
    return target.read_bytes()


def build(target: Path) -> None:
    """Write the archive to *target*, executable; a half-written one never stands there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    files = dict(contents())
    with TemporaryDirectory() as folder:
        for name in [name for name in files if name.endswith(".py") and name != "__main__.py"]:
            files[name + "c"] = compiled(name, files[name], Path(folder))
    try:
        with part.open("wb") as out:
            out.write(SHEBANG)
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                for name in sorted(files):
                    entry = zipfile.ZipInfo(name, DATE)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = 0o644 << 16
                    archive.writestr(entry, files[name])
        part.chmod(0o755)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_pyz.py FILE")
    build(Path(sys.argv[1]))
