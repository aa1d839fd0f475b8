"""The alert rules: valid, about metrics that exist, with words for who is woken; and what they do, by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from oomsight.metrics.table import LABELS

from .metric_names import DEPLOY, unknown

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra test)")
RULES = DEPLOY / "prometheus" / "oomsight.rules.yml"
TESTS = DEPLOY / "prometheus" / "oomsight.rules.test.yml"


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture
def promtool():
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return lambda *args: subprocess.run([program, *args], capture_output=True, text=True, timeout=60, check=False,
                                        cwd=RULES.parent)  # fmt: skip


def test_unknown_finds_wrong_names_and_labels() -> None:
    assert unknown('rate(oomsight_oom_kils_total[5m]) + oomsight_memory_free_bytes{cause="x", instance="y"}') == [
        "oomsight_oom_kils_total", "oomsight_memory_free_bytes{cause}",
    ]  # fmt: skip
    assert unknown('up{job="oomsight"} and oomsight_oom_kills_total{cause=~"a", scope!="b"}') == []


def test_rules_name_metrics_that_exist() -> None:
    assert len(rules()) >= 15
    for rule in rules():
        assert unknown(rule["expr"]) == [], rule["alert"]


def test_rules_have_severity_and_words() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]
        for label in re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())):
            assert label in LABELS or label == "instance", (rule["alert"], label)


def test_rules_each_one_has_a_case() -> None:
    text = TESTS.read_text()
    cases = set(re.findall(r'alertname(?:: |=")(\w+)', text))
    assert {rule["alert"] for rule in rules()} <= cases


def test_cases_feed_series_that_exist() -> None:
    for case in yaml.safe_load(TESTS.read_text())["tests"]:
        for series in case["input_series"]:
            assert unknown(series["series"]) == [], case["name"]


def test_promtool_rules_and_configuration_are_valid(promtool) -> None:
    for command in (("check", "rules", RULES.name), ("check", "config", "prometheus.yml")):
        done = promtool(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_rules_do_what_the_cases_say(promtool, tmp_path) -> None:
    done = promtool("test", "rules", TESTS.name)
    assert done.returncode == 0, done.stdout + done.stderr
    # The cases can fail: with another threshold they do.
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("> 0.80", "> 0.90"))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    assert promtool("test", "rules", str(tmp_path / TESTS.name)).returncode == 1
