"""What `valve serve` can be told: command line > VALVE_* environment > file > default, each default
written once.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from valve_adapters.registry import ADAPTERS

from .errors import ConfigError
from .reclaim_limit import PER_HOUR


class Mode(StrEnum):
    ENFORCE = "enforce"
    OBSERVE = "observe"  # decide and report, stop nothing
    BYPASS = "bypass"  # a plain proxy


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Values as a person writes them; `check` has passed them."""

    upstream: str = ""
    listen: str = "127.0.0.1:8780"
    admin: str = "127.0.0.1:8781"
    admin_token_file: str = ""  # empty: no token (access.py)
    mode: Mode = Mode.ENFORCE
    policy: str = "drain"
    slo_tpot_ms: float | None = None  # of policy budget: what online users accept a token (policy.py)
    tpot_budget: float | None = None  # the same as a share above the measured baseline
    slo_ttft_ms: float | None = None
    slices_per_s: float | None = None  # at most; None: as the SLO wants
    engine: str = "auto"
    device: tuple[str, ...] = ()  # empty: every GPU that is visible, else the CPU
    workers: int = 1
    data_plane: str = "native"
    measure_arrivals: bool = False  # a histogram from the bytes of a head to the gate signalled
    cooldown_ms: float | None = None  # None: twice the largest recent decode gap
    kv_reserve: int | None = None  # KV pages kept for online work; None: as the reservation finds
    reclaims_per_hour: int = PER_HOUR  # how often tenants may lose KV pages, at most
    grace_s: float = 300.0  # on SIGTERM: how long running exchanges may take
    otlp_endpoint: str = ""  # an OpenTelemetry collector's base URL; empty: no traces
    trace_share: float = 1.0  # of the requests whose clients have not decided themselves
    log_level: str = "info"
    runtime_dir: str = ""  # empty: chosen by valve_runtime.rundir


KEYS = tuple(field.name for field in fields(ServeConfig))
ENGINES = ("auto", *sorted(ADAPTERS))
POLICIES = ("drain", "budget")
DATA_PLANES = ("native", "aiohttp")
LOG_LEVELS = ("debug", "info", "warning", "error")
CHOICES = {"policy": POLICIES, "engine": ENGINES, "data_plane": DATA_PLANES, "log_level": LOG_LEVELS}
MAX_PAGES = 131_072  # of 2 MiB: VLV_PAGES_MAX
RANGES = {
    "cooldown_ms": (0, 60_000),
    "grace_s": (0, 86_400),
    "trace_share": (0, 1),
    "slo_tpot_ms": (0.1, 10_000),
    "slo_ttft_ms": (1, 600_000),
    "slices_per_s": (0.25, 1_000),
}
COUNTS = {"workers": (1, 64), "reclaims_per_hour": (1, 3600)}


def load_config(
    flags: Mapping[str, Any], file: Path | None = None, environment: Mapping[str, str] | None = None
) -> ServeConfig:
    """Merges the sources. Raises ConfigError naming the key, its source and the mend."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    if file is not None:
        values |= {key: _convert(key, value, str(file)) for key, value in _read_file(file).items()}
    values |= _read_environment(environment)
    values |= {k: _convert(k, v, f"--{k.replace('_', '-')}") for k, v in flags.items() if v is not None}
    config = ServeConfig(**values)
    if not config.upstream:
        raise ConfigError(
            "no upstream: say where the online engine is, e.g. --upstream http://127.0.0.1:8000"
        )
    return config


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    for key in content:
        if key not in KEYS:
            raise ConfigError(f"{file}: unknown key {key!r}; known are {', '.join(KEYS)}")
    return content


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for key in KEYS:
        name = f"VALVE_{key.upper()}"
        text = environment.get(name, "")
        # A Kubernetes Service named "valve" injects VALVE_..._PORT=tcp://...: not meant for us.
        if text and not text.startswith("tcp://"):
            values[key] = _convert(key, text, name)
    return values


def _convert(key: str, value: Any, source: str) -> Any:
    if key in CHOICES:
        return _choice(key, value, source, CHOICES[key])
    if key in RANGES:
        return _number(key, value, source, *RANGES[key])
    if key in COUNTS:
        return _whole(key, value, source, *COUNTS[key])
    match key:
        case "mode":
            return Mode(_choice(key, value, source, tuple(Mode)))
        case "measure_arrivals":
            return _truth(key, value, source)
        case "device":
            return _names(key, value, source)
        case "tpot_budget":
            return _share(key, value, source)
        case "kv_reserve":
            return _pages(key, value, source)
        case "otlp_endpoint":
            return _url(key, value, source)
        case _:
            return _text(key, value, source)


def _text(key: str, value: Any, source: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{source}: {key} must be text, not {value!r}")
    return value


def _url(key: str, value: Any, source: str) -> str:
    text = _text(key, value, source)
    if text and not text.startswith(("http://", "https://")):
        raise ConfigError(f"{source}: {key} must be a URL such as http://127.0.0.1:4318, not {value!r}")
    return text


def _choice(key: str, value: Any, source: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ConfigError(f"{source}: {key} must be one of {', '.join(allowed)}, not {value!r}")
    return str(value)


def _truth(key: str, value: Any, source: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise ConfigError(f"{source}: {key} must be true or false, not {value!r}")
    return words[value.lower()]


def _names(key: str, value: Any, source: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise ConfigError(f"{source}: {key} must be device names such as 'cpu' or 'GPU-...', not {value!r}")
    return tuple(value)


def _number(key: str, value: Any, source: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not low <= number <= high:
        raise ConfigError(f"{source}: {key} must be a number from {low:g} to {high:g}, not {value!r}")
    return number


def _share(key: str, value: Any, source: str) -> float:
    """'20%' and 0.2 are the same."""
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if isinstance(value, bool) or not 0 < share <= 100:
        raise ConfigError(f"{source}: {key} must be a share such as 20% or 0.2, not {value!r}")
    return share


def _whole(key: str, value: Any, source: str, low: int, high: int) -> int:
    number = _number(key, value, source, low, high)
    if number != int(number):
        raise ConfigError(f"{source}: {key} must be a whole number, not {value!r}")
    return int(number)


def _pages(key: str, value: Any, source: str) -> int | None:
    if value == "auto":
        return None
    try:
        return _whole(key, value, source, 0, MAX_PAGES)
    except ConfigError:
        raise ConfigError(
            f"{source}: {key} must be auto or a number of pages from 0 to {MAX_PAGES}, not {value!r}"
        ) from None
