"""The way YAML is written does not matter: one set of workloads, written in many shapes, has the same findings."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.audit.documents import Auditor
from oomsight.audit.kubernetes.model import Cluster
from oomsight.audit.model import Settings
from oomsight.audit.registry import rules
from oomsight.audit.tree import Node
from oomsight.pipeline.audit import audit_data

SIZES = st.sampled_from([None, "64Mi", "128Mi", "512Mi", "1Gi", "4Gi", "128m", "512MB", 1048576, "1e9"])
CONTAINERS = st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=3)
WORKLOADS = st.lists(CONTAINERS, min_size=1, max_size=3)
SHAPES = ("block", "flow", "json", "documents", "list", "shared", "merged", "crlf", "bom", "commented")


def deployment(name: str, containers: list[tuple[Any, Any]]) -> dict[str, Any]:
    made = []
    for index, (request, limit) in enumerate(containers):
        resources: dict[str, Any] = {}
        if request is not None:
            resources["requests"] = {"memory": request}
        if limit is not None:
            resources["limits"] = {"memory": limit}
        made.append({"name": f"c{index}", "image": "registry.example.org/x:1", "resources": resources})
    spec = {"template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": made}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def merged(thing: dict[str, Any]) -> str:
    """Write *thing* with its spec behind a merge key, and every container's resources, too."""
    base = [{"<<": "HERE", "name": container["name"]} for container in thing["spec"]["template"]["spec"]["containers"]]
    lines = [f"x-{at}: &c{at} {json.dumps({key: value for key, value in container.items() if key != 'name'})}"
             for at, container in enumerate(thing["spec"]["template"]["spec"]["containers"])]  # fmt: skip
    containers = ", ".join(f"{{<<: *c{at}, name: {row['name']}}}" for at, row in enumerate(base))
    head = {key: value for key, value in thing.items() if key != "spec"}
    lines += [f"{key}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f"spec: {{<<: [{{replicas: 1}}], template: {{spec: {{containers: [{containers}]}}}}}}")
    return "\n".join(lines) + "\n"


def write(things: list[dict[str, Any]], shape: str) -> bytes:
    match shape:
        case "flow":
            text = "\n---\n".join(yaml.safe_dump(thing, default_flow_style=True, width=40) for thing in things)
        case "json":
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": things}, indent=1)
        case "documents":
            text = "# first\n---\n" + "...\n---\n# next\n---\n".join(yaml.safe_dump(thing) for thing in things) + "---\n"
        case "list":
            text = yaml.safe_dump({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": things})
        case "shared":  # equal parts become anchors and aliases
            known: dict[str, Any] = {}

            def share(value: Any) -> Any:
                if isinstance(value, dict):
                    value = {key: share(part) for key, part in value.items()}
                elif isinstance(value, list):
                    value = [share(part) for part in value]
                return known.setdefault(json.dumps(value), value) if isinstance(value, dict | list) else value

            text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [share(thing) for thing in things]})
        case "merged":
            text = "---\n".join(merged(thing) for thing in things)
        case "crlf":
            text = "---\n".join(yaml.safe_dump(thing) for thing in things).replace("\n", "\r\n")
        case "bom":
            text = "\ufeff" + "---\n".join(yaml.safe_dump(thing) for thing in things)
        case "commented":
            text = "---\n".join(
                "".join(f"{line}  # {{ not a template }}\n\n" for line in yaml.safe_dump(thing).splitlines()) for thing in things
            )
        case _:
            text = "---\n".join(yaml.safe_dump(thing) for thing in things)
    return text.encode()


def found(data: bytes) -> list[tuple[str, str, str]]:
    outcome = audit_data("x.yaml", data, Auditor(rules(), Settings(), Cluster()))
    return sorted((finding.rule, finding.subject, finding.message) for finding in outcome.findings)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(workloads=WORKLOADS)
def test_the_shape_does_not_matter(shape: str, workloads: list[list[tuple[Any, Any]]]) -> None:
    things = [deployment(f"w{index}", containers) for index, containers in enumerate(workloads)]
    assert found(write(things, shape)) == found(write(things, "block"))


@settings(max_examples=50, deadline=None)
@given(workloads=WORKLOADS)
def test_no_limit_is_found_where_there_is_none(workloads: list[list[tuple[Any, Any]]]) -> None:
    things = [deployment(f"w{index}", containers) for index, containers in enumerate(workloads)]
    missing = sum(limit is None for containers in workloads for _, limit in containers)
    assert sum(rule == "OS401" for rule, _, _ in found(write(things, "block"))) == missing


@pytest.mark.parametrize("action", ["{{ .Values.x }}", "{{- include \"a\" . }}", "{% if x %}", "{{ toYaml .Values.r | nindent 4 }}"])
@settings(max_examples=25, deadline=None)
@given(workloads=WORKLOADS, data=st.data())
def test_a_template_is_one_clear_line(action: str, workloads: list[list[tuple[Any, Any]]], data: st.DataObject) -> None:
    text = write([deployment("w", workloads[0])], "block").decode()
    lines = text.splitlines()
    at = data.draw(st.integers(1, len(lines) - 1))
    lines.insert(at, f"{' ' * (len(lines[at]) - len(lines[at].lstrip()))}{action}")
    outcome = audit_data("x.yaml", "\n".join(lines).encode(), Auditor(rules(), Settings(), Cluster()))
    assert len(outcome.templates) + sum(finding.rule == "OS001" for finding in outcome.findings) == 1
    assert {finding.rule for finding in outcome.findings} <= {"OS001"}


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)).map(lambda body: b"apiVersion: v1\nkind: Pod\n" + body))
def test_whatever_a_file_holds_nothing_is_raised(data: bytes) -> None:
    for rule, _, message in found(data):
        assert rule.startswith("OS")
        assert message


@pytest.mark.parametrize("loader", ["SafeLoader", "CSafeLoader"])
def test_both_loaders_of_pyyaml_mean_the_same(loader: str) -> None:
    kind = getattr(yaml, loader, None)
    if kind is None:
        pytest.skip("this PyYAML has no loader in C")
    text = "base: &b {mode: 010, none: ~, word: '~'}\nall:\n  <<: [*b]\n  own: 1\n"
    node = Node(kind(text).get_single_node())
    assert node.get("all", "mode").integer() == 8
    assert node.get("all", "none") is None
    assert node.get("all", "word").text == "~"
    assert node.get("all", "own").integer() == 1
