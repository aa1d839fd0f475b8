"""``oomsight score``: who would the OOM killer kill now."""

from __future__ import annotations

from typing import Final

from oomsight.cli import declare
from oomsight.cli.exits import UsageError
from oomsight.cli.options import color_option, format_option, root_option, width_option
from oomsight.cli.score_run import ROWS, Host, Shown, Wanted, show

WATCH_SECONDS: Final = 2.0

EXAMPLES: Final = (
    ("oomsight score", "who would die if the host ran out of memory now"),
    ("oomsight score --cgroup nginx.service", "who would die if that cgroup hit its limit"),
    ("oomsight score --all-cgroups", "every limited cgroup: how full it is and who would die there"),
    ("oomsight score 1234", "why process 1234 ranks where it ranks, and what oom_score_adj would change"),
    ("oomsight score --format json | jq .ranking.victim", "for programs"),
)


@declare.command("score", examples=EXAMPLES)
@declare.argument("pids", nargs=-1, metavar="[PID]...", type=declare.IntRange(1))
@format_option("text", "json", "markdown", "csv")
@declare.option("--cgroup", metavar="CGROUP", help="Who dies when it hits its limit: a path, a unit, a container id.")
@declare.option("--all-cgroups", is_flag=True, help="One line per limited cgroup: headroom and who would die there.")
@declare.option("--pss", is_flag=True,
                help="Read the proportional set size of the rows shown (slow; others' need root).")
@declare.option("-n", "--limit", type=declare.IntRange(0), metavar="N",
                help=f"Most rows to show; 0 = all.  [default: {ROWS} for people, all for programs]")
@declare.option("--watch", is_flag=False, flag_value=WATCH_SECONDS, type=declare.FloatRange(0.1), metavar="SECONDS",
                help=f"Refresh until q or Ctrl-C.  [default: every {WATCH_SECONDS:g} s]")
@declare.option("--count", type=declare.IntRange(1), metavar="N", help="With --watch: stop after N times.")
@declare.option("--proc", type=declare.Path(file_okay=False), metavar="DIR", help="Where /proc is.")
@declare.option("--sys", "sys_", type=declare.Path(file_okay=False), metavar="DIR", help="Where /sys is.")
@declare.option("--cgroup-root", type=declare.Path(file_okay=False), metavar="DIR",
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
        raise UsageError("PID, --cgroup and --all-cgroups are different questions; ask one at a time")
    if count is not None and watch is None:
        raise UsageError("--count goes with --watch")
    for_people = output_format in {"text", "markdown"}
    if limit is None:
        limit = ROWS if for_people else None
    return show(
        Host(root, proc, sys_, cgroup_root),
        Wanted(pids, cgroup, all_cgroups, pss, limit or None, few=bool(limit) and for_people,
               lasting=watch is not None),
        Shown(output_format, width, color, watch, count),
    )
