"""Reading a client's traceparent, in C against Python."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from valve_sidecar.trace import parse_traceparent

from .probe import read_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"
VERSIONS = st.sampled_from(["00", "00", "00", "01", "cc", "ff", "0g", "0", "000"])
TRACES = st.one_of(
    st.sampled_from([TRACE, "0" * 32, TRACE.upper(), TRACE[1:]]), st.from_regex("[0-9a-f]{32}")
)
PARENTS = st.one_of(st.sampled_from([PARENT, "0" * 16, PARENT + "0"]), st.from_regex("[0-9a-f]{16}"))
FLAGS = st.sampled_from(["00", "01", "ff", "0", "0x"])
ENDS = st.sampled_from(["", "", "", "-", "-more", "-more-yet", "more", "01"])


@settings(deadline=None, max_examples=500)
@given(st.builds("{}-{}-{}-{}{}".format, VERSIONS, TRACES, PARENTS, FLAGS, ENDS))
@example(GOOD)
def test_it_is_what_the_reference_reads(header: str) -> None:
    assert read_traceparent(header.encode()) == parse_traceparent(header)


@settings(deadline=None)
@given(st.integers(0, len(GOOD)), st.characters(codec="ascii", exclude_categories=["Cc"]))
def test_one_character_is_another(place: int, character: str) -> None:
    header = (GOOD[:place] + character + GOOD[place + 1 :]).strip()
    assert read_traceparent(header.encode()) == parse_traceparent(header)


@given(st.integers(0, len(GOOD)))
def test_it_is_cut(size: int) -> None:
    assert read_traceparent(GOOD[:size].encode()) == parse_traceparent(GOOD[:size])
