"""The hardened unit: every line with a reason, little left open, and a configuration the agent accepts."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from oomsight.daemons.config import read_config
from oomsight.daemons.unit import hidden_words, unit_text

from .metric_names import DEPLOY

UNIT = DEPLOY / "systemd" / "oomsight-agent.service"
V1 = DEPLOY / "systemd" / "oomsight-agent-v1.conf"


def settings(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^([A-Z]\w+)=(.*)$", text, re.MULTILINE)


def test_unit_what_was_asked_for_is_set() -> None:
    found = dict(settings(UNIT.read_text()))
    assert found["Type"] == "notify"
    assert found["Restart"] == "always"
    assert -1000 < int(found["OOMScoreAdjust"]) <= -500
    assert found["MemoryMin"] == "96M"  # the agent and its recorder
    assert found["LimitMEMLOCK"] == "infinity"  # what oomsight.daemons.own_memory asks for
    assert int(found["CPUWeight"]) >= 1000  # bench/live_bench.py latency --weight 1000
    assert int(found["Nice"]) < 0
    assert found["OOMPolicy"] == "continue"
    assert found["NoNewPrivileges"] == "yes"
    assert found["DeviceAllow"] == "/dev/kmsg r"


def test_unit_every_hardening_has_a_reason_above_it() -> None:
    lines = UNIT.read_text().partition("# -- to live when others die")[2].splitlines()[1:]
    reasoned = False
    for line in lines:
        if line.startswith("#"):
            reasoned = True
        elif line.startswith("["):
            break
        elif line:
            assert reasoned, line
        else:
            reasoned = False


def test_unit_allows_what_the_agent_needs() -> None:
    found = settings(UNIT.read_text())
    assert ("CapabilityBoundingSet", "CAP_SYSLOG CAP_DAC_READ_SEARCH") in found
    assert ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6") in found
    assert not [name for name, value in found if name == "PrivateNetwork" and value == "yes"]
    assert settings(V1.read_text()) == [("ReadWritePaths", "-/sys/fs/cgroup/memory")]


def test_unit_made_for_this_host_names_the_program_and_opens_what_v1_needs() -> None:
    plain = unit_text(["/usr/bin/oomsight", "agent"], cgroup_v1=False)
    assert plain == UNIT.read_text()
    made = unit_text(["/opt/my tools/oomsight", "agent", "--config", "/etc/50%$x.toml"], cgroup_v1=True)
    found = settings(made)
    assert ("ExecStart", '"/opt/my tools/oomsight" agent --config /etc/50%%$$x.toml') in found
    assert found.index(("ReadWritePaths", "-/sys/fs/cgroup/memory")) == found.index(("ProtectControlGroups", "yes")) + 1
    assert len(made.splitlines()) == len(plain.splitlines()) + 2


def test_unit_says_what_the_service_would_not_find() -> None:
    assert list(hidden_words(["/opt/oomsight/bin/oomsight", "agent"])) == []
    (line,) = hidden_words(["/root/.local/bin/oomsight", "--config", "/etc/oomsight/agent.toml"])
    assert line.startswith("/root/.local/bin/oomsight: the service does not see /root (ProtectHome=)")


@pytest.fixture
def analyze():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")

    def run(*args):
        return subprocess.run([program, *args], capture_output=True, text=True, timeout=60, check=False)

    if "--offline" not in run("--help").stdout:
        pytest.skip("this systemd-analyze cannot judge a unit offline (250+)")
    return run


@pytest.mark.parametrize("cgroup_v1", [False, True])
def test_unit_exposure_is_at_most_2_5(analyze, tmp_path, cgroup_v1) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(unit_text(["/bin/true"], cgroup_v1=cgroup_v1))
    done = analyze("security", "--offline=true", "--no-pager", str(unit))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert level is not None, done.stdout + done.stderr
    assert float(level[1]) <= 2.5


def test_unit_systemd_knows_every_line(analyze, tmp_path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(unit_text(["/bin/true", "agent"], cgroup_v1=True))
    done = analyze("verify", str(unit))
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
    assert done.returncode == 0


def test_configuration_beside_it_is_accepted() -> None:
    config = read_config(str(DEPLOY / "systemd" / "agent.toml"))
    assert "Serve /metrics, /healthz and /incidents.json at http://127.0.0.1:9873 to this machine only." in config.sentences()
