"""Waits for the end of a tenant's tree, and meanwhile passes on the signals that `valve run` gets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from . import native, tree
from .notice import say
from .spawn import Family

SI_KERNEL = 0x80  # si_code: the terminal's own, so its whole foreground process group has it already
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
SUSPENDING = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
WATCHED = ENDING | SUSPENDING | {signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD}
TICK_S = 0.05  # while something has to be done again
LOOK_S = 0.5  # how often the seat is looked after
REFRESH_S = 2.0


class Tenant(Protocol):
    """What the watch has to know of and do to the tenant."""

    def stop_period(self) -> int:
        """A number of its own for each period in which the gate stops the tree; 0 while it runs."""

    def kill(self) -> None:
        """SIGKILL to everything in the tree."""

    def look_after_seat(self) -> None:
        """Now and then."""


class Watch:
    """One tenant's wait. All WATCHED signals must be blocked. `remember` gets the tree's processes now and
    then, or is None where nobody needs them.
    """

    def __init__(
        self,
        family: Family,
        tenant: Tenant,
        signals: frozenset[signal.Signals],
        remember: Callable[[tuple[tree.Process, ...]], None] | None,
    ) -> None:
        self._family, self._tenant, self._signals, self._remember = family, tenant, signals, remember
        self._main_pidfd = os.pidfd_open(family.main_pid)
        self._main_status: int | None = None
        self._guardian_status: int | None = None
        self._asked_in = 0  # the stop period in which it was last asked to end
        self._terminated = self._killing = self._owes_continue = False
        self._refreshed_s = time.monotonic()

    def wait(self) -> int:
        """Until no process of the tree is left. The command's exit code, 128 + n after signal n."""
        while not self._is_over():
            info = signal.sigtimedwait(self._signals, self._timeout_s())
            # Python 3.11 returns an unset record when we were stopped for longer than the wait.
            if info is None or info.si_signo not in self._signals:
                self._tick()
            elif info.si_signo != signal.SIGCHLD:
                self._answer(signal.Signals(info.si_signo), from_terminal=info.si_code == SI_KERNEL)
        code = os.waitstatus_to_exitcode(self._main_wait_status())
        return code if code >= 0 else 128 - code

    # ---- ends ----

    def _is_over(self) -> bool:
        """The guardian ends after the tree. If it was killed, the tree is ours to wait for."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return self._guardian_status == 0
            self._take_in(pid, status)

    def _take_in(self, pid: int, status: int) -> None:
        if pid == self._family.main_pid:
            self._main_status = status
        elif pid == self._family.guardian_pid:
            self._guardian_status = status
            if status != 0:
                say(
                    "the guardian was killed; if this process is killed too, the next valve command cleans up"
                )

    def _main_wait_status(self) -> int:
        """Ours, if the guardian did not live to take it; else what the guardian took."""
        if self._main_status is None:
            self._main_status = self._family.main_status()
        return self._main_status if self._main_status is not None else signal.SIGKILL

    # ---- signals ----

    def _answer(self, number: signal.Signals, *, from_terminal: bool) -> None:
        if number in SUSPENDING:
            self._suspend()
        elif number in ENDING and self._insists(number):
            self._killing = True
            self._tenant.kill()
        else:
            self._pass_on(number, from_terminal)

    def _insists(self, number: signal.Signals) -> bool:
        """A tree that runs answers by itself, and ^C or SIGHUP may mean another thing to it each time: only a
        second SIGTERM insists. One that is stopped cannot: there, any second signal of one stop does.
        """
        period = self._tenant.stop_period()
        again = period > 0 and period == self._asked_in
        self._asked_in = period
        if number is signal.SIGTERM:
            again, self._terminated = again or self._terminated, True
        if period and not again:
            say(f"stopped by the gate: {number.name} may have to wait for it; send it again to kill now")
        return again

    def _pass_on(self, number: signal.Signals, from_terminal: bool) -> None:
        """To the command; once that has ended, to everything it left behind."""
        if from_terminal and number is signal.SIGHUP and os.getsid(0) == os.getpid():
            self._hang_up()
            return
        try:
            if not (from_terminal and os.getpgid(self._family.main_pid) == os.getpgrp()):
                signal.pidfd_send_signal(self._main_pidfd, number)
        except ProcessLookupError:
            tree.signal_processes(self._processes(), number)

    def _hang_up(self) -> None:
        """A terminal tells its end to the session's leader only; what is in the foreground hears of it when
        the leader ends. In our place the command would have ended now.
        """
        foreground = tree.in_process_group(self._processes(), os.getpgrp())
        tree.signal_processes(foreground, signal.SIGHUP)

    def _suspend(self) -> None:
        """^Z and a background job's reading stop us, so they stop the whole tree: nobody would gate it
        meanwhile. A session's leader has no shell to continue it.
        """
        if os.getsid(0) == os.getpid():
            return
        self._signal_tree(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._owes_continue = True

    # ---- now and then ----

    def _timeout_s(self) -> float:
        return TICK_S if self._killing or self._owes_continue else LOOK_S

    def _tick(self) -> None:
        if self._killing:
            self._tenant.kill()
        if self._owes_continue and not self._tenant.stop_period():
            self._owes_continue = False
            self._signal_tree(signal.SIGCONT)
        self._tenant.look_after_seat()
        if self._remember and time.monotonic() - self._refreshed_s >= REFRESH_S:
            self._refreshed_s = time.monotonic()
            self._remember(tree.identify(self._processes()))

    def _processes(self) -> set[int]:
        return tree.descendants([os.getpid()]) - {self._family.guardian_pid}

    def _signal_tree(self, number: signal.Signals) -> None:
        """Also what is born meanwhile; once over the tree where that cannot be had (no descriptor left)."""
        if native.library().tree_signal(os.getpid(), self._family.guardian_pid, number) < 0:
            tree.signal_processes(self._processes(), number)
