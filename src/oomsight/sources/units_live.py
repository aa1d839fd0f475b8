"""Loaded units by ``systemctl show``, or, where systemd cannot be asked, the units that lie in its directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.units.live import PROPERTIES, Loaded, parse_show
from oomsight.sources.audit_files import in_order, is_for
from oomsight.sources.errors import SourceError
from oomsight.sources.procread import read_if_there
from oomsight.sources.program import Program, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomsight.proc.memcg import Memcg

DIRECTORIES: Final = (
    "/etc/systemd/system", "/run/systemd/system", "/etc/systemd/system.control", "/run/systemd/system.control",
    "/run/systemd/transient", "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
    "/lib/systemd/system",
)  # fmt: skip
"""Where units are (systemd.unit(5)); of two files with one name the first counts."""

KINDS: Final = (".service", ".slice", ".scope")
MAX_TEXT_BYTES: Final = 1 << 20


def loaded_units(root: str, cgroups: Mapping[str, Memcg]) -> tuple[list[Loaded], bool]:
    """
    Return the units of the host below *root*, and whether systemd itself was asked. *cgroups* are joined to them.

    :raises SourceError: systemd cannot be asked, and no unit lies there either
    """
    program = find("systemctl") if os.path.realpath(root) == "/" and os.path.isdir("/run/systemd/system") else None
    if program is not None:
        run = Program([
            program, "show", "--no-pager", f"--property={','.join(PROPERTIES)}", "--",
            *(f"*{kind}" for kind in KINDS),
        ])  # fmt: skip
        shown = parse_show(b"".join(run).decode("utf-8", "surrogateescape"))
        if shown:
            return [Loaded(block, cgroups.get(block.get("ControlGroup") or "?")) for block in shown], True
    found = [Loaded(block) for block in _lying(root)]
    if not found:
        raise SourceError("systemd", "cannot be asked and has no units here")
    return found, False


def _lying(root: str) -> Iterator[dict[str, str]]:
    """Yield the units in the directories as ``systemctl show`` would name their files."""
    units: dict[str, str] = {}
    dropins: dict[str, dict[str, str]] = {}
    for directory in DIRECTORIES:
        for name, path in _entries(root, directory):
            if name.endswith(KINDS):
                units.setdefault(name, path)
            elif name.endswith(".d") and name.removesuffix(".d").rpartition(".")[2] in {kind[1:] for kind in KINDS}:
                for inner, below in _entries(root, path):
                    if inner.endswith(".conf"):
                        dropins.setdefault(name.removesuffix(".d"), {}).setdefault(inner, below)
    for name, path in sorted(units.items()):
        real = os.path.realpath(_below(root, path))
        if real == "/dev/null" or os.path.basename(real) != name:  # masked; or a link: an alias, a template's instance
            continue
        paths = in_order([place for of, rows in dropins.items() if is_for(of, name) for place in rows.values()])
        yield {"Id": name, "FragmentPath": path, "DropInPaths": " ".join(paths)}


def _entries(root: str, directory: str) -> list[tuple[str, str]]:
    try:
        return [(name, f"{directory}/{name}") for name in sorted(os.listdir(_below(root, directory)))]
    except OSError:
        return []


def _below(root: str, path: str) -> str:
    return path if root in {"/", ""} else os.path.join(root, path.lstrip("/"))


def texts_of(root: str, unit: Loaded) -> list[tuple[str, str]]:
    """Return path and text of each file of *unit* that can be read; what is too big for a unit is left out."""
    found = []
    for path in unit.files:
        text = read_if_there(_below(root, path))
        if text is not None and len(text) <= MAX_TEXT_BYTES:
            found.append((path, text))
    return found
