"""oomsight.naming.shapes: a shape says of every name what its pattern says"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomsight.naming.cgroup_layouts import LAYOUTS
from oomsight.naming.shapes import PARTS, Part, Shape, needs

UID = "8dbc2f0a-54a5-4b3e-9c5d-0123456789ab"
PIECES = sorted({part for layout in LAYOUTS for part in layout.example.split("/")})
NAMES = st.one_of(
    st.sampled_from(PIECES),
    st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES), st.integers(0, 40), st.integers(0, 40)).map(
        lambda row: row[0][: row[2]] + row[1][row[3] :]
    ),
    st.text(max_size=12),
    st.from_regex(r"\A[0-9a-f]{10,66}\Z"),
)


def said(found):
    if found is None:
        return None
    return found.groupdict(), [found.span(name) for name in found.re.groupindex], [found[n] for n in found.re.groupindex]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@settings(max_examples=10)
@given(data=st.data())
def test_a_shape_says_what_its_pattern_says(layout, data):
    real = [re.compile(f"(?as){pattern}") for pattern in layout.pattern.patterns]
    name = data.draw(st.one_of(NAMES, *(st.from_regex(one, fullmatch=True) for one in real)))
    first = next(filter(None, (one.fullmatch(name) for one in real)), None)
    assert said(layout.pattern.fullmatch(name)) == said(first)
    assert first is None or (name.startswith(layout.pattern.first) and name.endswith(layout.pattern.last))


@pytest.mark.parametrize("source", PARTS)
@given(data=st.data())
def test_a_part_is_what_its_pattern_says(source, data):
    text = data.draw(st.one_of(NAMES, st.from_regex(re.compile(source, re.ASCII), fullmatch=True), st.text("0123456789c…", max_size=12)))
    told = PARTS[source](text)
    assert told is None or told == bool(re.fullmatch(source, text, re.ASCII | re.DOTALL))


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (r"(?:(?P<name>.+)-)?libpod_pod_(?P<pod>[0-9a-f]{12,64})\.slice", [[("libpod_pod_",), (".slice",)]]),
        ("kubelet|podruntime", [[("kubelet",)], [("podruntime",)]]),
        (r"slurm(?:_(?P<name>.+))?|(?:(?P<instance>.+)_)?slurmstepd\.scope", [[("slurm",)], [("slurmstepd.scope",)]]),
        (r"ab?c[x)]d{2}e", [[("a",), ("c",), ("e",)]]),
        (r"\d+-x", [[("-x",)]]),
        (r"(?P<rt>a|b\.c)-(?:d|e)?(?:f)+", [[("a", "b.c"), ("-",), ("f",)]]),
    ],
)
def test_needs_are_what_every_match_holds(pattern, wanted):
    assert needs(pattern) == wanted


def test_names_of_an_ordinary_host_need_no_patterns():
    assert isinstance(Shape(r"(?P<name>.+)\.(?:service|scope|socket|mount|automount|swap)").fullmatch("a.scope"), Part)
    code = (
        "import sys; from oomsight.naming.cgroup_path import describe\n"
        "for path in sys.argv[1:]: describe(path)\n"
        "print('re' in sys.modules)"
    )
    paths = ("/", "/init.scope", "/system.slice/ssh.service", "/user.slice/user-1000.slice/session-3.scope", "/a" * 9,
             "/user.slice/user-1000.slice/user@1000.service", f"/docker/{'0a' * 32}",
             "/0e9a2c9add7a97cf3c679fcfff6a7126", "/batch.slice", "/system.slice/system-getty.slice/getty@tty1.service",
             f"/system.slice/docker-{'0a' * 32}.scope", f"/machine.slice/libpod-{'0a' * 32}.scope/container",
             f"/machine.slice/libpod-conmon-{'0a' * 32}.scope", f"/kubepods/burstable/pod{UID}/{'0a' * 32}",
             f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
             f"/cri-containerd-{'0a' * 32}.scope",
             f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/crio-{'0a' * 32}.scope")  # fmt: skip
    told = subprocess.run([sys.executable, "-S", "-c", code, *paths], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    assert told.stdout == "False\n"
