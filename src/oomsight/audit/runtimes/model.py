"""
What a program's memory is made of: terms with a source each, and their sum.

An estimate answers for memory that reclaim cannot drop when there is no swap, because that is what a limit kills for:
anonymous memory, tmpfs, kernel memory. The page cache of the program's own file is no need and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Verdict = Literal["fits", "tight", "exceeds", "unbounded", "unknown"]
"""See :meth:`Estimate.verdict`."""


class Term(NamedTuple):
    """One addend. Bytes; ``bytes_high`` ``None`` = nothing in the settings bounds it."""

    name: str
    bytes_low: int  #: held as soon as the program runs
    bytes_high: int | None  #: the most its settings allow
    source: str  #: where the numbers come from: the flag, file or variable as written, or the default and who says so
    bytes_likely: int | None = None  #: in ordinary service, never above ``bytes_high``; ``None`` = not known
    grows_with: str | None = None  #: name of the term it grows with; ``*`` = all others; ``None`` = none
    share: float = 0.0  #: bytes more for each byte more of that term

    @property
    def likely(self) -> int:
        """What to count with: the likely size, else the most, else the least that is known."""
        if self.bytes_likely is not None:
            return self.bytes_likely
        return self.bytes_low if self.bytes_high is None else self.bytes_high


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is known of one program. Everything may be missing; what is missing is assumed and the term says so."""

    argv: tuple[str, ...] = ()  #: command line, program first
    env: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)  #: settings of its file, flat, by the program's own names
    config_name: str = "configuration"  #: where ``config`` comes from, for sources
    limit_bytes: int | None = None  #: of its cgroup; ``None`` = no limit
    ram_bytes: int | None = None  #: of the host
    cpus: int | None = None  #: it may use
    host_cpus: int | None = None  #: of the host: what programs see that do not ask for their quota
    version: str | None = None
    cgroup_version: Literal[1, 2] | None = None
    start_flags: tuple[str, str] | None = None  #: what a start script sets where nothing else does, and who says so
    counts: Mapping[str, int] = field(default_factory=dict)
    """Numbers seen or promised: ``threads``, ``connections``, ``workers``, ``worker_bytes``, ``live_bytes``, …"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A sum with its addends."""

    runtime: str  #: key of :data:`oomsight.audit.runtimes.RUNTIMES`
    terms: tuple[Term, ...]
    limit_bytes: int | None = None  #: what it was held against; ``None`` = no limit
    notes: tuple[str, ...] = ()  #: what the reader must know: assumptions, a limit the runtime does not see
    sees_limit: bool | None = None  #: whether the runtime sizes itself by its cgroup; ``None`` = it never sizes itself

    @property
    def low_bytes(self) -> int:
        """Held in any case."""
        return sum(term.bytes_low for term in self.terms)

    @property
    def likely_bytes(self) -> int:
        """Held in ordinary service."""
        return sum(term.likely for term in self.terms)

    @property
    def high_bytes(self) -> int | None:
        """The most the settings allow; ``None`` = some term has no bound."""
        highs = [term.bytes_high for term in self.terms]
        return None if None in highs else sum(high for high in highs if high is not None)

    def term(self, name: str) -> Term | None:
        """The term called ``name``."""
        return next((term for term in self.terms if term.name == name), None)

    def need_bytes(self, filled: Iterable[str] = (), given: Mapping[str, int] | None = None) -> int:
        """
        What it needs when the terms of ``filled`` are used up to their bound and those of ``given`` hold that many
        bytes more than at start; all others stay at their least. A filled term without a bound raises ValueError.
        """
        given, filled = given or {}, set(filled)
        held: dict[str, int] = {}
        for term in self.terms:
            held[term.name] = term.bytes_low + given.get(term.name, 0)
            if term.name in filled:
                if term.bytes_high is None:
                    raise ValueError(f"{term.name} has no bound to be filled to")
                held[term.name] = term.bytes_high
            elif term.bytes_high is not None:
                held[term.name] = min(held[term.name], max(term.bytes_high, term.bytes_low))
        for term in self.terms:
            if term.grows_with is not None:
                base = sum(held.values()) if term.grows_with == "*" else held.get(term.grows_with, 0)
                held[term.name] += int(base * term.share)
        return sum(held.values())

    @property
    def verdict(self) -> Verdict:
        """
        ``exceeds``: the likely size is above the limit. ``tight``: the likely size fits, what the settings allow does
        not. ``unbounded``: likely fits, and some term has no bound. ``fits``: even the most. ``unknown``: no limit.
        """
        if self.limit_bytes is None:
            return "unknown"
        if self.likely_bytes > self.limit_bytes:
            return "exceeds"
        high = self.high_bytes
        if high is None:
            return "unbounded"
        return "fits" if high <= self.limit_bytes else "tight"


def setting(inputs: Inputs, name: str, default: str, why: str = "default") -> tuple[str, str]:
    """A setting of the program's file and where it comes from; without one, the default and ``why``."""
    if name in inputs.config:
        value = inputs.config[name]
        return value, f"{name} = {value} ({inputs.config_name})"
    return default, f"{name} = {default} ({why})"
