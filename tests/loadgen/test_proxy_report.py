"""How the figures are shown."""

from xml.etree import ElementTree

from valve_loadgen.proxy_report import plot, render

PEER = {"rps": 60_000.0, "cpu_us_per_request": 12.345, "added_us": {"p50": 99.9, "p99": -3.0}}
RESULT = {
    "peers": {"valve": {**PEER, "send_to_gate_us": {"p50": 7.0}}, "a<b": PEER},
    "rounds": 5,
    "placement": "x",
}


def test_the_table_has_a_column_for_each_peer_and_a_dash_for_what_was_not_measured() -> None:
    lines = render(RESULT).splitlines()
    assert lines[0].split() == ["valve", "a<b"]
    assert lines[1].split()[-2:] == ["60,000", "60,000"]
    (gate,) = [line for line in lines if line.startswith("client send to gate, p50")]
    assert gate.split()[-2:] == ["7.00", "-"]


def test_the_plot_is_well_formed_and_has_a_bar_for_each_figure() -> None:
    drawing = ElementTree.fromstring(plot(RESULT))
    bars = [
        element for element in drawing.iter() if element.tag.endswith("rect") and "fill" in element.attrib
    ]
    assert len(bars) == 1 + 4 * 2 + 1, "the background, four figures of two peers, one of ours alone"
