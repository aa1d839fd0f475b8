"""What a rule is, what it finds and where. Rows of rules stand beside the code that reads their subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, Literal, NamedTuple


class Severity(IntEnum):
    """How bad; compares: ``HIGH > MEDIUM``."""

    INFO = 1  #: worth knowing; nothing has to change
    LOW = 2  #: makes a kill likelier or harder to understand
    MEDIUM = 3  #: leads to a kill under load that is to be expected
    HIGH = 4  #: leads to a kill, a refusal or a hang by itself, or makes something else die in its place

    @property
    def word(self) -> str:
        """``high``; how it is written in options, JSON and comments."""
        return self.name.lower()


SEVERITIES: Final = {severity.word: severity for severity in reversed(Severity)}
"""Every severity by its word, worst first."""

Language = Literal["sh", "yaml", "ini", "text"]


class Where(NamedTuple):
    """Where something was found: a place in a file, or a key of the host."""

    path: str | None = None  #: file as the user knows it
    line: int | None = None  #: from 1
    column: int | None = None  #: from 1
    key: str | None = None  #: on a host: ``vm.swappiness``, ``nginx.service``, ``pid 4242``

    def __str__(self) -> str:
        if self.path is None:
            return self.key or ""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


class Fix(NamedTuple):
    """What to write or type, numbers filled in; not marked text, so the rule checks names that go into it."""

    text: str
    language: Language = "text"


class Hit(NamedTuple):
    """A rule's yes about one subject, before the engine signs it with the rule. Texts are marked text."""

    where: Where
    subject: str  #: ``Deployment/api, container app``
    message: str
    evidence: tuple[str, ...] = ()  #: what the message rests on: values and where they came from
    advice: tuple[str, ...] = ()  #: what to change, numbers filled in
    fix: Fix | None = None
    severity: Severity | None = None  #: where this case is better or worse than the rule's own


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. Texts are marked text (:mod:`oomsight.naming.marked`)."""

    rule: str  #: ``OS401``
    severity: Severity
    subject: str
    where: Where
    message: str
    evidence: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    fix: Fix | None = None
    suppressed: str | None = None  #: the reason given; ``None`` = not suppressed

    def because(self, reason: str) -> Finding:
        """Return the finding suppressed for *reason*."""
        return replace(self, suppressed=reason)

    @property
    def order(self) -> tuple[Any, ...]:
        """Worst first, then by place."""
        where = self.where
        return (-self.severity, where.path or "", where.line or 0, where.column or 0, where.key or "", self.rule)


Find = Callable[[Any, "Settings"], Iterator[Hit]]


class Rule(NamedTuple):
    """One row of a table of rules; its page in docs/reference/audit is these words."""

    id: str  #: stable: OS0xx files, OS1xx host, OS2xx systemd, OS3xx containers, OS4xx Kubernetes, OS5xx runtimes
    title: str
    severity: Severity
    scope: str  #: what ``find`` is given: ``host``, ``unit``, ``compose``, ``dockerfile``, ``pod``, …
    find: Find
    what: str  #: what is looked for
    why: str  #: why it matters
    leads: str  #: how it leads to an OOM kill
    how: str  #: how to fix it
    source: str  #: kernel file and release, specification or manual behind it
    sample_name: str  #: file name that makes the samples what they are; ``host`` for a host
    failing: str  #: a sample in which it is found
    passing: str  #: the same, mended


@dataclass(frozen=True, slots=True)
class Settings:
    """Thresholds that ``.oomsight.toml`` may change."""

    limit_to_request: float = 3.0  #: OS404: a memory limit this many times the request is far above it
    ram_bytes: int | None = None  #: RAM of the machine or node the files are for; ``None`` = not known
    runtime_estimates: bool = True  #: OS5xx: hold heaps and caches against the limit
