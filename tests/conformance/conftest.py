"""A stage: a client, a running data plane, and a scripted engine behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .planes import PLANES, Build, Running
from .record import Record
from .wire import Engine, Message, Peer, connect


class Stage:
    """`client()` and `engine.accept()` are the two ends; `record` is what the data plane told."""

    def __init__(
        self,
        plane: str | Build,
        folder: Path,
        *,
        unix: bool = False,
        connect_timeout_s: float = 5,
        backlog: int = 64,
    ) -> None:
        self.plane, self.record = plane, Record()
        self.engine = Engine(folder / "engine.sock" if unix else None, backlog)
        self.engine_address = self.engine.address
        build = PLANES[plane] if isinstance(plane, str) else plane
        listen = f"unix:{folder / 'listen.sock'}" if unix else "127.0.0.1:0"
        self.proxy = Running(build, listen, self.engine.address, self.record, connect_timeout_s)
        self._peers: list[Peer] = []

    def client(self, *first: bytes) -> Peer:
        """A new connection to the proxy, with these bytes already sent."""
        peer = self._keep(connect(self.proxy.address))
        peer.send(*first)
        return peer

    def accept(self) -> Peer:
        """The engine's side of the proxy's next connection."""
        return self._keep(self.engine.accept())

    def accept_request(self) -> tuple[Peer, Message]:
        peer = self.accept()
        return peer, peer.read_message()

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        self.proxy.stop()
        self.engine.close()
        finished = [ending.flight for ending in self.record.endings]
        assert len(finished) == len(set(map(id, finished))), "a flight ended twice"
        assert len(finished) == len(self.record.bytes_seen), "a flight never ended"

    def _keep(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        return peer


@pytest.fixture(params=PLANES)
def plane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(plane: str, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(plane, tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def unix_stage(plane: str, tmp_path: Path) -> Iterator[Stage]:
    """Unix sockets on both sides: small kernel buffers of a known size."""
    stage = Stage(plane, tmp_path, unix=True)
    yield stage
    stage.close()
