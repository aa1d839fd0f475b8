"""The product's own deploy/ is clean, and what it ships for CI is what the command understands."""

from __future__ import annotations

from pathlib import Path

import yaml

from oomsight.pipeline.audit import Plan, audit_paths

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_own_deploy_has_no_high_finding() -> None:
    report = audit_paths(Plan((str(DEPLOY),)))
    assert report.seen["unit"] >= 1
    assert [finding for finding in report.open() if finding.severity.word == "high"] == []


def test_hook_and_action_call_the_command() -> None:
    (hook,) = yaml.safe_load((DEPLOY / "pre-commit" / "hooks.yaml").read_text())
    assert hook["entry"].startswith("oomsight audit --fail-on high")
    action = yaml.safe_load((DEPLOY / "github-action" / "action.yml").read_text())
    assert "${{" not in action["runs"]["steps"][0]["run"]  # inputs come through the environment, never into the script
