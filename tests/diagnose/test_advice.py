"""Advice: the right command for the owner, numbers as computed, hostile names only as arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.diagnose.advice import add_swap, cap, round_down, round_up
from oomsight.diagnose.knobs import PLACES, Place, look_up, place_of, set_limit, swap_knob
from oomsight.diagnose.platforms import PLATFORMS, Platform, platform_of
from oomsight.diagnose.runtimes import RUNTIMES, runtime_of, tune
from oomsight.naming.cgroup_path import describe
from oomsight.report import parse_text

if TYPE_CHECKING:
    from oomsight.report.model import OomReport

MIB = 1024
CONTAINER = "3f4a8c0d5e6b7a8f9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b"
POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f7d0a52_9f1c_4c1e_a0cb_5f1f7e0e9c11.slice"


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/system.slice/app.service", ("systemctl", "set-property", "--", "app.service", "MemoryMax=80M")),
        ("/app.slice", ("systemctl", "set-property", "--", "app.slice", "MemoryMax=80M")),
        ("/user.slice/user-1000.slice", ("systemctl", "set-property", "--", "user-1000.slice", "MemoryMax=80M")),
        (f"/system.slice/docker-{CONTAINER}.scope",
         ("docker", "update", "--memory", "80m", "--memory-swap", "160m", CONTAINER)),
        (f"/docker/{CONTAINER}", ("docker", "update", "--memory", "80m", "--memory-swap", "160m", CONTAINER)),
        (f"/machine.slice/libpod-{CONTAINER}.scope",
         ("podman", "update", "--memory", "80m", "--memory-swap", "160m", CONTAINER)),
        ("/weird", ("sh", "-c", 'echo "$1" > "$2"', "sh", "83886080", "/sys/fs/cgroup/weird/memory.max")),
    ],
)  # fmt: skip
def test_set_limit_names_the_owners_command(path: str, command: tuple[str, ...]) -> None:
    assert set_limit(describe(path), 80 * MIB)[0].command == command


def test_set_limit_of_a_container_in_a_pod_is_the_manifests() -> None:
    advice = set_limit(describe(f"{POD}/cri-containerd-{CONTAINER}.scope"), 80 * MIB)
    assert advice[0].command is None
    assert advice[0].snippet == "resources:\n  requests:\n    memory: 80Mi\n  limits:\n    memory: 80Mi\n"
    assert advice[1].command == ("crictl", "inspect", CONTAINER)
    whole = set_limit(describe(POD), 80 * MIB)
    assert "whole pod" in whole[0].text


def test_set_limit_of_all_pods_is_left_to_the_kubelet() -> None:
    advice = set_limit(describe("/kubepods.slice"), 80 * MIB)
    assert [a.command for a in advice] == [None]
    assert "kubelet" in advice[0].text


U1000 = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_every_place_is_told_by_its_example(place: Place) -> None:
    owner = describe(place.example)
    assert owner is not None
    assert place_of(owner) is place
    advice = set_limit(owner, 512 * MIB)
    assert advice
    shown = [*(advice[0].command or ()), advice[0].snippet or ""]
    assert any(number in word for word in shown for number in ("512", "536870912", "524288"))
    assert all(left not in advice[0].text + (advice[0].snippet or "") for left in ("{mib}", "{bytes}"))
    assert place.knob in look_up(owner, v1=False)[0]


@pytest.mark.parametrize(
    ("path", "v1", "release", "command"),
    [
        ("UB 1234", False, None, "vzctl set 1234 --ram 512M --save"),
        ("/lxc/107/ns", False, None, "pct set 107 -memory 512"),
        ("/lxc.payload.web1", False, None, "lxc-cgroup -n web1 memory.max 512M"),
        ("/lxc/web1", True, None, "lxc-cgroup -n web1 memory.limit_in_bytes 512M"),
        (r"/machine.slice/machine-qemu\x2d3\x2dweb1.scope", False, None,
         "virsh memtune web1 --hard-limit 524288 --live --config"),
        ("/qemu.slice/104.scope", False, None, "systemctl set-property -- 104.scope MemoryMax=512M"),
        ("/system.slice/a.service", True, (3, 10, 0), "systemctl set-property -- a.service MemoryLimit=512M"),
        ("/system.slice/a.service", True, (4, 15), "systemctl set-property -- a.service MemoryMax=512M"),
        ("/system.slice/a.service", False, (6, 1), "systemctl set-property -- a.service MemoryMax=512M"),
        (f"{U1000}/app.slice/app-gnome-maps-4711.scope", False, None,
         "systemctl --user set-property -- app-gnome-maps-4711.scope MemoryMax=512M"),
        (U1000, False, None, "systemctl set-property -- user@1000.service MemoryMax=512M"),
        ("/user.slice/user-1000.slice/session-3.scope", False, None,
         "systemctl set-property -- session-3.scope MemoryMax=512M"),
    ],
)  # fmt: skip
def test_the_knob_is_that_of_place_and_era(path: str, v1: bool, release: tuple[int, ...] | None, command: str) -> None:
    assert " ".join(set_limit(describe(path), 512 * MIB, v1=v1, release=release)[0].command or ()) == command


def test_lxc_config_has_the_keys_of_its_hierarchy() -> None:
    assert set_limit(describe("/lxc.payload.web1"), MIB)[0].snippet == "lxc.cgroup2.memory.max = 1M\n"
    assert set_limit(describe("/lxc/web1"), MIB, v1=True)[0].snippet == "lxc.cgroup.memory.limit_in_bytes = 1M\n"


@pytest.mark.parametrize(
    ("path", "v1", "words", "command"),
    [
        ("UB 1234", True, "maxheld of physpages", "cat /proc/bc/1234/resources"),
        (f"/docker/{CONTAINER}", False, "memory.max",
         f"docker inspect --format {{{{.HostConfig.Memory}}}} {{{{.HostConfig.MemorySwap}}}} {CONTAINER}"),
        ("/lxc/107", True, "memory.max_usage_in_bytes", "pct config 107"),
        ("/slurm/uid_1001/job_4711/step_0", True, "--mem or --mem-per-cpu", "scontrol show job 4711"),
        ("/weird", False, "memory.peak", ""),
    ],
)  # fmt: skip
def test_where_a_limit_is_looked_up(path: str, v1: bool, words: str, command: str) -> None:
    text, shown = look_up(describe(path), v1=v1)
    assert words in text
    assert " ".join(shown or ()) == command


@pytest.mark.parametrize(
    ("path", "v1", "words"),
    [
        ("/weird", False, "memory.swap.max"), ("/weird", True, "memory.memsw.limit_in_bytes"), (POD, True, "swapBehavior"),
        ("/lxc/107", False, "pct set ID -swap"), (f"/docker/{CONTAINER}", False, "--memory-swap"),
    ],
)  # fmt: skip
def test_who_lets_a_cgroup_swap(path: str, v1: bool, words: str) -> None:
    assert words in swap_knob(describe(path), v1=v1)


def test_a_virtual_machine_is_made_smaller_not_capped() -> None:
    domain = cap(describe(r"/machine.slice/machine-qemu\x2d3\x2dweb1.scope"), 800 * MIB, 1024 * MIB)
    assert domain[0].command == ("virsh", "setmaxmem", "web1", str(688 * MIB), "--config")
    assert cap(describe("/qemu.slice/104.scope"), 800 * MIB, 1024 * MIB)[0].command == ("qm", "set", "104", "-memory", "688")


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_every_platform_is_told_by_its_release(platform: Platform) -> None:
    report = _report_of(f"CPU: 0 PID: 7 Comm: a Not tainted {platform.example} #1")
    assert platform_of(report) is platform
    steps = add_swap(8192 * MIB, platform=platform)
    assert [step.command for step in steps] == [None]
    assert not set("{}") & set(steps[0].text + (steps[0].snippet or ""))


def test_other_systems_get_a_swap_file_and_small_ones_none() -> None:
    assert platform_of(_report_of("CPU: 0 PID: 7 Comm: a Not tainted 6.1.0-18-amd64 #1 Debian 6.1.76-1")) is None
    assert add_swap(8192 * MIB)[0].command == ("fallocate", "-l", "2048M", "/swapfile")
    router = add_swap(57 * MIB)
    assert [step.command for step in router] == [None]
    assert "zram" in router[0].text


def _report_of(line: str) -> OomReport:
    head = "a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
    return parse_text("\n".join([head, line, "Out of memory: Killed process 7 (a) total-vm:4kB"]))[0]


@pytest.mark.parametrize("path", [None, "/"])
def test_set_limit_knows_no_limit_for_root_or_nothing(path: str | None) -> None:
    assert set_limit(describe(path), 80 * MIB) == []


@pytest.mark.parametrize("path", ["/system.slice/app.service", "/a b;$(reboot)", "/docker/" + CONTAINER])
def test_set_limit_v1_writes_the_v1_file(path: str) -> None:
    command = set_limit(describe(path), 4 * MIB, v1=True)[0].command
    assert command is not None
    if command[0] == "sh":
        assert command[2:] == (
            'echo "$1" > "$2"',
            "sh",
            "4194304",
            f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes",
        )


def test_set_limit_writes_where_the_host_sees_the_cgroup() -> None:
    inner = describe(f"/docker/{CONTAINER}/deep")
    assert inner is not None
    command = set_limit(inner.leaf, 4 * MIB, path=f"/docker/{CONTAINER}/deep")[0].command
    assert command is not None
    assert command[-1] == f"/sys/fs/cgroup/docker/{CONTAINER}/deep/memory.max"


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=30))
def test_no_name_reaches_a_shell_string_or_a_snippet(name: str) -> None:
    for advice in set_limit(describe(f"/system.slice/{name}.service"), 80 * MIB) + set_limit(describe(f"/{name}"), MIB):
        if advice.command and advice.command[0] == "sh":
            assert advice.command[2] == 'echo "$1" > "$2"'
        if advice.snippet and len(name) > 3:
            assert name not in advice.snippet


def test_numbers_people_write() -> None:
    assert round_up(80 * MIB) == 80 * MIB
    assert round_up(80 * MIB + 1) == 84 * MIB
    assert round_up(1000 * MIB) == 1008 * MIB
    assert round_down(129 * MIB) == 128 * MIB
    assert round_down(3) == 3


@given(st.integers(1, 1 << 40))
def test_rounding_never_loses_or_adds_much(kib: int) -> None:
    assert kib <= round_up(kib) <= max(kib * 1.2, kib + 4 * MIB)
    assert max(min(kib - 4 * MIB, kib * 0.8), 1) <= round_down(kib) <= kib


def test_cap_stays_below_what_was_held() -> None:
    advice = cap(describe("/system.slice/app.service"), 800 * MIB, 1024 * MIB)
    # 800 MiB - 102.4 MiB = 697.6 MiB, in steps of 16 MiB
    assert advice[0].command == ("systemctl", "set-property", "--", "app.service", "MemoryMax=688M")
    assert "MemoryMax=688M COMMAND" in cap(None, 800 * MIB, 1024 * MIB)[0].text


@pytest.mark.parametrize(("ram_mib", "swap"), [(275, "512M"), (8192, "2048M"), (262144, "8192M"), (None, "512M")])
def test_add_swap_size(ram_mib: int | None, swap: str) -> None:
    steps = add_swap(None if ram_mib is None else ram_mib * MIB)
    assert steps[0].command == ("fallocate", "-l", swap, "/swapfile")
    assert steps[-1].command == ("swapon", "/swapfile")
    assert steps[-1].snippet == "/swapfile none swap sw 0 0\n"


@pytest.mark.parametrize(
    ("comm", "words"),
    [
        ("java", "-Xmx384m"),
        ("node", "--max-old-space-size=384"),
        ("python3.11", "tracemalloc"),
        ("gunicorn: worke", "8 of them fit into four fifths of 512.0 MiB"),
        ("php-fpm7.4", "8 of them fit"),
        ("postgres", "128 MiB"),
        ("mysqld", "307 MiB"),
        ("redis-server", "maxmemory 307mb"),
        ("cc1plus", "make -j8"),
        ("prometheus", "GOMEMLIMIT=460MiB"),
        ("chromium", "tab"),
        ("git", "packing"),
    ],
)
def test_tune_fills_in_the_numbers(comm: str, words: str) -> None:
    advice = tune(comm, 512 * MIB, 50 * MIB)
    assert words in advice[0].text
    assert "{" not in advice[0].text + (advice[0].snippet or "")


@pytest.mark.parametrize("comm", [None, "", "frobnicate", "javac"])
def test_tune_says_nothing_about_unknown_programs(comm: str | None) -> None:
    assert tune(comm, 512 * MIB, 50 * MIB) == []


def test_every_runtime_row_can_be_filled_in() -> None:
    names = {f"{name}{'x' if runtime_of(name) is None else ''}" for name in RUNTIMES}
    assert all(len(name) <= 15 for name in names)  # TASK_COMM_LEN
    for name in names:
        advice = tune(name, 512 * MIB, 50 * MIB)
        assert advice, name
        assert not set("{}") & set(advice[0].text + (advice[0].snippet or "")), name
