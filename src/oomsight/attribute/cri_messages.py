"""
Messages of the Container Runtime Interface, as far as they name things: protocol buffers to plain values and back.

Field numbers are those of k8s.io/cri-api pkg/apis/runtime/v1/api.proto; v1alpha2, which runtimes spoke before, has the
same. By hand, because the generated classes want grpcio and protobuf, compiled code, for the thirty fields we read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TEXT: Final = "text"
NUMBER: Final = "number"
TEXT_MAP: Final = "map"  # map<string, string>

MAX_DEPTH: Final = 8


class MessageError(ValueError):
    """The bytes are no such message."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a message: the name it has in JSON, what it holds, and whether it comes more than once."""

    name: str
    kind: str | Mapping[int, Row] | tuple[str, ...]  #: a scalar, another message, or the names of an enumeration
    many: bool = False


Table = Mapping[int, Row]

_SANDBOX_METADATA: Final[Table] = {
    1: Row("name", TEXT), 2: Row("uid", TEXT), 3: Row("namespace", TEXT), 4: Row("attempt", NUMBER),
}  # fmt: skip
_METADATA: Final[Table] = {1: Row("name", TEXT), 2: Row("attempt", NUMBER)}
_IMAGE: Final[Table] = {1: Row("image", TEXT), 18: Row("userSpecifiedImage", TEXT)}
_STATES: Final = ("CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED", "CONTAINER_UNKNOWN")

VERSION: Final[Table] = {2: Row("runtimeName", TEXT), 3: Row("runtimeVersion", TEXT)}
SANDBOXES: Final[Table] = {
    1: Row("items", {
        1: Row("id", TEXT), 2: Row("metadata", _SANDBOX_METADATA), 4: Row("createdAt", NUMBER),
        5: Row("labels", TEXT_MAP),
    }, many=True),
}  # fmt: skip
CONTAINERS: Final[Table] = {
    1: Row("containers", {
        1: Row("id", TEXT), 2: Row("podSandboxId", TEXT), 3: Row("metadata", _METADATA), 4: Row("image", _IMAGE),
        6: Row("state", _STATES), 7: Row("createdAt", NUMBER), 8: Row("labels", TEXT_MAP),
    }, many=True),
}  # fmt: skip
STATUS: Final[Table] = {
    1: Row("status", {
        1: Row("id", TEXT), 2: Row("metadata", _METADATA), 3: Row("state", _STATES), 4: Row("createdAt", NUMBER),
        5: Row("startedAt", NUMBER), 6: Row("finishedAt", NUMBER), 7: Row("exitCode", NUMBER), 8: Row("image", _IMAGE),
        10: Row("reason", TEXT), 11: Row("message", TEXT), 12: Row("labels", TEXT_MAP),
    }),
    2: Row("info", TEXT_MAP),  # with verbose: JSON texts by name
}  # fmt: skip

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # https://protobuf.dev/programming-guides/encoding/


def decode(data: bytes, table: Table, depth: int = 0) -> dict[str, Any]:
    """
    Return the fields of *data* that *table* names. Those that are absent have their zero value, as proto3 means it.

    Raises :class:`MessageError`.
    """
    if depth > MAX_DEPTH:
        raise MessageError("nested too deeply")
    found: dict[str, Any] = {row.name: _zero(row) for row in table.values()}
    for number, value in _fields(data):
        row = table.get(number)
        if row is None:
            continue
        if row.kind == TEXT_MAP:
            pair = dict(_fields(_bytes(value)))
            key, content = (_bytes(pair.get(at, b"")).decode("utf-8", "surrogateescape") for at in (1, 2))
            found[row.name][key] = content
        elif row.many:
            found[row.name].append(_value(row, value, depth))
        else:
            found[row.name] = _value(row, value, depth)
    return found


def encode(*fields: tuple[int, str | bytes | int]) -> bytes:
    """Return a message of *fields*: text, a message already encoded, or a number of at least 0 (also for ``bool``)."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3 | _VARINT) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += _varint(number << 3 | _BYTES) + _varint(len(data)) + data
    return bytes(out)


def _zero(row: Row) -> Any:
    if row.many:
        return []
    if row.kind == TEXT_MAP:
        return {}
    if row.kind == TEXT:
        return ""
    if row.kind == NUMBER:
        return 0
    return row.kind[0] if isinstance(row.kind, tuple) else None


def _value(row: Row, value: bytes | int, depth: int) -> Any:
    if row.kind == TEXT:
        return _bytes(value).decode("utf-8", "surrogateescape")
    if isinstance(row.kind, Mapping):
        return decode(_bytes(value), row.kind, depth + 1)
    if not isinstance(value, int):
        raise MessageError("a number was expected")
    if isinstance(row.kind, tuple):
        return row.kind[value] if value < len(row.kind) else row.kind[-1]
    return value - (1 << 64) if value >> 63 else value  # int32 and int64 are sent as 64-bit two's complement


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise MessageError("bytes were expected")
    return value


def _fields(data: bytes) -> list[tuple[int, bytes | int]]:
    found: list[tuple[int, bytes | int]] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            found.append((tag >> 3, value))
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise MessageError(f"unknown wire type {kind}")
        if size > len(data) - at:
            raise MessageError("it ends too early")
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise MessageError("it ends too early")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise MessageError("a number is too long")
