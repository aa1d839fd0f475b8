"""Pressure stall information."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oomsight.proc.pressure import Stall, parse_pressure

# /proc/pressure/memory of Debian's 6.12.107, under load
MEMORY = (
    "some avg10=12.34 avg60=100.00 avg300=0.17 total=51025863\nfull avg10=0.00 avg60=0.01 avg300=0.00 total=3006651\n"
)


def test_parse_pressure_both_lines() -> None:
    assert parse_pressure(MEMORY) == {
        "some": Stall(12.34, 100.0, 0.17, 51025863), "full": Stall(0.0, 0.01, 0.0, 3006651),
    }  # fmt: skip


def test_parse_pressure_cpu_before_5_13_has_no_full_line() -> None:
    assert list(parse_pressure(MEMORY.splitlines()[0])) == ["some"]


@given(st.text())
def test_parse_pressure_any_text_is_harmless(text) -> None:
    assert set(parse_pressure(text)) <= {"some", "full"}
