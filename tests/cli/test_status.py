"""``oomsight status``: one screen, the same numbers as a second source, nothing invented."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from oomsight.alarms.state import State
from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.cli.status import Place, _fitting, _Looks
from oomsight.naming.marked import Kind, mark
from oomsight.proc.machine import parse_meminfo
from oomsight.sinks.alarm_file import FRESH_SECONDS, load_alerts, path_beside, save
from oomsight.sinks.safe import display_width
from oomsight.sinks.status_document import status_schema
from oomsight.status.growth import Grower
from oomsight.status.model import Alert, Forecast, Last

from ..sources.proc_files import add_process, make_host, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def host(tmp_path):
    return make_host(tmp_path)


@pytest.fixture
def status(host, capsys):
    """Run ``oomsight status --root HOST …`` and return (status, stdout, stderr)."""

    def call(*args):
        code = run(["status", "--root", str(host), "--apart", "0", *args])
        return code, *capsys.readouterr()

    return call


def test_status_of_a_host_is_one_screen(status) -> None:
    code, out, err = status()
    assert (code, err) == (Exit.OK, "")
    lines = out.split("\n")
    assert len(lines) <= 45
    assert max(map(display_width, lines)) <= 80
    assert "Would die  java (pid 30, 234.4 MiB), 214.8 MiB ahead of \"a) b\" (20)" in out
    assert "Swap       4.0 MiB of 8.0 MiB in use (50 %)" in out
    assert "no pressure information (PSI)" in out
    assert "big.service" in out


def test_status_tells_what_compressed_swap_takes(host, status) -> None:
    write(host / "sys", {"block/zram0/mm_stat": "4194304 1000000 1048576 0 1048576 0 0 0 0 0\n"})
    _, out, _ = status()
    assert "Swap       4.0 MiB of 8.0 MiB in use (50 %); zram holds 4.0 MiB in 1.0 MiB of" in out
    document = json.loads(status("--format", "json")[1])
    assert (document["compressed_kib"], document["compressed_ram_kib"]) == (4096, 1024)
    assert [part["kib"] for part in document["accounting"]["parts"] if part["key"] == "zram"] == [1024]
    assert sum(part["kib"] for part in document["accounting"]["parts"]) == document["accounting"]["total_kib"]


def test_status_that_does_not_see_all_says_so_of_who_would_die(host, status) -> None:
    shutil.rmtree(host / "proc/2")  # no kernel threads: a container
    _, out, _ = status()
    assert "Would die  of those seen here java (pid 30" in out
    for pid in [path for path in (host / "proc").iterdir() if path.name.isdecimal() and path.name != "1"]:
        shutil.rmtree(pid)
    _, out, _ = status()
    assert "exempt" not in out


def test_status_shows_what_holds_in_one_look_as_alerts(status) -> None:
    _, out, _ = status("--format", "json")
    document = json.loads(out)
    assert document["watched"] is False
    assert {(a["subject"], *a["codes"]) for a in document["alerts"]} == {
        ("host", "swap_high"), ("/app.slice/big.service", "cgroup_near_limit"),
    }  # fmt: skip
    assert [a["since"] for a in document["alerts"]] == [None, None]
    assert document["verdict"].startswith("Swap is being used up (50 %)")
    assert status("--exit-code")[0] == Exit.FOUND


def test_status_json_follows_its_schema_and_sums(status) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed (extra test)")
    document = json.loads(status("--format", "json")[1])
    jsonschema.validate(document, status_schema())
    accounting = document["accounting"]
    assert sum(part["kib"] for part in accounting["parts"]) == accounting["total_kib"] == 1048576
    assert document["need_kib"] == 1048576 - 409600
    assert document["victim"]["comm"] == "java"
    assert document["holders"][0]["name"] == "bash"


def test_status_hostile_names_stay_text(host, status) -> None:
    add_process(host / "proc", 50, "\x1b[31mx\n| a", rss=99000, cgroup="0::/app.slice/small.service\n")
    _, out, _ = status("--color", "always")
    assert "\x1b[31mx" not in out
    assert "\\x1b[31mx" in out
    assert "\x1b" not in status("--format", "markdown")[1]


def test_status_without_cgroups_psi_or_available_says_so(tmp_path, capsys) -> None:
    proc = tmp_path / "proc"
    write(proc, {"meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\n", "version": "Linux version 2.6.32 (x)\n"})
    add_process(proc, 1, "init", start=1)
    assert run(["status", "--root", str(tmp_path), "--apart", "0"]) == Exit.OK
    out = capsys.readouterr().out
    assert "How much memory is available is not known" in out
    assert "no memory cgroups" in out


def test_status_of_nothing_is_one_line_and_status_4(tmp_path, capsys) -> None:
    assert run(["status", "--root", str(tmp_path), "--apart", "0"]) == Exit.INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_status_is_shortened_to_fit_a_screen_the_most_important_last(host, monkeypatch) -> None:
    place = Place(str(host), str(host / "proc"), str(host / "sys"), None, None, None)
    monkeypatch.setenv("COLUMNS", "80")
    state = _Looks(place, 0.0, None).next()
    texts = {rows: _fitting(state, 5, 80, "never", rows) for rows in (24, 32, 60)}
    assert [text.count("\n") <= rows for rows, text in texts.items()] == [True] * 3
    assert all("Would die" in text and "Swap is being used up" in text and "big.service" in text
               for text in texts.values())  # fmt: skip
    assert ["Settings that will hurt" in text for text in texts.values()] == [False, False, True]
    assert "Will hurt" in texts[32]
    assert "RAM        1.0 GiB: " in texts[24]


def test_a_status_with_everything_in_it_fits_a_small_terminal(host) -> None:
    place = Place(str(host), str(host / "proc"), str(host / "sys"), None, None, None)
    state = _Looks(place, 0.0, None).next()
    now = state.look.at
    growers = [Grower("process", f"worker-number-{i}", 100 + i, 1, "/a", 9 << 20, 1 << 20, 3000.0 / (i + 1))
               for i in range(9)]  # fmt: skip
    container = "/docker/" + "4f2c0e9b1a7d" * 5 + "4f2c"
    state = replace(
        state,
        growers=growers, grown=growers[:2], grown_seconds=900.0, seconds=60.0, droppable_kib=500_000, dirty_kib=90_000,
        forecasts=[Forecast(f"{container}{i}", 2040.0, 1620.0, 2520.0, "slowleak", 4242, "x") for i in range(3)],
        alerts=[Alert(f"/pod/{i}", "warning", f"{mark('/pod', Kind.CGROUP)}: out of memory in about 49 s, limit 256.0 MiB; "
                      f"{mark('chain')} (pid 28146) grew 26.1 MiB in 13 s", now - 30 * i, ("cgroup_growth",))
                for i in range(3)],
        last=Last("oom-5civbvzqwhef", now - 60, "python was killed: " + "a cgroup reached its limit " * 4, 1),
    )  # fmt: skip
    small, large = _fitting(state, 5, 80, "never", 23), _fitting(state, 5, 80, "never", 60)
    assert small.count("\n") <= 23
    for word in ("49 s", "Alerts", "worker-number-0 (100) 2.9 MiB/s", "Would die", "in 34 min", "2 more", "incidents show last",
                 "Will hurt", "java", "Limits", "big.service"):  # fmt: skip
        assert word in small, word
    assert "worker-number-2" not in small
    assert "worker-number-2" in large


def test_status_count_without_watch_is_usage(status) -> None:
    assert status("--count", "2")[0] == Exit.USAGE


# -- the agent's alerts -----------------------------------------------------------------------------------------------


def _row(**more):
    return {"subject": "/x", "severity": "warning", "text": f"{mark('/x', Kind.CGROUP)}: full", "since": time.time() - 90,
            "codes": ["cgroup_near_limit"], **more}  # fmt: skip


def test_an_alert_whose_words_are_old_is_told_with_their_age_and_what_is_true_now(status, tmp_path) -> None:
    """After the kill the machine has memory again, and "full in about 12 s" must not head the screen."""
    store = str(tmp_path / "i.db")
    save(path_beside(store), State(), [_row(subject="host", text="This machine: full in about 12 s")], time.time() - 44)
    head = " ".join(status("--store", store)[1].split("━")[0].split())
    assert head.startswith("44 s ago: This machine: full in about 12 s; now ")
    assert head.endswith("%)")
    save(path_beside(store), State(), [_row(subject="host", text="This machine: full in about 12 s")], time.time())
    assert status("--store", store)[1].startswith("This machine: full in about 12 s\n")


def test_alerts_of_an_agent_that_runs_take_the_place_of_what_the_look_shows(status, tmp_path) -> None:
    store = str(tmp_path / "i.db")
    save(path_beside(store), State(), [_row()], time.time())
    document = json.loads(status("--format", "json", "--store", store)[1])
    assert document["watched"] is True
    assert [(a["subject"], a["text"]) for a in document["alerts"]] == [("/x", "/x: full")]
    assert re.search(r"warning: /x: full \(held for 9\d s\)", status("--store", store)[1].replace("\n    ", " "))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "saved": "x", "alerts": []}', '{"version": 2}'])
def test_alerts_of_a_damaged_file_are_none(tmp_path, text) -> None:
    path = tmp_path / "alarms.json"
    path.write_text(text)
    assert load_alerts(str(path), time.time()) is None


def test_alerts_of_an_agent_that_is_gone_do_not_count(tmp_path) -> None:
    path = str(tmp_path / "alarms.json")
    save(path, State(), [_row()], 1000.0)
    assert load_alerts(path, 1000.0 + FRESH_SECONDS)
    assert load_alerts(path, 1001.0 + FRESH_SECONDS) is None
    assert oct(os.stat(path).st_mode & 0o777) == "0o640"


# -- the real host ----------------------------------------------------------------------------------------------------


def test_status_of_this_machine_agrees_with_proc_and_does_not_list_itself() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    code = "import os; from oomsight.cli.main import main; print(os.getpid(), flush=True); main()"
    done = subprocess.run([sys.executable, "-c", code, "status", "--format", "json"], capture_output=True, text=True,
                          env=env, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid, _, text = done.stdout.partition("\n")
    document = json.loads(text)
    memory = parse_meminfo(Path("/proc/meminfo").read_text())
    assert document["mem_total_kib"] == memory.mem_total_kib
    assert abs(document["mem_available_kib"] - memory.mem_available_kib) < 0.1 * memory.mem_total_kib
    assert int(pid) not in [holder["pid"] for holder in document["holders"]]
    assert document["seconds"] >= 0.2
    for holder in document["holders"][:3]:
        if holder["pid"] is None or not Path(f"/proc/{holder['pid']}/comm").exists():
            continue
        assert Path(f"/proc/{holder['pid']}/comm").read_bytes().rstrip(b"\n") == os.fsencode(holder["name"])


def test_status_names_who_grows_on_this_machine(tmp_path) -> None:
    program = tmp_path / "growing-one"  # its own name: what shares one is one row
    program.symlink_to(os.path.realpath(sys.executable))
    code = "import time\nx=[]\nprint('go', flush=True)\nfor _ in range(200): x.append(b'a'*(1<<20)); time.sleep(0.02)"
    grower = subprocess.Popen([program, "-I", "-c", code], stdout=subprocess.PIPE)
    try:
        assert grower.stdout.read(2) == b"go"
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", "from oomsight.cli.main import main; main()", "status", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=True, timeout=60)
    finally:
        grower.kill()
        grower.communicate()
    found = {row["pid"]: row for row in json.loads(done.stdout)["growers"]}
    assert grower.pid in found
    assert found[grower.pid]["kib_per_second"] > 1024
