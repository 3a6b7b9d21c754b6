"""The chart in all its variants: valid for three versions of Kubernetes, and as it says of itself."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from .chart import CHART, ROOT, Object, containers, of_kind, pod_of, rendered

VERSIONS = ("1.34", "1.36", "1.37")
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
OFFLINE = {"command": ["python3", "batch.py"]}
EVERYTHING = {
    "replicas": 2,
    "serve": {"cooldown_ms": 100, "device": ["GPU-1", "GPU-2"], "measure_arrivals": True},
    "online": {
        "command": ["vllm", "serve"],
        "env": [{"name": "A", "value": "b"}],
        "resources": {"limits": {"cpu": 4}},
    },
    "offline": {**OFFLINE, "port": 8001, "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    "volumes": [{"name": "data", "emptyDir": {}}],
    "nodeSelector": {"gpu": "yes"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
    "monitoring": {"operator": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}],
        "scrapers": [{"namespaceSelector": {}}],
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "nothing given": {},
    "offline": {"offline": OFFLINE},
    "everything": EVERYTHING,
    "time-slicing": {"offline": OFFLINE, "gpu": {"sharing": "timeSlicing"}},
    "no GPU, valve in the image": {"offline": {**OFFLINE, "valve": "path"}, "gpu": {"sharing": "none"}},
    "two Pods": {"offline": {**OFFLINE, "ownPod": True}},
    "tenants in Pods of their own": {"runtimeDir": {"hostPath": "/run/valve"}},
    "bare": {
        "monitoring": {"dashboard": False, "operator": False},
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_is_valid(variant: str, version: str) -> None:
    objects = rendered(VARIANTS[variant])
    assert of_kind(objects, "Deployment")
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_an_unknown_field_would_be_found() -> None:
    (deployment,) = of_kind(rendered(), "Deployment")
    deployment["spec"]["template"]["spec"]["initContainers"][0]["restartPolicyy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_lint_has_nothing_to_say(version: str) -> None:
    found = helm.lint(CHART, EVERYTHING, strict=True, kube_version=f"v{version}.0")
    assert not found["errors"]
    assert [each for each in found["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize(
    "values",
    [
        {"onlin": {}},
        {"offline": {"livenessProbe": {}}},
        {"serve": {"upstream": "http://elsewhere"}},
        {"serve": {"cooldown-ms": 100}},
        {"gpu": {"sharing": "mps"}},
        {"user": 0},
    ],
)
def test_the_schema_refuses(values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        rendered(values)


def test_what_serve_is_told_is_what_it_reads() -> None:
    from valve_sidecar.config import load_config

    given = {each["name"]: each["value"] for each in _online(EVERYTHING)["valve"]["env"]}
    config = load_config({}, None, given)
    assert (config.upstream, config.cooldown_ms) == ("http://127.0.0.1:8000", 100)
    assert (config.device, config.measure_arrivals) == (("GPU-1", "GPU-2"), True)


def test_two_pods_share_one_gpu_so_there_are_no_replicas() -> None:
    with pytest.raises(helm.HelmRenderError, match="a release for each replica"):
        rendered({"replicas": 2, "offline": {**OFFLINE, "ownPod": True}})


def test_the_sidecar_starts_first_and_does_not_wait_for_the_engine() -> None:
    pod = pod_of(rendered({"offline": OFFLINE}), "online")
    assert [each["name"] for each in pod["initContainers"]] == ["carrier", "valve"]
    sidecar = containers(pod)["valve"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert sidecar["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}


def test_the_pod_is_ready_as_clients_see_it() -> None:
    probe = _online({"online": {"healthPath": "/ready"}})["valve"]["readinessProbe"]
    assert probe["httpGet"] == {"path": "/ready", "port": "http"}


@pytest.mark.parametrize("variant", ["offline", "two Pods", "everything"])
def test_no_probe_can_end_a_stopped_engine(variant: str) -> None:
    objects = rendered(VARIANTS[variant])
    pod = pod_of(objects, "offline" if variant == "two Pods" else "online")
    assert not [key for key in containers(pod)["offline"] if key.endswith("Probe")]
    assert "lifecycle" not in containers(pod)["offline"]  # an exec hook would wait for a gate, too


@pytest.mark.parametrize("variant", VARIANTS)
def test_online_and_offline_name_one_gpu_and_the_sidecar_too(variant: str) -> None:
    objects = rendered(VARIANTS[variant])
    sharing = VARIANTS[variant].get("gpu", {}).get("sharing", "claim")
    for deployment in of_kind(objects, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        for name in containers(pod).keys() & {"valve", "online", "offline"}:
            resources = containers(pod)[name]["resources"]
            assert (resources.get("claims") == [{"name": "gpu"}]) == (sharing == "claim")
            assert ("nvidia.com/gpu" in resources.get("limits", {})) == (sharing == "timeSlicing")
        assert ("resourceClaims" in pod) == (sharing == "claim")


def test_two_pods_name_the_same_claim_and_the_same_directory() -> None:
    objects = rendered(VARIANTS["two Pods"])
    (claim,) = of_kind(objects, "ResourceClaim")
    for component in ("online", "offline"):
        pod = pod_of(objects, component)
        assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimName": claim["metadata"]["name"]}]
        assert _volume(pod, "valve")["hostPath"] == {"path": "/run/valve", "type": "DirectoryOrCreate"}
        assert "chmod 2770" in containers(pod)["prepare"]["command"][2]
    assert not of_kind(objects, "ResourceClaimTemplate")


def test_sidecar_and_tenant_are_one_user_without_privileges() -> None:
    found = _online(VARIANTS["everything"])
    for name in ("valve", "offline", "carrier"):
        context = found[name]["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 65532, 65532)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
    assert found["valve"]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_online_engine_cannot_reach_the_gate() -> None:
    assert "volumeMounts" not in _online({"offline": OFFLINE})["online"]
    for variant in VARIANTS.values():
        for deployment in of_kind(rendered(variant), "Deployment"):
            spec = deployment["spec"]["template"]["spec"]
            assert not {"hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace"} & spec.keys()
            assert spec["automountServiceAccountToken"] is False


def test_the_policy_lets_only_the_sidecars_ports_in() -> None:
    (policy,) = of_kind(rendered(EVERYTHING), "NetworkPolicy")
    online, admin = policy["spec"]["ingress"]
    assert [each["port"] for each in online["ports"]] == [8780, 8001]
    assert len(online["from"]) == 2  # scrapers read the engine's own metrics there
    assert [each["port"] for each in admin["ports"]] == [8781]


def test_rules_and_dashboard_are_those_of_this_checkout() -> None:
    objects = rendered(EVERYTHING)
    (rule,) = of_kind(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/valve.rules.yml").read_text())
    (dashboard,) = of_kind(objects, "ConfigMap")
    assert dashboard["data"]["valve.json"].strip() == (ROOT / "deploy/grafana/valve.json").read_text().strip()


def test_promtool_accepts_the_rule(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    (rule,) = of_kind(rendered(EVERYTHING), "PrometheusRule")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]))
    subprocess.run([promtool, "check", "rules", tmp_path / "rules.yml"], check=True, capture_output=True)


def test_it_packs_into_one_file_with_everything_in_it(tmp_path: Path) -> None:
    packed = helm.package(CHART, destination=tmp_path)
    with helm.Chart.load(packed) as chart:
        files = chart.render(EVERYTHING, name="llm", namespace="prod")
    assert "ValvePreemptionSlow" in files["valve/templates/monitoring.yaml"]


def _online(values: dict[str, Any]) -> dict[str, Object]:
    return containers(pod_of(rendered(values), "online"))


def _volume(pod: Object, name: str) -> Object:
    (found,) = (each for each in pod["volumes"] if each["name"] == name)
    return found
