"""A successor has the sockets: whoever is connected is served, and told that the connection ends."""

import socket

from .conftest import Stage
from .wire import PATIENCE_S

WHOLE = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"


def test_everybody_who_is_connected_is_served(stage: Stage) -> None:
    streaming = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM)
    streaming.read_head()
    kept = stage.client(WHOLE)
    other, _ = stage.accept_request()
    other.send(STREAM + b"0\r\n\r\n")
    kept.read_head()
    assert kept.read_chunks() == b"one"
    with stage.proxy.successors_socket():
        retired = stage.proxy.begin_retire(PATIENCE_S)
        kept.send(WHOLE)
        other, _ = stage.accept_request()
        other.send(OK)
        answer = kept.read_message()
        assert (answer.status, answer.body) == (200, b"ok")
        assert answer.values("connection") == ["close"]
        assert kept.read_to_end() == b""
        assert not retired.done()
        engine.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert streaming.read_chunks() == b"onetwo"
        streaming.close()
        kept.close()
        retired.result(PATIENCE_S)


def test_new_connections_are_the_successors(stage: Stage) -> None:
    kept = stage.client()
    with stage.proxy.successors_socket() as successor:
        retired = stage.proxy.begin_retire(PATIENCE_S)
        kept.send(WHOLE)
        engine, _ = stage.accept_request()  # so it has left the sockets
        fresh = stage.client(WHOLE)
        successor.settimeout(PATIENCE_S)
        taken, _ = successor.accept()
        with taken:
            assert taken.recv(len(WHOLE), socket.MSG_WAITALL) == WHOLE
            taken.sendall(OK)
            assert fresh.read_message().status == 200
        engine.send(OK)
        assert kept.read_message().status == 200
        kept.close()
        retired.result(PATIENCE_S)


def test_who_stays_for_too_long_is_left_to_drain(stage: Stage) -> None:
    idle = stage.client()
    stage.proxy.begin_retire(0.01).result(PATIENCE_S)
    stage.proxy.begin_drain(PATIENCE_S).result(PATIENCE_S)
    assert idle.read_to_end() == b""
