"""Zabbix items and the sender protocol; the real zabbix_sender must say the same on the wire."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from oomsight.metrics.family import family
from oomsight.metrics.table import METRICS
from oomsight.sinks.export import ExportError
from oomsight.sinks.zabbix import Item, ZabbixSender, has_items, items, known_keys, packet, quoted, request

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))
from metric_events import NOW, complete, note

SUCCESS = {"response": "success", "info": "processed: 2; failed: 1; total: 3; seconds spent: 0.000055"}


@contextmanager
def server(*answers):
    """A trapper: keeps the packets as (flags, reserved, JSON) and gives the answers in turn."""
    got, listener = [], socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                head = connection.recv(13, socket.MSG_WAITALL)
                magic, flags, length, reserved = struct.unpack("<4sBII", head)
                assert magic == b"ZBXD"
                body = connection.recv(length, socket.MSG_WAITALL)
                got.append((flags, reserved, json.loads(body)))
                connection.sendall(packet(answer) if isinstance(answer, dict) else answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname(), got
    finally:
        thread.join(10)
        listener.close()


def test_quoted_as_the_server_does_it() -> None:
    assert quoted("/system.slice/x.service") == "/system.slice/x.service"
    assert quoted("a,b") == '"a,b"'
    assert quoted('x]"') == '"x]\\""'
    assert quoted(" a") == '" a"'


def test_items_keys_and_values() -> None:
    families = [
        family("oomsight_oom_kills_by_cause_total").add(3, "no_swap"),
        family("oomsight_memory_free_bytes", 12345678901234567),
        family("oomsight_cgroup_memory_headroom_bytes").add(5, "/a,b", "u.service", "", "", ""),
        family("oomsight_predicted_victim_info").add(1, "host", "java", "", "app", "", ""),
        family("oomsight_oom_kills_total").add(3, "no_swap", "", "", "", "", "", ""),
    ]
    found = {item.key: item.value for item in items(families, NOW)}
    assert found == {
        "oomsight.oom_kills_by_cause[no_swap]": "3", "oomsight.memory_free": "12345678901234568",
        'oomsight.cgroup_memory_headroom["/a,b"]': "5", "oomsight.predicted_victim_info[host]": "java",
        "oomsight.cgroups.discovery": json.dumps([
            {"{#CGROUP}": "/a,b", "{#UNIT}": "u.service", "{#CONTAINER}": "", "{#NAMESPACE}": "", "{#POD}": ""}
        ]),
    }  # fmt: skip


def test_known_keys_are_those_that_are_sent() -> None:
    known = {key.partition("[")[0] for _, key in known_keys()}
    families = [family(metric.name).add(1, *("x" for _ in metric.labels)) for metric in METRICS]
    sent = {item.key.partition("[")[0] for item in items(families, NOW)}
    assert {key for key in sent if not key.endswith(".discovery")} == known
    assert len(known) == sum(map(has_items, METRICS)) + 1


def test_send_items_counts_what_the_server_refused_and_splits() -> None:
    many = [Item(f"k{n}", "1", NOW + 0.25) for n in range(300)]
    with server(SUCCESS, SUCCESS) as (address, got):
        assert ZabbixSender(address, "web-1").send_items(many) == 2
    assert [len(body["data"]) for _, _, body in got] == [250, 50]
    flags, reserved, body = got[0]
    assert (flags, reserved, body["request"]) == (1, 0, "sender data")
    assert body["data"][0] == {"host": "web-1", "key": "k0", "value": "1", "clock": int(NOW), "ns": 250_000_000}


def test_item_of_an_incident_is_its_headline_at_its_time() -> None:
    document = complete(7, "a\udcff")
    document["incident"]["time"] = "2026-11-23T12:00:00+00:00"
    item = ZabbixSender(("x", 1), "h").item(document, NOW)
    assert item.key == "oomsight.incident"
    assert item.clock == 1795435200.0
    assert "a\\xff" in item.value or "a\\udcff" in item.value
    item.value.encode()
    assert ZabbixSender(("x", 1), "h").item(note(), NOW) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed before the answer"), (b"HTTP/1.1 400 Bad\r\n\r\n", "not Zabbix's"),
        (struct.pack("<4sBII", b"ZBXD", 1, 3, 0) + b"{x}", "not JSON"),
        (struct.pack("<4sBII", b"ZBXD", 1, 1 << 30, 0), "not Zabbix's"),
        ({"response": "failed", "info": "no"}, "refused"),
    ],
)  # fmt: skip
def test_send_items_odd_answers_are_errors(answer, words) -> None:
    with server(answer) as (address, _), pytest.raises(ExportError, match=words):
        ZabbixSender(address, "h").send_items([Item("k", "1", NOW)])


def test_send_nobody_there_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ExportError, match=r"^Connection refused$"):
        ZabbixSender(address, "h").send_items([Item("k", "1", NOW)])


def test_request_is_what_the_real_zabbix_sender_sends(tmp_path) -> None:
    program = shutil.which("zabbix_sender")
    if program is None:
        pytest.skip("zabbix_sender is not installed (Debian: zabbix-agent)")
    data = tmp_path / "items"
    data.write_text(f'web-1 oomsight.x[a] {int(NOW)} 250000000 "1.5"\n')
    with server(SUCCESS) as ((host, port), got):
        command = [program, "-z", host, "-p", str(port), "-T", "-N", "-i", str(data)]
        subprocess.run(command, check=False, timeout=20, capture_output=True)
    ((flags, reserved, theirs),) = got
    ours = request([Item("oomsight.x[a]", "1.5", NOW + 0.25)], "web-1", NOW)
    assert (flags, reserved) == (1, 0)
    assert theirs["request"] == ours["request"]
    assert theirs["data"] == ours["data"]
    assert set(theirs) - set(ours) <= {"session"}
