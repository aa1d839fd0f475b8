"""``oomsight history``: every format and way to ask, from a small history of a made-up machine."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from oomsight.cli.exits import CommandError, Exit
from oomsight.cli.main import cli
from oomsight.record.fields import INDEX, UNLIMITED
from oomsight.record.model import SHORT_LIVED, Change
from oomsight.sinks.history_store import HistoryStore
from oomsight.sinks.history_words import gaps, sparkline
from oomsight.sinks.plot_history import moments, pieces, steps
from oomsight.sources.series_file import read_subjects
from oomsight.trend.series import Series

WALL = 1_700_000_000_000
HOSTILE = "evil\x1b[31m<b>=1+1"
SINCE, UNTIL = "2023-11-14T22:13:00+00:00", "2023-11-14T23:00:00+00:00"


def cgroup(**figures) -> tuple:
    return tuple(figures.get(name, 0) for name in INDEX["cgroup"])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("history"))
    store = HistoryStore(path, "b" * 32)
    new = [
        (1, {"kind": "host", "name": "box"}), (2, {"kind": "name", "name": HOSTILE}),
        (3, {"kind": "process", "pid": 42, "start": 5, "name": HOSTILE, "cgroup": "/a", "cmd": "x --token ***", "age": 5}),
        (4, {"kind": "cgroup", "name": "/system.slice/web.service"}),
        (5, {"kind": "cgroup", "name": "/system.slice/docker-" + "a" * 64 + ".scope"}),
    ]  # fmt: skip
    host = {"mem_total_bytes": 1 << 20, "mem_available_bytes": 1 << 19}
    for i in range(200):
        if 100 <= i < 150:
            continue  # the recorder was down
        rows = [
            (1, "host", tuple(host.get(name, i) for name in INDEX["host"])),
            (2, "name", (5000 + 100 * i, 10, 0, 0, 5, 1, 1)),
            (3, "process", (5000 + 100 * i, 10, 0, 0, 5, 0, None, 5000 + 100 * i)),
            (4, "cgroup", cgroup(working_set_bytes=9000 + i, usage_bytes=9500 + i, limit_bytes=20000)),
            (5, "cgroup", cgroup(working_set_bytes=8000 + i, usage_bytes=8500 + i, limit_bytes=20000)),
        ]
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000, Change(new if i == 0 else [], rows))
    store.close()
    return path


def ask(place: str, *arguments: str):
    period = ["--since", SINCE, "--until", UNTIL]
    result = CliRunner().invoke(cli, ["history", "--store", place, *period, *arguments])
    assert "\x1b[31m" not in result.output
    return result


def test_what_the_recorder_could_not_see_is_told_with_what_it_saw(tmp_path) -> None:
    """In a container it records the host's figures and its own processes only."""
    store = HistoryStore(str(tmp_path), "b" * 32)
    words = {"kind": "host", "name": "box", "unseen": ["processes and limits outside this container"]}
    for i in range(60):
        row = (1, "host", tuple(1 << 20 if name == "mem_total_bytes" else i for name in INDEX["host"]))
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000, Change([(1, words)] if i == 0 else [], [row]))
    store.close()
    told = "not recorded: processes and limits outside this container"
    for question in ((), ("--at", SINCE.replace("13:00", "13:40"))):
        assert f"Not recorded{told[12:]}." in ask(str(tmp_path), *question).output
    picture = ask(str(tmp_path), "--at", SINCE.replace("13:00", "13:40"), "--format", "json")
    assert json.loads(picture.output)["unseen"] == [told[14:]]
    for question in ("leaks", "forecast"):
        asked = [question, "--store", str(tmp_path), "--since", SINCE, "--until", UNTIL]
        assert told in CliRunner().invoke(cli, asked).stderr


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [((), "mem_available_bytes"), (("42",), "rss_anon_bytes"), (("web",), "working_set_bytes"),
     (("--by", "unit"), "web.service"), (("--by", "container"), "aaaaaaaaaaaa"), (("--by", "process"), "pid 42"),
     (("web", "--field", "usage_bytes", "--format", "markdown"), "usage_bytes")],
)  # fmt: skip
def test_asked_by_host_pid_unit_container(place, arguments, holds) -> None:
    result = ask(place, *arguments)
    assert result.exit_code == 0, result.output
    assert holds in result.output


def test_a_list_is_by_the_figure_asked_for(place) -> None:
    """The biggest by working set is not the biggest by what was asked for; a limit that does not limit comes last."""
    result = ask(place, "--by", "process", "--field", "pgtables_bytes")
    assert "Processes by pgtables_bytes" in result.output
    assert re.search(r"pid 42\) +5 KiB", result.output)
    both = ask(place, "--by", "cgroup", "--field", "usage_bytes", "--field", "limit_bytes").output
    assert both.index("── usage_bytes") < both.index("9.5 MiB") < both.index("── limit_bytes") < both.index("19.5 MiB")
    assert "No unit was recorded" not in both
    some = ask(place, "--by", "cgroup", "--field", "kernel_bytes", "--top", "1", "--format", "csv")
    assert len(some.stdout.splitlines()) == 151
    assert some.stderr == "oomsight: only the 1 biggest by kernel_bytes; --top N gives more\n"
    assert not ask(place, "--by", "cgroup", "--top", "2", "--format", "csv").stderr


@pytest.mark.parametrize("kind", ["process", "name", "cgroup", "unit", "container"])
def test_a_list_of_seconds_has_the_figures_of_these_seconds(place, kind) -> None:
    """Not those of the chunk they are kept in, which tells of minutes."""
    listed = ("--by", kind, "--since", "2023-11-14T22:13:40Z", "--until", "2023-11-14T22:13:50Z", "--format", "json")
    (one, *_) = json.loads(ask(place, *listed).output)["entities"]
    kib = {"process": 6900, "name": 6900, "cgroup": 9019, "unit": 9019, "container": 8019}[kind]
    step = 1 if kib > 7000 else 100
    assert (one["first"] / 1024, one["peak"] / 1024, one["last"] / 1024) == (kib, kib + 10 * step, kib + 10 * step)


def test_of_what_is_left_the_lowest_is_the_worst(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    for i in range(100):
        left = 1 << 18 if i == 50 else 1 << 20
        row = tuple({"mem_available_bytes": left, "anon_bytes": i << 10}.get(name, 0) for name in INDEX["host"])
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000,
                    Change([(1, {"kind": "host", "name": "box"})] if not i else [], [(1, "host", row)]))  # fmt: skip
    store.close()
    lines = {line.split()[0]: line for line in ask(str(tmp_path), "--until", "2023-11-14T22:15:00+00:00").output.splitlines() if line}
    assert "worst" in lines["figure"]
    assert re.search(r"mem_available_bytes +256.0 MiB +1.0 GiB +0  █+▃█+$", lines["mem_available_bytes"])
    assert re.search(r"anon_bytes +99.0 MiB +99.0 MiB", lines["anon_bytes"])


def test_our_own_words_are_not_quoted_as_names_of_others(tmp_path, place) -> None:
    assert re.search(r"^container aaaaaaaaaaaa +", ask(place, "--by", "container").output, re.MULTILINE)
    store = HistoryStore(str(tmp_path), "b" * 32)
    store.write(1000, WALL + 1000, Change([(1, {"kind": "name", "name": SHORT_LIVED}), (2, {"kind": "name", "name": "(sd-pam)"})],
                                          [(i, "name", (500, 1, 0, 0, 1, 1, 1)) for i in (1, 2)]))  # fmt: skip
    store.close()
    names = re.findall(r"^\S*\(\S+", ask(str(tmp_path), "--by", "name").output, re.MULTILINE)
    assert set(names) == {SHORT_LIVED, '"(sd-pam)"'}


def test_the_biggest_by_another_figure(tmp_path) -> None:
    store = HistoryStore(str(tmp_path), "b" * 32)
    names = ["big", "tmpfs", "free"]
    new = [(i, {"kind": "cgroup", "name": f"/{name}"}) for i, name in enumerate(names, 1)]
    for i in range(3):
        rows = [
            (1, "cgroup", cgroup(working_set_bytes=9000, shmem_bytes=1, limit_bytes=5)),
            (2, "cgroup", cgroup(working_set_bytes=900, shmem_bytes=800, limit_bytes=7)),
            (3, "cgroup", cgroup(working_set_bytes=90, shmem_bytes=0, limit_bytes=UNLIMITED)),
        ]
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000, Change(new if i == 0 else [], rows))
    store.close()

    def order(*arguments: str) -> list[str]:
        return re.findall(r"^/(\w+) ", ask(str(tmp_path), "--by", "cgroup", *arguments).output, re.MULTILINE)

    assert order() == names
    assert order("--field", "shmem_bytes") == ["tmpfs", "big", "free"]
    assert order("--field", "limit_bytes") == ["tmpfs", "big", "free"]


def test_a_figure_only_processes_have_asks_for_the_process(place) -> None:
    assert "pid 42" in ask(place, "evil", "--field", "floor_anon_bytes").output
    assert "pid 42" not in ask(place, "evil").output
    assert "unit has no oom_score_adj" in str(ask(place, "web", "--field", "oom_score_adj").exception)


def test_what_is_to_come_is_no_gap(tmp_path) -> None:
    """A period that ends in the future is shown as far as it has gone."""
    place, run = str(tmp_path / "h"), CliRunner()
    assert run.invoke(cli, ["record", "--store", place, "--interval", "0.1", "--count", "5"]).exit_code == 0
    shown = run.invoke(cli, ["history", "--store", place, "--until", "2099-01-01"]).output
    line = next(line for line in shown.splitlines() if line.startswith("mem_available_bytes"))
    assert line.endswith("█" * 10)


def test_gap_is_named_and_left_blank(place) -> None:
    result = ask(place)
    assert "Nothing was recorded from" in result.output
    series = Series([0.0, 1, 2, 60, 61], [1.0, 1, 1, 2, 2], step_seconds=1)
    assert [len(piece) for piece in pieces(series)] == [3, 2]


def test_of_a_figure_that_is_not_known_its_source_is_told(place) -> None:
    one = " ".join(ask(place, "42", "--field", "private_bytes", "--field", "rss_anon_bytes").output.split())
    assert "Not known in this period; it comes from /proc/PID/smaps_rollup Private_*." in one
    assert "Not known in this period; it comes" in ask(place, "--by", "process", "--field", "private_bytes").output


def test_kills_on_record_are_marked_in_a_picture(tmp_path) -> None:
    """One in a cgroup; on the host two at once, far from it, and what was killed before the record began is none."""
    store = HistoryStore(str(tmp_path / "h"), "b" * 32)
    for i in range(200):
        killed = 0 if i < 60 else 1
        rows = [(1, "host", tuple(7 + killed + 2 * (i >= 150) if name == "oom_kill" else 0 for name in INDEX["host"])),
                (2, "cgroup", cgroup(working_set_bytes=9000, limit_bytes=20000, events_oom_kill=killed))]  # fmt: skip
        new = [(1, {"kind": "host", "name": "box"}), (2, {"kind": "cgroup", "name": "/a"})] if i == 0 else []
        store.write(i * 1000 + 1000, WALL + i * 1000 + 1000, Change(new, rows))
    store.close()
    for who, words in (((), ["killed", "2 killed"]), (("/a",), ["killed"])):
        assert ask(str(tmp_path / "h"), *who, "--plot", str(tmp_path / "p.svg")).exit_code == 0
        svg = (tmp_path / "p.svg").read_text()
        marked = re.findall(r">((?:\d+ )?killed)<", svg)
        assert marked[: len(words)] == words
        assert set(marked) == set(words)


def test_a_slow_recorder_leaves_no_gaps_but_where_it_was_down() -> None:
    half_minutes = [30.0 * n for n in range(20)]
    series = Series(half_minutes, [1.0] * 20, step_seconds=1)
    assert gaps(series) == []
    assert sparkline(series, 40, 0, 570) == "█" * 40
    down = Series([*half_minutes, 2000.0, 2030.0], [1.0] * 22, step_seconds=1)
    assert gaps(down) == [(570.0, 2000.0)]
    assert [len(piece) for piece in pieces(down)] == [20, 2]


def test_bars_of_a_straight_line_never_fall() -> None:
    """Few samples in a wide line: each part shows the newest sample before it, and a gap stays one."""
    line = sparkline(Series([0.0, 1, 2, 3, 4], [1.0, 2, 3, 4, 5], step_seconds=1), 40, 0, 4)
    assert list(line) == sorted(line)
    assert len(set(line)) == 4  # the last two share the end
    apart = sparkline(Series([0.0, 1, 9, 10], [4.0, 4, 2, 2], step_seconds=1), 20, 0, 10)
    assert "█" * 3 in apart
    assert " " * 8 in apart
    assert sparkline(Series([0.0, 0.2, 0.4], [1.0, 9, 2], step_seconds=0.1), 2, 0, 2) == "█ "


def test_json_holds_every_sample(place) -> None:
    document = json.loads(ask(place, "42", "--format", "json").output)
    (series,) = document["series"]
    assert series["values"] == [(5000 + 100 * i) * 1024 for i in range(200) if not 100 <= i < 150]
    assert series["entity"]["pid"] == 42
    assert len(series["times"]) == 150


def test_csv_is_safe_in_a_spreadsheet(place) -> None:
    lines = ask(place, "--by", "name", "--format", "csv").output.splitlines()
    assert lines[0] == "time,kind,name,pid,started,cgroup,field,value"
    assert len(lines) == 151
    assert "\x1b" not in "".join(lines)


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> str:
    """A history in which pid 42 came back under the same name."""
    path = str(tmp_path_factory.mktemp("twice"))
    store = HistoryStore(path, "b" * 32)
    new = [(1, {"kind": "process", "pid": 42, "start": 5, "name": "web", "cgroup": "/a", "cmd": "web", "age": 5}),
           (2, {"kind": "process", "pid": 42, "start": 900, "name": "web", "cgroup": "/a", "cmd": "web", "age": 9})]  # fmt: skip
    for second in range(20):
        who, anon_kib = (1, 9000) if second < 10 else (2, 5000)
        change = Change(rows=[(who, "process", (anon_kib, 0, 0, 0, 0, 0, 0, 9000))])
        change.new = new[:1] if second == 0 else new[1:] if second == 10 else []
        change.gone = [1] if second == 10 else []
        store.write(second * 1000, WALL + second * 1000, change)
    store.close()
    return path


def test_a_pid_that_came_back_is_two_lives_in_every_format(twice) -> None:
    rows = list(csv.DictReader(io.StringIO(ask(twice, "42", "--format", "csv").output)))
    begun = list(dict.fromkeys(row["started"] for row in rows))
    assert begun == sorted(begun)  # in the order in which they lived
    assert [sum(row["started"] == one for row in rows) for one in begun] == [10, 10]
    text = ask(twice, "42", "--format", "json").output
    assert len(json.loads(text)["series"]) == 2
    lists = ask(twice, "--by", "process").output
    assert all(re.search(rf"web \(42, [\d:]*{one[17:19]}\)", lists) for one in begun), lists
    for name, content in (("x.csv", ask(twice, "42", "--format", "csv").output), ("x.json", text)):
        subjects = read_subjects(name, 1e9, content.encode())
        assert sorted(max(one.need.values) for one in subjects) == [5000 * 1024, 9000 * 1024]


def test_parquet_is_read_back(place) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow (extra parquet)")
    result = ask(place, "web", "--format", "parquet")
    table = parquet.read_table(io.BytesIO(result.stdout_bytes))
    assert table.num_rows == 150
    assert table.column("value")[0].as_py() == 9000 * 1024
    assert table.schema.field("time").type.tz == "UTC"


def test_the_machine_as_it_was(place) -> None:
    result = CliRunner().invoke(cli, ["history", "--store", place, "--at", "2023-11-14T22:14:21+00:00", "--format", "json"])
    document = json.loads(result.output)
    (process,) = document["processes"]
    assert process["values"]["rss_anon_bytes"] == (5000 + 100 * 60) * 1024
    assert document["host"]["mem_total_bytes"] == 1 << 30
    text = CliRunner().invoke(cli, ["history", "--store", place, "--at", "2023-11-14T22:15:50+00:00"]).output
    assert "before the moment asked for" in text  # a gap is said


@pytest.mark.parametrize("ending", ["svg", "png"])
@pytest.mark.parametrize("arguments", [(), ("web",), ("--by", "cgroup")])
def test_pictures(place, tmp_path, ending, arguments) -> None:
    if ending == "png":
        pytest.importorskip("PIL", reason="PNG needs Pillow (extra plot)")
    path = tmp_path / f"p.{ending}"
    result = ask(place, *arguments, "--plot", str(path))
    assert result.exit_code == 0, result.output
    data = path.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG")
        return
    tree = ET.fromstring(data)
    texts = " ".join(text for text in tree.itertext())
    lines = [one for one in tree.iter() if one.tag.endswith("path")]
    assert len(lines) >= 2 * max(1, len(arguments) - 1)  # the gap cuts each line
    if arguments == ("web",):
        assert "limit 19.5 MiB" in texts


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("nobody",), "is called 'nobody'"), (("--plot", "x.gif"), "must end in .svg or .png"),
     (("web", "--field", "nonsense"), "has no nonsense"), (("--since", "never"), "is no time I know")],
)  # fmt: skip
def test_mistakes_are_one_line_with_the_way_out(place, arguments, says) -> None:
    result = ask(place, *arguments)
    assert result.exit_code != 0
    said = result.output + str(result.exception)  # main() prints a CommandError as one line
    assert says in said
    assert isinstance(result.exception, CommandError | SystemExit)


def test_no_history_says_how_to_begin(tmp_path) -> None:
    result = CliRunner().invoke(cli, ["history", "--store", str(tmp_path / "none")])
    assert isinstance(result.exception, CommandError)
    assert (result.exception.status, "oomsight record" in str(result.exception.hint)) == (Exit.INPUT, True)


def test_axes_are_round_numbers() -> None:
    assert steps(100 << 20, "x_bytes") == [i * (32 << 20) for i in range(4)]
    assert steps(1.1, "x_pct") == [0, 1]
    assert steps(730, "count") == [0, 200, 400, 600]
    assert 2 <= len(moments(0, 3600)) <= 8
    assert 2 <= len(moments(0, 7 * 86400)) <= 9


def test_a_history_this_user_may_not_read_says_so(monkeypatch) -> None:
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("oomsight.sources.history_files.os.listdir", refused)
    error = CliRunner().invoke(cli, ["history", "--store", "/x"]).exception
    assert isinstance(error, CommandError)
    assert (str(error), error.hint) == ("/x: permission denied", "this user may not read it; sudo would")
