"""``oomsight score``: who would the OOM killer kill now."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from oomsight._version import __version__
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.options import (
    Command,
    answer,
    color_option,
    format_option,
    remark,
    root_option,
    stdout_surface,
    width_option,
)

if TYPE_CHECKING:
    from oomsight.proc.process import Process
    from oomsight.score.answer import Answer, Detail
    from oomsight.score.model import Ranking, Rules, Snapshot, Unseen
    from oomsight.sources.cgrouptree import CgroupTree
    from oomsight.sources.proctree import ProcTree

ROWS: Final = 20  #: processes shown to people, unless --limit says otherwise
WATCH_SECONDS: Final = 2.0

EXAMPLES: Final = (
    ("oomsight score", "who would die if the host ran out of memory now"),
    ("oomsight score --cgroup nginx.service", "who would die if that cgroup hit its limit"),
    ("oomsight score --all-cgroups", "every limited cgroup: how full it is and who would die there"),
    ("oomsight score 1234", "why process 1234 ranks where it ranks, and what oom_score_adj would change"),
    ("oomsight score --format json | jq .ranking.victim", "for programs"),
)


class Wanted(NamedTuple):
    """What the command line asks for."""

    pids: tuple[int, ...]
    cgroup: str | None
    all_cgroups: bool
    pss: bool
    limit: int | None


@click.command("score", cls=Command, examples=EXAMPLES)
@click.argument("pids", nargs=-1, metavar="[PID]...", type=click.IntRange(1))
@format_option("text", "json", "markdown", "csv")
@click.option("--cgroup", metavar="CGROUP", help="Who dies when it hits its limit: a path, a unit, a container id.")
@click.option("--all-cgroups", is_flag=True, help="One line per limited cgroup: headroom and who would die there.")
@click.option("--pss", is_flag=True, help="Read the proportional set size of the rows shown (slow; others' need root).")
@click.option("-n", "--limit", type=click.IntRange(0), metavar="N",
              help=f"Most rows to show; 0 = all.  [default: {ROWS} for people, all for programs]")
@click.option("--watch", is_flag=False, flag_value=WATCH_SECONDS, type=click.FloatRange(0.1), metavar="SECONDS",
              help=f"Refresh until interrupted.  [default: every {WATCH_SECONDS:g} s]")
@click.option("--count", type=click.IntRange(1), metavar="N", help="With --watch: stop after N times.")
@click.option("--proc", type=click.Path(file_okay=False), metavar="DIR", help="Where /proc is.")
@click.option("--sys", "sys_", type=click.Path(file_okay=False), metavar="DIR", help="Where /sys is.")
@click.option("--cgroup-root", type=click.Path(file_okay=False), metavar="DIR",
              help="Where the memory cgroups are mounted.  [default: as /proc says]")
@root_option
@width_option
@color_option
def command(  # noqa: PLR0917 - one parameter per option
    pids: tuple[int, ...], output_format: str, cgroup: str | None, all_cgroups: bool, pss: bool, limit: int | None,
    watch: float | None, count: int | None, proc: str | None, sys_: str | None, cgroup_root: str | None, root: str,
    width: int | None, color: str,
) -> int:  # fmt: skip
    """
    Rank the processes of this host as the OOM killer would, the first to die first, by the very arithmetic of its
    kernel: resident memory, swap, page tables and oom_score_adj.

    With PID: why this process ranks where it ranks, and what oom_score_adj would move it where.
    """
    if sum((bool(pids), cgroup is not None, all_cgroups)) > 1:
        raise click.UsageError("PID, --cgroup and --all-cgroups are different questions; ask one at a time")
    if count is not None and watch is None:
        raise click.UsageError("--count goes with --watch")
    if limit is None:
        limit = ROWS if output_format in {"text", "markdown"} else None
    wanted = Wanted(pids, cgroup, all_cgroups, pss, limit or None)
    host = Host(root, proc, sys_, cgroup_root)
    said: set[Unseen] = set()
    for turn in _turns(watch, count):
        found = host.ask(wanted)
        if turn and output_format == "text" and sys.stdout.isatty():
            answer("\x1b[H\x1b[2J")  # home, clear
        answer(_rendered(found, output_format, width, color, compact=watch is not None))
        sys.stdout.flush()
        for unseen in found.unseen:
            if unseen not in said:
                remark(f"not seen: {unseen.what}" + (f"; it takes {unseen.right}" if unseen.right else ""))
                said.add(unseen)
    return Exit.OK


def _turns(seconds: float | None, count: int | None) -> Iterator[int]:
    """0, then once more every ``seconds``, ``count`` times in all."""
    yield 0
    if seconds is None:
        return
    from itertools import count as forever
    from time import sleep

    for turn in forever(1) if count is None else range(1, count):
        sleep(seconds)
        yield turn


def _rendered(found: Answer, output_format: str, width: int | None, color: str, *, compact: bool) -> str:
    if output_format == "json":
        from oomsight.sinks.score_document import score_json

        return score_json(__version__, found, indent=None if compact else 2)
    if output_format == "csv":
        from oomsight.sinks.score_csv import score_csv

        return score_csv(found)
    from oomsight.sinks.score_blocks import score_blocks

    if output_format == "markdown":
        from oomsight.sinks.markdown import render_markdown

        return render_markdown(score_blocks(found))
    from oomsight.sinks.text import render_text

    surface = stdout_surface(width, color)
    return render_text(score_blocks(found), width=surface.width, colour=surface.colour, unicode=surface.unicode)


class Host:
    """Where the host's files are, and how to get an answer from them."""

    def __init__(self, root: str, proc: str | None, sys_: str | None, cgroup_root: str | None) -> None:
        self.root, self.cgroup_root = root, cgroup_root
        self.proc = proc or os.path.join(root, "proc")
        self.sys = sys_ or os.path.join(root, "sys")

    def ask(self, wanted: Wanted) -> Answer:
        """Take a snapshot and answer."""
        from oomsight.score.answer import Answer
        from oomsight.score.rules import recognise
        from oomsight.sources.proctree import ProcTree

        tree = ProcTree(self.proc, self.sys, helper=True)
        snapshot = tree.snapshot()
        rules = recognise(snapshot.machine, snapshot.processes)
        found = Answer(snapshot=snapshot, rules=rules, limit=wanted.limit, unseen=snapshot.unseen)
        if wanted.pids:
            found = self._details(found, tree, wanted.pids)
        elif wanted.all_cgroups:
            found = self._all_cgroups(found, tree)
        else:
            found = self._ranking(found, tree, wanted.cgroup)
        return self._pss(found, tree) if wanted.pss else found

    # --- the three questions

    def _ranking(self, found: Answer, tree: ProcTree, cgroup: str | None) -> Answer:
        from oomsight.score.outcome import predict
        from oomsight.score.ranking import rank_cgroup, rank_host

        snapshot, rules, asked = found.snapshot, found.rules, None
        if cgroup is None:
            ranking = rank_host(snapshot, rules)
            snapshot = _sharing(snapshot, ranking)
            if ranking.victim is not None and ranking.victim.process.cgroup is not None:
                cgroups = self._tree(tree)
                chain = cgroups.chain(ranking.victim.process.cgroup) if cgroups is not None else {}
                snapshot = replace(snapshot, cgroups=chain)  # memory.oom.group may widen the kill
        else:
            cgroups = self._needed_tree(tree)
            asked, limited, snapshot = _limited(snapshot, cgroups, cgroup)
            ranking = rank_cgroup(snapshot, rules, limited)
            snapshot = _sharing(snapshot, ranking)
        return replace(
            found, snapshot=snapshot, ranking=ranking, prediction=predict(ranking, snapshot), asked_cgroup=asked
        )

    def _all_cgroups(self, found: Answer, tree: ProcTree) -> Answer:
        from oomsight.score.limits import limited_cgroups
        from oomsight.score.model import Unseen

        cgroups = self._needed_tree(tree)
        snapshot = replace(found.snapshot, cgroups=cgroups.below())
        unseen = tuple(found.unseen)
        if cgroups.denied:
            unseen += (Unseen(f"{cgroups.denied:,} cgroups could not be listed", "root"),)
        return replace(found, snapshot=snapshot, cgroups=limited_cgroups(snapshot, found.rules), unseen=unseen)

    def _details(self, found: Answer, tree: ProcTree, pids: tuple[int, ...]) -> Answer:
        present = {process.pid: process for process in found.snapshot.processes}
        missing = [pid for pid in pids if pid not in present]
        if missing:
            hint = f"not seen: {found.unseen[0].what}" if found.unseen else None
            raise CommandError(f"there is no process {missing[0]}", Exit.INPUT, hint)
        kernel = next((pid for pid in pids if present[pid].stat.is_kthread), None)
        if kernel is not None:
            raise CommandError(f"{kernel} is a kernel thread, which is never killed", Exit.INPUT)
        cgroups = self._tree(tree)
        details = [_detail(found.snapshot, found.rules, cgroups, present[pid]) for pid in pids]
        return replace(found, details=details)

    # --- helpers

    def _tree(self, tree: ProcTree) -> CgroupTree | None:
        from oomsight.sources.cgrouptree import CgroupTree, find_hierarchy

        # Below another root the mounts that count are those of its first process.
        mounts = tree.mounts("self" if self.root == "/" else "1")
        hierarchy = find_hierarchy(mounts, self.cgroup_root, self.root)
        if hierarchy is None and self.cgroup_root is None:
            hierarchy = find_hierarchy((), os.path.join(self.sys, "fs/cgroup"))
        return None if hierarchy is None else CgroupTree(hierarchy)

    def _needed_tree(self, tree: ProcTree) -> CgroupTree:
        found = self._tree(tree)
        if found is None:
            where = self.cgroup_root or "this host"
            raise CommandError(f"there are no memory cgroups on {where}", Exit.UNSUPPORTED, "try --cgroup-root DIR")
        return found

    def _pss(self, found: Answer, tree: ProcTree) -> Answer:
        from oomsight.score.model import Unseen

        shown = [detail.host.row for detail in found.details]
        if found.ranking is not None:
            shown = list(found.ranking.rows[: found.limit])
        pss, denied = tree.smaps_rollup(row.process.pid for row in shown)
        unseen = tuple(found.unseen)
        if denied:
            unseen += (Unseen(f"PSS of {denied:,} processes of other users", "root or CAP_SYS_PTRACE"),)
        return replace(found, pss=pss, unseen=unseen)


def _sharing(snapshot: Snapshot, ranking: Ranking) -> Snapshot:
    """Return the snapshot with those marked who use the victim's memory."""
    from oomsight.sources.proctree import with_sharers

    if ranking.victim is None:
        return snapshot
    return replace(snapshot, processes=with_sharers(snapshot.processes, ranking.victim.process.pid))


def _limited(snapshot: Snapshot, cgroups: CgroupTree, text: str) -> tuple[str | None, str, Snapshot]:
    """Return the cgroup asked for if it has no limit itself, the one whose limit counts, and the snapshot of it."""
    from oomsight.score.limits import nearest_limit

    paths = cgroups.find(text)
    if not paths:
        raise CommandError(f"there is no memory cgroup {text}", Exit.INPUT, "oomsight score --all-cgroups lists them")
    if len(paths) > 1:
        some = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
        raise CommandError(f"{text} may be {some}", Exit.USAGE, "name one by its whole path")
    path = paths[0]
    chain = cgroups.chain(path)
    limited = nearest_limit(replace(snapshot, cgroups=chain), path)
    counted = path if limited is None else limited.path
    return None if limited is not None and limited.path == path else path, counted, replace(
        snapshot, cgroups=chain | cgroups.below(counted)
    )


def _detail(snapshot: Snapshot, rules: Rules, cgroups: CgroupTree | None, process: Process) -> Detail:
    from oomsight.proc.memcg import ancestors
    from oomsight.score.answer import Detail
    from oomsight.score.factors import explain_process
    from oomsight.score.ranking import rank_cgroup, rank_host

    host = explain_process(rank_host(snapshot, rules), snapshot, process.pid)
    assert host is not None  # it is in the snapshot and no kernel thread
    if cgroups is None or process.cgroup is None:
        return Detail(host=host)
    within = replace(snapshot, cgroups=cgroups.chain(process.cgroup))
    limited = [path for path in ancestors(process.cgroup) if path in within.cgroups and _has_limit(within, path)]
    inner = (explain_process(rank_cgroup(within, rules, path), within, process.pid) for path in limited)
    return Detail(host=host, cgroups=[factors for factors in inner if factors is not None])


def _has_limit(snapshot: Snapshot, path: str) -> bool:
    return isinstance(snapshot.cgroups[path].limit_bytes, int)
