"""Shutting down: nobody new, whoever is connected is served once more, what does not end is cut visibly."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from valve_sidecar.flight import Outcome

from .conftest import Stage
from .planes import builder
from .wire import PATIENCE_S, Message, Peer, connect

LAST_CALL_S = 0.2
WHOLE = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
LAST = b"0\r\n\r\n"


@pytest.fixture
def patient(plane: str, tmp_path: Path) -> Iterator[Stage]:
    """A data plane whose last call no test waits out."""
    stage = Stage(builder(plane, last_call_s=10 * PATIENCE_S), tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def brief(plane: str, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(builder(plane, last_call_s=LAST_CALL_S), tmp_path)
    yield stage
    stage.close()


def test_running_exchanges_end_and_the_connected_are_served_once_more(patient: Stage) -> None:
    idle, client = kept(patient), patient.client(WHOLE)
    engine, _ = patient.accept_request()
    engine.send(STREAM)
    client.read_head()
    drained = patient.proxy.begin_drain(PATIENCE_S)
    refuse_new_connections(patient)
    serve_last(patient, idle)
    engine.send(b"3\r\ntwo\r\n" + LAST)
    assert client.read_chunks() == b"onetwo"
    assert not drained.done()
    serve_last(patient, client)  # nobody had told it yet that its connection ends
    drained.result(PATIENCE_S)
    assert [ending.outcome for ending in patient.record.endings] == [Outcome.COMPLETED] * 4


def kept(stage: Stage) -> Peer:
    """A connection that has been served."""
    client = stage.client()
    assert serve(stage, client).values("connection") == []
    return client


def serve(stage: Stage, client: Peer) -> Message:
    client.send(WHOLE)
    engine, _ = stage.accept_request()
    engine.send(STREAM + LAST)
    answer = client.read_message()
    assert (answer.status, answer.body) == (200, b"one")
    return answer


def serve_last(stage: Stage, client: Peer) -> None:
    assert serve(stage, client).values("connection") == ["close"]
    assert client.read_to_end() == b""
    client.close()


def refuse_new_connections(stage: Stage) -> None:
    """Returns once the listening socket is gone; it resets what was still in its backlog."""
    while True:
        try:
            connect(stage.proxy.address).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue


def test_what_the_engine_does_not_answer_is_the_last_as_well(patient: Stage) -> None:
    client = kept(patient)
    drained = patient.proxy.begin_drain(PATIENCE_S)
    refuse_new_connections(patient)
    patient.engine.close()
    client.send(WHOLE)
    answer = client.read_message()
    assert (answer.status, answer.values("connection")) == (502, ["close"])
    client.close()
    drained.result(PATIENCE_S)


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


@pytest.mark.parametrize("begun", [b"", WHOLE[:20]], ids=["nothing", "part of a head"])
def test_who_says_nothing_is_let_go(brief: Stage, begun: bytes) -> None:
    silent = kept(brief)
    silent.send(begun)
    drained = brief.proxy.begin_drain(10 * PATIENCE_S)
    assert silent.read_to_end() == b""
    drained.result(PATIENCE_S)


def test_a_long_answer_holds_it_up_and_then_there_is_a_last_call(brief: Stage) -> None:
    silent, client = kept(brief), brief.client(WHOLE)
    engine, _ = brief.accept_request()
    engine.send(STREAM)
    client.read_head()
    drained = brief.proxy.begin_drain(10 * PATIENCE_S)
    assert silent.read_to_end() == b""
    assert not drained.done()
    engine.send(LAST)
    assert client.read_chunks() == b"one"
    assert client.read_to_end() == b""
    drained.result(PATIENCE_S)


def test_a_unix_socket_leaves_no_path_behind(unix_stage: Stage) -> None:
    path = unix_stage.proxy.address.removeprefix("unix:")
    unix_stage.proxy.begin_drain(0.01).result(PATIENCE_S)
    with pytest.raises(FileNotFoundError):
        connect(f"unix:{path}")
