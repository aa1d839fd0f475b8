"""The alerts held now as samples: who holds what, how many, and that what is over goes back to nothing."""

from __future__ import annotations

from oomsight.alarms.table import ALARMS
from oomsight.metrics.alerts import alert_families
from oomsight.metrics.labels import Place
from oomsight.metrics.table import OTHER


def _alert(subject: str, *codes: str, since: float = 1.0, severity: str = "warning") -> dict:
    return {"subject": subject, "codes": list(codes), "since": since, "severity": severity}


def _samples(alerts, **more):
    place = Place(unit="x.service")
    return {f.metric.name: f.samples for f in alert_families(alerts, lambda _: place, **more)}


def test_alerts_of_host_and_cgroup() -> None:
    found = _samples([_alert("host", "memory_high", severity="critical"), _alert("/x", "cgroup_growth", "cgroup_at_limit")])
    assert found["oomsight_alert_active"] == {
        ("memory_high", "critical", "", *Place()): 1,
        ("cgroup_growth", "warning", "/x", "x.service", "", "", ""): 1,
        ("cgroup_at_limit", "warning", "/x", "x.service", "", "", ""): 1,
    }


def test_held_counts_every_alarm_from_zero_on() -> None:
    held = _samples([_alert("/x", "cgroup_growth"), _alert("/y", "cgroup_growth")])["oomsight_alerts_held"]
    assert held == {(alarm.code,): 2 if alarm.code == "cgroup_growth" else 0 for alarm in ALARMS}
    assert set(_samples([])) == {"oomsight_alerts_held"}
    assert not any(_samples([])["oomsight_alerts_held"].values())


def test_beyond_the_bound_cgroups_share_a_bucket_and_still_count() -> None:
    alerts = [_alert(f"/c{n}", "cgroup_growth", since=n) for n in range(4)]
    found = _samples(alerts, most=2)
    assert {labels[2] for labels in found["oomsight_alert_active"]} == {"/c0", "/c1", OTHER}
    assert found["oomsight_alerts_held"]["cgroup_growth",] == 4
