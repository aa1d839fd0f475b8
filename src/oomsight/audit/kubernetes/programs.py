"""The programs of a pod, with the limit that applies to each: for the runtime rules."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from oomsight.audit.program import Program
from oomsight.audit.quantity import KUBERNETES

if TYPE_CHECKING:
    from oomsight.audit.kubernetes.model import PodCase


def pod_programs(case: PodCase) -> Iterator[Program]:
    """Yield what runs in each container of the pod."""
    for container in case.pod.containers:
        effective = case.effective(container)
        limit = effective.limit_bytes
        if limit is None and case.pod.limit is not None:
            limit = case.pod.limit.value_bytes
        yield Program(
            container.where, container.subject, container.argv, container.env, container.image,
            limit, limit is None and container.limit is None, effective.request_bytes, None,
            cpus(container.cpu_limit), container.env_places, container.limit.where if container.limit else None,
            replaces_entrypoint=bool(container.argv),
        )  # fmt: skip


def cpus(text: str | None) -> float | None:
    """Return the cores of a CPU quantity (``500m``, ``2``); ``None`` = not given or wrong."""
    if not text:
        return None
    number, suffix = (text[:-1], text[-1]) if text[-1] in "mun" else (text, "")
    try:
        return float(Fraction(number) * KUBERNETES[suffix])
    except (ValueError, ZeroDivisionError):
        return None
