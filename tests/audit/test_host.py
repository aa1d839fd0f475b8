"""The host rules: samples, a clean Debian 12, hostile names, without root, through the command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from oomsight.audit.engine import run
from oomsight.audit.host.facts import FILES, parse_host
from oomsight.audit.model import Severity
from oomsight.audit.registry import rules
from oomsight.audit.settings import Config
from oomsight.pipeline.audit_host import audit_facts, audit_host
from oomsight.sources.host_facts import read_host

HOST = [row for row in rules() if row.scope == "host"]
DEBIAN = Path(__file__).parent / "data" / "debian12"


def _found(text: str) -> list:
    return list(run(HOST, "host", parse_host(text), Config().settings))


def _command(*args: str, **rest) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("oomsight")), "audit", *args],
        capture_output=True,
        text=True,
        check=False,
        **rest,
    )


@pytest.mark.parametrize("row", HOST, ids=lambda row: row.id)
def test_rule_finds_its_failing_sample(row) -> None:
    found = [finding for finding in _found(row.failing) if finding.rule == row.id]
    assert len(found) == 1
    assert found[0].evidence
    assert found[0].where.key


@pytest.mark.parametrize("row", HOST, ids=lambda row: row.id)
def test_rule_is_silent_on_its_passing_sample(row) -> None:
    assert [finding for finding in _found(row.passing) if finding.rule == row.id] == []


def test_every_file_a_sample_needs_is_read_from_real_hosts() -> None:
    for row in HOST:
        for path in [line[2:] for line in row.failing.splitlines() if line.startswith("# /")]:
            assert path in FILES or path in {"/processes", "/pids", "/var/log/journal"}, (row.id, path)


def test_protection_says_who_dies_instead() -> None:
    text = "# /processes\n5 big 3000 -1000 /a max\n6 innocent 100 0 /b max\n7 small 5 0 /c max\n"
    found = next(finding for finding in _found(text) if finding.rule == "OS123")
    assert "innocent" in found.message
    assert "pid 6" in found.message
    assert found.severity is Severity.HIGH


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("# /proc/sys/vm/panic_on_oom\n1\n", Severity.MEDIUM),
        ("# /proc/sys/vm/panic_on_oom\n1\n# /proc/sys/kernel/panic\n0\n", Severity.HIGH),
        ("# /proc/sys/vm/panic_on_oom\n2\n# /proc/sys/kernel/panic\n30\n", Severity.HIGH),
    ],
)
def test_a_panic_without_restart_is_worse(text: str, severity: Severity) -> None:
    assert [finding.severity for finding in _found(text)] == [severity]


def test_clean_debian_has_nothing_high() -> None:
    report = audit_host(Config(), root=str(DEBIAN))
    assert report.seen["process"] > 10
    assert report.seen["unit"] == 5  # udevd with OOMScoreAdjust=-1000 and TasksMax=infinity among them, as packaged
    assert [finding.rule for finding in report.open() if finding.severity >= Severity.MEDIUM] == []


def test_debian_with_one_wrong_setting_is_found(tmp_path) -> None:
    host = read_host(str(DEBIAN))
    texts = dict(host.texts) | {"/proc/sys/vm/oom_dump_tasks": "0\n", "/proc/sys/vm/min_free_kbytes": "1000000\n"}
    found = {finding.rule: finding.severity for finding in audit_facts(replace(host, texts=texts), Config()).findings}
    assert found["OS111"] is Severity.MEDIUM
    assert found["OS107"] is Severity.HIGH


def test_garbage_in_files_is_no_traceback() -> None:
    for path in FILES:
        for text in ("", "x", "-1", "\x1b[31m", "9" * 30, "MemTotal: x kB"):
            list(run(HOST, "host", parse_host(f"# {path}\n{text}\n"), Config().settings))


def test_command_on_the_fixture_and_fail_on() -> None:
    done = _command("--root", str(DEBIAN), "--format", "json", "--fail-on", "high")
    assert done.returncode == 0, done.stderr
    assert {row["severity"] for row in json.loads(done.stdout)["findings"]} <= {"low", "info"}
    assert _command("--root", str(DEBIAN), "--fail-on", "info", "--select", "OS1").returncode in {0, 3}


def test_no_host_below_root(tmp_path) -> None:
    done = _command("--root", str(tmp_path))
    assert done.returncode == 4
    assert "no host is there" in done.stderr
    assert "Traceback" not in done.stderr


def test_this_host_without_rights() -> None:
    """A process of nobody; it runs once before, since its Python may not be readable for others."""
    code = (
        "import os, sys; from oomsight.cli.main import run; run(['audit', '--width', '80']);"
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534));"
        "print('again'); sys.exit(run(['audit', '--width', '80']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Looked at" in done.stdout.partition("again")[2]
    assert "Traceback" not in done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("        "))


def test_tasks_nearly_used_up_and_stacks_past_ram() -> None:
    text = "# /proc/sys/kernel/pid_max\n1000\n# /proc/sys/kernel/threads-max\n50000\n# /processes\n9 a 10 0 /a max {}\n"
    assert [row.severity for row in _found(text.format(960)) if row.rule == "OS117"] == [Severity.HIGH]
    assert [row.severity for row in _found(text.format(810)) if row.rule == "OS117"] == [Severity.MEDIUM]
    assert [row.severity for row in _found(text.format(790)) if row.rule == "OS117"] == []
    text = "# /proc/sys/kernel/pid_max\n4194304\n# /proc/sys/kernel/threads-max\n{}\n"
    assert [row.severity for row in _found(text.format(400_000)) if row.rule == "OS117"] == [Severity.LOW]
    assert [row.severity for row in _found(text.format(62_500)) if row.rule == "OS117"] == []


def test_default_tasks_max_without_a_bound() -> None:
    text = "# /etc/systemd/system.conf\n[Manager]\n{}DefaultTasksMax=infinity\n"
    assert [row.where.key for row in _found(text.format("")) if row.rule == "OS117"] == ["DefaultTasksMax"]
    assert [row for row in _found(text.format("#")) if row.rule == "OS117"] == []


def test_limits_of_tasks_are_read_from_either_hierarchy(tmp_path) -> None:
    for version, place in ((2, "sys/fs/cgroup"), (1, "sys/fs/cgroup/pids")):
        root = tmp_path / str(version)
        folder = root / place / "web.service"
        folder.mkdir(parents=True)
        (folder / "pids.max").write_text("100\n")
        (folder / "pids.current").write_text("99\n")
        (root / "proc/1").mkdir(parents=True)
        (root / "proc/meminfo").write_text("MemTotal: 8000000 kB\n")
        kind, options = ("cgroup2", "rw") if version == 2 else ("cgroup", "rw,pids")
        (root / "proc/1/mountinfo").write_text(f"1 0 0:1 / /{place} rw - {kind} {kind} {options}\n")
        found = list(audit_host(Config(select=("OS117",)), root=str(root)).findings)
        assert [row.where.key for row in found] == ["/web.service"], version
