"""Rules about what else uses a pod's memory: volumes in RAM, probes and hooks, several processes (OS410 to OS419)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._sizes import MIB, size_words
from oomsight.audit.kubernetes.samples import deployment, pod
from oomsight.audit.model import Fix, Hit, Rule, Settings, Severity
from oomsight.audit.quantity import kubernetes_words
from oomsight.naming.marked import Kind, mark

if TYPE_CHECKING:
    from oomsight.audit.kubernetes.model import Container, MemoryVolume, PodCase


def _users(case: PodCase, volume: MemoryVolume) -> Iterator[tuple[Container, str]]:
    for container in case.pod.containers:
        for mount in container.mounts:
            if mount.volume == volume.name:
                yield container, mount.path


def _volume_no_size(case: PodCase, _: Settings) -> Iterator[Hit]:
    for volume in case.pod.volumes:
        if volume.limit is None:
            users = list(_users(case, volume))
            paths = ", ".join(dict.fromkeys(mark(path, Kind.FILE) for _, path in users))
            yield Hit(
                volume.where, f"{case.pod.subject}, volume {mark(volume.name, Kind.OWNER)}",
                "a volume in memory without sizeLimit: it may fill until the container that writes is killed",
                evidence=(f"mounted at {paths}",) if paths else (),
                advice=("give it a sizeLimit, and count that in the limits of the containers that write",),
                fix=Fix("emptyDir:\n  medium: Memory\n  sizeLimit: SIZE", "yaml"),
            )  # fmt: skip


def _volume_too_big(case: PodCase, _: Settings) -> Iterator[Hit]:
    for volume in case.pod.volumes:
        size = volume.limit.value_bytes if volume.limit else None
        if not size or volume.limit is None:
            continue
        for container, path in _users(case, volume):
            limit = case.effective(container).limit_bytes
            if limit is not None and size >= limit:
                yield Hit(
                    volume.limit.where, container.subject,
                    f"the files it may write to {mark(path, Kind.FILE)} fill its memory limit alone: it is killed "
                    "before the volume is full",
                    evidence=(f"sizeLimit {size_words(size)}, memory limit {size_words(limit)}",),
                    advice=("raise the limit by the volume's size, or shrink the volume",),
                    fix=Fix(f"limits:\n  memory: {kubernetes_words(limit + size)}", "yaml"),
                )  # fmt: skip
                break


class Tool(NamedTuple):
    """A program that probes and hooks run, and what it takes."""

    names: tuple[str, ...]
    mib: int  #: resident, typical
    words: str
    heap: bool = False  #: a JVM that sizes its own heap by the container's limit


TOOLS: Final[tuple[Tool, ...]] = (
    Tool(("nodetool", "cassandra-cli", "cqlsh"), 120, "a JVM or Python with a driver", True),
    Tool(("kafka-topics.sh", "kafka-broker-api-versions.sh", "kafka-configs.sh", "zkCli.sh", "zookeeper-shell.sh"), 150,
         "a whole JVM", True),
    Tool(("java", "jcmd", "jstack", "keytool"), 60, "a whole JVM", True),
    Tool(("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-diagnostics.sh"), 90, "an Erlang VM of its own"),
    Tool(("node", "npm", "npx", "yarn"), 50, "a Node.js of its own"),
    Tool(("mongosh", "mongo"), 110, "a shell on Node.js"),
    Tool(("python", "python3", "celery", "django-admin"), 30, "a Python of its own"),
    Tool(("php", "artisan"), 30, "a PHP of its own"),
    Tool(("ruby", "rails", "rake", "bundle"), 60, "a Ruby of its own"),
)  # fmt: skip
"""Measured as resident size of a run that does little, Debian 12 packages; orders of magnitude, not promises."""
_BY_NAME: Final = {name: tool for tool in TOOLS for name in tool.names}
HOOK_SHARE: Final = 0.10
"""From this share of the limit on a hook is worth a word."""


def tool_of(command: tuple[str, ...]) -> tuple[str, Tool] | None:
    """Return the heaviest known program that *command* runs."""
    found = [(name, _BY_NAME[name]) for word in command if (name := word.rsplit("/", 1)[-1]) in _BY_NAME]
    return max(found, key=lambda pair: pair[1].mib, default=None)


def _hooks(case: PodCase, _: Settings) -> Iterator[Hit]:
    for container in case.pod.containers:
        limit = case.effective(container).limit_bytes
        for hook in container.hooks:
            found = tool_of(hook.command)
            if found is None or limit is None or found[1].mib * MIB < HOOK_SHARE * limit:
                continue
            name, tool = found
            every = f", every {hook.period_seconds} s" if hook.period_seconds else ""
            yield Hit(
                hook.where, container.subject,
                f"its {hook.name} starts {mark(name)} ({tool.words}) inside the container's memory limit{every}",
                evidence=(
                    f"about {tool.mib} MiB of {size_words(limit)}"
                    + (", and its heap is sized by the same limit" if tool.heap else ""),
                ),
                advice=(f"leave {tool.mib} MiB free below the limit, or probe with httpGet, tcpSocket or grpc",),
            )  # fmt: skip


class Family(NamedTuple):
    """A program that serves with several processes."""

    names: tuple[str, ...]
    words: str
    worker: str


FAMILIES: Final[tuple[Family, ...]] = (
    Family(("gunicorn", "uwsgi", "celery", "hypercorn"), "a master with workers", "a worker"),
    Family(("php-fpm", "php-fpm7", "php-fpm8"), "a master with children", "a child"),
    Family(("postgres", "postgresql"), "a process for each connection", "a backend"),
    Family(("puma", "unicorn", "passenger"), "a master with workers", "a worker"),
    Family(("httpd", "apache2"), "a process for each few requests", "a child"),
    Family(("supervisord", "s6-svscan", "runsvdir", "pm2"), "several services in one container", "one service"),
)


def family_of(container: Container) -> Family | None:
    """Return the family of what *container* runs, by its command, else by its image's name."""
    words = {word.rsplit("/", 1)[-1] for word in container.argv}
    image = (container.image or "").rsplit("/", 1)[-1].split(":", 1)[0].split("@", 1)[0]
    for family in FAMILIES:
        if words.intersection(family.names) or (not container.argv and image in family.names):
            return family
    return None


def _whole_group(case: PodCase, _: Settings) -> Iterator[Hit]:
    for container in case.pod.running():
        family = family_of(container)
        if family is not None and case.effective(container).limit_bytes is not None:
            yield Hit(
                container.where, container.subject,
                f"it is {family.words}: since Kubernetes 1.28 on cgroup v2 {family.worker} over the limit ends all of "
                "them, not only itself",
                evidence=("kubelet sets memory.oom.group = 1 in the container's cgroup",),
                advice=(
                    "bound each process below the limit, or set singleProcessOOMKill: true for the kubelet (1.32 and "
                    "later)",
                ),
            )  # fmt: skip


def _sidecar_cost(case: PodCase, _: Settings) -> Iterator[Hit]:
    running = sum(case.effective(container).request_bytes or 0 for container in case.pod.running())
    for container in case.pod.containers:
        request = case.effective(container).request_bytes
        if container.kind == "init" and request and running and request > 2 * running and request - running > 256 * MIB:
            where = container.request.where if container.request else container.resources_where
            yield Hit(
                where, container.subject,
                "requests more than all that run after it: the node keeps that much for the pod's whole life",
                evidence=(f"{size_words(request)} at start, {size_words(running)} later",),
                advice=("lower its request and keep its limit, or do its work in a Job",),
            )  # fmt: skip


def _priority(case: PodCase, _: Settings) -> Iterator[Hit]:
    from oomsight.audit.kubernetes.limits import NODE_CRITICAL, best_effort

    name = case.pod.priority_class
    if name is None or name == NODE_CRITICAL or not best_effort(case):
        return
    row = case.cluster.classes.get(name)
    value = row.value if row is not None else None
    if name == "system-cluster-critical" or (value is not None and value > 0):
        yield Hit(
            case.pod.where, case.pod.subject,
            f"priority class {mark(name, Kind.OWNER)} and quality of service BestEffort: priority orders evictions, the "
            "kernel knows nothing of it and kills this pod first",
            evidence=("oom_score_adj 1000; only system-node-critical changes that (to -997)",),
            advice=("give it a memory request",),
        )  # fmt: skip


_MEMORY_VOLUME: Final = """\
volumeMounts:
- {name: scratch, mountPath: /dev/shm}
"""
_TMPFS: Final = "Kubernetes documentation, Volumes (emptyDir, medium Memory); kernel mm/shmem.c (charged to the writer)"

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "OS410", "Memory-backed volume without a size", Severity.MEDIUM, "pod", _volume_no_size,
        what="an `emptyDir` with `medium: Memory` and no `sizeLimit`; often mounted at /dev/shm.",
        why="it is a tmpfs: each page written belongs to the memory of the container that wrote it, until the file goes.",
        leads="files nobody deletes fill the container's limit; the victim is a process, and killing it frees nothing of "
        "the files.",
        how="give it a sizeLimit, and add that to the container's limit.",
        source=_TMPFS,
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}", container=_MEMORY_VOLUME,
                           spec="volumes:\n- name: scratch\n  emptyDir: {medium: Memory}\n"),
        passing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}", container=_MEMORY_VOLUME,
                           spec="volumes:\n- name: scratch\n  emptyDir: {medium: Memory, sizeLimit: 64Mi}\n"),
    ),
    Rule(
        "OS411", "Memory-backed volume as big as the limit", Severity.HIGH, "pod", _volume_too_big,
        what="an `emptyDir` in memory whose `sizeLimit` is not below the memory limit of a container that mounts it.",
        why="files and program share one limit.",
        leads="the container is OOM-killed while the volume still looks far from full.",
        how="limit = what the program holds + sizeLimit.",
        source=_TMPFS,
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}", container=_MEMORY_VOLUME,
                           spec="volumes:\n- name: scratch\n  emptyDir: {medium: Memory, sizeLimit: 1Gi}\n"),
        passing=deployment("requests: {memory: 1536Mi}, limits: {memory: 1536Mi}", container=_MEMORY_VOLUME,
                           spec="volumes:\n- name: scratch\n  emptyDir: {medium: Memory, sizeLimit: 1Gi}\n"),
    ),
    Rule(
        "OS412", "Probe or hook that needs memory", Severity.MEDIUM, "pod", _hooks,
        what="an `exec` probe or lifecycle hook that starts a heavy program (a JVM, Python, Node.js …) and so takes a "
        "tenth of the limit or more.",
        why="it runs in the container's cgroup, again and again, on top of what the program holds.",
        leads="the container lives near its limit without harm until a probe starts; with memory.oom.group the probe then "
        "ends the whole container.",
        how="leave room for it, or use httpGet, tcpSocket or grpc.",
        source="Kubernetes documentation, Configure Probes; oomsight's table of tools",
        sample_name="pod.yaml",
        failing=pod("requests: {memory: 256Mi}, limits: {memory: 256Mi}",
                    container="livenessProbe:\n  exec: {command: [sh, -c, 'python3 /app/health.py']}\n"),
        passing=pod("requests: {memory: 256Mi}, limits: {memory: 256Mi}",
                    container="livenessProbe:\n  httpGet: {path: /health, port: 8080}\n"),
    ),
    Rule(
        "OS413", "Several processes that die together", Severity.LOW, "pod", _whole_group,
        what="a container with a memory limit that serves with several processes (gunicorn, PHP-FPM, PostgreSQL …).",
        why="since 1.28 the kubelet sets memory.oom.group on cgroup v2.",
        leads="where one worker used to be killed and replaced, the container now ends with 137 and takes its requests "
        "along.",
        how="size workers times their peak below the limit, recycle them, or `singleProcessOOMKill: true` (1.32).",
        source="kubernetes 1.28 changelog (#117793); kernel mm/memcontrol.c, mem_cgroup_get_oom_group()",
        sample_name="deployment.yaml",
        failing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}",
                           container="command: [gunicorn, --workers, '4', app:app]\n"),
        passing=deployment("requests: {memory: 512Mi}, limits: {memory: 512Mi}",
                           container="command: [/usr/bin/api]\n"),
    ),
    Rule(
        "OS414", "Init container bigger than the pod", Severity.LOW, "pod", _sidecar_cost,
        what="an init container that requests more than twice what all later containers request together.",
        why="a pod's request is the larger of the two, for its whole life.",
        leads="the node looks full while it is idle; the next pods get small requests to fit, and those are killed first.",
        how="lower the request of the init container, or move its work to a Job.",
        source="Kubernetes documentation, Init Containers (effective request)",
        sample_name="pod.yaml",
        failing=pod("requests: {memory: 128Mi}, limits: {memory: 128Mi}",
                    spec="initContainers:\n- name: import\n  image: example.org/import:1\n  resources: {requests: "
                    "{memory: 2Gi}, limits: {memory: 2Gi}}\n"),
        passing=pod("requests: {memory: 128Mi}, limits: {memory: 128Mi}",
                    spec="initContainers:\n- name: import\n  image: example.org/import:1\n  resources: {requests: "
                    "{memory: 128Mi}, limits: {memory: 128Mi}}\n"),
    ),
    Rule(
        "OS415", "Priority that does not protect", Severity.MEDIUM, "pod", _priority,
        what="a pod with a positive priority class (one of the audited set, or system-cluster-critical) and quality of "
        "service BestEffort.",
        why="priority is for the scheduler and for eviction; the kernel goes by oom_score_adj, which comes from requests.",
        leads="under a sudden shortage the kernel is faster than the kubelet, and the important pod dies first.",
        how="request memory; for daemons of the node itself there is system-node-critical.",
        source="kubernetes, pkg/kubelet/qos/policy.go (IsNodeCriticalPod)",
        sample_name="pod.yaml",
        failing=pod("", spec="priorityClassName: system-cluster-critical\n"),
        passing=pod("requests: {memory: 256Mi}, limits: {memory: 256Mi}",
                    spec="priorityClassName: system-cluster-critical\n"),
    ),
)  # fmt: skip
