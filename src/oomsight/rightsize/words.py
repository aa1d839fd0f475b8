"""Limits as they stand in recommendations and in what is to be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oomsight._sizes import size_words
from oomsight.simulate.units import duration_words

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit

__all__ = ["duration_words", "limit_words", "systemd_size"]


def limit_words(limit: Limit) -> str:
    """Return a limit for people."""
    return "not known" if limit is None else "none" if limit == "unlimited" else size_words(limit)


def systemd_size(size_bytes: int) -> str:
    """Return *size_bytes* as systemd and Docker Compose read it (powers of 1024), whole MiB: ``512M``, ``2G``."""
    from oomsight.audit.quantity import kubernetes_words  # which loads fractions

    return kubernetes_words(size_bytes).removesuffix("i")
