"""The endpoint: who may ask, what comes back, and that nobody can hold it up."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing, contextmanager

import pytest

from oomsight.daemons import http as http_module
from oomsight.daemons.http import Answer, Endpoint, is_loopback, json_answer, parse_address

TOKEN = "correct-horse-battery"


def broken(_asked) -> Answer:
    raise RuntimeError("secret inside")


ROUTES = {
    "/metrics": lambda asked: Answer(f"accept={asked.accept}\n".encode()),
    "/healthz": lambda asked: json_answer({"trusted": asked.trusted}),
    "/query": lambda asked: json_answer(asked.query),
    "/broken": broken,
}


@contextmanager
def serving(address=("127.0.0.1", 0), **kwargs):
    said: list[str] = []
    endpoint = Endpoint(address, ROUTES, said.append, public=frozenset({"/healthz"}), **kwargs)
    endpoint.start()
    try:
        yield endpoint, said
    finally:
        endpoint.close()


def ask(endpoint, path, method="GET", host="127.0.0.1", **headers):
    with closing(http.client.HTTPConnection(host, endpoint.port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_get_answers_with_type_length_and_no_caching() -> None:
    with serving() as (endpoint, _):
        status, body, headers = ask(endpoint, "/metrics", Accept="text/plain")
    assert (status, body) == (200, "accept=text/plain\n")
    assert headers["Content-Length"] == str(len(body))
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
    assert headers["Server"].strip() == "oomsight"


def test_head_has_no_body_and_other_methods_are_refused() -> None:
    with serving() as (endpoint, _):
        assert ask(endpoint, "/metrics", "HEAD")[:2] == (200, "")
        assert ask(endpoint, "/metrics", "POST")[0] == 501


def test_unknown_path_names_the_known_ones() -> None:
    with serving() as (endpoint, _):
        status, body, _ = ask(endpoint, "/")
    assert status == 404
    assert "/metrics\n/healthz\n" in body


def test_query_is_parsed() -> None:
    with serving() as (endpoint, _):
        assert json.loads(ask(endpoint, "/query?limit=3&x=%20y")[1]) == {"limit": ["3"], "x": [" y"]}


def test_a_failing_route_is_said_in_the_log_and_not_to_who_asks() -> None:
    with serving() as (endpoint, said):
        status, body, _ = ask(endpoint, "/broken")
        assert ask(endpoint, "/metrics")[0] == 200
    assert (status, body) == (500, "it failed; the agent's log says why\n")
    assert said == ["metrics: /broken failed: RuntimeError: secret inside"]


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "::"])
def test_address_others_reach_is_refused_without_a_token(address) -> None:
    with pytest.raises(ValueError, match="can be reached from other machines, and there is no token"):
        Endpoint((address, 0), ROUTES, print)


def test_token_is_needed_where_there_is_one() -> None:
    with serving(("0.0.0.0", 0), token=TOKEN) as (endpoint, _):
        status, body, headers = ask(endpoint, "/metrics")
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "Bearer TOKEN" in body
        for wrong in (f"Bearer {TOKEN}x", "Bearer ", TOKEN, f"Basic {TOKEN}", "Bearer \xe9"):
            assert ask(endpoint, "/metrics", Authorization=wrong)[0] == 401, wrong
        assert ask(endpoint, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(endpoint, "/metrics", Authorization=f"bearer {TOKEN}", Host="node-1:9873")[0] == 200
        assert ask(endpoint, "/nothing")[0] == 401  # does not even tell which paths there are
        assert json.loads(ask(endpoint, "/healthz")[1]) == {"trusted": False}


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:9873", 200), ("127.0.0.9", 200), ("[::1]:9873", 200), ("evil.example", 403),
     ("127.0.0.1.evil.example", 403), ("192.0.2.1", 403), ("", 403)],
)  # fmt: skip
def test_host_header_must_name_this_machine(host, status) -> None:
    with serving() as (endpoint, _):
        assert ask(endpoint, "/metrics", Host=host)[0] == status


def test_old_clients_without_a_host_header_are_answered() -> None:
    with serving() as (endpoint, _), socket.create_connection(("127.0.0.1", endpoint.port), 10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline() == b"HTTP/1.0 200 OK\r\n"


def test_ipv6_loopback() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with serving(("::1", 0)) as (endpoint, _):
        assert ask(endpoint, "/metrics", host="::1")[0] == 200


def test_silent_connections_do_not_hold_it_up(monkeypatch) -> None:
    monkeypatch.setattr(http_module, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(http_module._Handler, "timeout", 0.3)
    with serving() as (endpoint, _):
        silent = [socket.create_connection(("127.0.0.1", endpoint.port), 10) for _ in range(2)]
        for connection in silent:
            connection.sendall(b"GET /met")
        refused = socket.create_connection(("127.0.0.1", endpoint.port), 10)
        assert refused.makefile("rb").readline() == b"HTTP/1.0 503 Too many connections\r\n"
        for connection in [*silent, refused]:
            while connection.recv(4096):  # closed for its silence
                pass
            connection.close()
        # We hear of the end a moment before its place is free again.
        for _ in range(500):
            if (status := ask(endpoint, "/metrics")[0]) == 200:
                break
            endpoint._stopped.wait(0.02)
        assert status == 200


def test_port_in_use_is_said_and_tried_again(monkeypatch) -> None:
    monkeypatch.setattr(http_module, "RETRY_SECONDS", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(taken.getsockname()[:2]) as (endpoint, said):
        assert endpoint.port is None
        taken.close()
        for _ in range(500):
            if endpoint.port is not None:
                break
            endpoint._stopped.wait(0.02)
        assert ask(endpoint, "/metrics")[0] == 200
    assert len(said) == 1
    assert "address already in use; it is tried again" in said[0]


def test_close_before_it_could_bind_ends_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(taken.getsockname()[:2]) as (endpoint, _):
        endpoint.close()
        endpoint._thread.join(5)
        assert not endpoint._thread.is_alive()


def test_parse_address_only_addresses_and_ports() -> None:
    assert parse_address("127.0.0.1:9873") == ("127.0.0.1", 9873)
    assert parse_address("[::1]:0") == ("::1", 0)
    for wrong in ("localhost:1", "127.0.0.1", "127.0.0.1:99999", ":9873", "127.0.0.1:x", ""):
        with pytest.raises(ValueError):
            parse_address(wrong)
    assert is_loopback("127.9.9.9")
    assert not is_loopback("10.0.0.1")
