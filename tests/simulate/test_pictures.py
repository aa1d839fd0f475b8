"""Charts and pictures: what is drawn where, hostile names, well-formed XML; the JSON against its schema."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.simulate.engine import simulate
from oomsight.simulate.sweep import BASE, Played, play_variants
from oomsight.sinks.plot_svg import stack, ticks, timeline_svg
from oomsight.sinks.safe import display_width
from oomsight.sinks.svg_words import escape
from oomsight.sinks.timeline_chart import chart_lines, resample, sparkline
from oomsight.sinks.timeline_document import json_schema, timeline_json

from .samples import scenario

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert(1)</script>&\\"\\u0000\\u001b[31m'
LEAK = ("c /a max=100MiB", "p leak leak cgroup=/a size=0 rate=1MiB/s")


def played(*tables: str, **more: str) -> list[Played]:
    return play_variants(scenario(*tables, **more))


# -- text -------------------------------------------------------------------------------------------------------------


def test_chart_shows_the_sawtooth_and_the_kills() -> None:
    run = simulate(scenario(LEAK[0], LEAK[1] + " restart=1s", duration="5min"))
    assert chart_lines(run, 60) == [
        "needed RAM ▕▁▁▁▁▁▁▁▁▂▁▁▁▁▁▁▁▁▂▁▁▁▁▁▁▁▂▏  13 % of 1 GiB RAM",
        "/a         ▕▁▂▃▄▅▆▇██▂▃▃▄▅▆▇██▂▃▄▅▆▆▇█▏ 100 % of 100 MiB max",
        "kills             ! K        K",
        "            0 s     2 min 30 s   5 min",
    ]
    assert chart_lines(run, 60, unicode=False)[1] == "/a         [.:-=+*#@@:--=+*#@@:-=+**#@] 100 % of 100 MiB max"


@pytest.mark.parametrize("width", [50, 74, 94])
@pytest.mark.parametrize("unicode", [True, False])
def test_chart_fits_its_width(width, unicode) -> None:
    run = simulate(scenario("c /日本語 max=9MiB", "p x leak cgroup=/日本語 rate=1MiB/s restart=2s",
                            "p y cache cgroup=/averyverylongcgroupname/below", machine='swap = "100MiB"'))  # fmt: skip
    for line in chart_lines(run, width, unicode=unicode):
        assert display_width(line) <= max(width, 62)
        assert unicode or line.isascii()


def test_the_legend_names_what_only_a_change_has() -> None:
    base = simulate(scenario("p leak leak size=0 rate=4MiB/s", duration="5min"))
    swapped = simulate(scenario("p leak leak size=0 rate=4MiB/s", duration="5min", machine='swap = "1GiB"'))
    drawn = timeline_svg([Played(BASE, "as it is", False, base), Played("swap", "with swap", True, swapped)])
    assert ">swapped out</text>" in drawn
    assert ">swapped out</text>" not in timeline_svg([Played(BASE, "as it is", False, base)])


def test_sparkline_shows_anything_above_nothing() -> None:
    assert sparkline([0, 1, 50, 99, 100, 200], 100) == " ▁▄███"
    assert sparkline([0, 5], 0) == "  "


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), min_size=1, max_size=40), st.integers(1, 60))
def test_resample_keeps_the_peak_and_the_length(samples, columns) -> None:
    samples.sort()
    out = resample([t for t, _ in samples], [v for _, v in samples], columns, 100.0)
    assert len(out) == columns
    assert max(out) == max(v for _, v in samples)


# -- svg and png ------------------------------------------------------------------------------------------------------


def test_svg_is_well_formed_and_marks_every_kill() -> None:
    runs = played(LEAK[0], LEAK[1] + " restart=1s", '[[variant]]\nname = "v"\nset = { "cgroup./a.max" = "200MiB" }',
                  duration="5min")  # fmt: skip
    root = ET.fromstring(timeline_svg(runs))
    titles = [element.text for element in root.iter(f"{SVG}title")]
    kills = [kill for one in runs for kill in one.run.kills]
    assert len(kills) == 3
    assert sum("by the kernel" in title for title in titles) == len(kills)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert "leak killed, 1 min 40 s" in words
    assert "RAM 1 GiB" in words
    assert "What would help" in words


def test_svg_of_hostile_names_stays_well_formed() -> None:
    one = scenario(*LEAK, f'[[process]]\nname = "{HOSTILE}"\nkind = "leak"\nrate = "1GiB/s"\ncgroup = "/a/x<&"')
    svg = timeline_svg([Played(BASE, HOSTILE, False, simulate(one))])
    root = ET.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in svg
    assert "\x1b" not in svg


@given(st.text())
def test_escape_is_always_xml(text) -> None:
    assert ET.fromstring(f'<a b="{escape(text)}">{escape(text)}</a>').tag == "a"


def test_stack_adds_up_to_what_is_in_ram_and_swap() -> None:
    run = simulate(scenario(*LEAK, "p db constant cgroup=/b/c size=50MiB", "p lone constant size=9MiB",
                            "p r cache cgroup=/b files=2GiB", machine='swap = "1GiB"'))  # fmt: skip
    layers = stack(run)
    assert [layer.name for layer in layers] == [
        "kernel and processes outside cgroups", "/a", "/b", "page cache", "swapped out"
    ]  # fmt: skip
    for number, sample in enumerate(run.samples):
        whole = sample.need_bytes[0] + sample.cache_bytes[0] + sample.swap_bytes[0]
        assert sum(layer.values[number] for layer in layers) == whole


@pytest.mark.parametrize(("whole", "most"), [(1 << 30, 5), (9 << 30, 3), (17 << 20, 5), (64 << 40, 4)])
def test_ticks_are_round_and_few(whole, most) -> None:
    found = ticks(whole, most)
    assert found[0] == 0
    assert 2 <= len(found) <= most + 1
    assert all(tick % (1 << 20) == 0 for tick in found)


# -- json -------------------------------------------------------------------------------------------------------------


def test_json_follows_its_schema_and_predicts() -> None:
    text = timeline_json("1.0", played(*LEAK, '[guard]\ncgroup = "/a"\navailable = 0', '[[variant]]\nname = "v"\nset = {}'))
    document = json.loads(text)
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    run = document["runs"][0]
    assert run["first_oom"] == {
        "time_seconds": 100.0, "constraint": "CONSTRAINT_MEMCG", "oom_memcg": "/a", "victim": "leak", "victims": ["leak"],
    }  # fmt: skip
    assert run["kills"][0]["candidates"][0]["killed"] is True
    assert document["kind"] == "timeline"
    assert {gap["code"] for gap in document["fidelity"]} >= {"time", "cold", "zones"}
