"""The drain policy: when the gate is closed and when it opens again, as one table with no I/O.

Closed while an online request is in flight, then cooling down, then open (paper, section 4.1). The rules:

1. A request is *held* from its arrival until it finishes. With a request held the gate is never open.
2. Only OPEN -> CLOSED closes the gate, and only an arrival does that; leaving CLOSED needs that nothing is
   held.
   So a request sees at most one close during its life: its own, or none.
3. An end that leaves doubt whether the engine has stopped (client gone, answer lost) asks the engine first.
4. A hold without progress is bounded: the engine is asked, and if it is not busy the hold is released and
   counted.
   A released request that makes progress again is held again, as if it had just arrived.
5. When the lease has lapsed the gate has been opened behind our back: what was held is released for good.
6. Timers and answers carry the epoch of the state that asked for them; stale ones change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class State(Enum):
    OPEN = "open"
    CLOSED = "closed"
    ASKING = "asking"  # closed; waiting for the engine's word that it is idle
    COOLING = "cooling"  # closed; drained, waiting out the cool-down


class Event(Enum):
    ARRIVED = auto()
    DRAINED = auto()  # the last held request ended, and the engine with it
    DOUBTFUL = auto()  # the last held request ended, the engine may run on
    STALLED = auto()  # no held request has made progress for long
    IDLE = auto()  # the engine's answer (or none to be had)
    BUSY = auto()
    TIMER = auto()
    LAPSED = auto()


class Action(Enum):
    CLOSE = auto()
    OPEN = auto()
    ASK = auto()  # read the engine's load; answer with `engine_answered`
    START_COOLDOWN = auto()  # call `timer_fired` after the cool-down
    START_RETRY = auto()  # call `timer_fired` after the polling interval


S, E, A = State, Event, Action

# (state, event) -> (next state, actions). A pair that is absent changes nothing.
TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (S.OPEN, E.ARRIVED): (S.CLOSED, (A.CLOSE,)),
    (S.CLOSED, E.DRAINED): (S.COOLING, (A.START_COOLDOWN,)),
    (S.CLOSED, E.DOUBTFUL): (S.ASKING, (A.ASK,)),
    (S.CLOSED, E.STALLED): (S.ASKING, (A.ASK,)),
    (S.ASKING, E.ARRIVED): (S.CLOSED, ()),
    (S.ASKING, E.IDLE): (S.COOLING, (A.START_COOLDOWN,)),
    (S.ASKING, E.BUSY): (S.ASKING, (A.START_RETRY,)),
    (S.ASKING, E.TIMER): (S.ASKING, (A.ASK,)),
    (S.COOLING, E.ARRIVED): (S.CLOSED, ()),
    (S.COOLING, E.TIMER): (S.OPEN, (A.OPEN,)),
    (S.CLOSED, E.LAPSED): (S.OPEN, ()),
    (S.ASKING, E.LAPSED): (S.OPEN, ()),
    (S.COOLING, E.LAPSED): (S.OPEN, ()),
}


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now, in order; `epoch` goes back with the timer or the answer that an action asks for."""

    actions: tuple[Action, ...]
    epoch: int


class DrainController:
    """Counts holds, derives events from them and walks the table. Keys are any hashable per request."""

    def __init__(self) -> None:
        self.state = State.OPEN
        self.epoch = 0
        self.held: set[object] = set()
        self.dormant: set[object] = set()  # released for want of progress, not ended
        self.released = 0  # times that happened
        self._doubt = False  # a hold ended while the engine may run on

    def arrived(self, key: object) -> Step:
        """A request's head is complete."""
        self.held.add(key)
        return self._apply(Event.ARRIVED)

    def progressed(self, key: object) -> Step:
        """A dormant request moves again."""
        if key not in self.dormant:
            return self._nothing()
        self.dormant.remove(key)
        return self.arrived(key)

    def finished(self, key: object, *, sure: bool) -> Step:
        """A request ended; `sure`: its answer is complete, so the engine has finished it too."""
        self.dormant.discard(key)
        if key not in self.held:
            return self._nothing()
        self.held.remove(key)
        self._doubt = self._doubt or not sure
        if self.held:
            return self._nothing()
        return self._apply(Event.DOUBTFUL if self._doubt else Event.DRAINED)

    def stalled(self) -> Step:
        """None of the held requests has made progress for the holding limit."""
        return self._apply(Event.STALLED)

    def engine_answered(self, epoch: int, *, busy: bool) -> Step:
        """The engine's load; pass busy=False if it cannot tell."""
        if epoch != self.epoch:
            return self._nothing()
        if busy and self.held:  # the stall was the engine's long silence: keep holding
            self._enter(State.CLOSED)
            return self._nothing()
        if not busy:
            self._release()
        return self._apply(Event.BUSY if busy else Event.IDLE)

    def timer_fired(self, epoch: int) -> Step:
        return self._apply(Event.TIMER) if epoch == self.epoch else self._nothing()

    def lapsed(self) -> Step:
        """The lease ran out: every tenant has opened its gate already."""
        self.held.clear()
        self.dormant.clear()
        self._doubt = False
        return self._apply(Event.LAPSED)

    def _release(self) -> None:
        self.released += len(self.held)
        self.dormant |= self.held
        self.held.clear()
        self._doubt = False

    def _apply(self, event: Event) -> Step:
        transition = TABLE.get((self.state, event))
        if transition is None:
            return self._nothing()
        self._enter(transition[0])
        return Step(transition[1], self.epoch)

    def _enter(self, state: State) -> None:
        self.state = state
        self.epoch += 1
        if state in (State.COOLING, State.OPEN):
            self._doubt = False

    def _nothing(self) -> Step:
        return Step((), self.epoch)
