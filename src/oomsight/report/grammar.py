"""
The line grammar of OOM reports: one row per shape of line, for every kernel from 2.6 on.

:data:`LINE_RULES` is the table; :func:`classify` walks it as compiled alternations. A shape is recognised by its
own words, never by a kernel version. Lines whose telling words stand behind a free process name (heads, kill lines)
are found by :data:`INNER_RULES`.
"""

from __future__ import annotations

import re
from itertools import islice, takewhile
from string import ascii_letters, ascii_lowercase, digits

from oomsight._lazy import lazy
from oomsight._named import NamedTuple


class LineRule(NamedTuple):
    """One shape of one line of a report."""

    name: str
    start: str  #: what the line (carriers removed, left-stripped) starts with: regexes, divided by bars
    since: str  #: oldest tree read that prints it
    source: str  #: file and function that prints it
    sample: str  #: a line of this shape; a test matches every row against its own sample


def _words(words: str) -> str:
    """
    Regex of one of *words*, beginning with the set of their first characters (see :func:`_by_first`). It also matches
    one word's first character before another's rest, which no line of a kernel begins with.
    """
    firsts, rests = "".join({word[0]: "" for word in words.split()}), "|".join(word[1:] for word in words.split())
    return f"[{firsts}](?:{rests})"


_ZONES = "DMA DMA32 Normal HighMem Movable Device"


def _of_zone(rest: str) -> str:
    """Regexes of a line about one zone, of kernels with and without NUMA."""
    return rf"Node \d{{1,6}} {_words(_ZONES)}{rest}|{_words(_ZONES)}{rest}"


_FRAME = r"[\w.$][\w.$]*+\+0x[0-9a-f]+/0x[0-9a-f]+"
_KLOGD = rf"\[(?:\w+:)?{_FRAME}\] "  # klogd looked the address up once more
_ARM = r"\[<[0-9a-f]+>\][ \t]*\([\w.]+(?:\+0x[^)]*)?\) from |[\w.][\w.]*+(?: \[\w+\])? from [\w.]+\+0x"
_PAGES = r"(?:total pagecache pages|pages? |reserved pages|bounce buffer pages)"
_BY_HAND = "Manual OOM execution|OOM request ignored"
_COUNTERS = (
    "active_anon active_file isolated_anon unevictable slab_reclaimable mapped sec_pagetables kernel_misc_reclaimable"
    " free Active active bounce free_pcp inactive dirty Active_anon inactive_file"
)

LINE_RULES: tuple[LineRule, ...] = (
    LineRule("header", r"\[[ \t]*pid[ \t]*\][ \t]+uid\b", "2.6.32", "mm/oom_kill.c dump_tasks()",
             "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents"
             " oom_score_adj name"),
    LineRule("row", r"\[[ \t]*\d+\][ \t]+-?\d+[ \t]+\d+[ \t]+\d+", "2.6.32", "mm/oom_kill.c dump_task()",
             "[    155]  1000   155    14118    13905    13824        0        81   151552        0"
             "             0 a-idle"),
    LineRule("frame", rf"{_FRAME}|\? {_FRAME}|{_KLOGD}|\[<[0-9a-f]+>\][ \t]*(?:\? )?{_FRAME}|{_ARM}", "2.6.11",
             "kernel/kallsyms.c %pS; arch/arm/kernel/traps.c", "out_of_memory+0x219/0x4b0"),
    LineRule("stat", r"[a-z][a-z0-9_]* \d{1,20}$", "5.3", "mm/memcontrol.c memory_stat_format()", "anon 100442112"),
    LineRule("regs", _words(r"RIP RSP RAX RDX RBP R1\d R0[89] Code EIP EAX ESI DS CS FS CR2 PKRU pc lr sp x\d+")
             + r" ?:", "2.6.11", "arch show_regs()", "RIP: 0033:0x401a97"),
    LineRule("trace", r"</?TASK>|Call [Tt]race:|<(?:IRQ|EOI|/IRQ)>", "2.6.11", "dump_stack()", "Call Trace:"),
    LineRule("zone", _of_zone(r" free:\d"), "2.6.11", "mm/show_mem.c show_free_areas()",
             "Node 0 DMA32 free:612kB boost:0kB min:1948kB low:2432kB high:2916kB"),
    LineRule("node", r"Node \d{1,6} active_anon:\d", "4.8", "mm/show_mem.c show_free_areas()",
             "Node 0 active_anon:2956kB inactive_anon:242124kB all_unreclaimable? no"),
    LineRule("counters", _words(_COUNTERS) + r":\d+(?=[ \t]|$)", "2.6.11",
             "mm/show_mem.c show_free_areas()", "active_anon:739 inactive_anon:60531 isolated_anon:0"),
    LineRule("reserve", r"lowmem_reserve\[\]:|protections\[\]:", "2.6.11", "mm/show_mem.c show_free_areas()",
             "lowmem_reserve[]: 0 259 259 259 259"),
    LineRule("buddy", _of_zone(r": (?:\d+\*\d+kB|empty)"), "2.6.11",
             "mm/show_mem.c show_free_areas()",
             "Node 0 DMA: 1*4kB (M) 0*8kB 2*256kB (UM) = 516kB"),
    LineRule("hugepages", r"Node \d{1,6} hugepages_total=\d+|hugepages_total=\d+", "3.10",
             "mm/hugetlb.c hugetlb_show_meminfo_node()",
             "Node 0 hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB"),
    LineRule("pages", rf"\d\d{{0,17}}+ {_PAGES}", "2.6.11",
             "lib/show_mem.c show_mem()", "81781 pages RAM"),
    LineRule("swap", _words("Free Total") + r" swap[ \t]*[=:][ \t]*-?\d", "2.6.11",
             "mm/swap_state.c show_swap_cache_info()",
             "Free swap  = 98044kB"),
    LineRule("swapcache", r"Swap cache", "2.6.11", "mm/swap_state.c show_swap_cache_info()",
             "Swap cache stats: add 12819103, delete 12798054, find 3188096/4634617"),
    LineRule("usage", _words(r"memory memory\+swap kmem swap") + r": usage \d+", "2.6.32",
             "mm/memcontrol.c mem_cgroup_print_oom_meminfo()", "memory: usage 98304kB, limit 98304kB, failcnt 23"),
    LineRule("memcg_stats", r"Memory cgroup stats", "3.9", "mm/memcontrol.c mem_cgroup_print_oom_meminfo()",
             "Memory cgroup stats for /app.slice:"),
    LineRule("protection", r"Memory cgroup min protection \d+", "6.19",
             "mm/memcontrol.c mem_cgroup_show_protected_memory()",
             "Memory cgroup min protection 0kB -- low protection 0kB"),
    LineRule("task_in", r"Task in /?", "2.6.32", "mm/memcontrol.c mem_cgroup_print_oom_info()",
             "Task in /lxc/a killed as a result of limit of /lxc/a"),
    LineRule("limit_of", r"killed as a result of limit of ", "3.15", "mm/memcontrol.c mem_cgroup_print_oom_info()",
             "killed as a result of limit of /lxc/a"),
    LineRule("oom_kill", r"oom-kill:\s*constraint=CONST", "5.0", "mm/oom_kill.c dump_oom_summary()",
             "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=a,pid=7,uid=0"),
    LineRule("group", r"Tasks in .* are going to be killed", "4.19",
             "mm/memcontrol.c mem_cgroup_print_oom_group()",
             "Tasks in /system.slice/web.service are going to be killed due to memory.oom.group set"),
    LineRule("reaper", r"oom_reaper: ", "4.6", "mm/oom_kill.c oom_reap_task()",
             "oom_reaper: reaped process 9 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB"),
    LineRule("panic", r"Kernel panic - not syncing: ", "2.6.11", "kernel/panic.c panic()",
             "Kernel panic - not syncing: System is deadlocked on memory"),
    LineRule("no_killable", r"Out of [Mm]emory and no killable processes", "2.6.11", "mm/oom_kill.c out_of_memory()",
             "Out of memory and no killable processes..."),
    LineRule("cpu", r"CPU: ?\d+ (?:UID: ?\d+ )?PID: ?\d+ Comm: ", "3.10", "kernel/printk dump_stack_print_info()",
             "CPU: 0 UID: 1000 PID: 157 Comm: b-grow Not tainted 6.12.107 #1"),
    LineRule("pid_comm", r"Pid: ?\d+, comm: ", "2.6.11", "arch show_regs_common()",
             "Pid: 8911, comm: httpd Not tainted 2.6.32-279.1.1.el6.i686 #1"),
    LineRule("hardware", r"Hardware name: ", "3.10", "dump_stack_print_info()", "Hardware name: QEMU Standard PC"),
    LineRule("workqueue", r"Workqueue: ", "3.10", "kernel/workqueue.c print_worker_info()", "Workqueue: events foo"),
    LineRule("meminfo", r"Mem-[Ii]nfo:", "2.6.11", "mm/show_mem.c", "Mem-Info:"),
    LineRule("table", r"Tasks state \(memory values", "4.19", "mm/oom_kill.c dump_tasks()",
             "Tasks state (memory values in pages):"),
    LineRule("slab_header", r"Unreclaimable slab info:|Name +Used +Total", "4.15",
             "mm/slab_common.c dump_unreclaimable_slab()",
             "Unreclaimable slab info:"),
    LineRule("slab", r"[\w\-:().,/][\w\-:().,/]*+[ \t]+\d+KB[ \t]+\d+KB", "4.15",
             "mm/slab_common.c dump_unreclaimable_slab()",
             "btrfs_extent_map     3207098KB    3375622KB"),
    LineRule("allocs_header", r"Memory allocations", "6.10", "mm/show_mem.c __show_mem()", "Memory allocations:"),
    LineRule("allocs", r"[\d.][\d.]*+ ?[KMGTkB]?i?B? +\d+ \S+:\d+ (?:\[\S+\] )?func:", "6.10",
             "mm/show_mem.c __show_mem()",
             "48.2 MiB  12345 mm/slub.c:2420 func:alloc_slab_page"),
    LineRule("sysrq", rf"{_BY_HAND}|[Ss]ys[Rr]q ?: ?(?:SysRq ?: ?)?(?:{_BY_HAND})", "2.6.11",
             "drivers/tty/sysrq.c moom_callback()", "sysrq: Manual OOM execution"),
    LineRule("show_memory", r"[Ss]ys[Rr]q ?: ?(?:SysRq ?: ?)?Show Memory", "2.6.11",
             "drivers/tty/sysrq.c sysrq_handle_showmem()", "sysrq: Show Memory"),
    LineRule("suppressed", r"\d\d*+ callbacks suppressed|\w\w*+: \d+ callbacks suppressed", "2.6.27",
             "lib/ratelimit.c ___ratelimit()",
             "oom_kill_process: 15 callbacks suppressed"),
    LineRule("rage", r"OOM killer in rage[ \d:,]* \d+ tasks killed", "2.6.32", "OpenVZ mm/oom_kill.c",
             "OOM killer in rage, 16 tasks killed in ub 1234"),
    LineRule("exiting", r"OOM victim \d+ \(|.*: OOM victim \d+ \(", "5.9", "mm/oom_kill.c oom_kill_process()",
             "Memory cgroup out of memory: OOM victim 12 (a) is already exiting. Skip killing the task"),
    LineRule("sharing", r"Kill process \d+ \(.*\) sharing same memory", "2.6.37", "mm/oom_kill.c oom_kill_process()",
             "Kill process 33 (worker) sharing same memory"),
    LineRule("pinned", r"oom killer \d+ \(.*\) has mm pinned by", "4.8", "mm/oom_kill.c __oom_kill_process()",
             "oom killer 12 (a) has mm pinned by 1 (init)"),
    LineRule("percpu", _of_zone(" per-cpu:") + "|" + r"[Cc](?:PU|pu) +\d+:? *(?:hi|hot|cold)" + "|Free pages: ",
             "2.6.11", "mm/page_alloc.c show_free_areas()", "DMA per-cpu:"),
    LineRule("path", r"oom_memcg=\S|task_memcg=\S", "5.0", "mm/oom_kill.c dump_oom_summary(), cut out by hand",
             "oom_memcg=/app.slice/run-p1.scope"),
    LineRule("compaction", r"COMPACTION is disabled!!!", "4.9", "mm/oom_kill.c dump_header()",
             "COMPACTION is disabled!!!"),
)

_BAR = lazy(r"((?:\\.|\[(?:\\.|[^\]\\])*\]|\((?:\\.|\[(?:\\.|[^\]\\])*\]|[^()\\]|\([^()]*\))*\)|[^|\\(\[])+)(?:\||$)")


def alternatives(start: str) -> list[str]:
    """The regexes of :attr:`LineRule.start`, split at the bars that stand in no bracket."""
    return _BAR.findall(start)


_SPANS = {"a-z": ascii_lowercase, r"\w": ascii_letters + digits + "_", r"\d": digits}


def _firsts(start: str) -> str:
    """The characters that a text can begin with that one of :func:`alternatives` matches; ``""`` = with any."""
    if start[0] == ".":
        return ""
    first = start[1 : start.index("]", 2)] if start[0] == "[" else start[: 2 if start[0] == "\\" else 1]
    for span, characters in _SPANS.items():
        first = first.replace(span, characters)
    return first.replace("\\", "")


class _Shapes(NamedTuple):
    """Some of the table's alternatives as one regex: an empty group behind each tells which of them matched."""

    pattern: re.Pattern[str]
    names: tuple[str, ...]  #: of the rules, by group


def _shapes(rows: tuple[tuple[str, str], ...]) -> _Shapes:
    return _Shapes(lazy("|".join([f"{start}()" for _, start in rows]), re.ASCII), ("", *[name for name, _ in rows]))


def _by_first() -> tuple[dict[str, _Shapes], _Shapes]:
    """
    The table by the first character of a line, and those shapes that begin with any letter: a line is matched with few
    of them, and a log whose lines begin with few letters has few compiled. No shape of one letter's own has a line in
    common with one of any letter, so it makes no difference that those come second (a test looks for one).
    """
    wide: list[tuple[str, str]] = []
    own: dict[str, list[tuple[str, str]]] = {}
    for rule in LINE_RULES:
        for start in alternatives(rule.start):
            firsts = _firsts(start)
            if not firsts or "q" in firsts:
                wide.append((rule.name, start))
            else:
                for first in firsts:
                    own.setdefault(first, []).append((rule.name, start))
    # Characters with the same alternatives share one regex.
    shared = {rows: _shapes(rows) for rows in map(tuple, own.values())}
    return {first: shared[tuple(rows)] for first, rows in own.items()}, _shapes(tuple(wide))


_OWN, _WIDE = _by_first()

_START_OF = {rule.name: rule.start for rule in LINE_RULES}
RUNS = {name: lazy(_START_OF[name], re.ASCII) for name in ("frame", "stat")}
"""Lines of which many of one shape follow each other. No row before them in the table has a shape in common."""
ROW = lazy(r"\[ *[0-9]+\]")
"""What rows of a task table begin with, for runs of them."""


def end_of_run(shape: re.Pattern[str], texts: list[str], first: int) -> int:
    """Index behind the last of the lines of one *shape* that follow each other from *first* on."""
    return first + len(list(takewhile(shape.match, islice(texts, first, None))))


HEAD = lazy(r"^(?:(?:(?P<comm>.*?) )?invoked )?oom-killer(?=: ?gfp_mask=0x[0-9a-f]|[:,.]?\s*$|: ?order=)")
"""2.6.11 ``oom-killer: gfp_mask=``, later ``<comm> invoked oom-killer: gfp_mask=``; also cut right after the word."""

KILL = lazy(
    r"\b[Kk]ill(?P<ed>ed)? process \(?(?P<pid>\d{1,10})\)?"
    r"(?:(?:, UID:? (?P<uid>\d{1,10}),?)? ?,? ?\(|, UID:? (?P<uid_of_bare>\d{1,10}),? (?=[\w.\-]{1,15}\.?$))",
    re.ASCII,
)
"""``Killed process N (…`` and the announcement ``Kill process N (…) score S or sacrifice child``."""

ALLOC = lazy(
    r"(?P<comm>.*?): (?P<what>page allocation failure|vmalloc error|vmalloc: allocation failure)"
    r"|(?P<comm2>.*?): (?P<stall>page allocation stalls)|(?P<vm>vmap allocation for size \d+ failed)"
)

BARE = frozenset(rule.name for rule in LINE_RULES) - {
    "slab", "allocs", "suppressed", "exiting", "oom_kill", "task_in", "row", "header",
}  # fmt: skip
"""
Shapes that no line has in front of whose message a carrier stands: it would not begin with the kernel's own words. Of
the others some begin with any word, and some are found anywhere in a line.
"""

_LINE_END = r"[^\n]*+\n"


def _common() -> tuple[str, tuple[str, ...]]:
    """
    One regex for the lines that a report is mostly made of, as a text of lines, each with its end: lines that follow
    each other are matched together, an empty group tells the shape, and the last group is that of any other line. What
    the shapes are is the same as in the table (a test holds it against :func:`classify`).
    """
    zone, number, killed = _words(_ZONES), r"Node \d{1,6}+ ", r"ut of memory: Killed process \d{1,10} \("
    many = {
        "regs": r"(?:R(?:IP|SP|[AD]X|BP|0[89]|1[0-5])|C(?:ode|S|R2)|E(?:IP|AX|SI)|[DF]S|PKRU):",
        "counters": _words(_COUNTERS) + r":\d++(?=[ \t\n])",
        "pages": r"\d{1,18}+ " + _PAGES,
        "swap": _words("Free Total") + r" swap[ \t]*+[=:][ \t]*+\d",
        "usage": _words(r"memory memory\+swap kmem swap") + r": usage \d",
        "frame": r"(?:\? )?[\w.$]++\+0x[0-9a-f]++/0x[0-9a-f]",
        "stat": r"[a-z][a-z0-9_]*+ \d{1,20}+(?=\n)",
    }
    one = {
        "zone": rf"{number}{zone} free:\d", "buddy": rf"{number}{zone}: (?:\d++\*\d++kB|empty)",
        "node": rf"{number}active_anon:\d", "hugepages": rf"{number}hugepages_total=\d",
        "reserve": r"lowmem_reserve\[\]:", "trace": r"(?:</?(?:TASK|IRQ)>|<EOI>|Call [Tt]race:)",
        "swapcache": "Swap cache", "meminfo": "Mem-[Ii]nfo:", "hardware": "Hardware name: ",
        "cpu": r"CPU: ?\d+ (?:UID: ?\d+ )?PID: ?\d+ Comm: ", "workqueue": "Workqueue: ",
        "memcg_stats": "Memory cgroup stats", "table": r"Tasks state \(memory values",
        "header": r"\[[ \t]*pid[ \t]*\][ \t]+uid\b", "oom_kill": "oom-kill:constraint=CONST",
        "kill": rf"(?:O|Memory cgroup o){killed}(?![^\n]*OOM victim)",
    }  # fmt: skip
    row = rf"\[ *+\d++\]{_LINE_END}"
    shapes = {name: rf"{start}{_LINE_END}(?:[ \t]*+{start}{_LINE_END})*+" for name, start in many.items()}
    wide = [shapes.pop("frame"), shapes.pop("stat")]
    own = [*shapes.values(), *(start + _LINE_END for start in one.values())]
    regex = rf"{row}(?:{row})*+()|[ \t]*+(?:{'()|'.join([*own, *wide])}())|{_LINE_END}()"
    # Ranges are looked up in a table, categories are asked by a call.
    regex = regex.replace(r"\d", "[0-9]").replace(r"[\w", "[A-Za-z0-9_")
    return regex, ("", "row", *shapes, *one, "frame", "stat", "")


_SOURCE, COMMON_NAMES = _common()
COMMON = lazy(_SOURCE, re.ASCII)
"""Matches the next line or lines of a text; the group that matched is the index in :data:`COMMON_NAMES`."""
MANY = frozenset({"regs", "counters", "pages", "swap", "usage", "frame", "stat"})
"""Those of :data:`COMMON` of which several lines are matched together, rows of a task table apart."""
HEAD_WORDS = "invoked oom-killer"
"""Stand behind a name that somebody chose: with it, a line may look as if it had another shape."""

INNER_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("head", HEAD, "b-grow invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"),
    ("kill", KILL, "Memory cgroup out of memory: Killed process 155 (a-idle) total-vm:56472kB"),
    ("alloc", ALLOC, "kworker/0:1H: page allocation failure: order:0, mode:0x820(GFP_ATOMIC)"),
)


# Shapes a line may only seem to have because a process of a hostile name ("memory: usage 1") stands first in a head.
_NAMED = frozenset(rule.name for rule in LINE_RULES) - {"row", "frame", "stat", "zone", "counters", "buddy", "oom_kill"}
_HEAD_OF_NAME = lazy(r"(?:[^\\]|\\(?:x[0-9a-f]{2})?){0,15}? invoked oom-killer: gfp_mask=0x")


def _starts_with_name(text: str) -> bool:
    # The other way round, cgroup names ("/ invoked oom-killer: gfp_mask=0x0") stand behind words of the kernel's.
    return _HEAD_OF_NAME.match(text) is not None and " killed" not in text


# Shapes that a word and a colon behind it make, or with a number behind that. One look-up instead of the regex, which
# takes ten times as long; a test holds it against the table.
_REGISTERS = "RIP RSP RAX RDX RBP R08 R09 R10 R11 R12 R13 R14 R15 Code EIP EAX ESI DS CS FS CR2 PKRU"
FIXED = {
    **dict.fromkeys(_REGISTERS.split(), "regs"), **dict.fromkeys(_COUNTERS.split(), "counters"),
    "lowmem_reserve[]": "reserve", "Mem-Info": "meminfo", "Call Trace": "trace",
}  # fmt: skip


# Frames of POWER, the stack pointer in front (arch/powerpc/kernel/process.c show_stack()): rare, so looked for last.
_POWER = lazy(rf"\[[0-9a-f]+\] \[[0-9a-f]+\][ \t]*{_FRAME}", re.ASCII)
_NUMBER = lazy(r"\d+(?=[ \t]|$)", re.ASCII)


def classify(text: str) -> str | None:
    """Name the shape of one line (carriers removed, left-stripped); ``None`` for anything that is not a report line."""
    word, colon, rest = text.partition(":")
    kind = FIXED.get(word) if colon else None
    if kind == "counters":
        if ((number := rest.partition(" ")[0]).isdigit() and number.isascii()) or _NUMBER.match(rest):
            return kind
    elif kind is not None and HEAD_WORDS not in rest:
        return kind
    pattern, names = _OWN.get(text[:1], _WIDE)
    m = pattern.match(text)
    if m is None and names is not _WIDE.names:
        pattern, names = _WIDE
        m = pattern.match(text)
    if m is not None:
        name = names[m.lastindex or 0]
        if name not in _NAMED or HEAD_WORDS not in text or not _starts_with_name(text):
            return name
    if "oom-killer" in text and HEAD.search(text):
        return "head"
    if "ill process " in text or "illed process " in text:
        if KILL.search(text):
            return "kill"
    elif ("allocation" in text or "vmalloc" in text) and ALLOC.match(text):
        return "alloc"
    elif "mems_allowed=" in text and " cpuset=" in text:
        return "cpuset"
    elif "oom-kill:" in text and "constraint=CONSTRAINT_" in text:
        return "oom_kill"
    elif "process" in text and "limit of /" in text:
        return "task_in"
    elif text[:1] == "[" and _POWER.match(text):
        return "frame"
    return None


def key_values(text: str) -> dict[str, str]:
    """The numbers of a head line by name (order and the adjustments); values end at a comma, a blank or the end."""
    return dict(_PAIR.findall(text))


_PAIR = lazy(r"(o(?<!\wo)(?:rder|om_score_adj|om_adj|omkilladj))=([^\s,]*)")
