"""The section ``[alerts]`` of the agent's configuration: checked, with a sentence for every rule and channel."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from oomsight.alarms.event import exact_span
from oomsight.alarms.settings import AlarmsError, parse_alarms
from oomsight.alarms.table import BY_CODE as ALARMS
from oomsight.alerts.facts import MEMORY, NOTE, NOTE_SEVERITY, SEVERITY_OF, Severity
from oomsight.alerts.rules import PATTERN_FIELDS, RULE_KEYS, ChannelSpec, Rule, Settings, rule_sentence


class AlertsError(ValueError):
    """The section is wrong; one line without the file's name."""


class Option(NamedTuple):
    """One key of a channel."""

    name: str
    kind: type
    default: Any = None
    required: bool = False
    secret: bool = False  #: may come from ``NAME_file`` or hold ``${VARIABLE}``; never printed


@dataclass(frozen=True, slots=True)
class ChannelType:
    """One kind of channel: what it may be told, and what it hears by default."""

    options: tuple[Option, ...]
    resolved: bool  #: hears by default that a group is over
    per_minute: int | None  #: messages by default; ``None`` = no limit


_TIMEOUT: Final = Option("timeout_seconds", float, 10.0)
_TLS: Final = (Option("ca_file", str), Option("token", str, secret=True))

CHANNEL_TYPES: Final[Mapping[str, ChannelType]] = {
    "exec": ChannelType((Option("command", list, required=True), _TIMEOUT), True, 60),
    "webhook": ChannelType((Option("url", str, required=True, secret=True), *_TLS, _TIMEOUT), True, 60),
    "alertmanager": ChannelType((Option("url", str, required=True, secret=True), *_TLS, _TIMEOUT), True, None),
    "apprise": ChannelType((Option("url", str, required=True, secret=True), Option("timeout_seconds", float, 30.0)),
                           False, 12),
    "kubernetes": ChannelType((
        Option("url", str), Option("token_file", str), Option("ca_file", str), Option("namespace", list), _TIMEOUT,
    ), False, 60),
}  # fmt: skip
"""Every kind of channel. Chat and mail read a storm badly: they get little and no news of the end."""

COMMON: Final = ("name", "type", "send_resolved", "per_minute")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def parse_settings(section: Mapping[str, Any], causes: Collection[str] = ()) -> Settings:
    """
    Return the settings of the table ``[alerts]``. *causes* are the codes an incident can have: a rule that asks for
    another would never match. Raises :class:`AlertsError` at the first mistake.
    """
    _known(section, ("rule", "channel", "memory"), "[alerts]")
    channels = tuple(_channel(table) for table in _tables(section, "channel"))
    names = [channel.name for channel in channels]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise AlertsError(f"two channels are called {twice}")
    codes = tuple(dict.fromkeys((*causes, *ALARMS, *NOTE_SEVERITY, "unknown"))) if causes else ()
    rules = tuple(_rule(table, number, names, codes) for number, table in enumerate(_tables(section, "rule"), 1))
    try:
        memory = parse_alarms(section.get("memory", {}))
    except AlarmsError as error:
        raise AlertsError(str(error)) from None
    return Settings(rules or Settings().rules, channels, memory)


def sentences(settings: Settings) -> Iterator[str]:
    """Yield one sentence per channel and rule; no address beyond its host, no secret."""
    if not settings.channels:
        yield "Nobody is told: there is no [[alerts.channel]]."
        return
    for channel in settings.channels:
        over = ", also when it is over" if channel.resolved else ""
        rate = f", at most {channel.per_minute} messages a minute" if channel.per_minute else ""
        yield f"Channel {channel.name}: {_target(channel)}{rate}{over}."
    for rule in settings.rules:
        yield rule_sentence(rule)


def public_address(url: str) -> str:
    """Return what of *url* may be shown: scheme and host. Paths, queries and users may be secrets."""
    if "${" in url:
        return "an address from the environment"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address"
    return f"{parts.scheme}://{host}{port}" if parts.scheme in {"http", "https"} and host else f"{parts.scheme}://…"


def _target(channel: ChannelSpec) -> str:
    options = channel.options
    limit = exact_span(float(str(options["timeout_seconds"])))
    if channel.type == "exec":
        command = options["command"]
        assert isinstance(command, list)
        return f"run {command[0]} with the message as JSON on its standard input, for {limit} at most"
    if channel.type == "kubernetes":
        return "write a Kubernetes Event on the pod whose process died"
    url, file = options.get("url"), options.get("url_file")
    if channel.type == "apprise":
        scheme = str(url).partition("://")[0] if url and "${" not in str(url) else ""
        return f"send through Apprise{f' ({scheme})' if scheme else ''}"
    where = f"the address in {file}" if file else public_address(str(url))
    return f"post to {'Alertmanager at ' if channel.type == 'alertmanager' else ''}{where}"


def _channel(table: Mapping[str, Any]) -> ChannelSpec:
    name, type_ = table.get("name"), table.get("type")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AlertsError("every [[alerts.channel]] needs a name of letters, digits, '-', '_' and '.'")
    where = f"channel {name}"
    if not isinstance(type_, str) or type_ not in CHANNEL_TYPES:
        raise AlertsError(f"{where}: there is no type '{type_}'; {_nearest(str(type_), CHANNEL_TYPES)}")
    kind = CHANNEL_TYPES[type_]
    files = tuple(f"{option.name}_file" for option in kind.options if option.secret)
    _known(table, (*COMMON, *(option.name for option in kind.options), *files), where)
    options: dict[str, object] = {}
    for option in kind.options:
        value, file = table.get(option.name), table.get(f"{option.name}_file") if option.secret else None
        if value is not None and file is not None:
            raise AlertsError(f"{where}: give {option.name} or {option.name}_file, not both")
        if option.required and value is None and file is None:
            raise AlertsError(f"{where}: {option.name}{f' or {option.name}_file' if option.secret else ''} is missing")
        if file is not None:
            options[f"{option.name}_file"] = _typed(file, str, f"{where}: {option.name}_file")
        given = value is not None
        options[option.name] = _typed(value, option.kind, f"{where}: {option.name}") if given else option.default
    _check_options(options, where, type_)
    rate = table.get("per_minute", kind.per_minute)
    if rate is not None and (type(rate) is not int or rate < 0):
        raise AlertsError(f"{where}: per_minute must be a whole number (0 = no limit)")
    resolved = _typed(table.get("send_resolved", kind.resolved), bool, f"{where}: send_resolved")
    return ChannelSpec(name, type_, options, resolved, rate or None)


def _check_options(options: Mapping[str, Any], where: str, type_: str) -> None:
    command = options.get("command")
    if command is not None and (not command or not all(isinstance(part, str) for part in command)):
        raise AlertsError(f"{where}: command must be a list of texts, the program first")
    if command is not None and not command[0].startswith("/"):
        raise AlertsError(f"{where}: the program must be given by its whole path, not as {command[0]}")
    if options["timeout_seconds"] <= 0 or options["timeout_seconds"] > 300:
        raise AlertsError(f"{where}: timeout_seconds must be above 0 and at most 300")
    url = options.get("url")
    if type_ in {"webhook", "alertmanager"} and url and "${" not in url and not url.startswith(("http://", "https://")):
        raise AlertsError(f"{where}: url must begin with http:// or https://")
    if type_ == "apprise" and url and "://" not in url and "${" not in url:
        raise AlertsError(f"{where}: url must be an Apprise address (mailto://…, slack://…)")


def _rule(table: Mapping[str, Any], number: int, channels: list[str], causes: Collection[str]) -> Rule:
    name = table.get("name", f"{number}")
    where = f"rule {name}"
    _known(table, RULE_KEYS, where)
    values: dict[str, Any] = {"name": _typed(name, str, f"{where}: name")}
    for key in PATTERN_FIELDS:
        if key in table:
            values[key] = _texts(table[key], f"{where}: {key}")
    for key, codes in (("kind", (*SEVERITY_OF, NOTE, MEMORY)), ("cause", causes)):
        for text in values.get(key, ()) if codes else ():
            if (word := text.removeprefix("!")) not in codes and not set("*?[") & set(word):
                raise AlertsError(f"{where}: there is no {key} '{word}'; {_nearest(word, codes)}")
    if "severity" in table:
        words = [severity.word for severity in Severity]
        if table["severity"] not in words:
            raise AlertsError(f"{where}: severity must be one of {', '.join(words)}")
        values["severity"] = Severity[table["severity"].upper()]
    if "channels" in table:
        values["channels"] = _texts(table["channels"], f"{where}: channels")
        for channel in values["channels"]:
            if channel not in channels:
                there = f"there are: {', '.join(channels)}" if channels else "there is none at all"
                raise AlertsError(f"{where}: there is no channel '{channel}'; {there}")
    if "stop" in table:
        values["stop"] = _typed(table["stop"], bool, f"{where}: stop")
    for key in ("repeat_seconds", "resolve_seconds"):
        if key in table:
            values[key] = _typed(table[key], float, f"{where}: {key}")
            if not (0 if key == "repeat_seconds" else 1) <= values[key] <= 7 * 86400:
                raise AlertsError(f"{where}: {key} must be between {0 if key == 'repeat_seconds' else 1} and a week")
    return Rule(**values)


def _tables(section: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    tables = section.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise AlertsError(f"write [[alerts.{name}]], in double brackets, once for each")
    return tables


def _known(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in names:
            raise AlertsError(f"{where}: there is no setting '{key}'; {_nearest(key, names)}")


def _nearest(word: str, words: Collection[str]) -> str:
    near = get_close_matches(word, words, 1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(words)}"


def _texts(value: Any, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise AlertsError(f"{where} must be text or a list of texts")
    return tuple(values)


_KIND_WORDS: Final = {bool: "true or false", float: "a number", str: "text in quotes", list: "a list of texts"}


def _typed(value: Any, kind: type, where: str) -> Any:
    if kind is float and type(value) in {int, float}:
        return float(value)
    if type(value) is not kind:
        raise AlertsError(f"{where} must be {_KIND_WORDS[kind]}")
    return value
