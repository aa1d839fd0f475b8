"""What lies around the files audited: paths that are not there, standard input, environments apart, files by name."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from oomsight.audit.settings import Config
from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.pipeline.audit import Plan, audit_paths

DEPLOYMENT = (
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      containers:\n"
    "      - {{name: app, image: example.org/app:1{more}}}\n"
)
LIMIT_RANGE = (
    "apiVersion: v1\nkind: LimitRange\nmetadata: {name: bounds}\nspec:\n  limits:\n"
    "  - {type: Container, default: {memory: 128Mi}, defaultRequest: {memory: 64Mi}}\n"
)
BAD = "services:\n  web:\n    image: nginx:1\n    mem_limit: 512\n"


def found(*paths: Path | str) -> list[tuple[str, str]]:
    report = audit_paths(Plan(tuple(str(path) for path in paths)))
    return [(finding.rule, Path(finding.where.path or "").name) for finding in report.open()]


def test_a_path_that_is_not_there_does_not_end_the_audit_of_the_others(tmp_path) -> None:
    (tmp_path / "compose.yaml").write_text(BAD)
    gone, pattern = tmp_path / "gone.yaml", tmp_path / "*.none"
    report = audit_paths(Plan((str(gone), str(tmp_path), str(pattern))))
    assert report.failed == [f"{gone}: no such file or directory", f"{pattern}: no file matches"]
    assert {(finding.rule, finding.where.path) for finding in report.open()} == {
        ("OS302", str(tmp_path / "compose.yaml")), ("OS001", str(gone)), ("OS001", str(pattern)),
    }  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--fail-on", "high")])
def test_its_status_says_that_a_source_was_not_read(tmp_path, capsys, options) -> None:
    (tmp_path / "compose.yaml").write_text(BAD)
    gone = tmp_path / "gone.yaml"
    assert run(["audit", *options, str(gone), str(tmp_path)]) == Exit.INPUT
    out, err = capsys.readouterr()
    assert err == f"oomsight: {gone}: no such file or directory\n"
    assert "OS302" in out
    assert run(["audit", *options, str(gone)]) == Exit.INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing to audit" in err


def _stdin(monkeypatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_bounds_on_standard_input_hold_for_what_comes_with_them(monkeypatch, tmp_path) -> None:
    bare = DEPLOYMENT.format(name="web", more="")
    _stdin(monkeypatch, bare)
    assert [rule for rule, _ in found("-")] == ["OS405", "OS401"]
    _stdin(monkeypatch, f"{bare}---\n{LIMIT_RANGE}")
    assert found("-") == []
    (tmp_path / "broken.yaml").write_text("kind: Pod\napiVersion: [\n")
    _stdin(monkeypatch, bare)
    assert [rule for rule, _ in found(tmp_path, "-")] == ["OS405", "OS001", "OS401"]


def test_a_closed_standard_input_is_told_like_a_path_that_is_not_there(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    report = audit_paths(Plan(("-",)))
    assert report.failed == ["<stdin>: is closed"]


def test_a_limit_range_without_a_namespace_is_for_its_own_directory(tmp_path) -> None:
    for team in ("a", "b"):
        (tmp_path / team / "deep").mkdir(parents=True)
        (tmp_path / team / "deep" / "web.yaml").write_text(DEPLOYMENT.format(name=team, more=""))
    (tmp_path / "a" / "limits.yaml").write_text(LIMIT_RANGE)
    report = audit_paths(Plan((str(tmp_path),)))
    assert {finding.where.path for finding in report.open()} == {str(tmp_path / "b" / "deep" / "web.yaml")}
    for file in tmp_path.rglob("*.yaml"):  # with a namespace the directory does not matter
        file.write_text(file.read_text().replace("metadata: {", "metadata: {namespace: shop, "))
    assert found(tmp_path) == []


def test_of_two_config_maps_of_a_name_the_nearer_one_counts(tmp_path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: java}}\ndata: {{JAVA_TOOL_OPTIONS: -Xmx{heap}}}\n"
    more = (
        ", envFrom: [{configMapRef: {name: java}}], command: [java, -jar, a.jar], "
        "resources: {requests: {memory: 1Gi}, limits: {memory: 1Gi}}"
    )
    for name, heap in (("test", "256m"), ("prod", "4g")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(config.format(heap=heap))
        (tmp_path / name / f"{name}.yaml").write_text(DEPLOYMENT.format(name=name, more=more))
    assert found(tmp_path) == [("OS501", "prod.yaml")]


def test_included_files_are_audited_once(tmp_path) -> None:
    (tmp_path / "compose.yaml").write_text("include: [bad.yaml, oci://registry/app]\n")
    (tmp_path / "bad.yaml").write_text(f"include: [compose.yaml]\n{BAD.rstrip()}  # oomsight: ignore[OS302] until friday\n")
    for asked in ([tmp_path / "compose.yaml"], [tmp_path]):
        report = audit_paths(Plan(tuple(map(str, asked))))
        assert [finding.rule for finding in report.open()] == ["OS001"]
        assert [finding.suppressed for finding in report.findings if finding.rule == "OS302"] == ["until friday"]
        assert report.seen["compose"] == 1


def test_kustomizations_that_only_gather_files_are_not_mentioned(tmp_path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources:\n- web.yaml\n")
    assert found(tmp_path) == []
    (tmp_path / "kustomization.yaml").write_text("resources:\n- https://example.org/web.yaml\nimages: [{name: a, newTag: b}]\n")
    (told,) = audit_paths(Plan((str(tmp_path),), Config())).open()
    assert told.rule == "OS002"
    assert "images, resources from elsewhere" in told.message
    assert told.fix is not None
    assert told.fix.text == f"kubectl kustomize {tmp_path} | oomsight audit -"


def test_a_repository_does_not_take_variables_from_the_host(tmp_path, monkeypatch) -> None:
    read: list[str] = []
    monkeypatch.setattr("oomsight.pipeline.audit_beside._bytes", read.append)
    (tmp_path / "web.service").write_text(
        "[Service]\nMemoryMax=1G\nEnvironmentFile=/etc/default/web\nExecStart=/usr/bin/java $JAVA_OPTS -jar a.jar\n"
    )
    found(tmp_path)
    assert str(tmp_path / "etc/default/web") in read
    assert "/etc/default/web" not in read


def test_the_same_advice_is_said_once_and_every_sum_whole(tmp_path, capsys) -> None:
    more = ", command: [java, -Xmx1g, -jar, a.jar], resources: {requests: {memory: 512Mi}, limits: {memory: 512Mi}}"
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(DEPLOYMENT.format(name=name, more=more))
        (tmp_path / f"{name}-bare.yaml").write_text(DEPLOYMENT.format(name=f"{name}-bare", more=""))
    assert run(["audit", str(tmp_path)]) == Exit.OK
    out = capsys.readouterr().out
    assert out.count("OS405 Deployment/") == 2
    assert out.count("Give every container at least a memory request") == 1
    assert out.count("1 GiB heap: -Xmx1g") == 2
