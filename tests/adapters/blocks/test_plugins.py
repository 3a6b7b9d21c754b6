"""The entry points that engines look for, in the distribution and in a checkout."""

from __future__ import annotations

import importlib
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
GROUPS = ("vllm.general_plugins", "sglang.srt.plugins")


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_pool_a_plugin_does_nothing(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VALVE_POOL", raising=False)
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"][group]
    module, _, function = declared["valve"].partition(":")
    assert getattr(importlib.import_module(module), function)() is None


@pytest.mark.parametrize("group", GROUPS)
def test_the_checkout_declares_them(group: str) -> None:
    assert "valve" in entry_points(group=group).names
