"""
Files in, findings out: finds them, reads what bounds whole namespaces first, audits in several processes.

Each file is audited alone but for what it is held against (limit ranges, quotas, priority classes of the same set), so
workers need nothing from each other and memory holds one document of each.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pickle import HIGHEST_PROTOCOL, dumps, loads
from typing import TYPE_CHECKING, Final, NamedTuple

from oomsight._lazy import lazy
from oomsight.audit.compose.read import includes, is_compose
from oomsight.audit.configs.kinds import config_kind
from oomsight.audit.configs.read import read_config_file
from oomsight.audit.dockerfile.read import read_dockerfile
from oomsight.audit.documents import (
    Auditor,
    Outcome,
    audit_objects,
    cluster_of,
    has_template_keys,
    is_template,
    judged,
    kustomization,
    quotas_asked,
)
from oomsight.audit.engine import chosen
from oomsight.audit.files import RENDER, Unread, unrendered
from oomsight.audit.kubernetes.kustomize import NAMES as KUSTOMIZATIONS
from oomsight.audit.kubernetes.kustomize import is_kustomization
from oomsight.audit.kubernetes.model import Cluster
from oomsight.audit.kubernetes.read import is_object, objects
from oomsight.audit.registry import rules
from oomsight.audit.report import AuditReport
from oomsight.audit.settings import Config, Ignore, matches
from oomsight.audit.sniff import BOUNDS, HEAD_BYTES, may_hold, may_hold_any, names_any
from oomsight.audit.units.read import parse_unit
from oomsight.naming.marked import Kind, mark
from oomsight.pipeline.audit_beside import MAX_TEXT_BYTES, environment_beside
from oomsight.pipeline.audit_compose import audit_compose, override
from oomsight.sources.audit_files import STDIN, Task, content, find
from oomsight.sources.yaml_documents import NoYaml, document, missing_words, pieces

if TYPE_CHECKING:
    from oomsight.audit.model import Finding
    from oomsight.audit.tree import Node
    from oomsight.audit.units.read import Unit
    from oomsight.pipeline.pool import Pending

INLINE_TASKS: Final = 300
"""Tasks done in this process before others are started: starting costs as much as these."""
BATCH: Final = 50
_OTHERS = lazy(rb"kind\"?: *[\"']?(?:LimitRange|ResourceQuota|PriorityClass|ConfigMap|List)")
_TITLES: Final = {".": "this directory", STDIN: "standard input"}
Progress = Callable[[int], None]


class Plan(NamedTuple):
    """What an audit of files is asked to do."""

    paths: tuple[str, ...]
    config: Config = Config()
    ignore: tuple[str, ...] = ()  #: rules to leave out
    workers: int = 1


def audit_paths(plan: Plan, progress: Callable[[int], Progress] | None = None) -> AuditReport:
    """
    Audit the files of *plan*. *progress* is told the number of bytes there are and returns what is told those done.

    A path that cannot be read is a finding, and in :attr:`AuditReport.failed`; the others are audited.
    """
    exclude = plan.config.exclude
    found = find(plan.paths, lambda path: bool(exclude) and matches(path, exclude))
    title = ", ".join(_TITLES.get(path) or mark(path, Kind.FILE) for path in plan.paths[:3])
    report = AuditReport(title=title, files=found.files)
    auditor = Auditor(
        chosen(rules(), plan.config.select, plan.ignore), plan.config.settings, Cluster(),
        frozenset(os.path.normpath(task.paths[0]) for task in found.tasks),
    )  # fmt: skip
    total = sum(task.size_bytes for task in found.tasks)
    done = progress(total) if progress is not None else lambda _done_bytes: None
    _read_bounds(found.tasks, auditor.cluster)
    everything = Outcome()
    finished = 0
    for task_bytes, outcome in _outcomes(found.tasks, auditor, plan.workers):
        finished += task_bytes
        done(finished)
        everything.add(outcome)
    for asked in quotas_asked(everything.demands, auditor.cluster):
        everything.findings += auditor.run("asked", asked)
    everything.findings += _templates(everything.templates, found.tasks, auditor)
    if everything.no_yaml:
        report.remarks.append(f"{everything.no_yaml} YAML files not read: {missing_words()}")
    for path, why in (*found.unreadable, *((error.name, error.what) for error in found.failed)):
        everything.findings += auditor.unread(Unread(path, None, None, why))
    report.failed = [str(error) for error in found.failed]
    report.seen = everything.seen
    report.findings = [_accepted(finding, plan.config.ignore) for finding in everything.findings]
    report.sort()
    return report


def _accepted(finding: Finding, rows: tuple[Ignore, ...]) -> Finding:
    if finding.suppressed is None:
        for row in rows:
            if row.covers(finding):
                return finding.because(row.reason)
    return finding


# -- what bounds a namespace ------------------------------------------------------------------------------------------


def _read_bounds(tasks: Iterable[Task], cluster: Cluster) -> None:
    """Fill *cluster* from the few files that speak of whole namespaces."""
    for task in tasks:
        if task.kind != "yaml" or not task.bounds:
            continue
        try:
            with content(task.paths[0], task.data) as data:
                for line, piece in pieces(data):
                    if isinstance(piece, bytes) and _speaks_of_others(piece):
                        root = document(line, piece).root
                        if root is not None and is_object(root):
                            cluster_of(objects(root, task.paths[0]), cluster)
        except (OSError, NoYaml):  # said when the file is audited
            continue


def _speaks_of_others(piece: bytes) -> bool:
    """Whether a document is one that others are held against: composing pods twice would take twice the time."""
    return names_any(piece, BOUNDS) and _OTHERS.search(piece) is not None


# -- one task ---------------------------------------------------------------------------------------------------------


def audit_task(task: Task, auditor: Auditor) -> Outcome:
    """Audit the files of one task. Never raises for what they hold."""
    outcome = Outcome()
    name = task.paths[0]
    try:
        with content(name, task.data) as data:
            _audit_data(data, name, task, auditor, outcome)
    except NoYaml:
        outcome.no_yaml = 1
    except OSError as error:
        outcome.findings += auditor.unread(Unread(name, None, None, (error.strerror or str(error)).lower()))
    return outcome


def audit_data(name: str, data: bytes, auditor: Auditor) -> Outcome:
    """Audit YAML *data*, called *name*, alone."""
    outcome = Outcome()
    _audit_yaml(data, name, auditor, outcome, [])
    return outcome


def _audit_data(data: object, name: str, task: Task, auditor: Auditor, outcome: Outcome) -> None:
    match task.kind:
        case "yaml":
            _audit_yaml(data, name, auditor, outcome, [pair for path in task.paths[1:] for pair in override(path)])
        case "template":
            outcome.templates.append(unrendered(name, _text(data)))
        case "unit" | "dropin":
            _audit_unit(task, auditor, outcome)
            return
        case "dockerfile":
            _audit_dockerfile(_text(data), name, auditor, outcome)
        case "config":
            _audit_config(_text(data), name, auditor, outcome)
    if task.kind in {"dockerfile", "config"}:
        outcome.findings += _too_long(data, name, auditor)


def _text(data: object) -> str:
    """Return the beginning of a file that is read as a whole; bytes that are no text are shown as such."""
    assert isinstance(data, bytes) or hasattr(data, "find")
    return bytes(data[:MAX_TEXT_BYTES]).decode("utf-8", "replace")  # type: ignore[index]


def _too_long(data: object, name: str, auditor: Auditor) -> list[Finding]:
    assert isinstance(data, bytes) or hasattr(data, "find")
    if len(data) <= MAX_TEXT_BYTES:  # type: ignore[arg-type]
        return []
    line = bytes(data[:MAX_TEXT_BYTES]).count(b"\n") + 1  # type: ignore[index]
    words = f"only its first {MAX_TEXT_BYTES >> 20} MiB are read, up to this line"
    return auditor.unread(Unread(name, line, None, words, "large"))


def _audit_dockerfile(text: str, name: str, auditor: Auditor, outcome: Outcome) -> None:
    image = read_dockerfile(name, text)
    if image is None:
        return
    outcome.seen["dockerfile"] += 1
    found = [*auditor.run("dockerfile", image), *auditor.programs([image.program()])]
    outcome.findings += judged(found, text, 1, name, auditor)


def _audit_config(text: str, name: str, auditor: Auditor, outcome: Outcome) -> None:
    kind = config_kind(os.path.basename(name), text[:HEAD_BYTES].encode())
    if kind is None:
        return
    outcome.seen["config"] += 1
    found = list(auditor.run("config", read_config_file(kind, name, text)))
    outcome.findings += judged(found, text, 1, name, auditor)


def _audit_unit(task: Task, auditor: Auditor, outcome: Outcome) -> None:
    texts = []
    for path in task.paths:
        with content(path) as data:
            texts.append((path, _text(data)))
            outcome.findings += _too_long(data, path, auditor)
    whole = task.kind == "unit"
    place = task.paths[0] if whole else os.path.dirname(task.paths[0]).removesuffix(".d")
    audit_unit(parse_unit(os.path.basename(place), texts, whole), texts, auditor, outcome)


def audit_unit(unit: Unit, texts: list[tuple[str, str]], auditor: Auditor, outcome: Outcome) -> None:
    """Add what is found about *unit*, made of *texts* (path and text), and about what it runs."""
    outcome.seen["unit"] += 1
    found = list(auditor.run("unit", unit))
    program = unit.program(environment_beside)
    if program is not None:
        found += auditor.programs([program])
    for path, text in texts:
        here = [finding for finding in found if finding.where.path == path]
        outcome.findings += judged(here, text, 1, path, auditor)


def _audit_yaml(
    data: object, name: str, auditor: Auditor, outcome: Outcome, overrides: list[tuple[Node, str]]
) -> None:
    assert isinstance(data, bytes) or hasattr(data, "find")
    named = os.path.basename(name) in KUSTOMIZATIONS
    if not (named or may_hold_any(data)):  # type: ignore[arg-type]
        return
    for line, piece in pieces(data):  # type: ignore[arg-type]
        if isinstance(piece, bytes) and not (named or may_hold(piece)):
            continue
        read = document(line, piece)
        if read.problem is not None:
            text = piece.decode("utf-8", "replace") if isinstance(piece, bytes) else ""
            if read.problem.kind == "broken" and is_template(text):
                outcome.templates.append(unrendered(name, text, line))
            else:
                problem = read.problem
                outcome.findings += auditor.unread(
                    Unread(name, problem.line, problem.column, problem.words, problem.kind)
                )
            continue
        if read.root is None:
            continue
        if is_template(read.text) and has_template_keys(read.root):
            outcome.templates.append(unrendered(name, read.text, line))
            continue
        if is_kustomization(read.root, name):
            outcome.templates += filter(None, [kustomization(read.root, name)])
            continue
        before = len(outcome.findings)
        is_known = audit_objects(read.root, name, auditor, outcome)
        if not is_known and (is_compose(read.root) or includes(read.root, name)):
            audit_compose([*overrides, (read.root, name)], name, auditor, outcome)
        outcome.findings[before:] = judged(outcome.findings[before:], read.text, line, name, auditor)


def _templates(found: list[Unread], tasks: list[Task], auditor: Auditor) -> Iterator[Finding]:
    """Yield one line for each chart, and one for each other file."""
    charts = {task.paths[0]: task.chart for task in tasks}
    told: set[str] = set()
    for one in found:
        chart = charts.get(one.path) if one.kind == "values" else None
        if (chart or one.path) in told:
            continue
        told.add(chart or one.path)
        if chart is None:
            yield from auditor.unread(one)
            continue
        count = len({other.path for other in found if charts.get(other.path) == chart})
        words = f"{count} template{'s' if count > 1 else ''} of this chart not rendered: run helm template"
        yield from auditor.unread(Unread(os.path.join(chart, "Chart.yaml"), 1, None, words, "template", RENDER))


# -- many tasks -------------------------------------------------------------------------------------------------------

_auditor: Auditor | None = None  # of a worker process, inherited when it is forked


def _batch(tasks: list[Task]) -> tuple[int, Outcome]:
    assert _auditor is not None
    whole = Outcome()
    for task in tasks:
        whole.add(audit_task(task, _auditor))
    return sum(task.size_bytes for task in tasks), whole


def _outcomes(tasks: list[Task], auditor: Auditor, workers: int) -> Iterator[tuple[int, Outcome]]:
    global _auditor  # noqa: PLW0603 - rules hold functions, and are not sent to workers but inherited by them
    _auditor = auditor
    first = tasks[:INLINE_TASKS] if len(tasks) > 2 * INLINE_TASKS and workers > 1 else tasks
    rest = tasks[len(first) :]
    for task in first:
        yield _batch([task])
    if not rest:
        return
    from oomsight.pipeline.pool import Pool

    handed: deque[tuple[list[Task], Pending]] = deque()

    def oldest() -> tuple[int, Outcome]:
        batch, pending = handed.popleft()
        return pending.result_or(lambda: _batch(batch))

    pool = Pool(workers - 1)
    try:
        for at in range(0, len(rest), BATCH):
            batch = rest[at : at + BATCH]
            pending = pool.hand(_handed, None, [dumps(batch, HIGHEST_PROTOCOL)])
            if pending is None:  # the others have enough to do: this process works, too
                for task in batch:
                    yield _batch([task])
            else:
                handed.append((batch, pending))
            while handed and handed[0][1].done():
                yield oldest()
        while handed:
            yield oldest()
    finally:
        pool.close()


def _handed(_: None, batch: list[bytes]) -> tuple[int, Outcome]:
    return _batch(loads(batch[0]))

