"""``oomsight explain`` as its users run it: real captures through the real command line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oomsight.cli.main import run
from oomsight.record.codec import MAGIC

DATA = Path(__file__).parent / "data"
MEMCG = gzip.decompress((DATA / "6.12.107-memcg_max.kmsg.gz").read_bytes())
BURST = gzip.decompress((DATA / "6.12.107-ratelimit.kmsg.gz").read_bytes())
GROUP = gzip.decompress((DATA / "6.12.107-memcg_group.kmsg.gz").read_bytes())
ISO = gzip.decompress((DATA / "6.12.107-formats.short-iso.gz").read_bytes())
SYSLOG = gzip.decompress((DATA / "6.12.107-formats.rsyslog.gz").read_bytes())


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    path = tmp_path / "kern.log"
    path.write_bytes(MEMCG)
    return path


def oomsight(*args: str | Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """The program itself, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "oomsight.cli.main", *map(str, args)], input=stdin, capture_output=True, check=False,
        timeout=60,
    )  # fmt: skip


def test_text_answers_the_three_questions(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(log)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("app-worker (pid 156, 30.3 MiB) was killed: app.service reached its memory limit\nof 64.0 MiB\n")
    headings = ["What used too much memory", "Why did it grow", "Why did nothing stop it earlier", "What to change"]
    places = [out.index(h) for h in headings]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= 80
    assert "systemctl set-property -- app.service MemoryMax=80M" in out


def test_an_empty_path_is_an_unset_variable() -> None:
    done = oomsight("explain", "")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"a PATH is empty; is the variable" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_json_is_one_document_of_the_contract(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(log), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "oomsight.explain/1"
    assert [s["lines"] for s in document["sources"]] == [MEMCG.count(b"\n")]
    (incident,) = document["incidents"]
    assert incident["kind"] == "memcg"
    assert incident["complete"] is True
    assert incident["victims"][0]["pid"] == 156
    assert incident["victims"][0]["anon_rss_kib"] == 30592
    assert incident["memcg"]["limit_kib"] == 65536
    assert incident["oom_memcg"] == "/system.slice/app.service"
    assert incident["selection"]["explained"] is True


def test_json_of_many_validates_and_counts_recurrences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jsonschema import Draft202012Validator

    from oomsight.sinks.document import json_schema

    path = tmp_path / "dmesg"
    path.write_bytes(BURST)
    assert run(["explain", str(path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(json_schema()).validate(document)
    assert len(document["incidents"]) == 28
    uptimes = [i["uptime_s"] for i in document["incidents"]]
    assert uptimes == sorted(uptimes, reverse=True)
    assert len({i["id"] for i in document["incidents"]}) == 28


def test_ndjson_is_one_incident_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dmesg"
    path.write_bytes(BURST)
    assert run(["explain", str(path), "--format", "ndjson"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["memcg"] * 28


@pytest.mark.parametrize("option", [(), ("--redact", "--redact-key", "k")])
def test_ndjson_of_many_kernels_each_line_is_what_the_schema_says(tmp_path: Path, capsys, option) -> None:
    from jsonschema import Draft202012Validator

    from oomsight.sinks.document import json_schema

    from ..golden.goldens import NAMES, log

    paths = []
    for golden in NAMES[::4]:
        paths.append(str(tmp_path / golden))
        Path(paths[-1]).write_bytes(log(golden))
    both = {}
    for form in ("json", "ndjson"):
        assert run(["explain", *paths, "--format", form, *option]) == 0
        both[form] = capsys.readouterr().out
    document = json.loads(both["json"])
    lines = [json.loads(line) for line in both["ndjson"].splitlines()]
    assert lines == document["incidents"]
    assert len(lines) > 40
    validator = Draft202012Validator(json_schema())
    for line in lines:
        validator.validate(document | {"incidents": [line]})


def test_directory_that_may_not_be_read_says_so(log: Path, capsys, monkeypatch) -> None:
    shut = log.parent / "shut"
    shut.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(shut) and access(path, mode))
    assert run(["explain", str(shut), str(log), "--brief"]) == 4
    out = capsys.readouterr()
    assert out.err == f"oomsight: {shut}: permission denied; try: sudo oomsight explain {shut}\n"
    assert "app-worker" in out.out


def test_markdown_has_headings_and_no_raw_html(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(log), "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("## `app-worker` (pid 156, 30.3 MiB) was killed")
    assert "### What used too much memory" in out


def test_group_kill_is_one_incident_with_all_victims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "k"
    path.write_bytes(GROUP)
    assert run(["explain", str(path), "--format", "json"]) == 0
    (incident,) = json.loads(capsys.readouterr().out)["incidents"]
    assert [v["role"] for v in incident["victims"]] == ["selected", "group", "group"]
    assert len({v["pid"] for v in incident["victims"]}) == 3
    assert any(n["code"] == "kill_line_repeated" for n in incident["notes"])


def test_copies_of_one_event_in_several_logs_count_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.txt").write_bytes(ISO)
    (tmp_path / "syslog").write_bytes(SYSLOG)
    (tmp_path / "kern.log").write_bytes(SYSLOG)
    assert run(["explain", str(tmp_path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["sources"]) == 3
    assert [[v["pid"] for v in i["victims"]] for i in document["incidents"]] == [[172]]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress], ids=["gz", "xz", "bz2"])
def test_compressed_logs_are_read_whatever_their_name(tmp_path: Path, pack: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noname"
    path.write_bytes(pack(MEMCG))  # type: ignore[operator]
    assert run(["explain", str(path), "--brief"]) == 0
    assert capsys.readouterr().out.startswith("app-worker (pid 156")


def test_standard_input_with_and_without_dash() -> None:
    for args in (["explain", "-"], ["explain"]):
        done = oomsight(*args, stdin=MEMCG)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"app-worker (pid 156, 30.3 MiB) was killed")


@pytest.mark.parametrize(
    ("option", "found"),
    [
        (("--pid", "156"), 1), (("--pid", "1"), 0), (("--comm", "app-*"), 1), (("--comm", "java"), 0),
        (("--cgroup", "app.service"), 1), (("--cgroup", "/docker"), 0), (("--last", "1"), 1),
    ],
)  # fmt: skip
def test_filters(log: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], found: int) -> None:
    assert run(["explain", str(log), "--format", "ndjson", *option]) == 0
    assert len(capsys.readouterr().out.splitlines()) == found


def test_time_filters_use_the_dates_of_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "journal.txt"
    path.write_bytes(ISO)
    for since, until, found in (("2026-11-23T09:58:00+00:00", "2026-11-23T09:59:00+00:00", 1), ("2026-11-24", "2026-11-25", 0)):
        assert run(["explain", str(path), "--format", "ndjson", "--since", since, "--until", until]) == 0
        assert len(capsys.readouterr().out.splitlines()) == found


def test_nothing_found_says_where_period_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "quiet.log"
    path.write_text("".join(f"2026-11-23T09:5{i}:00+0000 host sshd[1]: Accepted\n" for i in range(10)))
    assert run(["explain", str(path)]) == 0
    assert capsys.readouterr().out == (
        f"No kernel OOM kill in {path}, 2026-11-23T09:50:00+00:00 to 2026-11-23T09:59:00+00:00, 10 lines.\n"
    )


@pytest.mark.parametrize(("exit_code", "status"), [([], 0), (["--exit-code"], 3)])
def test_exit_status_tells_findings_only_when_asked(log: Path, exit_code: list[str], status: int) -> None:
    assert run(["explain", str(log), "--brief", *exit_code]) == status


def test_unreadable_input_is_named_and_the_rest_explained(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(MEMCG)[:-40])
    binary = tmp_path / "core"
    binary.write_bytes(bytes(range(256)) * 40)
    assert run(["explain", str(log), str(tmp_path / "missing.log"), str(cut), str(binary), "--brief"]) == 4
    captured = capsys.readouterr()
    assert "app-worker (pid 156, 30.3 MiB) was killed" in captured.out
    assert f"oomsight: {tmp_path}/missing.log: no such file" in captured.err
    assert f"{cut}: gzip stream is cut after" in captured.err
    assert f"{binary}: is not a text log (binary data); try: strings" in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 3


def test_wrong_time_is_a_usage_error_with_examples(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(log), "--since", "whenever"]) == 2
    err = capsys.readouterr().err
    assert "'whenever' is no time I know" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--comm", ""], "--comm is empty; is the variable that should hold it set?"),
        (["--cgroup", ""], "--cgroup is empty; is the variable that should hold it set?"),
        # who gives a key means to hide names, and would have published them
        (["--redact-key", "secret"], "--redact-key hides nothing by itself: add --redact"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_usage_errors(
    option: list[str], says: str, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", str(log), *option]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"oomsight: {says} (see oomsight explain --help)" in " ".join(told.err.split())


def test_directories_that_are_not_there_are_said_to_be_missing(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--root", "/no/such/root"]) == 2
    assert "--root: /no/such/root: no such directory" in capsys.readouterr().err
    assert run(["explain", str(log), "--history", "/no/such/record"]) == 0
    assert "--history: /no/such/record: no such directory" in capsys.readouterr().err


def test_a_record_of_a_newer_oomsight_is_said_to_be_left_out(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t0.journal").write_bytes(MAGIC[:4] + bytes([MAGIC[4] + 1]) + MAGIC[5:])
    assert run(["explain", str(log), "--history", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "made by a newer oomsight (format 2); explained without a record" in told.err
    assert "was killed" in told.out


def test_redacted_output_keeps_numbers_and_hides_names(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(log), "--redact", "--redact-key", "k", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert "app-worker" not in out
    assert "app.service" not in out
    assert str(log) not in out
    assert json.loads(out)["incidents"][0]["victims"][0]["anon_rss_kib"] == 30592


def test_no_raw_control_characters_reach_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(MEMCG.replace(b"app-worker", b"\\x1b]0;x\\x07\\x9b"))
    done = oomsight("explain", path, "--color", "always", "--evidence")
    text = done.stdout.decode()
    plain = text.replace("\x1b[", "")  # our own colours
    assert "\x1b" not in plain
    assert not {c for c in plain if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160}
    assert "\\x1b]0;x\\x07\\x9b" in text


def test_closed_output_is_no_error(log: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "oomsight.cli.main", "explain", str(log)], stdout=gone, stderr=subprocess.PIPE, check=False,
            timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, b"")


def test_many_events_are_listed_told_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dmesg"
    path.write_bytes(BURST)
    assert run(["explain", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("28 OOM events, newest first\n")
    assert out.count("What used too much memory") == 10
    assert "18 older events, in brief (--full tells them all)" in out
    assert run(["explain", str(path), "--full"]) == 0
    assert capsys.readouterr().out.count("What used too much memory") == 28


def test_closed_standard_input_is_no_reason_to_fail(log: Path) -> None:
    command = [sys.executable, "-m", "oomsight.cli.main", "explain"]
    shell = ["sh", "-c", 'exec "$@" <&-', "sh"]
    done = subprocess.run([*shell, *command, str(log), "--brief"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([*shell, *command, "-"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "oomsight: <stdin>: is closed; try: oomsight explain FILE\n"


def test_a_file_one_may_not_read_is_no_wrong_usage() -> None:
    """Root reads everything, so this is where click would look: the source says what is missing, others go on."""
    from oomsight.cli import declare
    from oomsight.cli.clicked import _type

    assert _type(declare.Path()).readable is False


def test_a_memory_report_alone_says_what_to_paste_besides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zones.log"
    path.write_text("[ 1.5] Mem-Info:\n[ 1.5] Node 0 DMA32 free:612kB boost:0kB min:1948kB low:2432kB high:2916kB\n")
    assert run(["explain", str(path)]) == 0
    said = capsys.readouterr().out.split("\n")
    assert said[0].startswith("No kernel OOM kill in ")
    assert "Paste from the line 'invoked" in said[2]
    path.write_text("an ordinary line\n")
    assert run(["explain", str(path)]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_file_that_grows_or_shrinks_meanwhile_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    """A log is written while it is read, and copytruncate empties it: the kill before is told, and nothing is raised."""
    path = tmp_path / "kern.log"
    noise = b"[    0.100000] usb 1-1: new device\n" * 400_000
    for change in ("ab", "wb"):
        path.write_bytes(MEMCG + noise)
        process = subprocess.Popen(
            [sys.executable, "-m", "oomsight", "explain", "--brief", "--format", "json", str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with path.open(change) as log:
            log.write(noise)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert b"Traceback" not in err
        assert len(json.loads(out)["incidents"]) <= 1
