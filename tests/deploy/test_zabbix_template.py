"""The Zabbix template and the UserParameter file: what the table says, and what a real Zabbix agent understands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from oomsight.alarms.table import ALARMS
from oomsight.daemons.http import Answer, Endpoint, json_answer
from oomsight.metrics.family import family
from oomsight.sinks.zabbix import DISCOVERY, known_keys

from .metric_names import DEPLOY

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra test)")
ROOT = Path(__file__).parents[2]


def template() -> dict:
    export = yaml.safe_load((DEPLOY / "zabbix" / "oomsight.yaml").read_text())["zabbix_export"]
    assert export["version"] == "6.0"
    (found,) = export["templates"]
    return found


def test_template_is_what_the_table_says() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_zabbix.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_template_every_item_is_one_we_send() -> None:
    sent = {key.partition("[")[0] for _, key in known_keys()} | {"oomsight.incident"}
    for item in template()["items"]:
        assert item["key"].partition("[")[0] in sent
        assert item["type"] == "TRAP"
    for rule in template()["discovery_rules"]:
        macros = {f"{{#{name.upper()}}}" for name in family(DISCOVERY[rule["key"]]).metric.labels}
        for prototype in rule["item_prototypes"]:
            assert set(re.findall(r"\{#\w+\}", prototype["key"])) <= macros
    assert {rule["key"] for rule in template()["discovery_rules"]} == set(DISCOVERY)


def test_template_ids_are_unique_and_of_version_4() -> None:
    text = (DEPLOY / "zabbix" / "oomsight.yaml").read_text()
    ids = re.findall(r'uuid: "(\w+)"', text)
    assert len(ids) == len(set(ids)) > 100
    assert all(re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", uuid) for uuid in ids)


def test_template_triggers_name_items_that_exist() -> None:
    found = template()
    rows = [*found["items"], *(row for rule in found["discovery_rules"] for row in rule["item_prototypes"])]
    keys = {row["key"] for row in rows}
    triggers = [t for row in rows for t in (*row.get("triggers", ()), *row.get("trigger_prototypes", ()))]
    assert len(triggers) == 9 + len(ALARMS)
    for trigger in triggers:
        for key in re.findall(rf"/{found['template']}/(oomsight\.[a-z_.]+(?:\[[^\]]*\])?)", trigger["expression"]):
            assert key in keys, trigger["name"]


@contextmanager
def served():
    routes = {
        "/metrics": lambda _: Answer(b"# TYPE x gauge\noomsight_memory_free_bytes 1234\noomsight_memory_free_bytes2 9\n"),
        "/healthz": lambda _: json_answer({"status": "degraded", "reasons": ["x"]}, 503),
    }
    endpoint = Endpoint(("127.0.0.1", 0), routes, print)
    endpoint.start()
    try:
        yield endpoint.port
    finally:
        endpoint.close()


def test_user_parameters_in_a_real_zabbix_agent(tmp_path) -> None:
    program = shutil.which("zabbix_agentd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("zabbix_agentd is not installed (Debian: zabbix-agent)")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: curl)")
    with served() as port:
        parameters = (DEPLOY / "zabbix" / "oomsight.conf").read_text().replace(":9873", f":{port}")
        config = tmp_path / "agent.conf"
        config.write_text(f"Server=127.0.0.1\nLogType=console\nHostname=test\n{parameters}")

        def ask(key: str) -> str:
            command = [program, "-c", str(config), "-t", key]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            found = re.search(r"\[t\|(.*)\]\s*$", done.stdout, re.DOTALL)
            assert found is not None, done.stdout + done.stderr
            return found[1]

        assert ask("oomsight.value[memory_free_bytes]") == "1234"
        assert ask("oomsight.healthz") == "degraded"
        assert ask("oomsight.metrics").startswith("# TYPE x gauge\noomsight_memory_free_bytes 1234")
