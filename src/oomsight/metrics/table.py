"""
Every metric: one row each. Exporters, dashboards, alert rules and the reference read the same rows.

Names follow Prometheus: base units, ``_total`` for counters, ``_info`` for facts in labels. A sample that is not known
is left out, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "info"]
Join = Literal["sum", "min", "max"]

OTHER: Final = "other"
"""Value of every open label in the bucket that takes what has no series of its own."""


@dataclass(frozen=True, slots=True)
class Label:
    """One label."""

    name: str
    help: str
    open: bool = False  #: anybody may invent values (names of containers): ``other`` beyond the bound
    otel: str = ""  #: attribute in OpenTelemetry, by its semantic conventions where they have one


LABELS: Final[dict[str, Label]] = {
    row.name: row
    for row in (
        Label("cause", "code of the first cause, `unknown` where the report does not tell", otel="oomsight.cause"),
        Label("constraint", "`CONSTRAINT_…` as the kernel prints it, `unknown` where it did not",
              otel="oomsight.constraint"),
        Label("scope", "kind of the incident: global, memcg, cpuset, mempolicy, sysrq, panic",
              otel="oomsight.scope"),
        Label("kind", "kind of the incident, as in its JSON", otel="oomsight.kind"),
        Label("killer", "userspace killer", otel="oomsight.killer"),
        Label("unit", "systemd unit, empty where there is none", True, "systemd.unit"),
        Label("container", "name of the container, else the first 12 digits of its id", True, "container.name"),
        Label("namespace", "Kubernetes namespace", True, "k8s.namespace.name"),
        Label("pod", "name of the pod", True, "k8s.pod.name"),
        Label("cgroup", "path of the cgroup", True, "linux.cgroup.path"),
        Label("comm", "process name, chosen by the process", True, "process.executable.name"),
        Label("at", "whose memory runs out: `host`, or the path of a cgroup", True, "oomsight.at"),
        Label("resource", "memory, io or cpu", otel="oomsight.resource"),
        Label("stall", "`some` task, or all (`full`)", otel="oomsight.stall"),
        Label("window", "10s, 60s or 300s", otel="oomsight.window"),
        Label("source", "source of events", otel="oomsight.source"),
        Label("queue", "store, or a listener", otel="oomsight.queue"),
        Label("subscriber", "listener", otel="oomsight.subscriber"),
        Label("exporter", "otlp or zabbix", otel="oomsight.exporter"),
        Label("sample", "host, cgroups or victims", otel="oomsight.sample"),
        Label("code", "code of the remark", otel="oomsight.code"),
        Label("alarm", "code of the memory alarm", otel="oomsight.alarm"),
        Label("severity", "warning or critical", otel="oomsight.severity"),
        Label("version", "version of oomsight", otel="service.version"),
    )
}
"""Every label, by name."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of samples."""

    name: str  #: as Prometheus shows it
    kind: Kind
    help: str
    source: str  #: where the value is read
    labels: tuple[str, ...] = ()
    join: Join = "sum"  #: how the bucket ``other`` is made of its members

    @property
    def unit(self) -> str:
        """``bytes``, ``seconds``, ``ratio``, or empty for a count."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in {"bytes", "seconds", "ratio"} else ""

    @property
    def otel_name(self) -> str:
        """Name in OpenTelemetry: dots, neither unit nor ``_total`` in it; a collector's exporter adds them again."""
        name = self.name.removesuffix("_total").removesuffix(f"_{self.unit}" if self.unit else "")
        room, _, rest = name.partition("_")
        return f"{room}.{rest}"


_PLACE: Final = ("unit", "container", "namespace", "pod")
_KILL: Final = ("cause", "constraint", "scope", *_PLACE)
_CGROUP: Final = ("cgroup", *_PLACE)
_MEMINFO: Final = "/proc/meminfo"
_VICTIM: Final = "badness of every process, as `oomsight score`"

# fmt: off
METRICS: Final[tuple[Metric, ...]] = (
    # -- kills
    Metric("oomsight_oom_kills_total", "counter",
           "Processes the kernel's OOM killer ended; a series stays when its container is gone.",
           "incidents, restored after a restart", _KILL),
    Metric("oomsight_oom_kills_by_cause_total", "counter",
           "Kernel OOM kills by first cause; every cause is there from the start, so that increase() sees a first.",
           "incidents, restored after a restart", ("cause",)),
    Metric("oomsight_last_oom_kill_timestamp_seconds", "gauge", "When the kernel last killed there.",
           "time of the kill line", _KILL, "max"),
    Metric("oomsight_oom_incidents_total", "counter", "Incidents of each kind; a group kill is one.",
           "incidents, restored after a restart", ("kind",)),
    Metric("oomsight_userspace_kills_total", "counter", "Processes ended by systemd-oomd, earlyoom and their like.",
           "journal, restored after a restart", ("killer", *_PLACE)),
    Metric("oomsight_kernel_oom_kills_total", "counter", "Kills the kernel itself has counted since boot (4.13+).",
           "/proc/vmstat oom_kill"),
    # -- the machine
    Metric("oomsight_memory_total_bytes", "gauge", "RAM the kernel manages.", f"{_MEMINFO} MemTotal"),
    Metric("oomsight_memory_available_bytes", "gauge", "RAM that can be had without swapping.",
           f"{_MEMINFO} MemAvailable"),
    Metric("oomsight_memory_free_bytes", "gauge", "RAM nobody uses.", f"{_MEMINFO} MemFree"),
    Metric("oomsight_memory_anon_bytes", "gauge", "Anonymous memory of processes.", f"{_MEMINFO} AnonPages"),
    Metric("oomsight_memory_shmem_bytes", "gauge", "Shared memory and tmpfs.", f"{_MEMINFO} Shmem"),
    Metric("oomsight_memory_slab_unreclaimable_bytes", "gauge", "Kernel objects that cannot be dropped.",
           f"{_MEMINFO} SUnreclaim"),
    Metric("oomsight_memory_page_tables_bytes", "gauge", "Page tables.", f"{_MEMINFO} PageTables"),
    Metric("oomsight_memory_committed_bytes", "gauge", "Memory promised to processes.", f"{_MEMINFO} Committed_AS"),
    Metric("oomsight_swap_total_bytes", "gauge", "Swap space; 0 = none.", f"{_MEMINFO} SwapTotal"),
    Metric("oomsight_swap_free_bytes", "gauge", "Swap space nobody uses.", f"{_MEMINFO} SwapFree"),
    Metric("oomsight_pressure_stall_seconds_total", "counter", "Time tasks were stalled (PSI, 4.20+).",
           "/proc/pressure total", ("resource", "stall")),
    Metric("oomsight_pressure_ratio", "gauge", "Share of the window's time tasks were stalled, 0 to 1.",
           "/proc/pressure avg10, avg60, avg300", ("resource", "stall", "window")),
    # -- cgroups with a limit
    Metric("oomsight_cgroup_memory_limit_bytes", "gauge", "Limit of the cgroup.",
           "memory.max; v1 memory.limit_in_bytes", _CGROUP),
    Metric("oomsight_cgroup_memory_usage_bytes", "gauge", "Memory charged to it, page cache included.",
           "memory.current; v1 memory.usage_in_bytes", _CGROUP),
    Metric("oomsight_cgroup_memory_headroom_bytes", "gauge",
           "What it may still need until its limit kills; page cache can be dropped and is not counted as need.",
           "limit - usage + file pages of memory.stat", _CGROUP, "min"),
    Metric("oomsight_cgroup_memory_full_ratio", "gauge", "Need as a share of the limit, 0 to 1.",
           "1 - headroom / limit", _CGROUP, "max"),
    Metric("oomsight_cgroups_limited", "gauge", "Cgroups with a memory limit of their own.", "memory.max"),
    # -- who would die now
    Metric("oomsight_predicted_victim_info", "info", "Who would be killed if memory ran out there now.", _VICTIM,
           ("at", "comm", *_PLACE)),
    Metric("oomsight_predicted_victim_pid", "gauge", "Its pid.", _VICTIM, ("at",), "max"),
    Metric("oomsight_predicted_victim_memory_bytes", "gauge", "What it would give back: resident, swap, page tables.",
           _VICTIM, ("at",)),
    Metric("oomsight_predicted_victim_margin_bytes", "gauge", "How far it is ahead of the next.", _VICTIM, ("at",),
           "min"),
    # -- alerts
    Metric("oomsight_alert_active", "gauge",
           "1 = the agent holds this memory alert (reference/alarms.md); no cgroup = the host.", "memory alarms",
           ("alarm", "severity", *_CGROUP), "max"),
    Metric("oomsight_alerts_held", "gauge",
           "Cgroups that hold this alarm (1 for the host); 0 = none, every alarm is there.", "memory alarms",
           ("alarm",)),
    # -- the agent itself
    Metric("oomsight_build_info", "info", "Version of the agent.", "the agent", ("version",)),
    Metric("oomsight_agent_start_time_seconds", "gauge", "When it was started.", "the agent"),
    Metric("oomsight_agent_last_event_timestamp_seconds", "gauge", "When it last saw an event; no sample = never.",
           "the agent"),
    Metric("oomsight_agent_degraded", "gauge", "1 = no kernel log can be read, or events cannot be stored.",
           "the agent"),
    Metric("oomsight_agent_source_up", "gauge", "1 = the source is read; 0 = it cannot be.", "the agent",
           ("source",), "min"),
    Metric("oomsight_agent_records_total", "counter", "Records read.", "the agent", ("source",)),
    Metric("oomsight_agent_records_lost_total", "counter", "Records the kernel overwrote before they were read.",
           "sequence numbers of /dev/kmsg", ("source",)),
    Metric("oomsight_agent_kills_not_in_log", "gauge", "Kills the kernel counted and no log shows.",
           "/proc/vmstat oom_kill against incidents"),
    Metric("oomsight_agent_queue_length", "gauge", "Events that wait.", "the agent", ("queue",)),
    Metric("oomsight_agent_events_dropped_total", "counter", "Events a full queue could not keep for the store.",
           "the agent"),
    Metric("oomsight_agent_store_up", "gauge", "1 = incidents can be stored; no sample = none is wanted.", "the agent"),
    Metric("oomsight_agent_subscriber_errors_total", "counter", "Events a listener failed to take.", "the agent",
           ("subscriber",)),
    Metric("oomsight_agent_notes_total", "counter", "Remarks, as a count that differs.", "the agent", ("code",)),
    Metric("oomsight_agent_exports_total", "counter", "Requests an exporter has sent with success.", "the agent",
           ("exporter",)),
    Metric("oomsight_agent_export_failures_total", "counter", "Requests that failed.", "the agent", ("exporter",)),
    Metric("oomsight_agent_export_dropped_total", "counter", "Items dropped: no room, or refused for good.",
           "the agent", ("exporter",)),
    Metric("oomsight_agent_sample_age_seconds", "gauge", "Age of what is shown; costly samples are taken less often.",
           "the agent", ("sample",), "max"),
    Metric("oomsight_agent_sample_cost_seconds", "gauge", "CPU time the last sample took.", "the agent", ("sample",),
           "max"),
    Metric("oomsight_agent_cpu_seconds_total", "counter", "CPU time the agent has used.", "getrusage(2)"),
    Metric("oomsight_agent_resident_memory_bytes", "gauge", "Resident memory of the agent.", "/proc/self/statm"),
)
# fmt: on
"""All metrics, in the order they are shown."""

BY_NAME: Final = {metric.name: metric for metric in METRICS}
