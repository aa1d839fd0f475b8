"""Families of samples, with label values that cannot hurt and a number of series that cannot grow without bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import add
from typing import Final

from oomsight.metrics.table import BY_NAME, LABELS, OTHER, Metric

LONGEST: Final = 160  #: characters of a label value; a cgroup path of Kubernetes has about 230, its telling end is kept
_HASH_CHARS: Final = 8

LabelValues = tuple[str, ...]

_JOIN: Final[dict[str, Callable[[float, float], float]]] = {"sum": add, "min": min, "max": max}


@dataclass(slots=True)
class Family:
    """One metric and its samples. A label set occurs once: what falls together is joined as the table says."""

    metric: Metric
    samples: dict[LabelValues, float] = field(default_factory=dict)

    def add(self, value: float | None, *labels: str | None) -> Family:
        """Add a sample and return the family; ``None`` as a value is not known and adds nothing."""
        if value is not None:
            key = tuple(map(label_value, labels))
            before = self.samples.get(key)
            self.samples[key] = float(value) if before is None else _JOIN[self.metric.join](before, float(value))
        return self

    def attributes(self, labels: LabelValues) -> dict[str, str]:
        """Labels that say something, by name."""
        return {name: value for name, value in zip(self.metric.labels, labels, strict=True) if value}


def family(name: str, value: float | None = None) -> Family:
    """An empty family of the table's metric *name*, with *value* as its only sample where one is given."""
    empty = Family(BY_NAME[name])
    return empty.add(value) if value is not None else empty


def present(families: Iterable[Family]) -> list[Family]:
    """Those that have a sample."""
    return [found for found in families if found.samples]


def label_value(text: str | None) -> str:
    """
    *text* as a label value: every invisible or undecodable character as a visible escape, at most :data:`LONGEST` long.

    A longer one keeps its end behind a hash of the whole, so that two different values stay different.
    """
    if not text:
        return ""
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if c.isprintable() else _escape(c) for c in text)
    if len(text) > LONGEST:
        digest = blake2b(text.encode(), digest_size=_HASH_CHARS // 2).hexdigest()
        text = f"{digest}…{text[_HASH_CHARS + 1 - LONGEST :]}"
    return text


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a raw byte
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Bound:
    """Lets the first *most* label sets of a metric through; later ones share a bucket, their open labels ``other``."""

    def __init__(self, labels: tuple[str, ...], most: int) -> None:
        """For a metric with *labels*."""
        self._open = tuple(LABELS[name].open for name in labels)
        self._most = most

    def key(self, series: Mapping[LabelValues, object], labels: Iterable[str | None]) -> LabelValues:
        """Return the label set under which *labels* is kept in *series*."""
        wanted = tuple(map(label_value, labels))
        if wanted in series or len(series) < self._most:
            return wanted
        return tuple(OTHER if is_open and value else value for is_open, value in zip(self._open, wanted, strict=True))
