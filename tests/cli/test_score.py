"""oomsight score, as a command"""

from __future__ import annotations

import csv
import io
import json
import os

import pytest

from oomsight.cli import score_run
from oomsight.cli.exits import Exit
from oomsight.cli.main import run
from oomsight.sources import procreading

from ..sources.proc_files import add_process, make_host, write


@pytest.fixture
def host(tmp_path):
    return make_host(tmp_path)


@pytest.fixture
def score(host, capsys):
    """Run ``oomsight score --root HOST …`` and return (status, stdout, stderr)."""

    def call(*args):
        status = run(["score", "--root", str(host), "--width", "150", *args])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_score_of_a_host(score):
    status, out, err = score()
    assert (status, err) == (Exit.OK, "")
    assert "If this host ran out of memory now, java (pid 30) would die" in out
    assert "400.0 MiB of memory is available, swap 4.0 MiB free." in out
    assert "Never chosen: bash (pid 40) (oom_score_adj -1000), init (pid 1) (global init)." in out
    rows = [line.split() for line in out.split("\n") if line.lstrip().startswith(("1 ", "2 "))]
    assert [row[1] for row in rows] == ["30", "20"]
    assert "big.service" in rows[0]
    assert "reproduces /proc/PID/oom_score for 4 of 4 processes" in out


def test_score_json_is_the_contract(score):
    document = json.loads(score("--format", "json")[1])
    assert document["schema"] == "oomsight.score/1"
    assert document["ranking"]["victim"] == 30
    assert document["ranking"]["prediction"]["outcome"] == "killed"
    first = document["ranking"]["processes"][0]
    # rss + 2 pages of swap + 10 of page tables
    assert (first["points"], first["owner"]["unit"], first["oom_score"]) == (60012, "big.service", 818)
    assert document["rule"]["matched"] == document["rule"]["compared"] == 4


def test_score_of_a_cgroup_by_unit_name(score):
    status, out, _ = score("--cgroup", "small.service", "--format", "json")
    ranking = json.loads(out)["ranking"]
    assert (status, ranking["scope"], ranking["cgroup"]) == (Exit.OK, "cgroup", "/app.slice/small.service")
    assert (ranking["victim"], ranking["total_pages"]) == (20, 600 * 256 + 2048)
    assert [row["pid"] for row in ranking["exempt"]] == [40]


def test_score_of_a_cgroup_whose_parent_has_the_limit(score, host):
    write(host / "sys/fs/cgroup/app.slice", {"memory.max": "1073741824\n"})
    write(host / "sys/fs/cgroup/app.slice/big.service", {"memory.max": "max\n"})
    document = json.loads(score("--cgroup", "big.service", "--format", "json")[1])
    assert (document["ranking"]["cgroup"], document["ranking"]["asked_cgroup"]) == ("/app.slice", "/app.slice/big.service")
    assert {row["pid"] for row in document["ranking"]["processes"]} == {30, 20}


def test_score_all_cgroups(score):
    out = score("--all-cgroups", "--format", "json")[1]
    assert [(c["path"], c["victim"]["pid"], c["headroom_kib"], c["oom_kills"]) for c in json.loads(out)["cgroups"]] == [
        ("/app.slice/big.service", 30, 17408, 3), ("/app.slice/small.service", 20, 369664, 3),
    ]  # fmt: skip
    assert "2 cgroups have a memory limit, the fullest first" in score("--all-cgroups")[1]


def test_score_of_one_process(score):
    out = score("20")[1]
    assert '"a) b" (pid 20) would be number 2 of 2 to die if this host ran out of memory' in out
    assert '"a) b" (pid 20) would be the first to die if systemd unit small.service hit its limit' in out


def test_score_oom_group_of_the_victim_is_read(score, host):
    write(host / "sys/fs/cgroup/app.slice/big.service", {"memory.oom.group": "1\n"})
    add_process(host / "proc", 33, "helper", rss=5, cgroup="0::/app.slice/big.service\n")
    assert "With it, as memory.oom.group is set: helper (pid 33)." in score()[1]


def test_score_pss_on_request(score, host):
    write(host / "proc/30", {"smaps_rollup": "Rss:  100 kB\nPss:   61440 kB\n"})
    rows = json.loads(score("--pss", "--format", "json")[1])["ranking"]["processes"]
    assert [row["pss_kib"] for row in rows] == [61440, None]
    assert "60.0 MiB" in score("--pss")[1]


def test_score_csv_and_limit(score):
    rows = list(csv.DictReader(io.StringIO(score("--format", "csv", "--limit", "1")[1])))
    assert [(row["rank"], row["comm"]) for row in rows] == [("1", "java")]


def test_score_watch_answers_count_times(score):
    lines = score("--watch", "0.1", "--count", "3", "--format", "json")[1].splitlines()
    assert [json.loads(line)["ranking"]["victim"] for line in lines] == [30, 30, 30]


def test_score_inside_a_container_tells_of_its_own_limit(host):
    cgroup = "0::/app.slice/big.service\n"
    (host / "proc/2/stat").unlink()
    add_process(host / "proc", os.getpid(), "oomsight", rss=5, cgroup=cgroup)
    write(host / "proc", {"self/mountinfo": f"30 1 0:27 / {host}/sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"})
    found = score_run.Host("/", str(host / "proc"), str(host / "sys"), None).ask(score_run.Wanted((), None, False, False, 5))
    assert (found.own_limit.path, found.own_limit.limit_bytes) == ("/app.slice/big.service", 268435456)


def test_score_all_cgroups_counts_those_it_cannot_look_at(score, host):
    add_process(host / "proc", 50, "other", rss=5, cgroup="0::/../elsewhere\n")
    _, _, err = score("--all-cgroups")
    assert "not seen: limits of 1 processes whose cgroups are outside of what is mounted here; it takes" in err


def test_score_leaves_itself_out_unless_it_stays(host):
    add_process(host / "proc", os.getpid(), "oomsight", rss=99999)
    os.symlink(str(os.getpid()), host / "proc/self")
    here = score_run.Host(str(host), None, None, None)
    wanted = score_run.Wanted((), None, False, False, 5)
    assert here.ask(wanted).ranking.victim.process.pid == 30
    assert here.ask(wanted._replace(lasting=True)).ranking.victim.process.pid == os.getpid()
    assert len(here.ask(wanted._replace(pids=(os.getpid(),))).details) == 1


def test_score_says_once_what_it_could_not_see(score, host):
    (host / "proc/2/stat").unlink()
    status, _, err = score("--watch", "0.1", "--count", "2")
    assert status == Exit.OK
    assert err == "oomsight: not seen: processes and limits outside this container; " \
        "it takes the host's processes and cgroups (--pid=host -v /sys/fs/cgroup:/sys/fs/cgroup:ro)\n"


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (("20", "--all-cgroups"), Exit.USAGE, "different questions"),
        (("--count", "2"), Exit.USAGE, "--count goes with --watch"),
        (("4711",), Exit.INPUT, "there is no process 4711"),
        (("2",), Exit.INPUT, "kernel thread"),
        (("--cgroup", "nothing.service"), Exit.INPUT, "there is no memory cgroup nothing.service"),
        (("--cgroup", "service"), Exit.USAGE, "service may be /app.slice/"),
        (("--proc", "/nonexistent/proc"), Exit.INPUT, "/nonexistent/proc"),
        (("--all-cgroups", "--cgroup-root", "/nonexistent"), Exit.UNSUPPORTED, "no memory cgroups"),
    ],
)
def test_score_errors_are_one_line(score, args, status, words):
    found, out, err = score(*args)
    assert (found, out, err.count("\n")) == (status, "", 1)
    assert words in err


def test_score_of_this_very_host(capsys):
    assert run(["score", "--format", "json", str(os.getpid())]) == Exit.OK
    (detail,) = json.loads(capsys.readouterr().out)["details"]
    assert detail["pid"] == os.getpid()
    assert detail["ooms"][0]["rank"] >= 1


def test_score_of_many_reads_the_first_few_and_says_so(tmp_path, monkeypatch, capsys):
    host = make_host(tmp_path)
    total = 262144 + 2048
    for pid in range(100, 140):
        pages = 2000 + 50 * (pid - 100)
        add_process(host / "proc", pid, rss=pages, score=(1000 + (pages + 12) * 1000 // total) * 2 // 3)
    monkeypatch.setattr(procreading, "WORTH_A_HELPER", 1)
    monkeypatch.setattr(procreading, "ranks_like_oom_score", lambda *_: True)
    here = score_run.Host("/", str(host / "proc"), str(host / "sys"), None)
    whole = here.ask(score_run.Wanted((), None, False, False, 5))
    monkeypatch.setattr(score_run, "OWN_PROC", ("/", str(host / "proc")))
    few = here.ask(score_run.Wanted((), None, False, False, 5, few=True))
    assert 0 < len(few.snapshot.processes) < len(whole.snapshot.processes) / 2
    assert [(row.process.pid, row.rank, row.points) for row in few.ranking.rows[:5]] == [
        (row.process.pid, row.rank, row.points) for row in whole.ranking.rows[:5]
    ]
    shown = score_run.rendered(few, "text", 150, "never", compact=False)
    assert "37 more with fewer points" in shown
    assert f"that of {few.snapshot.passed_over} others is lower, which is enough to know of them" in " ".join(shown.split())


def test_score_reads_everything_where_the_first_few_do_not_settle_it(tmp_path, monkeypatch):
    host = make_host(tmp_path)
    for pid in range(100, 140):
        add_process(host / "proc", pid, score=900)  # /proc shows another machine's scores: the rules do not fit
    monkeypatch.setattr(procreading, "WORTH_A_HELPER", 1)
    monkeypatch.setattr(procreading, "ranks_like_oom_score", lambda *_: True)
    monkeypatch.setattr(score_run, "OWN_PROC", ("/", str(host / "proc")))
    write(host / "proc/139", {"oom_score": "950\n"})
    write(host / "proc/138", {"oom_score": "950\n"})
    found = score_run.Host("/", str(host / "proc"), str(host / "sys"), None).ask(
        score_run.Wanted((), None, False, False, 2, few=True)
    )
    assert (found.snapshot.passed_over, len(found.snapshot.processes), found.rules.compared) == (0, 45, 44)
