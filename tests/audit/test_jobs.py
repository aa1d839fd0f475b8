"""An audit divided among processes finds what one process finds, also when one of them is killed."""

from __future__ import annotations

import os
import signal

import pytest

from oomsight.pipeline import audit
from oomsight.pipeline.audit import Plan, audit_paths

POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: pod-{0}}}
spec:
  containers:
  - {{name: app, image: app, resources: {{requests: {{memory: {0}Mi}}}}}}
"""


def _is_killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "INLINE_TASKS", 10)
    monkeypatch.setattr(audit, "BATCH", 7)
    for number in range(120):
        (tmp_path / f"{number:03}.yaml").write_text(POD.format(number + 1))
    return tmp_path


def found(folder, workers: int) -> list[tuple[str, str | None]]:
    report = audit_paths(Plan((str(folder),), workers=workers))
    return [(finding.rule, finding.where.path) for finding in report.findings]


def test_processes_find_what_one_does(manifests, monkeypatch) -> None:
    alone = found(manifests, 1)
    assert len({path for _, path in alone}) == 120
    here = []
    monkeypatch.setattr(audit, "_batch", lambda tasks, real=audit._batch: here.extend(tasks) or real(tasks))
    assert found(manifests, 3) == alone
    assert len(here) < 120  # the others were done elsewhere


def test_killed_process_costs_nothing(manifests, monkeypatch) -> None:
    alone = found(manifests, 1)
    monkeypatch.setattr(audit, "_handed", _is_killed)
    assert found(manifests, 3) == alone
