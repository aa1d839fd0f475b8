"""Rules about Dockerfiles themselves (OS320 on); what their programs are told is checked by OS502 to OS508."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.runtimes import jvm, program_words
from oomsight.audit.runtimes.command import base_name
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.dockerfile.read import Image


def _fixed_heap(image: Image, _: Settings) -> Iterator[Hit]:
    argv = program_words(image.program().argv)
    if not argv or base_name(argv[0]) != "java":
        return
    own = jvm.command_options(argv)
    # Words of variables can be changed by who runs the image, those written in ENTRYPOINT or CMD cannot.
    written = [word for word in own if word.startswith(("-Xmx", "-XX:MaxHeapSize="))]
    if written and not any(written[-1] in value for value in image.stage.env.values()):
        yield Hit(
            image.stage.where, image.subject,
            f"the heap is fixed in the image ({mark(written[-1], Kind.ID)}): whoever sets the memory limit cannot change "
            "it by a variable",
            advice=("put it into JAVA_TOOL_OPTIONS, or give a share of the limit",),
            fix=Fix("ENV JAVA_TOOL_OPTIONS=-XX:MaxRAMPercentage=75", "text"),
        )  # fmt: skip


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS320", "Heap fixed in the image", Severity.LOW, "dockerfile", _fixed_heap,
        what="`-Xmx` written into ENTRYPOINT or CMD of a Dockerfile.",
        why="the command line wins over JAVA_TOOL_OPTIONS, and the limit is given elsewhere, by others.",
        leads="a container with a smaller limit is killed before its heap is full; one with a larger limit still throws "
        "OutOfMemoryError.",
        how="JAVA_TOOL_OPTIONS, or -XX:MaxRAMPercentage.",
        source="JDK, hotspot arguments.cpp (order of options)",
        sample_name="Dockerfile",
        failing='FROM eclipse-temurin:21-jre\nENTRYPOINT ["java", "-Xmx2g", "-jar", "/app.jar"]\n',
        passing="FROM eclipse-temurin:21-jre\nENV JAVA_TOOL_OPTIONS=-Xmx2g\n"
        'ENTRYPOINT ["java", "-jar", "/app.jar"]\n',
    ),
)  # fmt: skip
