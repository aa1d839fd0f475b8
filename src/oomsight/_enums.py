"""
``StrEnum`` and ``IntEnum`` as :mod:`enum` has them, as far as they are used here, without loading it.

:mod:`enum` takes 5 ms to load, a third of what Python itself needs to start. Members are strings or numbers of a class
of their own with ``name`` and ``value``; the class looks them up by value, iterates over them and knows their number.
For type checkers they are enum's.
"""

from __future__ import annotations

__all__ = ["IntEnum", "StrEnum"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import IntEnum, StrEnum
    from typing import Any


class _Meta(type):
    """Makes the members that the body of a class names."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        if bases in {(str,), (int,)}:  # StrEnum and IntEnum themselves
            return type.__new__(cls, name, bases, {**_METHODS, **body, "_members": {}})
        base = bases[0].__mro__[1]  # str or int
        values = {key: value for key, value in body.items() if type(value) is base and not key.startswith("_")}
        rest = {key: value for key, value in body.items() if key not in values}
        made = type.__new__(cls, name, bases, {**rest, "_members": {}})
        for key, value in values.items():
            member: Any = base.__new__(made, value)  # type: ignore[call-overload]
            member.name, member.value = key, value
            made._members[value] = member  # type: ignore[attr-defined]
            type.__setattr__(made, key, member)
        return made

    def __call__(cls, value: Any) -> Any:
        """The member of that value. Raises :class:`ValueError`."""
        try:
            return cls._members[value]  # type: ignore[attr-defined]
        except KeyError:
            raise ValueError(f"{value!r} is not a valid {cls.__qualname__}") from None

    def __iter__(cls) -> Iterator[Any]:
        return iter(cls._members.values())  # type: ignore[attr-defined]

    def __len__(cls) -> int:
        return len(cls._members)  # type: ignore[attr-defined]

    def __contains__(cls, value: object) -> bool:
        return value in cls._members  # type: ignore[attr-defined]


def _repr(self: Any) -> str:
    """As enum writes a member."""
    return f"<{self.__class__.__name__}.{self.name}: {self.value!r}>"


def _reduce(self: Any, _protocol: int) -> tuple[Any, ...]:
    """Copies and pickles are the member itself."""
    return self.__class__, (self.value,)


_METHODS = {"__repr__": _repr, "__reduce_ex__": _reduce, "__deepcopy__": lambda self, _: self}

if not TYPE_CHECKING:

    class StrEnum(str, metaclass=_Meta):
        """Members that are strings."""

        __str__ = str.__str__
        __format__ = str.__format__

    class IntEnum(int, metaclass=_Meta):
        """Members that are numbers."""

        __str__ = int.__repr__
        __format__ = int.__format__
