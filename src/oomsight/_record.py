"""
What the value classes of the model share: comparison and a readable form.

``dataclass`` compiles both for every class, at half of its cost; with thirty classes that is a tenth of the time that
``oomsight explain FILE`` takes as a whole process. So they stand here once and the classes ask for neither.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Record:
    """Base of dataclasses made with ``eq=False, repr=False``: equal when of one class with equal fields."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        """Whether *other* is of the same class and has the same values."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._names())

    __hash__ = None  # type: ignore[assignment]  # the values can change

    def __repr__(self) -> str:
        """``Class(field=value, …)``."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names())
        return f"{self.__class__.__qualname__}({shown})"

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        fields: dict[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]  # set by dataclass
        return tuple(fields)
