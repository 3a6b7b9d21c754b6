"""The drain policy: each transition, and its promises under any sequence of events."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from valve_sidecar.controller import TABLE, Action, DrainController, Event, State


def closed_controller() -> DrainController:
    controller = DrainController()
    assert controller.arrived("a").actions == (Action.CLOSE,)
    return controller


def test_an_arrival_closes_and_a_second_one_does_not_close_again() -> None:
    controller = closed_controller()
    assert controller.arrived("b").actions == ()
    assert controller.state is State.CLOSED


def test_the_last_end_starts_the_cooldown_and_its_timer_opens() -> None:
    controller = closed_controller()
    controller.arrived("b")
    assert controller.finished("a", sure=True).actions == ()
    step = controller.finished("b", sure=True)
    assert step.actions == (Action.START_COOLDOWN,)
    assert controller.timer_fired(step.epoch).actions == (Action.OPEN,)


def test_an_arrival_while_cooling_keeps_the_gate_closed_without_a_second_close() -> None:
    controller = closed_controller()
    step = controller.finished("a", sure=True)
    assert controller.arrived("b").actions == ()
    assert controller.timer_fired(step.epoch).actions == (), "the old cool-down must not open"
    assert controller.state is State.CLOSED


def test_a_doubtful_end_asks_until_the_engine_is_idle() -> None:
    controller = closed_controller()
    step = controller.finished("a", sure=False)
    assert step.actions == (Action.ASK,)
    step = controller.engine_answered(step.epoch, busy=True)
    assert step.actions == (Action.START_RETRY,)
    step = controller.timer_fired(step.epoch)
    assert step.actions == (Action.ASK,)
    assert controller.engine_answered(step.epoch, busy=False).actions == (Action.START_COOLDOWN,)


def test_doubt_about_one_request_outlives_the_sure_end_of_another() -> None:
    controller = closed_controller()
    controller.arrived("b")
    controller.finished("a", sure=False)
    assert controller.finished("b", sure=True).actions == (Action.ASK,)


def test_a_stall_that_is_the_engines_long_silence_keeps_holding() -> None:
    controller = closed_controller()
    step = controller.stalled()
    assert step.actions == (Action.ASK,)
    assert controller.engine_answered(step.epoch, busy=True).actions == ()
    assert controller.state is State.CLOSED
    assert controller.released == 0


def test_a_stalled_hold_is_released_counted_and_held_again_when_it_moves() -> None:
    controller = closed_controller()
    step = controller.engine_answered(controller.stalled().epoch, busy=False)
    assert step.actions == (Action.START_COOLDOWN,)
    assert controller.released == 1
    controller.timer_fired(step.epoch)
    assert controller.progressed("a").actions == (Action.CLOSE,)
    assert controller.progressed("a").actions == ()


def test_a_lapse_opens_and_what_was_in_flight_never_closes_again() -> None:
    controller = closed_controller()
    controller.lapsed()
    assert controller.state is State.OPEN
    assert controller.progressed("a").actions == ()
    assert controller.finished("a", sure=True).actions == ()


def test_every_state_but_open_has_a_way_out_for_a_lapse() -> None:
    assert {state for state, event in TABLE if event is Event.LAPSED} == set(State) - {State.OPEN}


class AnySequence(RuleBasedStateMachine):
    """Plays clients, engine, timers and faults against the controller; keeps its own book of the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.controller = DrainController()
        self.gate_open = True
        self.closes_during: dict[int, int] = {}  # flight -> closes since it was (again) held
        self.dormant: set[int] = set()
        self.timers: list[int] = []
        self.questions: list[int] = []
        self.next_flight = 0

    @initialize()
    def start(self) -> None:
        assert self.controller.state is State.OPEN

    def perform(self, step: object) -> None:
        for action in step.actions:  # type: ignore[attr-defined]
            match action:
                case Action.CLOSE:
                    assert self.gate_open, "closed twice"
                    self.gate_open = False
                    for flight in self.closes_during:
                        self.closes_during[flight] += 1
                case Action.OPEN:
                    assert not self.gate_open, "opened twice"
                    self.gate_open = True
                case Action.ASK:
                    self.questions.append(step.epoch)  # type: ignore[attr-defined]
                case Action.START_COOLDOWN | Action.START_RETRY:
                    self.timers.append(step.epoch)  # type: ignore[attr-defined]

    @rule()
    def arrive(self) -> None:
        flight, self.next_flight = self.next_flight, self.next_flight + 1
        self.closes_during[flight] = 0
        self.perform(self.controller.arrived(flight))

    @precondition(lambda self: self.closes_during)
    @rule(data=st.data(), sure=st.booleans())
    def finish(self, data: st.DataObject, sure: bool) -> None:
        flight = data.draw(st.sampled_from(sorted(self.closes_during)))
        del self.closes_during[flight]
        self.perform(self.controller.finished(flight, sure=sure))

    @precondition(lambda self: self.dormant)
    @rule(data=st.data(), ends=st.booleans())
    def dormant_moves_or_ends(self, data: st.DataObject, ends: bool) -> None:
        flight = data.draw(st.sampled_from(sorted(self.dormant)))
        self.dormant.remove(flight)
        if ends:
            self.perform(self.controller.finished(flight, sure=False))
        else:
            self.closes_during[flight] = 0
            self.perform(self.controller.progressed(flight))

    @precondition(lambda self: self.timers)
    @rule(data=st.data())
    def fire_any_timer_even_a_stale_one(self, data: st.DataObject) -> None:
        epoch = data.draw(st.sampled_from(self.timers))
        self.timers.remove(epoch)
        self.perform(self.controller.timer_fired(epoch))

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), busy=st.booleans())
    def engine_answers(self, data: st.DataObject, busy: bool) -> None:
        epoch = data.draw(st.sampled_from(self.questions))
        self.questions.remove(epoch)
        self.answer(epoch, busy)

    def answer(self, epoch: int, busy: bool) -> None:
        released = self.controller.released
        self.perform(self.controller.engine_answered(epoch, busy=busy))
        if self.controller.released > released:
            self.dormant |= self.closes_during.keys()
            self.closes_during.clear()

    @rule()
    def stall(self) -> None:
        self.perform(self.controller.stalled())

    @rule()
    def lease_lapses(self) -> None:
        self.gate_open = True  # the tenants opened it by themselves
        self.closes_during.clear()
        self.dormant.clear()
        self.perform(self.controller.lapsed())

    @invariant()
    def never_open_with_a_request_held(self) -> None:
        assert not (self.gate_open and self.closes_during)

    @invariant()
    def at_most_one_close_in_a_request_s_life(self) -> None:
        assert all(closes <= 1 for closes in self.closes_during.values())

    @invariant()
    def the_book_agrees_with_the_state(self) -> None:
        assert self.gate_open == (self.controller.state is State.OPEN)
        assert self.controller.held == self.closes_during.keys()
        assert self.controller.dormant == self.dormant

    def teardown(self) -> None:
        """It always opens again: once everything has ended, pending timers and answers lead to OPEN."""
        for flight in list(self.closes_during):
            self.perform(self.controller.finished(flight, sure=True))
        self.closes_during.clear()
        for _ in range(4):
            for epoch in self.questions[:]:
                self.questions.remove(epoch)
                self.answer(epoch, busy=False)
            for epoch in self.timers[:]:
                self.timers.remove(epoch)
                self.perform(self.controller.timer_fired(epoch))
        assert self.gate_open


TestAnySequence = AnySequence.TestCase
