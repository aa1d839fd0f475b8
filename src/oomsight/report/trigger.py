"""The task whose allocation failed: head line, CPU line, stack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from oomsight._lazy import lazy
from oomsight.report.grammar import ALLOC, HEAD, key_values
from oomsight.report.model import Trigger
from oomsight.report.unwrap import unescape_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.report.carriers import Lines
    from oomsight.report.draft import Draft
    from oomsight.report.memory import Numbered
    from oomsight.report.model import OomReport

MAX_DIGITS = 18  # longer numbers are damage: no counter of the kernel's is that large
MAX_COMM = 15  # TASK_COMM_LEN - 1, include/linux/sched.h
_GFP = lazy(r"gfp_mask=(0x[0-9a-f]{1,16})\b(?:\(([^)]*)\))?")
_MODE = lazy(r"mode:(0x[0-9a-f]{1,16})\b(?:\(([^)]*)\))?")
# Pages that lost their commas. It begins with a set of characters, so that others are passed over at once.
_NO_COMMA = lazy(r"[on](?<=[\da-f)].)(?:rder=|om_score_adj=|om_adj=|odemask=)")
_HEAD_GOES_ON = lazy(r"[\w|(_]*\)?,|nodemask=|order=|gfp_mask=|oom_score_adj=")
# mm/vmalloc.c: "vmalloc error: size N, exceeds total pages", up to 5.11 "vmalloc: allocation failure: N bytes", and
# "…, allocated N of M bytes"
_AREA = lazy(
    r"vma(?:lloc|p)\b.*?(?:size |failure: |\d of )(?P<bytes>\d{1,18})(?!\d)"
    r"(?: bytes| failed)?"
    r"(?:, (?:page order \d+, )?(?P<why>exceeds total pages|failed to [a-z ]+|[a-z_]+ allocation failed))?"
)
_NODEMASK = lazy(r"nodemask=(\(null\)|[\d,\-]+)")
_CPU = lazy(
    r"(?:CPU: ?(?P<cpu>\d{1,10}) (?:UID: ?(?P<uid>\d{1,10}) )?PID: ?(?P<pid>\d{1,10}) Comm: "
    r"|Pid: ?(?P<pid2>\d{1,10}), comm: )(?P<rest>.*)",
    re.S,
)
_BEHIND_COMM = lazy(r" (?:Kdump: |Not tainted|Tainted: |xid: |Comm: )")
# Red Hat's kernels print dashes for flags they do not use.
_RELEASE = lazy(r"(?:Not tainted|Tainted: [A-Z \-]*?(?:\[[^\]]*\])?) *(?P<release>\d+\.\d+\S*)")
_TAINTED = lazy(r"Tainted: (\S(?:[A-Z \-]*[A-Z])?)")
_CPUSET = lazy(r" cpuset=(?P<cpuset>.*) mems_allowed=(?P<mems>[\d,\-]*)")
_FRAME = lazy(r"(?:\[<?[0-9a-f]+>?\][ \t]*){0,2}\(?([\w.$]+)(?:\+0x|\)? from|(?= \[))")
# On 32-bit ARM "show_stack from dump_stack+0x18/0x1c", the first with its module in brackets.
_FRAMES = lazy(r"\n([\w.$]+)(?:\+0x|(?: \[\w+\])? from )", re.ASCII)


def read_trigger(report: OomReport, draft: Draft, lines: Lines, parts: dict[str, list[Numbered]]) -> None:
    """Fill ``report.trigger`` from the head line and the lines about the CPU and the stack behind it."""
    texts, nos = lines.texts, lines.nos
    index = draft.head if draft.head is not None else draft.alloc
    if index is None:
        report.trigger = _without_head(draft, texts, parts)
        return
    text = texts[index]
    # A hard-wrapped head goes on in the next lines; key=value pairs do not mind.
    for following in texts[index + 1 : index + 3]:
        if "order=" in text or not _HEAD_GOES_ON.match(following):
            break
        text += " " + following
    if _NO_COMMA.search(text):
        text = _NO_COMMA.sub(r", \g<0>", text)
    trigger = Trigger(None, line=nos[index])
    if draft.head is not None:
        m = HEAD.search(text)
        raw_comm = ("" if text.startswith("invoked ") else m["comm"]) if m else None
        gfp = _GFP.search(text)
    else:
        m = ALLOC.match(text)
        raw_comm = (m["comm"] or m["comm2"]) if m else None
        report.failure_mode = (m["what"] or m["stall"] or m["vm"]) if m else None
        if m and (area := _AREA.search(text)):
            report.failure_bytes, report.failure_why = int(area["bytes"]), area["why"]
        gfp = _MODE.search(text) or _GFP.search(text)
    if raw_comm is not None:
        trigger.comm = _comm(draft.comm_prefix + raw_comm)
    if gfp:
        trigger.gfp_mask = int(gfp[1], 16)
        if gfp[2] is not None:
            trigger.gfp_flags = tuple(f.strip() for f in gfp[2].split("|") if f.strip())
    pairs = key_values(text)
    trigger.order = to_int(pairs.get("order"))
    if trigger.order is None:
        order = re.search(r"order:(-?\d{1,9})(?!\d)", text)
        trigger.order = int(order[1]) if order else None
    trigger.oom_score_adj = to_int(pairs.get("oom_score_adj"))
    trigger.oom_adj = to_int(pairs.get("oom_adj") or pairs.get("oomkilladj"))
    nodemask = _NODEMASK.search(text)
    trigger.nodemask = nodemask[1].rstrip(",") if nodemask and nodemask[1] != "(null)" else None
    in_head = text.replace(",cpuset=", " cpuset=").replace(",mems", " mems")
    cpuset_text = next((t for _, t in parts.get("cpuset", ())), in_head)
    _asker(trigger, draft, texts, parts, cpuset_text)
    report.trigger = trigger


def _without_head(draft: Draft, texts: list[str], parts: dict[str, list[Numbered]]) -> Trigger | None:
    """Who asked, from the lines below a head that is not in the text; ``None`` where none of them names it."""
    for no, text in (parts.get("cpu") or parts.get("pid_comm") or ())[:1]:
        trigger = Trigger(None, line=no)
        _asker(trigger, draft, texts, parts, next((t for _, t in parts.get("cpuset", ())), ""))
        m = _CPU.match(text)
        trigger.comm = unescape_name(_BEHIND_COMM.split(m["rest"], 1)[0]) if m else None
        return trigger
    return None


def _asker(
    trigger: Trigger, draft: Draft, texts: list[str], parts: dict[str, list[Numbered]], cpuset_text: str
) -> None:
    """Fill *trigger* from the lines below the head: cpuset, CPU, hardware, work queue, stack."""
    cpuset = _CPUSET.search(cpuset_text)
    if cpuset:
        trigger.cpuset, trigger.mems_allowed = unescape_name(cpuset["cpuset"]), cpuset["mems"]
    for _no, cpu_text in parts.get("cpu", parts.get("pid_comm", [])):
        _cpu_line(trigger, cpu_text)
        break
    for _no, t in parts.get("hardware", ())[:1]:
        trigger.hardware = t[15:].strip()
    for _no, t in parts.get("workqueue", ())[:1]:
        trigger.workqueue = t[11:].strip()
    trigger.frames = stack(draft, texts)


def stack(draft: Draft, texts: list[str]) -> tuple[str, ...]:
    """
    Functions on the stack of *draft*, innermost first, also where its head line is missing; those the unwinder doubts
    only where it doubts all of them, as it does without frame pointers.
    """
    lines = [texts[i] for i in draft.parts.get("frame", ())]
    return _frames(lines) or _frames([text.replace("? ", "", 1) for text in lines])


def _frames(lines: Sequence[str]) -> tuple[str, ...]:
    """Names of the stack frames, without those the unwinder doubts."""
    text = "\n".join(["", *lines])
    if "\n[" not in text:
        return tuple(_FRAMES.findall(text))
    # Before 4.9 the address stands in front.
    return tuple([m[1] for line in lines if "? " not in line[:24] and (m := _FRAME.match(line))])


def _cpu_line(trigger: Trigger, text: str) -> None:
    m = _CPU.match(text)
    if m is None:
        return
    rest = m["rest"]
    comm = unescape_name(_BEHIND_COMM.split(rest, 1)[0])
    # Behind some other message's CPU line (a warning mixed in) stands another name: then pid and uid are not ours.
    if trigger.comm and comm and comm.strip() != trigger.comm.strip() and not trigger.comm.startswith(comm.strip()):
        return
    if trigger.comm is not None and comm.strip(" ") == trigger.comm.strip(" ") and len(comm) > len(trigger.comm):
        trigger.comm = comm  # blanks in front of the head's name went with the carrier's
    trigger.pid = int(m["pid"] or m["pid2"])
    trigger.cpu = to_int(m["cpu"])
    trigger.uid = to_int(m["uid"])
    release = _RELEASE.search(rest)
    trigger.kernel_release = release["release"] if release else None
    tainted = _TAINTED.search(rest)
    trigger.tainted = tainted[1].replace("-", "") if tainted else None


def _comm(raw: str) -> str:
    name = unescape_name(raw)
    if len(name.encode("utf-8", "surrogateescape")) > MAX_COMM and not name.startswith("kworker"):
        # Something of an unknown carrier stands before the name; a comm has at most 15 bytes.
        tail = name.split(" ")[-1]
        if 0 < len(tail.encode("utf-8", "surrogateescape")) <= MAX_COMM:
            return tail
    return name


def to_int(text: str | None) -> int | None:
    """Number of a ``key=value`` pair; ``None`` for none or for something else."""
    if text is None or not text.isascii():
        return None
    digits = text.removeprefix("-")
    return int(text) if digits.isdigit() and len(digits) <= MAX_DIGITS else None
