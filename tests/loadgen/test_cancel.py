"""Hang-ups that reach the engine directly, and one that never does."""

import asyncio
import socket

import pytest

from valve_loadgen import cancel


@pytest.mark.parametrize("case", cancel.CASES)
def test_a_direct_hang_up_is_seen(case: str) -> None:
    with cancel.engine() as listener:
        took_us = cancel.cancel_us(listener.getsockname()[1], listener, case)
    assert took_us is not None
    assert took_us > 0


def test_a_proxys_own_questions_are_not_taken_for_the_request() -> None:
    with cancel.engine() as listener, socket.create_connection(listener.getsockname()) as asker:
        asker.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert cancel.cancel_us(listener.getsockname()[1], listener, "silent_stream") is not None
        assert asker.recv(1) == b""


async def test_a_proxy_that_asks_before_it_listens_is_answered() -> None:
    with cancel.engine() as listener:
        async with cancel.answering(listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET /health HTTP/1.1\r\n\r\n")
            assert await reader.read() == cancel.HEALTHY
            writer.close()
        took_us = await asyncio.to_thread(
            cancel.cancel_us, listener.getsockname()[1], listener, "before_first_byte"
        )
    assert took_us is not None


def test_a_connection_that_stays_is_not_taken_for_one_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "PATIENCE_S", 0.02)
    left, right = socket.socketpair()
    with left, right:
        assert not cancel.sees_end(left, streams=False)


def test_a_request_that_never_arrives_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "PATIENCE_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as deaf, cancel.engine() as listener:
        figures = cancel.measure(deaf.getsockname()[1], listener, samples=1)
    assert figures == dict.fromkeys(cancel.CASES)


def test_all_cases_are_measured() -> None:
    with cancel.engine() as listener:
        result = cancel.measure(listener.getsockname()[1], listener, samples=2)
    assert set(result) == set(cancel.CASES)
    assert all(result.values())
