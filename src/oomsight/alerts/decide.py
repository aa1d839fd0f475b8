"""
Decisions: an event, the rules, what was told before and the moment -> messages.

A group is one story on one channel: same rule, cause, victim and place. Its first event is told at once; more of the
same is counted and told once per ``repeat_seconds``; when nothing happened for ``resolve_seconds`` it is over. Each
channel has a rate limit; what it holds back is told in one digest, so a storm costs a channel a few messages and loses
nothing. State is a value of its caller: written to JSON, it goes on after a restart.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from oomsight.alerts.facts import Facts, facts_of
from oomsight.alerts.message import (
    Message,
    Status,
    clock_words,
    digest_title,
    labels_of,
    message_id,
    repeat_title,
    resolved_title,
    slim,
    subject_of,
    title_of,
)
from oomsight.alerts.rules import Rule, Settings, route

REMEMBERED: Final = 10_000  #: events known to be told; more than a ring buffer can repeat
MAX_GROUPS: Final = 5_000  #: the quietest is ended early when there are more
MAX_DIGEST_TITLES: Final = 10
GRACE_SECONDS: Final = 300.0  #: a group stays open at a receiver so much longer than we need to end it
REFRESH_SECONDS: Final = 600.0  #: between two words to an Alertmanager about an alert that goes on
REMIND_SECONDS: Final = 14_400.0  #: the same, to people
SILENT_SECONDS: Final = 7200.0  #: an alert nobody has spoken of for so long is over (its agent was replaced)
CLOCK_STEP_SECONDS: Final = 5.0  #: a clock that goes back further has been set: all our times move with it
_CHANGING: Final = re.compile(r"[0-9a-f]{8}[-_](?:[0-9a-f]{4}[-_]){3}[0-9a-f]{12}|[0-9a-f]{12,64}|\d{4,}")


@dataclass(slots=True)
class Group:
    """One story on one channel. Times are unix seconds; ``told`` is ``None`` while the rate limit holds it back."""

    channel: str
    rule: str
    severity: str
    title: str
    lines: list[str]
    labels: dict[str, str]
    subject: dict[str, Any]
    first: float
    last: float
    repeat_seconds: float
    resolve_seconds: float
    kills: int = 0
    told: float | None = None
    untold_kills: int = 0
    untold_events: int = 0
    messages: int = 0
    alert: str = ""  #: id of the memory alert it tells; such a group is over when the alert is


@dataclass(slots=True)
class Rate:
    """Tokens of one channel, and what waits for one."""

    tokens: float
    at: float
    alerts: int = 0
    kills: int = 0
    groups: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """What was told and what is going on."""

    groups: dict[str, Group] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    clock: float = 0.0  #: the latest moment seen

    def move(self, seconds: float) -> None:
        """Move all times with a clock that was set by *seconds* (negative = back): waiting takes as long as it did."""
        for group in self.groups.values():
            group.first, group.last = group.first + seconds, group.last + seconds
            group.told = group.told + seconds if group.told is not None else None
        for rate in self.rates.values():
            rate.at += seconds
        self.clock += seconds

    def dump(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "version": 1, "clock": self.clock, "seen": list(self.seen),
            "groups": {key: asdict(group) for key, group in self.groups.items()},
            "rates": {key: asdict(rate) for key, rate in self.rates.items()},
        }  # fmt: skip

    @classmethod
    def load(cls, value: Any) -> State:
        """Return the state :meth:`dump` wrote; anything else is an empty state (a message may then be told twice)."""
        try:
            if value["version"] != 1:
                return cls()
            groups = {str(k): _group(v) for k, v in value["groups"].items()}
            rates = {str(k): Rate(**{f.name: v[f.name] for f in fields(Rate)}) for k, v in value["rates"].items()}
            seen = OrderedDict.fromkeys(str(name) for name in value["seen"])
            return cls(groups, rates, seen, float(value["clock"]))
        except (TypeError, KeyError, ValueError, AttributeError):
            return cls()


def decide(
    event: Mapping[str, Any], settings: Settings, state: State, now: float, node: str | None = None
) -> list[Message]:
    """Return the messages *event* causes at *now* (unix seconds), and remember them in *state*."""
    turn = _Turn(settings, state, now)
    facts = facts_of(event, node)
    if facts is None or facts.event_id in state.seen:
        return []
    routes = route(facts, settings)
    if not routes and facts.alert_id is None:
        return []  # not seen: an update may know its container, and then a rule wants it
    state.seen[facts.event_id] = None
    while len(state.seen) > REMEMBERED:
        state.seen.popitem(last=False)
    found: list[Message] = []
    if facts.alert_id is not None:
        found += turn.alert(facts, event)
    else:
        for channel, rule in routes.items():
            found += turn.event(facts, event, channel, rule)
    while len(state.groups) > MAX_GROUPS:
        found += turn.end(min(state.groups, key=lambda key: state.groups[key].last))
    return found


def tick(settings: Settings, state: State, now: float) -> list[Message]:
    """Return the messages that are due at *now*: more of the same, groups that are over, digests."""
    turn = _Turn(settings, state, now)
    found: list[Message] = []
    for channel in list(state.rates):
        found += turn.digest(channel)
    for key, group in list(state.groups.items()):
        if now >= group.last + _quiet_seconds(group):
            found += turn.end(key)
        elif group.untold_events and group.told is not None and now >= group.told + group.repeat_seconds:
            found += turn.repeat(key, None)
    return found


def due_seconds(settings: Settings, state: State) -> float | None:
    """Return when :func:`tick` has something to do (unix seconds); ``None`` = not before the next event."""
    times = [group.last + _quiet_seconds(group) for group in state.groups.values()]
    times += [g.told + g.repeat_seconds for g in state.groups.values() if g.untold_events and g.told is not None]
    for channel, rate in state.rates.items():
        limit = _limit(channel, settings)
        if rate.alerts:
            times.append(rate.at + (max(_digest_level(limit) - rate.tokens, 0.0) * 60 / limit if limit else 0.0))
    return min(times, default=None)


def group_key(facts: Facts, channel: str, rule: Rule) -> str:
    """Return the key of the group *facts* belong to: ids that change with every restart do not count."""
    what = facts.event_id if facts.drill else ""
    place = _CHANGING.sub("*", facts.place)
    return message_id(channel, rule.name, facts.kind, facts.cause, facts.comm or "", place, what)


class _Turn:
    """Everything that is decided at one moment."""

    def __init__(self, settings: Settings, state: State, now: float) -> None:
        self.settings, self.state, self.now = settings, state, now
        _set_clock(state, now)

    def event(self, facts: Facts, event: Mapping[str, Any], channel: str, rule: Rule) -> Iterator[Message]:
        """*facts* concern *channel* because of *rule*."""
        now, groups = self.now, self.state.groups
        key = group_key(facts, channel, rule)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(
                channel, rule.name, facts.severity.word, title_of(facts), list(facts.lines), labels_of(facts),
                subject_of(facts), now, now, rule.repeat_seconds, rule.resolve_seconds,
            )  # fmt: skip
        group.last = now
        group.kills += facts.kills
        if group.told is not None:
            group.untold_kills += facts.kills
            group.untold_events += 1
            if now >= group.told + group.repeat_seconds:
                group.title, group.lines, group.subject = title_of(facts), list(facts.lines), subject_of(facts)
                yield from self.repeat(key, event)
            return
        yield from self._first(key, group, facts, event)

    def alert(self, facts: Facts, event: Mapping[str, Any]) -> Iterator[Message]:
        """
        A memory alert was raised, has changed, goes on or is over. A warning that turns critical is a story of its own:
        other people may have to hear of it, and its labels differ.
        """
        now, groups = self.now, self.state.groups
        mine = [key for key, group in groups.items() if group.alert == facts.alert_id]
        if facts.moment == "cleared":
            for key in mine:
                groups[key].lines = list(facts.lines)
                yield from self.end(key, title_of(facts))
            return
        for key in mine:
            group = groups[key]
            group.last, group.title, group.lines = now, title_of(facts), list(facts.lines)
            group.subject = subject_of(facts)
        begun = {groups[key].channel: groups[key].first for key in mine if groups[key].told is not None}
        for channel, rule in route(facts, self.settings).items():
            key = message_id(channel, facts.alert_id, facts.severity.word)
            if key not in groups:
                group = groups[key] = Group(
                    channel, rule.name, facts.severity.word, title_of(facts), list(facts.lines), labels_of(facts),
                    subject_of(facts), now, now, rule.repeat_seconds, rule.resolve_seconds, alert=facts.alert_id or "",
                )  # fmt: skip
                yield from self._first(key, group, facts, event, begun.get(channel))
            elif groups[key].told is not None:
                group = groups[key]
                group.untold_events += facts.moment == "changed"
                pause = group.repeat_seconds if group.untold_events else self._remind_seconds(channel)
                if now >= (group.told or 0.0) + pause:
                    yield from self.repeat(key, event)

    def _remind_seconds(self, channel: str) -> float:
        spec = self.settings.channel(channel)
        return REFRESH_SECONDS if spec is not None and spec.type == "alertmanager" else REMIND_SECONDS

    def _first(
        self, key: str, group: Group, facts: Facts, event: Mapping[str, Any], begun: float | None = None
    ) -> Iterator[Message]:
        """The first message of *group*, or its place in the next digest. *begun*: what was told as a warning since."""
        rate = self._rate(group.channel)
        if not facts.drill and (rate.alerts or not self._take(rate, group.channel)):
            _hold(rate, key, group, facts.kills)
        else:
            title = group.title if begun is None else _worse_title(begun, group.title)
            yield self._message(key, Status.FIRING, title, event)

    def repeat(self, key: str, event: Mapping[str, Any] | None) -> Iterator[Message]:
        """More of the same."""
        group = self.state.groups[key]
        if self._take(self._rate(group.channel), group.channel):
            yield self._message(key, Status.REPEAT, _again_title(group), event)
        else:  # due again when there is a token
            group.told = self.now - group.repeat_seconds + 60 / (_limit(group.channel, self.settings) or 60)

    def end(self, key: str, title: str | None = None) -> Iterator[Message]:
        """The group is over; what was not told yet is told. *title* says how, where that is known."""
        group = self.state.groups[key]
        spec = self.settings.channel(group.channel)
        if spec is not None and group.told is not None:
            if spec.resolved:
                over = title or resolved_title(group.title, group.kills, _quiet_seconds(group))
                yield self._message(key, Status.RESOLVED, over, None)
            elif group.untold_events and not group.alert:
                yield self._message(key, Status.REPEAT, _again_title(group), None)
        del self.state.groups[key]

    def digest(self, channel: str) -> Iterator[Message]:
        """What the rate limit of *channel* held back, once there is room."""
        rate, limit = self._rate(channel), _limit(channel, self.settings)
        if self.settings.channel(channel) is None:
            del self.state.rates[channel]
            return
        if not rate.alerts or (limit and rate.tokens < _digest_level(limit)):
            return
        rate.tokens = max(rate.tokens - 1, 0.0)
        groups = [self.state.groups[key] for key in rate.groups if key in self.state.groups]
        for group in groups:
            group.told, group.untold_kills, group.untold_events = self.now, 0, 0
        lines = list(rate.titles)
        if (more := len(rate.groups) - len(lines)) > 0:
            lines.append(f"… and {more:,} more; `oomsight incidents` lists them all")
        severity = "critical" if any(group.severity == "critical" for group in groups) else "warning"
        labels = {"alertname": "OOMDigest", "severity": severity, "channel": channel}
        yield Message(
            message_id(channel, "digest", self.now, rate.alerts), channel, Status.DIGEST, "", f"digest {channel}",
            severity, digest_title(rate.alerts, rate.kills, len(rate.groups)), tuple(lines), labels, rate.kills,
            self.now, self.now, GRACE_SECONDS, None, {}, None,
        )  # fmt: skip
        rate.alerts, rate.kills, rate.groups, rate.titles = 0, 0, [], []

    def _message(self, key: str, status: Status, title: str, event: Mapping[str, Any] | None) -> Message:
        group = self.state.groups[key]
        number, group.messages = group.messages, group.messages + 1
        group.told, group.untold_kills, group.untold_events = self.now, 0, 0
        event_id = event.get("event_id") if event is not None else None
        return Message(
            message_id(key, group.first, status, event_id or number), group.channel, status, group.rule, key,
            group.severity, title, tuple(group.lines), group.labels, group.kills, group.first, self.now,
            _hold_seconds(group) + GRACE_SECONDS, event_id, group.subject,
            slim(event) if event is not None else None,
        )  # fmt: skip

    def _rate(self, channel: str) -> Rate:
        """The tokens of *channel*, those that have come since included."""
        limit = _limit(channel, self.settings)
        rate = self.state.rates.setdefault(channel, Rate(float(limit or 0), self.now))
        if limit:
            rate.tokens = min(rate.tokens + (self.now - rate.at) * limit / 60, float(limit))
        rate.at = self.now
        return rate

    def _take(self, rate: Rate, channel: str) -> bool:
        if _limit(channel, self.settings) is None:
            return True
        if rate.tokens < 1:
            return False
        rate.tokens -= 1
        return True


def _group(value: Mapping[str, Any]) -> Group:
    """A group as an older release may have written it."""
    return Group(**{f.name: value[f.name] for f in fields(Group) if f.name in value})


def _quiet_seconds(group: Group) -> float:
    """After so long without a word the group is over."""
    return SILENT_SECONDS if group.alert else group.resolve_seconds


def _hold_seconds(group: Group) -> float:
    return 3 * REFRESH_SECONDS if group.alert else max(group.resolve_seconds, group.repeat_seconds)


def _again_title(group: Group) -> str:
    if group.alert:  # an alert changes when one more alarm joins it, never for the better
        if group.untold_events:
            return _worse_title(group.first, group.title)
        return f"Still, since {clock_words(group.first)}: {group.title}"
    return repeat_title(group.title, group.untold_kills, group.untold_events, group.kills, group.first)


def _worse_title(begun: float, title: str) -> str:
    return f"Worse; it began {clock_words(begun)}: {title}"


def _limit(channel: str, settings: Settings) -> int | None:
    spec = settings.channel(channel)
    return spec.per_minute if spec is not None else None


def _digest_level(limit: int | None) -> float:
    """Tokens that must be there before a digest is sent: after a storm a little is gathered first."""
    return max(1.0, (limit or 0) / 4)


def _hold(rate: Rate, key: str, group: Group, kills: int) -> None:
    rate.alerts += 1
    rate.kills += kills
    if key not in rate.groups and len(rate.groups) < MAX_GROUPS:
        rate.groups.append(key)
        if len(rate.titles) < MAX_DIGEST_TITLES:
            rate.titles.append(group.title)


def _set_clock(state: State, now: float) -> None:
    """
    Go on with a clock that was set back while nobody looked (a restart): else groups would stay open, and tokens away,
    for as long. While the agent runs, its caller knows of every step, forward too, and calls :meth:`State.move`.
    """
    if state.clock - now > CLOCK_STEP_SECONDS:
        state.move(now - state.clock)
    state.clock = now
