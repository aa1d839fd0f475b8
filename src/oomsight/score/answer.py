"""Everything one run of ``score`` has to say; what is ``None`` or empty was not asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomsight.proc.process import SmapsRollup
    from oomsight.score.factors import Factors
    from oomsight.score.limits import LimitedCgroup
    from oomsight.score.model import Ranking, Rules, Snapshot, Unseen
    from oomsight.score.outcome import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One process in every OOM that could reach it."""

    host: Factors
    cgroups: Sequence[Factors] = ()  #: in each limited cgroup above it, its own first


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was asked, and what came of it."""

    snapshot: Snapshot
    rules: Rules
    ranking: Ranking | None = None  #: of the host, or of the cgroup asked for
    prediction: Prediction | None = None  #: what the OOM of ``ranking`` would come to
    asked_cgroup: str | None = None  #: cgroup asked for, if another one's limit would be hit before it
    cgroups: Sequence[LimitedCgroup] | None = None
    details: Sequence[Detail] = ()
    pss: Mapping[int, SmapsRollup] | None = field(default=None, repr=False)
    limit: int | None = None  #: most rows to show, ``None`` = all
    unseen: Sequence[Unseen] = ()
