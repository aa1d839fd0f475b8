"""oomsight.sources.program"""

from __future__ import annotations

import sys
import tempfile

import pytest

from oomsight.sources.program import Program


@pytest.mark.parametrize("places", [None, ("/nowhere",)], ids=["disk", "no place to write"])
def test_output_and_the_last_complaint(monkeypatch, places) -> None:
    if places is not None:
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: list(places))
    program = Program([sys.executable, "-c", "import sys; print('out'); sys.stderr.write('one\\ntwo\\n\\n')"])
    assert b"".join(program) == b"out\n"
    assert (program.status, program.complaint) == (0, "two")
