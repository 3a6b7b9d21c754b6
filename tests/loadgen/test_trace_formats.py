"""Published formats: a few lines of each, as the publisher writes them."""

from pathlib import Path

import pytest

from valve_loadgen import traces
from valve_loadgen.traces import Arrival

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_SESSIONS = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens
1.5,7,2.1,GPT-4,10,20,30
"""
MOONCAKE = """{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}
{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 60]}
"""
BAILIAN = """{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 521, "output_length": 132, "type": "text", "turn": 1, "hash_ids": [1]}
{"chat_id": 160, "parent_chat_id": -1, "timestamp": 62.5, "input_length": 9, "output_length": 3, "type": "text", "turn": 1, "hash_ids": [2]}
{"chat_id": 161, "parent_chat_id": 159, "timestamp": 70.114, "input_length": 700, "output_length": 40, "type": "text", "turn": 2, "hash_ids": [1]}
{"chat_id": 162, "parent_chat_id": 161, "timestamp": 81.114, "input_length": 800, "output_length": 4, "type": "text", "turn": 3, "hash_ids": [1]}
"""  # noqa: E501
OWN_JSONL = """{"arrival_s": 0.5, "input_tokens": 3, "output_tokens": 4, "session": "a"}
{"arrival_s": 0.75, "input_tokens": 5, "output_tokens": 6}
"""
OWN_FLEET = """deployment,arrival_s,input_tokens,output_tokens
7,2.004,235,3
"""

CASES = {
    "azure.csv": (AZURE, [Arrival(0.0, 374, 44), Arrival(4.314579, 396, 109)]),
    "azure2024.csv": (AZURE_2024, [Arrival(0.0, 2162, 5), Arrival(0.007405, 2399, 6)]),
    "burstgpt.csv": (BURSTGPT, [Arrival(0.0, 472, 18, "ChatGPT"), Arrival(113.0, 417, 276, "GPT-4")]),
    "burstgpt_sessions.csv": (BURSTGPT_SESSIONS, [Arrival(0.0, 10, 20, "GPT-4", "7")]),
    "mooncake.jsonl": (MOONCAKE, [Arrival(0.0, 6955, 52), Arrival(3.053, 6472, 26)]),
    "own.jsonl": (OWN_JSONL, [Arrival(0.5, 3, 4, session="a"), Arrival(0.75, 5, 6)]),
    "fleet.csv": (OWN_FLEET, [Arrival(2.004, 235, 3, "7")]),
}


@pytest.mark.parametrize("name", CASES)
def test_published_formats_are_read(name: str, tmp_path: Path) -> None:
    text, expected = CASES[name]
    (tmp_path / name).write_text(text)
    found = traces.load(tmp_path / name)
    for arrival, wanted in zip(found, expected, strict=True):
        assert arrival.at_s == pytest.approx(wanted.at_s, abs=1e-6)
        assert (arrival.input_tokens, arrival.output_tokens) == (wanted.input_tokens, wanted.output_tokens)
        assert (arrival.deployment, arrival.session) == (wanted.deployment, wanted.session)


def test_the_turns_of_a_conversation_share_its_session(tmp_path: Path) -> None:
    (tmp_path / "bailian.jsonl").write_text(BAILIAN)
    found = traces.load(tmp_path / "bailian.jsonl")
    assert [arrival.session for arrival in found] == ["159", "160", "159", "159"]
    assert found[-1].at_s == pytest.approx(20.0)
