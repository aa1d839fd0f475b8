"""``oomsight agent --check-config``."""

from __future__ import annotations

import sys

import pytest

from oomsight.cli.exits import Exit
from oomsight.cli.main import run


def test_check_config_says_each_setting_as_a_sentence(tmp_path, capsys) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[store]\nkeep_days = 30\n")
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: correct."
    assert "- Incidents are removed after 30 days." in lines


CHANNELS = """
[[alerts.channel]]
name = "gone"
type = "exec"
command = ["{folder}/nothing"]
[[alerts.channel]]
name = "data"
type = "exec"
command = ["{folder}/a.toml"]
[[alerts.channel]]
name = "unset"
type = "webhook"
url = "https://${{OOMSIGHT_TEST_UNSET}}/x"
[[alerts.channel]]
name = "secret"
type = "alertmanager"
url_file = "{folder}/secret.url"
[[alerts.channel]]
name = "uncertified"
type = "webhook"
url = "https://127.0.0.1/"
ca_file = "{folder}/ca.pem"
[[alerts.channel]]
name = "kube"
type = "kubernetes"
token_file = "{folder}/token"
[[alerts.channel]]
name = "fine"
type = "exec"
command = ["/bin/sh", "-c", "cat"]
[metrics]
listen = "127.0.0.1:1"
token_file = "{folder}/metrics.token"
[otlp]
endpoint = "http://127.0.0.1:4318"
headers_file = "{folder}/headers"
"""


def test_check_config_says_last_what_cannot_work_on_this_host(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("OOMSIGHT_TEST_UNSET", raising=False)
    file = tmp_path / "a.toml"
    file.write_text(CHANNELS.format(folder=tmp_path))
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.OK
    done = capsys.readouterr()
    assert done.out.startswith(f"{file}: correct.\n")
    missing = "no such file or directory"
    assert done.err.splitlines() == [f"oomsight: {line}" for line in (
        f"channel gone cannot be used here: there is no program {tmp_path}/nothing",
        f"channel data cannot be used here: {tmp_path}/a.toml may not be executed",
        "channel unset cannot be used here: the environment variable OOMSIGHT_TEST_UNSET is not set",
        f"channel secret cannot be used here: {tmp_path}/secret.url: {missing}",
        f"channel uncertified cannot be used here: {tmp_path}/ca.pem: {missing}",
        f"channel kube cannot be used here: {tmp_path}/token: {missing}; give the agent a service account that may "
        "create on events (core group) in the namespaces of the pods",
        f"[metrics] cannot be used here: token_file: {tmp_path}/metrics.token: {missing}",
        f"[otlp] cannot be used here: headers_file: {tmp_path}/headers: {missing}",
    )]  # fmt: skip


def test_check_config_asks_apprise_whether_it_knows_the_address(tmp_path, capsys) -> None:
    pytest.importorskip("apprise", reason="Apprise is not installed: nobody to ask")
    file = tmp_path / "a.toml"
    table = '[[alerts.channel]]\nname = "{}"\ntype = "apprise"\nurl = "{}"\n'
    file.write_text(table.format("good", "json://127.0.0.1:1/x") + table.format("bad", "slakc://secret"))
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.OK
    assert capsys.readouterr().err == "oomsight: channel bad cannot be used here: Apprise does not understand the address\n"


def test_print_unit_names_this_program_and_its_files(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/x/oomsight.pyz"])
    assert run(["agent", "--print-unit", "-c", str(tmp_path / "a.toml")]) == Exit.OK
    done = capsys.readouterr()
    (start,) = [line for line in done.out.splitlines() if line.startswith("ExecStart=")]
    assert start == f"ExecStart={sys.executable} /opt/x/oomsight.pyz agent --config {tmp_path}/a.toml"
    hidden = str(tmp_path).startswith(("/tmp/", "/var/tmp/", "/home/", "/root/"))
    assert f"{tmp_path}/a.toml: the service does not see" in done.err or not hidden


def test_check_config_mistake_is_one_line_and_usage(tmp_path, capsys) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[store]\nkeep_day = 30\n")
    assert run(["agent", "-c", str(file), "--check-config"]) == Exit.USAGE
    error = capsys.readouterr().err
    assert error == f"oomsight: {file}: line 2: there is no setting 'keep_day' in [store]; did you mean 'keep_days'?\n"
