"""Who listens on what, when there are several workers, and when sockets come from elsewhere."""

import os
import socket
from collections.abc import Iterator

import pytest

from valve_sidecar.address import Address
from valve_sidecar.errors import ListenError
from valve_sidecar.listener import Listener, share

ANY_PORT = Address("127.0.0.1", 0)


@pytest.fixture
def given() -> Iterator[list[socket.socket]]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield sockets
    for sock in sockets:
        sock.close()


def inodes(listener: Listener) -> set[int]:
    return {os.fstat(sock.fileno()).st_ino for sock in listener.sockets}


def test_each_worker_has_a_socket_on_the_same_port() -> None:
    listeners = share(ANY_PORT, 3)
    assert len({listener.bound for listener in listeners}) == 1
    assert len(set.union(*map(inodes, listeners))) == 3
    for listener in listeners:
        listener.close()


def test_a_strangers_port_is_not_shared() -> None:
    first = share(ANY_PORT, 2)
    with pytest.raises(ListenError, match="in use"):
        share(first[0].bound, 2)
    for listener in first:
        listener.close()


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_what_is_handed_over_is_dealt_out(given: list[socket.socket], workers: int) -> None:
    everything = {os.fstat(sock.fileno()).st_ino for sock in given}
    listeners = share(ANY_PORT, workers, given)
    assert len(listeners) == workers
    assert all(listener.sockets for listener in listeners)
    assert set.union(*map(inodes, listeners)) == everything, "no queue is forgotten"
    for listener in listeners:
        listener.close()


def test_leaving_keeps_the_path_of_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("l") / "s"
    listener = Listener(Address(path=str(path)))
    listener.listen()
    listener.leave()
    assert path.is_socket()
    again = Listener(Address(path=str(path)))
    again.listen()
    again.close()
    assert not path.exists()
