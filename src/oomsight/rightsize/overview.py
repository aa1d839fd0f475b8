"""
What is told of each subject where there are many: a line, and what it rests on.

A line is a fraction of the work of an advice: whether something leaks has to be known, but not what it is otherwise;
one percentile, and no other limits than the one that is recommended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oomsight._named import NamedTuple
from oomsight._record import replaced
from oomsight.rightsize.model import Leak
from oomsight.rightsize.policy import USUAL, percentile
from oomsight.rightsize.recommend import adj_setting, decided, limit_setting, recommend

if TYPE_CHECKING:
    from oomsight.proc.memcg import Limit
    from oomsight.rightsize.model import Advice, Setting, Subject, Usage
    from oomsight.rightsize.policy import Policy

IN_FULL: Final = 3  #: subjects that are told in full; of more a line each
PERCENT: Final = 95.0  #: the percentile of need in a line


class Line(NamedTuple):
    """One subject. Bytes; ``None`` = not known."""

    subject: Subject
    percentile_bytes: int | None  #: need at :data:`PERCENT`
    peak_bytes: int | None
    now: Limit
    limit: Setting | None
    adj: Setting | None
    kill_count: int
    leaks: bool
    headline: str | None  #: marked; of a host, which has no limit but swap


def line_of(advice: Advice) -> Line:
    """The line of what is told in full."""
    usage = advice.usage
    return Line(
        usage.subject, advice.percentiles.get(f"p{PERCENT:g}"), advice.peak_bytes, usage.limit_bytes,
        advice.setting("limit"), advice.setting("oom_score_adj"), usage.kill_count, usage.leak.growth == "leak",
        advice.headline if usage.subject.kind == "host" else None,
    )  # fmt: skip


def line(usage: Usage, policy: Policy = USUAL, *, leaks: bool) -> Line:
    """As :func:`line_of` what :func:`~oomsight.rightsize.recommend.recommend` says; *leaks*: whether *usage* does."""
    if usage.subject.kind == "host":
        return line_of(recommend(usage, policy))
    judged = replaced(usage, leak=Leak(growth="leak" if leaks else "unknown"))
    values, found = usage.ordered(), decided(judged, policy)
    return Line(
        usage.subject, int(percentile(values, PERCENT)) if values else None,
        None if found.peak is None else int(found.peak), usage.limit_bytes, limit_setting(judged, found),
        adj_setting(usage), usage.kill_count, leaks, None,
    )  # fmt: skip
