"""
The JSON of ``simulate``, contract ``oomsight.simulate/1``: one document for a timeline, a sweep, a Monte Carlo or a
what-if, told apart by ``kind``. Sizes are bytes, times seconds since the start; ``null`` is not known or none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from oomsight.simulate.fidelity import GAPS
from oomsight.simulate.verdict import comparison_words, monte_carlo_words, sweep_words, verdict
from oomsight.simulate.whatif import what_if_words
from oomsight.sinks import schema
from oomsight.sinks.schema import BOOL, INT, NUMBER, SENTENCE, TEXT, Record, array, choice, constant, field, optional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomsight.simulate.outcome import Kill, Run
    from oomsight.simulate.scenario import Scenario
    from oomsight.simulate.sweep import Curve, MonteCarlo, Played, Sweep
    from oomsight.simulate.whatif import WhatIf

SCHEMA_ID: Final = "oomsight.simulate/1"

ROW: Final = Record(
    "candidate", "One process of the table a victim was chosen from.",
    field("pid", INT, "Process id of the model."), field("comm", TEXT, "Name.", lambda r: r.name),
    field("cgroup", TEXT, "Path of its cgroup."), field("rss_bytes", INT, "In RAM."),
    field("swap_bytes", INT, "In swap."), field("pgtables_bytes", INT, "Page tables."),
    field("oom_score_adj", INT, "oom_score_adj.", lambda r: r.adj),
    field("points", optional(INT), "Badness in pages (per mille before 3.5); null = exempt."),
    field("per_mille", optional(INT), "Of T; null = exempt."),
    field("skipped", optional(TEXT), "Why it is exempt; null = it is not.",
          lambda r: r.words if r.points is None else None),
    field("killed", BOOL, "Whether it died."),
)  # fmt: skip

VICTIM: Final = Record(
    "victim", "One process that died.",
    field("pid", INT, "Process id of the model."), field("comm", TEXT, "Name.", lambda v: v.name),
    field("cgroup", TEXT, "Path of its cgroup."),
    field("role", choice("selected", "child", "group", "shared", "allocating", "guard"), "Why it died."),
    field("rss_bytes", INT, "In RAM."), field("swap_bytes", INT, "In swap."),
    field("oom_score_adj", INT, "oom_score_adj.", lambda v: v.adj),
)  # fmt: skip

KILL: Final = Record(
    "kill", "One OOM, or one act of the guard.",
    field("time_seconds", NUMBER, "When."), field("by", choice("kernel", "guard"), "Who killed."),
    field("constraint", optional(TEXT), "CONSTRAINT_…; null = a guard.", lambda k: k.constraint or None),
    field("oom_memcg", TEXT, "Cgroup that ran out; / = the machine.", lambda k: k.cgroup),
    field("outcome", TEXT, "killed, no_killable, panic, exiting, restarted."),
    field("words", SENTENCE, "What was decided."),
    field("trigger", optional(TEXT), "Name of the process whose allocation failed."),
    field("limit_bytes", INT, "What ran out."), field("total_pages", INT, "T."),
    field("total_how", TEXT, "T in words."),
    field("victims", array(VICTIM.type), "Everybody who died."), field("freed_bytes", INT, "Freed by it."),
    field("candidates", array(ROW.type), "The table, the dead first.", lambda k: k.rows),
    field("more_candidates", INT, "Processes not in it.", lambda k: k.more_rows),
)  # fmt: skip

EVENT: Final = Record(
    "event", "Something that is no kill.",
    field("time_seconds", NUMBER, "When."), field("kind", TEXT, "alert, throttled, released, refused, exited, …"),
    field("name", TEXT, "Process or cgroup."), field("words", SENTENCE, "What."),
)  # fmt: skip

SAMPLE: Final = Record(
    "sample", "The state at one moment. Lists go by the run's cgroups, the first is the machine.",
    field("time_seconds", NUMBER, "When."), field("need_bytes", array(INT), "In RAM and not droppable."),
    field("cache_bytes", array(INT), "Page cache."), field("swap_bytes", array(INT), "Swapped out."),
    field("pressure_pct", NUMBER, "Share of wanted memory not in RAM.", lambda s: round(s.pressure_pct, 3)),
    field("processes", INT, "Alive."),
)  # fmt: skip

CGROUP: Final = Record(
    "cgroup", "A cgroup of the run.",
    field("path", TEXT, "Path."),
    field("limit_bytes", optional(INT), "memory.max; of / what can be used; null = none."),
    field("high_bytes", optional(INT), "memory.high; null = none."),
)  # fmt: skip


class _First(NamedTuple):
    """The prediction in one place, to be held against a real kernel."""

    kill: Kill

    @property
    def victim(self) -> str | None:
        return self.kill.victims[0].name if self.kill.victims else None


FIRST: Final = Record(
    "prediction", "The first OOM of the kernel.",
    field("time_seconds", NUMBER, "When.", lambda f: f.kill.time_seconds),
    field("constraint", TEXT, "CONSTRAINT_…", lambda f: f.kill.constraint),
    field("oom_memcg", TEXT, "Cgroup that ran out; / = the machine.", lambda f: f.kill.cgroup),
    field("victim", optional(TEXT), "Name of who dies first; null = nobody may be killed."),
    field("victims", array(TEXT), "Names of all who die.", lambda f: [v.name for v in f.kill.victims]),
)  # fmt: skip


def _first(run: Run) -> _First | None:
    return _First(run.oom_kills[0]) if run.oom_kills else None


RUN: Final = Record(
    "run", "One run of the scenario: as it is, or with one change.",
    field("name", TEXT, "base, or the change's."), field("title", TEXT, "In words."),
    field("cures", BOOL, "Whether it is meant to help."),
    field("survived", BOOL, "Whether everything that must live did.", lambda p: p.run.survived),
    field("crash_seconds", optional(NUMBER), "When the first of it died; null = never.", lambda p: p.run.crash_seconds),
    field("first_oom", optional(FIRST.type), "The prediction; null = no OOM.", lambda p: _first(p.run)),
    field("alert_seconds", optional(NUMBER), "First alert; null = none.", lambda p: p.run.alert_seconds),
    field("alert_in_time", BOOL, "Whether people could have acted.", lambda p: p.run.alert_in_time),
    field("restarts_by_guard", INT, "Controlled ends of what must live.", lambda p: p.run.restarts_by_guard),
    field("throttled_seconds", schema.mapping(NUMBER), "Time above memory.high by cgroup.",
          lambda p: p.run.throttled_seconds),
    field("end_seconds", NUMBER, "Length of the run.", lambda p: p.run.end_seconds),
    field("ended_by", optional(TEXT), "panic or kills, if before its time.", lambda p: p.run.ended_by),
    field("cgroups", array(CGROUP.type), "The tree, the machine first.", lambda p: p.run.cgroups),
    field("kills", array(KILL.type), "In order.", lambda p: p.run.kills),
    field("events", array(EVENT.type), "In order.", lambda p: p.run.events),
    field("samples", array(SAMPLE.type), "The timeline.", lambda p: p.run.samples),
    field("verdict", SENTENCE, "In words.", lambda p: " ".join(verdict(p.run))),
)  # fmt: skip

POINT: Final = Record(
    "point", "One value of a sweep.",
    field("value", TEXT, "As written."), field("survived", BOOL, "Whether all lived.", lambda p: p.run.survived),
    field("crash_seconds", optional(NUMBER), "First death; null = none.", lambda p: p.run.crash_seconds),
    field("oom_kills", INT, "OOMs of the kernel.", lambda p: len(p.run.oom_kills)),
    field("first_oom", optional(FIRST.type), "The first; null = none.", lambda p: _first(p.run)),
)  # fmt: skip

CURVE: Final = Record(
    "curve", "One change over all draws.",
    field("name", TEXT, "base, or the change's."), field("title", TEXT, "In words."), field("runs", INT, "Draws."),
    field("crashes", INT, "Runs that crashed."), field("prevented", INT, "Crashes of the base that did not happen."),
    field("caused", INT, "Crashes where the base has none."),
    field("by_guard", INT, "Of the prevented: by a controlled end."),
    field("throttled", INT, "Of the prevented: slowed down by memory.high."),
    field("crash_seconds", array(NUMBER), "Times of the crashes, ascending: the survival curve."),
)  # fmt: skip

CHANCE: Final = Record(
    "monte_carlo", "Many draws.",
    field("draws", INT, "Runs."), field("seed", INT, "Seed: the same gives the same."),
    field("spread_pct", INT, "How far values were varied."),
    field("alerted", INT, "Crashes of the base with an alert early enough."),
    field("curves", array(CURVE.type), "The base first."),
)  # fmt: skip

DEATH: Final = Record(
    "death", "One step of a chain of kills.",
    field("pid", INT, "Process id."), field("comm", TEXT, "Name.", lambda d: d.name), field("role", TEXT, "Why."),
    field("points", optional(INT), "Badness; null = died with the chosen one."),
    field("oom_score_adj", INT, "oom_score_adj.", lambda d: d.adj), field("held_pages", INT, "rss and swap."),
    field("freed_pages", INT, "Freed by it."), field("total_freed_pages", INT, "With all before."),
    field("needed", BOOL, "false = the demand was met before it: who is next."),
    field("constraint", TEXT, "CONSTRAINT_…"), field("oom_memcg", TEXT, "/ = the machine.", lambda d: d.cgroup),
)  # fmt: skip

WHAT_IF: Final = Record(
    "what_if", "Before and after a change.",
    field("rule", TEXT, "Badness rule after the change.", lambda w: w.changed.rule.name),
    field("total_pages", INT, "T after the change.", lambda w: w.changed.total.pages),
    field("page_size_bytes", INT, "Page size.", lambda w: w.moment.page_size),
    field("need_pages", INT, "To be freed.", lambda w: w.changed.need_pages),
    field("died", array(INT), "Pids that really died.", lambda w: w.moment.died),
    field("before", array(DEATH.type), "As it is."), field("after", array(DEATH.type), "With the change."),
    field("avoided", optional(SENTENCE), "Why nobody has to die; null = somebody must."),
    field("notes", array(SENTENCE), "What limits the answer."),
)  # fmt: skip

GAP: Final = Record(
    "gap", "What the model leaves out.",
    field("code", TEXT, "Stable identifier."), field("words", TEXT, "What."), field("effect", TEXT, "What that does."),
)  # fmt: skip


class _Answer(NamedTuple):
    """What :data:`DOCUMENT` is written from."""

    version: str
    kind: str
    title: str
    words: str
    runs: Sequence[Played] | None = None
    comparison: str | None = None
    sweep: Sweep | None = None
    monte_carlo: dict[str, Any] | None = None
    what_if: WhatIf | None = None


DOCUMENT: Final = Record(
    "document", "The answer of one call.",
    field("schema", constant(SCHEMA_ID), "Version of this contract.", lambda _: SCHEMA_ID),
    field("oomsight", TEXT, "Version that wrote it.", lambda a: a.version),
    field("kind", choice("timeline", "sweep", "monte_carlo", "what_if"), "Which of the parts below is there."),
    field("title", TEXT, "Of the scenario, or where the moment is from."),
    field("verdict", SENTENCE, "In words.", lambda a: a.words),
    field("runs", optional(array(RUN.type)), "timeline: the base or the change asked for first."),
    field("comparison", optional(SENTENCE), "timeline: which changes help; null = none was tried."),
    field("swept", optional(TEXT), "sweep: the key.", lambda a: a.sweep and a.sweep.path),
    field("points", optional(array(POINT.type)), "sweep: value by value.", lambda a: a.sweep and a.sweep.points),
    field("monte_carlo", optional(schema.Type({"$ref": "#/$defs/monte_carlo"}, None, (CHANCE,))), "monte_carlo."),
    field("what_if", optional(WHAT_IF.type), "what_if: before and after."),
    field("fidelity", array(GAP.type), "What the model leaves out.", lambda _: GAPS),
)  # fmt: skip


def timeline_json(version: str, played: Sequence[Played]) -> str:
    """The document of a scenario and its variants, indented, ending in a newline."""
    run = played[0].run
    words = " ".join(verdict(run))
    return _text(_Answer(version, "timeline", run.scenario.title, words, played,
                         comparison_words(played) if len(played) > 1 else None))  # fmt: skip


def sweep_json(version: str, scenario: Scenario, result: Sweep) -> str:
    """The document of a sweep."""
    return _text(_Answer(version, "sweep", scenario.title, sweep_words(result), sweep=result))


def monte_carlo_json(version: str, result: MonteCarlo, seed: int) -> str:
    """The document of many draws."""
    values = {
        "draws": result.draws, "seed": seed, "spread_pct": result.scenario.run["spread"], "alerted": result.alerted,
        "curves": [_curve(curve) for curve in result.curves],
    }  # fmt: skip
    words = " ".join(monte_carlo_words(result))
    return _text(_Answer(version, "monte_carlo", result.scenario.title, words, monte_carlo=values))


def _curve(curve: Curve) -> dict[str, Any]:
    return CURVE.write(curve)


def what_if_json(version: str, result: WhatIf) -> str:
    """The document of a what-if."""
    from oomsight.naming.marked import unmark

    words = " ".join(what_if_words(result))
    return _text(_Answer(version, "what_if", unmark(result.moment.source), words, what_if=result))


def _text(answer: _Answer) -> str:
    return json.dumps(DOCUMENT.write(answer), indent=2) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of all of these, from the same tables."""
    return schema.json_schema(DOCUMENT, SCHEMA_ID, "oomsight simulate --format json")
