"""Leaks and forecasts from a record: who, when, what would help; each thing told once; files instead of a record."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import random

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from oomsight.cli.main import run
from oomsight.foresight.leaks import judged, surely_falls, surely_leaks, suspected, told, verdict_on
from oomsight.foresight.model import SHMEM, Source, Subject, Task
from oomsight.foresight.outlook import outlook
from oomsight.foresight.victim import inside, predicted
from oomsight.pipeline import foresight
from oomsight.pipeline.outlook import outlook as status_outlook
from oomsight.record.fields import FIELDS, INDEX, UNLIMITED
from oomsight.record.model import SHORT_LIVED, Change
from oomsight.rightsize.growth import concluded, steady
from oomsight.rightsize.model import Subject as Whose
from oomsight.rightsize.model import Usage
from oomsight.sinks.blocks import Table
from oomsight.sinks.curve_svg import Curve, curves_svg
from oomsight.sinks.foresight_document import forecast_schema, leaks_schema
from oomsight.sinks.foresight_words import DO, LEAKS, forecast_blocks, subject_words
from oomsight.sinks.history_store import HistoryStore
from oomsight.sources.errors import SourceError
from oomsight.sources.history import History
from oomsight.sources.series_file import read_subjects
from oomsight.trend.backtest import Came, backtest
from oomsight.trend.leak import MORE_MEMORY_HELPS, Verdict, judge
from oomsight.trend.series import Series
from oomsight.trend.windows import soonest

MIB = float(1 << 20)
DAY = 86400.0
BEGIN = 1_700_006_400.0


def curve(value, days=6.0, step=1800.0, restarts=()) -> Series:
    times = [BEGIN + step * i for i in range(int(days * DAY / step))]
    return Series(times, [value((t - BEGIN) / DAY) * MIB for t in times], restarts=restarts, step_seconds=step)


def leaking(days: float) -> float:
    return 200 + 3 * math.sin(40 * days) + max(0.0, days - 2) * 120


LEAK = curve(leaking)
LEVEL = curve(lambda d: 300 + 2 * math.sin(50 * d))
NOW = LEAK.times[-1]


def subject(need: Series, *, kind="cgroup", path="/app", limit=1000 * MIB, **more) -> Subject:
    return Subject(kind, path, path if kind == "cgroup" else None, None, need, limit, **more)


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", range(250, 340))
def test_a_step_below_the_limit_is_not_full_at_once(empty) -> None:
    """Nothing for minutes, then 59.6 MiB of 64 at once, and no more."""
    values = [0.004 * MIB] * empty + [59.8 * MIB] * 2 + [59.6 * MIB] * 42
    assert soonest(Series([BEGIN + i for i in range(len(values))], values), 64 * MIB, BEGIN + len(values)) is None


def test_what_fills_within_minutes_shows_in_a_weeks_record() -> None:
    week = curve(lambda d: 300 + 2 * math.sin(50 * d), 7)
    now = week.times[-1] + 300
    minutes = [week.times[-1] + second for second in range(1, 301)]
    fast = [(305 + second * 1.0) * MIB for second in range(1, 301)]
    series = Series([*week.times, *minutes], [*week.values, *fast], (), 1800)
    left = soonest(series, 1000 * MIB, now)
    assert left is not None
    assert left.seconds == pytest.approx(395, rel=0.1)
    assert left.growth.since >= week.times[-1] - 60


def test_what_fills_within_half_a_minute_is_followed_from_its_first_samples() -> None:
    """12 MiB a second towards 384 MiB, seen every second: six samples are all there is when a third is used."""
    times = [1.7e9 + i for i in range(30)]
    values = [(60.0 + 12 * i + (0.3 if i % 2 else -0.3)) * MIB for i in range(30)]
    for known in (6, 9, 10, 20):
        left = soonest(Series(times[:known], values[:known]), 384 * MIB, times[known - 1])
        assert left is not None, known
        assert left.seconds == pytest.approx((384 - 60) / 12 - (known - 1), rel=0.1), known
        assert left.low_seconds < left.seconds < left.high_seconds
    assert soonest(Series(times[:5], values[:5]), 384 * MIB, times[4]) is None
    uneven = [*values[:3], values[2] - 1, *values[4:8]]
    assert soonest(Series(times[:8], uneven), 384 * MIB, times[7]) is None


def test_a_young_cgroup_is_looked_at_closely_however_few_glimpses_there_are(tmp_path) -> None:
    """Ten minutes are glimpsed at eighteen moments: of a cgroup eleven seconds old at one, in which nothing moves."""
    store = HistoryStore(str(tmp_path), "b" * 32)
    order = INDEX["cgroup"]

    def cgroup(mib: int) -> tuple:
        known = {"usage_bytes": mib << 10, "working_set_bytes": mib << 10, "limit_bytes": 384 << 10}
        return tuple(known.get(name, 0) for name in order)

    for i in range(600):
        new = [(1, {"kind": "cgroup", "name": "/old"})] if i == 0 else []
        new += [(2, {"kind": "cgroup", "name": "/young"})] if i == 589 else []
        rows = [(1, "cgroup", cgroup(50 + i % 2)), *([(2, "cgroup", cgroup(30 + 12 * (i - 589)))] if i >= 589 else [])]
        store.write(i * 1000 + 1000, 1_700_000_000_000 + i * 1000, Change(new, rows))
    store.close()
    history = History(str(tmp_path))
    first, last = history.span()
    ((subject, left),) = foresight.nearest(history, first, last, 5)
    assert subject.cgroup == "/young"
    assert left.seconds == pytest.approx((384 - 150) / 12, rel=0.1)


def test_few_samples_of_a_long_life_are_not_followed() -> None:
    """Ten minutes of a sparse record are no young curve."""
    times = [1.7e9 + 100 * i for i in range(60)]
    values = [300.0 * MIB] * 53 + [(300.0 + 4 * i) * MIB for i in range(7)]
    assert soonest(Series(times, values), 330 * MIB, times[-1]) is None


def test_what_rises_again_and_again_is_no_forecast() -> None:
    sawtooth = curve(lambda d: 300 + 400 * (d * 5 % 1), step=300)
    for hour in range(60, 140, 7):
        assert soonest(sawtooth, 1000 * MIB, BEGIN + hour * 3600) is None
    assert soonest(LEVEL, 1000 * MIB, NOW) is None
    assert soonest(LEAK, None, NOW) is None
    assert soonest(Series((), ()), 1.0, NOW) is None


def test_nothing_is_foretold_far_beyond_what_was_seen() -> None:
    slow = curve(lambda d: 200 + d)
    assert soonest(slow, 1000 * MIB, slow.times[-1]) is None
    assert soonest(slow, 220 * MIB, slow.times[-1]) is not None


# -- how good ---------------------------------------------------------------------------------------------------------


def test_backtest_of_a_straight_leak_holds_and_of_a_sudden_end_is_late() -> None:
    whole = curve(leaking, 8.6)
    good = backtest(whole, 1000 * MIB)
    assert good.inside is not None
    assert good.inside >= 0.7
    assert good.error is not None
    assert good.error < 0.15
    assert any(check.real for check in good.checks)
    stops = backtest(curve(lambda d: 200 + min(d, 3) * 120, 12), None)
    assert stops.count(Came.LATE) > 0
    assert backtest(Series((), ()), None).inside is None


def test_backtest_knows_nothing_of_what_came_later() -> None:
    first = backtest(LEAK.between(BEGIN, BEGIN + 4 * DAY), None, 24)
    longer = Series(LEAK.times, [v if t <= BEGIN + 4 * DAY else 0.0 for t, v in zip(LEAK.times, LEAK.values, strict=True)])
    second = backtest(longer, None, 36)
    said = {round(check.made): check.seconds for check in second.checks}
    assert first.checks
    for check in first.checks:
        if round(check.made) in said:
            assert said[round(check.made)] == pytest.approx(check.seconds)


# -- who --------------------------------------------------------------------------------------------------------------


def test_paths() -> None:
    assert inside("/a/b", "/a")
    assert inside("/a", "/a")
    assert not inside("/ab", "/a")
    assert not inside(None, "/a")
    assert inside(None, None)
    assert inside("/x", "/")


def test_victim_is_the_one_that_grows_unless_another_is_preferred() -> None:
    tasks = [Task("big", 1, "/app", 300 * MIB, 0, 0, 0, 0), Task("grows", 2, "/app", 200 * MIB, 0, 0, 0, 0),
             Task("exempt", 3, "/app", 900 * MIB, 0, 0, -1000, 0)]  # fmt: skip
    cause = Source("process", "grows", 2, "/app", 1, 0.0, 1.0, 1.0, None)
    found = predicted(tasks, cause, 500 * MIB, 1000 * MIB, 4096)
    assert found is not None
    assert (found.comm, found.is_cause) == ("grows", True)
    preferred = [tasks[0]._replace(oom_score_adj=800), *tasks[1:]]
    found = predicted(preferred, cause, 500 * MIB, 1000 * MIB, 4096)
    assert found is not None
    assert (found.comm, found.is_cause) == ("big", False)
    assert predicted(tasks[2:], None, 0.0, 1000 * MIB, 4096) is None


def test_remedies_buy_what_the_rate_says() -> None:
    cause = Source("process", "app", 7, "/app", 1, 600 * MIB, 480 * MIB, 1.0, 1.0)
    one = subject(LEAK, swap_free_bytes=240 * MIB)
    left = soonest(one.need, one.limit_bytes, NOW)
    said = outlook(one, NOW, left, [cause], [], 4096)
    seconds = {remedy.kind: remedy.seconds for remedy in said.remedies}
    assert seconds["limit"] == pytest.approx(250 / 120 * DAY, rel=0.1)
    assert seconds["swap"] == pytest.approx(2 * DAY, rel=0.1)
    assert seconds["restart"] == pytest.approx(4 * DAY, rel=0.1)
    assert said.victim is None
    assert outlook(one, NOW, None, [], [], 4096).remedies == ()


# -- each thing once --------------------------------------------------------------------------------------------------


def test_a_leak_is_told_once_where_it_says_most() -> None:
    parent, child, cousin = subject(LEAK, path="/a"), subject(LEAK, path="/a/b"), subject(LEVEL, path="/a/c")
    program = subject(LEAK, kind="name", path="app")
    found = [judged(one, NOW) for one in (parent, child, cousin, program)]
    assert [leak.subject.name for leak in told(found)] == ["/a/b", "app"]
    cause = Source("name", "app", None, "/a/b", 3, 0.0, 1.0, 1.0, None)
    found[1] = dataclasses.replace(found[1], causes=(cause,))
    assert [leak.subject.name for leak in told(found)] == ["/a/b"]


def test_a_suspicion_is_told_where_no_leak_says_more() -> None:
    def maybe(path: str, leak) -> object:
        finding = dataclasses.replace(leak.finding, verdict=Verdict.SUSPECTED)
        return dataclasses.replace(leak, subject=subject(LEAK, path=path), finding=finding)

    leak = judged(subject(LEAK, path="/a/b"), NOW)
    found = [leak, maybe("/a", leak), maybe("/c", leak), maybe("/c/d", leak)]
    assert [one.subject.name for one in told(found)] == ["/a/b"]
    assert [one.subject.name for one in suspected(found)] == ["/c/d"]


def test_every_verdict_says_what_to_do_and_none_contradicts_its_answer_on_more_memory() -> None:
    assert set(DO) == set(MORE_MEMORY_HELPS) == set(Verdict)
    for verdict, helps in MORE_MEMORY_HELPS.items():
        assert (helps is True) is DO[verdict].startswith("More memory helps"), verdict
        assert (helps is False) is ("does not help" in DO[verdict]), verdict


def test_leaks_all_says_what_to_do_at_each_verdict_that_is_there(tmp_path) -> None:
    for name, need in (("a.csv", LEAK), ("b.csv", LEVEL)):
        rows = "".join(f"{t},{v}\n" for t, v in zip(need.times, need.values, strict=True))
        (tmp_path / name).write_text("time,value\n" + rows)
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    text = " ".join(_run("leaks", "--all", *files, "--limit", "1000MiB")[1].split())
    assert LEAKS in text
    assert DO[Verdict.LEAK] in text
    assert DO[Verdict.LEVEL] in text
    assert DO[Verdict.CACHE] not in text


def test_a_leak_that_was_killed_is_one_until_the_next_life_can_be_judged() -> None:
    kill = BEGIN + 5.95 * DAY
    need = curve(lambda d: leaking(d) if d < 5.95 else 60.0, restarts=(kill,))
    leak = judged(subject(need, kills=(kill,)), NOW)
    assert leak.finding.is_leak
    assert leak.left is None
    assert "until it was killed" in leak.finding.evidence[-1]


def test_a_leak_whose_killed_process_nobody_started_again_stays_one() -> None:
    """Days later the few pages that are left rise, fall and make steps; that is no life that says otherwise."""
    kill = BEGIN + 4 * DAY
    for left in (lambda d: 0.02 if d < 4.2 else 0.0, lambda d: 0.1 * (int(50 * d) % 7), lambda d: 3.0 - d / 2):
        need = curve(lambda d, left=left: leaking(d) if d < 4 else left(d), restarts=(kill,))
        leak = judged(subject(need, kills=(kill,)), NOW)
        assert leak.finding.is_leak
        assert leak.left is None
    small = curve(lambda d: leaking(d) if d < 4 else 60.0 + 30 * (int(4 * d) % 2), restarts=(kill,))
    assert not judged(subject(small, kills=(kill,)), NOW).finding.is_leak


def test_whether_something_leaks_is_known_without_what_else_it_is() -> None:
    chance, leaking, falling = random.Random(11), 0, 0
    usage = Usage(subject=Whose(kind="unit", name="a"), source="")
    for number in range(150):
        slope, noise, jobs = chance.choice([0, 0.01, 0.05, 0.3]), chance.uniform(0, 6), chance.choice([0, 0, 40])
        level, values = chance.uniform(50, 400), list[float]()
        for row in range(chance.choice([8, 300, 900])):
            level += slope + chance.gauss(0, noise / 20)
            values.append(max(level + chance.random() * noise + jobs * (row % 50 < 9), 0) * MIB)
        times = [1e9 + 600 * row for row in range(len(values))]
        restarts = (times[-chance.randrange(1, 30) % len(times)],) if number % 4 == 0 else ()
        subject = Subject("cgroup", "a", "/a", None, Series(times, values, restarts),
                          chance.choice([None, 1 << 30, 1 << 29]))  # fmt: skip
        now = times[-1] - chance.choice([-60, 0, 86400])
        assert surely_leaks(subject, now) is verdict_on(subject, now)[0].is_leak
        leaking += surely_leaks(subject, now)
        if surely_falls(subject, now):
            falling += 1
            assert concluded(usage, [verdict_on(subject, now)[0]]) == steady(usage)
    assert 10 < leaking < 100
    assert falling > 5


def test_what_grows_too_slowly_for_a_forecast_is_shown_with_its_rate_and_what_was_killed_without() -> None:
    killed = BEGIN + 4.5 * DAY
    slow = subject(curve(lambda d: 300 + 60 * d, 2), path="/slow", limit=MIB * 1e4)
    gone = subject(curve(lambda d: leaking(d) if d < 4.5 else 0.004, restarts=(killed,)), path="/gone", kills=(killed,))
    quiet = [outlook(one, one.need.times[-1], None, (), (), 4096) for one in (slow, gone)]
    (table,) = [block for block in forecast_blocks([], quiet, NOW, 80, unicode=True) if isinstance(block, Table)]
    assert [row.cells[3:] for row in table.rows] == [("2.5 MiB/h", "unknown"), ("", "leak")]


def test_the_way_out_of_a_name_for_a_file_and_of_one_sample(tmp_path, capsys) -> None:
    assert run(["leaks", "nginx"]) == 4
    assert "nginx: no such file or directory; try: oomsight history nginx, or oomsight forecast nginx" in capsys.readouterr().err
    writer = HistoryStore(str(tmp_path), "b" * 32)
    writer.write(1000, int(BEGIN * 1000), Change([(1, {"kind": "host", "name": "box"})], [(1, "host", _row("host", anon_bytes=5))]))
    writer.close()
    for command in ("leaks", "forecast"):
        assert run([command, "--store", str(tmp_path), "--since", "2020-01-01"]) == 4
        assert "only one sample is recorded yet; wait a minute" in capsys.readouterr().err


def test_forecast_calls_a_curve_what_leaks_calls_it() -> None:
    killed = BEGIN + 4.5 * DAY
    for need, kills in ((LEAK, ()), (curve(lambda d: leaking(d) if d < 4.5 else 0.004, restarts=(killed,)), (killed,))):
        one = subject(need, kills=kills)
        assert outlook(one, NOW, None, (), (), 4096).finding == judged(one, NOW).finding
        assert judged(one, NOW).finding.is_leak


# -- files ------------------------------------------------------------------------------------------------------------


def _csv(series: Series) -> str:
    return "time,value\n" + "".join(f"{t},{v}\n" for t, v in zip(series.times, series.values, strict=True))


@pytest.mark.parametrize(("text", "words"), [
    ("", "no columns for time and value"), ("a,b\n1,2\n", "no columns for time and value"),
    ("time,value\nyesterday,3\n", "line 2"), ("time,value\n2026-01-01,big\n", "line 2"), ("time,value\n", "no memory curve"),
    ("{", "is not what"), ("[1]", "is not what"), ('{"series": [{"times": [1], "values": []}]}', "is not what"),
    ("\x00\x01", "no columns"),
])  # fmt: skip
def test_a_file_that_is_none_says_so_in_one_line(text, words) -> None:
    with pytest.raises(SourceError, match=words) as raised:
        read_subjects("x.csv", None, text.encode())
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=300))
def test_no_file_is_too_strange(content) -> None:
    with contextlib.suppress(SourceError):
        read_subjects("x", 1.0, content)


def test_exported_history_comes_back(tmp_path) -> None:
    rows = ["time,kind,name,pid,cgroup,field,value"]
    for t, v in zip(LEAK.times, LEAK.values, strict=True):
        rows += [f"{t},cgroup,/app,,/app,usage_bytes,{v + 50 * MIB}", f"{t},cgroup,/app,,/app,file_bytes,{60 * MIB}",
                 f"{t},cgroup,/app,,/app,shmem_bytes,{10 * MIB}", f"{t},cgroup,/app,,/app,limit_bytes,{1000 * MIB}"]  # fmt: skip
    (one,) = read_subjects("x.csv", None, "\n".join(rows).encode())
    assert (one.kind, one.cgroup, one.limit_bytes) == ("cgroup", "/app", 1000 * MIB)
    assert list(one.need.values) == pytest.approx(list(LEAK.values))


def _run(*args: str) -> tuple[int, str]:
    from oomsight.cli.main import cli

    done = CliRunner().invoke(cli, list(args), standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.stdout


def test_commands_on_a_file(tmp_path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(_csv(LEAK))
    status, text = _run("leaks", str(path), "--limit", "1000MiB", "--exit-code", "--plot", str(tmp_path / "x.svg"))
    assert status == 3
    assert "1 leak found" in text
    assert "5.0" in text
    svg = (tmp_path / "x.svg").read_text()
    assert svg.startswith("<svg")
    assert "usage.csv" in svg
    status, text = _run("leaks", str(path), "--limit", "1000MiB", "--format", "json")
    document = json.loads(text)
    jsonschema.validate(document, leaks_schema())
    assert document["leaks"][0]["finding"]["more_memory_helps"] is False
    status, text = _run("forecast", "--file", str(path), "--limit", "1000MiB", "--format", "json", "--backtest")
    document = json.loads(text)
    jsonschema.validate(document, forecast_schema())
    assert document["outlooks"][0]["time_left"]["seconds"] == pytest.approx((1000 - 680) / 120 * DAY, rel=0.1)
    assert document["backtest"][0]["decided"] > 5
    status, text = _run("forecast", "--file", str(path), "--limit", "1000MiB")
    assert "full in about" in text
    status, text = _run("forecast", "--file", str(path), "--limit", "1000MiB", "--backtest")
    assert "past forecasts held" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(("args", "status", "words"), [
    (["leaks", "/nowhere.csv"], 4, "no such file"), (["forecast", "--store", "/nowhere"], 4, "nowhere"),
    (["forecast", "--limit", "much"], 2, "is no size"), (["leaks", "--since", "now", "--until", "-1d"], 2, "before"),
    (["leaks", "--since", "once"], 2, "--since"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(args, status, words, capsys) -> None:
    assert run(args) == status
    err = capsys.readouterr().err
    assert words in err.lower()
    assert err.count("\n") == 1


def test_the_short_lived_are_called_so_without_quotes() -> None:
    assert subject_words(Subject("name", SHORT_LIVED, None, None, LEVEL, None)) == "(short-lived)"
    assert subject_words(Subject("name", "(sh)", None, None, LEVEL, None)) != "(sh)"  # marked: somebody's word


def test_picture_names_are_text_only() -> None:
    evil = '<script>"&\x1b[31m$x$'
    finding = judge(LEAK, 1000 * MIB, NOW)
    svg = curves_svg([Curve(evil, evil, LEAK, 1000 * MIB, finding, soonest(LEAK, 1000 * MIB, NOW))])
    assert "<script" not in svg
    assert "\x1b" not in svg
    from xml.etree import ElementTree

    ElementTree.fromstring(svg)


# -- a record ---------------------------------------------------------------------------------------------------------


def _row(kind: str, **figures: int) -> tuple:
    row: list[int | None] = [None] * len(FIELDS[kind])
    for name, value in figures.items():
        row[INDEX[kind][name]] = value
    return tuple(row)


def test_a_cgroup_alone_is_told_as_among_all(store_with_swap) -> None:
    alone, among = (
        json.loads(_run("forecast", *who, "--store", str(store_with_swap), "--format", "json")[1])["outlooks"]
        for who in (("/app",), ())
    )
    assert [one["subject"]["kind"] for one in alone] == ["cgroup"]
    assert alone == [one for one in among if one["subject"]["kind"] == "cgroup"]
    assert "512 MiB of swap" in str(alone)  # the host's swap is known though its curve was not asked for


@pytest.fixture
def store_with_swap(tmp_path):
    return _made_store(tmp_path, swap_kib=1 << 19)


@pytest.fixture
def store(tmp_path):
    return _made_store(tmp_path, swap_kib=0)


def _made_store(tmp_path, swap_kib: int):
    """Ten minutes of a host with one limited cgroup in which one of two processes grows 512 KiB a second."""
    wall = int(BEGIN * 1000)
    writer = HistoryStore(str(tmp_path / "h"), "b" * 32)
    for i in range(600):
        change = Change()
        if not i:
            change.new = [
                (1, {"kind": "host", "name": "box"}),
                (2, {"kind": "cgroup", "name": "/app"}),
                (3, {"kind": "cgroup", "name": "/free"}),
                (4, {"kind": "process", "pid": 44, "start": 1, "name": "grows", "cgroup": "/app", "cmd": "", "age": 0}),
                (5, {"kind": "process", "pid": 55, "start": 1, "name": "still", "cgroup": "/app", "cmd": "", "age": 0}),
                (6, {"kind": "name", "name": "grows"}),
            ]
        grown = 512 * i
        change.rows = [
            (1, "host", _row("host", anon_bytes=grown, mem_total_bytes=16 << 20, mem_available_bytes=(1 << 20) - grown,
                             swap_total_bytes=swap_kib, swap_free_bytes=swap_kib, oom_kill=0)),
            (2, "cgroup", _row("cgroup", working_set_bytes=grown + 90_000, usage_bytes=grown + 200_000, limit_bytes=1 << 20,
                               file_bytes=100_000, shmem_bytes=0, anon_bytes=grown, swap_bytes=0, events_oom_kill=0)),
            (3, "cgroup", _row("cgroup", working_set_bytes=100, usage_bytes=100, limit_bytes=UNLIMITED,
                               file_bytes=0, shmem_bytes=0, anon_bytes=0, swap_bytes=0, events_oom_kill=0)),
            (4, "process", _row("process", rss_anon_bytes=grown + 1000, rss_file_bytes=0, rss_shmem_bytes=0, swap_bytes=0,
                                pgtables_bytes=0, oom_score_adj=0)),
            (5, "process", _row("process", rss_anon_bytes=80_000, rss_file_bytes=0, rss_shmem_bytes=0, swap_bytes=0,
                                pgtables_bytes=0, oom_score_adj=0)),
            (6, "name", _row("name", rss_anon_bytes=grown + 1000, rss_file_bytes=0, rss_shmem_bytes=0, swap_bytes=0,
                             pgtables_bytes=0, processes=1)),
        ]  # fmt: skip
        writer.write(1000 + i * 1000, wall + i * 1000, change)
    writer.close()
    return tmp_path / "h"


def test_record_tells_when_who_and_who_dies(store) -> None:
    status, text = _run("forecast", "--store", str(store), "--format", "json")
    document = json.loads(text)
    jsonschema.validate(document, forecast_schema())
    first = document["outlooks"][0]
    assert first["subject"]["cgroup"] == "/app"
    headroom = (1 << 20) - (512 * 599 + 100_000)
    assert first["time_left"]["seconds"] == pytest.approx(headroom / 512, rel=0.05)
    assert [cause["pid"] for cause in first["causes"]] == [44]
    assert first["victim"] == {"comm": "grows", "pid": 44, "points_pages": first["victim"]["points_pages"], "is_cause": True}
    assert "/free" not in text
    host = document["outlooks"][1]
    assert host["subject"]["kind"] == "host"
    assert {remedy["kind"] for remedy in host["remedies"]} == {"swap", "restart", "confine"}
    status, text = _run("forecast", "app", "--store", str(store), "--exit-code")
    assert status == 3
    assert "grows (pid 44)" in text
    status, text = _run("leaks", "--store", str(store), "--all", "--format", "json")
    names = {one["subject"]["name"] for one in json.loads(text)["judged"]}
    assert names == {"/app", "grows"}
    brief, whole = (_run("leaks", "--store", str(store), *words)[1] for words in ((), ("--all",)))
    assert "2 curves judged" in brief.splitlines()[0]
    assert whole.startswith(brief.splitlines()[0])


def test_status_has_the_forecast_and_who_grew(store) -> None:
    now = BEGIN + 600
    ahead = status_outlook(str(store), now)
    assert ahead.missing is None
    assert ahead.forecasts[0].subject == "/app"
    assert ahead.forecasts[0].cause_pid == 44
    assert [grower.pid for grower in ahead.grown] == [44]
    assert ahead.grown[0].grown_kib == pytest.approx(512 * 599, rel=0.02)
    silent = status_outlook(str(store), now + 100)
    assert silent.forecasts[0].seconds == pytest.approx(ahead.forecasts[0].seconds - 100, abs=2)
    assert "until 101 s ago; nothing is since: `oomsight record`, or the agent, does not run" in (silent.missing or "")
    assert status_outlook(str(store), now + 20).forecasts[0].seconds == ahead.forecasts[0].seconds
    late = status_outlook(str(store), now + 3 * DAY)
    assert late.missing is not None
    assert "does not run" in late.missing
    assert "nothing is recorded" in (status_outlook(str(store / "no"), now).missing or "")


def test_nothing_is_foretold_of_what_is_gone(tmp_path, capsys) -> None:
    """A cgroup that filled up, was killed and removed a minute ago."""
    writer = HistoryStore(str(tmp_path), "b" * 32)
    for second in range(300):
        change = Change(rows=[(1, "host", _row("host", anon_bytes=second, mem_total_bytes=1 << 20,
                                               mem_available_bytes=1 << 19))])  # fmt: skip
        if not second:
            change.new = [(1, {"kind": "host", "name": "box"}), (2, {"kind": "cgroup", "name": "/app"})]
        if second < 240:
            change.rows.append((2, "cgroup", _row("cgroup", working_set_bytes=500 * second, usage_bytes=500 * second,
                                                  file_bytes=0, limit_bytes=1 << 17)))  # fmt: skip
        change.gone = [2] if second == 240 else []
        writer.write(1000 + second * 1000, int(BEGIN * 1000) + second * 1000, change)
    writer.close()
    assert "/app" not in _run("forecast", "--store", str(tmp_path), "--format", "json")[1]
    assert "/app" in _run("forecast", "--backtest", "--store", str(tmp_path), "--format", "json")[1]
    assert run(["forecast", "app", "--store", str(tmp_path)]) == 4
    assert "'app' is gone, last seen" in capsys.readouterr().err


@pytest.mark.parametrize(("successors", "kind", "pid", "grown"), [
    ((100, 100, 100), None, None, 0), ((130, 130, 130), "name", None, 90), ((100, 160, 100), "name", None, 60), ((150,), None, None, 0),
])  # fmt: skip
def test_who_takes_the_place_of_another_has_grown_by_what_it_holds_more(tmp_path, successors, kind, pid, grown) -> None:
    """Three workers of 100 MiB, after five minutes others in their place."""
    writer, still = HistoryStore(str(tmp_path), "b" * 32), _row("process", rss_anon_bytes=50 << 10)
    for second in range(600):
        change = Change()
        if second in {0, 300}:
            first, sizes = (10, (100, 100, 100)) if not second else (20, successors)
            change.new = [(first + i, {"kind": "process", "pid": first + i, "start": second, "name": "worker", "cgroup": "/app",
                                       "cmd": "", "age": second + 1}) for i in range(len(sizes))]  # fmt: skip
            change.rows = [(first + i, "process", _row("process", rss_anon_bytes=mib << 10)) for i, mib in enumerate(sizes)]
            change.gone = [10, 11, 12] if second else []
        if not second:
            change.new.append((1, {"kind": "host", "name": "box"}))
            change.new.append((2, {"kind": "process", "pid": 2, "start": 0, "name": "still", "cgroup": "/app", "cmd": "", "age": 1}))
            change.rows.append((2, "process", still))
        change.rows.append((1, "host", _row("host", anon_bytes=second)))
        writer.write(1000 + second * 1000, int(BEGIN * 1000) + second * 1000, change)
    writer.close()
    found = foresight.causes(History(str(tmp_path)), "/app", BEGIN + 10, BEGIN + 599)
    assert [(one.kind, one.pid, round(one.grown_bytes / MIB)) for one in found] == ([(kind, pid, grown)] if kind else [])
    assert not found or found[0].share == 1.0


def test_what_fills_is_seen_among_many_that_are_gone_or_far_from_their_limit(tmp_path, monkeypatch) -> None:
    """A small cgroup fills; twenty bigger ones grew more, half of them are gone and half have room."""
    writer = HistoryStore(str(tmp_path), "b" * 32)

    def usage(kib: int, limit_kib: int) -> tuple:
        return _row("cgroup", working_set_bytes=kib, usage_bytes=kib, file_bytes=0, limit_bytes=limit_kib)

    for second in range(400):
        change = Change(rows=[(1, "host", _row("host", anon_bytes=second, mem_total_bytes=1 << 20,
                                               mem_available_bytes=1 << 19))])  # fmt: skip
        if not second:
            change.new = [(1, {"kind": "host", "name": "box"})]
            change.new += [(n, {"kind": "cgroup", "name": f"/big{n}"}) for n in range(10, 30)]
            change.new.append((2, {"kind": "cgroup", "name": "/small"}))
        change.rows.append((2, "cgroup", usage(4000 + 100 * second, 60_000)))
        for number in range(10, 30):
            if number >= 20 or second < 300:
                change.rows.append((number, "cgroup", usage(500 * second, 1 << 26)))
        change.gone = list(range(10, 20)) if second == 300 else []
        writer.write(1000 + second * 1000, int(BEGIN * 1000) + second * 1000, change)
    writer.close()
    found = status_outlook(str(tmp_path), BEGIN + 400).forecasts
    assert [one.subject for one in found] == ["/small"]
    monkeypatch.setattr(foresight, "MOST_SUBJECTS", 12)
    document = json.loads(_run("forecast", "--store", str(tmp_path), "--format", "json")[1])
    assert "/small" in [one["subject"]["cgroup"] for one in document["outlooks"]]


def test_workers_that_live_for_seconds_are_counted_while_they_live_and_who_was_killed_is_named(tmp_path) -> None:
    """Two workers of 10 MiB take turns every 8 s beside one that grows until it is killed, a minute before the end."""
    writer, number = HistoryStore(str(tmp_path), "b" * 32), 10
    for second in range(700):
        change = Change(rows=[(1, "host", _row("host", anon_bytes=second))])
        if not second:
            change.new = [(1, {"kind": "host", "name": "box"}),
                          (2, {"kind": "process", "pid": 2, "start": 0, "name": "grows", "cgroup": "/app", "cmd": "", "age": 1})]  # fmt: skip
        if second < 640:
            change.rows.append((2, "process", _row("process", rss_anon_bytes=100 * second)))
        change.gone = [2] if second == 640 else []
        if second % 8 == 0:
            change.gone += [number, number + 1] if second else []
            number += 2
            change.new += [(n, {"kind": "process", "pid": n, "start": second, "name": "worker", "cgroup": "/app", "cmd": "",
                                "age": 1}) for n in (number, number + 1)]  # fmt: skip
            change.rows += [(n, "process", _row("process", rss_anon_bytes=10 << 10)) for n in (number, number + 1)]
        writer.write(1000 + second * 1000, int(BEGIN * 1000) + second * 1000, change)
    writer.close()
    history = History(str(tmp_path))
    for until in (400, 632, 639):
        (cause,) = foresight.causes(history, "/app", BEGIN + 5, BEGIN + until)
        assert (cause.name, cause.pid) == ("grows", 2)
    assert foresight.causes(history, "/app", BEGIN + 5, BEGIN + 699) == []


def test_what_fills_a_tmpfs_is_no_process_and_no_restart_frees_it(tmp_path) -> None:
    wall = int(BEGIN * 1000)
    writer = HistoryStore(str(tmp_path), "b" * 32)
    for i in range(600):
        kib = 512 * i
        figures = {"working_set_bytes": kib + 4000, "usage_bytes": kib + 4000, "limit_bytes": 330_000, "file_bytes": kib,
                   "shmem_bytes": kib, "anon_bytes": 4000, "swap_bytes": 0, "events_oom_kill": 0}  # fmt: skip
        change = Change(rows=[
            (1, "host", _row("host", anon_bytes=9000, mem_total_bytes=16 << 20, mem_available_bytes=8 << 20, shmem_bytes=kib)),
            (2, "cgroup", _row("cgroup", **figures)),
            (4, "process", _row("process", rss_anon_bytes=4000 + i, rss_file_bytes=0, rss_shmem_bytes=0, swap_bytes=0,
                                pgtables_bytes=0, oom_score_adj=0)),
        ])  # fmt: skip
        if not i:
            change.new = [(1, {"kind": "host", "name": "box"}), (2, {"kind": "cgroup", "name": "/app"}),
                          (4, {"kind": "process", "pid": 44, "start": 1, "name": "writes", "cgroup": "/app", "cmd": "", "age": 0})]
        writer.write(1000 + i * 1000, wall + i * 1000, change)
    writer.close()
    for cgroup in ("/app", None):
        first, *_ = foresight.causes(History(str(tmp_path)), cgroup, BEGIN + 100, BEGIN + 400)
        assert (first.kind, first.name, first.pid) == ("shmem", SHMEM, None)
        assert first.grown_bytes == pytest.approx(300 * 512 * 1024, rel=0.02)
        assert first.share == pytest.approx(1, abs=0.01)
    status, text = _run("forecast", "app", "--store", str(tmp_path), "--format", "json")
    jsonschema.validate(json.loads(text), forecast_schema())
    (found,) = json.loads(text)["outlooks"]
    assert status == 0
    assert [one["kind"] for one in found["remedies"]] == ["limit", "delete"]
    said = " ".join(_run("forecast", "app", "--store", str(tmp_path))[1].split())
    assert "by tmpfs and shared memory +" in said
    assert "restart" not in said
    assert "delete what fills it" in " ".join(_run("leaks", "--store", str(tmp_path), "--all")[1].split())
    ahead = status_outlook(str(tmp_path), BEGIN + 600)
    assert [one.cause for one in ahead.forecasts][:1] == [SHMEM]
    assert SHMEM not in [one.name for one in ahead.grown]


def test_causes_count_what_came_later_from_nothing(store) -> None:
    history = History(str(store))
    low, high = history.span() or (0, 0)
    for since, until in ((high - 100, high), (low + 100, low + 130), (high - 30, high), (low + 5, low + 580)):
        (cause,) = foresight.causes(history, "/app", since, until)
        assert cause.grown_bytes == pytest.approx((until - since) * 512 * 1024, rel=0.06)
    assert cause.holds_bytes == pytest.approx(580 * 512 * 1024, rel=0.06)
    assert foresight.causes(history, "/other", low, high) == []
