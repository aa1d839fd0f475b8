"""The command that brings a missing library is one for the interpreter that runs."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from oomsight._extras import EXTRAS, command_for, how_to_get

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.mark.parametrize(("extra", "prefix", "place", "command"), [
    ("plot", "/home/a/.local/share/pipx/venvs/oomsight", {"in_venv": True, "has_pip": False}, "pipx inject oomsight pillow"),
    ("plot", "/srv/my app", {"in_venv": True}, "'/srv/my app/bin/python3' -m pip install pillow"),
    ("plot", "/srv/app", {"in_venv": True, "has_pip": False}, "uv pip install --python /srv/app/bin/python3 pillow"),
    ("audit", "/usr", {"managed": True, "debian": True}, "sudo apt install python3-yaml"),
    ("audit", "/usr", {"has_pip": False, "debian": True}, "sudo apt install python3-yaml"),
    ("parquet", "/usr", {"managed": True, "debian": True}, "/usr/bin/python3 -m pip install --user --break-system-packages pyarrow"),
    ("plot", "/usr", {"managed": True}, "/usr/bin/python3 -m pip install --user --break-system-packages pillow"),
    ("plot", "/opt/python", {}, "/opt/python/bin/python3 -m pip install pillow"),
])  # fmt: skip
def test_command_is_for_the_place(extra, prefix, place, command) -> None:
    known = {"in_venv": False, "has_pip": True, "managed": False, "debian": False} | place
    assert command_for(extra, f"{prefix}/bin/python3", prefix, **known) == command


def test_every_extra_has_its_library() -> None:
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for extra, (library, _) in EXTRAS.items():
        assert extra == library or any(need.startswith(library) for need in extras[extra]), extra


def test_command_for_this_interpreter_is_understood_by_it() -> None:
    words = shlex.split(how_to_get("plot"))
    if words[0] != sys.executable:
        pytest.skip(f"this interpreter is not asked by itself: {how_to_get('plot')}")
    done = subprocess.run([*words, "--dry-run", "--no-index", "--no-deps"], capture_output=True, text=True, check=False)
    assert "already satisfied" in done.stdout or "No matching distribution" in done.stderr, done
