"""Events as lines, and following a sidecar that goes and comes back."""

from typing import Any

import orjson
import pytest

from valve_sidecar import admin_client
from valve_sidecar.admin_client import AdminClient
from valve_sidecar.errors import SidecarError
from valve_sidecar.tail import line_of, print_events

OPEN = {"seq": 7, "worker": 0, "kind": "open", "t_ns": 1_500_000_000, "generation": 6}


class Scripted(AdminClient):
    """Answers in order; an exception is raised, and the last answer ends it all."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        super().__init__("127.0.0.1:1")
        self._answers = list(answers)
        self.asked: list[int] = []

    def events(self, since: int) -> dict[str, Any]:
        if not self._answers:
            raise KeyboardInterrupt
        self.asked.append(since)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def told(next_: int, *events: dict[str, Any], dropped: int = 0) -> dict[str, Any]:
    return {"events": list(events), "next": next_, "dropped": dropped}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client.time, "sleep", lambda _: None)


def test_a_line_for_a_person() -> None:
    event = OPEN | {
        "job": "two words",
        "latency_ns": 2_500_000,
        "woken_ns": 77,
        "reasons": ["a", "b"],
        "x": "",
    }
    assert line_of(event) == '1.500000 open     generation=6 job="two words" latency=2.500ms reasons=a,b'


def test_json_is_the_event_itself(capsys: pytest.CaptureFixture[str]) -> None:
    print_events(Scripted(told(8, OPEN)), 7, follow=False, as_json=True)
    assert orjson.loads(capsys.readouterr().out) == OPEN


def test_what_is_no_longer_kept_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_events(Scripted(told(8, OPEN, dropped=5)), 0, follow=False, as_json=False)
    assert "5 older events are no longer kept" in capsys.readouterr().err


def test_following_goes_on_where_it_was() -> None:
    client = Scripted(told(8, OPEN), told(8), told(9, OPEN))
    with pytest.raises(KeyboardInterrupt):
        print_events(client, 7, follow=True, as_json=True)
    assert client.asked == [7, 8, 8]


def test_a_sidecar_that_was_started_anew_is_read_from_its_beginning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = Scripted(told(500, OPEN), SidecarError("gone"), SidecarError("gone"), told(3), told(3, OPEN))
    with pytest.raises(KeyboardInterrupt):
        print_events(client, 499, follow=True, as_json=False)
    assert client.asked == [499, 500, 500, 500, 0]
    assert capsys.readouterr().err.count("waiting for it") == 1


def test_without_a_sidecar() -> None:
    with AdminClient("127.0.0.1:1") as client, pytest.raises(SidecarError, match="no sidecar answers at"):
        client.events(0)
