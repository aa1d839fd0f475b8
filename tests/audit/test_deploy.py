"""The product's own deploy/ is clean, and what it ships for CI does what it says."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from oomsight.pipeline.audit import Plan, audit_paths

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BAD = "services:\n  web:\n    image: nginx:1\n    mem_limit: 512\n"
GOOD = "services:\n  web:\n    image: nginx:1\n    mem_limit: 512m\n"


def test_own_deploy_has_no_high_finding() -> None:
    report = audit_paths(Plan((str(DEPLOY),)))
    assert report.seen["unit"] >= 1
    assert [finding for finding in report.open() if finding.severity.word == "high"] == []


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A program called oomsight, as an environment of pre-commit or of the action has one."""
    path = tmp_path / "bin" / "oomsight"
    path.parent.mkdir()
    code = f"import sys; sys.argv[0] = 'oomsight'; sys.path.insert(0, {str(ROOT / 'src')!r})"
    path.write_text(f"#!{sys.executable}\n{code}\nfrom oomsight.cli.main import main\nmain()\n")
    path.chmod(0o755)
    return path


def test_hooks_say_all_that_pre_commit_asks_for() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["oomsight-audit", "oomsight-audit-all"]
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        assert hook["language"] == "python"


@pytest.mark.parametrize(("text", "status"), [(BAD, 3), (GOOD, 0)])
@pytest.mark.parametrize("hook_id", ["oomsight-audit", "oomsight-audit-all"])
def test_hooks_fail_a_commit_with_a_high_finding(
    hook_id: str, text: str, status: int, command: Path, tmp_path: Path
) -> None:
    (hook,) = [row for row in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()) if row["id"] == hook_id]
    files = tmp_path / "repository"
    files.mkdir()
    (files / "compose.yaml").write_text(text)
    (files / "notes.txt").write_text("nothing to audit\n")
    names = ["compose.yaml", "notes.txt"] if hook.get("pass_filenames", True) else []
    environ = os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run([*shlex.split(hook["entry"]), *names], cwd=files, env=environ, capture_output=True, check=False)
    assert done.returncode == status, done.stderr


def test_action_passes_inputs_as_variables_only() -> None:
    action = yaml.safe_load((DEPLOY / "github-action" / "action.yml").read_text())
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
    script = (DEPLOY / "github-action" / "audit.sh").read_text()
    assert "${{" not in script
    for name in action["runs"]["steps"][0]["env"]:
        assert name in script


@pytest.mark.parametrize(
    ("text", "fail_on", "status"), [(BAD, "high", 3), (BAD, "never", 0), (GOOD, "high", 0), (GOOD, "info", 0)]
)
def test_action_writes_sarif_and_summary_and_fails_as_asked(
    text: str, fail_on: str, status: int, command: Path, tmp_path: Path
) -> None:
    files = tmp_path / "repo with blanks"
    files.mkdir()
    (files / "compose.yaml").write_text(text)
    environ = os.environ | {
        "AUDIT_COMMAND": str(command), "AUDIT_PATH": f"{files}\n{files / 'compose.yaml'}\n", "AUDIT_FAIL_ON": fail_on,
        "AUDIT_SARIF": str(tmp_path / "out.sarif"), "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }  # fmt: skip
    done = subprocess.run(
        [str(DEPLOY / "github-action" / "audit.sh")], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    log = json.loads((tmp_path / "out.sarif").read_text())
    assert bool(log["runs"][0]["results"]) == (text == BAD)
    assert (tmp_path / "output").read_text() == f"sarif={tmp_path / 'out.sarif'}\n"
    assert (tmp_path / "summary").read_text().startswith("## ")
    assert ("OS302" in done.stdout) == (text == BAD)
