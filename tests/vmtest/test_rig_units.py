"""The pure parts of the VM rig. No guest is booted here: that is `make vmtest`."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from vmtest.verdict import Incident, Process  # noqa: E402

from vmtest import build, conf, cpio, debian, kmod, machine, reality, verdict  # noqa: E402

RIG = ROOT / "vmtest"


# ---- conf ------------------------------------------------------------------------------------------------------------


def test_kernels_conf_has_the_releases_that_matter() -> None:
    rows = {row.label: row for row in conf.parse_kernels((RIG / "kernels.conf").read_text())}
    assert {"5.10", "6.1", "7.3"} <= rows.keys()
    assert rows["6.1"] == conf.Kernel("6.1", "bookworm-security", ("linux-image-6.1.0-*-cloud-amd64",))
    assert len(rows["7.3"].packages) == 2


@pytest.mark.parametrize("text", ["6.1 bookworm", "6.1 bookworm a b", "6.1 s a\n6.1 s b"])
def test_parse_kernels_names_the_bad_line(text: str) -> None:
    with pytest.raises(conf.ConfError, match=rf"kernels\.conf:{len(text.splitlines())}:"):
        conf.parse_kernels(text)


def test_parse_scenario_reads_every_header() -> None:
    text = (
        "# DESC: what it shows\n# MEM: 512\n# SMP: 2\n# NUMA: 2\n# SWAPDISK: 96\n# APPEND: a=1 b\n# EXPECT: any\n"
        "# TIMEOUT: 7\n# VICTIMS: Web Content | a|b\n# CONSTRAINT: CONSTRAINT_CPUSET\n# KIND: cpuset\n# LOGS: kmsg\n"
        "# DOMAIN: /x.slice\n# PREDICT: no\n# LOST: yes\narrange() { :; }\n# MEM: 1\n"
    )
    assert conf.parse_scenario("name", text) == conf.Scenario(
        name="name", desc="what it shows", mem_mib=512, smp=2, numa_nodes=2, swapdisk_mib=96, append="a=1 b",
        expect="any", timeout_seconds=7, victims=("Web Content", "a", "b"), constraint="CONSTRAINT_CPUSET",
        kind="cpuset", logs=("kmsg",), domain="/x.slice", predict=False, lost=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "# MEM: 1", "# DESC: a\n# MEM: many", "# DESC: a\n# MEM: 0", "# DESC: a\n# DESC: b", "# DESC: a\n# SWOP: 1",
     "# DESC: a\n# EXPECT: death", "# DESC: a\n# PREDICT: maybe"],
)  # fmt: skip
def test_parse_scenario_refuses_a_mistake_and_names_the_scenario(text: str) -> None:
    with pytest.raises(conf.ConfError, match="scenario odd"):
        conf.parse_scenario("odd", text)


def test_every_scenario_has_a_good_header_and_arranges_something() -> None:
    files = sorted((RIG / "scenarios").glob("*.sh"))
    assert len(files) >= 8
    for path in files:
        scenario = conf.parse_scenario(path.stem, path.read_text())
        assert scenario.victims == () or scenario.expect in {"kill", "any"}, path.name
        assert "\narrange() {" in path.read_text(), path.name


@pytest.mark.parametrize(
    "path", sorted([*(RIG / "scenarios").glob("*.sh"), *(RIG / "guest").glob("[gi]*")]), ids=lambda p: p.name
)
def test_guest_shell_parses(path: Path) -> None:
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [([], ("6.1", "6.12", "7.0", "7.3")), (["6.1"], ("6.1",)), (["6.1.192"], ("6.1",)), (["7"], ("7.0", "7.3")),
     (["7.3", "6.12"], ("6.12", "7.3"))],
)  # fmt: skip
def test_select_counts_whole_components(wanted: list[str], names: tuple[str, ...]) -> None:
    assert conf.select(("6.1", "6.12", "7.0", "7.3"), wanted) == names


def test_select_of_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(conf.ConfError, match=r"no such name: 6\.2 \(there are: 6\.1\)"):
        conf.select(("6.1",), ["6.2"])


# ---- debian ----------------------------------------------------------------------------------------------------------


def test_resolve_takes_the_newest_release_that_is_complete() -> None:
    row = conf.Kernel("7.3", "s", ("linux-binary-7.3.*-amd64", "linux-modules-7.3.*-amd64"))
    names = [
        "linux-binary-7.3.9-amd64", "linux-modules-7.3.9-amd64", "linux-binary-7.3.10-amd64",
        "linux-modules-7.3.10-amd64", "linux-binary-7.3.11-amd64", "linux-binary-7.30.1-amd64",
    ]  # fmt: skip
    assert debian.resolve(row, names) == ("linux-binary-7.3.10-amd64", "linux-modules-7.3.10-amd64")
    with pytest.raises(conf.ConfError, match=r"kernel 7\.3: s has no"):
        debian.resolve(row, names[-2:])


def test_parse_uris_reads_file_size_and_checksum() -> None:
    line = f"'http://mirror/pool/l/linux_1_amd64.deb' linux_1%3a2_amd64.deb 26713492 SHA256:{'0a' * 32}"
    assert debian.parse_uris(f"Reading...\n{line}\n'http://x/y.deb' y.deb 1 MD5Sum:{'0' * 32}\n") == (
        debian.Deb("linux_1%3a2_amd64.deb", 26713492, "0a" * 32),
    )


def test_parse_plan_names_what_would_be_installed() -> None:
    plan = "Inst libc6 (2.36 Debian:12 [amd64]) []\nInst python3 (3.11 x [amd64])\nConf libc6 (2.36 x [amd64])\n"
    assert debian.parse_plan(plan) == ["libc6", "python3"]


def test_check_refuses_a_file_that_is_not_what_the_index_says(tmp_path: Path) -> None:
    file = tmp_path / "a.deb"
    file.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    debian.check(file, debian.Deb("a.deb", 3, sha256))
    for wrong in (debian.Deb("a.deb", 3, "0" * 64), debian.Deb("a.deb", 4, sha256)):
        with pytest.raises(conf.ConfError, match=r"a\.deb: SHA-256 ba7816bf"):
            debian.check(file, wrong)


# ---- cpio ------------------------------------------------------------------------------------------------------------

ENTRIES = [
    cpio.directory("d"),
    cpio.regular("d/file", b"content", 0o755),
    cpio.link("d/link", "file"),
    cpio.regular("empty", b""),
]


def test_archive_header_is_newc_without_owner_and_time() -> None:
    head = cpio.archive([cpio.regular("a", b"xyz")])[:110]
    assert head == b"070701" + b"00000001000081A4" + b"00000000" * 2 + b"00000001" + b"00000000" + b"00000003" + (
        b"00000000" * 4 + b"00000002" + b"00000000"
    )


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio(1) here to read the archive with")
def test_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    subprocess.run(["cpio", "-i", "--quiet"], input=cpio.archive(ENTRIES), cwd=tmp_path, check=True)
    assert (tmp_path / "d/file").read_bytes() == b"content"
    assert (tmp_path / "d/file").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "d/link").readlink() == Path("file")
    assert (tmp_path / "empty").read_bytes() == b""


@given(st.lists(st.tuples(st.text("abc/é", min_size=1, max_size=9), st.binary(max_size=9)), max_size=5))
def test_archive_members_can_be_read_back_wherever_padding_falls(files: list[tuple[str, bytes]]) -> None:
    data = cpio.archive(cpio.regular(name, content) for name, content in files)
    assert len(data) % 4 == 0
    found, at = [], 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name_end = at + 110 + fields[11]
        name = data[at + 110 : name_end - 1].decode()
        start = name_end + -name_end % 4
        end = start + fields[6]
        at = end + -end % 4
        if name == "TRAILER!!!":
            break
        found.append((name, data[start:end]))
    assert found == files
    assert at == len(data)


def test_walk_gives_parents_first_and_keeps_links(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").write_bytes(b"1")
    (tmp_path / "b/c").chmod(0o640)
    (tmp_path / "a").symlink_to("b/c")
    assert list(cpio.walk(tmp_path, "top")) == [
        cpio.directory("top"),
        cpio.link("top/a", "b/c"),
        cpio.directory("top/b"),
        cpio.regular("top/b/c", b"1", 0o640),
    ]


# ---- kernel modules --------------------------------------------------------------------------------------------------

MODULES = {
    "virtio_console": b"\x7fELF\0license=GPL\0depends=virtio-ring,virtio\0",
    "virtio_ring": b"\0depends=virtio\0",
    "virtio": b"\0depends=\0",
}


def test_load_order_puts_dependencies_first_and_each_once() -> None:
    order = kmod.load_order(["virtio_console", "builtin", "virtio"], MODULES.get)
    assert list(order) == ["virtio", "virtio_ring", "virtio_console"]


def test_load_order_of_a_cycle_ends() -> None:
    images = {"a": b"\0depends=b\0", "b": b"\0depends=a\0"}
    assert list(kmod.load_order(["a"], images.get)) == ["b", "a"]


def test_module_entries_list_groups_that_are_there(tmp_path: Path) -> None:
    import lzma

    tree = tmp_path / "lib/modules/6.1/kernel"
    tree.mkdir(parents=True)
    (tree / "virtio-console.ko.xz").write_bytes(lzma.compress(MODULES["virtio_console"]))
    (tree / "virtio.ko").write_bytes(MODULES["virtio"])
    (tree / "lz4.ko").write_bytes(b"")  # of the zram group, but zram itself is not there
    found = {entry.name: entry.data for entry in build.module_entries(tmp_path)}
    assert found["mods/base.list"] == b"virtio.ko\nvirtio_console.ko\n"
    assert found["mods/virtio_console.ko"] == MODULES["virtio_console"]
    assert "mods/zram.list" not in found


def test_guest_entries_hold_init_programs_and_every_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hog").write_bytes(b"hog")
    (tmp_path / "snap").write_bytes(b"snap")
    (tmp_path / "busybox").write_bytes(b"box")
    monkeypatch.setattr(build, "_BUSYBOX", tmp_path / "busybox")
    found = {entry.name: entry for entry in build.guest_entries(tmp_path, ["busybox", "sh"])}
    assert found["init"] == cpio.regular("init", (RIG / "guest/init").read_bytes(), 0o755)
    assert found["bin/sh"] == cpio.link("bin/sh", "busybox")
    assert found["bin/busybox"].data == b"box"
    assert found["bin/hog"].data == b"hog"
    assert {f"scenarios/{path.name}" for path in (RIG / "scenarios").glob("*.sh")} <= found.keys()


def test_requirements_are_those_of_the_project() -> None:
    assert build.requirements('[project]\ndependencies = ["click>=8"]\n') == ("click>=8",)
    assert any(text.startswith("click") for text in build.requirements((ROOT / "pyproject.toml").read_text()))


# ---- machine ---------------------------------------------------------------------------------------------------------

SCENARIO = conf.Scenario(name="s", desc="d", victims=("hog",), constraint="CONSTRAINT_MEMCG", domain="/a")


def test_command_gives_python_room_and_disks_their_serial() -> None:
    scenario = replace(SCENARIO, mem_mib=400, smp=2, numa_nodes=2, append="x=1")
    words = machine.command(
        machine.Machine(kernel=Path("k"), initrd=Path("i"), scenario=scenario, console=Path("c"), port=Path("p"),
                        swap=Path("swap"), userland=Path("user"))
    )  # fmt: skip
    assert words[words.index("-m") + 1] == "528M"
    assert words[words.index("-append") + 1] == (
        "console=ttyS0 panic=-1 rdinit=/init vmtest.scenario=s vmtest.domain=/a x=1"
    )
    assert [word for word in words if word.startswith("file=")] == [
        "file=swap,format=raw,if=none,id=swap,cache=unsafe",
        "file=user,format=raw,if=none,id=userland,readonly=on",
    ]
    assert [word for word in words if word.startswith("nvme,")] == [
        "nvme,drive=swap,serial=swap",
        "nvme,drive=userland,serial=userland",
    ]
    assert "memory-backend-ram,id=node1,size=264M" in words


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_unpack_reads_tar_after_tar_even_a_cut_one() -> None:
    port = _tar({"a": b"1", "notes.txt": b"x\n"}) + _tar({"a": b"2", "notes.txt": b"y\n"})
    assert machine.unpack(port) == {"a": b"2", "notes.txt": b"x\ny\n"}
    assert machine.unpack(port + _tar({"b": bytes(4096)})[:1000]) == {"a": b"2", "notes.txt": b"x\ny\n"}
    assert machine.unpack(b"") == {}


@pytest.mark.parametrize(
    ("console", "ended"),
    [(b"x\nVMTEST END\n", ("end", None)), (b"VMTEST UNSUPPORTED no zram\n", ("unsupported", "no zram")),
     (b"VMTEST DIE why\n", ("died", "why")), (b"[ 1.0] Kernel panic - not syncing: x\n", ("panic", None)),
     (b"VMTEST INIT 2.1\n", ("timeout", None))],
)  # fmt: skip
def test_ending_is_what_the_console_says(console: bytes, ended: tuple[str, str | None]) -> None:
    assert machine.ending(console, timed_out=True) == ended


# ---- verdict ---------------------------------------------------------------------------------------------------------

KMSG = (
    b"13,90,4000000,-;vmtest: trigger\n"
    b"6,100,4500000,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task=hog,pid=7,uid=0\n"
    b" SUBSYSTEM=x\n"
    b"3,101,4510000,-;Memory cgroup out of memory: Killed process 7 (hog) total-vm:1kB, anon-rss:1kB\n"
    b"3,102,4520000,-;Memory cgroup out of memory: Killed process 8 (x\\x0a) y) total-vm:1kB, anon-rss:1kB\n"
    b"3,103,4530000,-;Memory cgroup out of memory: Killed process 7 (hog) total-vm:1kB, anon-rss:1kB\n"
    b"12,104,4600000,-;Out of memory: Killed process 9 (spoof) total-vm:1kB, anon-rss:1kB\n"
    b"6,105,4700000,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=late,pid=10,uid=0\n"
    b"3,106,4700001,-;Out of memory: Killed process 10 (late) total-vm:1kB, anon-rss:1kB\n"
)
HOG, ODD, LATE = Process(7, "hog"), Process(8, "x\n) y"), Process(10, "late")


def _snapshot(states: dict[int, str], **scores: str) -> bytes:
    files = {
        str(pid): {"stat": f"{pid} (a) b) {state} 1", "comm": f"p{pid}\n", "cgroup": "0::/a\n",
                   "oom_score": scores.get(f"p{pid}", "1") + "\n", "oom_score_adj": "0\n"}
        for pid, state in states.items()
    }  # fmt: skip
    return json.dumps({"processes": {**files, "99": {}}}).encode()


def _run(**files: bytes) -> machine.Run:
    named = {name.replace("__", "."): data for name, data in files.items()}
    return machine.Run(ended="end", reason=None, console=b"", files=named)


RUN = {
    "kmsg__txt": KMSG,
    "kills__txt": b"4\n",
    "before__json": _snapshot({1: "S", 7: "S", 8: "S"}, p1="900", p7="700", p8="600"),
    "after__json": _snapshot({1: "S", 8: "Z"}),
}


def test_truth_is_what_the_kernel_itself_logged() -> None:
    assert verdict.truth(_run(**RUN)) == verdict.Truth(
        kills=(HOG, ODD, HOG, LATE), first=(HOG, ODD), constraint="CONSTRAINT_MEMCG", counter=4, seconds_to_kill=0.51
    )


def test_truth_of_a_panic_comes_from_the_console() -> None:
    run = machine.Run(
        ended="panic", reason=None,
        console=b"[    0.500000] vmtest: trigger\r\n[    1.000000] oom-kill:constraint=CONSTRAINT_NONE,x\n"
        b"[    1.100000] Killed process 7 (hog) total-vm:1kB\n",
    )  # fmt: skip
    assert verdict.truth(run) == verdict.Truth(
        kills=(HOG,), first=(HOG,), constraint="CONSTRAINT_NONE", counter=None, seconds_to_kill=0.6
    )


def test_highest_oom_score_leaves_out_init_and_other_cgroups() -> None:
    before = RUN["before__json"]
    assert verdict.highest_oom_score(before, None) == (Process(7, "p7"),)
    assert verdict.highest_oom_score(before, "/a") == (Process(7, "p7"),)
    assert verdict.highest_oom_score(before, "/ab") == ()


def _answers(explained: list[Process], predicted: list[Process], silent: Sequence[Process] = ()) -> dict[str, bytes]:
    incident = {
        "kind": "memcg", "constraint": "CONSTRAINT_MEMCG", "source": {"first_line": 3}, "causes": [{"code": "c"}],
        "victims": [{"pid": item.pid, "comm": item.comm} for item in explained],
    }  # fmt: skip
    failure = {**incident, "kind": "allocation_failure", "constraint": None, "source": {"first_line": 1}, "victims": []}
    score = {
        "ranking": {
            "processes": [{"pid": item.pid, "comm": item.comm} for item in (HOG, ODD, LATE)],
            "prediction": {
                "kills": [
                    *({"pid": item.pid, "logged": True} for item in predicted),
                    *({"pid": item.pid, "logged": False} for item in silent),
                ]
            },
        }
    }
    return {
        "explain_kmsg__json": json.dumps({"incidents": [incident, failure]}).encode(),
        "explain_kmsg__status": b"0 9.50 11.25\n",
        "score__json": json.dumps(score).encode(),
        "score__status": b"0 3.00 4.00\n",
    }


def _judged(explained: list[Process], predicted: list[Process]) -> verdict.Verdict:
    return verdict.judge(SCENARIO, _run(**RUN, **_answers(explained, predicted)), None)


def test_judge_is_content_when_all_agree() -> None:
    told = _judged([HOG, ODD, LATE], [HOG, ODD])
    assert [check.name for check in told.checks if not check.ok] == []
    assert {check.name for check in told.checks} == {
        "ended", "killed", "counter", "died", "scenario_victims", "scenario_constraint", "explain_kmsg",
        "explain_kmsg_constraint", "predicted",
    }  # fmt: skip
    assert told.explained["kmsg"].seconds == 1.75
    assert told.explained["kmsg"].incidents[0] == Incident("allocation_failure", None, (), ("c",))


@pytest.mark.parametrize(
    ("explained", "predicted", "failed"),
    [([HOG, LATE], [HOG, ODD], "explain_kmsg"), ([ODD, HOG, LATE], [HOG, ODD], "explain_kmsg"),
     ([HOG, ODD, LATE], [HOG], "predicted"), ([HOG, ODD, LATE], [ODD, HOG], "predicted"),
     ([HOG, ODD, LATE], [], "predicted")],
)  # fmt: skip
def test_judge_names_what_disagrees(explained: list[Process], predicted: list[Process], failed: str) -> None:
    told = _judged(explained, predicted)
    assert [check.name for check in told.checks if check.ok is False] == [failed]
    assert not told.ok


def test_judge_sees_a_survivor_a_wrong_count_and_a_wrong_name() -> None:
    files = {**RUN, "after__json": _snapshot({7: "R"}), "kills__txt": b"1\n"}
    told = verdict.judge(replace(SCENARIO, victims=("other",)), _run(**files), None)
    assert [check.name for check in told.checks if check.ok is False] == ["counter", "died", "scenario_victims"]


def test_judge_wants_fewer_kills_in_a_log_that_is_too_small() -> None:
    scenario = replace(SCENARIO, lost=True)
    for counter, ok in ((b"9\n", True), (RUN["kills__txt"], False)):
        told = verdict.judge(scenario, _run(**{**RUN, "kills__txt": counter}), None)
        assert next(check.ok for check in told.checks if check.name == "counter") is ok


@pytest.mark.parametrize(("after", "ok"), [({1: "S"}, True), ({1: "S", 10: "Z"}, True), ({1: "S", 10: "S"}, False)])
def test_judge_wants_those_dead_who_go_without_a_line(after: dict[int, str], ok: bool) -> None:
    files = {**RUN, "kmsg__txt": KMSG[: KMSG.index(b"6,105")], "kills__txt": b"3\n", "after__json": _snapshot(after)}
    told = verdict.judge(SCENARIO, _run(**files, **_answers([HOG, ODD], [HOG, ODD], [LATE])), None)
    assert {check.name: check.ok for check in told.checks if check.name.startswith("predicted")} == {
        "predicted": True,
        "predicted_silently": ok,
    }


def test_judge_reports_an_answer_that_is_no_document() -> None:
    files = {**RUN, "explain_kmsg__status": b"1 1.0 2.0\n", "explain_kmsg__err": b"boom", "explain_kmsg__json": b"{"}
    told = verdict.judge(SCENARIO, _run(**files), None)
    [check] = [check for check in told.checks if check.ok is False]
    assert (check.name, check.found) == ("explain_kmsg", "status 1: boom")


def test_document_is_json_with_the_comparison_in_it() -> None:
    run = _run(**RUN, **_answers([HOG, ODD, LATE], [HOG, ODD]), release__txt=b"6.1.0-x\n")
    told = verdict.judge(SCENARIO, run, None)
    result = json.loads(json.dumps(verdict.document(SCENARIO, "6.1", run, told, "1.0")))
    assert result["schema"] == "oomsight.vmtest/1"
    assert result["ok"] is True
    assert result["release"] == "6.1.0-x"
    assert result["kills"][0] == result["predicted"][0] == {"pid": 7, "comm": "hog"}
    assert {"name": "ended", "ok": True, "expected": "end", "found": "end"} in result["checks"]


# ---- reality ---------------------------------------------------------------------------------------------------------

BEFORE = json.dumps(
    {
        "files": {"/proc/meminfo": "MemTotal:  400000 kB\nMemAvailable:  300000 kB\nSwapTotal:  1024 kB\n"},
        "processes": {
            "1": {"stat": "1 (init) S 0", "status": "RssAnon:\t 500 kB\n", "cmdline": "/bin/sh\0/init\0"},
            "7": {"stat": "7 (a) S 1", "status": "RssAnon:\t 60000 kB\nRssShmem:\t 8000 kB\n", "cmdline": "hog\0-d\0"},
        },
    }
).encode()


def test_twin_gets_the_machine_that_was_measured_and_its_rules() -> None:
    import tomllib

    text = reality.twin('title = "t"\n\n[run]\nstep = 0.05\n', BEFORE, "5.10.0-46-cloud-amd64")
    assert tomllib.loads(text) == {
        "title": "t",
        "run": {"kernel": "5.10", "step": 0.05},
        "machine": {"ram": "400000KiB", "swap": "1024KiB", "kernel": "32000KiB"},
    }


def test_foretold_is_the_first_kill_on_paper() -> None:
    run = {"first_oom": {"time_seconds": 2.5, "constraint": "CONSTRAINT_NONE", "victim": "hog", "victims": ["hog"]}}
    assert reality.foretold({"runs": [run, {"first_oom": None}]}) == reality.Foretold("hog", 2.5)
    assert reality.foretold({"runs": [{"first_oom": None}]}) == reality.Foretold(None, None)


def test_every_twin_belongs_to_a_scenario_and_names_its_victims() -> None:
    import tomllib

    twins = sorted((RIG / "twins").glob("*.toml"))
    assert len(twins) == 8
    for path in twins:
        scenario = conf.parse_scenario(path.stem, (RIG / "scenarios" / f"{path.stem}.sh").read_text())
        names = {process["name"] for process in tomllib.loads(path.read_text())["process"]}
        assert set(scenario.victims) <= names, path.name


@pytest.mark.parametrize(
    ("victim", "seconds", "ok"),
    [("hog", 4.0, True), ("hog", 6.0, True), ("hog", 2.0, True), ("hog", 6.1, False), ("hog", 1.9, False),
     ("other", 4.0, False), (None, None, False)],
)  # fmt: skip
def test_compare_wants_the_same_victim_at_about_the_same_time(victim: str, seconds: float, ok: bool) -> None:
    result = {"kills": [{"pid": 7, "comm": "hog"}], "seconds_to_kill": 4.0}
    assert reality.compare("6.1", "s", reality.Foretold(victim, seconds), result).ok is ok
