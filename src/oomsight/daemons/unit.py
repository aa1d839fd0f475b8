"""The agent's systemd unit, made fit for this host: where the program lies, and which cgroups there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Final

UNIT: Final = "oomsight-agent.service"

_START: Final = "ExecStart=/usr/bin/oomsight agent\n"
_CGROUPS: Final = "ProtectControlGroups=yes\n"
_CGROUPS_V1: Final = """\
ProtectControlGroups=yes
# ... but for the memory controller of this host's cgroup v1: a notice is asked for by writing to cgroup.event_control.
ReadWritePaths=-/sys/fs/cgroup/memory
"""
_HIDDEN: Final = {"/home": "ProtectHome", "/root": "ProtectHome", "/run/user": "ProtectHome", "/tmp": "PrivateTmp",
                  "/var/tmp": "PrivateTmp"}  # fmt: skip
"""What the service does not see, and the line of the unit that hides it."""


def unit_text(command: Sequence[str], *, cgroup_v1: bool) -> str:
    """Return the unit with *command* (program and arguments, the program by its whole path) as ``ExecStart=``."""
    text = (files("oomsight.data") / UNIT).read_text(encoding="utf-8")
    start = f"ExecStart={' '.join(_quoted(word) for word in command)}\n"
    return text.replace(_START, start).replace(_CGROUPS, _CGROUPS_V1 if cgroup_v1 else _CGROUPS)


def hidden_words(paths: Sequence[str]) -> Iterator[str]:
    """Yield one line for each of *paths* that the service would not find."""
    for path in paths:
        for place, setting in _HIDDEN.items():
            if path.startswith(f"{place}/"):
                yield f"{path}: the service does not see {place} ({setting}=): put it elsewhere, /opt for instance"


def _quoted(word: str) -> str:
    """*word* as ``ExecStart=`` reads it (systemd.service(5)): specifiers, variables, quotes and spaces are text."""
    word = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{word}"' if not word or any(c.isspace() or c in "'\";" for c in word) else word
