"""The commands of docs/kubernetes.md, docs/fleet.md and the examples, run as far as they can be here."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import pytest
from promql_parser import parse

from valve_sidecar.cli import main

from .chart import CHART, ROOT, of_kind, rendered
from .test_chart import CUSTOM, VERSIONS

PAGES = [
    *(ROOT / "docs" / name for name in ("kubernetes.md", "fleet.md")),
    ROOT / "deploy/examples/README.md",
]
EXAMPLES = sorted((ROOT / "deploy/examples").rglob("*.yaml"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(language: str) -> Iterator[str]:
    for page in PAGES:
        yield from (text for kind, text in BLOCK.findall(page.read_text()) if kind == language)


def commands() -> list[list[str]]:
    """Every one in shell blocks, and those in the examples' comments."""
    lines = [line for text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    for file in EXAMPLES:
        comments = (line.strip() for line in file.read_text().splitlines() if line.startswith("#"))
        lines += [found[0] for line in comments if (found := re.search(r"helm install chat .*", line))]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def of(*words: str) -> list[list[str]]:
    return [each for each in commands() if each[: len(words)] == list(words)]


def test_the_pages_have_commands() -> None:
    assert len(of("helm", "install")) >= 5
    assert len(of("kubectl")) >= 3


@pytest.mark.parametrize("command", of("helm", "install"), ids=" ".join)
def test_every_install_renders_valid_objects(command: list[str]) -> None:
    assert command[3] == str(CHART.relative_to(ROOT))
    given = [value for flag, value in itertools.pairwise(command) if flag == "--set"]
    objects = rendered(helm.parse_set_string(",".join(given)) if given else {})
    assert of_kind(objects, "Deployment")
    for each in objects:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, VERSIONS[0], strict=True)


def entered() -> list[list[str]]:
    """What kubectl runs inside of the Pods."""
    return [each[each.index("--") + 1 :] for each in of("kubectl", "exec")]


@pytest.mark.parametrize("command", [*of("valve"), *entered()], ids=" ".join)
def test_every_command_of_valve_is_one(command: list[str]) -> None:
    with pytest.raises(SystemExit) as told:
        main([command[1], "--help"])
    assert (command[0], told.value.code) == ("valve", 0)


@pytest.mark.parametrize("command", of("kubectl", "exec"), ids=" ".join)
def test_what_is_entered_exists(command: list[str]) -> None:
    kind, name = command[2].split("/")
    assert (kind, name) == ("deploy", "chat-valve")
    (deployment,) = of_kind(rendered(), "Deployment")
    assert deployment["metadata"]["name"] == "llm-valve"  # of the release llm
    sidecar = deployment["spec"]["template"]["spec"]["initContainers"][-1]
    assert sidecar["name"] == command[command.index("-c") + 1]


@pytest.mark.parametrize("line", [line for text in blocks("promql") for line in text.splitlines()])
def test_queries_parse(line: str) -> None:
    assert parse(line.partition("#")[0].strip()) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert targets
    assert [target for target in targets if not (page.parent / target).exists()] == []
