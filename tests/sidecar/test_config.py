"""Where configuration comes from, and what bad values are answered with."""

from pathlib import Path

import pytest

from valve_sidecar.config import Mode, ServeConfig, load_config
from valve_sidecar.errors import ConfigError

UP = {"upstream": "http://127.0.0.1:8000"}


def test_precedence_flag_environment_file_default(tmp_path: Path) -> None:
    file = tmp_path / "valve.toml"
    file.write_text('upstream = "http://file:1"\nmode = "observe"\nworkers = 2\ncooldown_ms = 70\n')
    config = load_config({"workers": "4"}, file, {"VALVE_WORKERS": "3", "VALVE_MODE": "bypass"})
    assert config == ServeConfig(upstream="http://file:1", mode=Mode.BYPASS, workers=4, cooldown_ms=70)


def test_a_kubernetes_service_named_valve_does_not_confuse_us() -> None:
    config = load_config(UP, None, {"VALVE_LISTEN": "tcp://10.0.0.1:80", "VALVE_PORT": "tcp://10.0.0.1:80"})
    assert config.listen == ServeConfig().listen


def test_truth_from_the_environment() -> None:
    assert load_config(UP, None, {"VALVE_MEASURE_ARRIVALS": "1"}).measure_arrivals is True
    assert load_config(UP, None, {"VALVE_MEASURE_ARRIVALS": "false"}).measure_arrivals is False


def test_devices_from_the_environment() -> None:
    assert load_config(UP, None, {"VALVE_DEVICE": "cpu, GPU-1"}).device == ("cpu", "GPU-1")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({}, "--upstream"),
        (UP | {"mode": "maybe"}, "mode must be one of enforce, observe, bypass"),
        (UP | {"workers": "0"}, "workers must be a number from 1 to 64"),
        (UP | {"workers": "2.5"}, "whole number"),
        (UP | {"cooldown_ms": "soon"}, "cooldown_ms must be a number"),
        (UP | {"cooldown_ms": float("nan")}, "cooldown_ms must be a number"),
        (UP | {"engine": "vllm2"}, "engine must be one of"),
        (UP | {"data_plane": "nginx"}, "data_plane must be one of native, aiohttp"),
        (UP | {"measure_arrivals": "perhaps"}, "measure_arrivals must be true or false"),
        (UP | {"listen": 8780}, "listen must be text"),
        (UP | {"device": [1]}, "device must be device names"),
        (UP | {"otlp_endpoint": "collector:4318"}, "otlp_endpoint must be a URL such as"),
        (UP | {"trace_share": "2"}, "trace_share must be a number from 0 to 1"),
        (UP | {"log_level": "loud"}, "log_level must be one of debug, info"),
    ],
)
def test_bad_values_name_the_key_and_the_mend(flags: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(flags, None, {})


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "valve.toml"
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(UP, file, {})
    file.write_text("upstream = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(UP, file, {})
    file.write_text('uptsream = "x"')
    with pytest.raises(ConfigError, match="unknown key 'uptsream'; known are upstream"):
        load_config(UP, file, {})


def test_the_reservation_is_automatic_or_so_many_pages() -> None:
    assert load_config(UP, None, {}).kv_reserve is None
    assert load_config(UP | {"kv_reserve": "auto"}, None, {"VALVE_KV_RESERVE": "7"}).kv_reserve is None
    assert load_config(UP | {"kv_reserve": "4096"}, None, {}).kv_reserve == 4096
    assert load_config(UP | {"reclaims_per_hour": "5"}, None, {}).reclaims_per_hour == 5
    with pytest.raises(ConfigError, match="kv_reserve must be auto or a number of pages from 0 to 131072"):
        load_config(UP | {"kv_reserve": "much"}, None, {})
