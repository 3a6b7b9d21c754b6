"""Files of every kind become traffic; what cannot be read is named."""

import gzip
import json
from pathlib import Path

import pytest

from valve_loadgen.errors import BenchError
from valve_loadgen.plan import inputs
from valve_loadgen.plan.inputs import Cut, Traffic

OWN = "arrival_s,input_tokens,output_tokens\n0,10,5\n1.5,20,0\n9,30,7\n"
NAMED = "deployment,arrival_s,input_tokens,output_tokens\nchat,0,1,2\ncode,1,3,4\nchat,2,5,6\n"


def read(*names: Path, cut: Cut | None = None) -> Traffic:
    return inputs.read([str(name) for name in names], cut or Cut(), 8)


def test_a_trace_is_one_deployment_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "chat.csv"
    path.write_text(OWN)
    requests = read(path).requests
    assert requests is not None
    assert list(requests.deployments) == ["chat.csv"]
    assert (list(requests.at_s), requests.span_s) == ([0.0, 1.5, 9.0], 9.0)
    assert list(requests.outputs) == [5, 1, 7]


def test_a_column_of_deployments_is_heeded_and_gzip_read(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv.gz"
    path.write_bytes(gzip.compress(NAMED.encode()))
    requests = read(path).requests
    assert requests is not None
    assert (list(requests.deployments), list(requests.group)) == (["chat", "code"], [0, 1, 0])


def test_several_traces_are_several_deployments(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(OWN)
    (tmp_path / "two.csv").write_text(NAMED)
    requests = read(tmp_path / "one.csv", tmp_path / "two.csv").requests
    assert requests is not None
    assert list(requests.deployments) == ["one.csv", "chat", "code"]
    assert len(requests) == 6


def test_the_packaged_slices_have_names() -> None:
    requests = inputs.read(["conv"], Cut(hours=0.05), 8).requests
    assert requests is not None
    assert requests.span_s == 180.0
    assert len(requests) > 500


def test_a_cut_takes_a_share_and_the_first_hours(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(f"{at},1,1\n" for at in range(7200)))
    requests = read(path, cut=Cut(keep=0.5, hours=1.0)).requests
    assert requests is not None
    assert requests.span_s == 3600.0
    assert 1600 < len(requests) < 2000


def test_a_table_of_clients_needs_its_tokens(tmp_path: Path) -> None:
    table = tmp_path / "x_clients.csv"
    table.write_text("client,t_s,rate_rps,iat_cv,dist,shape,scale\na,0,1,1,G,1,1\n")
    with pytest.raises(BenchError, match=r"x_clients\.csv: .* table of tokens beside it"):
        read(table)
    tokens = {"quantiles": [50], "clients": {"a": {"input_tokens": {"q": [9]}, "output_tokens": {"q": [3]}}}}
    (tmp_path / "x_tokens.json").write_text(json.dumps(tokens))
    traffic = read(table)
    assert traffic.requests is not None
    assert set(traffic.requests.inputs) == {9}
    assert traffic.notes


def test_monitoring_and_logs_are_told_apart(tmp_path: Path) -> None:
    export = tmp_path / "range.json"
    series = {"metric": {"instance": "a"}, "values": [[0, "0"], [15, "1"]]}
    export.write_text(
        json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}, indent=1)
    )
    log = tmp_path / "access.log"
    log.write_text('{"ts": 5, "duration": 2, "upstream": "a"}\n')
    monitored, logged = read(export), read(log)
    assert monitored.requests is None
    assert monitored.observed is not None
    assert "15 s apart" in monitored.notes[0]
    assert logged.requests is not None
    assert logged.observed is not None
    assert logged.engine is not None
    with pytest.raises(BenchError, match="one by one"):
        read(export, log)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot read .*nowhere\.csv"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "torn.csv.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(BenchError, match=r"cannot read .*torn\.csv\.gz"):
        read(tmp_path / "torn.csv.gz")
    (tmp_path / "bad.csv").write_text(OWN + "10,x,1\n")
    with pytest.raises(BenchError, match=r"bad\.csv:5"):
        read(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("arrival_s,input_tokens,output_tokens\n")
    with pytest.raises(BenchError, match="no request"):
        read(tmp_path / "empty.csv")
    (tmp_path / "pretty.json").write_text('{\n "a": 1\n}\n')
    with pytest.raises(BenchError, match=r"pretty\.json: the first line must have the columns"):
        read(tmp_path / "pretty.json")
    (tmp_path / "report.json").write_text('{"arms": {"online_alone": {}}}')
    with pytest.raises(BenchError, match="give it to --calibrate or --check"):
        read(tmp_path / "report.json")
    (tmp_path / "instant.csv").write_text("arrival_s,input_tokens,output_tokens\n0,1,1\n")
    with pytest.raises(BenchError, match="arrive at time 0"):
        read(tmp_path / "instant.csv")
