"""Every rule of files: found in its failing sample, not in the passing one, through the real reader."""

from __future__ import annotations

import pytest

from oomsight.audit.model import Settings
from oomsight.audit.registry import rules
from oomsight.audit.settings import Config
from oomsight.pipeline.audit import Plan, audit_paths

LIVE = {"host", "show", "inspect", "processes"}  # what a running host says: tests/audit/test_host.py, test_live.py
FILES = [row for row in rules() if row.sample_name not in LIVE]


def _found(tmp_path, name: str, text: str) -> list:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return audit_paths(Plan((str(tmp_path),), Config(settings=Settings(ram_bytes=16 << 30)))).open()


@pytest.mark.parametrize("row", FILES, ids=lambda row: row.id)
def test_rule_finds_its_failing_sample(row, tmp_path) -> None:
    found = [finding for finding in _found(tmp_path, row.sample_name, row.failing) if finding.rule == row.id]
    assert found
    for finding in found:
        assert finding.where.path
        assert finding.where.path.startswith(str(tmp_path))
        assert finding.message.strip()
        assert not finding.message.endswith(".")


@pytest.mark.parametrize("row", FILES, ids=lambda row: row.id)
def test_rule_is_silent_on_its_passing_sample(row, tmp_path) -> None:
    found = _found(tmp_path, row.sample_name, row.passing)
    assert [finding for finding in found if finding.rule == row.id] == []
    if row.id not in {"OS003", "OS004"}:  # those show a suppression of something
        assert [finding for finding in found if finding.severity.word == "high"] == []
