"""The keeper on a real ledger: what it stores and tells, who decides, and that it never gets in the way."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valve_adapters.adapter import Kv
from valve_runtime.ledger import Ledger, Party
from valve_sidecar.memory import Keeper, MemoryKeeper
from valve_sidecar.reclaim_limit import ReclaimLimit
from valve_sidecar.reservation import FixedReservation, Reservation, Reserve

GPU = "GPU-fa000000-0000-0000-0000-000000000007"
TOTAL = 200
START = 16
S = 1_000_000_000
FREE = Kv(free=1.0, tokens=16 * TOTAL)


def learning(start_pages: int) -> Reserve:
    return Reservation(ReclaimLimit(3), start_pages)


class Device:
    """A ledger with an online engine and a greedy tenant, which give back what they must."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = Ledger.open(directory, GPU)
        self.online = Party.register(self.ledger, "online", "chat", TOTAL, start_pages=START)
        self.tenant = Party.register(self.ledger, "tenant", "batch", TOTAL)

    def close(self) -> None:
        self.online.release()
        self.tenant.release()
        self.ledger.close()

    def keeper(self, policy: Callable[[int], Reserve] = learning, store: bool = True) -> Keeper:
        return Keeper(self.directory, GPU, policy, store)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    yield made
    made.close()


def test_a_reclaim_is_stored_and_told(device: Device) -> None:
    assert len(device.tenant.lease(TOTAL)) == TOTAL - START
    keeper = device.keeper()
    assert list(keeper.look(S, FREE, 0)) == []
    device.ledger.set_wanted(50)
    (event,) = keeper.look(2 * S, FREE, 0)
    assert device.ledger.read().reserved == 100
    assert event["kind"] == "reclaim"
    assert (event["pages"], event["reserved"], event["used"]) == (100 - START, 100, 50)
    assert keeper.told["reclaims"] == 1
    assert keeper.told["reclaimed"] == 100 - START
    assert keeper.told["reclaims_left"] == 2
    keeper.close()


def test_a_reclaim_names_the_request_that_came_last(device: Device) -> None:
    device.tenant.lease(TOTAL)
    newest = {"readable_ns": 7, "trace_id": "t", "span_id": "s"}
    keeper = Keeper(device.directory, GPU, learning, store=True, newest=lambda: newest)
    device.ledger.set_wanted(50)
    (event,) = keeper.look(S, FREE, 0)
    assert newest.items() <= event.items()
    keeper.close()


def test_prompts_that_wait_are_reserved_for_before_the_engine_asks(device: Device) -> None:
    device.tenant.lease(TOTAL)
    keeper = device.keeper()
    keeper.look(S, FREE, 0)
    (event,) = keeper.look(2 * S, FREE, 4 * 16 * 40)
    assert (event["kind"], event["soon"], event["reserved"]) == ("reclaim", 40, 80)
    keeper.close()


def test_what_is_no_longer_needed_is_given_back(device: Device) -> None:
    keeper = device.keeper()
    device.ledger.set_wanted(50)
    keeper.look(S, FREE, 0)
    device.ledger.set_wanted(0)
    (event,) = keeper.look(8000 * S, FREE, 0)
    assert (event["kind"], event["pages"]) == ("give_back", 49)
    assert device.ledger.read().reserved == 1
    keeper.close()


def test_of_two_sidecars_the_first_decides_and_the_other_when_it_is_gone(device: Device) -> None:
    first, second = device.keeper(), device.keeper()
    first.look(S, FREE, 0)
    second.look(S, FREE, 0)
    assert (first.told["decides"], second.told["decides"]) == (True, False)
    assert second.told["limit"] == TOTAL
    first.close()
    second.look(2 * S, FREE, 0)
    assert second.told["decides"] is True
    second.close()


def test_without_enforcing_it_only_looks(device: Device) -> None:
    device.ledger.set_wanted(50)
    keeper = device.keeper(store=False)
    assert list(keeper.look(S, FREE, 0)) == []
    assert device.ledger.read().reserved == START
    assert keeper.told["wanted"] == 50
    keeper.close()


def test_a_fixed_reservation_stays(device: Device) -> None:
    keeper = device.keeper(lambda _: FixedReservation(120))
    device.ledger.set_wanted(190)
    for second in range(1, 4):
        keeper.look(second * S, FREE, 0)
        assert device.ledger.read().reserved == 120
    keeper.close()


def test_the_limit_is_told_when_it_stands_in_the_way(device: Device) -> None:
    device.tenant.lease(TOTAL)
    keeper = device.keeper(lambda start: Reservation(ReclaimLimit(1), start))
    device.ledger.set_wanted(20)
    keeper.look(S, FREE, 0)
    assert device.ledger.read().reserved == TOTAL
    assert keeper.told["reclaims_left"] == 0
    keeper.close()


def kept(directory: Path, **changes: object) -> MemoryKeeper:
    given = {"policy": learning, "waiting_bytes": lambda: 0, "store": True} | changes
    return MemoryKeeper(directory, (GPU,), **given)  # type: ignore[arg-type]


def wait_for(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_its_thread_follows_the_ledger(device: Device) -> None:
    device.tenant.lease(TOTAL)
    keeper = kept(device.directory)
    keeper.start()
    wait_for(lambda: bool(keeper.state()))
    device.ledger.set_wanted(60)
    wait_for(lambda: device.ledger.read().reserved >= 60)
    wait_for(lambda: any(event["kind"] == "reclaim" for event in keeper.take_events()))
    assert keeper.active
    keeper.stop()
    assert device.ledger.read().reserved >= 60


def test_without_a_ledger_it_does_nothing(tmp_path: Path) -> None:
    keeper = kept(tmp_path)
    keeper.start()
    assert keeper.state() == []
    keeper.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_is_left_alone(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    other = "GPU-fa000000-0000-0000-0000-000000000008"
    (device.directory / "pages.fa000000000000000000000000000008").write_bytes(b"not ours")
    keeper = MemoryKeeper(device.directory, (GPU, other), learning, lambda: 0, store=True)
    keeper.start()
    wait_for(lambda: bool(keeper.state()))
    wait_for(lambda: "cannot use the ledger of" in caplog.text)
    keeper.stop()
    assert [told["device"] for told in keeper.state()] == [GPU]


def test_whatever_goes_wrong_in_it_is_told_once_and_tried_again(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def broken() -> int:
        looks.append(1)
        if len(looks) < 4:
            raise ArithmeticError("no such number")
        return 0

    device.ledger.set_wanted(60)
    keeper = kept(device.directory, waiting_bytes=broken)
    keeper.start()
    wait_for(lambda: device.ledger.read().reserved >= 60)
    keeper.stop()
    assert caplog.text.count(f"the reservation of {GPU} failed") == 1
    assert "no such number" in caplog.text
