"""The journal through a stand-in for journalctl that shows what it was asked, and answers."""

from __future__ import annotations

import pytest

from oomsight.sources.errors import NotReadable, SourceError
from oomsight.sources.files import FileRef, FileSource
from oomsight.sources.journal import MATCHES, JournalSource, journal_blocks

ENTRY = "__CURSOR=s=1\\n__REALTIME_TIMESTAMP=1795438509141003\\n_TRANSPORT=kernel\\nMESSAGE=x\\n\\n"


@pytest.fixture
def journalctl(tmp_path):
    """Make a program of that name: ``journalctl(script) -> path``; ``$@`` are its arguments."""

    def make(script: str) -> str:
        path = tmp_path / "bin" / "journalctl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_journal_blocks_asks_for_kernel_or_killers_in_export_format(journalctl):
    program = journalctl('printf "%s\\n" "$@"')
    asked = b"".join(journal_blocks("-1", "yesterday", "now", program=program)).decode().split("\n")[:-1]
    assert asked[:5] == ["--quiet", "--output=export", "--boot=-1", "--since=yesterday", "--until=now"]
    assert asked[5].startswith("--output-fields=MESSAGE,PRIORITY,")
    assert asked[6:8] == ["_TRANSPORT=kernel", "+"]
    assert asked[6::2] == list(MATCHES)
    assert set(asked[7::2]) == {"+"}


def test_journal_blocks_all_boots_by_default(journalctl):
    asked = b"".join(journal_blocks(program=journalctl('echo "$@"')))
    assert b"--boot" not in asked
    assert b"--since" not in asked


def test_journal_blocks_old_journalctl_without_output_fields(journalctl):
    program = journalctl(
        'case "$*" in *--output-fields*) echo "journalctl: unrecognized option --output-fields" >&2; exit 1;; esac\n'
        f'printf "{ENTRY}"'
    )
    assert b"".join(journal_blocks(program=program)).startswith(b"__CURSOR=s=1\n")


def test_journal_blocks_not_permitted_says_which_group(journalctl):
    program = journalctl('echo "No journal files were opened due to insufficient permissions." >&2; exit 1')
    with pytest.raises(NotReadable) as caught:
        list(journal_blocks(program=program))
    assert "insufficient permissions" in str(caught.value)
    assert "group systemd-journal or adm" in str(caught.value)


def test_journal_blocks_failure_after_output_is_a_note(journalctl):
    notes: list[str] = []
    program = journalctl(f'printf "{ENTRY}"; echo "Failed to iterate through journal: Bad message" >&2; exit 1')
    assert b"".join(journal_blocks(program=program, notes=notes)).endswith(b"MESSAGE=x\n\n")
    assert notes == ["journal: Failed to iterate through journal: Bad message; explained what was readable"]


def test_journal_blocks_without_journalctl_says_so():
    with pytest.raises(SourceError) as caught:
        list(journal_blocks(files=["/x/a.journal"], program="journalctl-that-is-not-there"))
    assert str(caught.value) == (
        "/x/a.journal: journalctl-that-is-not-there is not installed, and only it reads journal files"
    )


def test_journal_blocks_given_up_early_stops_the_program(journalctl):
    blocks = journal_blocks(program=journalctl("while :; do echo MESSAGE=x; done"))
    assert next(blocks).startswith(b"MESSAGE=x\n")
    blocks.close()  # would hang if the program were waited for


def test_journal_file_given_as_file_goes_through_journalctl(journalctl, monkeypatch):
    program = journalctl('echo "$@"')
    monkeypatch.setenv("PATH", program.rpartition("/")[0])
    source = FileSource(FileRef("m", "journal", ("m/a.journal", "m/b.journal"), 10))
    assert b"--file=m/a.journal --file=m/b.journal" in b"".join(source.blocks())


def test_journal_source_check_and_period(journalctl, tmp_path):
    folder = tmp_path / "var/log/journal"
    folder.mkdir(parents=True)
    source = JournalSource(program=journalctl(f'printf "{ENTRY}"'))
    source.check(str(tmp_path))
    assert source.period_us() == (1795438509141003, 1795438509141003)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 0", "journal: holds no kernel messages"),
        ("echo 'Hint: You are currently not seeing messages from other users and the system.' >&2", "journal: the system journal may not be read; try: sudo, or add yourself"),
    ],
)
def test_journal_source_check_reasons(script, says, journalctl, tmp_path):
    (tmp_path / "run/log/journal").mkdir(parents=True)
    with pytest.raises(SourceError) as caught:
        JournalSource(program=journalctl(script)).check(str(tmp_path))
    assert str(caught.value).startswith(says)


def test_journal_source_check_no_journal_kept(journalctl, tmp_path):
    with pytest.raises(SourceError) as caught:
        JournalSource(program=journalctl("exit 0")).check(str(tmp_path))
    assert str(caught.value) == "journal: this host keeps no journal"
