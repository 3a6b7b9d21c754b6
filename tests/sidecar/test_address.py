"""Addresses: what is understood, how it is written back, and the mend for what is not."""

import pytest

from valve_sidecar.address import Address
from valve_sidecar.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("http://127.0.0.1:8000", Address("127.0.0.1", 8000), "http://127.0.0.1:8000"),
        ("http://engine:8000/", Address("engine", 8000), "http://engine:8000"),
        ("localhost:0", Address("localhost", 0), "http://localhost:0"),
        ("[::1]:8000", Address("::1", 8000), "http://[::1]:8000"),
        ("http://[::1]:8000", Address("::1", 8000), "http://[::1]:8000"),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535), "http://0.0.0.0:65535"),
        ("unix:/run/valve/in.sock", Address(path="/run/valve/in.sock"), "unix:/run/valve/in.sock"),
    ],
)
def test_parse(text: str, address: Address, written: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == written
    assert Address.parse(written) == address


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("https://engine:443", "end TLS in front of Valve"),
        ("ftp://engine:21", "unknown scheme 'ftp'"),
        ("tcp://10.0.0.1:80", "unknown scheme 'tcp'"),
        ("", "host is missing"),
        ("8000", "port is missing"),
        (":8000", "host is missing"),
        ("http://:8000", "host is missing"),
        ("engine", "port is missing"),
        ("engine:", "port is missing"),
        ("engine:http", "number from 0 to 65535"),
        ("engine:65536", "number from 0 to 65535"),
        ("engine:-1", "number from 0 to 65535"),
        ("[::1:8000", "malformed"),
        ("http://engine:8000/v1", "only a host and a port"),
        ("http://engine:8000?x=1", "only a host and a port"),
        ("http://user:pass@engine:8000", "only a host and a port"),
        ("http://eng ine:8000", "malformed"),
        ("unix:relative.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:///run/valve.sock", "absolute path"),
        ("unix:/" + "x" * 107, "use a shorter one"),
    ],
)
def test_a_bad_address_names_itself_and_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ConfigError) as error:
        Address.parse(text)
    assert repr(text) in str(error.value)
    assert mend in str(error.value)


def test_authority_and_path() -> None:
    assert Address("::1", 80).authority == "[::1]:80"
    assert Address(path="/a").authority == "localhost"
    assert Address(path="/a").path_object.name == "a"
    with pytest.raises(ValueError, match="not a unix socket"):
        _ = Address("h", 1).path_object
