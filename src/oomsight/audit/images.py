"""What the name of an image says about the release inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._lazy import lazy

if TYPE_CHECKING:
    import re

_TAG = lazy(r"v?(\d{1,3}(?:u\d{1,4}|(?:\.\d{1,4})*(?:_\d{1,4})?))(?![\w])")
_JAVA_IN_TAG = lazy(r"(?:jdk|jre|java|openjdk|temurin|corretto|zulu)-?(\d{1,2})(?![\w.])")
_OWN: Final = {
    "jvm": lazy(r"openjdk|java|eclipse-temurin|amazoncorretto|ibm-semeru-runtimes|sapmachine|.*-(?:jre|jdk|openjdk)"),
    "node": lazy(r"node"), "postgres": lazy(r"postgres|postgresql|postgis"),
}  # fmt: skip
"""Images whose tag is the release of the runtime itself, by runtime."""
LAST_OF: Final = {("openjdk", "8"): "8u342", ("java", "8"): "8u111", ("java", "7"): "7", ("openjdk", "9"): "9.0.4"}
"""Images that are no longer built: what their short tags stand at for ever (hub.docker.com, openjdk and java)."""


class Start(NamedTuple):
    """What the start script of an image tells Java where nobody says otherwise."""

    image: re.Pattern[str]  #: the last part of its name
    flags: str
    source: str
    unless: tuple[str, ...]  #: variables that take its place


STARTS: Final[tuple[Start, ...]] = (
    Start(lazy(r"(?:cp-)?kafka"), "-Xms1G -Xmx1G", "default of kafka-server-start.sh",
          ("KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_OPTS")),
    Start(lazy(r"cp-zookeeper"), "-Xms512M -Xmx512M", "default of zookeeper-server-start.sh",
          ("KAFKA_HEAP_OPTS", "KAFKA_OPTS")),
    Start(lazy(r"zookeeper"), "-Xmx1000m", "default of zkEnv.sh, ZK_SERVER_HEAP",
          ("ZK_SERVER_HEAP", "ZOO_HEAP_SIZE", "JVMFLAGS", "SERVER_JVMFLAGS")),
    Start(lazy(r"cassandra"), "-Xmx1024m", "cassandra-env.sh takes a quarter of the host's RAM, at least this, unless "
          "MAX_HEAP_SIZE is set", ("MAX_HEAP_SIZE", "HEAP_NEWSIZE", "JVM_OPTS", "JVM_EXTRA_OPTS")),
)  # fmt: skip
"""Images that set a heap of their own (kafka and zookeeper, bin/; cassandra, conf/cassandra-env.sh)."""


def start_flags(image: str | None, env: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the flags that the start script of *image* adds by itself, and who says so; ``None`` = none known."""
    name = (image or "").partition("@")[0].rpartition("/")[2].lower().partition(":")[0]
    for row in STARTS:
        if name and row.image.fullmatch(name):
            return None if any(variable in env for variable in row.unless) else (row.flags, row.source)
    return None


def image_release(image: str | None, runtime: str | None) -> str | None:
    """
    Return the release of *runtime* that the name of *image* gives, as :func:`oomsight.audit.runtimes.jvm.parse_version`
    and its like read it; ``None`` = it gives none. A short tag (``:8``, ``:17-jre``) follows the newest update.
    """
    bare = (image or "").partition("@")[0]
    name, _, tag = bare.rpartition("/")[2].lower().partition(":")
    pattern = _OWN.get(runtime or "")
    if pattern is not None and pattern.fullmatch(name):
        found = _TAG.match(tag)
        release = found[1] if found else None
    elif runtime == "jvm":  # tomcat:10-jre17, maven:3.9-eclipse-temurin-21
        inside = _JAVA_IN_TAG.search(tag)
        release = inside[1] if inside else None
    else:
        return None
    if release is not None and (fixed := LAST_OF.get((name, release))):
        return fixed
    return "8u999" if release == "8" and runtime == "jvm" else release
