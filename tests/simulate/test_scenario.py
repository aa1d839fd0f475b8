"""Scenario files: defaults, changes, and for each kind of mistake the line, the key and what would be right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.simulate.keys import ALERT_KEYS, KIND_KEYS, TABLES, range_words, read_value, value_words
from oomsight.simulate.scenario import changed, read_scenario
from oomsight.simulate.workloads import WORKLOADS

from .samples import scenario, toml

GOOD = """title = "t"
[run]
duration = "1h"
[machine]
ram = "1GiB"
[[process]]
name = "web"
kind = "leak"
rate = "1MiB/min"
"""


def test_read_scenario_fills_in_defaults() -> None:
    found, problems = read_scenario(GOOD)
    assert problems == []
    assert found.machine["swap"] == 0
    assert found.machine["swappiness"] == 60
    assert found.alert == {key.name: key.default for key in ALERT_KEYS}
    assert found.guard is None
    assert found.protect == ("web",)
    assert found.steps == 3600
    assert found.processes[0]["rate"] == 1048576 / 60


BAD = [
    # (the file, the one problem)
    (GOOD.replace('"1GiB"', '"1GiB'), "line 5: not TOML: Illegal character '\\n'"),
    (GOOD.replace("ram =", "rma ="), "line 5: machine.rma: no such key; did you mean ram?"),
    (GOOD.replace('ram = "1GiB"', 'ram = "huge"'), "line 5: machine.ram: 'huge' is not a size such as 512MiB,"
     " 4 MiB to 64 TiB"),
    (GOOD.replace('ram = "1GiB"', 'ram = "1KiB"'), "line 5: machine.ram: '1KiB' is not a size such as 512MiB,"
     " 4 MiB to 64 TiB"),
    (GOOD + "adj = 1001\n", "line 10: process.adj: 1001 is not a whole number, -1000 to 1000"),
    (GOOD + "adj = true\n", "line 10: process.adj: true is not a whole number, -1000 to 1000"),
    (GOOD + "peak_connections = 5\n", "line 10: process.peak_connections: no such key; there are name, kind, cgroup,"
     " count, adj, threads, start, stagger, stop, restart, size, rate, shape, step_every, ceiling"),
    (GOOD.replace('"leak"', '"leek"'), "line 8: process.kind: 'leek' is not one of constant, leak, traffic, heap, cache,"
     " tmpfs, forkbomb"),
    (GOOD.replace('rate = "1MiB/min"\n', ""), "line 6: process.rate: is missing: a rate such as 10MiB/min, 0 bytes/day to"
     " 1 TiB/s (growth)"),
    (GOOD + 'cgroup = "app"\n', "line 10: process.cgroup: 'app' is not a path from /"),
    (GOOD + '[[cgroup]]\npath = "/"\n', "line 11: cgroup.path: '/' is not a path such as /app or /app/web"),
    (GOOD + '[[process]]\nname = "b"\nkind = "constant"\nsise = 3\n', "line 13: process.sise: no such key; did you mean"
     " size?"),
    (GOOD + "[guard]\nkind = 3\n", "line 11: guard.kind: 3 is not one of available, pressure"),
    (GOOD + 'cgroup = "/app"\n[guard]\ncgroup = "/ap"\n', "line 12: guard.cgroup: there is no cgroup '/ap'; did you mean"
     " '/app'?"),
    (GOOD.replace("[machine]", '[machine]\nduration = "2h"'), "line 5: machine.duration: no such key; it belongs below"
     " [run]"),
    (GOOD + "[gard]\n", "line 10: gard: no such key; did you mean guard?"),
    ("protect = ['wep']\n" + GOOD, "line 1: protect: there is no process 'wep'; did you mean 'web'?"),
    (GOOD.replace('"1h"', '"300d"') .replace("[machine]", "step = 0.01\n[machine]"), "line 4: run.step: is too short: more"
     " than 100,000,000 steps"),
    (GOOD.replace("[machine]", 'kernel = "new"\n[machine]'), "line 4: run.kernel: 'new' is no kernel release such as 6.12"
     " or 3.10"),
    (GOOD + "count = 20000\n[[process]]\nname = 'x'\nkind = 'constant'\n", "line 10: process.count: more than 20,000"
     " processes in all"),
    (GOOD + '[[variant]]\nname = "v"\nset = { "machine.swop" = 3 }\n', "line 12: variant.set.machine.swop: no such key;"
     " did you mean swap?"),
    (GOOD + '[[variant]]\nname = "v"\n[variant.set]\n"process.wev.adj" = 3\n', "line 13: variant.set.process.wev.adj:"
     " there is no process 'wev'; did you mean 'web'?"),
    (GOOD + '[[variant]]\nname = "v"\nset = 3\n', "line 12: variant.set: must be a table of changes such as"
     " \"machine.swap\" = '1GiB'"),
    ("run = 3\n" + GOOD.replace('[run]\nduration = "1h"\n', ""), "line 1: run: must be a table, written [run]"),
    ('title = "t"\n[run]\nduration = 5\n[machine]\nram = 99999999\n', "process: is missing: at least one [[process]]"),
    ('title = "t"\nprocess = 3\n[run]\nduration = 5\n[machine]\nram = 99999999\n', "line 2: process: must be a list of"
     " tables, each written [[process]]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), BAD, ids=lambda value: value[:24] if "line" in value[:5] else "")
def test_read_scenario_of_a_bad_file_names_line_key_and_range(text, problem) -> None:
    found, problems = read_scenario(text)
    assert found is None
    assert problem in {str(one) for one in problems} or str(problems[0]).startswith(problem)


def test_read_scenario_names_every_problem_at_once() -> None:
    _, problems = read_scenario(GOOD.replace("ram =", "rma =").replace('"1h"', "-1") + "adj = 5000\n")
    assert [str(p).split(":")[1].strip() for p in problems] == ["run.duration", "machine.rma", "machine.ram", "process.adj"]


@given(st.text(max_size=60))
def test_read_scenario_never_raises(text) -> None:
    for whole in (text, GOOD + text):
        found, problems = read_scenario(whole)
        assert (found is None) == bool(problems)


@given(st.sampled_from(["title", "run", "machine", "cgroup", "process", "variant", "guard", "alert", "protect"]),
       st.sampled_from(["3", "true", '"x"', "[]", "[3]", "{}", "[{}]", "{set = 3}", "[{set = {a = 1}}]"]))  # fmt: skip
def test_read_scenario_of_wrong_types_never_raises(key, value) -> None:
    found, problems = read_scenario(f"{key} = {value}\n")
    assert found is None
    assert problems


def test_changed_sets_and_makes() -> None:
    base = scenario("p web leak rate=1MiB/min", "c /a max=5MiB")
    after, problems = changed(base, {
        "machine.swap": "1GiB", "cgroup./a.max": "7MiB", "cgroup./b/c.high": "9MiB", "process.web.adj": "-5",
        "run.kernel": "3.10", "guard.available": 20, "alert.at": 90,
    })  # fmt: skip
    assert problems == []
    assert after.machine["swap"] == 1 << 30
    assert [(row["path"], row["max"], row["high"]) for row in after.cgroups] == [
        ("/a", 7 << 20, None), ("/b/c", None, 9 << 20)
    ]  # fmt: skip
    assert after.processes[0]["adj"] == -5
    assert after.guard["available"] == 20
    assert after.guard["interval"] == 1.0
    assert base.guard is None
    assert base.machine["swap"] == 0


def test_changed_none_takes_a_limit_away() -> None:
    after, problems = changed(scenario("p web leak rate=1MiB/min", "c /a max=5MiB"), {"cgroup./a.max": "none"})
    assert problems == []
    assert after.cgroups[0]["max"] is None


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [("machine.swop", 1, "no such key; did you mean swap?"), ("x", 1, "no such key; there are run.KEY, machine.KEY"),
     ("cgroup.app.max", 1, "'app' is not a path such as /app"), ("process.web.name", "x", "no such key"),
     ("machine.swap", "none", "'none' is not a size"), ("process.web.adj", "much", "'much' is not a whole number")],
)  # fmt: skip
def test_changed_refuses(path, value, words) -> None:
    _, problems = changed(scenario("p web leak rate=1MiB/min"), {path: value})
    assert problems[0].words.startswith(words)


def test_every_kind_has_keys_and_a_workload() -> None:
    assert set(KIND_KEYS) == set(WORKLOADS)


def test_every_default_is_within_its_range() -> None:
    for _table, keys in TABLES:
        for key in keys:
            assert key.meaning
            if key.default is None or key.default == () or key.type == "text":
                continue
            assert read_value(key, key.default) == key.default, key
            assert value_words(key, key.default)
            assert range_words(key)


def test_toml_helper_reads() -> None:
    assert read_scenario(toml("p a constant", "c /x oom_group=true"))[1] == []
