"""Sizes, rates and times as they stand in recommendations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight.simulate.units import duration_words, rate_words, size_words

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit

__all__ = ["duration_words", "kubernetes_size", "limit_words", "rate_words", "size_words", "systemd_size"]


def limit_words(limit: Limit) -> str:
    """Return a limit for people."""
    return "not known" if limit is None else "none" if limit == "unlimited" else size_words(limit)


def kubernetes_size(size_bytes: int) -> str:
    """Return *size_bytes* as a Kubernetes quantity, exactly: ``512Mi``, ``2Gi``."""
    for unit, length in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size_bytes % length == 0 and size_bytes >= length:
            return f"{size_bytes // length}{unit}"
    return str(size_bytes)


def systemd_size(size_bytes: int) -> str:
    """Return *size_bytes* as systemd and Docker Compose read it (powers of 1024), exactly: ``512M``, ``2G``."""
    return kubernetes_size(size_bytes).removesuffix("i")
