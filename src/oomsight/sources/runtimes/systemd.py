"""
systemd: login sessions and users (from /run, no bus needed), and the last state of a unit (``systemctl show``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from oomsight.attribute.memory import Key, Observation
from oomsight.attribute.model import Names
from oomsight.sources.errors import SourceError
from oomsight.sources.program import Program, find
from oomsight.sources.runtimes.places import Places, key_values, listed, read_text
from oomsight.why.evidence import Subject

UNIT_SUFFIXES: Final = (".service", ".scope", ".slice", ".socket", ".mount", ".swap", ".timer", ".target", ".path")

PROPERTIES: Final = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "ControlGroup", "ExecMainPID", "ExecMainCode",
    "ExecMainStatus", "ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic", "ActiveEnterTimestampMonotonic", "NRestarts",
)  # fmt: skip

_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = 1, 2, 3  # ExecMainCode is si_code of waitid(2)
_SESSION: Final = re.compile(r"c?\d{1,10}")


def observe_sessions(places: Places, now: float) -> Iterator[Observation]:
    """Yield logind's sessions and the login names of all users; raises :class:`SourceError` without logind."""
    users = {}
    for line in (read_text(places.path("etc/passwd")) or "").split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isascii() and fields[2].isdigit():
            users[int(fields[2])] = fields[0]
            yield Observation(Key("user", fields[2]), Names(user=fields[0], uid=int(fields[2])), now)
    folder = places.path("run/systemd/sessions")
    try:
        names = listed(folder)
    except SourceError as error:
        raise SourceError(folder, error.what, "run on the host, or --root with the host's /run") from None
    for name in names:
        if not _SESSION.fullmatch(name):
            continue
        found = key_values(f"{folder}/{name}")
        uid = int(found["UID"]) if found.get("UID", "").isdigit() else None
        user = found.get("USER") or users.get(uid if uid is not None else -1)
        since = int(found["REALTIME"]) / 1e6 if found.get("REALTIME", "").isdigit() else None
        yield Observation(Key("session", name), Names(user=user, uid=uid), now, since)


def unit_name(text: str) -> str:
    """Return *text* as a unit name: ``nginx`` is ``nginx.service``."""
    return text if text.endswith(UNIT_SUFFIXES) else f"{text}.service"


def show_unit(places: Places, unit: str) -> dict[str, str]:
    """Return the properties of *unit*; raises :class:`SourceError` when systemd cannot be asked."""
    program = find("systemctl") if places.programs else None
    if program is None:
        why = "is not installed" if places.programs else "cannot be asked about another root"
        raise SourceError("systemctl", why)
    run = Program([program, "show", f"--property={','.join(PROPERTIES)}", "--", unit])
    lines = b"".join(run).decode("utf-8", "surrogateescape").split("\n")
    found = dict(line.partition("=")[::2] for line in lines if "=" in line)
    if not found:
        raise SourceError("systemctl", run.complaint or "says nothing", "run where systemd runs")
    return found


def subject_of(found: Mapping[str, str], asked: str, now: float, monotonic: float) -> Subject | None:
    """
    Return the last known state that *found* (``systemctl show``) describes; ``None`` = there is no such unit.

    *now* and *monotonic* are the two clocks at one moment: systemd's monotonic stamps become unix seconds.
    """
    if found.get("LoadState") in {None, "not-found"} and not _number(found, "ExecMainStartTimestampMonotonic"):
        return None

    def moment(name: str) -> float | None:
        stamp_us = _number(found, name)
        return now - monotonic + stamp_us / 1e6 if stamp_us else None

    alive = found.get("ActiveState") in {"active", "activating", "reloading", "deactivating"}
    code, status = _number(found, "ExecMainCode"), _number(found, "ExecMainStatus")
    ended = moment("ExecMainExitTimestampMonotonic") or moment("InactiveEnterTimestampMonotonic")
    started = moment("ExecMainStartTimestampMonotonic") or moment("ActiveEnterTimestampMonotonic")
    dead = not alive and code in {_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED}
    return Subject(
        "unit", asked, alive=alive, pid=_number(found, "MainPID" if alive else "ExecMainPID") or None,
        unit=found.get("Id") or asked, cgroup=found.get("ControlGroup") or None, started=started, ended=ended,
        exit_code=status if dead and code == _CLD_EXITED else None,
        signal=status if dead and code != _CLD_EXITED else None,
        result=found.get("Result") or None, restarts=_number(found, "NRestarts"),
    )  # fmt: skip


def _number(found: Mapping[str, str], name: str) -> int | None:
    value = found.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None
