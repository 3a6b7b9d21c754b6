"""Progress: plain lines where there is no terminal."""

import io

from valve_loadgen.screen import Screen


def test_off_a_terminal_progress_is_plain_lines() -> None:
    stream = io.StringIO()
    with Screen(2, stream=stream) as screen:
        screen.stage("round 1 [of 2]")
        screen.advance()
    assert stream.getvalue().endswith("s] round 1 [of 2]\n")
    assert "\x1b" not in stream.getvalue()
