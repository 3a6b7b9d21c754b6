"""The target that goes to the engine, whatever form the client used."""

import pytest
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from valve_sidecar.objections import objection, origin_target


def message(target: str) -> RawRequestMessage:
    headers = CIMultiDictProxy(CIMultiDict({"Host": "x"}))
    raw = ((b"Host", b"x"),)
    return RawRequestMessage("GET", target, HttpVersion11, headers, raw, False, None, False, False, URL("/"))


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        ("/", "/"),
        ("/a?b=http://c/d", "/a?b=http://c/d"),
        ("//a/b", "//a/b"),
        ("*", "*"),
        ("http://host/a?b", "/a?b"),
        ("http://host:1/", "/"),
        ("http://host", "/"),
        ("http://host?b", "/?b"),
        ("http://user:pass@host/a", "/a"),
        ("http://host//a", "//a"),
    ],
)
def test_origin_target(target: str, origin: str) -> None:
    assert origin_target(message(target)) == origin
    assert objection(message(target)) is None


def test_a_fragment_is_objected_to() -> None:
    refusal = objection(message("/a#b"))
    assert refusal is not None
    assert refusal.status == 400
