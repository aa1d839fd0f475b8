"""
What happened in a guest, what the product said about it, and whether the two agree. Text and values in, values out.

The truth comes from three places that share no code with the product: the kernel's own kill lines (read here with one
regular expression), its counter of kills, and the processes that were there before and are gone after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vmtest import told

if TYPE_CHECKING:
    from vmtest.conf import Scenario
    from vmtest.machine import Run

SCHEMA: Final = "oomsight.vmtest/1"


class Process(NamedTuple):
    """A process by pid and name; the name in the product's spelling for odd bytes (surrogate escapes)."""

    pid: int
    comm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the kernel did."""

    kills: tuple[Process, ...]  #: in order, by its kill lines; memory.oom.group logs and counts the selected one twice
    first: tuple[Process, ...]  #: those of the first OOM event: several with memory.oom.group
    constraint: str | None  #: of the first event
    counter: int | None  #: kills by its own counter; ``None`` = the guest could not tell (panic)
    survivors: tuple[Process, ...] = ()  #: of ``kills``, those still running at the end
    seconds_to_kill: float | None = None  #: from the trigger to the first kill, by the log's clock


class Incident(NamedTuple):
    """One incident as ``oomsight explain`` told it."""

    kind: str
    constraint: str | None
    victims: tuple[Process, ...]
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """One answer of ``oomsight explain``, oldest incident first."""

    status: int
    seconds: float | None
    incidents: tuple[Incident, ...]

    @property
    def victims(self) -> tuple[Process, ...]:
        """Everyone it says was killed, in order."""
        return tuple(victim for incident in self.incidents for victim in incident.victims)


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison; ``ok`` is ``None`` when there was nothing to compare."""

    name: str
    ok: bool | None
    expected: object
    found: object


@dataclass(slots=True, kw_only=True)
class Verdict:
    """A run and every comparison made."""

    truth: Truth
    explained: dict[str, Explained] = field(default_factory=dict)  #: by log: ``kmsg``, ``dmesg``, ``console``
    predicted: tuple[Process, ...] = ()  #: whom ``oomsight score`` saw die in the next OOM, the selected one first
    predicted_silently: tuple[Process, ...] = ()  #: and who would go with them without a line (shared address space)
    highest_oom_score: tuple[Process, ...] = ()  #: the kernel's own ranking before the trigger; several when tied
    checks: list[Check] = field(default_factory=list)

    @property
    def killed(self) -> tuple[Process, ...]:
        """The processes that were killed, each once, in order."""
        return tuple(dict.fromkeys(self.truth.kills))

    @property
    def ok(self) -> bool:
        """Whether no comparison failed."""
        return all(check.ok is not False for check in self.checks)


_KILL: Final = re.compile(r"\bKilled process (\d+) \((.*)\) total-vm:", re.S)
_CONSTRAINT: Final = re.compile(r"\boom-kill:constraint=(CONSTRAINT_\w+)")
_HEX: Final = re.compile(r"\\x([0-9a-f]{2})")


def _decode(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def kernel_records(kmsg: bytes) -> Iterator[tuple[int, str]]:
    """(microseconds, text) of the kernel's own records of /dev/kmsg (facility 0), escapes undone."""
    for line in kmsg.split(b"\n"):
        head, separator, text = line.partition(b";")
        fields = head.split(b",")
        if separator and len(fields) >= 3 and all(part.isdigit() for part in fields[:3]) and int(fields[0]) < 8:
            raw = _HEX.sub(lambda match: chr(int(match[1], 16)), text.decode("latin-1"))
            yield int(fields[2]), _decode(raw.encode("latin-1"))


def _trigger_us(kmsg: bytes) -> int | None:
    match = re.search(rb"^\d+,\d+,(\d+),[^;]*;vmtest: trigger$", kmsg, re.M)
    return int(match[1]) if match else None


def _console_us(line: str) -> int | None:
    """The clock of a line of the console; ``None`` = it has none (printk.time=0, what the guest's shell said)."""
    match = re.match(r"\[ *(\d+)\.(\d{6})\] ", line)
    return int(match[1] + match[2]) if match else None


def truth(run: Run) -> Truth:
    """What the kernel did, from its log (the console's after a panic), its counter and the two snapshots."""
    kmsg = run.files.get("kmsg.txt")
    timed: list[tuple[int | None, str]]
    if kmsg is not None:
        timed = list(kernel_records(kmsg))
    else:
        timed = [(_console_us(line), line) for line in _decode(run.console).split("\n")]
    kills: list[Process] = []
    constraints: list[str] = []  # of each event so far
    first_event, first_us = 0, None
    for us, text in timed:
        event = _CONSTRAINT.search(text)
        if event is not None:
            constraints.append(event[1])
        kill = _KILL.search(text)
        if kill is not None:
            first_us = us if first_us is None else first_us
            kills.append(Process(int(kill[1]), kill[2]))
            first_event += len(constraints) <= 1
    if kmsg is not None:
        began_us = _trigger_us(kmsg)
    else:
        began_us = next((us for us, text in timed if text.rstrip("\r").endswith("] vmtest: trigger")), None)
    counter = run.files.get("kills.txt", b"").strip()
    after = processes(run.files.get("after.json"))
    return Truth(
        kills=tuple(kills),
        first=tuple(dict.fromkeys(kills[:first_event])),
        constraint=constraints[0] if constraints else None,
        counter=int(counter) if counter.isdigit() else None,
        survivors=tuple(kill for kill in kills if kill.pid in after and _alive(after[kill.pid])),
        seconds_to_kill=(first_us - began_us) / 1e6 if first_us is not None and began_us is not None else None,
    )


def processes(snapshot: bytes | None) -> dict[int, Mapping[str, str]]:
    """The processes of a snapshot of ``snap once`` that could be read; empty when there is none."""
    if snapshot is None:
        return {}
    return {int(pid): files for pid, files in json.loads(snapshot)["processes"].items() if "stat" in files}


def _alive(files: Mapping[str, str]) -> bool:
    return files["stat"].rpartition(") ")[2][:1] not in {"Z", "X"}


def highest_oom_score(snapshot: bytes | None, domain: str | None) -> tuple[Process, ...]:
    """The processes the kernel itself gives the highest oom_score, within a cgroup when ``domain`` names one."""

    def inside(files: Mapping[str, str]) -> bool:
        path = files.get("cgroup", "").strip().rpartition(":")[2]
        return domain is None or f"{path}/".startswith(f"{domain}/")

    # pid 1 is never chosen, whatever its score says; a file that could not be read is no candidate.
    scores = {
        Process(pid, _decode(files["comm"].encode("latin-1")).rstrip("\n")): int(files["oom_score"])
        for pid, files in processes(snapshot).items()
        if pid != 1 and inside(files) and files.get("oom_score_adj", "").strip() != "-1000" and "oom_score" in files
    }
    top = max(scores.values(), default=0)
    return tuple(sorted(process for process, score in scores.items() if score == top > 0))


def read_document(data: bytes | None) -> dict[str, Any] | None:
    """A JSON object the product printed; ``None`` when it printed none."""
    try:
        document = json.loads(data) if data else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def read_status(data: bytes | None) -> tuple[int | None, float | None]:
    """Exit status and duration in seconds from ``NAME.status``: ``STATUS UPTIME_BEFORE UPTIME_AFTER``."""
    match = re.fullmatch(rb"(\d+) ([\d.]+) ([\d.]+)\n", data or b"")
    return (int(match[1]), round(float(match[3]) - float(match[2]), 2)) if match else (None, None)


def explained(document: Mapping[str, Any], status: int, seconds: float | None) -> Explained:
    """The part of an ``oomsight.explain`` document that can be held against the truth."""
    incidents = sorted(document["incidents"], key=lambda item: int(item["source"]["first_line"]))
    return Explained(
        status,
        seconds,
        tuple(
            Incident(
                item["kind"],
                item["constraint"],
                tuple(Process(victim["pid"], victim["comm"]) for victim in item["victims"]),
                tuple(cause["code"] for cause in item["causes"]),
            )
            for item in incidents
        ),
    )


def predicted(document: Mapping[str, Any], *, logged: bool) -> tuple[Process, ...]:
    """
    Whom an ``oomsight.score`` document sees die in the next OOM, the selected one first; empty: nobody. ``logged``:
    with a line of the kernel's, or without one.
    """
    ranking = document["ranking"]
    names = {row["pid"]: row["comm"] for row in ranking["processes"]}
    kills = ranking["prediction"]["kills"]
    return tuple(Process(kill["pid"], names[kill["pid"]]) for kill in kills if kill["logged"] is logged)


def judge(scenario: Scenario, run: Run, console_explained: Explained | None) -> Verdict:
    """Every comparison that a run allows. ``console_explained``: the answer over the console, where no log came."""
    what = truth(run)
    verdict = Verdict(truth=what)
    check = verdict.checks.append
    endings = {"kill": ("end",), "end": ("end",), "panic": ("panic",), "any": ("end", "panic")}[scenario.expect]
    check(Check("ended", run.ended in endings, "|".join(endings), run.ended))
    if scenario.expect in {"kill", "end"}:
        check(Check("killed", bool(what.kills) == (scenario.expect == "kill"), scenario.expect, len(what.kills)))
    if what.counter is not None:
        whole = what.counter > len(what.kills) > 0 if scenario.lost else what.counter == len(what.kills)
        expected = f"fewer than {what.counter}" if scenario.lost else what.counter
        check(Check("counter", whole, expected, len(what.kills)))
        check(Check("died", not what.survivors, [], what.survivors))
    if scenario.victims:
        names = tuple(kill.comm for kill in what.kills[: len(scenario.victims)])
        check(Check("scenario_victims", names == scenario.victims, scenario.victims, names))
    if scenario.constraint is not None:
        same = what.constraint == scenario.constraint
        check(Check("scenario_constraint", same, scenario.constraint, what.constraint))
    _judge_explain(verdict, scenario, run, console_explained)
    _judge_prediction(verdict, scenario, run)
    if scenario.alarms and "agent_told.txt" in run.files:
        _judge_alarms(verdict, scenario, run)
    return verdict


def _judge_explain(verdict: Verdict, scenario: Scenario, run: Run, console_explained: Explained | None) -> None:
    what = verdict.truth
    for log in scenario.logs:
        status, seconds = read_status(run.files.get(f"explain_{log}.status"))
        if status is None:
            continue
        document = read_document(run.files.get(f"explain_{log}.json"))
        if document is None:
            error = run.files.get(f"explain_{log}.err", b"").decode(errors="replace")
            verdict.checks.append(Check(f"explain_{log}", False, "a document", f"status {status}: {error[-500:]}"))
        else:
            verdict.explained[log] = explained(document, status, seconds)
    if console_explained is not None:
        verdict.explained["console"] = console_explained
    for log, answer in verdict.explained.items():
        if scenario.kind is not None:
            kinds = tuple(incident.kind for incident in answer.incidents)
            verdict.checks.append(Check(f"explain_{log}_kind", scenario.kind in kinds, scenario.kind, kinds))
        verdict.checks.append(Check(f"explain_{log}", answer.victims == verdict.killed, verdict.killed, answer.victims))
        if what.kills and what.constraint is not None:
            told = next((incident.constraint for incident in answer.incidents if incident.victims), None)
            verdict.checks.append(Check(f"explain_{log}_constraint", told == what.constraint, what.constraint, told))


def _judge_prediction(verdict: Verdict, scenario: Scenario, run: Run) -> None:
    verdict.highest_oom_score = highest_oom_score(run.files.get("before.json"), scenario.domain)
    first = verdict.truth.first
    status, _ = read_status(run.files.get("score.status"))
    if status is None:  # not asked: this product has no `score`, or the scenario says that nobody can know
        verdict.checks.append(Check("predicted", None, first, "not asked"))
        return
    document = read_document(run.files.get("score.json"))
    if document is None:
        error = run.files.get("score.err", b"").decode(errors="replace")
        verdict.checks.append(Check("predicted", False, first, f"status {status}: {error[-500:]}"))
        return
    verdict.predicted = predicted(document, logged=True)
    # The selected one is logged first; the order of the rest of a group is the kernel's list of tasks.
    agree = verdict.predicted[:1] == first[:1] and set(verdict.predicted) == set(first)
    verdict.checks.append(Check("predicted", agree, first, verdict.predicted))
    verdict.predicted_silently = predicted(document, logged=False)
    if verdict.predicted_silently:
        after = processes(run.files.get("after.json"))
        alive = tuple(item for item in verdict.predicted_silently if item.pid in after and _alive(after[item.pid]))
        verdict.checks.append(Check("predicted_silently", not alive, [], alive))


def _judge_alarms(verdict: Verdict, scenario: Scenario, run: Run) -> None:
    said = list(told.messages(run.files["agent_told.txt"]))
    killed_us: dict[str, int] = {}
    for us, text in kernel_records(run.files.get("kmsg.txt", b"")):
        kill = _KILL.search(text)
        if kill is not None:
            killed_us.setdefault(kill[2], us)
    for wanted in (told.Expectation(*alarm) for alarm in scenario.alarms):
        found = told.first_told(said, wanted)
        killed = killed_us.get(wanted.culprit)
        expected = f"{wanted.culprit} named before {killed / 1e6:.1f} s" if killed else f"{wanted.culprit} named"
        answer = f"{sorted(told.named(found.event))} at {found.uptime_seconds:.1f} s" if found else "not told"
        in_time = found is not None and (killed is None or found.uptime_seconds < killed / 1e6)
        ok = in_time and found is not None and wanted.culprit in told.named(found.event)
        verdict.checks.append(Check(f"alarm_{wanted.code}", ok, expected, answer))
    pids = [kill.pid for kill in verdict.killed]
    victims = told.victims_told(said)
    verdict.checks.append(Check("kills_told", sorted(victims) == sorted(pids), pids, victims))
    left = run.files.get("agent.exit", b"").strip()
    verdict.checks.append(Check("agent_ended", left == b"0", "0", left.decode(errors="replace")))


def document(scenario: Scenario, kernel: str, run: Run, verdict: Verdict, product: str | None) -> dict[str, object]:
    """The result of a run as it is stored: schema ``oomsight.vmtest/1``."""

    def process(item: Process | None) -> dict[str, object] | None:
        return None if item is None else {"pid": item.pid, "comm": item.comm}

    def plain(value: object) -> object:
        if isinstance(value, Process):
            return process(value)
        return [plain(item) for item in value] if isinstance(value, tuple | list) else value

    what = verdict.truth
    return {
        "schema": SCHEMA,
        "ok": verdict.ok,
        "scenario": scenario.name,
        "kernel": kernel,
        "release": run.files.get("release.txt", b"").decode().strip() or None,
        "oomsight": product,
        "ended": run.ended,
        "reason": run.reason,
        "boot_seconds": run.boot_seconds and round(run.boot_seconds, 2),
        "wall_seconds": round(run.wall_seconds, 2),
        "kills": [process(kill) for kill in what.kills],
        "constraint": what.constraint,
        "oom_kill_counter": what.counter,
        "seconds_to_kill": what.seconds_to_kill,
        "predicted": [process(item) for item in verdict.predicted],
        "predicted_silently": [process(item) for item in verdict.predicted_silently],
        "highest_oom_score": [process(item) for item in verdict.highest_oom_score],
        "explained": {
            log: {
                "status": answer.status,
                "seconds": answer.seconds,
                "incidents": [
                    {
                        "kind": item.kind,
                        "constraint": item.constraint,
                        "victims": [process(victim) for victim in item.victims],
                        "causes": list(item.causes),
                    }
                    for item in answer.incidents
                ],
            }
            for log, answer in verdict.explained.items()
        },
        "checks": [
            {"name": item.name, "ok": item.ok, "expected": plain(item.expected), "found": plain(item.found)}
            for item in verdict.checks
        ],
    }
