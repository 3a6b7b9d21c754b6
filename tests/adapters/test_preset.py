"""Presets: what is set, what the user's own word changes, and how long the engine may stay stopped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valve_adapters.preset import WEEK_S, Limit, Preset, prepare, programs
from valve_adapters.registry import ADAPTERS

WEEK = str(WEEK_S)
VLLM, SGLANG, TRTLLM = (ADAPTERS[name].preset for name in ("vllm", "sglang", "tensorrt-llm"))
TIMEOUT = "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"


def test_a_variable_raises_the_limit() -> None:
    prepared = prepare(VLLM, ["vllm", "serve", "m"], {})
    assert prepared.argv == ["vllm", "serve", "m"]
    assert prepared.environment[TIMEOUT] == WEEK
    assert prepared.environment["VLLM_NO_USAGE_STATS"] == "1"
    assert prepared.max_stopped_s == 0
    assert f"{TIMEOUT}={WEEK}" in prepared.told


def test_what_the_user_set_stays_and_bounds_the_stops() -> None:
    prepared = prepare(VLLM, ["vllm"], {TIMEOUT: "600", "VLLM_NO_USAGE_STATS": "0"})
    assert not {TIMEOUT, "VLLM_NO_USAGE_STATS"} & prepared.environment.keys()
    assert prepared.max_stopped_s == 480
    assert prepare(VLLM, ["vllm"], {TIMEOUT: "soon"}).max_stopped_s == 240


@pytest.mark.parametrize(
    "command",
    [
        "sglang serve --model m",
        "python -m sglang.launch_server --model m",
        "python3 -m sglang.bench_offline_throughput",
    ],
)
def test_a_flag_raises_the_limit_where_the_command_takes_it(command: str) -> None:
    prepared = prepare(SGLANG, command.split(), {})
    assert prepared.argv == [*command.split(), "--watchdog-timeout", WEEK]
    assert prepared.max_stopped_s == 0
    assert f"--watchdog-timeout {WEEK}" in prepared.told


@pytest.mark.parametrize("flag", [["--watchdog-timeout", "100"], ["--watchdog-timeout=100"]])
def test_the_users_flag_wins(flag: list[str]) -> None:
    argv = ["sglang", "serve", *flag]
    assert prepare(SGLANG, argv, {}).argv == argv
    assert prepare(SGLANG, argv, {}).max_stopped_s == 80
    assert prepare(SGLANG, [*argv, "--watchdog-timeout", "50"], {}).max_stopped_s == 40
    assert prepare(SGLANG, [*argv, "--watchdog-timeout"], {}).max_stopped_s == 240


@pytest.mark.parametrize("value", ["inf", "0", "-1", "nan"])
def test_a_limit_that_is_none_bounds_nothing(value: str) -> None:
    assert prepare(SGLANG, ["sglang", "serve", "--watchdog-timeout", value], {}).max_stopped_s == 0


def test_a_limit_that_cannot_be_raised_bounds_the_stops() -> None:
    assert prepare(SGLANG, ["python", "batch.py"], {}).max_stopped_s == 240
    assert prepare(SGLANG, ["sh", "-c", "sglang serve"], {}).argv == ["sh", "-c", "sglang serve"]
    assert prepare(TRTLLM, ["trtllm-serve", "m"], {}).max_stopped_s == 240


def test_without_a_preset_nothing_is_set() -> None:
    prepared = prepare(Preset(), ["python", "batch.py"], {})
    assert (prepared.argv, prepared.environment, prepared.max_stopped_s) == (["python", "batch.py"], {}, 0)
    assert prepared.told == ""


def test_programs() -> None:
    assert programs(["env", "/usr/bin/python", "-m", "a.b", "c"]) == ["env", "python", "-m", "a", "c"]
    assert programs([]) == []


@given(st.lists(st.text(max_size=6)), st.dictionaries(st.text(max_size=4), st.text(max_size=4)))
def test_nothing_of_the_users_is_changed(argv: list[str], environment: dict[str, str]) -> None:
    preset = Preset(environment={"A": "1", "B": "2"}, limit=Limit(300, flag="-f"))
    prepared = prepare(preset, argv, environment)
    assert prepared.argv[: len(argv)] == argv
    assert not prepared.environment.keys() & environment.keys()
    assert prepared.environment.keys() | environment.keys() >= {"A", "B"}
