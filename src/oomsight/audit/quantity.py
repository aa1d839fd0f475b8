"""
Sizes as Kubernetes, Docker and systemd read them: exactly, and what is wrong with the others.

Three languages that look alike and differ: ``128m`` is 0.128 bytes to Kubernetes, 128 MiB to Docker and no size at all
to systemd; ``1G`` is 10⁹ bytes to Kubernetes and 2³⁰ to the other two.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from oomsight._lazy import lazy
from oomsight._sizes import MIB

KUBERNETES: Final[dict[str, Fraction]] = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    **{unit: Fraction(1000 ** (power + 1)) for power, unit in enumerate("kMGTPE")},
    **{unit + "i": Fraction(1024 ** (power + 1)) for power, unit in enumerate("KMGTPE")},
}  # fmt: skip
"""Suffixes of a Kubernetes quantity (apimachinery, pkg/api/resource/quantity.go)."""

_QUANTITY = lazy(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d{1,3})|([a-zA-Z]*))", re.ASCII)
_DOCKER = lazy(r"(\d+(?:\.\d+)?) ?([kKmMgGtTpP])?[iI]?[bB]?", re.ASCII)
_SYSTEMD = lazy(r"(?:\d+(?:\.\d+)?\s*[KMGTPEB]?\s*)+", re.ASCII)
_SYSTEMD_PART = lazy(r"(\d+(?:\.\d+)?)\s*([KMGTPEB]?)", re.ASCII)
_POWERS: Final = {unit: 1024 ** (power + 1) for power, unit in enumerate("KMGTPE")} | {"": 1, "B": 1}


class Size(NamedTuple):
    """A size read, or what is wrong with it."""

    size_bytes: int | None  #: rounded up, as the API server does; ``None`` = no size
    problem: str | None = None  #: what is wrong, in words; also where it is a size, but hardly the one meant
    meant: str | None = None  #: what was probably meant


@lru_cache(4096)  # the same few are written everywhere
def kubernetes_size(text: str) -> Size:
    """Return the bytes of a Kubernetes quantity: ``512Mi``, ``1.5G``, ``128e6``, ``128974848000m``."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return _no_quantity(text)
    sign, digits, exponent, suffix = found.groups()
    if len(digits) > 60:
        return Size(None, "is no number anybody can mean")
    number = Fraction(digits.rstrip(".") if not digits.startswith(".") else "0" + digits)
    if exponent is not None:
        power = int(exponent[1:])
        number *= Fraction(10) ** power
    elif suffix in KUBERNETES:
        number *= KUBERNETES[suffix]
    else:
        return _no_quantity(text)
    if sign == "-" and number:
        return Size(None, "is negative")
    size = -(-number.numerator // number.denominator)
    if size >= 1 << 63:
        return Size((1 << 63) - 1, "is more than 2^63 bytes")
    if suffix in {"m", "u", "n"} and size < 4 * MIB:
        name = {"m": "thousandths", "u": "millionths", "n": "billionths"}[suffix]
        shown = f"{float(number):.6g}"
        return Size(size, f"is {shown} bytes: '{suffix}' means {name}", digits + ("Mi" if suffix == "m" else ""))
    return Size(size)


def _no_quantity(text: str) -> Size:
    """Say what is wrong with *text*, and what was meant where that can be told."""
    bare = text.strip()
    found = _QUANTITY.fullmatch(bare.replace(" ", ""))
    suffix = found[4] if found else None
    if found is None or suffix is None:
        return Size(None, "is no quantity")
    letter = suffix[:1].upper()
    if letter in "KMGT" and suffix[1:].lower() in {"", "b", "i", "ib"}:
        meant = f"{found[2]}{letter}i"
        return Size(None, "is no quantity: suffixes are Ki, Mi, Gi (binary) and k, M, G (decimal), no blanks", meant)
    return Size(None, "is no quantity")


def docker_size(text: str) -> Size:
    """
    Return the bytes of a size in a compose file or on Docker's command line: ``512m``, ``1.5gb``, ``2GiB``.

    Always binary (go-units, RAMInBytes).
    """
    found = _DOCKER.fullmatch(text.strip())
    if found is None:
        return Size(None, "is no size: a number and b, k, m or g")
    power = " KMGTP".index((found[2] or " ").upper())
    return Size(int(Fraction(found[1]) * 1024**power))


Special = Literal["infinity", "percent"]


class UnitSize(NamedTuple):
    """A memory value of a systemd unit."""

    size_bytes: int | None  #: ``None`` = infinity, a share, or wrong
    special: Special | None = None
    percent: float | None = None
    problem: str | None = None
    meant: str | None = None


def systemd_size(text: str) -> UnitSize:
    """
    Return the value of ``MemoryMax=`` and its like: bytes with K, M, G, T (base 1024), a percentage, ``infinity``.

    systemd.resource-control(5); src/basic/parse-util.c, parse_size(): suffixes are capitals and may follow one another
    (``1G 512M``).
    """
    word = text.strip()
    if word == "infinity":
        return UnitSize(None, "infinity")
    if word.endswith("%"):
        try:
            share = float(word[:-1])
        except ValueError:
            return UnitSize(None, problem="is no percentage")
        if not 0 <= share <= 100:
            return UnitSize(None, problem="is no percentage of RAM")
        return UnitSize(None, "percent", share)
    if word and _SYSTEMD.fullmatch(word):
        parts = _SYSTEMD_PART.findall(word)
        return UnitSize(int(sum(Fraction(number) * _POWERS[unit] for number, unit in parts)))
    loose = _DOCKER.fullmatch(word)
    meant = f"{loose[1]}{(loose[2] or '').upper()}" if loose else None
    return UnitSize(None, problem="is no size: systemd wants a number and K, M, G or T", meant=meant)


def kubernetes_words(size_bytes: int) -> str:
    """Return a quantity to write into a manifest: whole Mi, rounded up (``512Mi``), Gi where it is round."""
    mib = -(-size_bytes // MIB)
    return f"{mib >> 10}Gi" if mib % 1024 == 0 and mib else f"{mib}Mi"
