"""Sizes in three languages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.audit.quantity import (
    KUBERNETES,
    docker_size,
    kubernetes_size,
    kubernetes_words,
    systemd_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("128974848", 128974848), ("129e6", 129_000_000), ("129M", 129_000_000), ("128974848000m", 128974848),
        ("123Mi", 123 << 20), ("1.5Gi", 3 << 29), (".5Gi", 1 << 29), ("1.", 1), ("1e3", 1000), ("1E3", 1000),
        ("1E", 10**18), ("1Ei", 1 << 60), ("1k", 1000), ("+1Ki", 1024), ("0.1", 1), ("1e-3", 1), ("-0", 0),
        ("5000000000000000m", 5 * 10**12),
    ],
)  # fmt: skip
def test_kubernetes_quantities(text, size) -> None:
    assert kubernetes_size(text) == (size, None, None)


@pytest.mark.parametrize(
    ("text", "size", "meant"),
    [
        ("128m", 1, "128Mi"), ("512MB", None, "512Mi"), ("1 Gi", None, "1Gi"), ("128mi", None, "128Mi"),
        ("1GB", None, "1Gi"), ("1g", None, "1Gi"), ("256K", None, "256Ki"), ("12:30:45", None, None),
        ("", None, None), ("Mi", None, None), ("-1Mi", None, None), ("1e", None, None), ("0x10", None, None),
        ("1" * 100, None, None), ("9e99", (1 << 63) - 1, None), ("１Gi", None, None),
    ],
)  # fmt: skip
def test_kubernetes_quantities_that_are_wrong(text, size, meant) -> None:
    found = kubernetes_size(text)
    assert found.problem
    assert (found.size_bytes, found.meant) == (size, meant)


@given(st.integers(0, 10**9), st.integers(0, 999), st.sampled_from(sorted(KUBERNETES)))
def test_kubernetes_quantities_are_exact(whole, thousandths, suffix) -> None:
    text = f"{whole}.{thousandths:03}{suffix}"
    factor = KUBERNETES[suffix]
    exact = Decimal(whole * 1000 + thousandths) * factor.numerator
    size = kubernetes_size(text).size_bytes
    scale = 1000 * factor.denominator
    if size < (1 << 63) - 1:
        assert size * scale >= exact > (size - 1) * scale  # rounded up, never by a byte or more


@given(st.text(max_size=12))
def test_no_text_breaks_a_reader(text) -> None:
    for read in (kubernetes_size, docker_size, systemd_size):
        found = read(text)
        assert found.problem or found.size_bytes is not None or found.special


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("1gb", 1 << 30), ("1.5GiB", 3 << 29), ("300", 300), ("2 G", 2 << 30), ("64K", 65536)],
)
def test_docker_sizes_are_binary(text, size) -> None:
    assert docker_size(text).size_bytes == size


@pytest.mark.parametrize("text", ["512x", "lots", "", "-1m", "1e3"])
def test_docker_sizes_that_are_wrong(text) -> None:
    assert docker_size(text).problem


def test_systemd_sizes() -> None:
    assert systemd_size("512M").size_bytes == 512 << 20
    assert systemd_size("1G 512M").size_bytes == (1 << 30) + (512 << 20)
    assert systemd_size("infinity").special == "infinity"
    assert systemd_size("80%") == (None, "percent", 80.0, None, None)
    assert systemd_size("512MB").meant == "512M"
    assert systemd_size("512m").meant == "512M"
    assert systemd_size("120%").problem
    assert systemd_size("x%").problem


def test_words() -> None:
    assert kubernetes_words((1 << 30) + 1) == "1025Mi"
    assert kubernetes_words(2 << 30) == "2Gi"
