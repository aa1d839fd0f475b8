"""Everything one run of ``score`` has to say; what is ``None`` or empty was not asked for."""

from __future__ import annotations

from oomsight._named import NamedTuple

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import SmapsRollup
    from oomsight.score.factors import Factors
    from oomsight.score.limits import LimitedCgroup
    from oomsight.score.model import Ranking, Rules, Snapshot, Unseen
    from oomsight.score.outcome import Prediction


class Detail(NamedTuple):
    """One process in every OOM that could reach it."""

    host: Factors
    cgroups: Sequence[Factors] = ()  #: in each limited cgroup above it, its own first


class Answer(NamedTuple):
    """What was asked, and what came of it."""

    snapshot: Snapshot
    rules: Rules
    ranking: Ranking | None = None  #: of the host, or of the cgroup asked for
    prediction: Prediction | None = None  #: what the OOM of ``ranking`` would come to
    own_limit: Memcg | None = None  #: in a container: the nearest limit above the one who asks; "/" is its own top
    asked_cgroup: str | None = None  #: cgroup asked for, if another one's limit would be hit before it
    cgroups: Sequence[LimitedCgroup] | None = None
    details: Sequence[Detail] = ()
    pss: Mapping[int, SmapsRollup] | None = None
    limit: int | None = None  #: most rows to show, ``None`` = all
    unseen: Sequence[Unseen] = ()
