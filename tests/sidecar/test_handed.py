"""Sockets that systemd or a predecessor hands over."""

import os
import socket

import pytest

from valve_sidecar.errors import ListenError
from valve_sidecar.handed import adopt, decode, encode, read_handed, take_handed


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("", {"listen": [3, 4]}),
        ("valve.socket:valve.socket", {"listen": [3, 4]}),
        ("valve.socket:admin", {"listen": [3], "admin": [4]}),
        ("admin", {"admin": [3], "listen": [4]}),
    ],
)
def test_systemds_are_for_clients_unless_they_are_named(names: str, wanted: dict[str, list[int]]) -> None:
    environment = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
    assert read_handed(environment, 7) == wanted


def test_what_was_meant_for_another_process_is_left_alone() -> None:
    assert read_handed({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, 8) == {}
    assert read_handed({}, 8) == {}


def test_a_predecessors_way_and_back() -> None:
    descriptors = {"listen": [7, 12], "admin": [8], "ready": [9]}
    assert decode(encode(descriptors)) == descriptors
    assert decode(encode({"listen": [7], "admin": []})) == {"listen": [7]}
    environment = {"VALVE_HANDED": encode(descriptors), "LISTEN_PID": "7", "LISTEN_FDS": "1"}
    assert read_handed(environment, 7) == descriptors


def test_they_are_taken_once_and_kept_from_children() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = os.dup(listening.fileno())
        os.set_inheritable(fd, True)
        read_fd, ready_fd = os.pipe()
        environment = {"VALVE_HANDED": f"listen={fd};ready={ready_fd}", "LISTEN_FDS": "1", "OTHER": "1"}
        handed = take_handed(environment)
        assert environment == {"OTHER": "1"}
        assert not os.get_inheritable(fd)
        (taken,) = handed.listen
        assert taken.getsockname() == listening.getsockname()
        handed.tell_ready()
        assert os.read(read_fd, 10) == b"1"
        taken.close()
        os.close(read_fd)


def test_what_does_not_listen_is_refused() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(ListenError, match="does not listen; use ListenStream="):
        adopt(datagrams.detach())
    read_fd, write_fd = os.pipe()
    with pytest.raises(ListenError, match=f"descriptor {read_fd}.*no socket"):
        adopt(read_fd)
    os.close(read_fd)
    os.close(write_fd)
