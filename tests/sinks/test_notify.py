"""Channels against real receivers on loopback: a webhook, Alertmanager, Apprise, an API server over TLS, a program."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomsight.alerts.rules import ChannelSpec
from oomsight.naming.marked import Kind, mark
from oomsight.sinks.notify import Sender, SendError, Spool, open_channel
from oomsight.sinks.notify.channel import body, secret, shown
from oomsight.sinks.notify.kubernetes import KubernetesEvents
from oomsight.sinks.notify.sender import LONGEST_PAUSE_SECONDS, pause_seconds
from oomsight.sinks.notify.webhook import alert_of

WAIT_SECONDS = 20.0


def message(number: int = 1, **changes):
    made = {
        "schema": "oomsight.alert/1", "id": f"{number:020x}", "channel": "c", "status": "firing", "rule": "default",
        "group": "g", "severity": "warning", "title": f"{mark('node')} was killed", "lines": ["Cause: its own limit"],
        "labels": {"alertname": "OOMKill", "process": "node"}, "kills": 1, "started": time.time() - 1, "at": time.time(), "hold_seconds": 1200.0, "event_id": f"ev-{number}",
        "subject": {"namespace": "payments", "pod": "api-7d9f", "pod_uid": "3f7d", "container": "api", "node": "n1"},
        "event": None,
    }  # fmt: skip
    return {**made, **changes}


def until(done, seconds: float = WAIT_SECONDS):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@contextmanager
def server(answers=(), *, context: ssl.SSLContext | None = None, headers=()):
    """A receiver that answers with *answers* in turn, then 200; yields (url, received requests)."""
    got: list[tuple[str, dict, dict]] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = left.pop(0) if left else 200
            got.append((self.path, dict(self.headers), data))
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{http.server_address[1]}", got
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def channel(type_: str, **options):
    return open_channel(ChannelSpec("c", type_, {"timeout_seconds": 5.0, **options}))


# -- names in messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("java", "java"),
        ("payments/api-7d9f:api", "payments/api-7d9f:api"),
        ("<!channel>", '"\\x3c\\x21channel\\x3e"'),
        ("@everyone", '"\\x40everyone"'),
        ("*bold* `x`", '"\\x2abold\\x2a \\x60x\\x60"'),
        ("[a](http://b)", '"\\x5ba\\x5d\\x28http\\x3a//b\\x29"'),
        ("http://evil.example", '"http\\x3a//evil.example"'),
        ("{{ .Labels }}", '"\\x7b\\x7b .Labels \\x7d\\x7d"'),
        ("\x1b[31m", '"\\x1b\\x5b31m"'),
    ],
)
def test_shown_name_can_be_no_markup(name, expected) -> None:
    assert shown(f"{mark(name, Kind.OWNER)} died") == f"{expected} died"


@given(st.text(max_size=30))
def test_shown_has_nothing_that_addresses_somebody(name) -> None:
    text = shown(f"x {mark(name)} and {name.translate({2: None, 3: None, 31: None})} y")
    assert not set("<>@`") & set(text)
    assert all(char.isprintable() or char == "\n" for char in text)


def test_body_is_one_line_per_line() -> None:
    assert body(message(lines=["a", f"b {mark('x y')}"])) == 'a\nb "x y"'


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_secret_from_file_environment_and_text(tmp_path) -> None:
    (tmp_path / "url").write_text("https://x/y\n")
    assert secret({"url_file": str(tmp_path / "url")}, "url") == "https://x/y"
    assert secret({"url": "https://${HOST}/${PATH_}"}, "url", {"HOST": "h", "PATH_": "p"}) == "https://h/p"
    assert secret({"url": "plain"}, "url", {}) == "plain"
    assert secret({}, "url", {}) is None


def test_secret_that_cannot_be_had_is_tried_again_and_says_why(tmp_path) -> None:
    with pytest.raises(SendError, match="the environment variable NOT_SET_HERE is not set") as caught:
        secret({"url": "${NOT_SET_HERE}"}, "url", {})
    assert caught.value.retry
    with pytest.raises(SendError, match="no such file"):
        secret({"url_file": str(tmp_path / "none")}, "url")


# -- webhook ----------------------------------------------------------------------------------------------------------


def test_webhook_posts_the_message_with_its_id() -> None:
    with server() as (url, got):
        assert channel("webhook", url=f"{url}/hook?x=1", token="t0p").send(message())
    ((path, headers, value),) = got
    assert path == "/hook?x=1"
    assert (headers["Idempotency-Key"], headers["Authorization"]) == (message()["id"], "Bearer t0p")
    assert (value["title"], value["labels"], value["event_id"]) == ("node was killed", message()["labels"], "ev-1")


def test_webhook_login_of_the_address_becomes_a_header() -> None:
    with server() as (url, got):
        assert channel("webhook", url=f"http://us%40er:p%3Aw@{url[7:]}/x").send(message())
    assert (got[0][0], got[0][1]["Authorization"]) == ("/x", "Basic dXNAZXI6cDp3")


@pytest.mark.parametrize(("status", "retry"), [(500, True), (503, True), (429, True), (408, True), (400, False), (422, False), (403, True), (404, True), (302, True)])
def test_webhook_answer_decides_whether_to_try_again(status, retry) -> None:
    headers = [("Retry-After", "7"), ("Location", "http://127.0.0.1:1/")]
    with server([status], headers=headers) as (url, got), pytest.raises(SendError) as caught:
        channel("webhook", url=f"{url}/secret").send(message())
    assert (caught.value.retry, caught.value.after_seconds) == (retry, 7.0)
    assert str(caught.value) == f"{url[7:]} answers {status}"
    assert len(got) == 1


def test_webhook_nobody_there_hides_all_but_the_host() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SendError, match=rf"^127.0.0.1:{port}: connection refused$") as caught:
            channel("webhook", url=f"http://user:pw@127.0.0.1:{port}/secret").send(message())
    assert caught.value.retry


def test_webhook_silent_server_ends_within_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(SendError, match="timed out"):
            channel("webhook", url=f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_seconds=0.3).send(message())
    assert time.monotonic() - started < 10


# -- queue and retry --------------------------------------------------------------------------------------------------


def test_sender_webhook_that_fails_five_times_gets_every_message_once_in_order(tmp_path) -> None:
    said, told = [], []
    with server([500, 503, 500, 429, 502]) as (url, got):
        sender = Sender("c", channel("webhook", url=url), Spool(str(tmp_path)), say=said.append, told=told.append, scale=0.005)
        for number in range(1, 4):
            sender.put(message(number))
        until(lambda: len(told) == 4)
        sender.close()
    assert [value["event_id"] for _, _, value in got[5:]] == ["ev-1", "ev-2", "ev-3"]
    assert [(d.event_id, d.status, d.attempts) for d in told] == [
        ("ev-1", "waiting", 1), ("ev-1", "told", 6), ("ev-2", "told", 1), ("ev-3", "told", 1)]  # fmt: skip
    assert len(said) == 2
    assert "it is tried again, nothing is lost" in said[0]
    assert said[1] == "alerts: channel c works again; 2 more messages to go"
    assert list(tmp_path.iterdir()) == []


def test_sender_down_channel_keeps_everything_over_a_restart(tmp_path) -> None:
    said = []
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        sender = Sender("c", channel("webhook", url=f"http://127.0.0.1:{dead.getsockname()[1]}"), Spool(str(tmp_path)), say=said.append)
        started = time.monotonic()
        for number in range(50):
            sender.put(message(number))
        assert time.monotonic() - started < 5
        until(lambda: sender.trouble != "")
        sender.close(0.1)
        assert len(sender) == 50
    assert len(said) == 1
    told = []
    with server() as (url, got):
        again = Sender("c", channel("webhook", url=url), Spool(str(tmp_path)), say=said.append, told=told.append)
        until(lambda: len(told) == 50)
        again.close()
    assert [value["event_id"] for _, _, value in got] == [f"ev-{n}" for n in range(50)]
    assert len(Spool(str(tmp_path))) == 0


def test_sender_message_nobody_will_ever_take_does_not_hold_up_the_rest(tmp_path) -> None:
    said, told = [], []
    with server([400]) as (url, _):
        sender = Sender("c", channel("webhook", url=url), Spool(str(tmp_path)), say=said.append, told=told.append)
        sender.put(message(1))
        sender.put(message(2))
        until(lambda: len(told) == 2)
        sender.close()
    assert [d.status for d in told] == ["refused", "told"]
    assert sender.refused == 1
    assert "is given up" in said[0]


def test_sender_message_too_old_that_still_fails_is_given_up() -> None:
    told = []
    with server([503]) as (url, _):
        sender = Sender("c", channel("webhook", url=url), Spool(None), say=lambda _: None, told=told.append)
        sender.put(message(1, at=time.time() - 8 * 86400))
        until(lambda: told)
        sender.close()
    assert told[0].status == "refused"


def test_sender_broken_channel_does_not_end_its_thread() -> None:
    class Broken:
        def send(self, _):
            raise KeyError("x")

    told = []
    sender = Sender("c", Broken(), Spool(None), say=lambda _: None, told=told.append)
    sender.put(message(1))
    sender.put(message(2))
    until(lambda: len(told) == 2)
    sender.close()
    assert sender.refused == 2


@given(st.integers(1, 200), st.floats(0, 1), st.none() | st.floats(0, 3600))
def test_pause_doubles_is_bounded_and_respects_the_receiver(attempts, chance, after) -> None:
    pause = pause_seconds(attempts, chance, after)
    assert pause >= (after or 0)
    assert 0.5 <= pause <= max(LONGEST_PAUSE_SECONDS * 1.5, after or 0)
    if after is None and attempts < 8:
        assert pause_seconds(attempts + 1, chance) == 2 * pause


# -- spool ------------------------------------------------------------------------------------------------------------


def test_spool_above_its_limit_the_oldest_goes_and_is_counted(tmp_path) -> None:
    spool = Spool(str(tmp_path), limit=3)
    for number in range(5):
        spool.put(message(number))
    assert (len(spool), spool.dropped) == (3, 2)
    assert spool.peek()[1]["event_id"] == "ev-2"


def test_spool_half_written_and_damaged_files_are_not_told(tmp_path) -> None:
    put = message(1)
    Spool(str(tmp_path)).put(put)
    (tmp_path / "0000000000000000-x.json").write_text('{"id": "x"')
    (tmp_path / "0000000000000009-y.json.new").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    spool = Spool(str(tmp_path))
    assert len(spool) == 2
    name, found = spool.peek()
    assert found == put
    assert spool.dropped == 1
    spool.remove(name)
    assert spool.peek() is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_spool_that_cannot_be_written_keeps_messages_in_memory(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(str(tmp_path / "file" / "spool"))
    spool.put(message(1))
    assert "not a directory" in spool.trouble
    assert spool.peek()[1]["event_id"] == "ev-1"


def test_spool_numbers_go_on_after_a_restart(tmp_path) -> None:
    Spool(str(tmp_path)).put(message(1))
    spool = Spool(str(tmp_path))
    spool.put(message(2))
    name, first = spool.peek()
    spool.remove(name)
    assert (first["event_id"], spool.peek()[1]["event_id"]) == ("ev-1", "ev-2")


# -- exec -------------------------------------------------------------------------------------------------------------


def test_exec_gets_json_on_stdin_and_no_shell(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")
    out = tmp_path / "out"
    code = "import sys, os, json; json.dump([json.load(sys.stdin)['title'], sys.argv[2], 'NOTIFY_SOCKET' in os.environ], open(sys.argv[1], 'w'))"
    command = [sys.executable, "-c", code, str(out), "$(touch /nonexistent); *"]
    assert channel("exec", command=command).send(message(title=mark("$(reboot)")))
    assert json.loads(out.read_text()) == ['"\\x24\\x28reboot\\x29"', "$(touch /nonexistent); *", False]


def test_exec_failure_and_absence_are_tried_again(tmp_path) -> None:
    with pytest.raises(SendError, match=r"/sh: status 3: no luck$") as caught:
        channel("exec", command=["/bin/sh", "-c", "echo no luck >&2; exit 3"]).send(message())
    assert caught.value.retry
    with pytest.raises(SendError, match="no such file") as caught:
        channel("exec", command=[str(tmp_path / "none")]).send(message())
    assert caught.value.retry


def test_exec_that_hangs_is_ended_with_all_it_started(tmp_path) -> None:
    pid = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"sleep 60 & echo $! > {pid}; wait"]
    started = time.monotonic()
    with pytest.raises(SendError, match=r"not done after 0\.5 s, ended"):
        channel("exec", command=command, timeout_seconds=0.5).send(message())
    assert time.monotonic() - started < 10
    try:
        orphan = os.pidfd_open(int(pid.read_text()))
    except ProcessLookupError:
        return
    # A signal sent is not a signal taken: with no core free it still runs for a moment.
    dead = select.poll()
    dead.register(orphan, select.POLLIN)
    try:
        assert dead.poll(30_000)
    finally:
        os.close(orphan)


def test_exec_that_reads_nothing_is_no_failure() -> None:
    assert channel("exec", command=["/bin/true"]).send(message(lines=["x" * 200_000]))


# -- Alertmanager -----------------------------------------------------------------------------------------------------


def test_alert_of_over_ends_in_the_past_and_after_its_start() -> None:
    made = message(status="resolved", started=1_000_000.0, at=1_000_900.0)
    assert (alert_of(made)["startsAt"], alert_of(made)["endsAt"]) == (
        "1970-01-12T13:46:40.000+00:00", "1970-01-12T13:59:40.000+00:00",
    )  # fmt: skip
    assert alert_of(message(status="resolved", started=5.0, at=6.0))["endsAt"] == "1970-01-01T00:00:05.001+00:00"
    assert alert_of(message(labels={"a": "b\udcff"}))["labels"] == {"a": "b\\udcff"}


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        pytest.skip("no Alertmanager here (Debian: prometheus-alertmanager)")
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "am.yml").write_text("route:\n  receiver: none\nreceivers:\n- name: none\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, f"--config.file={folder}/am.yml", f"--storage.path={folder}/data", f"--web.listen-address={address}", "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: _ready(address))
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _alerts(url: str) -> list:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        return json.load(answer)


def test_alertmanager_real_one_keeps_the_alert_until_it_is_over(alertmanager) -> None:
    now = time.time()
    labels = {"alertname": "OOMKill", "process": 'a"b\\c\n<x>', "pod": "p"}
    firing = message(labels=labels, title=f"{mark('{{ bad }}')} was killed", started=now - 300, at=now)
    sends = channel("alertmanager", url=f"{alertmanager}/")
    assert sends.send(firing)
    until(lambda: _alerts(alertmanager))
    (alert,) = _alerts(alertmanager)
    assert alert["labels"] == labels
    assert alert["annotations"]["summary"] == '"\\x7b\\x7b bad \\x7d\\x7d" was killed'
    assert sends.send({**firing, "status": "resolved"})
    until(lambda: not _alerts(alertmanager))


def test_alertmanager_real_one_refuses_an_alert_without_labels(alertmanager) -> None:
    with pytest.raises(SendError, match="answers 400") as caught:
        channel("alertmanager", url=alertmanager).send(message(labels={}))
    assert not caught.value.retry


# -- Apprise ----------------------------------------------------------------------------------------------------------


def test_apprise_sends_plain_text_and_leaves_no_module_behind() -> None:
    pytest.importorskip("apprise", reason="extra 'notify' is not installed")
    before = set(sys.modules)
    with server() as (url, got):
        assert channel("apprise", url=f"json{url[4:]}/x", timeout_seconds=60.0).send(message(severity="critical", title=mark("<b>")))
    ((_, _, value),) = got
    assert (value["title"], value["message"], value["type"]) == ('"\\x3cb\\x3e"', "Cause: its own limit", "failure")
    assert not {name for name in set(sys.modules) - before if name.startswith("apprise.plugins")}


def test_apprise_address_nobody_understands_waits_to_be_mended() -> None:
    pytest.importorskip("apprise", reason="extra 'notify' is not installed")
    with pytest.raises(SendError, match="does not understand the address") as caught:
        channel("apprise", url="nosuchservice://x", timeout_seconds=60.0).send(message())
    assert caught.value.retry


def test_apprise_missing_is_one_line_and_messages_wait(monkeypatch) -> None:
    monkeypatch.setattr("oomsight.sinks.notify.apprise_channel.find_spec", lambda _: None)
    with pytest.raises(SendError, match=r"install it with: .*pip install apprise") as caught:
        channel("apprise", url="json://x").send(message())
    assert caught.value.retry


# -- Kubernetes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate of our own for 127.0.0.1; (context of the server, path of the authority)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=api",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "ca.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    return context, str(folder / "ca.crt")


def _kubernetes(tmp_path, url: str, ca: str, **more):
    (tmp_path / "token").write_text("t0ken\n")
    return channel("kubernetes", url=url, token_file=str(tmp_path / "token"), ca_file=ca, **more)


def test_kubernetes_event_is_posted_with_the_token_over_tls(tmp_path, authority) -> None:
    context, ca = authority
    with server(context=context) as (url, got):
        assert _kubernetes(tmp_path, url, ca).send(message(started=1_795_445_300.5, at=1_795_445_301.0))
    ((path, headers, value),) = got
    assert path == "/api/v1/namespaces/payments/events"
    assert headers["Authorization"] == "Bearer t0ken"
    assert value["metadata"] == {"name": f"api-7d9f.oom-{message()['id']}", "namespace": "payments"}
    assert value["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": "payments", "name": "api-7d9f", "uid": "3f7d",
        "fieldPath": "spec.containers{api}",
    }  # fmt: skip
    assert (value["type"], value["reason"], value["count"]) == ("Warning", "OOMKill", 1)
    assert value["message"] == "node was killed\nCause: its own limit"
    assert (value["firstTimestamp"], value["lastTimestamp"]) == ("2026-11-23T14:48:20Z", "2026-11-23T14:48:21Z")


def test_kubernetes_container_known_by_its_id_alone_is_no_field_of_the_pod(tmp_path, authority) -> None:
    context, ca = authority
    subject = {**message()["subject"], "container": "5f" * 32}
    with server(context=context) as (url, got):
        assert _kubernetes(tmp_path, url, ca).send(message(subject=subject))
    assert "fieldPath" not in got[0][2]["involvedObject"]


def test_kubernetes_event_that_is_there_already_was_told(tmp_path, authority) -> None:
    context, ca = authority
    with server([409], context=context) as (url, _):
        assert _kubernetes(tmp_path, url, ca).send(message())


def test_kubernetes_missing_right_is_named_and_not_tried_again(tmp_path, authority) -> None:
    context, ca = authority
    with server([403], context=context) as (url, _), pytest.raises(SendError, match="may not create on events") as caught:
        _kubernetes(tmp_path, url, ca).send(message())
    assert not caught.value.retry


def test_kubernetes_server_of_another_authority_gets_no_token(tmp_path, authority) -> None:
    context, _ = authority
    with server(context=context) as (url, got), pytest.raises(SendError, match="certificate verify failed"):
        _kubernetes(tmp_path, url, ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt").send(message())
    assert got == []


@pytest.mark.parametrize("changes", [{"subject": {"pod": None, "namespace": None}}, {"status": "resolved"}, {"status": "digest", "subject": {}}])
def test_kubernetes_message_about_no_pod_is_not_for_it(tmp_path, changes) -> None:
    assert _kubernetes(tmp_path, "https://127.0.0.1:1", "x").send(message(**changes)) is False


def test_kubernetes_other_namespaces_are_left_out(tmp_path) -> None:
    assert _kubernetes(tmp_path, "https://127.0.0.1:1", "x", namespace=["team-*"]).send(message()) is False


def test_kubernetes_outside_of_a_cluster_says_so(tmp_path) -> None:
    (tmp_path / "token").write_text("t")
    sends = KubernetesEvents({"timeout_seconds": 1.0, "token_file": str(tmp_path / "token")}, {})
    with pytest.raises(SendError, match="not in a cluster") as caught:
        sends.send(message())
    assert caught.value.retry


def test_kubernetes_without_account_says_which_right_is_needed(tmp_path) -> None:
    with pytest.raises(SendError, match="create on events"):
        channel("kubernetes", url="https://127.0.0.1:1", token_file=str(tmp_path / "none")).send(message())
