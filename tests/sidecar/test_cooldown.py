"""The cool-down follows the stream's own gaps, within bounds."""

from valve_sidecar.cooldown import CEILING_NS, FLOOR_NS, WINDOW, Cooldown, Prefills


def test_twice_the_largest_recent_gap() -> None:
    cooldown = Cooldown()
    for gap_ns in (30_000_000, 45_000_000, 10_000_000):
        cooldown.observe(gap_ns)
    assert cooldown.duration_ns == 90_000_000


def test_bounds() -> None:
    cooldown = Cooldown()
    assert cooldown.duration_ns == FLOOR_NS
    cooldown.observe(5_000_000_000)
    assert cooldown.duration_ns == CEILING_NS


def test_old_gaps_are_forgotten_and_requests_without_a_gap_do_not_count() -> None:
    cooldown = Cooldown()
    cooldown.observe(80_000_000)
    for _ in range(3 * WINDOW):
        cooldown.observe(0)
    assert cooldown.duration_ns == 160_000_000
    for _ in range(WINDOW):
        cooldown.observe(26_000_000)
    assert cooldown.duration_ns == 52_000_000


def test_a_fixed_duration_wins_even_if_it_is_zero() -> None:
    cooldown = Cooldown(fixed_ns=0)
    cooldown.observe(90_000_000)
    assert cooldown.duration_ns == 0


def test_a_gap_counts_only_if_no_prompt_was_processed_in_it() -> None:
    prefills = Prefills()
    prefills.began()
    prefills.ended(now_ns=100)
    assert prefills.decode_gap_ns(last_token_ns=100, now_ns=120) == 20
    prefills.began()
    assert prefills.decode_gap_ns(last_token_ns=120, now_ns=500) == 0, "another request's prompt is running"
    prefills.ended(now_ns=510)
    assert prefills.decode_gap_ns(last_token_ns=505, now_ns=530) == 0, "it ran until within the gap"
    assert prefills.decode_gap_ns(last_token_ns=530, now_ns=545) == 15
