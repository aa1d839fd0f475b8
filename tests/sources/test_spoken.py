"""Lines of daemons, by way of a stand-in for journalctl and of log files."""

from __future__ import annotations

import json

import pytest

from oomsight.report import Clock
from oomsight.sources.errors import SourceError
from oomsight.sources.files import FileSource, expand
from oomsight.sources.runtimes import Places
from oomsight.sources.runtimes.spoken import journal_facts, log_facts
from oomsight.why.evidence import FactKind, Subject

UNIT = Subject("unit", "web", unit="web.service", ended=1000.0)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """``host(script)``: a root with a journal and a journalctl that runs *script*."""

    def make(script: str) -> Places:
        (tmp_path / "var/log/journal").mkdir(parents=True)
        program = tmp_path / "bin" / "journalctl"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return Places(str(tmp_path))

    return make


def _entry(message, **fields):
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": "999500000", **fields})


def test_journal_facts_asks_around_the_end_and_reads_fields(host, tmp_path):
    entries = [
        _entry("web.service: Main process exited, code=killed, status=9/KILL"),
        _entry("Failed with result 'oom-kill'.", UNIT="web.service"),  # old systemd leaves the unit to the field
        _entry(list(b"web.service: \xff State 'stop-sigterm' timed out. Killing.")),
        _entry("nothing"), "no json", _entry(None),
    ]  # fmt: skip
    places = host("cat <<'E'\n" + "\n".join(entries) + "\nE")
    facts = list(journal_facts(places, UNIT, lambda fact: True))
    assert [(fact.kind, fact.at, fact.unit) for fact in facts] == [
        (FactKind.EXIT, 999.5, "web.service"), (FactKind.RESULT, 999.5, "web.service"),
    ]  # fmt: skip
    asked = (tmp_path / "asked").read_text()
    assert "--since=@-2600 --until=@4600" in asked
    assert "UNIT=web.service + USER_UNIT=web.service" in asked


def test_journal_facts_of_a_container_asks_the_daemons(host, tmp_path):
    places = host("true")
    assert list(journal_facts(places, Subject("container", "x", container_id="a" * 64), lambda fact: True)) == []
    assert "SYSLOG_IDENTIFIER=kubelet + SYSLOG_IDENTIFIER=containerd" in (tmp_path / "asked").read_text()


def test_journal_facts_without_right_or_journal_is_one_line(host, tmp_path):
    places = host("echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1")
    with pytest.raises(SourceError, match=r"insufficient permissions.*systemd-journal"):
        list(journal_facts(places, UNIT, lambda fact: True))
    with pytest.raises(SourceError, match="keeps no journal"):
        list(journal_facts(Places(str(tmp_path / "bin")), UNIT, lambda fact: True))


def test_log_facts_keeps_what_is_asked_for(tmp_path):
    log = tmp_path / "syslog"
    log.write_text(
        "2026-11-23T10:00:00+00:00 h systemd[1]: web.service: Failed with result 'signal'.\n"
        "2026-11-23T10:00:01+00:00 h systemd[1]: other.service: Failed with result 'signal'.\n" + "x" * 40_000 + "\n"
    )
    sources = [FileSource(ref) for ref in expand([str(log)])]
    facts = list(log_facts(sources, lambda source: Clock(), lambda fact: fact.unit == "web.service"))
    assert [(fact.unit, fact.at, fact.source) for fact in facts] == [("web.service", 1795428000.0, str(log))]
