"""gRPC over a unix socket against a server that speaks the frames of HTTP/2, well and badly."""

from __future__ import annotations

import json
import socket
import struct
import threading
from contextlib import contextmanager, suppress

import pytest

from oomsight.attribute.cri_messages import encode
from oomsight.sources.errors import SourceError
from oomsight.sources.runtimes import grpc_unix
from oomsight.sources.runtimes.cri_socket import Runtime, look_up, observe_cri, subject_of
from oomsight.sources.runtimes.grpc_unix import RefusedError, call
from oomsight.sources.runtimes.places import Places

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ID, UID = "ab" * 32, "6c1b0b5e-8a3f-4b55-9b0c-2f7a55d0c9aa"
NOW = 1_795_445_300.0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(body: bytes) -> bytes:
    """The frames of a good answer."""
    return frame(HEADERS, 4, 1, b"\x88") + frame(DATA, 0, 1, struct.pack(">BI", 0, len(body)) + body) + frame(HEADERS, 5, 1)


REFUSAL = frame(HEADERS, 5, 1, b"\x88")


@contextmanager
def server(path, answer):
    """``answer(method)`` returns the frames to send after the settings."""
    asked: list[str] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), connection, connection.makefile("rb") as file:
                assert file.read(24).startswith(b"PRI * HTTP/2.0")
                method = ""
                while True:
                    head = file.read(9)
                    if len(head) < 9:
                        break
                    payload = file.read(int.from_bytes(head[:3], "big"))
                    if head[3] == HEADERS:
                        at = payload.index(b":path") + 5
                        method = payload[at + 1 : at + 1 + payload[at]].decode()
                        asked.append(method)
                    if head[3] == DATA:
                        connection.sendall(frame(SETTINGS, 0, 0) + answer(method))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_call_returns_the_message_in_however_many_frames(tmp_path) -> None:
    body = b"x" * 40_000
    whole = struct.pack(">BI", 0, len(body)) + body
    frames = frame(PING, 0, 0, bytes(8)) + frame(HEADERS, 4, 1, b"\x88")
    frames += b"".join(frame(DATA, 0, 1, whole[at : at + 9000]) for at in range(0, len(whole), 9000))
    frames += frame(DATA, 8, 1, b"\x03" + bytes(3)) + frame(HEADERS, 5, 1)  # only padding, then the trailers
    with server(tmp_path / "s", lambda _: frames) as asked:
        assert call(str(tmp_path / "s"), "/a.B/C") == body
    assert asked == ["/a.B/C"]


@pytest.mark.parametrize("frames", [REFUSAL, frame(RESET, 0, 1, bytes(4)), frame(GOAWAY, 0, 0, bytes(8))])
def test_call_refused(tmp_path, frames) -> None:
    with server(tmp_path / "s", lambda _: frames), pytest.raises(RefusedError, match="does not answer C"):
        call(str(tmp_path / "s"), "/a.B/C")


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak gRPC"),
        (message(b"x").replace(b"\0\0\0\0\x01x", b"\x01\0\0\0\x01x"), "something that is no message"),
        (frame(DATA, 1, 1, struct.pack(">BI", 0, 9) + b"short"), "something that is no message"),
    ],
)
def test_call_answered_with_nonsense(tmp_path, frames, words) -> None:
    with server(tmp_path / "s", lambda _: frames), pytest.raises(SourceError, match=words):
        call(str(tmp_path / "s"), "/a.B/C")


def test_call_server_that_hangs_is_left(tmp_path) -> None:
    with server(tmp_path / "s", lambda _: b""), pytest.raises(SourceError, match=r"timed out|no answer in time"):
        call(str(tmp_path / "s"), "/a.B/C", timeout_seconds=0.2)


def test_call_nobody_there(tmp_path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        call(str(tmp_path / "s"), "/a.B/C")


# -- the CRI on top ---------------------------------------------------------------------------------------------------

SANDBOX = encode((1, "s1"), (2, encode((1, "api-7d9f"), (2, UID), (3, "payments"))), (5, encode((1, "app"), (2, "api"))))
CONTAINER = encode((1, ID), (2, "s1"), (3, encode((1, "api"))), (4, encode((1, "sha256:1"), (18, "reg/api:7"))))
STATUS = encode((1, encode((1, ID), (2, encode((1, "api"), (2, 4))), (3, 2), (6, 1_795_445_000_000_000_000), (7, 137),
                           (10, "OOMKilled"))))  # fmt: skip


def _old_runtime(method: str) -> bytes:
    """A CRI-O that knows nothing but v1alpha2."""
    if not method.startswith("/runtime.v1alpha2."):
        return REFUSAL
    return {
        "Version": message(encode((1, "0.1.0"), (2, "cri-o"))),
        "ListPodSandbox": message(encode((1, SANDBOX))),
        "ListContainers": message(encode((1, CONTAINER))),
    }.get(method.rpartition("/")[2], REFUSAL)


def _places(path) -> Places:
    return Places("/nowhere", cri_sockets=(str(path),))


def test_observe_cri_of_an_old_runtime(tmp_path) -> None:
    with server(tmp_path / "s", _old_runtime):
        found = {tuple(o.key): o.names for o in observe_cri(_places(tmp_path / "s"), NOW)}
    pod, container = found["pod", UID], found["container", ID]
    assert (pod.pod, pod.namespace, pod.container) == ("api-7d9f", "payments", None)
    assert (container.container, container.image, container.runtime) == ("api", "reg/api:7", "cri-o")
    assert (container.pod, container.pod_uid, container.labels) == ("api-7d9f", UID, (("app", "api"),))
    assert found["container", "s1"].pod == "api-7d9f"


def test_subject_of_a_container_that_was_killed(tmp_path) -> None:
    def answer(method: str) -> bytes:
        return message(STATUS) if method.endswith("/ContainerStatus") else message(encode((2, "containerd")))

    with server(tmp_path / "s", answer):
        subject = subject_of(_places(tmp_path / "s"), ID, "api")
    assert subject is not None
    assert (subject.alive, subject.exit_code, subject.oom_flag, subject.restarts) == (False, 137, True, 4)
    assert (subject.container, subject.ended, subject.runtime) == ("api", 1_795_445_000.0, "containerd")


def test_look_up_asks_for_one_container_alone(tmp_path) -> None:
    labels = {"io.kubernetes.pod.name": "api-7d9f", "io.kubernetes.pod.namespace": "payments", "io.kubernetes.pod.uid": UID}
    info = {"pid": 77, "runtimeSpec": {"linux": {
        "cgroupsPath": "kubepods-x.slice:cri-containerd:abc", "resources": {"memory": {"limit": 33554432}}}}}  # fmt: skip
    status = encode((1, ID), (2, encode((1, "api"))), (3, 1), *((12, encode((1, k), (2, v))) for k, v in labels.items()))
    body = encode((1, status), (2, encode((1, "info"), (2, json.dumps(info)))))

    def answer(method: str) -> bytes:
        return message(body) if method.endswith("/ContainerStatus") else message(encode((2, "containerd")))

    with server(tmp_path / "s", answer) as asked:
        container, cgroup = look_up(_places(tmp_path / "s"), ID, NOW)
    assert tuple(container.key) == ("container", ID)
    assert tuple(cgroup.key) == ("cgroup", "/kubepods.slice/kubepods-x.slice/cri-containerd-abc.scope")
    names = container.names
    assert (names.container, names.pod, names.namespace, names.pod_uid) == ("api", "api-7d9f", "payments", UID)
    assert (names.limit_bytes, names.main_pid, names.runtime) == (33554432, 77, "containerd")
    assert [method.rpartition("/")[2] for method in asked] == ["Version", "ContainerStatus"]


def test_look_up_where_nobody_knows_it_is_empty(tmp_path) -> None:
    with server(tmp_path / "s", _old_runtime):
        assert look_up(_places(tmp_path / "s"), ID, NOW) == []
    assert look_up(Places("/nowhere"), ID, NOW) == []


def test_subject_of_unknown_container_is_none(tmp_path) -> None:
    with server(tmp_path / "s", _old_runtime):
        assert subject_of(_places(tmp_path / "s"), ID, "api") is None


def test_runtime_without_cri_says_so(tmp_path) -> None:
    with server(tmp_path / "s", lambda _: REFUSAL), pytest.raises(SourceError, match="is no CRI socket"):
        Runtime(str(tmp_path / "s"))


def test_observe_cri_answer_that_is_no_message(tmp_path) -> None:
    def answer(method: str) -> bytes:
        return message(b"\x0a\x05ab") if method.endswith("/ListPodSandbox") else message(encode((2, "containerd")))

    with server(tmp_path / "s", answer), pytest.raises(SourceError, match="no message: it ends too early"):
        list(observe_cri(_places(tmp_path / "s"), NOW))


def test_observe_cri_no_socket_here() -> None:
    with pytest.raises(SourceError, match="no socket of containerd or CRI-O here"):
        list(observe_cri(Places("/nowhere"), NOW))


def test_longest_method_fits() -> None:
    assert grpc_unix._string("/runtime.v1alpha2.RuntimeService/" + "x" * 93)
