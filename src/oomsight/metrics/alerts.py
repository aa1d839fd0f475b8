"""The memory alerts held now: one sample for each alarm of each alert, and how many hold each alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from oomsight.alarms.table import ALARMS
from oomsight.metrics.family import Family, family, present
from oomsight.metrics.labels import Place
from oomsight.metrics.table import OTHER

if TYPE_CHECKING:
    from oomsight.metrics.host import Locate

_OTHERS: Final = (OTHER, *Place())


def alert_families(alerts: Sequence[Mapping[str, Any]], locate: Locate, *, most: int = 100) -> list[Family]:
    """*alerts*: as the agent holds them; those beyond *most* cgroups share a bucket."""
    found, held = family("oomsight_alert_active"), family("oomsight_alerts_held")
    counts = dict.fromkeys((alarm.code for alarm in ALARMS), 0)
    for number, alert in enumerate(sorted(alerts, key=lambda alert: float(alert["since"]))):
        path = alert["subject"]
        labels = ("", *Place()) if path == "host" else (path, *locate(path)) if number < most else _OTHERS
        for code in alert["codes"]:
            found.add(1, code, alert["severity"], *labels)
            counts[code] = counts.get(code, 0) + 1
    for code, count in counts.items():
        held.add(count, code)
    return present([found, held])
