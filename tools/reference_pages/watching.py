"""What is watched: memory alarms and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator

from oomsight.alarms.table import ALARMS
from oomsight.daemons.telemetry_config import SECTIONS
from oomsight.metrics.table import LABELS, METRICS
from oomsight.status.hurts import HURTS
from oomsight.status.memory import ITEMS
from reference_pages.markdown import code, prose, table


def alarms_page() -> Iterator[str]:
    """Every memory alarm, and every setting that `status` warns of."""
    yield "When `oomsight agent` raises a memory alert. How to be told, and how to change a limit:"
    yield "[be told](../how-to/alerts.md). An alert is raised when its condition has held for the time given (at most a"
    yield "quarter of the time left), critical from a second limit on, and over when it was on the other side of its"
    yield "clearing limit for its own time. Page cache is nobody's need: it raises none."
    yield ""
    unit = {"pct": " %", "seconds": " s", "per_minute": " a minute"}
    yield from table(
        ("code", "of", "measures", "raised", "critical", "for", "over", "after", "source"),
        [
            (
                code(a.code), a.scope, prose(a.measures),
                f"{'≤' if a.downwards else '≥'} {a.raise_at:g}{unit[a.unit]}",
                "" if a.critical_at is None else f"{a.critical_at:g}{unit[a.unit]}", f"{a.for_seconds:g} s",
                f"{'≥' if a.downwards else '≤'} {a.clear_at:g}{unit[a.unit]}", f"{a.clear_seconds:g} s",
                prose(a.source),
            )
            for a in ALARMS
        ],
    )  # fmt: skip
    yield "Growth counts when it was seen for at least a third of the time left and, below two minutes, only when half"
    yield "of the limit is used and, after a level stretch, for as long as is left: a program that starts is no leak,"
    yield "nor is a job that begins, or a heap that was collected and has not been above its last peak (of ten minutes,"
    yield "after a level stretch of two hours). What the OOM killer ended is forgotten: who comes then grows from"
    yield "nothing."
    yield ""
    yield "## Settings that will hurt"
    yield ""
    yield "What `oomsight status` says about the settings of a host."
    yield ""
    yield from table(("code", "weight", "what to do", "source"),
                     [(code(row.code), row.weight, prose(row.cure), prose(row.source)) for row in HURTS])  # fmt: skip
    yield "## Where RAM is"
    yield ""
    yield "How the lines of `/proc/meminfo` become the accounting of `oomsight status`; what is left is `unaccounted`."
    yield ""
    yield from table(("item", "what", "lines"), [(code(i.key), i.label, code(i.lines)) for i in ITEMS])


def metrics_page() -> Iterator[str]:
    """Every metric, every label, every setting of the sections that serve or send them."""
    yield "What `oomsight agent` serves at `/metrics` and sends by OTLP and to Zabbix. How to use it:"
    yield "[metrics, dashboards, alert rules](../how-to/metrics.md). What is not known has no sample, never 0."
    yield ""
    yield "## Metrics"
    yield ""
    yield from table(
        ("name", "type", "labels", "meaning", "source"),
        [
            (code(m.name), m.kind, ", ".join(map(code, m.labels)), prose(m.help), prose(m.source))
            for m in METRICS
        ],
    )
    yield "In OpenTelemetry a name has a dot after `oomsight` and neither unit nor `_total`:"
    yield "`oomsight_memory_available_bytes` is `oomsight.memory_available` with unit `By`. Zabbix items are called the"
    yield "same, with the labels in brackets."
    yield ""
    yield "## Labels"
    yield ""
    yield "Empty = there is no such thing there; `unknown` = there is, and it is not known. Of those that anybody can"
    yield "choose, only so many are kept apart; the rest share `other`. Invisible characters are shown escaped."
    yield ""
    yield from table(
        ("label", "OpenTelemetry", "anybody can choose it", "value"),
        [(code(x.name), code(x.otel), "yes" if x.open else "", prose(x.help)) for x in LABELS.values()],
    )
    yield "## Settings"
    yield ""
    for name, rows in SECTIONS.items():
        yield f"### `[{name}]`"
        yield ""
        yield from table(
            ("key", "default", "meaning"),
            [(code(row.name), code(json.dumps(row.default)), prose(row.help)) for row in rows],
        )
