"""The real runs: which flags, what is filled, under which limits. Written down before they were run, and not tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """One set of flags and what the program fills, run once under each limit."""

    runtime: str
    flags: tuple[str, ...]
    fill: tuple[str, ...]  #: arguments of the program
    limits_mib: tuple[int, ...]
    filled: tuple[str, ...] = ()  #: terms of the estimate that the program fills to their bound
    given_mib: Mapping[str, float] = field(default_factory=dict)  #: terms it gives this much
    counts: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For tables."""
        env = " ".join(f"{key}='{value}'" for key, value in self.env.items())
        return " ".join(filter(None, (env, *self.flags, *self.fill)))


def jvm(flags: str, fill: str, *limits: int, **rest) -> Scenario:
    return Scenario("jvm", tuple(flags.split()), tuple(fill.split()), limits, **rest)


def node(flags: str, fill: str, *limits: int, **rest) -> Scenario:
    return Scenario("node", tuple(flags.split()), tuple(fill.split()), limits, **rest)


HEAP = {"filled": ("heap",)}
SCENARIOS = (
    # heap alone, by collector and by the way its size is given
    jvm("-XX:+UseSerialGC -Xmx64m", "heap=all", 64, 72, 96, 128, **HEAP),
    jvm("-XX:+UseSerialGC -Xmx256m", "heap=all", 192, 256, 320, **HEAP),
    jvm("-XX:+UseG1GC -Xmx128m", "heap=all", 96, 128, 176, **HEAP),
    jvm("-XX:+UseG1GC -Xmx300m", "heap=all", 256, 300, 384, **HEAP),
    jvm("-XX:+UseParallelGC -Xmx200m", "heap=all", 128, 160, 256, **HEAP),
    jvm("-XX:+UseShenandoahGC -Xmx128m", "heap=all", 96, 192, **HEAP),
    jvm("-XX:+UseZGC -Xmx128m", "heap=all", 96, 192, **HEAP),
    jvm("", "heap=all", 96, 200, 512, **HEAP),
    jvm("-XX:MaxRAMPercentage=75", "heap=all", 256, 512, **HEAP),
    jvm("-XX:MaxRAMPercentage=100", "heap=all", 256, 384, **HEAP),
    jvm("-XX:MaxRAMPercentage=95", "heap=all", 256, 512, **HEAP),
    jvm("", "heap=all", 256, filled=("heap",), env={"JAVA_TOOL_OPTIONS": "-Xmx192m"}),
    jvm("-Xmx128m", "heap=all", 192, filled=("heap",), env={"_JAVA_OPTIONS": "-Xmx400m"}),
    jvm("-XX:-UseContainerSupport -XX:+UseSerialGC", "heap=all", 256, **HEAP),
    jvm("-XX:+UseG1GC -XX:+AlwaysPreTouch -Xms256m -Xmx256m", "garbage=1", 256, 320),
    jvm("-XX:+UseG1GC -Xmx256m", "heap=20 garbage=600", 96, 320, given_mib={"heap": 230}),
    # what is beside the heap
    jvm("-XX:+UseSerialGC -Xmx64m", "direct=all", 72, 128, filled=("direct buffers",)),
    jvm("-XX:+UseSerialGC -Xmx64m -XX:MaxDirectMemorySize=150m", "direct=all", 128, 160, 224,
        filled=("direct buffers",)),
    jvm("-XX:+UseSerialGC -Xmx100m", "heap=all direct=all", 160, 256, filled=("heap", "direct buffers")),
    jvm("-XX:+UseSerialGC -Xmx64m", "deep=100", 96, 160, filled=("thread stacks",), counts={"threads": 100}),
    jvm("-XX:+UseSerialGC -Xmx64m -Xss512k", "deep=200", 96, 160, filled=("thread stacks",), counts={"threads": 200}),
    jvm("-XX:+UseSerialGC -Xmx64m", "idle=400", 48, 96, counts={"threads": 400}),
    jvm("-XX:+UseSerialGC -Xmx64m -XX:MaxMetaspaceSize=64m", "classes=all", 64, 192, filled=("metaspace",),
        given_mib={"heap": 10}),
    jvm("-XX:+UseSerialGC -Xmx96m -XX:MaxMetaspaceSize=48m", "classes=all heap=all", 128, 224,
        filled=("metaspace", "heap")),
    # Node
    node("--max-old-space-size=64", "heap=all", 64, 128, filled=("old generation",)),
    node("--max-old-space-size=150", "heap=all", 128, 224, filled=("old generation",)),
    node("--max-old-space-size=300", "heap=all", 256, 300, 384, filled=("old generation",)),
    node("", "heap=all", 128, 256, 384, 512, filled=("old generation",)),
    node("", "heap=all", 160, 256, filled=("old generation",), env={"NODE_OPTIONS": "--max-old-space-size=180"}),
    node("--max-old-space-size=200 --max-semi-space-size=32", "heap=150", 128, 256, given_mib={"old generation": 150}),
    node("", "heap=100", 96, 160, given_mib={"old generation": 100}),
    node("", "buffers=150", 128, 192, given_mib={"buffers": 150}),
    node("", "buffers=100 heap=80", 160, 256, given_mib={"buffers": 100, "old generation": 80}),
    node("", "workers=4:30", 128, 224, counts={"workers": 4}, given_mib={"worker threads": 125}),
    node("", "workers=8:1", 64, 128, counts={"workers": 8}, given_mib={"worker threads": 8}),
)  # fmt: skip
