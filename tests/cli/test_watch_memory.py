"""What ``oomsight watch`` shows of a memory alert."""

from __future__ import annotations

import json

from oomsight.cli.watch import _Ndjson, _Text
from oomsight.daemons import watch as module

from ..alerts.test_memory import event


def test_text_is_one_line_with_the_name_escaped(capsys) -> None:
    show = _Text(False, 200, "never")
    show.memory(event(name="x\x1b[31m"))
    show.memory(event("cleared"))
    out = " ".join(capsys.readouterr().out.split())
    assert "Warning: x: needs 95 % of its limit of 100.0 MiB" in out
    assert "\x1b" not in out
    assert out.endswith("Over: x: enough memory again, 5.0 MiB left")


def test_ndjson_is_the_document(capsys) -> None:
    _Ndjson().memory(event())
    document = json.loads(capsys.readouterr().out)
    assert (document["type"], document["moment"], document["grower"]["name"]) == ("memory", "raised", "leak")


def test_alerts_come_to_the_thread_that_writes() -> None:
    shown: list[str] = []
    alarms = module._Alarms(lambda document: shown.append(document["moment"]))
    alarms._put(event())
    alarms._put(event("still"))
    alarms._put(event("cleared"))
    assert shown == []
    alarms.show()
    assert shown == ["raised", "cleared"]
    alarms.watch.close()
