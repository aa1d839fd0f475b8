"""
``dataclass`` as :mod:`dataclasses` has it, made in a twentieth of the time; and :class:`Record`, what values share.

The one of the standard library compiles a constructor for every class when its module is loaded, and imports
``inspect``: with forty classes a fifth of the time that ``oomsight explain FILE`` takes as a whole process. Here the
constructor is compiled when a class makes its second value, which many never do. What the standard library's functions
(``fields``, ``replace``, ``asdict``) ask for is made when they ask. For type checkers both are the standard library's,
and so ``frozen`` and ``kw_only`` are held by them alone.
"""

from __future__ import annotations

__all__ = ["Record", "dataclass", "field", "replaced"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field
    from dataclasses import replace as replaced
    from typing import Any, ClassVar

_FIELDS = "__dataclass_fields__"
_NOTHING = object()


class Record:
    """Base of dataclasses made with ``eq=False, repr=False``: equal when of one class with equal fields."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        """Whether *other* is of the same class and has the same values."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    __hash__ = None  # type: ignore[assignment]  # the values can change

    def __repr__(self) -> str:
        """``Class(field=value, …)``."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{self.__class__.__qualname__}({shown})"


def _hash(self: Any) -> int:
    return hash(tuple([getattr(self, name) for name in self.__match_args__]))


class _Made:
    """Default of a field that is made anew for every value."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


class _Fields:
    """What :mod:`dataclasses` asks a class for, made of its annotations when it asks."""

    def __init__(self, defaults: dict[str, Any]) -> None:
        self._defaults = defaults

    def __get__(self, _value: Any, cls: type) -> dict[str, Any]:
        import dataclasses as standard

        def described(default: Any) -> Any:
            return standard.field(default_factory=default.make) if isinstance(default, _Made) else default

        owner = next(base for base in cls.__mro__ if base.__dict__.get(_FIELDS) is self)
        rows: list[Any] = [
            (name, kind, described(self._defaults[name])) if name in self._defaults else (name, kind)
            for name, kind in owner.__annotations__.items()
        ]
        made = standard.make_dataclass(owner.__name__, rows, init=False, eq=False, repr=False)
        found: dict[str, Any] = getattr(made, _FIELDS)
        setattr(owner, _FIELDS, found)
        return found


def _first(self: Any, /, *values: Any, **named: Any) -> None:
    """Make the first value of a class field by field; at the second compile the constructor that makes all others."""
    cls: Any = next(base for base in type(self).__mro__ if "__init__" in base.__dict__)
    if not cls._values_made and _set(self, cls, values, named):
        cls._values_made = True
        return
    cls.__init__ = _compiled(cls)
    cls.__init__(self, *values, **named)


def _set(value: Any, cls: Any, values: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Set the fields of *value*; False = the call is wrong, and the compiled constructor says how."""
    names, defaults = cls.__match_args__, cls._defaults
    if len(values) > len(names) or not named.keys() <= set(names[len(values) :]):
        return False
    for name, given in zip(names, values, strict=False):
        setattr(value, name, given)
    for name in names[len(values) :]:
        given = named[name] if name in named else defaults.get(name, _NOTHING)
        if given is _NOTHING:
            return False
        setattr(value, name, given.make() if isinstance(given, _Made) else given)
    return True


def _compiled(cls: Any) -> Any:
    """The constructor of *cls*."""
    known: dict[str, Any] = {"_nothing": _NOTHING}
    names, lines = [], []
    for name in cls.__match_args__:
        default, value = cls._defaults.get(name, _NOTHING), name
        if isinstance(default, _Made):
            known["_make_" + name] = default.make
            names.append(f"{name}=_nothing")
            value = f"_make_{name}() if {name} is _nothing else {name}"
        elif default is _NOTHING:
            names.append(name)
        else:
            known["_is_" + name] = default
            names.append(f"{name}=_is_{name}")
        lines.append(f"    self.{name} = {value}\n")
    exec(f"def __init__(self, {', '.join(names)}):\n{''.join(lines)}", known)
    made = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


if not TYPE_CHECKING:

    def field(*, default_factory: Callable[[], Any]) -> Any:
        """Return the default of a field that is made anew for every value."""
        return _Made(default_factory)

    def replaced(value: Any, /, **changes: Any) -> Any:
        """Return a copy of *value* with some fields changed."""
        return type(value)(**{name: getattr(value, name) for name in value.__match_args__} | changes)

    def dataclass(
        *, slots: bool, frozen: bool = False, eq: bool = True,
        repr: bool = True,  # noqa: A002 - as there
        kw_only: bool = False,  # noqa: ARG001 - for type checkers
    ) -> Callable[[type], type]:
        """
        Return what makes a class of the fields that its annotations name, in this order; none is inherited. Values of a
        *frozen* one have a hash.
        """
        if not slots:
            raise TypeError("a dataclass here has slots")

        def make(cls: type) -> type:
            if any(hasattr(base, _FIELDS) for base in cls.__bases__):
                raise TypeError("a dataclass here inherits no fields")
            body = dict(cls.__dict__)
            names = tuple(body.get("__annotations__", ()))
            defaults = {name: body.pop(name) for name in names if name in body}
            if tuple(defaults) != names[len(names) - len(defaults) :]:
                raise TypeError("a field without a default follows one with a default")
            for name in ("__dict__", "__weakref__"):
                body.pop(name, None)
            if eq:
                body["__eq__"], body["__hash__"] = Record.__eq__, _hash if frozen else None
            if repr:
                body["__repr__"] = Record.__repr__
            return type(cls)(
                cls.__name__, cls.__bases__,
                {**body, "__init__": _first, "__slots__": names, "__match_args__": names, "_defaults": defaults,
                 "_values_made": False, _FIELDS: _Fields(defaults)},
            )  # fmt: skip

        return make
