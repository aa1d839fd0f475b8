"""
What a missing library is called, and the command that brings it to the interpreter this program runs in.

``pip install`` is the right command only in some places: pipx and uv keep an environment that ``pip`` does not mean,
and a system's own Python refuses it (PEP 668) and wants the package of its distribution.
"""

from __future__ import annotations

import os
import shlex
import sys

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

EXTRAS: Final[Mapping[str, tuple[str, str | None]]] = {
    "agent": ("prometheus-client", "python3-prometheus-client"),
    "audit": ("PyYAML", "python3-yaml"),
    "click": ("click", "python3-click"),
    "notify": ("apprise", "apprise"),
    "parquet": ("pyarrow", None),
    "plot": ("pillow", "python3-pil"),
}
"""Extra of pyproject.toml (and click, which all of it needs) -> what PyPI and Debian call its library."""


def how_to_get(extra: str) -> str:
    """The command that installs what *extra* needs, for the interpreter that runs this."""
    from importlib.util import find_spec

    return command_for(
        extra, sys.executable, sys.prefix, in_venv=sys.prefix != sys.base_prefix, has_pip=find_spec("pip") is not None,
        managed=_managed(), debian=os.path.exists("/etc/debian_version"),
    )  # fmt: skip


def command_for(
    extra: str, python: str, prefix: str, *, in_venv: bool, has_pip: bool, managed: bool, debian: bool
) -> str:
    """
    The command. *prefix*: of the environment; *managed*: the system keeps pip away from it (PEP 668); *debian*: it has
    apt.
    """
    library, package = EXTRAS[extra]
    where, name = os.path.split(prefix.rstrip("/"))
    pip = f"{shlex.quote(python)} -m pip install"
    if where.endswith("/pipx/venvs"):
        return f"pipx inject {shlex.quote(name)} {library}"
    if in_venv:
        return f"{pip} {library}" if has_pip else f"uv pip install --python {shlex.quote(python)} {library}"
    if debian and package is not None and (managed or not has_pip):
        return f"sudo apt install {package}"
    if managed:
        return f"{pip} --user --break-system-packages {library}"
    return f"{pip} {library}"


def _managed() -> bool:
    import sysconfig

    return os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED"))
