"""oomsight._record: values that behave as those of the standard library's dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys

import pytest

from oomsight import _record
from oomsight._record import Record


@_record.dataclass(slots=True, eq=False, repr=False)
class Point(Record):
    """A place."""

    x: int
    y: int = 2
    tags: list[str] = _record.field(default_factory=list)

    @property
    def total(self) -> int:
        return self.x + self.y


@_record.dataclass(slots=True)
class Bare:
    name: str
    size: int | None = None


@dataclasses.dataclass(slots=True)
class Standard:
    name: str
    size: int | None = None


class Special(Point):
    __slots__ = ()


def test_values_are_made_as_by_the_standard_library() -> None:
    point = Point(1, tags=["a"])
    assert (point.x, point.y, point.tags, point.total) == (1, 2, ["a"], 3)
    assert Point(y=5, x=4) == Point(4, 5, [])
    assert Point(1).tags is not Point(1).tags
    assert Special(7).total == 9
    assert Point.__doc__ == "A place."
    assert repr(point) == "Point(x=1, y=2, tags=['a'])"


@pytest.mark.parametrize("kind", [Bare, Standard])
def test_equality_hash_slots_and_patterns_as_of_the_standard_library(kind) -> None:
    value = kind("a", 1)
    assert value == kind("a", 1) != kind("b", 1)
    assert value != Point(1)
    assert repr(value) == f"{kind.__name__}(name='a', size=1)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)
    with pytest.raises(AttributeError):
        value.other = 1
    match value:
        case kind(name, size):
            assert (name, size) == ("a", 1)


@pytest.mark.parametrize("kind", [Bare, Standard])
@pytest.mark.parametrize(
    ("values", "named", "words"),
    [
        ((), {}, "missing 1 required positional argument: 'name'"),
        (("a", 1, 2), {}, "takes from 2 to 3 positional arguments but 4 were given"),
        (("a",), {"colour": 1}, "got an unexpected keyword argument 'colour'"),
        (("a",), {"name": "b"}, "got multiple values for argument 'name'"),
    ],
)
def test_a_wrong_call_is_told_as_by_the_standard_library(kind, values, named, words) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__}.__init__.. {words}"):
        kind(*values, **named)


def test_the_functions_of_the_standard_library_know_it() -> None:
    point = Point(1)
    assert dataclasses.is_dataclass(Point)
    assert [(f.name, f.type) for f in dataclasses.fields(Point)] == [("x", "int"), ("y", "int"), ("tags", "list[str]")]
    assert dataclasses.replace(point, y=9) == Point(1, 9)
    assert dataclasses.asdict(point) == {"x": 1, "y": 2, "tags": []}
    assert dataclasses.fields(Special(1)) == dataclasses.fields(Point)
    assert dataclasses.fields(Bare)[1].default is None


def test_copies_and_pickles_are_equal() -> None:
    point = Point(1, 3, ["a"])
    assert pickle.loads(pickle.dumps(point)) == point
    other = copy.deepcopy(point)
    assert other == point
    assert other.tags is not point.tags


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(TypeError, match="has slots"):
        _record.dataclass(slots=False)
    with pytest.raises(TypeError, match="inherits no fields"):

        @_record.dataclass(slots=True)
        class More(Point):
            z: int

    with pytest.raises(TypeError, match="without a default follows"):

        @_record.dataclass(slots=True)
        class Odd:
            a: int = 1
            b: int


def test_the_standard_librarys_module_is_not_loaded_for_it() -> None:
    code = "import sys, oomsight.report, oomsight.diagnose.explain; sys.exit('dataclasses' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": "src"}, check=False).returncode == 0


@_record.dataclass(slots=True, frozen=True)
class Fixed:
    name: str
    size: int | None = None


def test_a_frozen_one_has_a_hash_and_a_changed_copy_is_one_of_its_class() -> None:
    assert {Fixed("a", 1): "there"}[Fixed("a", 1)] == "there"
    assert _record.replaced(Fixed("a", 1), size=2) == Fixed("a", 2)
    assert _record.replaced(Point(1, 2, ["a"]), y=3) == Point(1, 3, ["a"])
    with pytest.raises(TypeError):
        _record.replaced(Fixed("a"), colour="red")
