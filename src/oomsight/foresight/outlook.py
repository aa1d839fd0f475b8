"""When something will be full, and what would put that off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from oomsight._sizes import size_words
from oomsight.foresight.leaks import verdict_on
from oomsight.foresight.model import Outlook, Remedy, Source, Subject, Task
from oomsight.foresight.victim import inside, predicted
from oomsight.naming.marked import mark
from oomsight.trend.words import span

if TYPE_CHECKING:
    from oomsight.trend.exhaust import Exhaustion
    from oomsight.trend.leak import Finding

MORE: Final = 0.25  #: by how much more limit or swap is reckoned


def outlook(  # noqa: PLR0917 - the two halves of what is known: the curve, and who lives in it
    subject: Subject, now: float, left: Exhaustion | None, causes: Sequence[Source], tasks: Sequence[Task],
    page_size: int,
) -> Outlook:  # fmt: skip
    """Put together what comes for *subject*: its time *left*, who grows in it, who lives on the machine."""
    finding, _ = verdict_on(subject, now)
    if left is None:
        return Outlook(subject, finding, None)
    cause = causes[0] if causes else None
    there = [task for task in tasks if inside(task.cgroup, subject.cgroup)]
    total = left.limit_bytes
    grower = None if cause is not None and cause.kind == "shmem" else cause
    victim = predicted(there, grower, left.headroom_bytes, total, page_size)
    return Outlook(subject, finding, left, causes, victim, tuple(_remedies(subject, left, cause, finding)))


def _remedies(subject: Subject, left: Exhaustion, cause: Source | None, finding: Finding) -> list[Remedy]:
    rate = left.growth.bytes_per_second
    more = MORE * left.limit_bytes
    found = []
    if subject.kind == "host":
        found.append(Remedy("swap", f"{size_words(more)} more swap: {span(more / rate)} more", more / rate))
    else:
        leaks = "; it leaks, so that is all" if finding.is_leak else ""
        words = f"a limit of {size_words(left.limit_bytes + more)}: {span(more / rate)} more{leaks}"
        found.append(Remedy("limit", words, more / rate))
        if subject.swap_free_bytes:
            some = min(subject.swap_free_bytes, left.limit_bytes)
            words = f"{size_words(some)} of swap allowed for it: {span(some / rate)} more"
            found.append(Remedy("swap", words, some / rate))
    if cause is not None:
        freed = min(cause.grown_bytes, left.growth.grown_bytes) or cause.grown_bytes
        if cause.kind == "shmem":
            words = f"deleting what came into tmpfs: frees {size_words(freed)}: {span(freed / rate)} more"
            found.append(Remedy("delete", words, freed / rate))
            return found
        who = mark(cause.name) + (f" (pid {cause.pid})" if cause.pid is not None else "")
        words = f"a restart of {who}: frees what grew, {size_words(freed)}: {span(freed / rate)} more"
        found.append(Remedy("restart", words, freed / rate))
        if subject.kind == "host":
            found.append(Remedy("confine", f"a memory limit for {who}: it is killed alone, the machine goes on", None))
    return found
