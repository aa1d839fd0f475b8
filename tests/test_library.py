"""The library front: what ``import oomsight`` offers, to programs and to type checkers."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oomsight
from oomsight.data import CAPTURES, read_capture

SRC = Path(__file__).parents[1] / "src"

POD = "5b0b1c4f2d8e6a7f9c3b2a1d0e9f8c7b6a5d4e3f2c1b0a9d8e7f6c5b4a3d2e1f"


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{code}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def _victims(incidents) -> list[tuple[int | None, str | None]]:
    return [(victim.pid, victim.comm) for incident in incidents for victim in incident.report.victims]


def test_import_loads_nothing_but_the_version() -> None:
    done = _python("before = set(sys.modules); import oomsight; print(*sorted(set(sys.modules) - before))")
    assert done.stdout == "oomsight oomsight._version\n"


def test_public_names_are_all_there_and_documented() -> None:
    assert set(oomsight.__all__) <= set(dir(oomsight))
    for name in oomsight.__all__:
        value = getattr(oomsight, name)
        if callable(value):
            assert value.__doc__, name


def test_what_is_no_text_is_refused_not_found_empty(tmp_path) -> None:
    path = tmp_path / "a.log"
    path.write_text(read_capture())
    for wrong in (path, 5, None, ["x"], io.StringIO("x")):
        with pytest.raises(TypeError, match=r"a log is text or bytes, not .*; for a file use explain_paths"):
            oomsight.explain(wrong)
        with pytest.raises(TypeError, match="a log is text or bytes"):
            oomsight.parse(wrong)
    for wrong in ("a.log", b"a.log"):
        with pytest.raises(TypeError, match="for a path explain_paths"):
            oomsight.iter_incidents(wrong)
    with pytest.raises(TypeError, match="a time is a datetime, not str"):
        list(oomsight.explain_paths([path], since="yesterday"))
    (incident,) = oomsight.explain_paths(path)
    assert _victims(oomsight.explain_paths(str(path))) == _victims([incident]) != []
    for show in (oomsight.to_text, oomsight.to_markdown):
        with pytest.raises(ValueError, match="level is 'brief', 'normal' or 'evidence', not 'long'"):
            show(incident, "long")


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oomsight' has no attribute 'explian'"):
        oomsight.explian  # noqa: B018


def test_type_checker_knows_the_names_and_refuses_others(tmp_path) -> None:
    (tmp_path / "user.py").write_text(
        "import oomsight\n"
        "for incident in oomsight.explain('x'):\n"
        "    reveal_type(incident.report.victims[0].anon_rss_kib)\n"
        "oomsight.explian('x')\n"
    )
    pytest.importorskip("mypy", reason="mypy is not installed (make lint installs it)")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent", "user.py"],
        capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path, env={"MYPYPATH": str(SRC), "PATH": ""},
    )  # fmt: skip
    assert 'user.py:3: note: Revealed type is "int | None"' in done.stdout.replace("builtins.", ""), done.stdout
    assert 'user.py:4: error: Module has no attribute "explian"' in done.stdout


# -- the bundled captures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "trigger", "victim", "causes"),
    [
        ("tmpfs", "global", "cp", (141, "postgres"), {"shmem_tmpfs", "no_swap"}),
        ("service", "memcg", "app-worker", (156, "app-worker"), {"memcg_limit"}),
        ("pod", "memcg", "node", (165, "node"), {"memcg_limit"}),
    ],
)
def test_capture_is_explained(name, kind, trigger, victim, causes) -> None:
    (incident,) = oomsight.explain(read_capture(name))
    assert (incident.report.kind, incident.report.trigger.comm) == (kind, trigger)
    assert _victims([incident]) == [victim]
    assert causes <= {cause.code for cause in incident.causes}
    assert incident.report.complete
    assert incident.selection.explained


def test_captures_are_those_of_the_table_and_say_where_they_are_from() -> None:
    folder = SRC / "oomsight" / "data" / "captures"
    assert {path.stem for path in folder.iterdir()} == {capture.name for capture in CAPTURES}
    for capture in CAPTURES:
        assert capture.origin.startswith("Linux 6.12.107")
    with pytest.raises(KeyError):
        read_capture("../__init__")


@pytest.mark.parametrize(("args", "status"), [([], 0), (["pod"], 0), (["cod"], 2), (["pod", "tmpfs"], 2)])
def test_data_module_writes_a_capture(args, status, capsys) -> None:
    from oomsight.data.__main__ import main

    assert main(args) == status
    seen = capsys.readouterr()
    assert seen.out == ("" if status else read_capture(*args))
    assert seen.err.startswith("usage: ") is bool(status)


# -- text, streams, files ---------------------------------------------------------------------------------------------


def test_parse_says_what_the_text_says_and_where() -> None:
    first, second = oomsight.parse(read_capture("tmpfs") + read_capture("pod"), "two.log")
    assert isinstance(second, oomsight.OomReport)
    assert (first.source.name, first.source.first_line, second.source.first_line) == ("two.log", 1, 72)
    assert second.oom_memcg.endswith(f"cri-containerd-{POD}.scope")
    assert second.memcg.memory.limit_kib == 49152
    assert second.meminfo is None


def test_explain_merges_copies_of_an_event() -> None:
    text = read_capture("pod")
    (incident,) = oomsight.explain(text + "\n".join(f"> {line}" for line in text.splitlines()))
    assert incident.id == oomsight.explain(text.encode())[0].id


def test_explain_is_newest_first_and_iter_incidents_in_order_of_the_text() -> None:
    text = read_capture("tmpfs") + read_capture("pod")
    assert _victims(oomsight.explain(text)) == [(165, "node"), (141, "postgres")]
    assert _victims(oomsight.iter_incidents(io.StringIO(text))) == [(141, "postgres"), (165, "node")]


def test_iter_incidents_takes_blocks_cut_anywhere() -> None:
    one = read_capture("service")
    text = "".join(one.replace("11:05:4", f"{i // 60:02}:{i % 60:02}:4").replace("156", str(1000 + i)) for i in range(250))
    data = text.encode()
    assert len(data) > 1 << 20  # up to 1 MiB is looked at whole
    blocks = (data[i : i + 7919] for i in range(0, len(data), 7919))
    assert _victims(oomsight.iter_incidents(blocks)) == [(1000 + i, "app-worker") for i in range(250)]


@pytest.mark.parametrize("text", ["", b"", "no kernel here\n", b"\x00\xff" * 99])
def test_text_without_an_event_yields_nothing(text) -> None:
    assert oomsight.parse(text) == []
    assert oomsight.explain(text) == []
    assert list(oomsight.iter_incidents([text])) == []


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 6000), st.integers(0, 6000))
def test_explain_never_raises(noise, cut, end) -> None:
    data = read_capture("tmpfs").encode()
    for incident in oomsight.explain(data[:cut] + noise + data[end:]):
        assert incident.id
        json.dumps(oomsight.to_dict(incident))


@pytest.fixture
def logs(tmp_path):
    """A directory with the same kill twice (plain and compressed) and another one."""
    (tmp_path / "kern.log").write_text(read_capture("service"))
    (tmp_path / "kern.log.2.gz").write_bytes(gzip.compress(read_capture("tmpfs").encode()))
    (tmp_path / "messages").write_text(read_capture("service"))
    return tmp_path


def test_explain_paths_reads_directories_patterns_and_names_each_event_once(logs) -> None:
    assert _victims(oomsight.explain_paths([logs])) == [(156, "app-worker"), (141, "postgres")]
    assert _victims(oomsight.explain_paths([logs / "kern.log", f"{logs}/kern*"])) == [
        (156, "app-worker"), (141, "postgres"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "pids"),
    [
        ({"last": 1}, [156]),
        ({"pid": 141}, [141]),
        ({"comm": "post*"}, [141]),
        ({"cgroup": "app.service"}, [156]),
        ({"since": datetime(2026, 11, 24)}, [141]),  # noqa: DTZ001 - local; the tmpfs capture has no dates
        ({"until": datetime(2026, 11, 1, tzinfo=UTC)}, [141]),
        ({"since": datetime(2026, 11, 23, tzinfo=UTC) - timedelta(days=1)}, [156, 141]),
    ],
)
def test_explain_paths_filters(filters, pids, logs) -> None:
    assert [pid for pid, _ in _victims(oomsight.explain_paths([logs], **filters))] == pids


def test_explain_paths_unreadable_source_raises_before_the_first_incident(logs) -> None:
    missing = logs / "gone.log"
    with pytest.raises(oomsight.SourceError, match=r"gone\.log: no such file or directory"):
        next(oomsight.explain_paths([logs, missing]))


def test_explain_paths_on_error_reads_the_others(logs) -> None:
    errors: list[oomsight.SourceError] = []
    found = oomsight.explain_paths([logs / "gone.log", logs / "messages"], on_error=errors.append)
    assert _victims(found) == [(156, "app-worker")]
    assert [error.name for error in errors] == [str(logs / "gone.log")]


# -- showing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pod() -> oomsight.Incident:
    """The incident of the bundled pod."""
    return oomsight.explain(read_capture("pod"), "pod.log")[0]


def test_to_json_is_valid_against_the_schema(pod) -> None:
    document = json.loads(oomsight.to_json([pod]))
    jsonschema.validate(document, oomsight.json_schema())
    assert document["incidents"] == [oomsight.to_dict(pod)]
    assert document["oomsight"] == oomsight.__version__


def test_to_text_and_to_markdown_tell_the_story(pod) -> None:
    text = oomsight.to_text(pod, "brief", width=60, unicode=False)
    assert text.startswith("node (pid 165, 48.3 MiB) was killed:")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 60
    assert "\x1b[" in oomsight.to_text(pod, colour=True)
    assert oomsight.to_markdown(pod).startswith("## `node` (pid 165, 48.3 MiB) was killed:")


def test_redact_hides_names_and_keeps_numbers_and_verdict(pod) -> None:
    hidden = oomsight.redact(pod, b"key")
    text = oomsight.to_json([hidden]) + oomsight.to_text(hidden, "evidence") + oomsight.to_markdown(hidden)
    assert POD[:12] not in text
    assert "3f7d0a52" not in text
    assert "pod.log" not in text
    assert [cause.code for cause in hidden.causes] == [cause.code for cause in pod.causes]
    assert hidden.report.victims[0].anon_rss_kib == pod.report.victims[0].anon_rss_kib == 48896
    again = oomsight.redact(pod, b"key")
    assert oomsight.to_json([again]) == oomsight.to_json([hidden])
