"""The audit of real containers (a dockerd of our own) and of real programs in a memory cgroup below their heap."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oomsight.audit.settings import Config
from oomsight.pipeline.audit_host import audit_host
from oomsight.sources import containers_live
from oomsight.sources.runtimes.places import Places

from .docker_rig import Docker, busybox_tree, dockerd, eventually, need, own_cgroups

if TYPE_CHECKING:
    from oomsight.audit.model import Finding

pytestmark = pytest.mark.live

MIB = 1 << 20


@pytest.fixture(scope="module")
def docker(tmp_path_factory) -> Iterator[Docker]:
    with dockerd(tmp_path_factory.mktemp("docker")) as running:
        yield running


def may_protect() -> bool:
    """Whether a process may lower its oom_score_adj here (CAP_SYS_RESOURCE)."""
    return (
        subprocess.run(
            ["sh", "-c", "echo -1000 > /proc/self/oom_score_adj"], stderr=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


@pytest.fixture
def audited(docker, monkeypatch):
    """The findings about containers, by container name."""
    places = Places(docker_sockets=(docker.socket,), podman_sockets=(), bundles=(docker.bundles,))
    monkeypatch.setattr("oomsight.pipeline.audit_live.Places", lambda **_: places)

    def audit() -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {}
        for finding in audit_host(Config(select=("OS33",))).findings:
            found.setdefault(finding.where.key or "", []).append(finding)
        return found

    return audit


def test_each_mistake_of_docker_run_is_found(docker, audited) -> None:
    sleep = ("sleep", "1000")
    docker.run("good", *sleep, options=("--pids-limit=50",))
    docker.run("bare", *sleep, limit="")
    docker.run("disabled", *sleep, options=("--oom-kill-disable", "--pids-limit=50"))
    docker.run("shm", *sleep, limit="64m", options=("--shm-size=128m", "--pids-limit=50"))
    found = {name: {row.rule for row in rows} for name, rows in audited().items()}
    assert "good" not in found
    assert found["bare"] == {"OS330", "OS335"}
    assert found["shm"] == {"OS337"}
    if os.path.exists("/sys/fs/cgroup/memory/memory.oom_control"):  # version 2 has no such switch
        assert found["disabled"] == {"OS333"}
    # The command it proposes is one that Docker takes, and then the finding is gone.
    fix = next(row.fix for row in audited()["bare"] if row.rule == "OS330")
    docker(*fix.text.split()[1:])
    assert "OS330" not in {row.rule for row in audited().get("bare", [])}


def test_a_container_nobody_can_choose_is_found(docker, audited) -> None:
    if not may_protect():
        pytest.skip("lowering oom_score_adj needs CAP_SYS_RESOURCE, which this user does not have")
    docker.run("shielded", "sleep", "1000", limit="", options=("--oom-score-adj=-1000", "--pids-limit=50"))
    assert {row.rule for row in audited()["shielded"]} == {"OS330", "OS334"}


def test_a_killed_container_is_told(docker, audited) -> None:
    docker.run("grows", "tail", "/dev/zero", limit="16m", options=("--pids-limit=50",))
    docker.ended("grows")
    (found,) = audited()["grows"]
    assert found.rule == "OS336"
    assert "stays down" in found.message
    assert any("16 MiB" in line for line in found.evidence)


def test_without_its_socket_the_bundles_say_the_same(docker) -> None:
    container = docker.run("silent", "sleep", "1000", options=("--oom-score-adj=150", "--pids-limit=50"))
    by_socket, _ = containers_live.live_containers(
        Places(docker_sockets=(docker.socket,), podman_sockets=(), bundles=())
    )
    by_files, _ = containers_live.live_containers(
        Places(docker_sockets=(), podman_sockets=(), bundles=(docker.bundles,))
    )
    one = next(row for row in by_socket if row.id == container)
    other = next(row for row in by_files if row.id == container)
    for name in ("limit_bytes", "total_bytes", "oom_score_adj", "pids_limit", "pid"):
        assert getattr(one, name) == getattr(other, name), name


def _commands_with(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path.parent.name] if word.encode() in path.read_bytes() else []
    return found


@pytest.fixture
def podman(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """podman with a storage of its own, run by runc (crun does not know hybrid hierarchies)."""
    programs = need("podman", "runc", "conmon")
    short = Path(tempfile.mkdtemp(prefix="os"))  # podman wants a runroot of at most 50 characters
    root, runroot = tmp_path / "root", short / "run"
    own = [
        programs["podman"], "--root", str(root), "--runroot", str(runroot), "--tmpdir", str(short / "tmp"),
        "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", programs["runc"],
    ]  # fmt: skip

    def call(*args: str) -> str:
        done = subprocess.run([*own, *args], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            pytest.skip(f"podman does not run here: {done.stderr.strip()[-300:]}")
        return done.stdout.strip()

    monkeypatch.setattr(containers_live, "KEPT", (f"{root}/*-containers",))
    monkeypatch.setattr(containers_live, "RUNNING", (f"{runroot}/*-containers",))
    with own_cgroups("libpod_parent"):
        call("import", str(busybox_tree(tmp_path)), "t:1")
        yield call
        subprocess.run([*own, "rm", "-af", "-t", "0"], capture_output=True, check=False)
        # Its store mounts itself.
        subprocess.run(["umount", "-l", str(root / "vfs"), str(root)], capture_output=True, check=False)
        eventually(lambda: not _commands_with(str(short)))  # conmon ends after its container, and cleans up then
        shutil.rmtree(short, ignore_errors=True)
        for folder in Path("/sys/fs/cgroup").glob("*/libpod_parent/conmon"):
            with suppress(OSError):  # somebody else's are in it
                folder.rmdir()


def test_podman_without_its_socket(podman) -> None:
    common = ("--network", "none", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000")
    podman("run", "-d", "--name", "webby", *common, "--memory", "32m", "--pids-limit", "20", "t:1", "sleep", "300")
    podman("run", "-d", "--name", "barey", *common, "--pids-limit", "0", "t:1", "sleep", "300")
    podman("create", "--name", "never", *common, "t:1", "sleep", "300")
    found, unseen = containers_live.live_containers(Places(docker_sockets=(), podman_sockets=(), bundles=()))
    by_name = {row.name: row for row in found}
    assert set(by_name) == {"webby", "barey"}
    webby, barey = by_name["webby"], by_name["barey"]
    assert (webby.runtime, webby.limit_bytes, webby.pids_limit) == ("podman", 32 * MIB, 20)
    assert (barey.limit_bytes, barey.pids_limit) == ("unlimited", "unlimited")
    assert str(webby.pid) == podman("inspect", "-f", "{{.State.Pid}}", "webby")
    assert unseen == []
    with pytest.MonkeyPatch.context() as patch:
        places = Places(docker_sockets=(), podman_sockets=(), bundles=())
        patch.setattr("oomsight.pipeline.audit_live.Places", lambda **_: places)
        rules = {(row.where.key, row.rule) for row in audit_host(Config(select=("OS33",))).findings}
    assert rules == {("barey", "OS330"), ("barey", "OS335")}


# -- programs ---------------------------------------------------------------------------------------------------------


@contextmanager
def limited(name: str, limit_bytes: int) -> Iterator[Path]:
    """A memory cgroup of our own."""
    base = next(
        (
            place
            for place in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
            if (place / "cgroup.procs").exists()
        ),
        None,
    )
    if os.geteuid() != 0 or base is None:
        pytest.skip("needs root and memory cgroups")
    folder = base / f"oomsight-audit-{os.getpid()}-{name}"
    folder.mkdir()
    try:
        file = next(
            (folder / file for file in ("memory.max", "memory.limit_in_bytes") if (folder / file).exists()), None
        )
        if file is None:
            pytest.skip("the memory controller is not enabled for new cgroups here")
        file.write_text(str(limit_bytes))
        yield folder
    finally:
        eventually(lambda: not (folder / "cgroup.procs").read_text().strip())
        folder.rmdir()


@contextmanager
def running(folder: Path, *argv: str, **env: str) -> Iterator[int]:
    def enter() -> None:
        (folder / "cgroup.procs").write_text(str(os.getpid()))

    process = subprocess.Popen(
        argv,
        preexec_fn=enter,  # noqa: PLW1509 - the cgroup has to be entered before the program runs
        env=os.environ | env,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _programs(pid: int) -> list[Finding]:
    report = audit_host(Config(select=("OS5",)))
    return [row for row in report.findings if f"pid {pid}" in row.subject]


JAVA = """
public class Waits {
    public static void main(String[] words) throws Exception { System.out.println("ready"); Thread.sleep(600000); }
}
"""


def test_a_real_jvm_with_a_heap_above_its_limit(tmp_path) -> None:
    java, javac = shutil.which("java"), shutil.which("javac")
    if java is None or javac is None:
        pytest.skip("not installed: java, javac")
    (tmp_path / "Waits.java").write_text(JAVA)
    subprocess.run([javac, "-d", str(tmp_path), str(tmp_path / "Waits.java")], check=True)
    with limited("java", 300 * MIB) as folder:
        with running(folder, java, "-Xmx600m", "-cp", str(tmp_path), "Waits") as pid:
            (found,) = _programs(pid)
            assert found.rule == "OS501"
            assert found.severity.word == "high"
            assert found.where.key == f"/{folder.name}"
            assert any("-Xmx600m" in line and "heap" in line for line in found.evidence)
            assert "300 MiB" in found.message
        # The same heap said by a variable only the JVM reads.
        with running(folder, java, "-cp", str(tmp_path), "Waits", JAVA_TOOL_OPTIONS="-Xmx600m") as pid:
            assert [row.rule for row in _programs(pid)] == ["OS501"]
        with running(folder, java, "-Xmx64m", "-cp", str(tmp_path), "Waits") as pid:
            assert _programs(pid) == []


def test_a_real_node_with_a_heap_above_its_limit() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("not installed: node")
    script = "console.log('ready'); setInterval(() => {}, 1000)"
    with limited("node", 200 * MIB) as folder:
        with running(folder, node, "--max-old-space-size=800", "-e", script) as pid:
            (found,) = _programs(pid)
            assert found.rule == "OS501"
            assert any("800" in line for line in found.evidence)
        with running(folder, node, "--max-old-space-size=64", "-e", script) as pid:
            assert _programs(pid) == []


def test_a_real_postgresql_with_the_settings_of_its_data_directory() -> None:
    """Its configuration is found by ``-D``, its processes count once, the limit is the one it runs in."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("not installed: postgresql")
    if os.geteuid() != 0:
        pytest.skip("needs root: another user and a memory cgroup")
    user = pwd.getpwnam("postgres")
    folder = Path(tempfile.mkdtemp(prefix="ospg"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    rest = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": str(folder), "env": {"LC_ALL": "C"}}
    data = folder / "data"
    try:
        subprocess.run([programs[-1] / "initdb", "-N", "-D", data], check=True, capture_output=True, **rest)
        with open(data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"shared_buffers = '1GB'\nlisten_addresses = ''\nunix_socket_directories = '{folder}'\n")
        with limited("postgres", 600 * MIB) as cgroup:
            os.chown(cgroup / "cgroup.procs", user.pw_uid, user.pw_gid)  # preexec_fn runs as that user
            process = subprocess.Popen(
                [programs[-1] / "postgres", "-D", data, "-c", "maintenance_work_mem=200MB"],
                preexec_fn=lambda: bool((cgroup / "cgroup.procs").write_text(str(os.getpid()))),  # noqa: PLW1509
                stderr=subprocess.DEVNULL, **rest,
            )  # fmt: skip
            try:
                eventually(
                    lambda: (
                        "ready" in (data / "postmaster.pid").read_text() if (data / "postmaster.pid").exists() else 0
                    )
                )
                found = [
                    row for row in audit_host(Config(select=("OS5",))).findings if row.where.key == f"/{cgroup.name}"
                ]
                assert [row.rule for row in found] == ["OS501"]
                assert found[0].severity.word == "high"
                text = "\n".join(found[0].evidence)
                assert "shared_buffers = 1GB" in text
                assert str(data / "postgresql.conf") in text
                assert "maintenance_work_mem = 200MB" in text
            finally:
                process.terminate()
                process.wait()
    finally:
        shutil.rmtree(folder)


def test_real_workers_are_measured(tmp_path) -> None:
    """A parent with workers as gunicorn has them: each as big as it really is."""
    script = tmp_path / "gunicorn"
    script.write_text(
        "import os, sys, time\n"
        "for _ in range(2):\n"
        "    if os.fork() == 0:\n"
        "        held = bytearray(40 << 20); held[::4096] = b'x' * len(held[::4096]); os.write(3, b'.'); time.sleep(600)\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    import sys

    read, write = os.pipe()
    with limited("python", 100 * MIB) as folder:

        def enter() -> None:
            os.dup2(write, 3)
            os.setsid()
            (folder / "cgroup.procs").write_text(str(os.getpid()))

        process = subprocess.Popen(
            [sys.executable, str(script), "-w", "2"],
            preexec_fn=enter,  # noqa: PLW1509
            stdout=subprocess.PIPE,
            pass_fds=(3,),
        )
        try:
            got = b""
            while len(got) < 2:
                got += os.read(read, 2)
            found = _programs(process.pid)
            assert [row.rule for row in found] == ["OS501"]
            sizes = [line for line in found[0].evidence if "(as given)" in line]
            assert any(f" {mib} MiB each" in size for size in sizes for mib in range(40, 60)), found[0].evidence
        finally:
            os.killpg(process.pid, 9)
            process.communicate()
            os.close(read)
            os.close(write)
