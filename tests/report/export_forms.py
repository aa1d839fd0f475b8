"""Kernel logs in the forms that log stores, clouds, CI systems and searches give them out; pure functions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

from .mangle import Message, _at, printk, text

Export = Callable[[Sequence[Message]], str]


def line(m: Message) -> str:
    """The message with its clock."""
    return f"{printk(m)}{m.text}"


def sheet(header: list[str], rows: list[list[str]]) -> str:
    """CSV, everything quoted."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


EXPORTS: dict[str, Export] = {
    "gelf": lambda log: "".join(
        json.dumps(
            {
                "version": "1.1",
                "host": "db1",
                "short_message": line(m),
                "timestamp": _at(m).timestamp(),
                "level": 4,
                "_facility": "kern",
            }
        )
        + "\n"
        for m in log
    ),
    "graylog csv": lambda log: sheet(
        ["timestamp", "source", "message"],
        [[f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z", "db1", f"db1 kernel: {line(m)}"] for m in log],
    ),
    "splunk json": lambda log: "".join(
        json.dumps(
            {
                "preview": False,
                "offset": i,
                "result": {"_raw": f"{_at(m):%b %e %H:%M:%S} db1 kernel: {line(m)}", "_time": "x", "host": "db1"},
            }
        )
        + "\n"
        for i, m in enumerate(log)
    ),
    "splunk csv": lambda log: sheet(
        ["_raw", "_time", "host"],
        [
            [f"{_at(m):%b %e %H:%M:%S} db1 kernel: {line(m)}", f"{_at(m):%Y-%m-%dT%H:%M:%S}.000+0000", "db1"]
            for m in log
        ],
    ),
    "splunk raw newest first": lambda log: "".join(
        f"{_at(m):%b %e %H:%M:%S} db1 kernel: {line(m)}\n" for m in reversed(log)
    ),
    "elk hits": lambda log: json.dumps(
        {
            "took": 3,
            "hits": {
                "total": {"value": len(log)},
                "hits": [
                    {
                        "_index": "f",
                        "_id": str(i),
                        "_source": {
                            "@timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z",
                            "message": line(m),
                            "host": {"name": "db1"},
                        },
                    }
                    for i, m in enumerate(log)
                ],
            },
        },
        indent=1,
    ),
    "elk hits one line": lambda log: json.dumps(
        {
            "took": 3,
            "hits": {
                "hits": [
                    {"_source": {"@timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z", "message": line(m)}} for m in log
                ]
            },
        }
    ),
    "loki query": lambda log: json.dumps(
        {
            "status": "success",
            "data": {
                "resultType": "streams",
                "result": [
                    {"stream": {"job": "k"}, "values": [[str(int(_at(m).timestamp() * 1e9)), line(m)] for m in log]}
                ],
            },
        }
    ),
    "loki query newest first": lambda log: json.dumps(
        {
            "status": "success",
            "data": {
                "resultType": "streams",
                "result": [
                    {
                        "stream": {"job": "k"},
                        "values": [[str(int(_at(m).timestamp() * 1e9)), line(m)] for m in reversed(log)],
                    }
                ],
            },
        },
        indent=1,
    ),
    "logcli": lambda log: "".join(f'{_at(m):%Y-%m-%dT%H:%M:%S}Z {{host="db1", job="kernel"}} {line(m)}\n' for m in log),
    "grafana txt": lambda log: "".join(
        f"{int(_at(m).timestamp() * 1000)}\t{_at(m):%Y-%m-%dT%H:%M:%S}.000Z\t{line(m)}\n" for m in log
    ),
    "grafana txt2": lambda log: "".join(f"{_at(m):%Y-%m-%d %H:%M:%S.000}\t{line(m)}\n" for m in log),
    "grafana csv": lambda log: sheet(
        ["Date", "Line", "ns"], [[f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z", line(m), "1"] for m in log]
    ),
    "cloudwatch events": lambda log: json.dumps(
        {
            "events": [
                {"timestamp": int(_at(m).timestamp() * 1000), "message": line(m), "ingestionTime": 1} for m in log
            ],
            "nextForwardToken": "f/1",
        },
        indent=4,
    ),
    "cloudwatch csv": lambda log: sheet(
        ["timestamp", "message"], [[str(int(_at(m).timestamp() * 1000)), line(m)] for m in log]
    ),
    "cloudwatch insights": lambda log: json.dumps(
        {
            "results": [
                [
                    {"field": "@timestamp", "value": f"{_at(m):%Y-%m-%d %H:%M:%S}.000"},
                    {"field": "@message", "value": line(m)},
                ]
                for m in log
            ]
        }
    ),
    "gcp textPayload": lambda log: json.dumps(
        [
            {
                "insertId": str(i),
                "textPayload": line(m),
                "timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.0Z",
                "resource": {"type": "gce_instance"},
            }
            for i, m in enumerate(log)
        ],
        indent=2,
    ),
    "gcp jsonPayload newest first": lambda log: json.dumps(
        [
            {
                "insertId": str(i),
                "jsonPayload": {
                    "MESSAGE": m.text,
                    "_HOSTNAME": "db1",
                    "SYSLOG_IDENTIFIER": "kernel",
                    "_TRANSPORT": "kernel",
                    "_SOURCE_MONOTONIC_TIMESTAMP": str(round(m.seconds * 1e6)),
                },
                "timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.0Z",
            }
            for i, m in enumerate(reversed(log))
        ],
        indent=2,
    ),
    "gcp jsonPayload.message": lambda log: "".join(
        json.dumps({"jsonPayload": {"message": line(m)}, "timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.0Z"}) + "\n"
        for m in log
    ),
    "ec2 console json": lambda log: json.dumps(
        {"InstanceId": "i-1", "Output": text(log).replace("\n", "\r\n"), "Timestamp": "2026-11-23T10:00:00.000Z"},
        indent=4,
    ),
    "azure serial": lambda log: "\r\n" + text(log).replace("\n", "\r\n"),
    "script": lambda log: (
        "Script started on 2026-11-23 09:58:10+00:00\r\n\x1b]0;root@db1:~\x07\x1b[?2004h[root@db1 ~]# dmesg\r\n\x1b[?2004l\r"
        + "".join(f"\x1b[32m{printk(m).rstrip()} \x1b[0m{m.text}\r\n" for m in log)
        + "\x1b[?2004h[root@db1 ~]# exit\r\n"
    ),
    "journalctl colour": lambda log: "".join(
        f"\x1b[0;1;31m{_at(m):%b %d %H:%M:%S} db1 kernel: {m.text}\x1b[0m\n"
        if "illed" in m.text
        else f"{_at(m):%b %d %H:%M:%S} db1 kernel: {m.text}\n"
        for m in log
    ),
    "grep -n": lambda log: "".join(
        f"{i}:{_at(m):%b %e %H:%M:%S} db1 kernel: {line(m)}\n" for i, m in enumerate(log, 4000)
    ),
    "grep -r": lambda log: "".join(
        f"/var/log/kern.log.1:{_at(m):%b %e %H:%M:%S} db1 kernel: {line(m)}\n" for i, m in enumerate(log, 4000)
    ),
    "cat -n": lambda log: "".join(f"{i:6}\t{line(m)}\n" for i, m in enumerate(log, 1)),
    "less -N": lambda log: "".join(f"{i:7} {line(m)}\n" for i, m in enumerate(log, 1)),
    "jenkins": lambda log: "".join(f"{_at(m):%H:%M:%S}  {line(m)}\n" for m in log),
    "jenkins iso": lambda log: "".join(f"[{_at(m):%Y-%m-%dT%H:%M:%S}.000Z] {line(m)}\n" for m in log),
    "github actions": lambda log: "".join(f"{_at(m):%Y-%m-%dT%H:%M:%S}.1234567Z {line(m)}\n" for m in log),
    "gitlab": lambda log: "".join(f"{_at(m):%Y-%m-%dT%H:%M:%S}.123456Z 01O {line(m)}\n" for m in log),
    "aws logs tail": lambda log: "".join(f"{_at(m):%Y-%m-%dT%H:%M:%S}.000000+00:00 i-0ab12 {line(m)}\n" for m in log),
    "html pre": lambda log: (
        "<pre><code>" + text(log).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</code></pre>"
    ),
    "kibana": lambda log: "".join(f"{_at(m):%b %d, %Y @ %H:%M:%S.000} {line(m)}\n" for m in log),
    "openwrt logread": lambda log: "".join(f"{_at(m):%a %b %e %H:%M:%S %Y} kern.warn kernel: {line(m)}\n" for m in log),
    "logcat tag": lambda log: "".join(
        f"{_at(m):%m-%d %H:%M:%S.000}  root     0     0 W         : {line(m)}\n" for m in log
    ),
    "syslog-ng iso no tag": lambda log: "".join(f"{_at(m):%Y-%m-%dT%H:%M:%S}+00:00 db1 {line(m)}\n" for m in log),
    "papertrail": lambda log: "".join(f"{_at(m):%b %d %H:%M:%S} db1 kernel:  {line(m)}\n" for m in log),
    "stern": lambda log: "".join(f"node-1 shell {line(m)}\n" for m in log),
    "kubectl logs --prefix": lambda log: "".join(f"[pod/debug-1/shell] {line(m)}\n" for m in log),
    "ansible": lambda log: json.dumps(
        {"changed": True, "stdout": text(log), "stdout_lines": text(log).split("\n")}, indent=4
    ),
    "proxmox task": lambda log: "".join(f"{_at(m):%b %d %H:%M:%S} pve1 kernel: {m.text}\n" for m in log),
    "winston": lambda log: "".join(
        json.dumps({"level": "info", "msg": line(m), "ts": _at(m).timestamp()}) + "\n" for m in log
    ),
    "fluentd": lambda log: "".join(
        f"{_at(m):%Y-%m-%d %H:%M:%S}.000000000 +0000 kernel: "
        + json.dumps({"host": "db1", "ident": "kernel", "message": line(m)})
        + "\n"
        for m in log
    ),
    "datadog": lambda log: json.dumps(
        {
            "data": [
                {
                    "id": "A",
                    "type": "log",
                    "attributes": {"host": "db1", "message": line(m), "timestamp": f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z"},
                }
                for m in log
            ]
        }
    ),
    "azure LA": lambda log: json.dumps(
        {
            "tables": [
                {
                    "name": "PrimaryResult",
                    "columns": [{"name": "TimeGenerated"}, {"name": "SyslogMessage"}],
                    "rows": [[f"{_at(m):%Y-%m-%dT%H:%M:%S}Z", line(m)] for m in log],
                }
            ]
        }
    ),
    "azure syslog": lambda log: json.dumps(
        [
            {
                "TimeGenerated": f"{_at(m):%Y-%m-%dT%H:%M:%S}Z",
                "Computer": "db1",
                "Facility": "kern",
                "SyslogMessage": line(m),
            }
            for m in log
        ],
        indent=1,
    ),
    "tabs csv": lambda log: "".join(f"{_at(m):%Y-%m-%dT%H:%M:%S}.000Z\tdb1\t{line(m)}\n" for m in log),
}
