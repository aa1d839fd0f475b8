"""
The rig's own files as values: ``kernels.conf`` and the headers of the scenarios. Text in, values out.

These files are written by us, so a mistake in them is an error (:class:`ConfError` with the place), never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Ending = Literal["kill", "panic", "end", "any"]
"""What a scenario must come to: a kill and an orderly end, a panic, an end without any kill, or either of the last."""


class ConfError(ValueError):
    """A file of the rig does not say what it must; the text names file and line."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row of ``kernels.conf``."""

    label: str  #: release line, ``6.1``
    suite: str  #: Debian suite that has it
    packages: tuple[str, ...]  #: the first may hold one ``*``, see the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The header of a scenario: what machine it wants and what must happen there."""

    name: str
    desc: str
    mem_mib: int = 320  #: RAM; room for Python is added when the product runs in the guest
    smp: int = 1
    numa_nodes: int | None = None
    swapdisk_mib: int | None = None  #: size of an empty NVMe disk for mkswap; ``None`` = no such disk
    append: str = ""  #: added to the kernel command line
    expect: Ending = "kill"
    timeout_seconds: int = 150
    victims: tuple[str, ...] = ()  #: names of the first kills, in order; empty = not foretold
    constraint: str | None = None  #: of the first kill, as the kernel spells it
    kind: str | None = None  #: of an incident that ``explain`` must find, as its JSON spells it
    logs: tuple[str, ...] = ("kmsg", "dmesg")  #: logs that can tell; a text without facilities cannot tell who wrote it
    domain: str | None = None  #: cgroup (path below the cgroup root) whose limit will be hit; ``None`` = the machine's
    alarms: tuple[tuple[str, str, str], ...] = ()  #: (code, cgroup or ``host``, culprit) the agent must tell in time
    predict: bool = True  #: whether the victim can be told before the trigger
    lost: bool = False  #: the log is too small for all kills, so it must hold fewer than there were


def parse_kernels(text: str) -> tuple[Kernel, ...]:
    """Rows of ``kernels.conf`` in the order of the file. Raises :class:`ConfError`."""
    rows: dict[str, Kernel] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("#", 1)[0].split()
        if not fields:
            continue
        if len(fields) != 3 or fields[0] in rows:
            raise ConfError(f"kernels.conf:{number}: want 'label suite packages' and each label once: {line!r}")
        label, suite, packages = fields
        rows[label] = Kernel(label, suite, tuple(packages.split(",")))
    return tuple(rows.values())


_HEADER: Final = re.compile(r"# ([A-Z]+): (.*\S)")


@dataclass(slots=True)
class _Fields:
    """The header's fields by name, each handed out once, so that what is left over is a mistake."""

    place: str
    found: dict[str, str] = field(default_factory=dict)

    def number(self, key: str) -> int | None:
        value = self.found.pop(key, None)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or int(value) == 0:
            raise ConfError(f"{self.place}: {key} is not a positive number: {value!r}")
        return int(value)

    def text(self, key: str) -> str | None:
        return self.found.pop(key, None)


def parse_scenario(name: str, text: str) -> Scenario:
    """The ``# KEY: value`` lines that open a scenario; the first other line ends them. Raises :class:`ConfError`."""
    fields = _Fields(f"scenario {name}")
    for line in text.splitlines():
        match = _HEADER.fullmatch(line)
        if match is None:
            break
        key, value = match.groups()
        if key in fields.found:
            raise ConfError(f"{fields.place}: {key} twice")
        fields.found[key] = value
    desc, expect, predict = fields.text("DESC"), fields.text("EXPECT") or "kill", fields.text("PREDICT") or "yes"
    lost = fields.text("LOST") or "no"
    if desc is None:
        raise ConfError(f"{fields.place}: no DESC")
    if expect not in get_args(Ending) or not {predict, lost} <= {"yes", "no"}:
        raise ConfError(f"{fields.place}: EXPECT {expect!r}, PREDICT {predict!r}, LOST {lost!r}")
    victims, logs, alarms = fields.text("VICTIMS"), fields.text("LOGS"), fields.text("ALARMS")
    told = tuple(tuple(part.split(maxsplit=2)) for part in alarms.split("|")) if alarms else ()
    if any(len(one) != 3 for one in told):
        raise ConfError(f"{fields.place}: ALARMS wants 'code cgroup-or-host culprit' and | between: {alarms!r}")
    scenario = Scenario(
        name=name,
        desc=desc,
        mem_mib=fields.number("MEM") or 320,
        smp=fields.number("SMP") or 1,
        numa_nodes=fields.number("NUMA"),
        swapdisk_mib=fields.number("SWAPDISK"),
        append=fields.text("APPEND") or "",
        expect=expect,  # type: ignore[arg-type]  # checked against Ending above
        timeout_seconds=fields.number("TIMEOUT") or 150,
        victims=tuple(part.strip() for part in victims.split("|")) if victims else (),
        constraint=fields.text("CONSTRAINT"),
        kind=fields.text("KIND"),
        logs=tuple(logs.split()) if logs else ("kmsg", "dmesg"),
        domain=fields.text("DOMAIN"),
        alarms=tuple((code, subject, culprit.strip()) for code, subject, culprit in told),
        predict=predict == "yes",
        lost=lost == "yes",
    )
    if fields.found:
        raise ConfError(f"{fields.place}: unknown header {', '.join(sorted(fields.found))}")
    return scenario


def select(have: Iterable[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """
    The names that are wanted, in the order of ``have``; all of them when nothing is wanted. ``7`` also names the
    releases ``7.0`` and ``7.3``, and ``7.3.4`` names ``7.3``: whole components count, so ``6.1`` is never ``6.12``.
    Raises :class:`ConfError` when a wish names nothing.
    """
    names = tuple(have)
    if not wanted:
        return names
    chosen: set[str] = set()
    for wish in wanted:
        hits = [name for name in names if f"{name}.".startswith(f"{wish}.") or f"{wish}.".startswith(f"{name}.")]
        if not hits:
            raise ConfError(f"no such name: {wish} (there are: {', '.join(names)})")
        chosen.update(hits)
    return tuple(name for name in names if name in chosen)
