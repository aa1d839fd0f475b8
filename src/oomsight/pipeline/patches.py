"""Files, recommendations -> unified diffs that ``patch -p1`` and ``git apply`` take."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import unified_diff
from typing import TYPE_CHECKING, Final

from oomsight.rightsize.patch import patch_manifest, patch_unit

if TYPE_CHECKING:
    from oomsight.rightsize.model import Advice

MOST_BYTES: Final = 32 << 20
_TEMPLATE: Final = re.compile(r"\{\{-?\s*[\w.$\"(]")  # Helm, Jinja
_UNIT: Final = re.compile(r".+\.(?:service|slice|scope|socket|mount)")


class PatchError(Exception):
    """The file cannot be patched; one line with its name."""


def patch_file(path: str, advices: Sequence[Advice]) -> tuple[str, list[str]]:
    """
    Return the diff for the file at *path* (empty = nothing to change) and remarks.

    A unit file or drop-in that does not exist yet is a new one. Raises :class:`PatchError` and :class:`OSError`.
    """
    unit = _unit_of(path)
    if unit is not None and not os.path.exists(path):
        text = ""
    else:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise PatchError(f"{path}: larger than 32 MiB: not a manifest")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PatchError(f"{path}: line {line}: not UTF-8") from None
    if unit is not None:
        result = patch_unit(text, unit, advices)
    else:
        from oomsight.sources.yaml_documents import YamlError, whole

        if (found := _TEMPLATE.search(text)) is not None:
            line = text.count("\n", 0, found.start()) + 1
            raise PatchError(f"{path}: line {line}: a template that is not rendered: helm template first")
        try:
            result = patch_manifest(text, whole(text), advices)
        except YamlError as error:
            raise PatchError(f"{path}: {error}") from None
    notes = [f"{path}: {note}" for note in result.notes]
    if not result.done and not result.notes:
        notes.append(f"{path}: names none of the containers and units known here")
    return _diff(path, text, result.text), notes


def _unit_of(path: str) -> str | None:
    """The unit a file is of: ``nginx.service``, ``nginx.service.d/50-memory.conf``; ``None`` = no unit file."""
    folder, name = os.path.split(os.path.abspath(path))
    parent = os.path.basename(folder)
    if name.endswith(".conf") and parent.endswith(".d"):
        return parent.removesuffix(".d")
    return name if _UNIT.fullmatch(name) else None


def _diff(path: str, before: str, after: str) -> str:
    if before == after:
        return ""
    shown = path.lstrip("/")
    old = f"a/{shown}" if before else "/dev/null"
    lines = unified_diff(before.splitlines(True), after.splitlines(True), old, f"b/{shown}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
