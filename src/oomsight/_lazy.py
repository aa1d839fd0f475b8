"""
What is made when first asked for: regular expressions, and results of functions.

A run uses a part of the grammar only (one carrier, one kind of report), but compiling all of it would take a third of
the time that ``oomsight explain FILE`` takes as a whole process; and loading :mod:`re` or :mod:`functools` is half of
what Python itself needs to start, so who needs neither does without. Every room may import this module.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Any, AnyStr, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])

_METHODS = (
    "match", "search", "fullmatch", "findall", "finditer", "sub", "subn", "split", "pattern", "groupindex", "flags",
)  # fmt: skip


class _Compiled:
    """A compiled pattern's methods as attributes; a class without ``__getattr__``, which makes each look-up dear."""


class _Lazy(_Compiled):
    """Looks like a compiled pattern; from the first use on its methods are those of the compiled one."""

    def __init__(self, source: Any, flags: int) -> None:
        self._lazy = (source, flags)

    def __getattr__(self, name: str) -> Any:
        if name not in _METHODS:  # also asked for by copy and pickle, before there is anything to compile
            raise AttributeError(name)
        import re

        compiled = re.compile(*self._lazy)
        for method in _METHODS:
            self.__dict__[method] = getattr(compiled, method)
        self.__class__ = _Compiled  # type: ignore[assignment]  # all it had of its own was to compile
        return self.__dict__[name]


def lazy(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """
    Return a stand-in for ``re.compile(source, flags)`` that compiles when first used. With the flags inside *source*,
    as in ``(?am)``, its module need not import :mod:`re`.
    """
    return _Lazy(source, flags)  # type: ignore[return-value]


def remembered(most: int) -> Callable[[Function], Function]:
    """As ``functools.lru_cache(most)`` for functions of positional arguments, but it forgets all when it is full."""

    def wrap(function: Function) -> Function:
        known: dict[Any, Any] = {}

        def call(*args: Any) -> Any:
            try:
                return known[args]
            except KeyError:
                pass
            if len(known) >= most:
                known.clear()
            result = known[args] = function(*args)
            return result

        call.__name__, call.__qualname__, call.__doc__ = function.__name__, function.__qualname__, function.__doc__
        call.__module__ = function.__module__
        call.__wrapped__ = function  # type: ignore[attr-defined]  # for inspect and the reference
        return call  # type: ignore[return-value]

    return wrap
