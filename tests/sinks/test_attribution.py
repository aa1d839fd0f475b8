"""Names as JSON and as facts."""

import jsonschema

from oomsight.attribute import Key, Names, Observation, Resolver
from oomsight.naming.marked import unmark
from oomsight.sinks.attribution import ATTRIBUTION, attribution_dict, attribution_facts, facts_of, name_of
from oomsight.sinks.schema import json_schema

PATH = "/docker/" + "a" * 64


def _resolved(**names):
    resolver = Resolver()
    resolver.observe([Observation(Key("container", "a" * 64), Names(container="web", **names), 5.0)])
    return resolver.resolve(PATH)


def test_attribution_dict_fits_its_schema_and_unknown_is_null():
    for found in (_resolved(limit_bytes="unlimited", labels=(("k", "v"),)), Resolver().resolve(None)):
        jsonschema.validate(attribution_dict(found), json_schema(ATTRIBUTION, "x/1", "x"))
    written = attribution_dict(_resolved(labels=(("k", "v"),)))
    assert (written["container"], written["labels"], written["limit_bytes"], written["pod"]) == ("web", {"k": "v"}, None, None)
    assert written["last_seen"] == 5.0


def test_attribution_facts_count_labels_that_are_left_out():
    labels = tuple((f"k{n:02}", "v") for n in range(11))
    facts = dict(attribution_facts(_resolved(limit_bytes=1 << 30, labels=labels)))
    assert facts["Its memory limit"] == "1.0 GiB"
    assert unmark(facts["Labels"]).endswith("k07=v and 3 more")


def test_a_number_of_a_user_is_no_name_that_somebody_told():
    """The path has it in better words: session 1 of user 1000."""
    found = {"name": "uid 1000", "uid": 1000, "level": "session", "node": "box"}
    assert name_of({"attribution": found}) is None
    assert [label for label, _ in facts_of({"attribution": found})] == ["Host"]
    assert unmark(name_of({"attribution": {**found, "name": "ann"}}) or "") == "ann"
