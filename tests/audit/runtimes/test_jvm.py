"""The JVM's ergonomics, line for line against what `java -XX:+PrintFlagsFinal` says, and what terms say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight._sizes import GIB, MIB
from oomsight.audit.runtimes import Inputs, estimate, jvm

RAM = 16 * GIB


def jvm_of(*argv: str, **rest):
    return estimate("jvm", Inputs(argv=("java", *argv), ram_bytes=RAM, cpus=4, **rest))


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        ((), {}),
        (("-Xmx300m",), {}),
        (("-Xmx300m", "-Xmx200m"), {}),
        (("-XX:MaxRAMPercentage=60",), {}),
        (("-XX:MaxHeapSize=123m",), {}),
        (("-XX:MaxRAM=1g",), {}),
        (("-XX:MaxRAM=200m",), {}),
        (("-XX:MaxRAM=300m", "-XX:MaxRAMPercentage=20"), {}),
        (("-XX:MaxRAM=300m",), {}),
        (("-XX:MaxRAM=4g", "-XX:MaxRAMFraction=2"), {}),
        (("-Xmx100m",), {"_JAVA_OPTIONS": "-Xmx400m"}),
        (("-Xmx100m",), {"JAVA_TOOL_OPTIONS": "-Xmx400m"}),
        ((), {"JDK_JAVA_OPTIONS": "-Xmx222m"}),
        (("-Xss512k", "-XX:MaxMetaspaceSize=64m", "-XX:ReservedCodeCacheSize=32m"), {}),
        (("-XX:MaxDirectMemorySize=77m",), {}),
    ],
)
def test_heap_is_what_this_jvm_says(flags: tuple[str, ...], env: dict[str, str]) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("no java here")
    done = subprocess.run(
        [java, *flags, "-XX:+PrintFlagsFinal", "-version"], env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = {name: int(value) for name, value in re.findall(r"^ *\w+ (\w+) +=? *=? *(\d+)", done.stdout, re.MULTILINE)}
    ram = _ram()
    found = estimate("jvm", Inputs(argv=("java", *flags), env=env, ram_bytes=ram, cpus=2, version="17.0.15"))
    heap = found.term("heap")
    assert heap is not None
    assert heap.bytes_high is not None
    # The JVM aligns to its regions, 1 to 32 MiB, and takes what the cgroup of this test leaves it.
    slack = max(2 * MIB, said["MaxHeapSize"] // 100)
    assert abs(heap.bytes_high - said["MaxHeapSize"]) <= slack, (heap, said["MaxHeapSize"])
    stack, metaspace, code = said["ThreadStackSize"] << 10, said["MaxMetaspaceSize"], said["ReservedCodeCacheSize"]
    assert found.term("thread stacks").bytes_high == stack * jvm.THREADS_ASSUMED
    assert found.term("metaspace").bytes_high == (metaspace if metaspace < 1 << 60 else None)
    assert abs(found.term("code cache").bytes_high - code) < MIB
    if said["MaxDirectMemorySize"]:
        assert found.term("direct buffers").bytes_high == said["MaxDirectMemorySize"]


def _ram() -> int:
    return int(Path("/proc/meminfo").read_text().split()[1]) << 10


@pytest.mark.parametrize(
    ("version", "cgroup", "sees"),
    [
        ("1.8.0_121", 1, False), ("8u181", 1, False), ("1.8.0_191", 1, True), ("1.8.0_191", 2, False),
        ("8u372", 2, True), ("9.0.4", 1, False), ("10.0.1", 1, True), ("11.0.10", 2, False), ("11.0.16", 2, True),
        ("11", 2, True), ("14.0.2", 2, False), ("15.0.1", 2, True), ("17.0.15", 2, True), ("21.0.2", 2, True),
        (None, 2, True),
    ],
)  # fmt: skip
def test_which_release_sees_its_limit(version: str | None, cgroup: int, sees: bool) -> None:
    found = jvm_of(version=version, cgroup_version=cgroup, limit_bytes=512 * MIB)
    assert found.sees_limit is sees
    heap = found.term("heap").bytes_high
    # A quarter of what it takes for its memory: the limit (no less than the default of 124.8 MiB) or the host.
    assert heap == (128 * MIB if sees else RAM // 4)
    assert any("does not see its limit" in note for note in found.notes) is not sees


def test_8u131_with_the_experimental_flag_sees_it() -> None:
    flags = ("-XX:+UnlockExperimentalVMOptions", "-XX:+UseCGroupMemoryLimitForHeap")
    assert jvm_of(*flags, version="8u131", limit_bytes=2 * GIB, cgroup_version=1).term("heap").bytes_high == 512 * MIB


def test_options_behind_the_main_class_are_the_programs() -> None:
    found = jvm_of("-Xmx100m", "-cp", "/app", "Main", "-Xmx9g")
    assert found.term("heap").bytes_high == 100 * MIB


def test_java_opts_count_only_where_a_start_script_may_pass_them_on() -> None:
    env = {"JAVA_OPTS": "-Xmx700m"}
    script = estimate("jvm", Inputs(argv=("catalina.sh", "run"), env=env, ram_bytes=RAM, cpus=4))
    assert script.term("heap").bytes_high == 700 * MIB
    assert any("JAVA_OPTS" in note for note in script.notes)
    assert jvm_of(env=env).term("heap").bytes_high == RAM // 4  # java itself does not read it
    assert jvm_of("-Xmx100m", env=env).term("heap").bytes_high == 100 * MIB


def test_flags_are_found_behind_shells_and_wrappers() -> None:
    for argv in (
        ("sh", "-c", "cd", "/app", "&&", "exec", "java", "-Xmx300m", "-jar", "app.jar"),
        ("tini", "--", "java", "-Xmx300m", "-jar", "app.jar"),
        ("gosu", "app", "java", "-Xmx300m", "-jar", "app.jar"),
        ("/bin/sh", "-c", "./migrate", ";", "LANG=C", "/usr/bin/java", "-Xmx300m", "Main"),
    ):
        found = estimate("jvm", Inputs(argv=argv, ram_bytes=RAM, cpus=4))
        assert found.term("heap").bytes_high == 300 * MIB, argv


def test_a_heap_as_big_as_the_limit_exceeds_it() -> None:
    found = jvm_of("-Xmx512m", limit_bytes=512 * MIB)
    assert found.verdict == "exceeds"
    assert found.likely_bytes > 512 * MIB
    assert "-Xmx512m (command line)" in found.term("heap").source


def test_bounded_everywhere_can_fit() -> None:
    flags = ("-Xmx128m", "-XX:MaxMetaspaceSize=64m", "-XX:ReservedCodeCacheSize=32m", "-XX:MaxDirectMemorySize=16m", "-Xss512k")
    assert jvm_of(*flags, limit_bytes=512 * MIB).verdict == "fits"
    assert jvm_of(*flags, limit_bytes=300 * MIB).verdict in {"tight", "exceeds"}
    terms = jvm_of(*flags[:1], limit_bytes=GIB).terms
    assert next(term.name for term in terms if term.bytes_high is None) == "metaspace"


@given(
    st.lists(
        st.sampled_from(
            ["-Xmx100m", "-Xmx", "-Xmx9q", "-XX:MaxRAMPercentage=x", "-XX:MaxRAMPercentage=50", "-XX:+UseZGC", "-Xss0",
             "-XX:MaxMetaspaceSize=0", "-XX:ReservedCodeCacheSize=1k", "-cp", "-XX:MaxDirectMemorySize=0", "x",
             "-XX:+AlwaysPreTouch", "-Xms1g", "-XX:TieredStopAtLevel=0", "-XX:ThreadStackSize=256"]
        ),
        max_size=8,
    ),
    st.sampled_from([None, 1, 64 * MIB, GIB]), st.sampled_from([None, GIB, 64 * GIB]),
)  # fmt: skip
def test_any_flags_give_ordered_numbers(argv: list[str], limit: int | None, ram: int | None) -> None:
    found = estimate("jvm", Inputs(argv=("java", *argv), limit_bytes=limit, ram_bytes=ram, cpus=2))
    for term in found.terms:
        assert term.bytes_low >= 0
        if term.bytes_high is not None:
            assert term.bytes_low <= term.bytes_high, term
            assert term.bytes_low <= term.likely <= term.bytes_high, term
        assert term.source
    assert found.low_bytes <= found.likely_bytes
    if found.high_bytes is not None:
        assert found.likely_bytes <= found.high_bytes
