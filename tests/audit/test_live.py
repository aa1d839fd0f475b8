"""What runs on a host: units as systemd loaded them, containers as runtimes say, programs under their real limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oomsight.audit.containers import rules as containers
from oomsight.audit.containers.read import of_bundle, of_inspect
from oomsight.audit.engine import run
from oomsight.audit.live import (
    Host,
    Read,
    argv_of,
    config_paths,
    families,
    parse_sample,
    program_of,
    runtime_of,
    together,
    told_settings,
)
from oomsight.audit.model import Severity
from oomsight.audit.registry import rules
from oomsight.audit.settings import Config
from oomsight.audit.units import live as units
from oomsight.pipeline.audit_host import audit_host
from oomsight.proc.memcg import Memcg
from oomsight.proc.process import Process, Stat, Status
from oomsight.sources import containers_live, units_live
from oomsight.sources.programs_live import read_programs
from oomsight.sources.runtimes.places import Places

GIB = 1 << 30
SETTINGS = Config().settings
LIVE = [row for row in rules() if row.sample_name in {"show", "inspect", "processes"}]


def _of_sample(row, text: str) -> list:
    match row.sample_name:
        case "show":
            all_loaded = units.parse_sample(text)
            found = [hit for unit in all_loaded.units for hit in run(LIVE, "loaded", unit, SETTINGS)]
            return [*found, *run(LIVE, "allloaded", all_loaded, SETTINGS)]
        case "inspect":
            return list(run(LIVE, "container", containers.parse_sample(text), SETTINGS))
        case _:
            return [hit for group in parse_sample(text) for hit in run(LIVE, "together", group, SETTINGS)]


@pytest.mark.parametrize("row", LIVE, ids=lambda row: row.id)
def test_rule_finds_its_failing_sample_only(row) -> None:
    found = [finding for finding in _of_sample(row, row.failing) if finding.rule == row.id]
    assert len(found) == 1
    assert found[0].where.key
    assert found[0].evidence
    assert _of_sample(row, row.passing) == []


# -- units ------------------------------------------------------------------------------------------------------------

SHOWN = """\
Id=web.service
LoadState=loaded
ActiveState=active
Result=success
NRestarts=12
FragmentPath={0}/etc/systemd/system/web.service
DropInPaths={0}/etc/systemd/system/web.service.d/10-memory.conf {0}/run/systemd/system/web.service.d/50-limit.conf
NeedDaemonReload=yes
ControlGroup=/system.slice/web.service
MemoryMax=infinity
ManagedOOMSwap=auto
ManagedOOMMemoryPressure=auto
OOMPolicy=stop

Id=systemd-udevd.service
LoadState=loaded
ActiveState=active
Result=success
NRestarts=0
FragmentPath=/usr/lib/systemd/system/systemd-udevd.service
DropInPaths=
NeedDaemonReload=no
ControlGroup=/system.slice/systemd-udevd.service
MemoryMax=infinity

Id=batch.service
ActiveState=failed
Result=oom-kill
NRestarts=5
MemoryMax=268435456
"""


def test_show_is_read_block_by_block() -> None:
    found = units.parse_show(SHOWN.format(""))
    assert [block["Id"] for block in found] == ["web.service", "systemd-udevd.service", "batch.service"]
    web, udevd, batch = (units.Loaded(block) for block in found)
    assert len(web.files) == 3
    assert not web.is_packaged
    assert udevd.is_packaged
    assert web.limit_bytes() is None
    assert batch.limit_bytes() == 256 << 20
    assert units.parse_show("\n\nnonsense\n\n=\n") == []


def test_a_unit_killed_thrice_is_worse() -> None:
    batch = units.Loaded(units.parse_show(SHOWN.format(""))[2])
    (found,) = run(LIVE, "loaded", batch, SETTINGS)
    assert (found.rule, found.severity) == ("OS213", Severity.HIGH)
    assert "stays down" in found.message
    memcg = Memcg(path="/a", version=2, oom_kills=3)
    (found,) = run(LIVE, "loaded", units.Loaded({"Id": "a.service", "ActiveState": "active"}, memcg), SETTINGS)
    assert found.message.startswith("3 OOM kills")


def test_systemctl_is_asked_once_and_its_files_are_read(tmp_path, monkeypatch) -> None:
    """A program that prints what ``systemctl show`` of systemd 252 prints."""
    shown = tmp_path / "shown"
    shown.write_text(SHOWN.format(tmp_path))
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {shown}\n')
    program.chmod(0o755)
    _write(tmp_path / "etc/systemd/system/web.service", "[Service]\nExecStart=/usr/bin/web\nMemoryMax=512MB\n")
    _write(tmp_path / "etc/systemd/system/web.service.d/10-memory.conf", "[Service]\nMemoryHigh=100M\n")
    monkeypatch.setattr(units_live, "find", lambda _name: str(program))
    monkeypatch.setattr(units_live.os.path, "isdir", lambda _path: True)
    found, asked = units_live.loaded_units("/", {"/system.slice/web.service": Memcg(path="w", version=2, oom_kills=1)})
    assert asked
    assert [unit.name for unit in found] == ["web.service", "systemd-udevd.service", "batch.service"]
    assert found[0].memcg is not None
    assert (tmp_path / "asked").read_text().count("show") == 1
    texts = units_live.texts_of("/", found[0])
    assert [Path(path).name for path, _ in texts] == ["web.service", "10-memory.conf"]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _host_tree(root: Path) -> None:
    _write(root / "proc/meminfo", "MemTotal: 8000000 kB\nSwapTotal: 2000000 kB\n")
    _write(root / "proc/1/mountinfo", "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")


def test_units_of_another_root_by_precedence_masks_and_drop_ins(tmp_path) -> None:
    _host_tree(tmp_path)
    etc, lib = tmp_path / "etc/systemd/system", tmp_path / "usr/lib/systemd/system"
    _write(lib / "web.service", "[Service]\nExecStart=/usr/bin/web\nMemoryMax=512MB\n")
    _write(etc / "web.service", "[Service]\nExecStart=/usr/bin/web\nMemoryMax=512M\n")  # wins
    _write(lib / "gone.service", "[Service]\nExecStart=/usr/bin/gone\nMemoryMax=512MB\n")
    (etc / "gone.service").symlink_to("/dev/null")
    _write(lib / "udev.service", "[Service]\nExecStart=/usr/bin/udevd\nOOMScoreAdjust=-1000\n")  # a package's choice
    _write(lib / "typo.service", "[Service]\nExecStart=/usr/bin/typo\nMemoryMax=1g2\n")  # a package's mistake
    _write(lib / "db.service", "[Service]\nExecStart=/usr/bin/db\nOOMScoreAdjust=-1000\n")
    _write(etc / "db.service.d/10.conf", "[Service]\nMemoryHigh=1G\nMemoryMax=1G\n")  # an administrator's
    _write(etc / "mine.service", "[Service]\nExecStart=/usr/bin/mine\n")
    (etc / "alias.service").symlink_to("mine.service")
    report = audit_host(Config(select=("OS2",)), root=str(tmp_path))
    found = sorted(
        (finding.rule, Path(finding.where.path or "").name, finding.where.line) for finding in report.findings
    )
    assert found == [
        ("OS201", "mine.service", 1), ("OS202", "typo.service", 3), ("OS203", "10.conf", 2), ("OS204", "db.service", 3),
    ]  # fmt: skip
    assert report.seen["unit"] == 5
    assert any("cannot be asked here" in line for line in report.remarks)


def test_a_suppression_in_a_unit_of_the_host_counts(tmp_path) -> None:
    _host_tree(tmp_path)
    text = "# oomsight: ignore-file[OS201] it is small\n[Service]\nExecStart=/usr/bin/a\n"
    _write(tmp_path / "etc/systemd/system/a.service", text)
    report = audit_host(Config(select=("OS2",)), root=str(tmp_path))
    assert [finding.suppressed for finding in report.findings] == ["it is small"]


# -- containers -------------------------------------------------------------------------------------------------------


def _inspect(**host) -> dict:
    return {
        "Id": "ab" * 32, "Name": "/web", "Config": {"Image": "img:1"}, "State": {"Running": True, "Pid": 42},
        "HostConfig": {"Memory": 0, "MemorySwap": 0, "PidsLimit": 100, **host},
    }  # fmt: skip


def test_swap_of_docker_means_what_docker_means() -> None:
    assert of_inspect(_inspect(Memory=64 << 20), "docker").total_bytes == 128 << 20  # as much swap again
    assert of_inspect(_inspect(Memory=64 << 20, MemorySwap=-1), "docker").total_bytes == "unlimited"
    assert of_inspect(_inspect(), "docker").total_bytes is None
    assert of_inspect({"Name": "x"}, "docker") is None
    for odd in (
        {},
        {"Id": 3},
        {"Id": "a", "HostConfig": [], "State": 7, "Config": None},
        {"Id": "a", "HostConfig": {"Memory": "x"}},
    ):
        of_inspect(odd, "docker")


def _bundle(**memory) -> dict:
    return {
        "ociVersion": "1.0.2", "process": {"oomScoreAdj": 985},
        "linux": {"resources": {"memory": memory, "pids": {"limit": 100}}},
        "annotations": {"io.kubernetes.cri.container-name": "app", "io.kubernetes.cri.sandbox-uid": "u"},
        "mounts": [{"destination": "/dev/shm", "options": ["nosuid", "size=65536k"]}],
    }  # fmt: skip


def test_bundles_of_containerd_and_podman() -> None:
    found = of_bundle("c1", _bundle(limit=128 << 20, swap=128 << 20), "containerd", 42)
    assert found is not None
    assert (found.name, found.limit_bytes, found.total_bytes, found.oom_score_adj) == ("app", 128 << 20, 128 << 20, 985)
    assert (found.shm_bytes, found.pids_limit, found.in_pod) == (64 << 20, 100, True)
    assert of_bundle("c1", _bundle(), "containerd", 42).limit_bytes == "unlimited"
    assert of_bundle("p", {"annotations": {"io.kubernetes.cri.container-type": "sandbox"}}, "containerd", 1) is None
    for odd in (
        {},
        {"linux": []},
        {"mounts": [{"destination": "/dev/shm", "options": "x"}]},
        {"annotations": {"a": 1}},
    ):
        of_bundle("c", odd, "podman", None)


def test_bundles_are_found_and_only_live_ones_count(tmp_path) -> None:
    (tmp_path / "proc/42").mkdir(parents=True)
    for name, pid in (("alive", 42), ("dead", 43)):
        folder = tmp_path / "run/containerd/io.containerd.runtime.v2.task/k8s.io" / name
        _write(folder / "config.json", json.dumps(_bundle(limit=1 << 28)))
        _write(folder / "init.pid", str(pid))
        podman = {"annotations": {"io.container.manager": "libpod"}, "hostname": f"p{name}"}
        kept, run_ = tmp_path / "var/lib/containers/storage", tmp_path / "run/containers/storage"
        _write(kept / "overlay-containers" / f"p{name}" / "userdata/config.json", json.dumps(podman))
        _write(run_ / "overlay-containers" / f"p{name}" / "userdata/pidfile", f"{pid}\n")
    rows = [{"id": "palive", "names": ["web"], "metadata": json.dumps({"image-name": "img:1", "name": "web"})}]
    _write(tmp_path / "var/lib/containers/storage/overlay-containers/containers.json", json.dumps(rows))
    found, unseen = containers_live.live_containers(Places(root=str(tmp_path), programs=False))
    assert sorted((row.runtime, row.id) for row in found) == [("containerd", "alive"), ("podman", "palive")]
    podman = next(row for row in found if row.runtime == "podman")
    assert (podman.name, podman.image, podman.pid) == ("web", "img:1", 42)
    assert unseen == []


def test_a_pod_that_bounds_its_container_is_a_limit() -> None:
    found = of_bundle("c1", _bundle(), "containerd", 42)
    from dataclasses import replace

    assert [row.rule for row in run(LIVE, "container", found, SETTINGS)] == ["OS330"]
    assert list(run(LIVE, "container", replace(found, bound_bytes=1 << 30), SETTINGS)) == []


def test_a_hostile_name_gets_no_command_to_copy() -> None:
    found = of_inspect(_inspect() | {"Name": "/x; rm -rf ~"}, "docker")
    (row,) = run(LIVE, "container", found, SETTINGS)
    assert row.fix is None
    assert "docker update" in next(run(LIVE, "container", of_inspect(_inspect(), "docker"), SETTINGS)).fix.text


# -- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cmdline", "argv", "runtime"),
    [
        ("java\0-Xmx1g\0-jar\0a.jar\0", ("java", "-Xmx1g", "-jar", "a.jar"), "jvm"),
        ("sh\0-c\0java -Xmx1g -jar a.jar\0", ("sh", "-c", "java -Xmx1g -jar a.jar"), None),  # java is its child
        ("nginx: master process /usr/sbin/nginx -c /n.conf\0\0\0", ("/usr/sbin/nginx", "-c", "/n.conf"), "nginx"),
        ("nginx: worker process\0\0", ("nginx: worker process",), "nginx"),
        ("php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)\0",
         ("php-fpm", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf"), "php-fpm"),
        ("postgres: checkpointer \0", ("postgres: checkpointer ",), "postgres"),
        ("gunicorn: master [app:app]\0", ("gunicorn",), "python"),
        ("/usr/bin/redis-server 127.0.0.1:6379\0", ("/usr/bin/redis-server", "redis.conf"), "redis"),
        ("vim\0java\0", ("vim", "java"), None),
        ("", (), None),
    ],
)  # fmt: skip
def test_command_lines_as_servers_leave_them(cmdline, argv, runtime) -> None:
    assert argv_of(cmdline) == argv
    assert runtime_of(argv) == runtime


def test_configuration_of_the_program_is_found() -> None:
    argv = ("postgres", "-D", "/data", "-c", "config_file=/etc/pg.conf", "-c", "work_mem=64MB", "--shared-buffers=1GB")
    assert config_paths("postgres", argv, {}) == ("/etc/pg.conf", "/etc/conf.d/*.conf", "/data/postgresql.auto.conf")
    assert told_settings("postgres", argv) == {
        "config_file": "/etc/pg.conf",
        "work_mem": "64MB",
        "shared_buffers": "1GB",
    }
    assert config_paths("postgres", ("postgres",), {"PGDATA": "/d"})[0] == "/d/postgresql.conf"
    assert config_paths("redis", ("redis-server", "/etc/r.conf"), {}) == ("/etc/r.conf",)
    assert config_paths("redis", ("redis-server", "*:6379"), {})[0] == "/etc/redis/redis.conf"


def _process(pid: int, ppid: int, cgroup: str, anon_mib: int = 10) -> Process:
    stat = Stat(pid, "x", "S", ppid, 0, 0, 0, 0, 7, pid, 1 << 30, anon_mib << 8)
    return Process(stat, Status(uid=0, rss_anon_kib=anon_mib << 10), 0, None, cgroup)


def _read(pid: int, ppid: int, cgroup: str, *argv: str, anon_mib: int = 10, **rest) -> Read:
    return Read(_process(pid, ppid, cgroup, anon_mib), argv, runtime_of(argv) or "", **rest)


def _found(rows: list[Read], host: Host) -> list:
    programs = [program_of(row, workers, host) for row, workers in families(rows)]
    program_rules = [row for row in rules() if row.scope == "program"]
    found = [finding for program in programs for finding in run(program_rules, "program", program, SETTINGS)]
    return found + [
        row for group in together(programs, host.ram_bytes) for row in run(LIVE, "together", group, SETTINGS)
    ]


def _host(**limits: int) -> Host:
    cgroups = {f"/{name}": Memcg(path=f"/{name}", version=2, limit_bytes=size) for name, size in limits.items()}
    return Host(8 * GIB, 4, cgroups)


def test_the_least_limit_above_a_cgroup_bounds_it() -> None:
    cgroups = {
        "/a": Memcg(path="/a", version=2, limit_bytes=2 * GIB),
        "/a/b": Memcg(path="/a/b", version=2, limit_bytes="unlimited"),
        "/c": Memcg(path="/c", version=2, limit_bytes=64 * GIB),
    }
    host = Host(8 * GIB, 4, cgroups)
    assert host.bound("/a/b").path == "/a"
    assert host.bound("/c") is None  # above RAM it bounds nothing
    assert host.bound(None) is None


def test_a_jvm_above_the_limit_of_its_slice() -> None:
    rows = [_read(42, 1, "/web", "java", "-Xmx2g", "-jar", "a.jar", release="17.0.9")]
    (found,) = _found(rows, _host(web=GIB))
    assert (found.rule, found.severity, found.where.key) == ("OS501", Severity.HIGH, "/web")
    assert any("-Xmx2g" in line for line in found.evidence)
    assert any("7 threads" in line for line in found.evidence)
    assert _found(rows, _host(web=4 * GIB)) == []
    assert _found(rows, _host()) == []


def test_workers_count_with_their_measured_size() -> None:
    argv = ("/usr/bin/python3", "/usr/bin/gunicorn", "-w", "4", "app:app")
    rows = [_read(10, 1, "/w", *argv), *(_read(pid, 10, "/w", *argv, anon_mib=300) for pid in range(11, 15))]
    (found,) = _found(rows, _host(w=GIB))  # one finding, not five
    assert found.rule == "OS501"
    assert any("300 MiB each (as given)" in line for line in found.evidence)
    small = [_read(10, 1, "/w", *argv), *(_read(pid, 10, "/w", *argv, anon_mib=60) for pid in range(11, 15))]
    assert _found(small, _host(w=GIB)) == []


def test_a_python_that_starts_another_is_not_its_parent() -> None:
    rows = [
        _read(9, 1, "/w", "python3", "-m", "pytest"), _read(10, 9, "/w", "python3", "/usr/bin/gunicorn", "-w", "1"),
        _read(11, 10, "/w", "python3", "/usr/bin/gunicorn", "-w", "1"), _read(12, 11, "/other", "python3", "/usr/bin/gunicorn"),
    ]  # fmt: skip
    assert [(row.process.stat.pid, len(workers)) for row, workers in families(rows)] == [(9, 0), (10, 1), (12, 0)]
    ring = [_read(1, 2, "/w", "nginx"), _read(2, 1, "/w", "nginx")]
    list(families(ring))


def test_redis_whose_title_hides_its_configuration_is_not_accused() -> None:
    argv = argv_of("/usr/bin/redis-server *:6379\0")
    assert _found([_read(7, 1, "/r", *argv)], _host(r=GIB)) == []
    known = _read(7, 1, "/r", *argv, config={"port": "6379"}, config_name="/etc/redis/redis.conf")
    assert [row.rule for row in _found([known], _host(r=GIB))] == ["OS507"]


def test_programs_that_fit_alone_and_not_together() -> None:
    rows = [_read(pid, 1, "/jobs", "java", "-Xmx600m", "-jar", "a.jar") for pid in (1, 2)]
    (found,) = _found(rows, _host(jobs=GIB))
    assert (found.rule, found.where.key) == ("OS509", "/jobs")
    rows = [_read(pid, 1, f"/j{pid}", "java", "-Xmx3g", "-jar", "a.jar") for pid in (1, 2, 3)]
    (found,) = _found(rows, _host())
    assert (found.rule, found.where.key) == ("OS509", "RAM")


def test_programs_of_a_proc_tree(tmp_path) -> None:
    """A Go binary by its build id and variables; its shell, with the same variables, is none; PostgreSQL's data."""

    def make(pid: int, cmdline: str, environ: str = "", exe: bytes = b"\x7fELF") -> Process:
        folder = tmp_path / str(pid)
        _write(folder / "cmdline", cmdline)
        _write(folder / "environ", environ)
        (folder / "exe").write_bytes(exe)
        (folder / "root").mkdir()
        return _process(pid, 1, "/a")

    limit = "GOMEMLIMIT=1GiB\0PATH=/bin\0"
    processes = [
        make(1, "/app\0", limit, b'\x7fELF....\xff Go build ID: "x"'),
        make(2, "/bin/dd\0", limit),
        make(3, "postgres\0-D\0/data\0"),
        make(4, "java\0-Ddb.password=hunter2\0-jar\0x.jar\0",
             "JAVA_OPTS=-Ddb.password=hunter2 -Xmx1g -Dapi.token=hunter2\0DB_PASSWORD=hunter2 hunter2\0"),
    ]
    _write(tmp_path / "3/root/data/postgresql.conf", "shared_buffers = 2GB\nwork_mem = 8MB\n")
    _write(tmp_path / "3/root/data/postgresql.auto.conf", "work_mem = '32MB'\n")
    found, denied = read_programs(processes, str(tmp_path))
    assert [(row.process.stat.pid, row.runtime) for row in found] == [(1, "go"), (3, "postgres"), (4, "jvm")]
    assert found[0].env["GOMEMLIMIT"] == "1GiB"
    assert found[1].config == {"shared_buffers": "2GB", "work_mem": "32MB"}
    assert "/data/postgresql.conf" in found[1].config_name
    assert "hunter2" not in str(found)
    assert "-Xmx1g" in found[2].env["JAVA_OPTS"]
    assert denied == 0
