"""
The agent's configuration: one row per setting; the file, ``--check-config`` and the documentation read the same rows.

Other parts of the agent (telling, metrics) own sections of their own: :data:`EXTENSIONS` names the function that turns
such a section into sentences, or raises :class:`ConfigError`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

DEFAULT_FILE: Final = "/etc/oomsight/agent.toml"


class ConfigError(Exception):
    """The file is wrong; one line that names the file and, where known, the line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the file."""

    key: str  #: section and name
    kind: type
    default: Any  #: ``None`` = decided at run time
    says: Callable[[Any], str]  #: the setting as a sentence
    least: int | None = None
    most: int | None = None


def _switch(on: str, off: str) -> Callable[[Any], str]:
    return lambda value: on if value else off


SETTINGS: Final = (
    Setting("sources.kmsg", bool, True, _switch("Read the kernel log from /dev/kmsg.", "Do not read /dev/kmsg.")),
    Setting("sources.journal", bool, True, _switch(
        "Read kernel messages of all boots and userspace killers from the systemd journal.",
        "Do not read the journal: kills by systemd-oomd, earlyoom and others are not seen.")),
    Setting("sources.tracepoint", bool, True, _switch(
        "Check the log against the tracepoint oom:mark_victim.", "Do not use the tracepoint oom:mark_victim.")),
    Setting("sources.cgroups", bool, True, _switch(
        "Watch the OOM counters of cgroups.", "Do not watch the counters of cgroups.")),
    Setting("sources.history", bool, True, _switch(
        "At the first start, also store what the logs already hold.", "At the first start, begin with new events.")),
    Setting("store.enabled", bool, True, _switch("Store incidents.", "Keep nothing: incidents are only told.")),
    Setting("store.path", str, None, lambda v: f"The store is {v or 'in the state directory'}."),
    Setting("store.keep_days", int, 400, lambda v: f"Incidents are removed after {v} days." if v else
            "Incidents are never removed for their age.", 0, 36500),
    Setting("store.max_mib", int, 256, lambda v: f"Above {v} MiB the oldest incidents are removed.", 1, 1 << 20),
    Setting("record.enabled", bool, True, _switch(
        "Record the memory of the host, its processes and cgroups (oomsight history).",
        "Do not record memory: why something grew is not known.")),
    Setting("record.path", str, None, lambda v: f"The history is {f'in {v}' if v else 'beside the store'}."),
    Setting("record.max_mib", int, 512, lambda v: f"Above {v} MiB the oldest history is removed.", 1, 1 << 20),
    Setting("record.interval_seconds", int, 0, lambda v: f"A sample every {v} s." if v else
            "A sample every 5 s, and every second when memory gets short.", 0, 3600),
    Setting("agent.lock_memory", bool, True, _switch(
        "Keep the agent's own memory from being swapped out or reclaimed, where it may (CAP_IPC_LOCK, LimitMEMLOCK).",
        "Let the agent's own memory be swapped out and reclaimed.")),
)  # fmt: skip

EXTENSIONS: dict[str, str] = {
    "alerts": "oomsight.daemons.telling:sentences",
    "metrics": "oomsight.daemons.telemetry_config:metrics_sentences",
    "otlp": "oomsight.daemons.telemetry_config:otlp_sentences",
    "zabbix": "oomsight.daemons.telemetry_config:zabbix_sentences",
}
"""Section -> ``module:function`` that checks it and returns its sentences."""

TROUBLES: Final = {
    "alerts": "oomsight.daemons.telling:troubles",
    "metrics": "oomsight.daemons.telemetry_config:metrics_troubles",
    "otlp": "oomsight.daemons.telemetry_config:otlp_troubles",
}
"""Section -> ``module:function`` that says what of it cannot work on this host, though it is written rightly."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; settings it does not name have their defaults."""

    path: str | None
    values: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  #: those of extensions, as they stand

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def sentences(self) -> Iterable[str]:
        """Yield every setting as a sentence."""
        for setting in SETTINGS:
            yield setting.says(self.values[setting.key])
        for name, section in {"alerts": {}, **self.sections}.items():  # memory alarms need no section
            yield from _function(EXTENSIONS[name])(section)

    def troubles(self) -> Iterable[str]:
        """Yield what cannot work here and now: files, rights, programs that are missing; for ``--check-config``."""
        for name, section in self.sections.items():
            if name in TROUBLES:
                yield from _function(TROUBLES[name])(section)


def parse_config(text: str, path: str | None = None) -> Config:
    """Return the configuration *text* holds. Raises :class:`ConfigError` at the first mistake."""
    where = path or "configuration"
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: {error}") from None
    known = {setting.key: setting for setting in SETTINGS}
    values = {key: setting.default for key, setting in known.items()}
    sections: dict[str, Mapping[str, Any]] = {}
    for section, content in tables.items():
        if section in EXTENSIONS and isinstance(content, dict):
            sections[section] = content
            continue
        names = {key.partition(".")[0] for key in known} | set(EXTENSIONS)
        if section not in names or not isinstance(content, dict):
            raise _unknown(where, text, section, "", sorted(names))
        for name, value in content.items():
            setting = known.get(f"{section}.{name}")
            if setting is None:
                near = [key.partition(".")[2] for key in known if key.startswith(f"{section}.")]
                raise _unknown(where, text, name, section, near)
            values[setting.key] = _checked(setting, value, f"{where}: line {_line(text, name, section)}")
    config = Config(path, values, sections)
    for name, table in sections.items():
        try:
            list(_function(EXTENSIONS[name])(table))
        except ConfigError as error:
            raise ConfigError(f"{where}: [{name}] {error}") from None
    return config


def _checked(setting: Setting, value: Any, where: str) -> Any:
    if type(value) is not setting.kind:
        words = {bool: "true or false", int: "a whole number", str: "text in quotes"}[setting.kind]
        raise ConfigError(f"{where}: {setting.key} must be {words}, not {value!r}")
    if setting.least is not None and isinstance(value, int) and value < setting.least:
        raise ConfigError(f"{where}: {setting.key} must be at least {setting.least}, not {value}")
    if setting.most is not None and isinstance(value, int) and value > setting.most:
        raise ConfigError(f"{where}: {setting.key} must be at most {setting.most}, not {value}")
    return value


def _unknown(where: str, text: str, name: str, section: str, names: list[str]) -> ConfigError:
    near = get_close_matches(name, names, 1)
    what = f"there is no setting '{name}' in [{section}]" if section else f"there is no section [{name}]"
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(names)}"
    return ConfigError(f"{where}: line {_line(text, name, section)}: {what}{hint}")


def _line(text: str, name: str, section: str) -> int:
    """Return the number of the line that sets *name* in *section* (or begins the section *name*); TOML keeps none."""
    inside, key = section == "", re.escape(name)
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            if not section and header[1].split(".")[0].strip("\"' ") == name:
                return number
            inside = header[1] == section
        elif (inside and re.match(rf"\s*[\"']?{key}[\"']?\s*[.=]", line)) or (
            section and re.match(rf"\s*{re.escape(section)}\s*[.=].*{key}", line)
        ):
            return number
    return 1


def _function(where: str) -> Callable[[Mapping[str, Any]], Iterable[str]]:
    from importlib import import_module

    module, _, function = where.partition(":")
    found: Callable[[Mapping[str, Any]], Iterable[str]] = getattr(import_module(module), function)
    return found


def read_config(path: str | None) -> Config:
    """Read *path*; without one the default file, and where that is missing the defaults. Raises ConfigError."""
    wanted = path or DEFAULT_FILE
    try:
        with open(wanted, encoding="utf-8") as file:
            return parse_config(file.read(), wanted)
    except FileNotFoundError:
        if path is None:
            return parse_config("")
        raise ConfigError(f"{wanted}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{wanted}: {getattr(error, 'strerror', None) or error}") from None
