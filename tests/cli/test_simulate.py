"""``oomsight simulate`` from the command line: outputs as kept in data/simulate, wrong usage, files, what-ifs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from oomsight._extras import how_to_get
from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.data import read_capture
from oomsight.sinks.timeline_document import json_schema

DATA = Path(__file__).parent / "data" / "simulate"

GOLDEN = {
    "heap.txt": ["heap"],
    "neighbour-guard.txt": ["neighbour", "--variant", "guard"],
    "leak-ascii.txt": ["leak", "--width", "60"],
    "noswap.md": ["noswap", "--format", "markdown"],
    "sweep.txt": ["heap", "--sweep", "process.java.heap_max=768MiB:960MiB:64MiB"],
    "monte-carlo.txt": ["neighbour", "--monte-carlo", "12", "--seed", "3"],
    "what-if.txt": ["--from-report", "tmpfs.log", "--set-adj", "postgres=-1000", "--need", "16MiB"],
    "list.txt": ["--list"],
    "keys.txt": ["--keys"],
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A directory with the bundled captures."""
    for name in ("tmpfs", "pod"):
        (tmp_path / f"{name}.log").write_text(read_capture(name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", GOLDEN)
def test_output_is_what_is_kept(name, here, capsys, monkeypatch) -> None:
    if "ascii" in name:
        import io
        import sys

        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", out)
        assert run(["simulate", *GOLDEN[name]]) == Exit.OK
        out.flush()
        text = out.buffer.getvalue().decode("ascii")
    else:
        assert run(["simulate", *GOLDEN[name]]) == Exit.OK
        text = capsys.readouterr().out
    if os.environ.get("OOMSIGHT_UPDATE_GOLDEN"):
        (DATA / name).write_text(text)
    assert text == (DATA / name).read_text()


@pytest.mark.parametrize("args", [
    ["leak"], ["heap", "--sweep", "machine.ram=1GiB:3GiB:1GiB"], ["heap", "--monte-carlo", "3"],
    ["--from-report", "pod.log", "--kernel", "4.4"], ["--live"],
])  # fmt: skip
def test_json_follows_the_schema(args, here, capsys) -> None:
    assert run(["simulate", *args, "--format", "json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    present = {"runs": "timeline", "points": "sweep", "monte_carlo": "monte_carlo", "what_if": "what_if"}
    assert [kind for key, kind in present.items() if document[key] is not None] == [document["kind"]]


def test_json_predicts_victim_and_time(capsys) -> None:
    assert run(["simulate", "heap", "--format", "json"]) == Exit.OK
    runs = {one["name"]: one for one in json.loads(capsys.readouterr().out)["runs"]}
    assert (runs["base"]["first_oom"]["victim"], runs["base"]["first_oom"]["time_seconds"]) == ("java", 591.0)
    assert runs["heap"]["first_oom"] is None


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        ([], 2, "name just one of: a scenario (see --list), --from-report FILE, --live (see oomsight simulate --help)"),
        (["leak", "--live"], 2, "name just one of"),
        (["leek"], 2, "there is no scenario 'leek'; did you mean leak?"),
        (["leak", "--set", "machine.swop=1G"], 2, "--set machine.swop: no such key; did you mean swap?"),
        (["leak", "--set", "machine.swap"], 2, "--set: 'machine.swap' is not KEY=VALUE"),
        (["leak", "--set", "process.wrker.adj=1"], 2, "--set process.wrker.adj: there is no process 'wrker'; did you mean"
         " 'worker'?"),
        (["leak", "--variant", "swop"], 2, "--variant: there is no 'swop'; there are limit, high, adj, guard, swap"),
        (["leak", "--sweep", "machine.swap=1G"], 2, "--sweep: 'machine.swap=1G' is not KEY=FIRST:LAST:STEP"),
        (["leak", "--sweep", "machine.swop=1:2:1"], 2, "--sweep machine.swop: no such key; did you mean swap?"),
        (["leak", "--kernel", "new"], 2, "--kernel: 'new' is no kernel release"),
        (["leak", "--plot", "x.gif"], 2, "--plot: 'x.gif' must end in .svg or .png"),
        (["leak", "--need", "1G"], 2, "--set-adj, --limit, --add-swap, --without, --need and --incident go with"),
        (["--live", "--sweep", "a=1:2:1"], 2, "--variant, --set, --sweep, --monte-carlo and --plot go with a scenario"),
        (["--live", "--set-adj", "x=5000"], 2, "--set-adj: 'x=5000' is not WHO=N with N from -1000 to 1000"),
        (["--live", "--limit", "a=1G"], 2, "--limit: 'a=1G' is not CGROUP=SIZE with a path from /"),
        (["--live", "--add-swap", "lots"], 2, "--add-swap: 'lots' is no size such as 512MiB"),
        (["--from-report", "pod.log", "--set-adj", "nginx=5"], 4, "there is no process, name or cgroup nginx in the report"
         " in pod.log; the biggest are "),
        (["--from-report", "pod.log", "--incident", "9"], 4, "pod.log holds 1 events, not 9"),
        (["--from-report", "none.log"], 4, "none.log"),
        (["none.toml"], 4, "none.toml: no such file or directory"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(args, status, words, here, capsys) -> None:
    assert run(["simulate", *args]) == status
    seen = capsys.readouterr()
    assert (seen.out, seen.err.count("\n")) == ("", 1) or "--plot" in args
    assert words in seen.err


def test_bad_file_names_every_problem(here, capsys) -> None:
    Path("bad.toml").write_text('title = "x"\n[machine]\nram = "lots"\nswop = 1\n')
    assert run(["simulate", "./bad.toml"]) == Exit.INPUT
    assert capsys.readouterr().err == (
        "oomsight: ./bad.toml: run.duration: is missing: a duration such as 15min, 1 s to 366 d (simulated time)\n"
        "oomsight: ./bad.toml: line 4: machine.swop: no such key; did you mean swap?\n"
        "oomsight: ./bad.toml: line 3: machine.ram: 'lots' is not a size such as 512MiB, 4 MiB to 64 TiB\n"
    )


def test_file_of_ones_own_with_hostile_names(here, capsys) -> None:
    Path("x.toml").write_text(
        'title = "\\u001b[31mred\\u001b[0m"\n[run]\nduration = 60\n[machine]\nram = "64MiB"\n'
        '[[process]]\nname = "\\u001b]0;t\\u0007`x`"\nkind = "leak"\nrate = "9MiB"\n'
    )
    for more in ([], ["--format", "markdown"], ["--monte-carlo", "2"], ["--plot", "x.svg"]):
        assert run(["simulate", "x.toml", *more]) == Exit.OK
        seen = capsys.readouterr().out
        assert not {chr(c) for c in [*range(9), *range(11, 32), 127]} & set(seen)
    assert "\x1b" not in Path("x.svg").read_text()


def test_set_and_exit_code(here, capsys) -> None:
    assert run(["simulate", "leak", "--exit-code"]) == Exit.FOUND
    assert run(["simulate", "leak", "--exit-code", "--set", "machine.ram=16GiB"]) == Exit.OK
    assert run(["simulate", "leak", "--exit-code", "--variant", "limit"]) == Exit.OK


def test_plot_writes_svg_and_says_so(here, capsys) -> None:
    assert run(["simulate", "leak", "--plot", "leak.svg"]) == Exit.OK
    assert capsys.readouterr().err == "oomsight: wrote leak.svg\n"
    assert Path("leak.svg").read_text().startswith("<svg ")


def test_plot_png_without_pillow_degrades_with_one_line(here, capsys, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    assert run(["simulate", "leak", "--plot", "leak.png"]) == Exit.UNSUPPORTED
    assert capsys.readouterr().err == (
        f"oomsight: PNG pictures need Pillow; {how_to_get('plot')}, or --plot FILE.svg\n"
    )


def test_from_report_reads_standard_input(here, monkeypatch, capsys) -> None:
    import subprocess
    import sys

    code = "from oomsight.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "simulate", "--from-report", "-", "--set-adj", "postgres=-1000"],
        input=read_capture("tmpfs"), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "nginx (pid 143" in done.stdout


def test_live_leaves_itself_out(capsys) -> None:
    assert run(["simulate", "--live", "--format", "json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)["what_if"]
    assert os.getpid() not in {death["pid"] for death in found["before"]}


ROOT = Path(__file__).parents[2]


def test_scenario_of_the_how_to_reads_and_runs(here, capsys) -> None:
    page = (ROOT / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
    Path("shop.toml").write_text(page.partition("```ini\n")[2].partition("```")[0])
    assert run(["simulate", "shop.toml", "--format", "json"]) == Exit.OK
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [one["name"] for one in runs] == ["base", "high"]
    assert runs[0]["first_oom"]["oom_memcg"] == "/shop"


def test_every_gap_is_in_the_documentation() -> None:
    from oomsight.simulate.fidelity import GAPS

    page = (ROOT / "docs" / "explanation" / "simulator.md").read_text(encoding="utf-8")
    for gap in GAPS:
        assert f"| {gap.words} | {gap.effect} |" in page


def test_every_kind_is_in_the_how_to() -> None:
    from oomsight.simulate.keys import KIND_KEYS

    page = (ROOT / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")
    assert [kind for kind in KIND_KEYS if f"| `{kind}` |" not in page] == []
