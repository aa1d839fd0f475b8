"""Rules: which events go to which channels. A rule is a row of patterns; the first match for a channel wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Final

from oomsight.alarms.event import exact_span
from oomsight.alarms.table import Limits
from oomsight.alerts.facts import Facts, Severity

Patterns = tuple[str, ...]
"""Shell patterns (``*``, ``?``, ``[ab]``), compared whole and case by case; ``!`` in front excludes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[alerts.rule]]``. A field of patterns that is empty asks for nothing."""

    name: str
    cause: Patterns = ()
    kind: Patterns = ()
    cgroup: Patterns = ()
    unit: Patterns = ()
    container: Patterns = ()
    pod: Patterns = ()  #: ``namespace/pod``, or the pod alone
    namespace: Patterns = ()
    image: Patterns = ()
    process: Patterns = ()
    severity: Severity = Severity.WARNING  #: at least
    channels: tuple[str, ...] | None = None  #: ``None`` = all; empty = nobody is told
    stop: bool = False  #: what matches is not looked at by the rules below
    repeat_seconds: float = 300.0  #: at most one message per group in this time; what is held back is counted
    resolve_seconds: float = 900.0  #: a group is over when nothing happened for so long


PATTERN_FIELDS: Final = ("cause", "kind", "cgroup", "unit", "container", "pod", "namespace", "image", "process")
"""The fields of :class:`Rule` that hold patterns."""

DEFAULT_RULES: Final = (Rule("default"),)
"""Where the configuration has none: everything from ``warning`` on, to every channel."""


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One ``[[alerts.channel]]`` as configured; secrets are not resolved here."""

    name: str
    type: str
    options: dict[str, object] = field(default_factory=dict, hash=False)
    resolved: bool = False  #: also wants to hear that a group is over
    per_minute: int | None = None  #: ``None`` = no limit


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the section ``[alerts]`` says."""

    rules: tuple[Rule, ...] = DEFAULT_RULES
    channels: tuple[ChannelSpec, ...] = ()
    memory: Limits = field(default_factory=Limits)  #: when memory alarms are raised

    def channel(self, name: str) -> ChannelSpec | None:
        """Return the channel called *name*."""
        return next((channel for channel in self.channels if channel.name == name), None)


def matches(rule: Rule, facts: Facts) -> bool:
    """Whether *facts* meet everything *rule* asks for. What is not known matches no pattern but ``*``."""
    if facts.severity < rule.severity:
        return False
    return all(_any(getattr(rule, name), list(_values(name, facts))) for name in PATTERN_FIELDS)


def _values(name: str, facts: Facts) -> Iterator[str]:
    if name == "pod":
        if facts.pod is not None:
            yield facts.pod
            yield f"{facts.namespace or ''}/{facts.pod}"
        return
    value = facts.comm if name == "process" else getattr(facts, name)
    if value is not None:
        yield value


def _any(patterns: Patterns, values: Iterable[str]) -> bool:
    if not patterns:
        return True
    values = list(values)
    if any(fnmatchcase(value, pattern[1:]) for pattern in patterns if pattern.startswith("!") for value in values):
        return False
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    return not wanted or "*" in wanted or any(fnmatchcase(value, pattern) for pattern in wanted for value in values)


def route(facts: Facts, settings: Settings) -> dict[str, Rule]:
    """
    Return channel -> the rule that sends *facts* there; a channel hears of an event once.

    A drill goes everywhere: that is what it is for.
    """
    everybody = tuple(channel.name for channel in settings.channels)
    if facts.drill:
        return dict.fromkeys(everybody, Rule("drill", repeat_seconds=0.0, resolve_seconds=10.0))
    found: dict[str, Rule] = {}
    for rule in settings.rules:
        if matches(rule, facts):
            for name in everybody if rule.channels is None else rule.channels:
                found.setdefault(name, rule)
            if rule.stop:
                break
    return found


def rule_sentence(rule: Rule) -> str:
    """Return *rule* as a sentence for ``agent --check-config``."""
    asked = []
    for name in PATTERN_FIELDS:
        patterns = getattr(rule, name)
        wanted = [p for p in patterns if not p.startswith("!")]
        barred = [p[1:] for p in patterns if p.startswith("!")]
        if wanted:
            asked.append(f"{name} is {' or '.join(wanted)}")
        if barred:
            asked.append(f"{name} is not {' or '.join(barred)}")
    what = "Every event" if rule.severity == Severity.INFO else f"Every event of severity {rule.severity.word} or worse"
    if rule.severity == Severity.CRITICAL:
        what = "Every critical event"
    if asked:
        what += f" whose {' and whose '.join(asked)}"
    whom = "every channel" if rule.channels is None else ", ".join(rule.channels) or "nobody"
    last = "; rules below do not see it" if rule.stop else ""
    again = f"again after {exact_span(rule.repeat_seconds)} at the earliest" if rule.repeat_seconds else "each time"
    over = f"over after {exact_span(rule.resolve_seconds)} of quiet"
    tail = f" ({again}, {over})" if rule.channels != () else ""
    return f"Rule {rule.name}: {what} is told to {whom}{tail}{last}."


RULE_KEYS: Final = tuple(f.name for f in fields(Rule))
"""What a ``[[alerts.rule]]`` may say."""
