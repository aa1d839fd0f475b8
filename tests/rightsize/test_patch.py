"""Recommendations written into manifests: only the values change, and what comes out means what was meant."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.pipeline.patches import PatchError, patch_file
from oomsight.rightsize.model import Advice, Setting, Subject, Usage
from oomsight.rightsize.patch import patch_manifest, patch_unit
from oomsight.sources.yaml_documents import whole

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra audit)")
MIB = 1 << 20


def advice(container="web", workload="shop", *, kind="container", name="x", limit=384, request=256, namespace="prod"):
    settings = [Setting(key="request", value="", bytes=request * MIB, why=""),
                Setting(key="limit", value="", bytes=limit * MIB, why="")]  # fmt: skip
    subject = Subject(kind=kind, name=name, namespace=namespace, workload=workload, container=container)
    return Advice(usage=Usage(subject=subject, source=""), peak_bytes=None, percentiles={}, span_seconds=0, tail=None,
                  margin_pct=15, settings=tuple(settings), candidates=(), headline="")  # fmt: skip


JAVA = """\
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  template:
    spec:
      containers:
        - name: web
          command: [java, %s, -jar, app.jar]
          env:
            - name: JAVA_TOOL_OPTIONS
              value: "%s"
            - {name: GOMEMLIMIT, value: "%s"}
"""


@pytest.mark.parametrize(
    ("flag", "option", "go", "changed"),
    [
        ("-Xmx1g", "-Dx=y", "off", ["-Xmx"]),
        ("-Xmx64m", "-Dx=y", "off", []),  # fits: its owner's business
        ("-Xss1m", "-Dx=y -Xmx2g", "off", ["-Xmx"]),
        ("-Xss1m", "-Dx=y", "1GiB", ["GOMEMLIMIT"]),
        ("-Xss1m", "-Dx=y", "100MiB", []),
    ],
)
def test_a_heap_that_does_not_fit_the_new_limit_is_lowered(flag, option, go, changed) -> None:
    text = JAVA % (flag, option, go)
    result = patch_manifest(text, whole(text), [advice()])
    (root,) = yaml.safe_load_all(result.text)
    container = root["spec"]["template"]["spec"]["containers"][0]
    words = [*container["command"], *(row["value"] for row in container["env"])]
    before = ["java", flag, "-jar", "app.jar", option, go]
    different = [new for old, new in zip(before, words, strict=True) if old != new]
    assert len(different) == len(changed)
    for new in different:
        size = int("".join(sign for sign in new.rpartition("-Xmx")[2] if sign.isdigit()))
        assert 100 < size < 384  # MiB, below the limit of 384
        assert "Dx=y" in new or not option.endswith("2g")
    assert len(result.notes) == len(changed)


@pytest.mark.parametrize("value", ["&x -Xmx1g", "|\n                -Xmx1g", "!!str -Xmx1g"])
def test_a_heap_written_in_an_odd_way_is_told_and_left(value) -> None:
    text = JAVA.replace('"%s"', value, 1) % ("-Xss1m", "off")
    result = patch_manifest(text, whole(text), [advice()])
    yaml.safe_load(result.text)
    assert "-Xmx1g" in result.text
    assert any("takes a hand" in note for note in result.notes)


def test_heaps_of_compose_and_units() -> None:
    text = "services:\n  web:\n    image: a\n    command: node --max-old-space-size=4096 app.js\n"
    result = patch_manifest(text, whole(text), [advice(container="x-web-1", workload=None)])
    assert "--max-old-space-size=4096" not in result.text
    assert yaml.safe_load(result.text)["services"]["web"]["command"].endswith(" app.js")
    text = "[Service]\nExecStart=/usr/bin/java -Xmx4g -jar a.jar\nMemoryMax=4G\n"
    result = patch_unit(text, "web.service", [advice(kind="unit", name="web.service")])
    assert "-Xmx4g" not in result.text
    assert "-jar a.jar\nMemoryMax=384M\n" in result.text


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: prod}
spec:
  template:
    spec:
      containers:
        - name: sidecar   # stays
          image: envoy
        - name: web
          image: shop:1
%s
          ports:
            - containerPort: 80
---
kind: Service
metadata: {name: shop}
"""


LAST = DEPLOYMENT.replace("          ports:\n            - containerPort: 80\n", "")  # what is put in ends the container


def memory_of(text, container="web"):
    root = next(iter(yaml.safe_load_all(text)))
    found = next(c for c in root["spec"]["template"]["spec"]["containers"] if c["name"] == container)
    return found.get("resources")


@pytest.mark.parametrize(
    "resources",
    [
        "",
        "          resources: {}",
        "          resources: {limits: {memory: 1Gi}}",
        "          resources:\n            limits:\n              memory: 1Gi   # too much",
        "          resources:\n            requests:\n              cpu: 100m\n            limits:\n              cpu: 1",
        '          resources:\n            limits: {"memory": "1Gi", cpu: "2"}',
    ],
)
def test_limits_of_a_container_are_set_whatever_was_there(resources) -> None:
    text = DEPLOYMENT % resources if resources else DEPLOYMENT.replace("%s\n", "")
    before = memory_of(text) or {}
    result = patch_manifest(text, whole(text), [advice()])
    after = memory_of(result.text)
    assert after["limits"]["memory"] == "384Mi"
    assert after["requests"]["memory"] == "256Mi"
    for part in ("limits", "requests"):  # nothing else moved
        assert {k: v for k, v in after[part].items() if k != "memory"} == {
            k: v for k, v in (before.get(part) or {}).items() if k != "memory"
        }
    assert memory_of(result.text, "sidecar") is None
    assert "# stays" in result.text
    assert "containerPort: 80" in result.text
    assert result.done == ("prod/shop:web",)


def test_another_namespace_is_not_touched() -> None:
    text = DEPLOYMENT.replace("%s\n", "")
    assert patch_manifest(text, whole(text), [advice(namespace="test")]).text == text


def test_an_alias_is_not_written_through() -> None:
    text = DEPLOYMENT % "          resources: {limits: {memory: &m 1Gi}, requests: {memory: *m}}"
    result = patch_manifest(text, whole(text), [advice()])
    assert "set it by hand to" in result.notes[0]


@pytest.mark.parametrize(
    ("tail", "after"),
    [
        ("          args: [a]", "args: [a]"),
        ("          args:\n          - a\n          - b", "- b"),
        ("          env:\n          - name: A\n            value: b", "value: b"),
        ("          env: &e\n            inner: *e", "inner: *e"),  # something that holds itself
        ("          stdin: null", "stdin: null"),
        ("          <<: {resources: {limits: {memory: 1Gi}}}", "memory: 1Gi}}}"),  # a fragment is others', too
    ],
)  # fmt: skip
def test_what_is_missing_goes_behind_the_last_line_of_the_container(tail, after) -> None:
    text = LAST % f"{tail}\n\n# a remark about what follows"
    result = patch_manifest(text, whole(text), [advice()])
    head, new = result.text.split(f"{after}\n")
    assert new.startswith("          resources:\n            requests:\n              memory: 256Mi\n            limits:\n")
    assert text == f"{head}{after}\n" + new.partition("384Mi\n")[2]
    assert result.notes == ()


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        ("          resources:", "resources is no mapping; set it by hand"),
        ("          args: &a [x]\n          command:\n          - y\n          - *a", "it ends with an alias; set it by hand"),
    ],
)
def test_where_it_cannot_be_inserted_that_is_said(tail, why) -> None:
    text = LAST % tail
    result = patch_manifest(text, whole(text), [advice()])
    assert (result.text, result.notes) == (text, (f"prod/shop:web: {why}",))


COMPOSE = """\
services:
  web:
    image: shop
    {memory}
  db:
    image: postgres
"""


@pytest.mark.parametrize(
    ("memory", "where"),
    [("mem_limit: 1g", ("mem_limit",)), ("restart: always", ("mem_limit",)),
     ("deploy: {resources: {limits: {memory: 1g}}}", ("deploy", "resources", "limits", "memory"))],
)  # fmt: skip
def test_compose_is_written_where_it_stood(memory, where) -> None:
    text = COMPOSE.format(memory=memory)
    wanted = advice("project-web-1", None, namespace=None)
    service = yaml.safe_load(patch_manifest(text, whole(text), [wanted]).text)["services"]["web"]
    value = service
    for name in where:
        value = value[name]
    assert value == "384m"
    assert service["mem_reservation"] == "256m"
    assert service["image"] == "shop"


@pytest.mark.parametrize(
    ("written", "swap_mib", "expected"),
    [
        (None, None, None),  # Docker's own: twice the limit
        ("200m", None, "384m"),  # below the new limit Docker refuses it
        ("512m", None, "512m"),
        ("-1", None, -1),
        (None, 128, "512m"),  # memory and swap together
        ("1g", 128, "512m"),
    ],
)
def test_compose_swap_is_never_below_the_limit(written, swap_mib, expected) -> None:
    text = COMPOSE.format(memory=f"memswap_limit: {written}" if written else "restart: always")
    wanted = advice("project-web-1", None, namespace=None)
    more = [Setting(key="oom_score_adj", value="-300", bytes=None, why="")]
    if swap_mib is not None:
        more.append(Setting(key="swap", value="", bytes=swap_mib * MIB, why=""))
    wanted = replace(wanted, settings=(*wanted.settings, *more))
    service = yaml.safe_load(patch_manifest(text, whole(text), [wanted]).text)["services"]["web"]
    assert service.get("memswap_limit") == expected
    assert service["oom_score_adj"] == -300


def test_unit_and_new_drop_in(tmp_path) -> None:
    one = advice(kind="unit", name="web.service", container=None, workload=None)
    unit = "[Unit]\nDescription=x\n\n[Service]\nExecStart=/bin/true\nMemoryMax=1G\n\n[Install]\nWantedBy=a\n"
    assert patch_unit(unit, "web.service", [one]).text == unit.replace("1G", "384M")
    folder = tmp_path / "web.service.d"
    folder.mkdir()
    diff, notes = patch_file(str(folder / "50-memory.conf"), [one])
    assert notes == []
    assert "--- /dev/null" in diff
    assert "+[Service]\n+MemoryMax=384M\n" in diff


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed (Debian: patch)")
@pytest.mark.parametrize("ending", ["\n", ""])
def test_the_diff_applies(tmp_path, ending) -> None:
    path = tmp_path / "k8s.yaml"
    path.write_text(COMPOSE.format(memory="restart: always").rstrip("\n") + ending)
    diff, _ = patch_file(str(path), [advice("db", None, namespace=None)])
    done = subprocess.run(["patch", "-p1", "-d", "/", "-i", "-"], input=diff, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load(path.read_text())["services"]["db"]["mem_limit"] == "384m"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"a: [1\n", "line 2"), (b"ok: 1\nx: \xff\n", "line 2: not UTF-8"), (b"a: {{ .Values.x }}\n", "line 1")],
)
def test_a_file_that_is_no_yaml_is_one_clear_line(tmp_path, data, words) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    with pytest.raises(PatchError, match=words) as caught:
        patch_file(str(path), [advice()])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


keys = st.text("abcdef", min_size=1, max_size=6)
values = st.recursive(
    st.one_of(st.integers(0, 9), st.text("xyz #:", max_size=8), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)


@given(extra=st.dictionaries(keys, values, max_size=4), flow=st.sampled_from([None, True, False]), first=st.booleans())
def test_whatever_else_is_in_the_container_stays(extra, flow, first) -> None:
    extra = {f"x{key}": value for key, value in extra.items()}
    container = {"name": "web", **extra} if first else {**extra, "name": "web"}
    document = {"kind": "Deployment", "metadata": {"name": "shop"},
                "spec": {"template": {"spec": {"containers": [container]}}}}  # fmt: skip
    text = yaml.safe_dump(document, default_flow_style=flow, sort_keys=False)
    after = yaml.safe_load(patch_manifest(text, whole(text), [advice()]).text)
    found = after["spec"]["template"]["spec"]["containers"][0]
    assert found.pop("resources") == {"requests": {"memory": "256Mi"}, "limits": {"memory": "384Mi"}}
    assert found == container
