"""Running and stopped over time, as a line of signs."""

from valve_sidecar.strip import Strip


def drawn(*changes: tuple[int, bool], stopped_now: bool = False, known_ns: int = 0) -> str:
    strip = Strip()
    for t_ns, stopped in changes:
        strip.change(t_ns, stopped=stopped)
    return strip.render(0, 100, 10, known_ns=known_ns, stopped_now=stopped_now)


def test_without_a_change_it_was_as_it_is_now() -> None:
    assert drawn() == "██████████"
    assert drawn(stopped_now=True) == "··········"


def test_changes() -> None:
    assert drawn((20, True), (40, False)) == "██▄·▄█████"
    assert drawn((20, True), stopped_now=True) == "██▄·······"


def test_what_was_before_the_first_change_is_its_opposite() -> None:
    assert drawn((55, False)) == "·····▄████"


def test_a_short_stop_inside_one_sign_is_not_lost() -> None:
    assert drawn((52, True), (53, False)) == "█████▄████"


def test_before_it_was_watched_nothing_is_known() -> None:
    assert drawn(known_ns=30) == "   ███████"
