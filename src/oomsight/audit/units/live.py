"""
Units as systemd has loaded them (OS212 to OS215): what its files cannot say, because it happens while they run.

``systemctl show`` prints ``Key=Value`` lines, one block per unit, blocks apart by an empty line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from oomsight._sizes import size_words
from oomsight.audit.model import Find, Fix, Hit, Rule, Settings, Severity, Where
from oomsight.naming.marked import Kind, mark
from oomsight.proc.memcg import Memcg

PROPERTIES: Final = (
    "Id", "LoadState", "ActiveState", "Result", "NRestarts", "FragmentPath", "DropInPaths", "NeedDaemonReload",
    "ControlGroup", "MemoryMax", "ManagedOOMSwap", "ManagedOOMMemoryPressure", "OOMPolicy",
)  # fmt: skip
"""What is asked of each unit."""

VENDOR: Final = ("/usr/lib/systemd/", "/lib/systemd/", "/usr/local/lib/systemd/")
"""Where packages put their units; what an administrator writes is elsewhere."""

OF_CHOICE: Final = frozenset({"OS201", "OS204", "OS205", "OS206", "OS207"})
"""Rules about a decision, not a mistake: not held against units that are as their package made them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One unit in systemd's memory."""

    properties: Mapping[str, str]
    memcg: Memcg | None = None  #: its cgroup's state

    @property
    def name(self) -> str:
        """``web.service``."""
        return self.properties.get("Id", "")

    @property
    def files(self) -> tuple[str, ...]:
        """Its own file, then its drop-ins in the order systemd reads them."""
        own = self.properties.get("FragmentPath", "")
        return tuple(path for path in (own, *self.properties.get("DropInPaths", "").split()) if path)

    @property
    def is_packaged(self) -> bool:
        """Whether every file of it comes from a package."""
        return all(path.startswith(VENDOR) for path in self.files)

    def limit_bytes(self) -> int | None:
        """``MemoryMax`` as systemd will write it; ``None`` = infinity or not known."""
        text = self.properties.get("MemoryMax", "")
        return int(text) if text.isascii() and text.isdigit() and int(text) < 1 << 63 else None


@dataclass(frozen=True, slots=True)
class AllLoaded:
    """All units of a host."""

    units: tuple[Loaded, ...]


def parse_show(text: str) -> list[dict[str, str]]:
    """Return the properties of each unit in what ``systemctl show`` printed."""
    blocks = []
    for block in text.split("\n\n"):
        found = dict(line.partition("=")[::2] for line in block.split("\n") if "=" in line)
        if found.get("Id"):
            blocks.append(found)
    return blocks


def _subject(unit: Loaded) -> tuple[Where, str]:
    return Where(key=unit.name), mark(unit.name, Kind.OWNER)


def _stale(unit: Loaded, _: Settings) -> Iterator[Hit]:
    if unit.properties.get("NeedDaemonReload") == "yes":
        where, subject = _subject(unit)
        limit = unit.limit_bytes()
        held = f"MemoryMax {size_words(limit)}" if limit is not None else "no MemoryMax"
        yield Hit(
            where, subject, f"its files were changed after systemd read them: what counts is the old state, {held}",
            tuple(mark(path, Kind.FILE) for path in unit.files), (), Fix("systemctl daemon-reload", "sh"),
        )  # fmt: skip


def _killed(unit: Loaded, _: Settings) -> Iterator[Hit]:
    text = unit.properties.get("NRestarts", "")
    restarts = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    kills = (unit.memcg.oom_kills or 0) if unit.memcg is not None else 0
    where, subject = _subject(unit)
    limit = unit.limit_bytes()
    evidence = (
        f"MemoryMax {size_words(limit)}" if limit is not None else "no MemoryMax: the host or a slice was full",
        f"restarted {restarts} time{'' if restarts == 1 else 's'} by systemd",
    )
    advice = ("oomsight incidents lists the kills, oomsight rightsize says what it needs",)
    if unit.properties.get("Result") == "oom-kill":
        state = unit.properties.get("ActiveState")
        words = "was ended by the OOM killer" + (" and stays down" if state == "failed" else "")
        severity = Severity.HIGH if restarts >= 3 else None
        yield Hit(where, subject, words, evidence, advice, None, severity)
    elif kills:
        policy = unit.properties.get("OOMPolicy", "")
        words = f"{kills} OOM kill{'' if kills == 1 else 's'} in it since it started, and it goes on"
        words += f" (OOMPolicy={mark(policy, Kind.ID)})" if policy else ""
        yield Hit(where, subject, words, evidence, advice)


def _not_in_force(unit: Loaded, _: Settings) -> Iterator[Hit]:
    limit = unit.limit_bytes()
    if limit is None or unit.memcg is None or unit.properties.get("ActiveState") != "active":
        return
    now = unit.memcg.limit_bytes
    if now == "unlimited" or (isinstance(now, int) and now > limit + (1 << 20)):
        where, subject = _subject(unit)
        real = "none" if now == "unlimited" else size_words(int(now or 0))
        yield Hit(
            where, subject, f"MemoryMax is {size_words(limit)}, and the limit of its cgroup is {real}",
            (f"cgroup {mark(unit.memcg.path, Kind.CGROUP)}",),
            ("somebody wrote to the cgroup, or the memory controller is not delegated to it",),
            Fix(f"systemctl set-property --runtime {unit.name} MemoryMax={limit}", "sh") if unit.name.isprintable()
            and " " not in unit.name and "'" not in unit.name else None,
        )  # fmt: skip


def _idle_oomd(host: AllLoaded, _: Settings) -> Iterator[Hit]:
    oomd = next((unit for unit in host.units if unit.name == "systemd-oomd.service"), None)
    if oomd is None or oomd.properties.get("ActiveState") != "active":
        return
    watched = [
        unit for unit in host.units
        if "kill" in {unit.properties.get("ManagedOOMSwap"), unit.properties.get("ManagedOOMMemoryPressure")}
    ]  # fmt: skip
    if not watched:
        yield Hit(
            Where(key="systemd-oomd.service"), mark("systemd-oomd.service", Kind.OWNER),
            "systemd-oomd runs and watches nothing: no unit says ManagedOOMSwap=kill or ManagedOOMMemoryPressure=kill",
            (f"{len(host.units)} units are loaded",), (),
            Fix("# /etc/systemd/system/-.slice.d/oomd.conf\n[Slice]\nManagedOOMSwap=kill", "ini"),
        )  # fmt: skip


def _rule(  # noqa: PLR0917 - one column of the table each
    number: int, title: str, severity: Severity, scope: str, find: Find, what: str, why: str, leads: str, how: str,
    source: str, failing: str, passing: str,
) -> Rule:  # fmt: skip
    return Rule(f"OS{number}", title, severity, scope, find, what, why, leads, how, source, "show", failing, passing)


_WEB: Final = "Id=web.service\nActiveState=active\nFragmentPath=/etc/systemd/system/web.service\nMemoryMax=536870912\n"
_OOMD: Final = "Id=systemd-oomd.service\nActiveState=active\n\nId=-.slice\nActiveState=active\nManagedOOMSwap={}\n"

RULES: Final[tuple[Rule, ...]] = (
    _rule(212, "Unit files newer than what systemd runs", Severity.MEDIUM, "loaded", _stale,
          "a unit whose files changed since systemd read them.", "a limit that is written down is not a limit that counts.",
          "the service runs without the new limit, or with the old one, until it is killed.", "systemctl daemon-reload.",
          "org.freedesktop.systemd1(5), NeedDaemonReload", _WEB + "NeedDaemonReload=yes\n", _WEB + "NeedDaemonReload=no\n"),
    _rule(213, "Service that was OOM-killed", Severity.MEDIUM, "loaded", _killed,
          "a unit whose last result is oom-kill, or whose cgroup counts OOM kills while it runs.",
          "what was killed once and got neither more memory nor a fix is killed again.",
          "it is restarted with the same settings and grows to the same limit.",
          "find the cause (oomsight incidents), then the size (oomsight rightsize).",
          "systemd.service(5), OOMPolicy= and $SERVICE_RESULT; memory.events oom_kill",
          _WEB + "Result=oom-kill\nNRestarts=4\n", _WEB + "Result=success\nNRestarts=0\n"),
    _rule(214, "MemoryMax that its cgroup does not have", Severity.MEDIUM, "loaded", _not_in_force,
          "an active unit with MemoryMax= whose cgroup has a higher limit or none.", "the kernel looks at the cgroup only.",
          "the service everybody believes limited is not.", "systemctl set-property, or restart it; see Delegate=.",
          "systemd.resource-control(5); Documentation/admin-guide/cgroup-v2.rst, memory.max",
          _WEB + "ControlGroup=/system.slice/web.service\nmemory.max=max\n",
          _WEB + "ControlGroup=/system.slice/web.service\nmemory.max=536870912\n"),
    _rule(215, "systemd-oomd watches nothing", Severity.LOW, "allloaded", _idle_oomd,
          "systemd-oomd is active and no loaded unit is handed to it.", "it acts only on units that say so.",
          "the userspace killer that was to come first never does.",
          "ManagedOOMSwap=kill for -.slice, ManagedOOMMemoryPressure=kill for what may be killed.",
          "systemd-oomd.service(8), systemd.resource-control(5)", _OOMD.format("auto"), _OOMD.format("kill")),
)  # fmt: skip
"""Rules OS212 to OS215. In a sample ``memory.max`` is what its cgroup has."""


def parse_sample(text: str) -> AllLoaded:
    """Return the units a sample describes."""
    units = []
    for block in parse_show(text):
        most = block.pop("memory.max", None)
        limit = "unlimited" if most == "max" else int(most) if most else None
        path = block.get("ControlGroup", "")
        memcg = Memcg(path=path, version=2, limit_bytes=limit) if most else None  # type: ignore[arg-type]
        units.append(Loaded(block, memcg))
    return AllLoaded(tuple(units))
