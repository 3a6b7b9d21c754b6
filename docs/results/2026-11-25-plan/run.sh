#!/bin/bash
# Plans for every trace: run.sh FOLDER_WITH_TRACES, from the root of a checkout after `make setup`. Writes JSON beside itself.
traces=$1
here=$(dirname "$0")
plan() { .venv/bin/valve plan "${@:2}" --json >"$here/$1.json" && echo "$1"; }

for load in 0.01 0.05 0.1 0.2; do
  plan "conv-$load" "$traces/azure2023_conv.csv.gz" --replicas 1 --load $load
  plan "mooncake-$load" "$traces/mooncake_conversation.csv.gz" --replicas 1 --load $load
  plan "code-$load" "$traces/azure2023_code.csv.gz" --replicas 1 --load $load
done
plan code-0.4 "$traces/azure2023_code.csv.gz" --replicas 1 --load 0.4
plan mooncake-synthetic "$traces/mooncake_synthetic.csv.gz" --replicas 4
plan conv-pool "$traces/azure2023_conv.csv.gz" --replicas 4
plan fleet12 "$traces/servegen_generated_fleet12_24h.csv.gz" --replicas 12
plan r1 "$traces/servegen_r1_clients.csv.gz" --replicas 100
plan mmimage "$traces/servegen_mmimage_clients.csv.gz" --replicas 100
plan mlarge "$traces/servegen_mlarge_clients.csv.gz" --replicas 100 --hours 2
plan mmid "$traces/servegen_mmid_clients.csv.gz" --replicas 600 --hours 0.3
plan msmall "$traces/servegen_msmall_clients.csv.gz" --replicas 400 --hours 0.3
plan mlarge-14-days "$traces/servegen_mlarge_clients.csv.gz" --replicas 100 --keep 0.004
