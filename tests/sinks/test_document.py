"""The JSON contract: every key, units, nulls, reversible names, and a schema that accepts nothing else."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.report.model import EventKind
from oomsight.sinks import schema
from oomsight.sinks.document import (
    KINDS,
    SourceInfo,
    document,
    document_json,
    incident_dict,
    incident_json,
    json_schema,
)

from .incident_samples import CONTAINER, empty_incident, host_incident, killer_incident, pod_incident

SOURCES = [SourceInfo("kern.log", 113, 9001, "2026-11-23T09:58:29+01:00", None, 1)]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

# The keys of the contract, by object; a document may say more, never less.
CONTRACT = {
    "incident": "id time time_text uptime_s source kind constraint complete notes trigger victims oom_memcg memcg memory"
    " zones tasks selection culprit causes answers summary",
    "trigger": "comm pid gfp_mask gfp_flags order oom_score_adj",
    "victim": "pid tgid comm uid total_vm_kib anon_rss_kib file_rss_kib shmem_rss_kib pgtables_kib oom_score_adj score"
    " task_memcg role reaped owner",
    "memcg": "usage_kib limit_kib failcnt swap_usage_kib swap_limit_kib stats",
    "selection": "ranking margin explained rule",
    "consumer": "kind name kib share_pct is_victim",
    "cause": "code title confidence evidence advice",
    "answers": "what_used_too_much why_it_grew why_nothing_stopped_it",
    "source": "name lines bytes first_time last_time boots",
    "note": "code line text",
    "span": "name first_line last_line",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_json_schema_requires_the_keys_of_the_contract(name: str) -> None:
    definition = json_schema()["$defs"][name]
    assert set(CONTRACT[name].split()) <= set(definition["required"])
    assert definition["additionalProperties"] is False


def test_json_schema_is_a_schema_with_units_or_words_for_every_field() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == "oomsight.explain/1"
    for definition in [schema, *schema["$defs"].values()]:
        assert all(p["description"].endswith((".", "?", "…")) for p in definition["properties"].values())


def test_json_schema_knows_every_kind_of_event() -> None:
    assert set(KINDS) == {kind.value for kind in EventKind}


@pytest.mark.parametrize("make", [host_incident, pod_incident, empty_incident, killer_incident])
def test_document_is_valid_json_of_the_schema(make) -> None:
    written = json.loads(document_json("0.1.0", SOURCES, [make()]))
    assert not [error.message for error in VALIDATOR.iter_errors(written)]
    assert list(written) == ["schema", "oomsight", "sources", "incidents"]
    assert written["sources"][0]["boots"] == 1


@pytest.mark.parametrize(
    "path",
    [[], ["sources", 0], ["incidents", 0], ["incidents", 0, "victims", 0], ["incidents", 0, "memory", "items", 0]],
)
def test_schema_refuses_unknown_and_missing_keys(path) -> None:
    good = document("0.1.0", SOURCES, [host_incident()])
    for change in ("add", "drop"):
        bad = copy.deepcopy(good)
        target = bad
        for step in path:
            target = target[step]
        if change == "add":
            target["unheard_of"] = 1
        else:
            del target[next(iter(target))]
        assert not VALIDATOR.is_valid(bad)


def test_incident_dict_of_a_container() -> None:
    written = incident_dict(pod_incident())
    assert written["kind"] == "memcg"
    assert written["time"] == "2026-11-23T09:58:29+01:00"
    memcg = written["memcg"]
    assert (memcg["usage_kib"], memcg["limit_kib"], memcg["failcnt"]) == (49152, 49152, 33)
    assert memcg["swap_limit_kib"] == "unlimited"
    assert memcg["memsw_limit_kib"] is None
    assert memcg["stats"]["anon"] == 50085888
    assert memcg["cgroups"] == [{"path": CONTAINER, "stats_bytes": memcg["stats"], "line": 43}]
    (victim,) = written["victims"]
    assert victim["owner"]["qos"] == "burstable"
    assert victim["owner"]["pod_uid"] == "3f7d0a52-9f1c-4c1e-a0cb-5f1f7e0e9c11"
    (task,) = written["tasks"]
    assert (task["rss_kib"], task["pgtables_kib"], task["badness_pages"], task["rank"]) == (49476, 140, 24019, 1)
    assert written["memory"]["total_kib"] == sum(item["kib"] for item in written["memory"]["items"]) == 49152


def test_incident_dict_of_a_host() -> None:
    written = incident_dict(host_incident())
    assert written["trigger"]["gfp_mask"] == 0x140DCA
    assert written["zones"][1]["passes"] is False
    assert written["zones"][0]["buddy"][0] == {"count": 1, "block_kib": 4, "types": "M"}
    assert written["zones"][1]["buddy"] is None
    assert written["selection"]["margin"] == 16658
    assert written["selection"]["ranking"][-1]["skipped"] == "oom_score_adj -1000"
    assert written["culprit"]["name"] == "python3"
    assert written["memcg"] is None
    assert written["summary"].startswith("The kernel killed python3 because")  # names without marks


def test_incident_dict_gfp_flags_are_decoded_where_the_kernel_printed_none() -> None:
    incident = pod_incident()
    incident.report.trigger.gfp_flags = None
    assert incident_dict(incident)["trigger"]["gfp_flags"] == ["GFP_KERNEL"]
    incident.gfp = None
    assert incident_dict(incident)["trigger"]["gfp_flags"] is None


def test_incident_dict_of_a_userspace_kill_has_no_victims() -> None:
    written = incident_dict(killer_incident())
    assert (written["killer"], written["victims"], written["killed"][0]["pid"]) == ("earlyoom", [], 4242)


def test_document_keeps_odd_bytes_reversibly() -> None:
    name = b"\xff\xfe bad\x1b".decode("utf-8", "surrogateescape")
    line = incident_json(host_incident(name))
    assert line.isascii()
    assert "\n" not in line
    comm = json.loads(line)["victims"][0]["comm"]
    assert comm.encode("utf-8", "surrogateescape") == b"\xff\xfe bad\x1b"


@pytest.mark.parametrize("name", ['"tasks":[],"ranking":[]', "%d %s %%", '\\"ranking\\":[]', "caf\u00e9\udcff"])
@pytest.mark.parametrize("make", [host_incident, lambda _name: pod_incident(), lambda _name: empty_incident(), lambda _name: killer_incident()])
def test_an_incident_as_text_is_its_dictionary(make, name: str) -> None:
    incident = make(name)
    assert incident_json(incident) == json.dumps(incident_dict(incident), separators=(",", ":"))


_ROWS = st.lists(st.tuples(*[st.none() | st.integers(-(2**70), 2**70)] * 2, st.none() | st.text(), st.none() | st.text()), max_size=5)


@given(_ROWS)
def test_a_table_as_text_is_its_dictionaries(rows: list[tuple[object, ...]]) -> None:
    kinds = [schema.INT, schema.optional(schema.INT), schema.optional(schema.TEXT), schema.optional(schema.SENTENCE)]
    fields = [schema.field(f"f{at}", kind, "", lambda rows, at=at: [row[at] for row in rows]) for at, kind in enumerate(kinds)]
    table = schema.Table("t", "", *fields)
    assert table.text(rows) == json.dumps(table.write_all(rows), separators=(",", ":"))
    assert [tuple(row) for row in table.write_all(rows)] == [("f0", "f1", "f2", "f3")] * len(rows)


def test_rows_given_one_by_one_are_written_with_their_own_holes() -> None:
    incident = host_incident("a")
    whole = incident_dict(incident)["tasks"]
    incident.report.tasks = [replace(task) for task in incident.report.tasks]
    assert incident_dict(incident)["tasks"] == whole
    incident.report.tasks[0].swapents_pages = None
    assert incident_dict(incident)["tasks"][0]["swap_kib"] is None
    assert incident_json(incident) == json.dumps(incident_dict(incident), separators=(",", ":"))
