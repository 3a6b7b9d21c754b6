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
# What a healthy sidecar without a GPU has nothing to say about.
MAY_BE_EMPTY = (
    "valve_shim_",
    "valve_proxy_errors_total",
    "valve_slice_period_seconds",
    "valve_budget_balance_seconds",
    "valve_budget_reserve_seconds",
    "valve_baseline_seconds",
    "valve_slo_seconds",
)


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
    """A real one that scrapes one sidecar every second, with our alert rules."""

    def __init__(self, folder: Path, sidecar: Sidecar) -> None:
        assert PROMETHEUS is not None
        target = sidecar.admin.removeprefix("http://")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "valve", "static_configs": [{"targets": [target]}]}],
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

    def scrapes(self) -> int:
        try:
            found = self.get("query", query="count_over_time(valve_up[1m])")["result"]
        except (httpx.HTTPError, NotReadyError):
            return 0
        return int(found[0]["value"][1]) if found else 0

    def close(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Has seen requests that stop a tenant, before and between scrapes, and memory that is shared."""
    folder = tmp_path_factory.mktemp("prometheus")
    stage = Stage(folder)
    ledger = Ledger.open(folder, "cpu")
    Party.register(ledger, "online", "chat", 400, start_pages=400)
    sidecar, tenant = stage.sidecar(), stage.tenant()
    server = Prometheus(folder, sidecar)
    try:
        tenant.wait_running()
        stage.engine.release.set()
        Request(sidecar.listen).wait_done()
        wait_until(lambda: server.scrapes() >= 2, "two scrapes")
        Request(sidecar.listen).wait_done()
        seen = server.scrapes()
        wait_until(lambda: server.scrapes() >= seen + 3, "scrapes of what has happened")
        yield server
    finally:
        server.close()
        stage.close()
        ledger.close()


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
    assert [alert for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"] == []


@needs_prometheus
@pytest.mark.parametrize("signal", ["valve:gate_open:ratio10m", "valve:harvest:ratio10m"])
def test_autoscalers_find_their_signals(prometheus: Prometheus, signal: str) -> None:
    (found,) = prometheus.get("query", query=signal)["result"]
    assert 0 <= float(found["value"][1]) <= 1


@needs_prometheus
def test_no_label_of_ours_is_pushed_aside_by_the_scrape(prometheus: Prometheus) -> None:
    found = prometheus.get("query", query="valve_tenant_stopped")["result"]
    assert [series["metric"]["tenant"] for series in found] == ["batch"]
    names = prometheus.get("labels")
    assert not [name for name in names if name.startswith("exported_")]
