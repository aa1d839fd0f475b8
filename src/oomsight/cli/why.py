"""``oomsight why``: who ended a process, unit, container or pod."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    remark,
    renderer,
    root_option,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.attribute import Memory
    from oomsight.pipeline.why import Asking
    from oomsight.sinks.store import Row
    from oomsight.sources.runtimes.places import Places
    from oomsight.sources.source import Source
    from oomsight.why.evidence import Fact, Verdict

KINDS: Final = ("process", "name", "unit", "container", "pod")
NAMES_FILE: Final = "names.json"  #: beside the agent's incident store

EXAMPLES: Final = (
    ("oomsight why 4242", "a process, alive or gone"),
    ("oomsight why nginx.service", "a unit of systemd"),
    ("oomsight why web-1", "a container, by name or id, running, exited or removed"),
    ("oomsight why payments/api-7d9f", "a pod, on its node"),
    ("oomsight why java", "whatever ended processes of that name"),
    ("oomsight why nginx.service --log /var/log/syslog", "from a log file instead of this host's own logs"),
    ("oomsight why web-1 --format json | jq -r .ended_by", "for programs"),
)


@declare.command("why", examples=EXAMPLES)
@declare.argument("target", metavar="PID|NAME|UNIT|CONTAINER|POD")
@declare.option("--as", "kind", type=declare.Choice(KINDS),
                help="What the target is, where a name may be several things.")
@declare.option("--log", "logs", multiple=True, metavar="PATH", type=declare.Path(), help="Read these logs only.")
@format_option("text", "json", "markdown")
@width_option
@color_option
@root_option
@exit_code_option
def command(  # noqa: PLR0917 - click passes them by name
    target: str, kind: str | None, logs: tuple[str, ...], output_format: str, width: int | None, color: str, root: str,
    exit_code: bool,
) -> int:  # fmt: skip
    """
    Say who ended it: the kernel OOM killer, systemd-oomd, earlyoom, nohang or oomd, an eviction by the kubelet, a stop
    that took too long, a plain SIGKILL (exit code 137 without any OOM), itself; or that it is still alive.

    Reads the kernel log, the journal, the states that Docker, podman, containerd, CRI-O and systemd keep, and /proc;
    says how sure the answer is, on what it rests, and which flags (OOMKilled) mislead. Works without root as far as
    the system lets it.
    """
    from oomsight.pipeline.why import why

    inquest = why(target, _asking(root, logs), kind)  # type: ignore[arg-type]  # click checked it
    if inquest is None:
        raise CommandError(
            f"nothing on this host is called '{target}', and no log that could be read knows it", Exit.INPUT,
            "give a process id, unit, container name or id, pod as namespace/name, or --log FILE",
        )
    for line in inquest.remarks:
        remark(line)
    answer(_rendered(inquest.verdict, output_format, width, color))
    return Exit.FOUND if exit_code and inquest.verdict.ended_by.value != "alive" else Exit.OK


def _rendered(verdict: Verdict, output_format: str, width: int | None, color: str) -> str:
    from oomsight.sinks.why import verdict_json, verdict_story

    if output_format == "json":
        return verdict_json(verdict)
    return renderer(output_format, width, color)(verdict_story(verdict))


def _asking(root: str, logs: tuple[str, ...]) -> Asking:
    from oomsight.pipeline.why import host_asking

    asking = host_asking(host_places(root, os.environ), _sources(logs))
    if os.path.realpath(root) == "/" and not logs:
        asking.memory, asking.stored = _remembered()
    return asking


def host_places(root: str, environ: Mapping[str, str]) -> Places:
    """
    Return where to look below *root*. DOCKER_HOST, CONTAINER_HOST and CONTAINER_RUNTIME_ENDPOINT name sockets of this
    host, as for docker(1), podman(1) and crictl.
    """
    from oomsight.sources.runtimes.places import Places

    if os.path.realpath(root) != "/":
        return Places(root, programs=False)
    plain = Places()
    docker = _socket(environ.get("DOCKER_HOST"))
    podman = _socket(environ.get("CONTAINER_HOST"))
    cri = _socket(environ.get("CONTAINER_RUNTIME_ENDPOINT"))
    return Places(
        docker_sockets=(docker, *plain.docker_sockets) if docker else plain.docker_sockets,
        podman_sockets=(podman, *plain.podman_sockets) if podman else plain.podman_sockets,
        cri_sockets=(cri, *plain.cri_sockets) if cri else plain.cri_sockets,
    )


def _socket(url: str | None) -> str | None:
    return url.removeprefix("unix://") if url and url.startswith("unix:///") else None


def _sources(paths: tuple[str, ...]) -> list[Source]:
    from oomsight.sources.files import FileSource, expand
    from oomsight.sources.kmsg import KmsgSource

    refs = expand(list(paths)) if paths else []
    return [KmsgSource(ref.paths[0]) if ref.kind == "kmsg" else FileSource(ref) for ref in refs]


def _remembered() -> tuple[Memory | None, list[Fact]]:
    """Names and kills that the agent keeps; nothing where there is no agent."""
    from oomsight.sinks.names import load_names
    from oomsight.sinks.store import Reader, StoreError, default_path

    path = default_path()
    if not os.path.exists(path):
        return None, []
    memory = load_names(os.path.join(os.path.dirname(path), NAMES_FILE))
    try:
        reader = Reader(path)
    except StoreError as error:
        remark(str(error))
        return memory, []
    try:
        return memory, list(stored_kills(reader.rows()))
    finally:
        reader.close()


def stored_kills(rows: Iterable[Row]) -> Iterator[Fact]:
    """Yield the kernel kills in the agent's store: they outlive the kernel's ring and rotated logs."""
    from oomsight.naming.marked import Kind, mark
    from oomsight.why.evidence import Fact, FactKind

    for row in rows:
        if not row.kills:
            continue
        what = mark(row.name) if row.name is not None else "a process"
        pid = f" (pid {row.pid})" if row.pid is not None else ""
        where = f" in {mark(row.cgroup, Kind.CGROUP)}" if row.cgroup else ""
        yield Fact(
            FactKind.KERNEL_KILL, "incident store", f"the kernel OOM killer killed {what}{pid}{where}",
            row.wall_us / 1e6, pid=row.pid, comm=row.name, cgroup=row.cgroup, incident=row.id,
        )  # fmt: skip
