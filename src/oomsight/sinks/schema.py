"""
Field tables that write JSON and describe it: the writer and the JSON Schema walk the same rows and cannot drift.

A :class:`Record` is a table of :class:`Field` rows. ``write`` turns an object into a plain ``dict`` with every field
present (``None`` where not known); :func:`json_schema` turns the same tables into a schema that knows no other key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

from oomsight.naming.marked import unmark

Json = Any  # what json.dumps takes; a recursive alias helps nobody here


class Type(NamedTuple):
    """A JSON type: its schema, how a value gets there (``None`` = as it is), and the records it refers to."""

    schema: Mapping[str, Json]
    write: Callable[[Any], Json] | None = None
    records: tuple[Record, ...] = ()


class Field(NamedTuple):
    """One key of an object: name, type, meaning (with unit and, where not obvious, what ``null`` means), source."""

    name: str
    type: Type
    doc: str
    get: Callable[[Any], Any]


class Record:
    """An object type: a name, a meaning and its fields in the order they are written."""

    def __init__(self, name: str, doc: str, *fields: Field) -> None:
        self.name, self.doc, self.fields = name, doc, fields
        self._plan: tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Json] | None], ...] = tuple(
            (f.name, f.get, f.type.write) for f in fields
        )

    def write(self, value: Any) -> dict[str, Json]:
        """Return *value* as a dictionary with every field of the table."""
        return {name: get(value) if put is None else put(get(value)) for name, get, put in self._plan}

    @property
    def type(self) -> Type:
        """This record as the type of a field."""
        return Type({"$ref": f"#/$defs/{self.name}"}, self.write, (self,))

    def schema(self) -> dict[str, Json]:
        """Return the JSON Schema of this record alone; nested records are ``$ref``."""
        return {
            "type": "object",
            "description": self.doc,
            "properties": {f.name: {**f.type.schema, "description": f.doc} for f in self.fields},
            "required": [f.name for f in self.fields],
            "additionalProperties": False,
        }


class Table(Record):
    """
    An object type of which there may be thousands: what its fields get is a column, the values of all objects (or the
    attribute of each), and the text of all of them is made without a dictionary for each.
    """

    def columns(self, value: Any) -> list[list[Json]]:
        """Return what is written of *value*, a table as the fields' ``get`` know it, by field."""
        found = []
        for _, get, put in self._plan:
            column = list(map(get, value) if isinstance(get, attrgetter) else get(value))
            found.append(column if put is None or column.count(None) == len(column) else list(map(put, column)))
        return found

    def write_all(self, value: Any) -> list[dict[str, Json]]:
        """Return the objects of *value* as dictionaries with every field of the table."""
        names = [f.name for f in self.fields]
        return [dict(zip(names, row, strict=True)) for row in zip(*self.columns(value), strict=True)]

    def text(self, value: Any) -> str:
        """Return :meth:`write_all` as compact JSON, in pure ASCII."""
        import json

        encode, members, columns = json.JSONEncoder().encode, [], []
        for row, column in zip(self.fields, found := self.columns(value), strict=True):
            missing = column.count(None)
            form = "%d" if "integer" in row.type.schema.get("type", ()) and not missing else "%s"
            if missing == len(column):
                form = "null"
            elif form == "%s":
                columns.append(["null" if cell is None else encode(cell) for cell in column])
            else:
                columns.append(column)
            members.append(f'"{row.name}":{form}')
        form = ",".join(["{" + ",".join(members) + "}"] * len(found[0]))
        return "[" + form % tuple(chain.from_iterable(zip(*columns, strict=True))) + "]"

    @property
    def type(self) -> Type:
        """All objects of a table as the type of a field."""
        return Type({"type": "array", "items": super().type.schema}, self.write_all, (self,))


def field(name: str, kind: Type, doc: str, get: Callable[[Any], Any] | None = None) -> Field:
    """Return a row of a field table; without *get* the value is the attribute *name*."""
    return Field(name, kind, doc, get or attrgetter(name))


TEXT: Final = Type({"type": "string"})
SENTENCE: Final = Type({"type": "string"}, unmark)
INT: Final = Type({"type": "integer"})
NUMBER: Final = Type({"type": "number"})
BOOL: Final = Type({"type": "boolean"})
LIMIT: Final = Type({"anyOf": [{"type": "integer"}, {"const": "unlimited"}, {"type": "null"}]})
"""KiB, ``"unlimited"``, or null when not printed."""


def optional(kind: Type) -> Type:
    """Return *kind* or ``null`` (not known)."""
    put = kind.write
    schema: Mapping[str, Json]
    if isinstance(kind.schema.get("type"), str) and "enum" not in kind.schema:
        schema = {**kind.schema, "type": [kind.schema["type"], "null"]}
    else:
        schema = {"anyOf": [kind.schema, {"type": "null"}]}
    write = None if put is None else lambda value: None if value is None else put(value)
    return Type(schema, write, kind.records)


def array(kind: Type) -> Type:
    """Return a list of *kind*."""
    put = kind.write
    write = list if put is None else lambda values: [put(value) for value in values]
    return Type({"type": "array", "items": kind.schema}, write, kind.records)


def mapping(kind: Type) -> Type:
    """Return an object whose keys are the kernel's own names and whose values are *kind* (written as they are)."""
    return Type({"type": "object", "additionalProperties": kind.schema}, dict)


def choice(*values: str) -> Type:
    """Return one of *values*; enums are written as their value."""
    return Type({"type": "string", "enum": list(values)}, str)


def constant(value: str) -> Type:
    """Return always *value*."""
    return Type({"const": value})


def json_schema(root: Record, schema_id: str, title: str) -> dict[str, Json]:
    """Return the JSON Schema (2020-12) of *root* with every record it reaches under ``$defs``."""
    found: dict[str, Record] = {}

    def collect(records: Iterable[Record]) -> None:
        for record in records:
            if found.setdefault(record.name, record) is not record:
                raise ValueError(f"two records are named {record.name}")
            for row in record.fields:
                collect(r for r in row.type.records if found.get(r.name) is not r)

    for row in root.fields:
        collect(row.type.records)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_id,
        "title": title,
        **root.schema(),
        "$defs": {name: found[name].schema() for name in sorted(found)},
    }
