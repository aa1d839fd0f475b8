"""A stored incident -> the report it was, the moment of the kill, and what would have prevented it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from oomsight.diagnose.explain import explain_report
from oomsight.pipeline.moments import moment_of_incident
from oomsight.report import parse_text
from oomsight.rightsize.prevention import Prevention, preventions

if TYPE_CHECKING:
    from oomsight.diagnose.model import Incident


class Replayed(NamedTuple):
    """One incident played again."""

    incident: Incident
    found: tuple[Prevention, ...]
    missing: str | None  #: why nothing could be played again (marked); ``None`` = it could


def replay(raw: bytes, incident_id: str) -> Replayed | None:
    """
    Play the kill in the log lines *raw* again. *incident_id* picks one of several reports in them.

    ``None`` = the lines hold no report.
    """
    incidents = [explain_report(report) for report in parse_text(raw, "the stored incident")]
    if not incidents:
        return None
    known = [one for one in incidents if one.id == incident_id]
    whole = [one for one in incidents if one.report.tasks]
    incident = (known or whole or incidents)[-1]
    moment = moment_of_incident(incident)
    if isinstance(moment, str):
        return Replayed(incident, (), moment)
    return Replayed(incident, tuple(preventions(incident, moment)), None)
