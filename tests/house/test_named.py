"""oomsight._named: the classes it makes behave as typing's"""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from oomsight import _named

BODY = '''
class Made(NamedTuple):
    """What it is."""

    first: int  #: no default
    second: str = "two"
    third: tuple[int, ...] = ()

    @property
    def both(self) -> str:
        return f"{self.first} {self.second}"


class Child(Made):
    """With another property."""

    __slots__ = ()


class Empty(NamedTuple):
    pass
'''


def made(base):
    space = {"NamedTuple": base, "__name__": __name__}
    exec(compile(f"from __future__ import annotations\n{BODY}", "body", "exec"), space)
    return space


OURS, TYPINGS = made(_named.NamedTuple), made(typing.NamedTuple)
Made, Child, Empty = OURS["Made"], OURS["Child"], OURS["Empty"]


def test_same_values_names_and_methods_as_typings():
    for space in (OURS, TYPINGS):
        value = space["Made"](1, third=(3,))
        assert value == (1, "two", (3,))
        assert (value.first, value.second, value.both) == (1, "two", "1 two")
        assert repr(value) == "Made(first=1, second='two', third=(3,))"
        assert value._asdict() == {"first": 1, "second": "two", "third": (3,)}
        assert value._replace(second="zwei") == (1, "zwei", (3,))
        assert space["Made"]._make([1, 2, 3]) == (1, 2, 3)
        assert space["Made"]._fields == space["Made"].__match_args__ == ("first", "second", "third")
        assert space["Made"]._field_defaults == {"second": "two", "third": ()}
        assert type(space["Child"](4)) is space["Child"]
        assert repr(space["Child"](4)) == "Child(first=4, second='two', third=())"
        assert space["Empty"]() == ()
        assert space["Made"].__doc__ == "What it is."


@pytest.mark.parametrize("space", [OURS, TYPINGS], ids=["ours", "typing's"])
def test_same_errors_as_typings(space):
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'first'"):
        space["Made"]()
    with pytest.raises(TypeError, match="unexpected keyword argument 'fourth'"):
        space["Made"](1, fourth=4)
    with pytest.raises(TypeError, match="Expected 3 arguments, got 1"):
        space["Made"]._make([1])
    with pytest.raises((ValueError, TypeError), match="unexpected field names"):  # TypeError from 3.13 on
        space["Made"](1)._replace(fourth=4)
    with pytest.raises(AttributeError):
        space["Made"](1).first = 2


def test_default_before_a_field_without_one_is_refused():
    with pytest.raises(TypeError, match="follows one with a default"):
        exec("class Odd(NamedTuple):\n    one: int = 1\n    two: int", {"NamedTuple": _named.NamedTuple})


def test_copies_and_pickles(monkeypatch):
    monkeypatch.setitem(globals(), "Made", Made)
    value = Made(1, third=(3,))
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    assert type(pickle.loads(pickle.dumps(value))) is Made


def test_matches_by_position():
    match Made(1):
        case Made(first, second):
            assert (first, second) == (1, "two")
