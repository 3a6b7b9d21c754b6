"""Pods of the chart, really run: `podman kube play` on the host's network, without a registry.

What podman 4.3 cannot do is taken out first: the native sidecar becomes a plain container; claims, probes and
hooks go. Engines run in a Debian with Python, on this checkout's code, mounted; so does the sidecar, unless
the images of `make images` are asked for.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path

import yaml

from .chart import ROOT, Object

IMAGE = "localhost/valve-pod-base"
CACHE = ROOT / ".cache/cluster"
PACKAGES = ROOT / ".venv/lib/python3.11/site-packages"
SOURCES = [str(ROOT / folder) for folder in ("sidecar", "gpu_runtime", "adapters", "loadgen")]
VALVE = ["python3", "-m", "valve_sidecar"]
BUILT = ("valve-sidecar", "valve-carrier")
TOOLS = ("podman", "runc", "mmdebstrap")
DEBIAN = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=python3,libpython3.11,libgomp1,libstdc++6",
    "bookworm",
)
KUBERNETES_ONLY = ("restartPolicy", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports")


def missing() -> str | None:
    """Why no Pod can be run here; None if one can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: apt install {' '.join(TOOLS)})"
    if os.geteuid():
        return "Pods are run by root here"
    return None if PACKAGES.is_dir() else f"the image has Python 3.11, this checkout has not: no {PACKAGES}"


def podman(*arguments: str | Path) -> str:
    """Its output, with a store of its own: no other podman is met. Raises RuntimeError with what it said."""
    store = [f"--{kind}={CACHE / 'podman' / kind}" for kind in ("root", "runroot", "tmpdir")]
    command = ["podman", *store, *map(str, arguments)]
    environment = {**os.environ, "CONTAINERS_CONF": str(Path(__file__).parent / "containers.conf")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def build_image() -> None:
    """Debian with Python, made once, in about two minutes."""
    base = CACHE / "base.tar"
    if not base.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = CACHE / "base.part.tar"
        subprocess.run([*DEBIAN, draft], check=True, capture_output=True)
        draft.rename(base)
    if not podman("images", "--quiet", IMAGE):
        podman("import", "--change=ENV PATH=/usr/local/bin:/usr/bin:/bin", base, IMAGE)


def unbuilt() -> str | None:
    """Why there are no images of this checkout; None if there are."""
    absent = [name for name in BUILT if not (ROOT / "dist" / f"{name}.tar").is_file()]
    return f"no {' and '.join(absent)} in dist: run `make images`" if absent else None


def load_images() -> None:
    """Those of `make images`."""
    for name in BUILT:
        podman("load", "--input", ROOT / "dist" / f"{name}.tar")


def flattened(spec: Object, name: str, directories: dict[str, Path], addresses: dict[str, str]) -> Object:
    """The Pod of `spec` as podman runs it: `directories` for its volumes, `addresses` in place of its own.

    Containers of the images of `make images` keep them where the Pod has a carrier.
    """
    spec = deepcopy(spec)
    sidecars = [each for each in spec["initContainers"] if each.get("restartPolicy") == "Always"]
    spec["initContainers"] = [each for each in spec["initContainers"] if each not in sidecars]
    spec["containers"] = sidecars + spec["containers"]
    built = any(each["name"] == "carrier" for each in spec["initContainers"])
    for container in (*spec["initContainers"], *spec["containers"]):
        _flatten(container, directories, addresses)
        if not built or container["name"] in ("online", "offline"):
            _run_on_checkout(container)
        else:
            container["image"] = f"localhost/{container['image']}"
    spec["volumes"] = [
        {"name": each, "hostPath": {"path": str(path)}}
        for each, path in {**directories, "code": ROOT}.items()
    ]
    spec |= {"hostNetwork": True, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _flatten(container: Object, directories: dict[str, Path], addresses: dict[str, str]) -> None:
    for key in KUBERNETES_ONLY:
        container.pop(key, None)
    container["resources"] = {}
    for variable in container.get("env", []):
        variable["value"] = addresses.get(variable["value"], variable["value"])
    container["volumeMounts"] = [
        {key: value for key, value in mount.items() if key != "subPath"}
        for mount in container.get("volumeMounts", [])
        if mount["name"] in directories
    ]


def _run_on_checkout(container: Object) -> None:
    container["image"] = IMAGE
    command = container.get("command", ["valve"])
    container["command"] = VALVE + command[1:] if command[0] == "valve" else command
    path = {"name": "PYTHONPATH", "value": ":".join([*SOURCES, str(PACKAGES)])}
    container["env"] = [*container.get("env", []), path]
    container["volumeMounts"] += [{"name": "code", "mountPath": str(ROOT), "readOnly": True}]


@contextmanager
def played(folder: Path, *pods: Object) -> Iterator[None]:
    """Runs `pods`, written down in `folder`; removes them at the end."""
    with ExitStack() as stack:
        for pod in pods:
            name = pod["metadata"]["name"]
            stack.callback(podman, "pod", "rm", "--force", "--ignore", "--time=3", name)
            file = folder / f"{name}.yaml"
            file.write_text(yaml.safe_dump(pod))
            podman("kube", "play", "--network=host", file)
        yield
