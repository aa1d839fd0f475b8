"""An audit as JSON (with its schema), SARIF 2.1.0 and JUnit XML: for programs, code hosting sites and CI servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from oomsight._version import __version__
from oomsight.audit.model import SEVERITIES, Severity
from oomsight.audit.registry import rule, rules
from oomsight.naming.marked import unmark
from oomsight.sinks.safe import plain
from oomsight.sinks.schema import INT, SENTENCE, TEXT, Record, array, choice, constant, field, json_schema, optional

if TYPE_CHECKING:
    from oomsight.audit.model import Finding
    from oomsight.audit.report import AuditReport

SCHEMA_ID: Final = "oomsight.audit/1"
PAGES: Final = "docs/reference/audit"
"""Where the pages of the rules are, below the repository."""

FIX = Record(
    "fix", "What to write or type.",
    field("text", TEXT, "ready to copy, numbers filled in"),
    field("language", choice("sh", "yaml", "ini", "text"), "of the text"),
)  # fmt: skip
WHERE = Record(
    "where", "A place in a file, or a key of the host.",
    field("path", optional(TEXT), "file as it was given or found"),
    field("line", optional(INT), "from 1"),
    field("column", optional(INT), "from 1"),
    field("key", optional(TEXT), "of the host: `vm.swappiness`, a unit, a process"),
)  # fmt: skip
FINDING = Record(
    "finding", "One finding.",
    field("rule", TEXT, "stable id; its page is `docs/reference/audit/ID.md`"),
    field("title", TEXT, "of the rule", lambda finding: rule(finding.rule).title),
    field("severity", choice(*SEVERITIES), "how bad", lambda finding: finding.severity.word),
    field("subject", SENTENCE, "what it is about: `Deployment/api, container app`"),
    field("where", WHERE.type, "where it is written"),
    field("message", SENTENCE, "what is wrong"),
    field("evidence", array(SENTENCE), "values it rests on and where they came from"),
    field("advice", array(SENTENCE), "what to change, numbers filled in"),
    field("fix", optional(FIX.type), "text to copy"),
    field("suppressed", optional(TEXT), "the reason given, `null` where it is open"),
)  # fmt: skip
DOCUMENT = Record(
    "document", "What `audit --format json` writes.",
    field("schema", constant(SCHEMA_ID), "version of this contract", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "version of the program", lambda _: __version__),
    field("of", choice("files", "host"), "what was audited"),
    field("files", INT, "files read"),
    field("findings", array(FINDING.type), "worst first, suppressed ones included"),
    field("remarks", array(SENTENCE), "what could not be seen"),
)  # fmt: skip


def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema of :func:`audit_json`."""
    return json_schema(DOCUMENT, SCHEMA_ID, "What oomsight audit writes")


def audit_json(report: AuditReport) -> str:
    """Return *report* as one JSON document, a finding on a line: indented, ten thousand of them take a second more."""
    fields = []
    for name, value in DOCUMENT.write(report).items():
        if isinstance(value, list) and value:
            text = "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
        else:
            text = json.dumps(value)
        fields.append(f"  {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


# -- SARIF ------------------------------------------------------------------------------------------------------------

_LEVEL: Final = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note", Severity.INFO: "note"}
_SCORE: Final = {Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0", Severity.INFO: "0.0"}


def sarif(report: AuditReport) -> str:
    """Return *report* as a SARIF 2.1.0 log (OASIS). Names are shown escaped, as in a terminal."""
    used = {finding.rule for finding in report.findings}
    rows = [row for row in rules() if row.id in used]
    index = {row.id: number for number, row in enumerate(rows)}
    described = [
        {
            "id": row.id,
            "name": "".join(word.capitalize() for word in row.title.replace("-", " ").split() if word.isalnum()),
            "shortDescription": {"text": row.title},
            "fullDescription": {"text": f"{row.what} {row.leads}"},
            "help": {"text": f"{row.how} Source: {row.source}."},
            "defaultConfiguration": {"level": _LEVEL[row.severity]},
            "properties": {"tags": ["memory", "oom"], "problem.severity": _LEVEL[row.severity]},
        }
        for row in rows
    ]
    log = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "oomsight", "semanticVersion": __version__, "rules": described}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, index) for finding in report.findings],
            }
        ],
    }
    return json.dumps(log, indent=2) + "\n"


def _result(finding: Finding, index: dict[str, int]) -> dict[str, Any]:
    words = [f"{plain(finding.subject)}: {plain(finding.message)}", *map(plain, finding.evidence)]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": _LEVEL[finding.severity],
        "message": {"text": ". ".join([*words, *map(plain, finding.advice)])},
        "partialFingerprints": {"oomsight/v1": _fingerprint(finding)},
        "properties": {"severity": finding.severity.word},
    }
    where = finding.where
    if where.path is not None:
        # The line where there is none is 1: sites that show results insist on a place.
        region: dict[str, int] = {"startLine": where.line or 1}
        if where.column is not None:
            region["startColumn"] = where.column
        path = where.path.removeprefix("./")
        uri = quote(path.encode("utf-8", "surrogateescape"))
        artifact = {"uri": f"file://{uri}"} if path.startswith("/") else {"uri": uri, "uriBaseId": "%SRCROOT%"}
        result["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": artifact,
                    "region": region,
                }
            }
        ]
    elif where.key:
        result["locations"] = [{"logicalLocations": [{"fullyQualifiedName": plain(where.key)}]}]
    if finding.suppressed is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": plain(finding.suppressed)}]
    return result


def _fingerprint(finding: Finding) -> str:
    """Return what stays the same when lines move: rule, file and subject."""
    import zlib

    text = f"{finding.rule}\0{finding.where.path or finding.where.key}\0{unmark(finding.subject)}"
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


# -- JUnit ------------------------------------------------------------------------------------------------------------


def junit(report: AuditReport) -> str:
    """Return *report* as JUnit XML: a suite for each file, a failure for each open finding, a skip for the others."""
    from xml.sax.saxutils import escape, quoteattr

    suites: dict[str, list[Finding]] = {}
    for finding in report.findings:
        suites.setdefault(finding.where.path or finding.where.key or "host", []).append(finding)
    open_count = len(report.open())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="oomsight audit" tests="{max(len(report.findings), 1)}" failures="{open_count}">',
    ]
    for name, findings in suites.items():
        shown = quoteattr(plain(name))
        failures = sum(finding.suppressed is None for finding in findings)
        lines.append(
            f'  <testsuite name={shown} tests="{len(findings)}" failures="{failures}"'
            f' skipped="{len(findings) - failures}">'
        )
        for finding in findings:
            title = quoteattr(f"{finding.rule} {rule(finding.rule).title}: {plain(finding.subject)}")
            lines.append(f"    <testcase classname={shown} name={title}>")
            if finding.suppressed is not None:
                lines.append(f"      <skipped message={quoteattr(plain(finding.suppressed))}/>")
            else:
                text = "\n".join([str_place(finding), *map(plain, finding.evidence), *map(plain, finding.advice)])
                message = quoteattr(plain(finding.message))
                lines.append(
                    f'      <failure type="{finding.severity.word}" message={message}>{escape(text)}</failure>'
                )
            lines.append("    </testcase>")
        lines.append("  </testsuite>")
    if not suites:  # servers take an empty report for a broken one
        lines += [
            '  <testsuite name="oomsight audit" tests="1" failures="0">',
            '    <testcase classname="oomsight" name="nothing found"/>',
            "  </testsuite>",
        ]
    lines.append("</testsuites>")
    return "\n".join(lines) + "\n"


def str_place(finding: Finding) -> str:
    """Return the place of *finding*, escaped."""
    return plain(str(finding.where))
