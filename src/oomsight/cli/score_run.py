"""
``oomsight score`` behind its options: looking at the host, answering, printing.

Nothing of click is needed here: ``oomsight score`` alone has no options to understand, so
:mod:`oomsight.cli.entry` runs :func:`alone` without it.
"""

from __future__ import annotations

import os
import sys

from oomsight._named import NamedTuple
from oomsight._version import __version__
from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.speak import answer, can_be_drawn_over, remark, renderer
from oomsight.sources.procreading import FIRST_ROWS

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from oomsight.proc.memcg import Memcg
    from oomsight.proc.process import Process
    from oomsight.score.answer import Answer, Detail
    from oomsight.score.model import Ranked, Ranking, Rules, Snapshot, Unseen
    from oomsight.sources.cgrouptree import CgroupTree
    from oomsight.sources.procreading import Reading
    from oomsight.sources.proctree import ProcTree

ROWS: Final = FIRST_ROWS
_LINES_AROUND: Final = 10  # of the headline and what is said above and below the table
_FEWEST_ROWS: Final = 3
OWN_PROC: Final = ("/", "/proc")  # of the kernel this runs on
_NEEDED_LATER: Final = (
    "score.answer", "score.rules", "score.contest", "score.ranking", "score.outcome", "sources.proctree",
    "sinks.score_blocks", "sinks.text",
)  # fmt: skip


class Wanted(NamedTuple):
    """What the command line asks for."""

    pids: tuple[int, ...]
    cgroup: str | None
    all_cgroups: bool
    pss: bool
    limit: int | None
    few: bool = False  #: who is shown matters, not everybody who is ranked
    lasting: bool = False  #: who asks is not gone in a moment, but one of those who may die


class Shown(NamedTuple):
    """How the answer is printed."""

    output_format: str = "text"
    width: int | None = None
    color: str = "auto"
    watch_seconds: float | None = None
    times: int | None = None


def alone(begun: Reading | None) -> int:
    """``oomsight score`` with nothing else on the command line. ``begun``: its processes are being read already."""
    for module in _NEEDED_LATER:  # loaded while the helper reads: later it would have nothing to do meanwhile
        __import__(f"oomsight.{module}")
    return show(Host("/", None, None, None, begun), Wanted((), None, False, False, ROWS, few=True), Shown())


def show(host: Host, wanted: Wanted, shown: Shown) -> int:
    """Ask and print, as often as ``shown`` says."""
    if shown.watch_seconds is not None and shown.output_format == "text" and can_be_drawn_over():
        return _watch(host, wanted, shown, shown.watch_seconds)
    said: set[Unseen] = set()
    for _ in _turns(shown):
        found = host.ask(wanted)
        compact = shown.watch_seconds is not None
        answer(rendered(found, shown.output_format, shown.width, shown.color, compact=compact))
        sys.stdout.flush()
        _say(found.unseen, said)
    return Exit.OK


def _watch(host: Host, wanted: Wanted, shown: Shown, seconds: float) -> int:
    """Draw the answer again and again until somebody quits; the last one stays."""
    from oomsight.cli.screen import watched

    unseen: tuple[Unseen, ...] = ()

    def ask(rows: int) -> str:
        nonlocal unseen
        fitting = max(rows - _LINES_AROUND, _FEWEST_ROWS)
        found = host.ask(wanted._replace(limit=min(wanted.limit or fitting, fitting)))
        unseen = tuple(found.unseen)
        return rendered(found, "text", shown.width, shown.color, compact=True)

    answer(watched(ask, seconds, shown.times))
    sys.stdout.flush()
    _say(unseen, set())
    return Exit.OK


def _turns(shown: Shown) -> Iterable[int]:
    if shown.watch_seconds is None:
        return (0,)
    from oomsight.cli.screen import turns

    return turns(shown.watch_seconds, shown.times)


def _say(unseen: Iterable[Unseen], said: set[Unseen]) -> None:
    """Say what was not seen and is not yet among what was ``said``."""
    for one in unseen:
        if one not in said:
            remark(f"not seen: {one.what}" + (f"; it takes {one.right}" if one.right else ""))
            said.add(one)


def rendered(found: Answer, output_format: str, width: int | None, color: str, *, compact: bool) -> str:
    """Return the answer in the format asked for; ``compact``: JSON on one line."""
    if output_format == "json":
        from oomsight.sinks.score_document import score_json

        return score_json(__version__, found, indent=None if compact else 2)
    if output_format == "csv":
        from oomsight.sinks.score_csv import score_csv

        return score_csv(found)
    from oomsight.sinks.score_blocks import score_blocks

    return renderer(output_format, width, color)(score_blocks(found))


class Host:
    """Where the host's files are, and how to get an answer from them."""

    def __init__(
        self, root: str, proc: str | None, sys_: str | None, cgroup_root: str | None, begun: Reading | None = None
    ) -> None:
        self.root, self.cgroup_root = root, cgroup_root
        self._begun = begun
        self.proc = proc or os.path.join(root, "proc")
        self.sys = sys_ or os.path.join(root, "sys")

    def ask(self, wanted: Wanted) -> Answer:
        """Take a snapshot and answer."""
        from oomsight.score.answer import Answer
        from oomsight.score.rules import recognise
        from oomsight.sources.proctree import ProcTree

        begun, self._begun = self._begun, None
        itself = wanted.lasting or os.getpid() in wanted.pids
        tree = ProcTree(self.proc, self.sys, helper=True, begun=begun, itself=itself)
        whole = bool(wanted.pids) or wanted.cgroup is not None or wanted.all_cgroups  # every process's cgroup decides
        few = wanted.few and not whole and (self.root, self.proc) == OWN_PROC
        snapshot = tree.snapshot(cgroups=whole, top=max(wanted.limit or 0, 2) if few else 0)
        if whole:
            snapshot = snapshot._replace(processes=self._named(snapshot.processes, tree))
        rules = recognise(snapshot.machine, snapshot.processes)
        found = Answer(snapshot=snapshot, rules=rules, limit=wanted.limit, unseen=snapshot.unseen)
        if wanted.pids:
            found = self._details(found, tree, wanted.pids)
        elif wanted.all_cgroups:
            found = self._all_cgroups(found, tree)
        elif wanted.cgroup is not None:
            found = self._cgroup(found, tree, wanted.cgroup)
        else:
            found = self._ranking(found, tree)
        return self._pss(found, tree) if wanted.pss else found

    # --- the questions

    def _ranking(self, found: Answer, tree: ProcTree) -> Answer:
        from oomsight.score.outcome import predict
        from oomsight.score.ranking import rank_host, settled
        from oomsight.score.rules import recognise

        snapshot, rules = found.snapshot, found.rules
        ranking = rank_host(snapshot, rules)
        if not settled(ranking, snapshot, found.limit or 0):
            snapshot = tree.snapshot(cgroups=False)
            rules = recognise(snapshot.machine, snapshot.processes)
            ranking = rank_host(snapshot, rules)
        shown = {row.process.pid for row in (*ranking.rows[: found.limit], *ranking.exempt[: found.limit])}
        ranking = self._in_cgroups(ranking, tree, shown)
        snapshot = _sharing(snapshot, ranking)
        if ranking.victim is not None and self._dies_with_others(tree, ranking.victim.process.cgroup):
            chain = self._needed_tree(tree).chain(ranking.victim.process.cgroup or "/")
            everybody = tree.snapshot().processes if snapshot.passed_over else tree.with_cgroups(
                snapshot.processes, [process.pid for process in snapshot.processes]
            )
            everybody = self._named(everybody, tree)
            snapshot = _sharing(snapshot._replace(processes=everybody, cgroups=chain), ranking)
        return found._replace(
            snapshot=snapshot, rules=rules, ranking=ranking, prediction=predict(ranking, snapshot),
            own_limit=self._own_limit(snapshot, tree),
        )  # fmt: skip

    def _own_limit(self, snapshot: Snapshot, tree: ProcTree) -> Memcg | None:
        """Of who asks, in a container: it is likelier to be hit than the whole host's memory."""
        from oomsight.sources.proctree import OUTSIDE

        if self.root != "/" or OUTSIDE not in snapshot.unseen:
            return None
        cgroups, own = self._tree(tree), tree.cgroup(os.getpid())
        if cgroups is None or own is None:
            return None
        limited = cgroups.nearest_limit(own)
        return limited._replace(path="/") if limited is not None and limited.path == cgroups.top else limited

    def _dies_with_others(self, tree: ProcTree, cgroup: str | None) -> bool:
        """Whether memory.oom.group, which is of version 2, may widen the kill of a process in ``cgroup``."""
        if cgroup is None or (self.root == "/" and self.cgroup_root is None and tree.has_v1_memory()):
            return False
        cgroups = self._tree(tree)
        return cgroups is not None and any(memcg.oom_group for memcg in cgroups.chain(cgroup).values())

    def _cgroup(self, found: Answer, tree: ProcTree, cgroup: str) -> Answer:
        from oomsight.score.outcome import predict
        from oomsight.score.ranking import rank_cgroup

        asked, limited, snapshot = _limited(found.snapshot, self._needed_tree(tree), cgroup)
        ranking = rank_cgroup(snapshot, found.rules, limited)
        snapshot = _sharing(snapshot, ranking)
        prediction = predict(ranking, snapshot)
        return found._replace(snapshot=snapshot, ranking=ranking, prediction=prediction, asked_cgroup=asked)

    def _all_cgroups(self, found: Answer, tree: ProcTree) -> Answer:
        from oomsight.score.limits import limited_cgroups
        from oomsight.score.model import Unseen

        cgroups = self._needed_tree(tree)
        snapshot = found.snapshot._replace(cgroups=cgroups.below())
        unseen = tuple(found.unseen)
        outside = sum(cgroups.directory(p.cgroup) is None for p in snapshot.processes if p.cgroup)
        if outside:
            what = f"limits of {outside:,} processes whose cgroups are outside of what is mounted here"
            unseen += (Unseen(what, "the host's cgroups (--cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro)"),)
        if cgroups.denied:
            unseen += (Unseen(f"{cgroups.denied:,} cgroups could not be listed", "root"),)
        return found._replace(snapshot=snapshot, cgroups=limited_cgroups(snapshot, found.rules), unseen=unseen)

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
        return found._replace(details=details)

    # --- helpers

    def _named(self, processes: tuple[Process, ...], tree: ProcTree) -> tuple[Process, ...]:
        """*processes* with their cgroups as the mounted tree names them."""
        if not any(process.cgroup is not None and process.cgroup.startswith("/..") for process in processes):
            return processes
        cgroups = self._tree(tree)
        return processes if cgroups is None else tuple(
            process if process.cgroup is None else process._replace(cgroup=cgroups.absolute(process.cgroup))
            for process in processes
        )

    def _in_cgroups(self, ranking: Ranking, tree: ProcTree, pids: set[int]) -> Ranking:
        """Return the ranking with the cgroups of ``pids`` read."""
        rows, exempt = ranking.rows, ranking.exempt
        shown = [row.process for row in (*rows, *exempt) if row.process.pid in pids]
        placed = {process.pid: process for process in self._named(tuple(map(tree.in_cgroup, shown)), tree)}

        def read(rows: Iterable[Ranked]) -> Iterator[Ranked]:
            for row in rows:
                yield row._replace(process=placed[row.process.pid]) if row.process.pid in placed else row

        return ranking._replace(rows=tuple(read(rows)), exempt=tuple(read(exempt)))

    def _tree(self, tree: ProcTree) -> CgroupTree | None:
        from oomsight.sources.cgrouptree import CgroupTree, hierarchy_of

        hierarchy = hierarchy_of(tree.proc, self.sys, self.cgroup_root, self.root)
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
        return found._replace(pss=pss, unseen=unseen)


def _sharing(snapshot: Snapshot, ranking: Ranking) -> Snapshot:
    """Return the snapshot with those marked who use the victim's memory."""
    from oomsight.sources.proctree import with_sharers

    if ranking.victim is None:
        return snapshot
    return snapshot._replace(processes=with_sharers(snapshot.processes, ranking.victim.process.pid))


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
    limited = nearest_limit(snapshot._replace(cgroups=chain), path)
    counted = path if limited is None else limited.path
    return None if limited is not None and limited.path == path else path, counted, snapshot._replace(
        cgroups=chain | cgroups.below(counted)
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
    within = snapshot._replace(cgroups=cgroups.chain(process.cgroup))
    limited = [path for path in ancestors(process.cgroup) if path in within.cgroups and _has_limit(within, path)]
    inner = (explain_process(rank_cgroup(within, rules, path), within, process.pid) for path in limited)
    return Detail(host=host, cgroups=[factors for factors in inner if factors is not None])


def _has_limit(snapshot: Snapshot, path: str) -> bool:
    return isinstance(snapshot.cgroups[path].limit_bytes, int)
