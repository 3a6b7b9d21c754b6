"""The Grafana dashboard's and the alerts' queries, against a real Prometheus that scrapes a real sidecar."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import promql_parser
import pytest

from valve_runtime.ledger import Ledger, Party

from .stage import Request, Sidecar, Stage, wait_until

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/valve.rules.yml"
DASHBOARD = orjson.loads((DEPLOY / "grafana/valve.json").read_bytes())
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="prometheus is not installed (Debian: apt install prometheus)",
)
VARIABLES = {"$instance": ".*", "$__rate_interval": "15s"}
MAY_BE_EMPTY = ("valve_shim_",)  # without a GPU nothing tells these


def queries() -> list[tuple[str, str]]:
    return [
        (panel["title"], target["expr"])
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def filled_in(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["uid"] == "valve-colocation"
    assert "id" not in DASHBOARD
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize(("title", "query"), queries())
def test_every_query_parses(title: str, query: str) -> None:
    assert promql_parser.parse(filled_in(query)) is not None, title


@needs_prometheus
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "valve.rules.test.yml"],
        cwd=RULES.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


class NotReadyError(Exception):
    """It still starts."""


class Prometheus:
    """A real one that scrapes sidecars every second, with our alert rules."""

    def __init__(self, folder: Path, *sidecars: Sidecar) -> None:
        assert PROMETHEUS is not None
        targets = [sidecar.admin.removeprefix("http://") for sidecar in sidecars]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "valve", "static_configs": [{"targets": targets}]}],
        }
        file = folder / "prometheus.yml"
        file.write_bytes(orjson.dumps(config))  # JSON is YAML, too
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
        options += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        self._process = subprocess.Popen([PROMETHEUS, *options])
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}")

    def get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        if answer.status_code == 503:
            raise NotReadyError
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def scrapes(self, metric: str = "valve_up") -> int:
        """Samples of the metric so far, of the sidecar that has fewest."""
        try:
            found = self.get("query", query=f"min(count_over_time({metric}[5m]))")["result"]
        except (httpx.HTTPError, NotReadyError):
            return 0
        return int(found[0]["value"][1]) if found else 0

    def close(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(20)


class Scene:
    """Two sidecars, each with a tenant: one by policy drain, with memory that is shared, and a tenant whose
    engine tells its tokens; one by policy budget.
    """

    def __init__(self, folder: Path) -> None:
        drain, budget = folder / "drain", folder / "budget"
        for each in (drain, budget):
            each.mkdir(mode=0o700)
        self.drain, self.budget = Stage(drain), Stage(budget)
        self._ledger = Ledger.open(drain, "cpu")
        Party.register(self._ledger, "online", "chat", 400, start_pages=400)
        self.draining = self.drain.sidecar()
        self.drain.engine.metrics = b"vllm:generation_tokens_total 5\nvllm:prompt_tokens_total 7\n"
        self.drain.engine.release.set()
        self.drain.tenant("batch", "--metrics-url", f"{self.drain.engine.url}/metrics").wait_running()
        self.budgeting = self.budget.sidecar("--policy", "budget", "--slo-tpot-ms", "100")
        self.budget.engine.behave = "pace"
        self.budget.tenant().wait_running()

    def request_drain(self) -> None:
        Request(self.draining.listen).wait_done()

    def request_budget(self) -> None:
        """With slices, to its end; another one stays in flight."""
        request, before = Request(self.budgeting.listen), self._slices()
        wait_until(lambda: self._slices() > before + 1, "slices while it decodes")
        self.budget.engine.release.set()
        request.wait_done()
        self.budget.engine.release.clear()
        Request(self.budgeting.listen).wait_first_token()

    def _slices(self) -> int:
        return int(self.budgeting.state()["counters"]["slices"])

    def talk_nonsense(self) -> None:
        host, port = self.draining.listen.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"nonsense\r\n\r\n")
            assert client.recv(100)

    def close(self) -> None:
        self.drain.close()
        self.budget.close()
        self._ledger.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Has seen requests that stop a tenant, before and between scrapes."""
    folder = tmp_path_factory.mktemp("prometheus")
    scene = Scene(folder)
    server = Prometheus(folder, scene.draining, scene.budgeting)
    try:
        scene.request_drain()
        scene.talk_nonsense()
        wait_until(lambda: server.scrapes() >= 2, "two scrapes")
        scene.request_drain()
        scene.request_budget()
        seen = server.scrapes()
        wait_until(lambda: server.scrapes() >= seen + 3, "scrapes of what has happened")
        wait_until(
            lambda: server.scrapes("valve_offline_tokens_total") >= 2, "scrapes of the count of tokens"
        )
        yield server
    finally:
        server.close()
        scene.close()


@needs_prometheus
def test_every_query_finds_something(prometheus: Prometheus) -> None:
    empty = []
    for title, query in queries():
        result = prometheus.get("query", query=filled_in(query))["result"]
        if not result and not any(name in query for name in MAY_BE_EMPTY):
            empty.append(f"{title}: {query}")
    assert empty == []


@needs_prometheus
def test_the_alerts_evaluate_and_a_healthy_sidecar_raises_none(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {a["labels"]["alertname"] for a in prometheus.get("alerts")["alerts"] if a["state"] == "firing"}
    assert firing <= {"ValveLeaseLapsed", "ValveTenantEscalated"}, "those may be right where others compute"


@needs_prometheus
@pytest.mark.parametrize("signal", ["valve:gate_open:ratio10m", "valve:harvest:ratio10m"])
def test_autoscalers_find_their_signals(prometheus: Prometheus, signal: str) -> None:
    found = prometheus.get("query", query=signal)["result"]
    assert len(found) == 2, "one a sidecar"
    assert all(0 <= float(series["value"][1]) <= 1 for series in found)


@needs_prometheus
def test_no_label_of_ours_is_pushed_aside_by_the_scrape(prometheus: Prometheus) -> None:
    found = prometheus.get("query", query="valve_tenant_stopped")["result"]
    assert {series["metric"]["tenant"] for series in found} == {"batch"}
    names = prometheus.get("labels")
    assert not [name for name in names if name.startswith("exported_")]
