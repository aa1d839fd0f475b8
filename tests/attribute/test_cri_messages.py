"""Protocol buffers of the CRI: read as they are written, and never trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.attribute.cri_messages import CONTAINERS, SANDBOXES, STATUS, MessageError, decode, encode


def test_decode_containers() -> None:
    container = encode(
        (1, "abc"), (2, "pod1"), (3, encode((1, "api"), (2, 4))), (4, encode((1, "sha256:1"), (18, "reg/api:7"))),
        (6, 1), (7, 1_795_440_972_000_000_000), (8, encode((1, "app"), (2, "api"))), (8, encode((1, "n"), (2, ""))),
        (99, "later"),
    )  # fmt: skip
    assert decode(encode((1, container)), CONTAINERS) == {
        "containers": [{
            "id": "abc", "podSandboxId": "pod1", "metadata": {"name": "api", "attempt": 4},
            "image": {"image": "sha256:1", "userSpecifiedImage": "reg/api:7"}, "state": "CONTAINER_RUNNING",
            "createdAt": 1_795_440_972_000_000_000, "labels": {"app": "api", "n": ""},
        }],
    }  # fmt: skip


def test_decode_absent_fields_are_zero_as_proto3_means_them() -> None:
    (row,) = decode(encode((1, encode((1, "s1")))), SANDBOXES)["items"]
    assert row == {"id": "s1", "metadata": None, "createdAt": 0, "labels": {}}
    assert decode(b"", CONTAINERS) == {"containers": []}


def test_decode_negative_and_unknown_values() -> None:
    status = decode(encode((1, encode((3, 77), (7, (1 << 64) - 9)))), STATUS)["status"]
    assert (status["exitCode"], status["state"]) == (-9, "CONTAINER_UNKNOWN")


def test_decode_fixed_width_fields_are_stepped_over() -> None:
    assert decode(b"\x19" + bytes(8) + b"\x15" + bytes(4) + encode((1, encode((1, "s1")))), SANDBOXES)["items"][0]["id"] == "s1"


def test_decode_odd_bytes_of_a_name_are_kept() -> None:
    data = encode((1, encode((1, b"a\xff"))))
    assert decode(data, SANDBOXES)["items"][0]["id"] == "a\udcff"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a\x05ab", "ends too early"), (b"\x0a", "ends too early"), (b"\x0b", "unknown wire type 3"),
        (b"\xff" * 11, "a number is too long"), (encode((1, 5)), "bytes were expected"),
        (encode((1, encode((4, "x")))), "a number was expected"),
    ],
)  # fmt: skip
def test_decode_what_is_no_message(data, words) -> None:
    with pytest.raises(MessageError, match=words):
        decode(data, SANDBOXES)


@given(st.binary(max_size=200))
def test_decode_anything_is_a_value_or_a_message_error(data) -> None:
    for table in (CONTAINERS, SANDBOXES, STATUS):
        try:
            decode(data, table)
        except MessageError:
            continue
