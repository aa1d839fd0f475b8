"""Long tables whose rows are made when somebody asks for them: most runs show ten of a thousand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, overload

_T = TypeVar("_T")


class Rows(Sequence[_T]):
    """A sequence that makes its items on first use and keeps them. Equal to every sequence of equal items."""

    __slots__ = ("_items", "_length", "_make")

    def __init__(self, length: int, make: Callable[[], list[_T]]) -> None:
        """Know the *length*; *make* returns all items and is called at most once."""
        self._length, self._make = length, make
        self._items: list[_T] | None = None

    def _all(self) -> list[_T]:
        if self._items is None:
            self._items = self._make()
        return self._items

    def __len__(self) -> int:
        """Count, without making anything."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        """Item, or list of items."""
        return self._all()[index]

    def __iter__(self) -> Iterator[_T]:
        """Iterate over all items."""
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        """Whether *other* is a sequence of equal items."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return self._length == len(other) and self._all() == list(other)

    __hash__ = None  # type: ignore[assignment]  # the items can change

    def __repr__(self) -> str:
        """As a list."""
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are lists."""
        return list, (self._all(),)
