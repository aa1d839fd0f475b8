"""The audit of a host on cgroup v2, as a guest with 7.3 saw it: mistakes made on purpose (scenario audit_host)."""

from __future__ import annotations

import json
from pathlib import Path

DATA = Path(__file__).parent / "data/audit_host"


def _found(name: str) -> dict[str, set[str]]:
    document = json.loads((DATA / name).read_text())
    rules: dict[str, set[str]] = {}
    for finding in document["findings"]:
        rules.setdefault(finding["rule"], set()).add(finding["subject"])
    return rules


def test_each_mistake_is_found_where_it_is() -> None:
    found = _found("audit.json")
    assert found["OS104"] == {"vm.swappiness"}
    assert found["OS110"] == {"vm.oom_kill_allocating_task"}
    assert found["OS111"] == {"vm.oom_dump_tasks"}
    assert found["OS123"] == {"shield"}
    assert found["OS124"] == {"browser"}
    assert found["OS125"] == {"limits"}
    assert found["OS129"] == {"/system.slice/stuck.service"}
    assert set(found) - {"OS104", "OS110", "OS111", "OS123", "OS124", "OS125", "OS129"} == {"OS120", "OS126"}  # no log, no killer


def test_the_mended_ones_are_gone_and_nothing_else() -> None:
    before, after = _found("audit.json"), _found("audit_mended.json")
    assert set(before) - set(after) == {"OS104", "OS110", "OS111", "OS125"}
    assert set(after) <= set(before)
