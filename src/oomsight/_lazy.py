"""
Regular expressions compiled when first used.

A run uses a part of the grammar only (one carrier, one kind of report), but compiling all of it would take a third of
the time that ``oomsight explain FILE`` takes as a whole process. The only module every room may import.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast

_METHODS = (
    "match", "search", "fullmatch", "findall", "finditer", "sub", "subn", "split", "pattern", "groupindex", "flags",
)  # fmt: skip


class _Lazy:
    """Looks like a compiled pattern; from the first use on its methods are those of the compiled one."""

    def __init__(self, source: Any, flags: int) -> None:
        self._lazy = (source, flags)

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:  # also asked for by copy and pickle, before there is anything to compile
            raise AttributeError(name)
        compiled = re.compile(*self._lazy)
        for method in _METHODS:
            self.__dict__[method] = getattr(compiled, method)
        return self.__dict__[name]


def lazy(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a stand-in for ``re.compile(source, flags)`` that compiles when first used."""
    return cast("re.Pattern[AnyStr]", _Lazy(source, flags))
