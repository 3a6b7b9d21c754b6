"""A real sidecar keeps the reservation of a real ledger, while requests pass, and shows who has what."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from valve_runtime.ledger import Ledger, Party

from . import fake_gpu
from .collector import Collector, attributes
from .stage import DEADLINE_S, Request, ScriptedEngine, Sidecar, wait_until
from .test_kv_pool import DEVICE_PAGES, PAGE, leased, party, started, valve

pytestmark = pytest.mark.integration
DEMAND = 4  # word of the pooled program: pages to use
TOTAL = 400
FIRST = 50


class Pools:
    """An online engine that asks for pages through its plug-in, and a tenant that has all the others."""

    def __init__(self, runtime_dir: Path) -> None:
        self.ledger = Ledger.open(runtime_dir, "cpu")
        self.online = Party.register(self.ledger, "online", "chat", TOTAL, start_pages=FIRST)
        self.tenant = Party.register(self.ledger, "tenant", "batch", TOTAL)
        assert len(self.tenant.lease(TOTAL)) == TOTAL - FIRST

    @property
    def reserved(self) -> int:
        return self.ledger.read().reserved


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[Pools]:
    made = Pools(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    made = ScriptedEngine()
    yield made
    made.close()


@pytest.mark.parametrize("plane", ["native", "aiohttp"])
def test_online_work_gets_what_it_asks_for(
    tmp_path: Path, pools: Pools, engine: ScriptedEngine, plane: str
) -> None:
    sidecar = Sidecar(tmp_path, engine.url, "--data-plane", plane)
    sidecar.wait_ready()
    request = Request(sidecar.listen)
    request.wait_first_token()
    pools.ledger.set_wanted(80)
    wait_until(lambda: pools.reserved == 160, "twice the demand is reserved")
    engine.release.set()
    request.wait_done()
    (event,) = wait_until(lambda: sidecar.events("reclaim"), "the reclaim is told")
    assert (event["device"], event["pages"], event["tenants"]) == ("cpu", 160 - FIRST, TOTAL - FIRST)
    (told,) = sidecar.state()["memory"]
    assert (told["decides"], told["reserved"], told["used"], told["reclaims"]) == (True, 160, 80, 1)
    assert {pool["name"] for pool in told["parties"]} == {"chat", "batch"}
    metrics = httpx.get(f"{sidecar.admin}/metrics").text
    assert 'valve_memory_pages{device="cpu",state="tenants"} 350.0' in metrics
    assert 'valve_reclaims_total{device="cpu"} 1.0' in metrics
    assert sidecar.end() == 0
    assert pools.reserved == 160  # the last value stands


def address_of(sidecar: subprocess.Popen[str]) -> str:
    """Once it serves."""
    assert sidecar.stderr
    serving = next(line for line in sidecar.stderr if line.startswith("valve: serving on "))
    return serving.split()[3]


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def gpu(tmp_path: Path) -> Path:
    """A runtime directory with a device of 20 pages."""
    with (tmp_path / "device").open("wb") as device:
        device.truncate(DEVICE_PAGES * PAGE)
    return tmp_path


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def check_spans(collector: Collector) -> None:
    """Of a reclaim of 8 pages: part of the request's trace, and the tenant's own view with a link to it."""
    wait_until(lambda: collector.named("chat") and collector.named("give back"), "the spans")
    (chat,), (reclaim,) = collector.named("chat"), collector.named("reclaim")
    (give_back,) = collector.named("give back")
    assert (reclaim.trace_id, reclaim.parent_span_id) == (chat.trace_id, chat.span_id)
    assert give_back.trace_id != chat.trace_id
    assert [link.span_id for link in give_back.links] == [chat.span_id]
    assert reclaim.start_time_unix_nano <= give_back.start_time_unix_nano
    assert reclaim.end_time_unix_nano == give_back.end_time_unix_nano
    told = attributes(give_back)
    assert (told["valve.tenant.job"], told["valve.reclaim.pages"]) == ("batch", 8)
    assert 0 < told["valve.reclaim.stopped"] <= told["valve.reclaim.duration"]


@pytest.mark.parametrize("plane", ["native", "aiohttp"])
def test_pages_move_between_pools_as_the_online_engine_asks(
    gpu: Path, engine: ScriptedEngine, collector: Collector, plane: str
) -> None:
    """On the fake GPU: engine's word -> ledger -> sidecar -> tenant's shim -> online's pool; 16 pages."""
    online = started(gpu, "chat", "--gpu", "0", "--online", "--kv-pool", "32MiB", "--kv-pool-start", "4MiB")
    tenant = started(gpu, "batch", "--gpu", "0", "--kv-pool", "32MiB")
    with Ledger.open(gpu, fake_gpu.GPU) as ledger, online as chat, tenant as batch:
        wait_until(lambda: leased(ledger) == {"chat": 2, "batch": 14}, "each has its share")
        addresses = ("--listen", "127.0.0.1:0", "--admin", f"unix:{gpu}/admin", "--upstream", engine.url)
        options = ("--device", "0", "--data-plane", plane, "--otlp-endpoint", collector.url)
        sidecar = valve(gpu, "serve", *addresses, *options)
        with ended(sidecar):
            request = Request(address_of(sidecar))
            request.wait_first_token()
            chat.tell(DEMAND, 5)
            wait_until(lambda: leased(ledger) == {"chat": 10, "batch": 6}, "twice the demand has come over")
            wait_until(lambda: party(ledger, "batch").reclaimed == 8, "the tenant has counted what it gave")
            engine.release.set()
            request.wait_done()
            check_spans(collector)
        assert not chat.has_seen_errors()
        assert not batch.has_seen_errors()
