"""Shutting down: nothing new, what runs ends normally, what does not end is cut visibly."""

import orjson
import pytest

from valve_sidecar.flight import Outcome

from .conftest import Stage
from .wire import PATIENCE_S, connect

WHOLE = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"


def test_running_exchanges_end_normally(stage: Stage) -> None:
    client, idle = stage.client(WHOLE), stage.client()
    engine, _ = stage.accept_request()
    engine.send(STREAM)
    client.read_head()
    drained = stage.proxy.begin_drain(PATIENCE_S)
    refuse_new_connections(stage)
    idle.send(WHOLE)
    answer = idle.read_message()
    assert answer.status == 503
    assert answer.values("connection") == ["close"]
    assert orjson.loads(answer.body)["error"]["code"] == "shutting_down"
    assert not drained.done()
    engine.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert client.read_chunks() == b"onetwo"
    drained.result(PATIENCE_S)
    assert client.read_to_end() == b""
    (ending,) = stage.record.endings
    assert ending.outcome is Outcome.COMPLETED


def refuse_new_connections(stage: Stage) -> None:
    """Returns once the listening socket is gone; it resets what was still in its backlog."""
    while True:
        try:
            connect(stage.proxy.address).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue


def test_a_kept_connection_gets_503_for_its_next_request(stage: Stage) -> None:
    client, other = stage.client(WHOLE), stage.client()
    engine, _ = stage.accept_request()
    engine.send(OK)
    assert client.read_message().body == b"ok"
    other.send(WHOLE)
    engine.read_message()
    stage.proxy.begin_drain(PATIENCE_S)
    refuse_new_connections(stage)
    client.send(WHOLE)
    assert client.read_message().status == 503
    assert client.read_to_end() == b""
    engine.send(OK)
    assert other.read_message().status == 200


def test_what_outlasts_the_grace_is_cut(stage: Stage) -> None:
    client = stage.client(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM)
    client.read_head()
    assert client.read_chunk() == b"one"
    stage.proxy.begin_drain(0.01).result(PATIENCE_S)
    with pytest.raises(ConnectionResetError):
        client.read_to_end()
    assert engine.sees_close()
    ending = stage.record.ending()
    assert (ending.outcome, ending.status) == (Outcome.REFUSED, 200)


def test_idle_connections_do_not_hold_it_up(stage: Stage) -> None:
    idle = stage.client()
    stage.proxy.begin_drain(PATIENCE_S * 10).result(PATIENCE_S)
    assert idle.read_to_end() == b""


def test_a_unix_socket_leaves_no_path_behind(unix_stage: Stage) -> None:
    path = unix_stage.proxy.address.removeprefix("unix:")
    unix_stage.proxy.begin_drain(0.01).result(PATIENCE_S)
    with pytest.raises(FileNotFoundError):
        connect(f"unix:{path}")
