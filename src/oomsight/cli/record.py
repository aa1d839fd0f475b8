"""``oomsight record``: the memory recorder."""

from __future__ import annotations

import os
import sys
from typing import Final

from oomsight.cli import declare
from oomsight.cli.exits import UPDATE, CommandError, Exit
from oomsight.cli.options import remark, root_option

EXAMPLES: Final = (
    ("oomsight record", "record this machine until Ctrl-C or SIGTERM, dense when memory gets short"),
    ("oomsight record --interval 1 --store ./history", "every second, into a directory of your own"),
    ("oomsight record --once", "one sample, for cron or to try it"),
    ("oomsight history", "what was recorded"),
)
MAX_MIB: Final = 512


@declare.command("record", examples=EXAMPLES)
@declare.option("--store", metavar="DIR", type=declare.Path(file_okay=False), envvar="OOMSIGHT_HISTORY",
                help="Where the history is kept.  [default: history/ beside the agent's incidents]")
@declare.option("--interval", type=declare.FloatRange(0.1, 3600), metavar="S",
                help="Seconds between samples, always the same.  [default: 5, and 1 when memory gets short]")
@declare.option("--once", is_flag=True, help="Take one sample and stop.")
@declare.option("--count", type=declare.IntRange(1), metavar="N", help="Stop after N samples.")
@declare.option("--max-mib", type=declare.IntRange(1, 1 << 20), default=MAX_MIB, show_default=True, metavar="MIB",
                help="Above this the oldest history is removed.")
@declare.option("--proc", metavar="DIR", type=declare.Path(file_okay=False), help="Directory to read as /proc.")
@declare.option("--cgroup-root", metavar="DIR", type=declare.Path(file_okay=False),
                help="Mount point of the memory controller.  [default: as /proc/self/mountinfo says]")
@root_option
@declare.option("--child-of", type=declare.IntRange(1), hidden=True, help="End with this process.")
def command(
    *, store: str | None, interval: float | None, once: bool, count: int | None, max_mib: int, proc: str | None,
    cgroup_root: str | None, root: str, child_of: int | None,
) -> int:  # fmt: skip
    """
    Record memory: the host, every process, every cgroup, at most once a second, in a few bytes per figure.

    Runs in the foreground. Slow when all is calm, dense when memory gets short, so that the minutes before every kill
    are on record. `oomsight history` shows what was recorded; `oomsight agent` runs one of these by itself.
    """
    from oomsight._state import default_history
    from oomsight.daemons.recorder import BUSY_STATUS, Recorder
    from oomsight.record.pace import CALM_SECONDS, DENSE_SECONDS
    from oomsight.sinks.history_store import (
        HistoryBusy,
        HistoryStore,
        HistoryStoreError,
        HistoryStoreNewer,
    )
    from oomsight.sources.sampler import Places, Sampler

    def below(name: str) -> str:
        return f"/{name}" if root in {"/", ""} else os.path.join(root, name)

    def say(line: str) -> None:
        remark(line)
        sys.stderr.flush()

    sampler = Sampler(Places(proc or below("proc"), below("sys"), cgroup_root, root))
    path = store or default_history()
    try:
        history = HistoryStore(path, sampler.boot_id, max_bytes=max_mib << 20)
    except HistoryBusy as error:
        if child_of is not None:  # its parent says it, and tries again
            return BUSY_STATUS
        hint = "it is recorded already: oomsight history shows it; or give another --store"
        raise CommandError(str(error), Exit.FAILED, hint) from None
    except HistoryStoreNewer as error:
        raise CommandError(str(error), Exit.INPUT, UPDATE) from None
    except HistoryStoreError as error:
        raise CommandError(str(error), Exit.INPUT, "give --store, or use sudo") from None
    calm, dense = (interval, interval) if interval is not None else (CALM_SECONDS, DENSE_SECONDS)
    if not once and count is None and child_of is None:
        pace = f"every {calm:g} s" + ("" if calm == dense else f", every {dense:g} s when memory gets short")
        say(f"recording into {path}, {pace}; Ctrl-C ends")
    recorder = Recorder(sampler, history, say, calm, dense, 1 if once else count, parent=child_of)
    recorder.run()
    return Exit.INPUT if history.health.trouble is not None and (once or count is not None) else Exit.OK
