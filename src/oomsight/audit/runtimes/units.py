"""
Sizes as each program writes them. The same letter means other things to other programs, so each has its own reader.

All return bytes, and ``None`` for what the program itself would refuse.
"""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"^\s*(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*$", re.ASCII)
_BINARY: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _scaled(text: str, units: dict[str, int], *, whole: bool = True) -> int | None:
    found = _NUMBER.match(text)
    if found is None or found[2] not in units or (whole and "." in found[1]):
        return None
    return int(float(found[1]) * units[found[2]]) if "." in found[1] else int(found[1]) * units[found[2]]


def jvm_size(text: str) -> int | None:
    """``512m``, ``2G``, ``1048576``: atojulong() in hotspot's arguments.cpp takes k, m, g, t of either case."""
    return _scaled(text.lower(), _BINARY)


def go_size(text: str) -> int | None:
    """``GOMEMLIMIT``: ``512MiB``, ``1GiB``, ``1073741824B``; k and MB are refused (parseByteCount())."""
    return _scaled(text.strip(), {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40})


def postgres_size(text: str, unit_bytes: int) -> int | None:
    """``128MB``, ``8kB``, ``1GB`` or a number of ``unit_bytes``: convert_to_base_unit() in guc.c; ``-1`` is none."""
    units = {"": unit_bytes, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
    return _scaled(text.strip("'\" "), units, whole=False)


def mysql_size(text: str) -> int | None:
    """``128M``, ``1G``: eval_num_suffix() in my_getopt.c takes one letter of either case."""
    return _scaled(text.strip("'\" ").lower(), _BINARY)


def redis_size(text: str) -> int | None:
    """``1gb`` is 2^30 bytes, ``1g`` is 10^9: memtoull() in util.c."""
    units = {"": 1, "b": 1}
    for power, letter in enumerate("kmg", 1):
        units[letter] = 1000**power
        units[letter + "b"] = 1024**power
    return _scaled(text.strip("'\" ").lower(), units)


def nginx_size(text: str) -> int | None:
    """``8k``, ``10m``, ``1g``: ngx_parse_size() and ngx_parse_offset()."""
    return _scaled(text.lower(), {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30})


def php_size(text: str) -> int | None:
    """``memory_limit``: ``128M``, ``1G``, ``-1`` = none (zend_ini_parse_quantity())."""
    return _scaled(text.strip("'\" ").lower(), {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30})
