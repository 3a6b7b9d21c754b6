"""The chart, rendered in-process by Helm's own library, as Kubernetes objects."""

from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/valve"
NAME = "llm"
Object = dict[str, Any]

helm.disable_logging()  # it tells of each symbolic link


def rendered(values: dict[str, Any] | None = None) -> list[Object]:
    """Every object of `helm template llm deploy/helm/valve -n prod`. Raises helm.HelmError."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values or {}, name=NAME, namespace="prod")
    texts = (text for name, text in files.items() if not name.endswith("NOTES.txt"))
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def containers(pod: Object) -> dict[str, Object]:
    """Those of a Pod's spec by name, init containers too."""
    return {each["name"]: each for each in (*pod.get("initContainers", ()), *pod["containers"])}


def pod_of(objects: list[Object], component: str) -> Object:
    """The Pod's spec of the Deployment of `component`."""
    for each in of_kind(objects, "Deployment"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        if labels["app.kubernetes.io/component"] == component:
            spec: Object = each["spec"]["template"]["spec"]
            return spec
    raise LookupError(f"no Deployment of component {component}")
