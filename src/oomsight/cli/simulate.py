"""``oomsight simulate``: a machine on paper over time, or a real moment with something changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from oomsight._version import __version__
from oomsight.cli import declare
from oomsight.cli.exits import CommandError, Exit, UsageError
from oomsight.cli.options import (
    answer,
    color_option,
    exit_code_option,
    format_option,
    remark,
    renderer,
    root_option,
    stdout_surface,
    width_option,
)
from oomsight.cli.picture import plot_option, write_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomsight.simulate.scenario import Scenario
    from oomsight.simulate.whatif import Changes, Moment
    from oomsight.sinks.blocks import Block

SHIPPED: Final = ("leak", "heap", "spike", "noswap", "neighbour")
"""Scenarios that come with oomsight: the five classic causes."""

MAX_DRAWS: Final = 100_000

EXAMPLES: Final = (
    ("oomsight simulate --list", "the scenarios that come with oomsight"),
    ("oomsight simulate leak", "run one, with everything that might have helped"),
    ("oomsight simulate leak --variant limit --plot leak.svg", "one change in full, and a picture of all"),
    ("oomsight simulate my.toml --set machine.swap=2GiB", "a file of your own, one value changed"),
    ("oomsight simulate heap --sweep process.java.heap_max=512MiB:1024MiB:64MiB", "where it begins to crash"),
    ("oomsight simulate spike --monte-carlo 200 --seed 7", "how many of 200 crashes each change prevents"),
    ("oomsight simulate --from-report kern.log --set-adj postgres=-500", "who would have died instead"),
    ("oomsight simulate --live --limit /batch=1GiB --add-swap 2GiB", "who would die now if …"),
)


@declare.command("simulate", examples=EXAMPLES)
@declare.argument("scenario", required=False, metavar="[SCENARIO]")
@declare.option("--list", "show_list", is_flag=True, help="Name the scenarios that come with oomsight.")
@declare.option("--keys", "show_keys", is_flag=True, help="Every key a scenario file may hold, with range and default.")
@declare.option("--variant", "variants", multiple=True, metavar="NAME",
                help="Show this change of the scenario in full instead of the base; may be repeated.")
@declare.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                help="Change a value of the scenario: machine.swap=2GiB, cgroup./app.max=1GiB, process.web.adj=500.")
@declare.option("--sweep", metavar="KEY=FIRST:LAST:STEP", help="Run it for every value of one key.")
@declare.option("--monte-carlo", type=declare.IntRange(1, MAX_DRAWS), metavar="N",
                help="Run it N times with workloads varied by chance, and count crashes and what prevents them.")
@declare.option("--seed", type=int, default=1, show_default=True, metavar="S", help="Seed of the chance.")
@plot_option
@declare.option("--from-report", type=declare.Path(), metavar="FILE", help="What if: in an OOM report; - = stdin.")
@declare.option("--incident", type=declare.IntRange(1), metavar="N", help="The N-th report of it.  [default: the last]")
@declare.option("--live", is_flag=True, help="What if: this machine, now.")
@declare.option("--set-adj", "adjs", multiple=True, metavar="WHO=N",
                help="What if: oom_score_adj of a pid, a name or a cgroup (from /).")
@declare.option("--limit", "limits", multiple=True, metavar="CGROUP=SIZE", help="What if: memory.max of a cgroup.")
@declare.option("--add-swap", metavar="SIZE", help="What if: so much more swap.")
@declare.option("--without", type=declare.IntRange(1), multiple=True, metavar="PID",
                help="What if: without this process.")
@declare.option("--kernel", metavar="RELEASE", help="By the rules of this kernel, such as 4.19 or 2.6.32.")
@declare.option("--need", metavar="SIZE", help="What if: how much must be freed.  [default: the failed request]")
@format_option("text", "json", "markdown")
@width_option
@color_option
@root_option
@exit_code_option
def command(  # noqa: PLR0917 - one parameter for each option
    scenario: str | None, show_list: bool, show_keys: bool, variants: tuple[str, ...], settings: tuple[str, ...],
    sweep: str | None, monte_carlo: int | None, seed: int, plot: str | None, from_report: str | None,
    incident: int | None, live: bool, adjs: tuple[str, ...], limits: tuple[str, ...], add_swap: str | None,
    without: tuple[int, ...], kernel: str | None, need: str | None, output_format: str, width: int | None, color: str,
    root: str, exit_code: bool,
) -> int:  # fmt: skip
    """
    Play a machine over time: how its memory fills, whom the kernel's rules kill, and which change would have helped.

    SCENARIO is the name of one that comes with oomsight (--list) or a TOML file (--keys). With --from-report or --live
    the question is about a real moment: who would die instead if something were different.
    """
    show = _Printer(output_format, width, color)
    asked = [bool(scenario), show_list, show_keys, from_report is not None, live]
    if sum(asked) != 1:
        raise UsageError("name just one of: a scenario (see --list), --from-report FILE, --live")
    if show_list:
        from oomsight.sinks.timeline_story import list_blocks

        show.blocks(list_blocks([(name, _load(name)) for name in SHIPPED]))
        return Exit.OK
    if show_keys:
        from oomsight.sinks.timeline_story import keys_blocks

        show.blocks(keys_blocks())
        return Exit.OK
    what_if = bool(adjs or limits or add_swap or without or need)
    if scenario is None:
        if variants or settings or sweep or monte_carlo or plot:
            raise UsageError("--variant, --set, --sweep, --monte-carlo and --plot go with a scenario")
        changes = _changes(adjs, limits, add_swap, without, kernel, need)
        moment = _live(root) if live else _reported(from_report or "-", incident)
        return _what_if(moment, changes, show, exit_code)
    if what_if or incident:
        raise UsageError("--set-adj, --limit, --add-swap, --without, --need and --incident go with --from-report"
                         " or --live; change a scenario with --set")  # fmt: skip
    loaded = _configured(_load(scenario), settings, kernel)
    if sweep is not None:
        return _sweep(loaded, sweep, show)
    if monte_carlo is not None:
        return _monte_carlo(loaded, monte_carlo, seed, show)
    return _timeline(loaded, variants, plot, show, exit_code)


class _Printer:
    """How answers are printed."""

    def __init__(self, output_format: str, width: int | None, color: str) -> None:
        surface = stdout_surface(width, color)
        self.json = output_format == "json"
        self.width = surface.width
        self.unicode = surface.unicode or output_format == "markdown"  #: for bars
        self._render = renderer(output_format, width, color)

    def blocks(self, blocks: Iterable[Block]) -> None:
        """Print *blocks* as text or Markdown."""
        answer(self._render(blocks))


# -- scenarios --------------------------------------------------------------------------------------------------------


def _load(name: str) -> Scenario:
    """The scenario called *name*, or in the file *name*."""
    from oomsight.simulate.scenario import read_scenario

    if name in SHIPPED:
        from importlib.resources import files

        text = (files("oomsight.data") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
    elif os.sep not in name and "." not in name and not os.path.exists(name):
        from difflib import get_close_matches

        near = get_close_matches(name, SHIPPED, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SHIPPED)}."
        raise UsageError(f"there is no scenario '{name}'; {hint} A file is named with its ending: {name}.toml")
    else:
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    scenario, problems = read_scenario(text)
    if scenario is None:
        for problem in problems[:-1]:
            remark(f"{name}: {problem}")
        raise CommandError(f"{name}: {problems[-1]}", Exit.INPUT)
    return scenario


def _configured(scenario: Scenario, settings: Sequence[str], kernel: str | None) -> Scenario:
    """The scenario with ``--set`` and ``--kernel``."""
    from oomsight.simulate.scenario import changed
    from oomsight.simulate.whatif import era

    changes: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set: '{setting}' is not KEY=VALUE")
        changes[key.strip()] = value.strip()
    if kernel is not None:
        if era(kernel) is None:
            raise UsageError(f"--kernel: '{kernel}' is no kernel release such as 6.12 or 3.10")
        changes["run.kernel"] = kernel
    scenario, problems = changed(scenario, changes)
    if problems:
        raise UsageError(f"--set {problems[0]}")
    return scenario


def _timeline(scenario: Scenario, names: Sequence[str], plot: str | None, show: _Printer, exit_code: bool) -> int:
    from oomsight.simulate.sweep import play_variants

    known = [variant.name for variant in scenario.variants]
    for name in names:
        if name not in known:
            raise UsageError(f"--variant: there is no '{name}'; there are {', '.join(known) or 'none'}")
    played = play_variants(scenario)
    # What was asked for first; the rest is there to compare.
    shown = sorted(played, key=lambda one: names.index(one.name) if one.name in names else len(names))
    if show.json:
        from oomsight.sinks.timeline_document import timeline_json

        answer(timeline_json(__version__, shown))
    else:
        from oomsight.sinks.timeline_story import scenario_blocks

        show.blocks(scenario_blocks(shown, width=show.width, unicode=show.unicode))
    if plot is not None:
        from oomsight.sinks.plot_svg import timeline_svg

        write_picture(plot, timeline_svg(shown))
    return Exit.FOUND if exit_code and not shown[0].run.survived else Exit.OK


def _sweep(scenario: Scenario, text: str, show: _Printer) -> int:
    from oomsight.simulate.sweep import MAX_POINTS, sweep, sweep_values

    path, equals, span = text.partition("=")
    parts = span.split(":")
    values = sweep_values(*parts) if equals and len(parts) == 3 else None
    if values is None:
        raise UsageError(f"--sweep: '{text}' is not KEY=FIRST:LAST:STEP with numbers that lead from the first to"
                         f" the last in at most {MAX_POINTS:,} steps")  # fmt: skip
    result, problems = sweep(scenario, path, values)
    if result is None:
        raise UsageError(f"--sweep {problems[0]}")
    if show.json:
        from oomsight.sinks.timeline_document import sweep_json

        answer(sweep_json(__version__, scenario, result))
    else:
        from oomsight.sinks.timeline_story import sweep_blocks

        show.blocks(sweep_blocks(scenario, result))
    return Exit.OK


def _monte_carlo(scenario: Scenario, draws: int, seed: int, show: _Printer) -> int:
    from random import Random

    from oomsight.simulate.sweep import monte_carlo

    result = monte_carlo(scenario, draws, Random(seed))
    if show.json:
        from oomsight.sinks.timeline_document import monte_carlo_json

        answer(monte_carlo_json(__version__, result, seed))
    else:
        from oomsight.sinks.timeline_story import monte_carlo_blocks

        show.blocks(monte_carlo_blocks(result, seed, width=show.width,
                                       unicode=show.unicode))  # fmt: skip
    return Exit.OK


# -- real moments -----------------------------------------------------------------------------------------------------


def _changes(  # noqa: PLR0917 - one for each option
    adjs: Sequence[str], limits: Sequence[str], add_swap: str | None, without: Sequence[int], kernel: str | None,
    need: str | None,
) -> Changes:  # fmt: skip
    from oomsight.simulate.units import parse_size
    from oomsight.simulate.whatif import Changes

    def size(option: str, text: str) -> int:
        value = parse_size(text)
        if value is None:
            raise UsageError(f"{option}: '{text}' is no size such as 512MiB")
        return value

    pairs = []
    for text in adjs:
        who, _, number = text.rpartition("=")
        if not who or not number.lstrip("-").isdecimal() or not -1000 <= int(number) <= 1000:
            raise UsageError(f"--set-adj: '{text}' is not WHO=N with N from -1000 to 1000")
        pairs.append((who, int(number)))
    bounds = []
    for text in limits:
        path, _, number = text.rpartition("=")
        if not path.startswith("/"):
            raise UsageError(f"--limit: '{text}' is not CGROUP=SIZE with a path from /")
        bounds.append((path, size("--limit", number)))
    return Changes(tuple(pairs), tuple(bounds), size("--add-swap", add_swap) if add_swap else 0, tuple(without), kernel,
                   size("--need", need) if need else None)  # fmt: skip


def _reported(path: str, number: int | None) -> Moment:
    """The moment of the last (or *number*-th) report with a task table in a file."""
    from oomsight.diagnose.explain import explain_report
    from oomsight.pipeline.moments import moment_of_incident
    from oomsight.report import parse_text
    from oomsight.sources.files import FileSource, expand
    from oomsight.sources.scan import scan

    reports = []
    for ref in expand([path]):
        source = FileSource(ref)
        for window in scan(source.blocks(None)):
            reports += parse_text(window.data, source.name, first_line=window.first_line)
    if number is not None:
        if number > len(reports):
            raise CommandError(f"{path} holds {len(reports)} events, not {number}", Exit.INPUT)
        found = moment_of_incident(explain_report(reports[number - 1]))
    else:
        with_table = [report for report in reports if report.tasks]
        if not with_table:
            raise CommandError(f"{path} holds no OOM report with a task table", Exit.INPUT)
        if len(with_table) > 1:
            remark(f"{len(reports)} events; taking the last with a task table (--incident N takes another)")
        found = moment_of_incident(explain_report(with_table[-1]))
    if isinstance(found, str):
        raise CommandError(found, Exit.INPUT)
    return found


def _live(root: str) -> Moment:
    """The moment of this machine."""
    from oomsight.pipeline.moments import moment_of_snapshot
    from oomsight.score.rules import recognise
    from oomsight.sources.cgrouptree import CgroupTree, hierarchy_of
    from oomsight.sources.proctree import ProcTree

    tree = ProcTree(os.path.join(root, "proc"), os.path.join(root, "sys"), itself=False)
    snapshot = tree.snapshot()
    if snapshot.unseen and not any(process.stat.vsize_bytes for process in snapshot.processes):
        missing = f"not seen: {snapshot.unseen[0].what}"
        raise CommandError("no process but this one can be seen", Exit.UNSUPPORTED, missing)
    hierarchy = hierarchy_of(tree.proc, tree.sys, None, root)
    cgroups = {}
    if hierarchy is not None:
        mounted = CgroupTree(hierarchy)
        cgroups = mounted.below()
        named = (p if p.cgroup is None else p._replace(cgroup=mounted.absolute(p.cgroup)) for p in snapshot.processes)
        snapshot = snapshot._replace(processes=tuple(named))
    for unseen in snapshot.unseen:
        remark(f"not seen: {unseen.what}" + (f"; it takes {unseen.right}" if unseen.right else ""))
    return moment_of_snapshot(snapshot, recognise(snapshot.machine, snapshot.processes), cgroups)


def _what_if(moment: Moment, changes: Changes, show: _Printer, exit_code: bool) -> int:
    from oomsight.naming.marked import unmark
    from oomsight.simulate.whatif import problems, what_if

    wrong = problems(moment, changes)
    if wrong:
        raise CommandError(unmark(wrong[0]), Exit.INPUT)
    result = what_if(moment, changes)
    if show.json:
        from oomsight.sinks.timeline_document import what_if_json

        answer(what_if_json(__version__, result))
    else:
        from oomsight.sinks.timeline_story import what_if_blocks

        show.blocks(what_if_blocks(result))
    return Exit.FOUND if exit_code and result.after and result.avoided is None else Exit.OK
