"""
Before the first kill: run one report through everything, so that the real one finds code and tables in memory.

The first report costs some hundred milliseconds of imports and patterns, the next ones two; and on a host that is out
of memory the files to import may not be in the page cache any more.
"""

from __future__ import annotations

import gc
import time
from datetime import datetime
from typing import Final

from oomsight.live.events import LogRecord, Registry
from oomsight.live.merge import Merger
from oomsight.sinks.live_event import event_dict, event_json

_SIZES: Final = "total-vm:49336kB, anon-rss:7936kB, file-rss:6556kB, shmem-rss:0kB, UID:0 pgtables:80kB oom_score_adj:0"
_MEMCG: Final = f"""\
app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
CPU: 1 UID: 0 PID: 7 Comm: app Not tainted 6.18.44 #1 PREEMPT(none)
memory: usage 8192kB, limit 8192kB, failcnt 250
swap: usage 0kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /system.slice/docker-{"ab" * 32}.scope:
anon 8126464
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[      7]     0     7    12334     3623     1984     1639         0    81920        0             0 app
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=app,pid=7,uid=0
Memory cgroup out of memory: Killed process 7 (app) {_SIZES}
oom_reaper: reaped process 7 (app), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
"""
_GLOBAL: Final = f"""\
app invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
CPU: 1 PID: 7 Comm: app Not tainted 6.1.0 #1
Mem-Info:
active_anon:100 inactive_anon:100 isolated_anon:0
 active_file:10 inactive_file:10 isolated_file:0
 unevictable:0 dirty:0 writeback:0
 slab_reclaimable:100 slab_unreclaimable:100
 mapped:10 shmem:10 pagetables:10
 free:100 free_pcp:10 free_cma:0
Node 0 DMA32 free:400kB boost:0kB min:440kB low:550kB high:660kB present:4000kB managed:4000kB mlocked:0kB
0 pages in swap cache
Free swap  = 0kB
Total swap = 0kB
1000 pages RAM
[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[      7]     0     7    12334     3623    81920        0             0 app
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=app,pid=7,uid=0
Out of memory: Killed process 7 (app) {_SIZES}
"""


def warm_up(rounds: int = 2) -> None:
    """Tell two made-up kills to nobody; then leave what lives for ever out of every garbage collection."""
    for _ in range(rounds):
        for text in (_MEMCG, _GLOBAL):
            _tell(text)
    gc.collect()
    gc.freeze()


def _tell(text: str) -> None:
    merger, registry = Merger(), Registry()
    found = []
    for number, line in enumerate(text.splitlines()):
        raw = f"4,{number},{number + 1},-;{line}\n".encode()
        found += merger.feed(LogRecord(raw, line, "/dev/kmsg", number, number + 1, "ab" * 16), 0.0)
    seen = datetime.fromtimestamp(time.time()).astimezone().isoformat()
    for event in [*found, *merger.flush()]:
        told = registry.admit(event)
        if told is not None:
            event_json(event_dict(told, seen))
