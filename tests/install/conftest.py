"""What several tests here start."""

from collections.abc import Iterator

import pytest
from tests.integration.stage import ScriptedEngine


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.close()
