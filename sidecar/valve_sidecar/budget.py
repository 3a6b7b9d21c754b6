"""The budget policy: while online requests only decode, the gate opens in slices that their SLO pays for.

It rides on the drain policy (controller.py), which says whether anything is in flight. Pure; the rules:

1. A request earns its TPOT SLO with every token after the first, and spends the time that passes. Its balance
   at its end is not negative iff its TPOT is within the SLO.
2. A slice is paid in advance: it opens only if every stream in flight could afford that the engine stood
   still until the slice's end and the tenants' stop, and would keep the reserve.
3. No slice while anything waits for its first token, the engine says that requests wait, or more are in
   flight than the window holds. What comes up in a slice ends it at once.
4. Slices end where periods of CLOCK_MONOTONIC end. A period is a power of two of nanoseconds, so those of
   several sidecars end together and overlap. One slice a period, and only after every stream has had a token
   in it: so no slice makes a gap longer than a period. It opens late in an iteration, by the engine's pace
   since the latest token: who arrives while the engine stands still has to wait for the rest of it.
5. The reserve is a quantile tracker on misses (the integral action of conformal control: Gibbs and Candes
   2021, Angelopoulos et al. 2023): a miss doubles it, requests within their SLO let it shrink, so that in
   the long run MISSES of the requests miss whatever their distribution. Its bounds, and that only requests
   from which a slice was taken teach it, keep it from winding up. The lower one is what a prompt was seen to
   take from the streams beside it, nine times in ten: one may come at any time.
6. The window is TCP's congestion window (AIMD) on the TTFT SLO: requests that decode slower are more at once,
   and a next one may have to wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NEVER_NS = 2**64 - 1
MISSES = 0.005  # half of what is promised
MISS_UP = 2.0
MET_DOWN = 0.9965229074746375  # MISS_UP ** (-MISSES / (1 - MISSES)): they balance at that share of misses
RESERVE_SLOS = 2  # of the SLO, at first and in bounds
RESERVE_SLOS_MAX = 32
STALL_UP, STALL_DOWN = 1.09, 0.9905  # the 90th percentile: nine steps up weigh one down
CALM_TOKENS = 4  # a sample of the baseline: tokens in a row without a slice or a prompt between them
BASE_STEP = 1.02  # the baseline is the median of samples: as many steps up as down
BASE_SAMPLES = 16  # before it is believed
PERIOD_SLOS = 2  # a period is at least so many times the SLO
PERIOD_MAX_NS = 1 << 32
LATE = 0.75  # of the engine's pace since the latest token: so far is an iteration when a slice opens
GRID = 16  # looks a period whether a slice can be paid for
USEFUL = 4  # a slice is at least so many times what its stop and resume take
WINDOW_MAX = 1e6


@dataclass(frozen=True, slots=True)
class Goal:
    """What is promised; `valve serve` checks it."""

    slo_ns: int = 0  # TPOT; 0: `over` the baseline
    over: float = 0.0  # 0.2: 20 % above the engine's undisturbed pace
    ttft_ns: int = 0  # 0: none
    period_min_ns: int = 0  # one over the most slices a second


@dataclass(slots=True)
class Account:
    """What the budget knows of one request in flight. Times are CLOCK_MONOTONIC ns."""

    since_ns: int = 0  # first token, later by what its client held the stream back; 0: none yet
    last_ns: int = 0  # latest token
    tokens: int = 0
    held_back: bool = False  # its client takes nothing: its time does not count
    sliced: bool = False  # a slice was open in its life
    calm_ns: int = 0  # since when no slice or prompt was between its tokens, and how many came since
    calm_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the gate is open now, and when to ask again at the latest (events come in between)."""

    open: bool
    wake_ns: int


def period_ns(slo_ns: int, least_ns: int) -> int:
    """The power of two of nanoseconds that holds PERIOD_SLOS and is no shorter than `least_ns`."""
    wanted_ns = min(max(PERIOD_SLOS * slo_ns, least_ns, GRID), PERIOD_MAX_NS)
    return 1 << (wanted_ns - 1).bit_length()


class Budget:
    """The state between decisions. `slices`: opened; `cut`: of those, ended before their time."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.slices = self.cut = 0
        self.ended = self.missed = 0  # requests that a slice was taken from
        self.slo_ns = self.period_ns = 0
        self.reserve_ns = 0.0
        self.base_ns = 0.0
        self.stall_ns = 0.0
        self.window = WINDOW_MAX
        self.slice_end_ns = 0  # 0: closed
        self._base_samples = 0
        self._last_end_ns = 0  # of the last period that had a slice
        self._ready_ns = 0  # since when the next one can be paid for; 0: it cannot
        self.stop_ns = self.resume_ns = 0
        self._capacity = 0
        self._pressed = False
        if goal.slo_ns:
            self._set_slo(goal.slo_ns)

    # ---- decisions ----

    def decide(self, accounts: Sequence[Account], now_ns: int) -> Verdict:
        """`accounts`: of everything in flight."""
        barred = self._barred(accounts)
        if self.slice_end_ns > now_ns and not barred:
            return Verdict(True, self.slice_end_ns)
        ended = self.slice_end_ns > 0
        self._close(now_ns)
        if barred or ended or not self._affordable(accounts, now_ns):
            self._ready_ns = 0
            return Verdict(False, NEVER_NS if barred else (now_ns | (self.period_ns // GRID - 1)) + 1)
        late_ns = self._late_ns(accounts, now_ns)
        return self._open(accounts, now_ns) if late_ns <= now_ns else Verdict(False, late_ns)

    def close(self, now_ns: int) -> None:
        """Something arrived, or nothing is in flight any more."""
        self._close(now_ns)

    def paid_until_ns(self, account: Account) -> int:
        """How long the engine could stand still for this request."""
        if account.held_back:
            return NEVER_NS
        earned_ns = self.slo_ns * max(account.tokens - 1, 0)
        paid_ns = account.since_ns + earned_ns - int(self.reserve_ns) - self.stop_ns
        return max(min(paid_ns, account.last_ns + self.period_ns), 0)

    # ---- what it learns ----

    def decoded(self, account: Account, now_ns: int, tokens: int, *, calm: bool) -> None:
        """A stream's next `tokens`; `calm`: neither a slice nor a prompt came between. A single gap says
        little: what a slice held up comes at once after it.
        """
        account.calm_tokens = account.calm_tokens + tokens if calm and account.calm_ns else 0
        if account.calm_tokens >= CALM_TOKENS:
            self._sample((now_ns - account.calm_ns) / account.calm_tokens)
        if not account.calm_tokens or account.calm_tokens >= CALM_TOKENS:
            account.calm_ns, account.calm_tokens = now_ns, 0

    def _sample(self, sample_ns: float) -> None:
        self._base_samples += 1
        if self._base_samples == 1:
            self.base_ns = sample_ns
        elif sample_ns > self.base_ns:
            self.base_ns *= BASE_STEP
        else:
            self.base_ns /= BASE_STEP
        if self.goal.over and self._base_samples >= BASE_SAMPLES:
            self._set_slo(int(self.base_ns * (1.0 + self.goal.over)))

    def finished(self, account: Account, tokens: int) -> None:
        """A request ended with `tokens`, by the engine's figure where there is one."""
        if not account.sliced or tokens < 2 or not self.slo_ns:
            return
        self.ended += 1
        if account.last_ns - account.since_ns > self.slo_ns * (tokens - 1):
            self.missed += 1
            self.reserve_ns *= MISS_UP
        else:
            self.reserve_ns *= MET_DOWN
        self._bound_reserve()

    def first_token(self, ttft_ns: int, others: int) -> None:
        """Of a request that found so many others in flight."""
        if not others:
            return
        step = STALL_UP if ttft_ns > self.stall_ns else STALL_DOWN
        self.stall_ns = self.stall_ns * step if self.stall_ns else float(ttft_ns)
        self._bound_reserve()
        if self.goal.ttft_ns:
            self._move_window(ttft_ns, others)

    def _move_window(self, ttft_ns: int, others: int) -> None:
        if ttft_ns > self.goal.ttft_ns:
            self.window = max(min(self.window, others + 1.0) / 2, 1.0)
        elif others + 1 >= self.window:
            self.window = min(self.window + 1.0 / self.window, WINDOW_MAX)

    def costs(self, stop_ns: int, resume_ns: int) -> None:
        """What the tenants' mechanism takes, as their acknowledgements tell."""
        self.stop_ns, self.resume_ns = stop_ns, resume_ns

    def load(self, waiting: bool, capacity: int) -> None:
        """The engine's word: whether requests wait, and how many it runs together (0: unknown)."""
        self._pressed, self._capacity = waiting, capacity

    # ----

    def _barred(self, accounts: Sequence[Account]) -> bool:
        count = len(accounts)
        full = count > self.window or (self._capacity > 0 and count >= self._capacity)
        waits = any(not account.since_ns for account in accounts)
        return not self.slo_ns or not count or self._pressed or full or waits

    def _affordable(self, accounts: Iterable[Account], now_ns: int) -> bool:
        end_ns = self._period_end_ns(now_ns)
        if end_ns == self._last_end_ns or end_ns - now_ns < USEFUL * (self.stop_ns + self.resume_ns):
            return False
        return min(map(self.paid_until_ns, accounts)) >= end_ns

    def _late_ns(self, accounts: Iterable[Account], now_ns: int) -> int:
        """When the present iteration is nearly over. Tokens that come in no step only cost an iteration."""
        self._ready_ns = self._ready_ns or now_ns
        if self._base_samples < BASE_SAMPLES:
            return now_ns
        last_ns = max(account.last_ns for account in accounts)
        return min(last_ns + int(LATE * self.base_ns), self._ready_ns + int(self.base_ns))

    def _open(self, accounts: Iterable[Account], now_ns: int) -> Verdict:
        self.slice_end_ns = self._last_end_ns = self._period_end_ns(now_ns)
        self.slices += 1
        for account in accounts:
            account.sliced = True
        return Verdict(True, self.slice_end_ns)

    def _close(self, now_ns: int) -> None:
        self.cut += self.slice_end_ns > now_ns
        self.slice_end_ns = 0

    def _period_end_ns(self, now_ns: int) -> int:
        return (now_ns | (self.period_ns - 1)) + 1

    def _set_slo(self, slo_ns: int) -> None:
        self.slo_ns = slo_ns
        self.period_ns = period_ns(slo_ns, self.goal.period_min_ns)
        self.reserve_ns = self.reserve_ns or float(RESERVE_SLOS * slo_ns)
        self._bound_reserve()

    def _bound_reserve(self) -> None:
        low_ns, high_ns = max(float(self.slo_ns), self.stall_ns), float(RESERVE_SLOS_MAX * self.slo_ns)
        self.reserve_ns = min(max(self.reserve_ns, low_ns), high_ns)
