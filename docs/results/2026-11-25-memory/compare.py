"""Valve's reservation, kvcached's way and fixed splits on every trace: compare.py TRACES [NAME ...]

Writes NAME.json beside itself, and prints a row of the page's table. Every replica is compared with the
splits that leave its own tenants no less memory than Valve did, chosen in hindsight; and with the split that
somebody would choose after the first ten minutes.
"""

import sys
from pathlib import Path
from typing import Any

import orjson

from valve_loadgen.plan import inputs, kernel, kv, memory, splits
from valve_loadgen.plan.engine import PRESETS
from valve_loadgen.plan.kv import Usage
from valve_loadgen.plan.memory import Replay
from valve_loadgen.plan.routing import DEDICATED, ROUTINGS
from valve_loadgen.plan.splits import Prealloc, Split
from valve_sidecar.reclaim_limit import ReclaimLimit
from valve_sidecar.reservation import Reservation

ENGINE = PRESETS["8b"]
WARM_S = 600.0
BUDGET = 300_000
CHUNKS = (0, 10, 100, 400)
TRACES = {
    "conv-10": ("azure2023_conv.csv.gz", 0.1),
    "conv-30": ("azure2023_conv.csv.gz", 0.3),
    "code-20": ("azure2023_code.csv.gz", 0.2),
    "code": ("azure2023_code.csv.gz", 1.0),
    "mooncake-10": ("mooncake_conversation.csv.gz", 0.1),
    "fleet12": ("servegen_generated_fleet12_24h.csv.gz", 1.0),
    "r1": ("servegen_r1_clients.csv.gz", 0.1),
    "mmimage": ("servegen_mmimage_clients.csv.gz", 1.0),
}


def usages(path: Path, keep: float) -> list[Usage]:
    requests = inputs.read([str(path)], inputs.Cut(keep), 32).requests
    assert requests is not None
    fleet = ROUTINGS[DEDICATED].build(requests.loads(ENGINE), len(requests.deployments), 32)
    return list(kv.usages(requests, kernel.simulate(ENGINE, requests, fleet), ENGINE, BUDGET).values())


def valve(known: list[Usage], announced: bool = True, warm_s: float = WARM_S) -> Replay:
    policy = lambda _: Reservation(ReclaimLimit())  # noqa: E731
    return memory.replay(known, policy, ENGINE.kv_pages, announced=announced, warm_s=warm_s)


def best_splits(usage: Usage, offline_share: float) -> dict[int, Replay]:
    """By chunk."""
    found = {
        chunk: splits.best_split(usage, ENGINE.kv_pages, offline_share, chunk, WARM_S) for chunk in CHUNKS
    }
    return {chunk: each for chunk, each in found.items() if each is not None}


def warm_peak(usage: Usage) -> int:
    """The highest use that is known when counting begins."""
    return Usage(WARM_S, [change for change in usage.changes if change[0] < WARM_S], usage.soon_max).peak


def compare(known: list[Usage]) -> dict[str, Any]:
    ours = valve(known)
    ready = memory.replay(known, lambda _: Prealloc(), ENGINE.kv_pages, announced=False, warm_s=WARM_S)
    seen = memory.replay(
        known, lambda usage: Split(warm_peak(usage)), ENGINE.kv_pages, announced=False, warm_s=WARM_S
    )
    found = [best_splits(usage, valve([usage]).offline_share) for usage in known]
    tuned = [min(each.values(), key=lambda replay: replay.reclaims_per_hour) for each in found]
    return {
        "replicas": len(known),
        "hours": ours.hours,
        "peak_pages": [usage.peak for usage in known],
        "warm_peak_pages": [warm_peak(usage) for usage in known],
        "valve": ours.as_json(),
        "valve_unannounced": valve(known, announced=False).as_json(),
        "valve_from_the_start": valve(known, warm_s=0.0).as_json(),
        "prealloc": ready.as_json(),
        "split_at_warm_peak": seen.as_json(),
        "split": pooled([each[0] for each in found]),
        "split_best_chunk": pooled(tuned),
    }


def pooled(replays: list[Replay]) -> dict[str, float]:
    hours = sum(replay.hours for replay in replays)
    page_hours = sum(replay.offline_page_hours for replay in replays)
    return {
        "reclaims_per_hour": sum(len(times) for replay in replays for times in replay.reclaims_s) / hours,
        "stalls_per_hour": sum(replay.stalls for replay in replays) / hours,
        "reclaimed_pages_per_hour": sum(replay.reclaimed for replay in replays) / hours,
        "offline_share": page_hours / (hours * ENGINE.kv_pages),
    }


def row(name: str, found: dict[str, Any]) -> str:
    ours, split, tuned = found["valve"], found["split"], found["split_best_chunk"]
    whole = found["valve_from_the_start"]["most_in_an_hour"]
    cells = (
        f"{found['replicas']}, {found['hours']:.1f}",
        f"{ours['offline_share']:.1%}",
        f"{ours['reclaims_per_hour']:.2f}",
        f"{split['reclaims_per_hour']:.2f}",
        f"{tuned['reclaims_per_hour']:.2f}",
        f"{found['split_at_warm_peak']['reclaims_per_hour']:.0f} "
        f"({found['split_at_warm_peak']['offline_share']:.1%})",
        f"{found['prealloc']['reclaims_per_hour']:,.0f} ({found['prealloc']['offline_share']:.1%})",
        f"{ours['stalls_per_hour']:.2f} ({found['valve_unannounced']['stalls_per_hour']:.2f})",
        f"{split['stalls_per_hour']:.2f}",
        str(whole),
    )
    return f"| {name} | {' | '.join(cells)} |"


def main(folder: Path, names: list[str]) -> None:
    for name in names or TRACES:
        file, keep = TRACES[name]
        found = compare(usages(folder / file, keep))
        print(row(name, found), flush=True)
        told = orjson.dumps(found, option=orjson.OPT_INDENT_2)
        Path(__file__).with_name(f"{name}.json").write_bytes(told)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
