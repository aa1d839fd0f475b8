"""
``NamedTuple`` as :mod:`typing` has it, made in a twentieth of the time.

Each of typing's parses every annotation and compiles a constructor when its module is loaded, 0.2 to 0.4 ms a class;
with fifty classes that is a quarter of what ``oomsight score`` takes to start. Here the annotations stay texts, and the
constructor is compiled when a class has made a few values, which many never do. For type checkers it is typing's.
"""

from __future__ import annotations

try:
    from _collections import _tuplegetter  # type: ignore[import-not-found]  # what collections.namedtuple uses
except ImportError:  # another Python than CPython
    from operator import itemgetter

    def _tuplegetter(at: int, doc: str) -> property:
        return property(itemgetter(at), doc=doc)


__all__ = ["NamedTuple"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NamedTuple


_WORTH_COMPILING = 20  # values of a class: compiling its constructor takes as long as making so many without


def _first(cls: Any, /, *values: Any, **named: Any) -> Any:
    """Make one of the first values of a class."""
    left, rest = cls._left, cls._fields[len(values) :]
    if left[0] and len(values) <= len(cls._fields):
        left[0] -= 1
        if not rest and not named:
            return tuple.__new__(cls, values)
        defaults = cls._field_defaults
        if named.keys() <= set(rest) and all(field in named or field in defaults for field in rest):
            return tuple.__new__(cls, (*values, *(named[at] if at in named else defaults[at] for at in rest)))
    return _compiled(cls)(cls, *values, **named)


def _compiled(cls: Any) -> Any:
    """Compile the constructor that makes all others, and says what is wrong with its arguments."""
    made_by = next(base for base in cls.__mro__ if "_fields" in base.__dict__)
    names = ", ".join(made_by._fields)
    comma = "," if made_by._fields else ""
    new = eval(f"lambda _cls, {names}: _new(_cls, ({names}{comma}))", {"_new": tuple.__new__})
    new.__defaults__ = tuple(made_by._field_defaults.values())
    new.__name__, new.__qualname__ = "__new__", f"{made_by.__qualname__}.__new__"
    made_by.__new__ = staticmethod(new)
    return new


def _make(cls: Any, values: Iterable[Any]) -> Any:
    """Make a value from an iterable."""
    made = tuple.__new__(cls, values)
    if len(made) != len(cls._fields):
        raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
    return made


def _replace(self: Any, /, **changes: Any) -> Any:
    """Return a copy with some fields changed."""
    made = self._make(map(changes.pop, self._fields, self))
    if changes:
        raise ValueError(f"Got unexpected field names: {list(changes)!r}")
    return made


def _asdict(self: Any) -> dict[str, Any]:
    """Return the fields by their names."""
    return dict(zip(self._fields, self, strict=True))


def _repr(self: Any) -> str:
    """``Class(field=value, …)``."""
    shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
    return f"{self.__class__.__name__}({shown})"


def _getnewargs(self: Any) -> tuple[Any, ...]:
    """For copy and pickle."""
    return tuple(self)


class _Meta(type):
    """Makes a subclass of tuple of what the body of a class says."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        if not bases:
            return type.__new__(cls, name, bases, body)
        if len(bases) > 1:
            raise TypeError("a NamedTuple has no other base")
        fields = tuple(body.get("__annotations__", ()))
        defaults = {field: body[field] for field in fields if field in body}
        if tuple(defaults) != fields[len(fields) - len(defaults) :]:
            raise TypeError("a field without a default follows one with a default")
        for at, field in enumerate(fields):
            body[field] = _tuplegetter(at, "")
        for key, value in _METHODS.items():
            body.setdefault(key, value)
        return type.__new__(
            type, name, (tuple,),
            {"__slots__": (), **body, "_fields": fields, "_field_defaults": defaults, "__match_args__": fields,
             "_left": [_WORTH_COMPILING]},
        )  # fmt: skip


_METHODS = {
    "__new__": _first, "_make": classmethod(_make), "_replace": _replace, "_asdict": _asdict, "__repr__": _repr,
    "__getnewargs__": _getnewargs,
}  # fmt: skip

if not TYPE_CHECKING:

    class NamedTuple(metaclass=_Meta):
        """Base of classes whose fields are the annotated names of their body, in this order."""
