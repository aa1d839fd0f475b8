"""
The files of many processes, read quickly: by two processes at once, the second of which starts before anything else.

The kernel needs longer to write /proc/PID/status and its like than we to read them, and it can write two at once. A
:class:`Reading` therefore forks a helper; both take the next few processes from one pipe until there are none left, so
neither waits for the other. ``oomsight score`` begins one as its first act and loads the rest of itself meanwhile.

Who asks for the first few of a ranking need not read everything of everybody. The kernel tells each process's badness
itself, in /proc/PID/oom_score, rounded: whoever has a lower one there has no more points. Where that leaves too many,
as it rounds to 1/1500 of all memory, what badness counts is read of everybody
(:data:`~oomsight.sources.procread.Brief`), and a :class:`~oomsight.score.contest.Contest` says who may be among the
first. Only those are read whole.

Nothing is imported here that takes time.
"""

from __future__ import annotations

import gc
import marshal
import os

from oomsight.sources.procread import NEVER, own_pid, pids_of, read_briefs, read_rows, read_rss, read_scores

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would take longer to load than this module
    from collections.abc import Callable
    from typing import Any

    from oomsight.proc.fields import Brief
    from oomsight.score.contest import Contest
    from oomsight.sources.procread import Row

FIRST_ROWS = 20  #: processes of a ranking that people are shown unless they ask for another number
WORTH_A_HELPER = 400  #: processes or threads from which a fork pays
_FEW = 4  # times what is shown: so many are read whole without asking further
_SAMPLE = 48  # processes whose oom_score tells whether that of all would tell much
_MAX_CHUNKS = 8192  # two bytes each have to fit into a pipe of 64 KiB, and into four pages where pipes are short
_CHUNK = 16  # processes that are taken at once


def ranks_like_oom_score(release: str, machine: str) -> bool:
    """
    Whether a lower oom_score surely means that nothing of a process matters to who dies first. From 6.2 on: no child is
    sacrificed for its parent (until 5.1), and counters err by a bound that does not depend on threads (until 6.1). On
    a ``machine`` of 32 bits the number overflows.
    """
    if "64" not in machine and machine != "s390x":
        return False
    parts = release.split(".", 2)
    try:
        return (int(parts[0]), int(parts[1])) >= (6, 2)
    except (ValueError, IndexError):
        return False


def _tasks(proc: str) -> int:
    """Threads of the host, quickly; 0 = not known."""
    try:
        with open(f"{proc}/loadavg", "rb", buffering=0) as file:
            return int(file.read().split(b"/", 1)[1].split(None, 1)[0])
    except (OSError, ValueError, IndexError):
        return 0


def scores_differ(proc: str, pids: list[int]) -> bool:
    """Whether oom_score tells processes apart, by a few of them: most do not have the highest."""
    step = len(pids) // _SAMPLE + 1
    scores = sorted(filter(None, read_scores(proc, pids[::step])[0].values()))
    return not scores or scores[len(scores) // 2] < scores[-1]


def sizes_differ(proc: str, pids: list[int]) -> bool:
    """Whether some of ``pids`` have much more memory than most, by a few of them."""
    sizes = sorted(brief[1] for brief in read_briefs(proc, pids[:: len(pids) // _SAMPLE + 1])[0])
    return not sizes or sizes[-1] > 2 * sizes[len(sizes) // 2]


def shortlist(proc: str, pids: list[int], top: int) -> tuple[list[int], dict[int, int], int, int]:
    """
    Those of ``pids`` that may be among the ``top`` first to die, or are exempt or not ours to see; the oom_score of
    each that told it; the lowest among the eligible of them; and how many others there are, all with a lower one.
    """
    scores, unread = read_scores(proc, pids)
    eligible = sorted(filter(None, scores.values()), reverse=True)
    lowest = eligible[:top][-1] if eligible else 0
    chosen = [pid for pid, score in scores.items() if not 0 < score < lowest] + unread
    return sorted(chosen), scores, lowest, len(scores) + len(unread) - len(chosen)


class Reading:
    """
    All processes of ``proc``, being read from now on, each with its cgroup or without. ``helper``: share the work with
    a forked process if it pays; only for programs with one thread, as fork() keeps no other. ``top``: only those need
    be read that may be among so many first of a ranking, if this kernel lets one know (:attr:`passed_over`,
    :attr:`lowest` and :attr:`near` tell of the others). ``itself``: this process is one of them. Raises
    :class:`OSError` if there is no such tree.
    """

    def __init__(
        self, proc: str = "/proc", *, helper: bool = True, cgroups: bool = True, top: int = 0, itself: bool = True
    ) -> None:
        self.proc, self._cgroups = proc, cgroups
        self._left_out = set() if itself else {own_pid(proc)}
        self.pids: list[int] = []
        self.passed_over = 0  #: processes not read, as their oom_score is below
        self.lowest = 0  #: the lowest oom_score of those that were, if the others have a lower one
        self.near = 0  #: how many of those not read could die first by the error of the kernel's counters
        self._brief = False  # what is read first is the brief of each,
        self._stat = False  # with what stat says
        self._scores: dict[int, int] = {}
        host = os.uname()
        self._top = top if ranks_like_oom_score(host.release, host.machine) else 0
        self._child = 0
        self._helper = helper and len(os.sched_getaffinity(0)) > 1 and _tasks(proc) >= WORTH_A_HELPER
        if self._helper:
            self._fork()
        else:
            self._list()

    def _list(self) -> None:
        self.pids = [pid for pid in pids_of(self.proc) if pid not in self._left_out]

    def rows(self, contest: Callable[[list[Brief]], Contest] | None = None) -> tuple[list[Row], int]:
        """
        What :func:`~oomsight.sources.procread.read_rows` says of all of them, or of those that may be among the first
        ``top``; then who that is by their briefs is what ``contest`` knows. To be called once.
        """
        collecting = gc.isenabled()
        gc.disable()  # thousands of tuples of numbers and texts: walking them for cycles finds none
        try:
            if self._child:
                found, rest = self._join()
            else:
                self._choose()
                found, rest = self._read(self.pids)
            if self._brief:
                self._brief = False
                pids = self._first(contest(found), len(found)) if contest else [brief[0] for brief in found]
                found, rest = self._read(sorted(pids + rest))
            return (self._with_lenders(found) if self.passed_over else found), rest
        finally:
            if collecting:
                gc.enable()

    def _choose(self) -> None:
        """Settle how the processes are read, and by that which."""
        if not self.pids:
            self._list()
        if len(self.pids) < WORTH_A_HELPER:
            self._top = 0
        choice = self.pids, self._scores, self.lowest, self.passed_over
        if self._top and scores_differ(self.proc, self.pids):
            choice = shortlist(self.proc, self.pids, self._top)
        brief = bool(self._top) and len(choice[0]) > _FEW * self._top
        self._chosen((*choice, brief, brief and not sizes_differ(self.proc, choice[0])))

    def _chosen(self, choice: tuple[list[int], dict[int, int], int, int, bool, bool]) -> None:
        self.pids, self._scores, self.lowest, self.passed_over, self._brief, self._stat = choice

    def _first(self, contest: Contest, count: int) -> list[int]:
        """Those of ``count`` briefs who are first in ``contest``."""
        batch = 2 * self._top
        while pids := contest.open():
            pids = pids[:batch]
            found = self._both(pids) if self._helper and len(pids) >= WORTH_A_HELPER else read_rss(self.proc, pids)
            contest.learn(len(pids), found)
            batch = count
        first = contest.first()
        self.passed_over += len(contest) - len(first)
        self.near = contest.near
        return first

    def _both(self, pids: list[int]) -> list[tuple[int, int, int]]:
        """What read_rss() says of ``pids``, half of them read by another helper."""
        half = len(pids) // 2
        child, reading = _helper(lambda: read_rss(self.proc, pids[half:]))
        mine = read_rss(self.proc, pids[:half])
        with open(reading, "rb") as pipe:
            theirs = _loaded(pipe.read())
        os.waitpid(child, 0)
        return mine + (read_rss(self.proc, pids[half:]) if theirs is None else theirs)

    def _with_lenders(self, rows: list[Row]) -> list[Row]:
        """*rows* and the parents of those that may be borrowing memory inside vfork: they have a score of 0 then."""
        there = {row[0][0] for row in rows}
        parents = {row[0][3] for row in rows if row[3] == 0 and row[0][10] and row[2] != NEVER and row[0][0] != 1}
        missing = sorted(parents - there - {0})
        more, _ = read_rows(self.proc, missing, cgroups=self._cgroups)
        self.passed_over -= len(more)
        return rows + more

    def _fork(self) -> None:
        self._tickets, tickets = os.pipe()
        self._choosing, choice = os.pipe()

        def share() -> tuple[list[Any], Any]:
            self._left_out.add(own_pid(self.proc))
            self._choose()
            self._hand_out(tickets)
            with open(choice, "wb") as pipe:
                choice_made = self.pids, self._scores, self.lowest, self.passed_over, self._brief, self._stat
                marshal.dump(choice_made, pipe)
            return self._work()[:2]

        self._child, self._reading = _helper(share, self._choosing)
        for end in (tickets, choice):  # so that who reads where there is nothing left is told so
            os.close(end)

    def _hand_out(self, tickets: int) -> None:
        os.write(tickets, b"".join(number.to_bytes(2) for number in range(self._count())))
        os.close(tickets)

    def _chunk(self) -> int:
        """Processes for one ticket."""
        return max(_CHUNK, len(self.pids) // _MAX_CHUNKS + 1)

    def _count(self) -> int:
        return -(-len(self.pids) // self._chunk())

    def _work(self) -> tuple[list[Any], Any, set[int]]:
        """Take tickets and read the processes they stand for until there are none left."""
        found, rest = self._nothing()
        taken = set()
        while ticket := os.read(self._tickets, 2):
            at = int.from_bytes(ticket)
            taken.add(at)
            more, besides = self._read(self._part(at))
            found += more
            rest += besides
        return found, rest, taken

    def _nothing(self) -> tuple[list[Any], Any]:
        return [], [] if self._brief else 0

    def _read(self, pids: list[int]) -> tuple[list[Any], Any]:
        """Briefs and who else must be read, or rows and how many were denied."""
        if self._brief:
            return read_briefs(self.proc, pids, stat=self._stat)
        return read_rows(self.proc, pids, cgroups=self._cgroups, scores=self._scores)

    def _part(self, at: int) -> list[int]:
        chunk = self._chunk()
        return self.pids[at * chunk : (at + 1) * chunk]

    def _join(self) -> tuple[list[Any], Any]:
        with open(self._choosing, "rb") as pipe:
            choice = _loaded(pipe.read())
        if choice is None:  # the helper was killed: there may be an OOM going on
            self._choose()
            found, rest = self._nothing()
            taken = set[int]()
        else:
            self._chosen(choice)
            found, rest, taken = self._work()
        with open(self._reading, "rb") as pipe:
            theirs = _loaded(pipe.read())
        os.waitpid(self._child, 0)
        os.close(self._tickets)
        if theirs is None:
            theirs = self._read([pid for at in range(self._count()) if at not in taken for pid in self._part(at)])
        return found + theirs[0], rest + theirs[1]


def _helper(work: Callable[[], Any], *ours: int) -> tuple[int, int]:
    """
    Fork a process that writes what *work* returns, or nothing if it dies: its pid, and where to read that. It closes
    *ours*, the ends of pipes that only we read: should we be killed, its writing then fails instead of waiting.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for end in (reading, *ours):
                os.close(end)
            gc.disable()
            found = work()
            with open(writing, "wb") as pipe:
                marshal.dump(found, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def _loaded(data: bytes) -> Any:
    """What the helper wrote; ``None`` if it did not come to it."""
    try:
        return marshal.loads(data)
    except (EOFError, ValueError, TypeError):
        return None
