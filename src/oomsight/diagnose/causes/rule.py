"""What a cause rule is and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from oomsight._named import NamedTuple
from oomsight._record import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomsight.diagnose.causes.case import Case
    from oomsight.diagnose.model import Advice, Confidence, Evidence

Scope = Literal["oom", "host", "memcg", "any"]
"""Which reports a rule looks at: any kernel OOM, one of the machine, one of a cgroup's limit, or any event."""


@dataclass(slots=True)
class Finding:
    """A rule's yes: how sure, why, what to do."""

    confidence: Confidence
    evidence: list[Evidence]
    advice: list[Advice] = field(default_factory=list)
    settles: str | None = None  #: what would settle it; required for ``possible``
    title: str | None = None  #: title for this case, where the rule's own is too general
    main: bool = False  #: explains most of the shortage by itself: ranks above the general causes


class Rule(NamedTuple):
    """One row of the cause table."""

    code: str
    title: str
    scope: Scope
    find: Callable[[Case], Finding | None]
    source: str  #: kernel file and release where the evidence is printed or the rule is made
