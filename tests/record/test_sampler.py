"""What is sampled, from made-up machines of both cgroup versions, and from this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from oomsight.record.answers import figures
from oomsight.record.codec import coded
from oomsight.record.model import SHORT_LIVED
from oomsight.sources.sampler import Places, Sampler
from oomsight.sources.sampler_processes import ProcessSampler

from .machine import Machine

MIB = 1 << 20


class Look:
    """A sampler and what it has said so far: descriptions and newest figures."""

    def __init__(self, machine: Machine) -> None:
        root = str(machine.root)
        places = Places(str(machine.proc), f"{root}/sys", root=root)
        self.sampler = Sampler(places, page_bytes=4096)
        self.words: dict = {}
        self.rows: dict = {}
        self.gone: list = []

    def at(self, now: float):
        """The next sample."""
        change = self.sampler.sample(now)
        self.words.update(change.new)
        self.rows.update({entity: (kind, values) for entity, kind, values in change.rows})
        self.gone += change.gone
        return change

    def of(self, kind: str, name: str) -> dict:
        """The newest figures of what is called so and is there."""
        (found,) = [e for e, w in self.words.items() if (w["kind"], w["name"]) == (kind, name) and e not in self.gone]
        stored, values = self.rows[found]
        return figures(stored, [coded(value) for value in values])


@pytest.fixture
def look():
    made: list[Look] = []
    yield lambda machine: made.append(Look(machine)) or made[-1]
    for one in made:
        one.sampler.close()


def test_host_swap_zram_zswap_zones_pressure(tmp_path, look) -> None:
    seen = look(Machine(tmp_path))
    seen.at(1000)
    host = seen.of("host", "box")
    kib = 1024
    assert host["mem_total_bytes"] == 8_000_000 * kib
    assert host["mem_available_bytes"] == 3_000_000 * kib
    assert host["file_bytes"] == (2_500_000 + 100_000 - 300_000) * kib
    assert host["dirty_bytes"] == 1000 * kib
    assert (host["zswap_bytes"], host["zswapped_bytes"]) == (50_000 * kib, 150_000 * kib)
    assert (host["zram_stored_bytes"], host["zram_bytes"]) == (409_600_000, 110_592_000)
    assert (host["psi_some_us"], host["psi_full_us"], host["psi_some_pct"]) == (5_000_000, 2_000_000, 3)
    assert (host["pswpin"], host["pswpout"], host["allocstall"], host["workingset_refault"]) == (10, 20, 12, 100)
    assert (host["oom_kill"], host["forks"]) == (2, 4321)
    assert seen.of("swap", "/swap.img") == {"used_bytes": 100_000 * kib, "size_bytes": 2_000_000 * kib, "priority": -2}
    zone = seen.of("zone", "node 0 Normal")
    assert (zone["free_bytes"], zone["min_bytes"]) == (250_000 * 4096, 16_000 * 4096)


KTHREAD = f"2 (kthreadd) S 0 0 0 0 -1 {0x00200000} " + "0 " * 12 + "1 0 0\n"


@pytest.mark.parametrize(
    ("version", "inside", "unseen"),
    [(2, False, None), (1, False, None), (2, True, "processes and limits outside this container"),
     (2, True, "cgroups outside this container"), (1, True, "cgroups outside this container")],
)  # fmt: skip
def test_what_a_container_hides_is_said_and_recorded(tmp_path, look, version, inside, unseen) -> None:
    machine = Machine(tmp_path, version)
    if unseen is None or unseen.startswith("cgroups"):
        machine.write(machine.proc / "2/stat", KTHREAD)
    machine.write(machine.cgroups / "notify_on_release", "0\n")
    if (version == 2) == inside:  # one that only the root lacks, or has
        machine.write(machine.cgroups / ("cgroup.events" if version == 2 else "release_agent"), "")
    seen = look(machine)
    seen.at(1000)
    (host,) = [words for words in seen.words.values() if words["kind"] == "host"]
    if unseen is None:
        assert (seen.sampler.remarks, host) == ([], {"kind": "host", "name": "box"})
    else:
        (remark,) = seen.sampler.remarks
        assert remark.startswith(f"not recorded: {unseen}")
        assert "-v /sys/fs/cgroup:/sys/fs/cgroup:ro" in remark
        assert host["unseen"][0].startswith(unseen)


def test_cgroups_below_another_root_are_those_its_first_process_sees(tmp_path, look) -> None:
    """A container's own are mounted, too, and are not the host's."""
    machine = Machine(tmp_path, 1)
    machine.write(machine.proc / "1/mountinfo", "33 24 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    machine.write(machine.proc / "self/mountinfo", "33 24 0:30 /docker/x /own rw - cgroup cgroup rw,memory\n")
    machine.cgroup("/web", usage=20 * MIB, limit=str(64 * MIB))
    seen = look(machine)
    seen.at(1000)
    assert seen.of("cgroup", "/web")["limit_bytes"] == 64 * MIB


def test_what_a_kernel_does_not_say_is_not_known(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    (machine.proc / "pressure/memory").unlink()
    (tmp_path / "sys/block/zram0/mm_stat").unlink()
    machine.write(machine.proc / "meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\n")
    seen = look(machine)
    seen.at(1000)
    host = seen.of("host", "box")
    assert host["mem_total_bytes"] == 1000 * 1024
    assert not {"psi_some_us", "zram_bytes", "zswap_bytes", "mem_available_bytes", "anon_bytes"} & host.keys()


@pytest.mark.parametrize("version", [1, 2])
def test_cgroups_of_both_versions(tmp_path, look, version) -> None:
    machine = Machine(tmp_path, version)
    limit = str(64 * MIB)
    machine.cgroup("/a.slice/web.service", usage=20 * MIB, limit=limit, anon=9 * MIB)
    machine.cgroup("/free", usage=10 * MIB, limit="max" if version == 2 else "9223372036854771712")
    seen = look(machine)
    seen.at(1000)
    web = seen.of("cgroup", "/a.slice/web.service")
    assert (web["usage_bytes"], web["limit_bytes"], web["anon_bytes"]) == (20 * MIB, 64 * MIB, 9 * MIB)
    assert (web["file_bytes"], web["shmem_bytes"], web["kernel_bytes"]) == (5 * MIB, 2 * MIB, MIB)
    assert web["working_set_bytes"] == 17 * MIB
    assert (web["swap_bytes"], web["events_max"], web["events_oom_kill"], web["peak_bytes"]) == (4096, 9, 0, 20 * MIB)
    assert seen.of("cgroup", "/free")["limit_bytes"] == float("inf")
    if version == 2:
        assert (web["events_high"], web["psi_some_us"], web["high_bytes"]) == (3, 5_000_000, float("inf"))
        assert (web["zswap_bytes"], web["zswapped_bytes"]) == (65536, 262144)
        assert "usage_bytes" not in seen.of("cgroup", "/")  # the root of version 2 has none
    else:
        assert not {"zswap_bytes", "zswapped_bytes"} & web.keys()
    # Near its limit every sample reads its events; a kill is seen though usage has fallen since.
    machine.cgroup("/a.slice/web.service", usage=63 * MIB, limit=limit, anon=55 * MIB, kills=1)
    seen.at(1001)
    web = seen.of("cgroup", "/a.slice/web.service")
    assert (web["usage_bytes"], web["anon_bytes"], web["events_oom_kill"]) == (63 * MIB, 55 * MIB, 1)
    assert seen.sampler.headroom(1.0)[0] == pytest.approx(1 - 60 / 64)
    machine.cgroup("/a.slice/web.service", usage=3 * MIB, limit=limit, kills=2)
    vmstat = machine.proc / "vmstat"
    vmstat.write_text(vmstat.read_text().replace("oom_kill 2", "oom_kill 3"))
    seen.at(1002)
    assert seen.of("cgroup", "/a.slice/web.service")["events_oom_kill"] == 2


def test_a_small_move_is_usage_alone_until_stat_is_due(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    machine.cgroup("/a", usage=20 * MIB, anon=9 * MIB)
    seen = look(machine)
    seen.at(1000)
    machine.cgroup("/a", usage=20 * MIB + 8192, anon=9 * MIB + 8192)
    seen.at(1001)
    assert seen.of("cgroup", "/a")["usage_bytes"] == 20 * MIB + 8192
    machine.cgroup("/a", usage=20 * MIB + 12288, anon=9 * MIB + 12288)
    seen.at(1006)
    assert seen.of("cgroup", "/a")["anon_bytes"] == 9 * MIB + 12288


def test_a_cgroup_in_the_place_of_another_is_found_within_one_calm_sample(tmp_path, look) -> None:
    """The kernel's count stays as it was; version 1 counts removed ones that linger, so that nothing need seem gone."""
    machine = Machine(tmp_path)
    seen = look(machine)
    seen.at(1000)
    machine.cgroup("/other", usage=MIB)
    seen.at(1005)
    assert seen.of("cgroup", "/other")["usage_bytes"] == MIB


def test_no_peak_is_below_what_is_used(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    for name in "abcdefghij":
        machine.cgroup(f"/{name}", usage=20 * MIB)
    seen = look(machine)
    seen.at(1000)
    for name in "abcdefghij":
        machine.cgroup(f"/{name}", usage=50 * MIB)  # the peak is read in turn, usage each time
    seen.at(1001)
    assert {seen.of("cgroup", f"/{name}")["peak_bytes"] for name in "abcdefghij"} == {50 * MIB}


def test_the_root_of_version_2_has_no_usage_and_is_read_all_the_same(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    stat = machine.cgroups / "memory.stat"
    stat.write_text("anon 1048576\nfile 0\nkernel 0\nshmem 0\ninactive_file 0\n")
    for name in "abcdefghij":
        machine.cgroup(f"/{name}", usage=MIB)
    seen = look(machine)
    seen.at(1000)
    stat.write_text("anon 9437184\nfile 0\nkernel 0\nshmem 0\ninactive_file 0\n")
    seen.at(1005)
    assert seen.of("cgroup", "/")["anon_bytes"] == 9 * MIB


def test_cgroups_that_come_and_go(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    seen = look(machine)
    seen.at(1000)
    machine.cgroup("/late", usage=MIB)
    seen.sampler.headroom(1000)
    (machine.cgroups / "cgroup.stat").write_text("nr_descendants 3\n")
    seen.at(1001)
    assert seen.of("cgroup", "/late")["usage_bytes"] == MIB
    assert seen.sampler.headroom(1001)[2] is False  # nothing limits it
    machine.cgroup("/limited", usage=MIB, limit=str(64 * MIB))
    (machine.cgroups / "cgroup.stat").write_text("nr_descendants 4\n")
    seen.at(1002)
    assert [seen.sampler.headroom(moment)[2] for moment in (1002, 1003)] == [True, False]


def test_processes_with_everything_and_secrets_masked(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    machine.process(77, "db", anon_mib=30, cgroup="/a", cmdline=b"/usr/bin/db\0--password\0hunter2\0")
    seen = look(machine)
    seen.at(1000)
    db = seen.of("process", "db")
    assert (db["rss_anon_bytes"], db["rss_file_bytes"], db["rss_shmem_bytes"]) == (30 * MIB, MIB, MIB)
    assert (db["swap_bytes"], db["pgtables_bytes"], db["oom_score_adj"]) == (300 * 1024, 60 * 1024, -5)
    (words,) = [w for w in seen.words.values() if w["name"] == "db" and w["kind"] == "process"]
    assert (words["pid"], words["cgroup"], words["cmd"]) == (77, "/a", "/usr/bin/db --password ***")
    assert "private_bytes" not in db  # nobody's smaps_rollup is read without a reason
    machine.process(77, "db", anon_mib=60, cgroup="/a")
    seen.at(1121)
    assert seen.of("process", "db")["private_bytes"] == 60 * MIB + 8192


def test_private_memory_is_read_for_few_only(tmp_path, look) -> None:
    machine = Machine(tmp_path)
    for pid in range(100, 120):
        machine.process(pid, f"p{pid}", anon_mib=10)
    seen = look(machine)
    seen.at(1000)
    for pid in range(100, 120):
        machine.process(pid, f"p{pid}", anon_mib=pid)
    seen.at(1121)
    known = [pid for pid in range(100, 120) if "private_bytes" in seen.of("process", f"p{pid}")]
    assert known == [117, 118, 119]
    machine.process(119, "p119", anon_mib=150)
    seen.at(1182)  # of those that grow no more it would be a figure of the past
    assert [pid for pid in range(100, 120) if "private_bytes" in seen.of("process", f"p{pid}")] == [119]


def test_young_processes_are_summed_by_name_and_missing_from_no_total(tmp_path) -> None:
    machine, now = Machine(tmp_path), 1000.0
    sampler = ProcessSampler(count(1).__next__, str(machine.proc))
    words: dict = {}
    rows: dict = {}
    for i in range(30):
        if i:
            machine.end(499 + i)
        machine.process(500 + i, "brief", start=int((now + i) * 100), anon_mib=4)
        change = sampler.sample(now + i + 0.5)
        words.update(change.new)
        rows.update({entity: values for entity, _, values in change.rows})
        names = [e for e, w in words.items() if w in ({"kind": "name", "name": "brief"}, {"kind": "name", "name": SHORT_LIVED})]
        assert sum(rows[entity][0] for entity in names) == 4 << 10, i
    assert not [w for w in words.values() if w["kind"] == "process"]
    (total,) = [rows[e] for e, w in words.items() if w["name"] == "brief"]
    assert total[-2:] == (1, 30)  # one now, thirty so far


@pytest.mark.parametrize("descriptors", [0, 100])
def test_a_pid_in_other_hands_is_another_process(tmp_path, descriptors) -> None:
    machine = Machine(tmp_path)
    machine.process(42, "old", start=100, anon_mib=50)
    sampler = ProcessSampler(count(1).__next__, str(machine.proc), descriptors=descriptors)
    first = sampler.sample(1000)
    ((old, words),) = [one for one in first.new if one[1]["kind"] == "process"]
    assert (words["pid"], words["start"]) == (42, 100)
    machine.end(42)
    machine.process(42, "new", start=100_000, anon_mib=7)
    machine.pids(43)
    gone, fresh = [], []
    for now in (1001, 1002, 1122, 1123):
        change = sampler.sample(now)
        gone += change.gone
        fresh += [w for _, w in change.new if w["kind"] == "process"]
    sampler.close()
    if descriptors:  # a made-up file can still be read when it is gone, the kernel's cannot: see the test below
        return
    assert old in gone
    assert [(w["name"], w["start"]) for w in fresh] == [("new", 100_000)]


def _sleeper() -> subprocess.Popen:
    code = "import time; held = bytes([1]) * (70 << 20); print('ready', flush=True); time.sleep(99)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout.readline()
    return child


def _end(child: subprocess.Popen) -> None:
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_real_pid_used_again_is_another_process() -> None:
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("needs the right to say which pid comes next (ns_last_pid)")
    sampler = ProcessSampler(count(1).__next__, descriptors=30_000)
    clock = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)  # noqa: E731
    try:
        for _ in range(20):  # until nobody else's process takes the number first
            first = _sleeper()
            before = sampler.sample(clock())
            ((old, words),) = [one for one in before.new if one[1].get("pid") == first.pid]
            _end(first)
            last.write_text(str(first.pid - 1))
            second = _sleeper()
            change = sampler.sample(clock())
            _end(second)
            assert old in change.gone
            if second.pid == first.pid:
                ((new, again),) = [one for one in change.new if one[1].get("pid") == second.pid]
                assert new != old
                assert again["start"] > words["start"]
                return
        pytest.skip("other processes took the number each time")
    finally:
        sampler.close()


def test_twenty_thousand_short_lives_a_minute_are_counted_and_cost_no_rows() -> None:
    """At that rate for as long as it takes to start 1,500: all are counted, none gets a row, no descriptor is left."""
    program = (
        "import os, time\nopen('/proc/self/comm', 'w').write('shortlife')\n"  # others here start Pythons too
        "begin = time.monotonic()\nprint('go', flush=True)\n"
        "for i in range(1500):\n"
        "    if not (pid := os.fork()): os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    time.sleep(max(begin + i * 0.003 - time.monotonic(), 0))\n"
    )
    sampler = Sampler(Places())
    own = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731
    clock = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)  # noqa: E731
    try:
        sampler.sample(clock())
        forks, open_before = sampler.host_value("forks"), own()
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        child.stdout.readline()
        rows = []
        while child.poll() is None:
            change = sampler.sample(clock())
            rows += [words for _, words in change.new if words["kind"] == "process"]
        sampler.sample(clock())
        assert child.returncode == 0
        child.stdout.close()
        assert sampler.host_value("forks") - forks >= 1500
        short = [words["pid"] for words in rows if words["name"] == "shortlife"]
        assert child.pid in short
        assert len(short) < 40
        sampler.sample(clock() + 60)
        assert own() < open_before + 60
    finally:
        sampler.close()
