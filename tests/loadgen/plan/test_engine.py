"""An engine's figures: read from the command line, and what follows from them."""

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan.engine import PRESETS, Engine, parse


def test_presets_and_figures_are_read() -> None:
    assert parse("8b") is PRESETS["8b"]
    assert parse("step_ms=12,batch=64") == Engine(12.0, batch=64)
    assert parse("sequence_us=0").sequence_us == 0


@pytest.mark.parametrize("text", ["70c", "step_ms=fast", "step=3", "step_ms=0", "batch=-1", "batch=2.5", ""])
def test_bad_figures_are_named(text: str) -> None:
    with pytest.raises(BenchError, match="engine figures"):
        parse(text)


def test_the_cooldown_is_the_sidecars_rule() -> None:
    assert Engine(8, 80, batch=256).cooldown_s == 0.057
    assert Engine(1, 0).cooldown_s == 0.05
    assert Engine(500, 0).cooldown_s == 0.2


def test_packing_stops_where_iterations_are_half_as_long_again() -> None:
    engine = Engine(8, 80)
    alone_s = engine.iteration_s(1)
    assert engine.iteration_s(engine.pack_limit) <= 1.5 * alone_s < engine.iteration_s(engine.pack_limit + 1)
    assert Engine(8, 80, batch=16).pack_limit == 16
    assert Engine(1, 0, batch=1 << 30).pack_limit == 32


def test_capacity_counts_prompt_and_decode_of_a_full_batch() -> None:
    engine = Engine(8, 0, prefill_tokens_per_s=1000, batch=8)
    assert engine.capacity_rps(1000, 1000) == pytest.approx(1 / (1 + 1000 * 0.008 / 8))
