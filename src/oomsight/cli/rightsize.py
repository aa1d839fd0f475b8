"""``oomsight rightsize``: which limit, request, memory.high, swap and oom_score_adj each should have."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from oomsight._version import __version__
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.options import answer, color_option, format_option, remark, renderer, width_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.pipeline.rightsize import Found
    from oomsight.rightsize.model import Advice, Subject, Usage
    from oomsight.rightsize.policy import Policy

ROWS: Final = 20  #: subjects shown to people, unless -n says otherwise
DEFAULT_DAYS: Final = 14

EXAMPLES: Final = (
    ("oomsight rightsize", "everything the recorder has seen on this host"),
    ("oomsight rightsize nginx.service", "one unit, with what each possible limit means"),
    ("oomsight rightsize --prometheus http://prometheus:9090 'shop/*'", "containers of a namespace, from Prometheus"),
    ("oomsight rightsize --per process postgres", "all processes of a name, as if they had a unit of their own"),
    ("oomsight rightsize 'this host'", "how much swap this host should have"),
    ("oomsight rightsize --from incidents", "from the OOM kills the agent has stored"),
    ("oomsight rightsize --prometheus http://prometheus:9090 --patch k8s/*.yaml > limits.patch",
     "the manifests with what should be set, as a patch"),
)  # fmt: skip


@declare.command("rightsize", examples=EXAMPLES)
@declare.argument("names", nargs=-1, metavar="[NAME]...")
@declare.option("--from", "origin", type=declare.Choice(["history", "incidents", "prometheus"]),
                help="Where to learn from.  [default: Prometheus if --prometheus is given, else the recorder's"
                     " history]")
@declare.option("--prometheus", metavar="URL", envvar="PROMETHEUS_URL", help="A Prometheus server (PROMETHEUS_URL).")
@declare.option("--token-file", type=declare.Path(dir_okay=False), metavar="FILE", help="Bearer token for it.")
@declare.option("--match", "matchers", multiple=True, metavar="LABEL=VALUE",
                help="Only series with this label: namespace=shop; may be repeated.")
@declare.option("--per", type=declare.Choice(["unit", "process"]), default="unit", show_default=True,
                help="What gets a row of the recorder's history: units, containers and cgroups, or processes by name.")
@declare.option("--history", metavar="DIR", type=declare.Path(), envvar="OOMSIGHT_HISTORY",
                help="The recorder's store.  [default: this host's]")
@declare.option("--store", metavar="FILE", type=declare.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
                help="Incident store.  [default: the agent's]")
@declare.option("--since", metavar="WHEN", help=f"Learn from then on.  [default: {DEFAULT_DAYS:g} days ago]")
@declare.option("--until", metavar="WHEN", help="Learn up to then.  [default: now]")
@declare.option("--margin", type=declare.FloatRange(0, 400), default=15.0, show_default=True, metavar="PERCENT",
                help="Room above the highest need; more where history is short.")
@declare.option("--percentile", type=declare.FloatRange(1, 100), default=95.0, show_default=True, metavar="P",
                help="Of need, for the request.")
@declare.option("--risk", type=declare.FloatRange(0.0001, 50), default=1.0, show_default=True, metavar="PERCENT",
                help="Probability of an OOM kill within 30 days that is accepted.")
@declare.option("--patch", "patched", multiple=True, type=declare.Path(), metavar="FILE",
                help="Print a patch for this manifest, compose file or unit instead; may be repeated.")
@declare.option("-n", "--limit", type=declare.IntRange(0), default=ROWS, show_default=True, metavar="N",
                help="Most subjects to show; 0 = all.")
@format_option("text", "json", "markdown")
@width_option
@color_option
def command(  # noqa: PLR0917 - one parameter per option
    names: tuple[str, ...], origin: str | None, prometheus: str | None, token_file: str | None,
    matchers: tuple[str, ...], per: str, history: str | None, store: str | None, since: str | None, until: str | None,
    margin: float, percentile: float, risk: float, patched: tuple[str, ...], limit: int, output_format: str,
    width: int | None, color: str,
) -> int:  # fmt: skip
    """
    Recommend request, limit, memory.high, swap limit and oom_score_adj for containers, units and cgroups from what
    they needed: the highest need plus a stated margin, and at least the limit that is exceeded with the accepted risk.

    NAME picks subjects: a unit, a container, a workload (namespace/name:container), a cgroup, a process; * and ? stand
    for more; 'this host' is about its swap.
    Page cache is not need; kernel memory and tmpfs are. What leaks gets a date, not more memory.
    """
    from oomsight.pipeline.rightsize import advised
    from oomsight.rightsize.overview import IN_FULL
    from oomsight.rightsize.policy import Policy

    origin = origin or ("prometheus" if prometheus else "history")
    first, last = _period(since, until)
    policy = Policy(margin_pct=margin, request_percentile=percentile, probability=risk / 100)
    if matchers and origin != "prometheus":
        raise UsageError("--match goes with --prometheus")
    if origin == "history":
        most = None if patched else limit or None
        in_full = None if patched or output_format == "json" else IN_FULL
        found = _from_history(history, store, (first, last), per, policy, names, most, in_full)
        advices, asked, source = found.advices, found.asked, found.source
        if found.lines is not None:
            from oomsight.sinks.rightsize_overview import overview_blocks

            answer(renderer(output_format, width, color)(overview_blocks(found.lines, source, asked)))
            return Exit.OK
    else:
        usages, source = (
            _from_prometheus(prometheus, token_file, matchers, first, last) if origin == "prometheus"
            else _from_incidents(store, first if since else None, last if until else None)
        )  # fmt: skip
        wanted = {*_chosen([usage.subject for usage in usages], names)}
        advices = advised([usage for usage in usages if usage.subject in wanted], policy)
        asked = len(advices)
    if patched:
        return _patch(advices, patched)
    shown = advices[: limit or None]
    if output_format == "json":
        from oomsight.sinks.even_json import dumps
        from oomsight.sinks.rightsize import rightsize_document

        answer(dumps(rightsize_document(__version__, source, shown), 2) + "\n")
        return Exit.OK
    if not shown:
        from oomsight.naming.marked import unmark

        answer(f"Nothing to recommend: {unmark(source)} knows of no container, unit or cgroup in that time.\n")
        return Exit.OK
    from oomsight.sinks.rightsize import rightsize_blocks

    answer(renderer(output_format, width, color)(rightsize_blocks(shown, source, asked)))
    return Exit.OK


def _period(since: str | None, until: str | None) -> tuple[float, float]:
    from datetime import datetime, timedelta

    from oomsight.cli.when import period

    now = datetime.now().astimezone()
    first, last = period(since, until or "now", now)
    return (first or (last or now) - timedelta(days=DEFAULT_DAYS)).timestamp(), (last or now).timestamp()


def _chosen(subjects: Sequence[Subject], names: Sequence[str]) -> list[Subject]:
    """The subjects *names* mean, in the order of the source; all without names."""
    if not names:
        return list(subjects)

    def matches(subject: Subject, name: str) -> bool:
        known = {subject.name, subject.full_name, subject.container, subject.workload, subject.cgroup,
                 f"{subject.namespace or ''}/{subject.workload or ''}"}  # fmt: skip
        plain = {one for one in known if one}
        return name in plain or f"{name}.service" in plain or any(fnmatchcase(one, name) for one in plain)

    for name in names:
        if not any(matches(subject, name) for subject in subjects):
            from difflib import get_close_matches

            known = [subject.full_name for subject in subjects]
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "without NAME all are listed"
            raise CommandError(f"nothing is known of '{name}'; {hint}", Exit.INPUT)
    return [subject for subject in subjects if any(matches(subject, name) for name in names)]


def _from_prometheus(
    url: str | None, token_file: str | None, matchers: Sequence[str], since: float, until: float
) -> tuple[list[Usage], str]:
    from oomsight.naming.marked import Kind, mark
    from oomsight.rightsize.prometheus import usages
    from oomsight.sinks.progress import Progress
    from oomsight.sources.prometheus_api import PrometheusServer, read_token

    if url is None:
        raise UsageError("--from prometheus needs --prometheus URL (or PROMETHEUS_URL)")
    wanted = []
    for text in matchers:
        label, equals, value = text.partition("=")
        if not equals or not label.isidentifier() or not label.isascii():
            raise UsageError(f"--match: '{text}' is not LABEL=VALUE")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        wanted.append(f'{label}="{quoted}"')
    server = PrometheusServer(url, read_token(token_file) if token_file else None)
    with Progress(sys.stderr, None, f"asking {server.shown}") as progress:
        answers = server.read(since, until, wanted, lambda done, _all: progress(done))
    source = f"Prometheus at {mark(server.shown, Kind.HOST)}"
    return [_judged(usage, until) for usage in usages(answers, source)], source


def _from_incidents(store: str | None, since: float | None, until: float | None) -> tuple[list[Usage], str]:
    from oomsight.cli.stored import open_store
    from oomsight.naming.marked import Kind, mark
    from oomsight.pipeline.query import unix_seconds
    from oomsight.rightsize.incidents import usages
    from oomsight.sinks.store import default_path

    with open_store(store) as reader:
        rows = reader.rows(
            since_us=None if since is None else int(since * 1e6), until_us=None if until is None else int(until * 1e6)
        )
        events = [reader.document(row.event_id) for row in rows]
    return usages(events, unix_seconds), f"incidents in {mark(store or default_path(), Kind.FILE)}"


def _from_history(  # noqa: PLR0917
    history: str | None, store: str | None, period: tuple[float, float], per: str, policy: Policy, names: Sequence[str],
    most: int | None, in_full: int | None,
) -> Found:  # fmt: skip
    """What to set for the first *most* of those that are meant, how many these are, and where it is from."""
    from oomsight._state import default_path
    from oomsight.pipeline.rightsize import from_history

    kills: list[Usage] = []
    if store is not None or os.path.exists(default_path()):  # what reads it takes a while to load
        try:
            kills, _ = _from_incidents(store, *period)
        except CommandError:
            if store is not None:
                raise
    found = from_history(history, *period, kills, "process" if per == "process" else "cgroup", policy,
                         (lambda subjects: _chosen(subjects, names)) if names else None, most, in_full)  # fmt: skip
    if names:
        _chosen(found.meant, names)  # what is too small is not known either
    return found


def _judged(usage: Usage, now: float) -> Usage:
    from oomsight.rightsize.growth import judged

    return judged(usage, now)


def _patch(advices: Sequence[Advice], paths: Sequence[str]) -> int:
    from oomsight.pipeline.patches import PatchError, patch_file

    failed, changed = False, 0
    for path in paths:
        try:
            diff, notes = patch_file(path, advices)
        except (PatchError, OSError) as error:
            words = str(error) if isinstance(error, PatchError) else f"{path}: {(error.strerror or str(error)).lower()}"
            remark(words)
            failed = True
            continue
        for note in notes:
            remark(note)
        changed += bool(diff)
        answer(diff)
    if not changed and not failed:
        remark("nothing to change in these files")
    return Exit.INPUT if failed else Exit.OK
