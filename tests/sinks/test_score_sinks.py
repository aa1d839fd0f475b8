"""oomsight.sinks.score_blocks, score_document, score_csv"""

import csv
import io
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.proc.memcg import Memcg
from oomsight.proc.process import SmapsRollup
from oomsight.score.answer import Answer, Detail
from oomsight.score.factors import explain_process
from oomsight.score.limits import limited_cgroups
from oomsight.score.model import Machine, Snapshot, Unseen
from oomsight.score.outcome import predict
from oomsight.score.ranking import rank_cgroup, rank_host
from oomsight.score.rules import recognise
from oomsight.sinks.csv_cells import csv_cell
from oomsight.sinks.markdown import render_markdown
from oomsight.sinks.score_blocks import score_blocks
from oomsight.sinks.score_csv import score_csv
from oomsight.sinks.score_document import SCHEMA_ID, score_document, score_json, score_schema
from oomsight.sinks.text import render_text

from ..score.samples import process

POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice"
EVIL = "=cmd|'/c'!A1\x1b[31m"
MIB = 1 << 20


def shot(*processes, **machine):
    on = {"ram_pages": 262144, "swap_pages": 0, "cpus": 1, "release": "6.12.1", "available_pages": 5000, **machine}
    pod = Memcg(path=POD, version=2, limit_bytes=64 * MIB, usage_bytes=60 * MIB, oom_group=True, oom_kills=2,
                stat={"inactive_file": 4 * MIB, "active_file": 0})  # fmt: skip
    return Snapshot(machine=Machine(**on), processes=processes, cgroups={"/": Memcg(path="/", version=2), POD: pod})


def sample(**more):
    snapshot = shot(
        process(1, 50, score=0), process(10, 9000, comm=EVIL, cgroup=POD + "/a"), process(11, 100, cgroup=POD + "/b"),
        process(12, 8950, comm="mysqld", adj=0, score=689), process(13, 9999, comm="sshd", adj=-1000, score=0),
    )  # fmt: skip
    rules = recognise(snapshot.machine, ())
    ranking = rank_host(snapshot, rules)
    return Answer(snapshot=snapshot, rules=rules, ranking=ranking, prediction=predict(ranking, snapshot), **more)


def text(answer, width=80):
    return render_text(score_blocks(answer), width=width)


def test_text_of_a_host_names_victim_companions_and_rivals():
    shown = text(sample(limit=2), 200)
    assert 'If this host ran out of memory now, "=cmd|' in shown
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown
    assert "With it, as memory.oom.group is set: p11 (pid 11)." in shown
    assert "(32 pages (128 KiB)) it could also be mysqld (pid 12)." in shown
    assert "Never chosen: sshd (pid 13) (oom_score_adj -1000), p1 (pid 1) (global init)." in shown
    assert "19.5 MiB of memory is available, no swap." in shown
    assert "… 1 more with fewer points" in shown
    lines = shown.split("\n")
    head = next(line for line in lines if line.startswith("rank"))
    assert head.split() == ["rank", "pid", "process", "where", "uid", "rss", "anon", "file", "shmem", "page", "tables", "adj",
                            "points", "±", "per", "mille", "oom_score"]  # fmt: skip
    assert lines[lines.index(head) + 2].split()[-5:] == ["0", "8,950", "32", "34", "689"]


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_text_keeps_to_the_width(width):
    assert max(map(len, text(sample(), width).split("\n"))) <= width


def test_text_of_80_columns_keeps_rank_name_place_size_adj_and_points():
    head = next(line for line in text(sample()).split("\n") if line.startswith("rank"))
    assert head.split() == ["rank", "pid", "process", "where", "rss", "adj", "points", "oom_score"]


def test_text_of_limited_cgroups():
    base = sample()
    answer = Answer(snapshot=base.snapshot, rules=base.rules, cgroups=limited_cgroups(base.snapshot, base.rules))
    shown = text(answer, 160)
    assert "1 cgroup has a memory limit, the fullest first" in shown
    row = next(line for line in shown.split("\n") if "64.0 MiB" in line)
    assert row.split("56.0 MiB")[1].split()[:4] == ["88", "%", "8.0", "MiB"]
    assert 'all 2, "=cmd|' in row


def test_text_without_limited_cgroups_says_so():
    base = sample()
    answer = Answer(snapshot=base.snapshot, rules=base.rules, cgroups=[])
    assert "No cgroup with processes has a memory limit" in text(answer)
    assert "Only the whole host" in text(answer)
    assert "Only the whole host" not in text(answer._replace(unseen=(Unseen("limits of 3 processes", None),)))


def test_text_inside_a_container_says_what_is_seen_and_that_it_has_a_limit_of_its_own():
    base = sample()
    rows = [row._replace(process=row.process._replace(cgroup="/")) for row in base.ranking.rows]
    inside = base._replace(
        snapshot=base.snapshot._replace(unseen=(Unseen("processes and limits outside this container", None),)),
        ranking=base.ranking._replace(rows=tuple(rows)),
        own_limit=Memcg("/", 1, 128 << 20, usage_bytes=100 << 20, stat={"inactive_file": 30 << 20, "active_file": 6 << 20}),
    )
    shown = " ".join(text(inside, 120).split())
    assert "would die first of those seen here" in shown
    assert "This container has a limit of its own: 128.0 MiB, needed 64.0 MiB (50 %)." in shown
    assert "`oomsight score --cgroup /`" in shown
    assert " where " not in shown  # nothing to tell
    nobody = inside._replace(ranking=inside.ranking._replace(rows=()), prediction=None)
    assert text(nobody).startswith("If this host ran out of memory now, no process seen here could be killed\n")
    own = Answer(snapshot=base.snapshot, rules=base.rules, ranking=base.ranking._replace(scope="cgroup", path="/"))
    assert text(own).startswith("If this container hit its limit now, ")


def test_text_of_one_process():
    base = sample()
    host = explain_process(base.ranking, base.snapshot, 12)
    inner = explain_process(rank_cgroup(base.snapshot, base.rules, POD), base.snapshot, 11)
    pss = {12: SmapsRollup(1, 30000, None, None, None, 100, 900, 0, 0, 0)}
    shown = text(Answer(snapshot=base.snapshot, rules=base.rules, details=[Detail(host=host, cgroups=[inner])], pss=pss), 120)
    assert "mysqld (pid 12) would be number 2 of 3 to die if this host ran out of memory" in shown
    assert "p11 (pid 11) would be number 2 of 2 to die if a burstable pod" in shown.lower()
    assert "badness           8,950  35.0 MiB  34 per mille of T = 262,144 pages" in shown
    assert "/proc/PID/oom_score: 689, as /proc shows." in shown
    assert ["-33", "to", "0", "2", "p11", "(pid", "11)", "now"] in [line.split() for line in shown.split("\n")]
    assert ["-1000", "never"] in [line.split() for line in shown.split("\n")]
    assert "Proportional set size 29.3 MiB, private 1000 KiB" in shown


def test_text_of_a_cgroup_without_limit():
    base = sample()
    ranking = rank_cgroup(base.snapshot, base.rules, "/")
    shown = text(Answer(snapshot=base.snapshot, rules=base.rules, ranking=ranking, asked_cgroup="/"), 200)
    assert "(pid 10) would die first if this host ran out of memory" in shown
    assert "nor a cgroup above it has a limit" in shown


def test_text_that_cannot_be_trusted_says_so():
    host = sample()
    doubtful = recognise(host.snapshot.machine, [process(pid, 100, score=5) for pid in range(10, 30)])
    assert "do not trust the points" in text(Answer(snapshot=host.snapshot, rules=doubtful), 200)


def test_markdown_lets_no_name_break_out():
    shown = render_markdown(score_blocks(sample()))
    assert "| 1 | " in shown or "| **1** |" in shown
    assert "\x1b" not in shown


def test_document_follows_its_schema_in_every_shape():
    schema = score_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    base = sample(unseen=[Unseen("x", None)], pss={10: SmapsRollup(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)})
    detail = Detail(host=explain_process(base.ranking, base.snapshot, 13))
    others = (
        Answer(snapshot=base.snapshot, rules=base.rules, cgroups=limited_cgroups(base.snapshot, base.rules)),
        Answer(snapshot=base.snapshot, rules=base.rules, details=[detail]),
    )
    for answer in (base, *others):
        jsonschema.validate(json.loads(score_json("1.0", answer)), schema)


def test_document_of_a_host():
    written = score_document("1.0", sample())
    assert (written["schema"], written["oomsight"]) == (SCHEMA_ID, "1.0")
    ranking = written["ranking"]
    assert (ranking["scope"], ranking["cgroup"], ranking["victim"], ranking["margin"], ranking["rivals"]) == (
        "host", None, 10, 50, [12],
    )  # fmt: skip
    assert ranking["prediction"]["kills"] == [
        {"pid": 10, "role": "selected", "logged": True}, {"pid": 11, "role": "group", "logged": True},
    ]  # fmt: skip
    first = ranking["processes"][0]
    assert (first["rank"], first["comm"], first["rss_kib"], first["points"], first["per_mille"]) == (1, EVIL, 36000, 9000, 34)
    assert first["owner"]["pod_uid"] == "11111111-2222-3333-4444-555555555555"
    assert [(row["pid"], row["skipped"], row["rank"]) for row in ranking["exempt"]] == [
        (13, "oom_score_adj -1000", None), (1, "global init", None),
    ]  # fmt: skip
    assert written["rule"]["name"] == "5.9"
    assert written["host"]["ram_kib"] == 1048576
    assert (written["cgroups"], written["details"]) == (None, [])


def test_document_of_limited_cgroups():
    base = sample()
    answer = Answer(snapshot=base.snapshot, rules=base.rules, cgroups=limited_cgroups(base.snapshot, base.rules))
    (cgroup,) = score_document("1.0", answer)["cgroups"]
    assert (cgroup["limit_kib"], cgroup["need_kib"], cgroup["headroom_kib"], cgroup["working_set_kib"]) == (
        65536, 57344, 8192, 57344,
    )  # fmt: skip
    assert (cgroup["full_pct"], cgroup["victim"]["pid"], cgroup["oom_group"], cgroup["high_kib"]) == (87.5, 10, True, None)


def test_csv_rows_are_the_documents_and_no_cell_is_a_formula():
    answer = sample()
    rows = list(csv.DictReader(io.StringIO(score_csv(answer))))
    assert [row["pid"] for row in rows] == ["10", "12", "11", "13", "1"]
    assert rows[0]["comm"] == "'=cmd|'/c'!A1\\x1b[31m"
    assert rows[3]["oom_score_adj"] == "-1000"
    assert rows[3]["rank"] == rows[0]["pss_kib"] == ""
    assert len(list(csv.DictReader(io.StringIO(score_csv(sample(limit=2)))))) == 2


def test_csv_of_limited_cgroups():
    base = sample()
    answer = Answer(snapshot=base.snapshot, rules=base.rules, cgroups=limited_cgroups(base.snapshot, base.rules))
    (row,) = csv.DictReader(io.StringIO(score_csv(answer)))
    assert (row["path"], row["limit_kib"], row["victim_pid"]) == (POD, "65536", "10")


@given(st.text())
def test_csv_cell_is_never_a_formula_and_never_controls(name):
    cell = csv_cell(name)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert all(char.isprintable() for char in cell)
    cell.encode()
