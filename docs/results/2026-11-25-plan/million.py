"""Writes a trace of 14 days, 1 million requests and 40 deployments: python million.py million.csv."""

import random
import sys
from pathlib import Path

DAYS_S, REQUESTS, DEPLOYMENTS = 14 * 86_400, 1_000_000, 40
source = random.Random(1)
arrivals = sorted(
    (source.random() * DAYS_S, min(DEPLOYMENTS - 1, int(source.paretovariate(0.8) - 1)))
    for _ in range(REQUESTS)
)
with Path(sys.argv[1]).open("w") as file:
    file.write("deployment,arrival_s,input_tokens,output_tokens\n")
    for at_s, deployment in arrivals:
        inputs, outputs = int(source.lognormvariate(6.5, 1)) + 1, int(source.lognormvariate(5, 0.8)) + 1
        file.write(f"d{deployment},{at_s:.6f},{inputs},{outputs}\n")
