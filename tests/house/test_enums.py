"""oomsight._enums: members behave as enum's where it matters; oomsight._lazy: results are remembered."""

from __future__ import annotations

import copy
import enum
import json
import pickle

import pytest

from oomsight import _enums
from oomsight._lazy import remembered

BODY = '''
class Word(StrEnum):
    """Words."""

    ONE = "one"
    TWO = "two"

    @property
    def twice(self):
        return self.value * 2


class Number(IntEnum):
    """Numbers."""

    NIL = 0
    MANY = 141
'''


def made(module):
    space = {"StrEnum": module.StrEnum, "IntEnum": module.IntEnum, "__name__": __name__}
    exec(BODY, space)
    return space["Word"], space["Number"]


Word, Number = made(_enums)


@pytest.mark.parametrize("module", [_enums, enum], ids=["ours", "enum"])
def test_same_members_as_enums(module):
    word, number = made(module)
    assert list(word) == ["one", "two"]
    assert len(word) == 2
    assert word("one") is word.ONE
    assert (word.ONE.name, word.ONE.value, word.ONE.twice) == ("ONE", "one", "oneone")
    assert f"{word.ONE} {word.ONE:>4} {number.MANY} {number.MANY:>4}" == "one  one 141  141"
    assert str(number.MANY) == "141"
    assert repr(word.ONE) == "<Word.ONE: 'one'>"
    assert repr(number.MANY) == "<Number.MANY: 141>"
    assert {word.ONE: 1}[word("one")] == 1
    assert word.TWO == "two"
    assert number(141) is number.MANY
    assert not number.NIL
    assert json.dumps([word.ONE, number.MANY]) == '["one", 141]'
    assert isinstance(word.ONE, word)
    assert isinstance(number.NIL, int)
    with pytest.raises(ValueError, match="'three' is not a valid"):
        word("three")


def test_copies_and_pickles_are_the_member():
    globals()["Word"] = Word
    assert copy.copy(Word.ONE) is Word.ONE
    assert copy.deepcopy([Word.ONE])[0] is Word.ONE
    assert pickle.loads(pickle.dumps(Word.TWO)) is Word.TWO


def test_remembers_until_it_is_full():
    calls = []

    @remembered(2)
    def double(number):
        """Twice as much."""
        calls.append(number)
        return number * 2

    assert [double(1), double(1), double(2), double(1)] == [2, 2, 4, 2]
    assert calls == [1, 2]
    assert double(3) == 6  # forgets all
    assert double(1) == 2
    assert calls == [1, 2, 3, 1]
    assert double.__doc__ == "Twice as much."
