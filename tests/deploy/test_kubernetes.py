"""The DaemonSet: valid YAML, every mount a volume of its own, and nothing in it that our own audit would find."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from oomsight.cli.main import cli

from .metric_names import DEPLOY

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra test)")
FILE = DEPLOY / "kubernetes" / "oomsight.yaml"
NEEDED = {"/var/lib/oomsight", "/dev/kmsg", "/sys/fs/cgroup", "/etc/oomsight"}


@pytest.fixture(scope="module")
def pod() -> dict:
    namespace, daemons = yaml.safe_load_all(FILE.read_text())
    assert daemons["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert daemons["spec"]["selector"]["matchLabels"] == daemons["spec"]["template"]["metadata"]["labels"]
    return daemons["spec"]["template"]["spec"]


def test_it_sees_the_node_and_keeps_what_it_saw(pod) -> None:
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts.keys() >= NEEDED
    assert sorted(mounts.values()) == sorted(volume["name"] for volume in pod["volumes"])
    assert pod["hostPID"] is True
    host = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume}
    assert all(mounts[path] == name for name, path in host.items())


def test_the_audit_finds_nothing_in_it() -> None:
    result = CliRunner().invoke(cli, ["audit", str(DEPLOY / "kubernetes"), str(DEPLOY / "container"), "--format", "json"])
    assert json.loads(result.output)["findings"] == []
