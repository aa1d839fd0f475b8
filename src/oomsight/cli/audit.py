"""``oomsight audit``: settings, units and manifests that will get something killed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from oomsight._version import __version__
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.options import (
    answer,
    color_option,
    format_option,
    remark,
    renderer,
    root_option,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.audit.model import Severity
    from oomsight.audit.report import AuditReport
    from oomsight.audit.settings import Config
    from oomsight.sinks.blocks import Block

EXAMPLES: Final = (
    ("oomsight audit", "this host: swap, sysctls, logs, protections, who could take all memory"),
    ("oomsight audit deploy/", "a directory: manifests, compose files, Dockerfiles, units, found by their content"),
    ("oomsight audit --fail-on high .", "in CI: status 3 if anything of severity high is found"),
    ("helm template mychart | oomsight audit -", "what Helm renders, or kubectl kustomize, or kubectl get -o yaml"),
    ("oomsight audit --format sarif . > oomsight.sarif", "for code scanning"),
    ("oomsight audit --explain OS404", "what a rule means, and how to mend it"),
    ("oomsight audit --explain-incident last", "which rules would have prevented the last stored kill"),
)


@declare.command("audit", examples=EXAMPLES)
@declare.argument("paths", nargs=-1, metavar="[PATH]...")
@declare.option(
    "--fail-on", type=declare.Choice(["high", "medium", "low", "info"]), metavar="SEVERITY",
    help="Exit with status 3 if something as bad or worse is found: high, medium, low, info.",
)  # fmt: skip
@declare.option("--select", multiple=True, metavar="RULES", help="Rules to run: ids or how they begin, OS4,OS301.")
@declare.option("--ignore", multiple=True, metavar="RULES", help="Rules to leave out.")
@declare.option(
    "--config", "config_path", type=declare.Path(), metavar="FILE",
    help="Configuration.  [default: .oomsight.toml here or in the directory audited]",
)  # fmt: skip
@declare.option("--all", "everything", is_flag=True, help="Show every finding of a rule that has many.")
@declare.option("--explain", "explain_id", metavar="RULE", help="Say what a rule means and how to mend what it finds.")
@declare.option("--explain-incident", "incident", metavar="ID",
                help="Say which rules would have prevented a stored kill, played again in the simulator; ID or 'last'.")
@declare.option("--store", metavar="FILE", type=declare.Path(dir_okay=False), envvar="OOMSIGHT_STORE",
                help="Incident store for it.  [default: the agent's]")
@declare.option("--jobs", type=declare.IntRange(1, 64), metavar="N", help="Processes.  [default: one for each core]")
@format_option("text", "json", "markdown", "sarif", "junit")
@width_option
@color_option
@root_option
def command(  # noqa: PLR0917 - click passes them by name
    paths: tuple[str, ...], fail_on: str | None, select: tuple[str, ...], ignore: tuple[str, ...],
    config_path: str | None, everything: bool, explain_id: str | None, incident: str | None, store: str | None,
    jobs: int | None, output_format: str, width: int | None, color: str, root: str,
) -> int:  # fmt: skip
    """
    Find what will get something OOM-killed: missing and wrong limits, heaps bigger than their limit, shared memory that
    counts, wrong protections. Without PATH: this host, its swap, sysctls, logs and big processes.

    Files (directories, patterns, - for standard input): Kubernetes manifests of any kind with a pod template, rendered
    charts, LimitRange and ResourceQuota, compose files, Dockerfiles, systemd units with their drop-ins.

    To accept a finding write the reason behind it: # oomsight: ignore[OS404] why
    """
    if explain_id is not None:
        answer(renderer(output_format, width, color)(_explained(explain_id)))
        return Exit.OK
    if incident is not None:
        return _prevention(incident, store, output_format, width, color)
    config = _config(paths, config_path)
    chosen, left_out = _rules(select) or config.select, _rules(ignore)
    _check((*chosen, *left_out))
    report = _audited(paths, config, chosen, left_out, jobs, root)
    for line in (*report.failed, *report.remarks):
        remark(line)
    if report.failed and not report.seen and not report.files:
        raise CommandError("nothing to audit", Exit.INPUT)
    answer(_rendered(report, output_format, width, color, everything))
    if report.failed:
        return Exit.INPUT
    limit = _severity(fail_on) or config.fail_on
    worst = report.worst()
    return Exit.FOUND if limit is not None and worst is not None and worst >= limit else Exit.OK


def _prevention(incident_id: str, store: str | None, output_format: str, width: int | None, color: str) -> int:
    """What would have prevented a stored kill."""
    from oomsight.cli.stored import one_incident, open_store
    from oomsight.pipeline.prevention import replay
    from oomsight.sinks.prevention import prevention_blocks, prevention_document

    if output_format not in {"text", "json", "markdown"}:
        raise UsageError("--explain-incident prints text, json or markdown")
    with open_store(store) as reader:
        row = one_incident(reader, incident_id)
        replayed = replay(reader.raw(row.event_id), row.id)
    if replayed is None:
        raise CommandError(f"the lines of {row.id} are not stored, so it cannot be played again", Exit.INPUT)
    headline = replayed.incident.headline
    if output_format == "json":
        import json

        document = prevention_document(__version__, row.id, headline, replayed.found, replayed.missing)
        answer(json.dumps(document, indent=2) + "\n")
        return Exit.OK
    blocks = prevention_blocks(headline, replayed.found, replayed.missing)
    answer(renderer(output_format, width, color)(blocks))
    return Exit.OK


def _audited(  # noqa: PLR0917
    paths: tuple[str, ...], config: Config, select: tuple[str, ...], ignore: tuple[str, ...], jobs: int | None,
    root: str,
) -> AuditReport:  # fmt: skip
    from dataclasses import replace

    config = replace(config, select=select)
    if not paths:
        from oomsight.pipeline.audit_host import audit_host

        return audit_host(config, ignore, root)
    from oomsight.pipeline.audit import Plan, audit_paths
    from oomsight.sinks.progress import Progress

    meter: list[Progress] = []

    def begin(total_bytes: int) -> Progress:
        meter.append(Progress(sys.stderr, total_bytes, "auditing"))
        return meter[0]

    try:
        return audit_paths(Plan(paths, config, ignore, jobs or _cores()), begin)
    finally:
        for line in meter:
            line.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _rules(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip().upper() for word in words for name in word.split(",") if name.strip())


def _check(words: tuple[str, ...]) -> None:
    from oomsight.audit.engine import nobody
    from oomsight.audit.registry import rules

    if wrong := nobody(words, rules()):
        raise CommandError(
            f"no rule is called {', '.join(wrong)}", Exit.USAGE, "rules are listed in docs/reference/audit"
        )  # fmt: skip


def _severity(word: str | None) -> Severity | None:
    from oomsight.audit.model import SEVERITIES

    return SEVERITIES[word] if word else None


def _config(paths: tuple[str, ...], given: str | None) -> Config:
    """Read the configuration file: the one given, else that of this directory, else that of a directory audited."""
    from oomsight.audit.settings import FILE_NAME, Config, read_config

    places = [given] if given else [FILE_NAME, *(os.path.join(p, FILE_NAME) for p in paths if os.path.isdir(p))]
    place = next((path for path in places if given or os.path.exists(path)), None)
    if place is None:
        return Config()
    import tomllib

    try:
        with open(place, "rb") as file:
            values = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{place}: {error}", Exit.USAGE) from None
    config, problems = read_config(values)
    if problems:
        raise CommandError(f"{place}: {'; '.join(problems)}", Exit.USAGE)
    return config


def _explained(rule_id: str) -> list[Block]:
    from difflib import get_close_matches

    from oomsight.audit.registry import rules
    from oomsight.sinks.audit_story import rule_story

    ids = [row.id for row in rules()]
    if rule_id.upper() not in ids:
        near = get_close_matches(rule_id.upper(), ids, 1)
        hint = f"did you mean {near[0]}?" if near else "rules are listed in docs/reference/audit"
        raise CommandError(f"no rule is called '{rule_id}'", Exit.USAGE, hint)
    return list(rule_story(rule_id.upper()))


def _rendered(report: AuditReport, output_format: str, width: int | None, color: str, everything: bool) -> str:
    if output_format in {"json", "sarif", "junit"}:
        from oomsight.sinks import audit_json

        write = {"json": audit_json.audit_json, "sarif": audit_json.sarif, "junit": audit_json.junit}
        return write[output_format](report)
    from oomsight.sinks.audit_story import audit_story

    return renderer(output_format, width, color)(audit_story(report, everything=everything))
