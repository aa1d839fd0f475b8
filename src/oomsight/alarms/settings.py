"""The section ``[alerts.memory]`` of the agent's configuration: checked, with a sentence for every alarm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from oomsight.alarms.event import exact_span
from oomsight.alarms.table import ALARMS, BY_CODE, Alarm, Limit, Limits, Override, default_limit

KEYS: Final = ("enabled", "raise", "clear", "critical", "for_seconds", "clear_seconds")
_MOST: Final = {"pct": 100.0, "seconds": 7 * 86400.0, "per_minute": 1e6}


class AlarmsError(ValueError):
    """The section is wrong; one line without the file's name."""


def parse_alarms(section: Any) -> Limits:
    """Return what the table ``[alerts.memory]`` says. Raises :class:`AlarmsError` at the first mistake."""
    if not isinstance(section, Mapping):
        raise AlarmsError("memory must be a table: write [alerts.memory]")
    _known(section, ("enabled", "cgroup", *BY_CODE), "[alerts.memory]")
    enabled = _flag(section.get("enabled", True), "memory: enabled")
    limits = tuple(_limits(section, tuple(BY_CODE), {}, ""))
    tables = section.get("cgroup", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise AlarmsError("write [[alerts.memory.cgroup]], in double brackets, once for each")
    return Limits(enabled, limits, tuple(_override(table, dict(limits), n) for n, table in enumerate(tables, 1)))


def _override(table: Mapping[str, Any], base: Mapping[str, Limit], number: int) -> Override:
    where = f"memory.cgroup {number}"
    codes = tuple(alarm.code for alarm in ALARMS if alarm.scope == "cgroup")
    _known(table, ("path", "enabled", *codes), where)
    paths = table.get("path")
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise AlarmsError(f'{where}: path must be a pattern of cgroup paths, as path = "/system.slice/postgres*"')
    found = dict(_limits(table, codes, base, f"{where}: "))
    if not _flag(table.get("enabled", True), f"{where}: enabled"):
        found = {code: (found.get(code) or base.get(code) or default_limit(BY_CODE[code]))._replace(enabled=False)
                 for code in codes}  # fmt: skip
    return Override(tuple(paths), tuple(found.items()))


def _limits(
    section: Mapping[str, Any], codes: tuple[str, ...], base: Mapping[str, Limit], where: str
) -> Iterator[tuple[str, Limit]]:
    for code in codes:
        if code in section:
            yield code, _limit(BY_CODE[code], section[code], base.get(code), f"{where}{code}")


def _limit(alarm: Alarm, table: Any, base: Limit | None, where: str) -> Limit:
    if not isinstance(table, Mapping):
        raise AlarmsError(f"{where} must be a table of {', '.join(KEYS)}")
    _known(table, KEYS, where)
    limit = base or default_limit(alarm)
    least, most = 0.0, _MOST[alarm.unit]
    raise_at = _number(table.get("raise", limit.raise_at), f"{where}: raise", least, most)
    clear_at = _number(table["clear"], f"{where}: clear", least, most) if "clear" in table else None
    if clear_at is None:  # keep the distance of the table
        clear_at = limit.clear_at if raise_at == limit.raise_at else limit.clear_at * raise_at / (limit.raise_at or 1)
    critical = limit.critical_at
    if "critical" in table:
        critical = _number(table["critical"], f"{where}: critical", least, most)
    wrong = clear_at < raise_at if alarm.downwards else clear_at > raise_at
    if wrong:
        side = "below" if alarm.downwards else "above"
        raise AlarmsError(f"{where}: clear ({clear_at:g}) must not be {side} raise ({raise_at:g})")
    return Limit(
        raise_at, clear_at, critical,
        _number(table.get("for_seconds", limit.for_seconds), f"{where}: for_seconds", 0, 86400),
        _number(table.get("clear_seconds", limit.clear_seconds), f"{where}: clear_seconds", 0, 86400),
        _flag(table.get("enabled", limit.enabled), f"{where}: enabled"),
    )  # fmt: skip


def alarm_sentences(limits: Limits) -> Iterator[str]:
    """Yield what the section means: one sentence for each alarm and each exception."""
    if not limits.enabled:
        yield "Memory alarms are off."
        return
    for alarm in ALARMS:
        yield f"Alarm {alarm.code}: {_sentence(alarm, limits.of(alarm, None))}"
    for override in limits.overrides:
        where = " or ".join(override.paths)
        if override.limits and not any(limit.enabled for _, limit in override.limits):
            yield f"In {where}: no alarms."
            continue
        for code, limit in override.limits:
            yield f"Alarm {code}, in {where}: {_sentence(BY_CODE[code], limit)}"


def _sentence(alarm: Alarm, limit: Limit) -> str:
    if not limit.enabled:
        return "off."
    text = f"raised at {_side(alarm, limit.raise_at, worse=True)} for {exact_span(limit.for_seconds)}"
    if limit.critical_at is not None:
        text += f", critical from {_amount(alarm, limit.critical_at)} on"
    back = _side(alarm, limit.clear_at, worse=False)
    return f"{text}; over after {exact_span(limit.clear_seconds)} at {back} ({alarm.measures})."


def _side(alarm: Alarm, value: float, *, worse: bool) -> str:
    more = alarm.downwards != worse
    return f"{_amount(alarm, value)} or {'more' if more else 'less'}" if value or more else _amount(alarm, value)


def _amount(alarm: Alarm, value: float) -> str:
    words = {"pct": f"{value:.3g} %", "seconds": f"{exact_span(value)} left", "per_minute": f"{value:g} a minute"}
    return words[alarm.unit]


def _known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}"
            raise AlarmsError(f"{where}: there is no setting '{key}'; {hint}")


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise AlarmsError(f"{where} must be true or false")
    return value


def _number(value: Any, where: str, least: float, most: float) -> float:
    if type(value) not in {int, float} or not least <= value <= most:
        raise AlarmsError(f"{where} must be a number from {least:g} to {most:g}")
    return float(value)
