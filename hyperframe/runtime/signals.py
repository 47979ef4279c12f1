"""Signals that ask a program to stop: noted, so that a training can save first, and passed on afterwards."""

import signal
import threading
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any

from hyperframe.errors import Terminated

ASKING = (signal.SIGINT, signal.SIGTERM)
"""Signals of a person, or of a system that shuts down; a second one of these acts at once."""

NOTICES = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU") if hasattr(signal, name))
"""Signals of schedulers before they end a job, which may repeat, and of a terminal that is closed."""


class StopSignals:
    """Notes signals while it is entered; a second Ctrl-C or SIGTERM acts at once, as it would have without this.

    Noted are Ctrl-C, SIGTERM and, where they would end the program, those that schedulers send before they end a job:
    SIGUSR1, SIGUSR2, SIGHUP and SIGXCPU. Signals reach a program's main thread only; entered in another thread it does
    nothing. A signal that the program ignores, as SIGHUP under nohup, stays ignored.

    Attributes:
        received: the first signal that came, or None.

    Example:
        >>> with StopSignals() as signals:
        ...     signal.raise_signal(signal.SIGINT)
        ...     signals.received.name
        'SIGINT'
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            # None: a handler that was not installed from Python, and could not be put back.
            found = {number: signal.getsignal(number) for number in ASKING}
            self._take(number for number, handler in found.items() if handler not in (signal.SIG_IGN, None))
            self._take(number for number in NOTICES if _would_end(number))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore(tuple(self._before))

    def _take(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if number in ASKING:
            self._restore(ASKING)

    def _restore(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._before:
                signal.signal(number, self._before.pop(number))

    def pass_on(self) -> None:
        """Let the signal that was noted do what it does without this: Ctrl-C raises KeyboardInterrupt."""
        self._restore(tuple(self._before))
        if self.received is not None:
            signal.raise_signal(self.received)


def _would_end(number: signal.Signals) -> bool:
    """Whether a signal ends the program, as `end_on_signals` has it or as the system does."""
    return signal.getsignal(number) in (signal.SIG_DFL, _end)


def end_on_signals() -> None:
    """End on a signal that would end the program as on an error, so that all that is open is closed.

    A second one ends it at once. Ctrl-C does so already, and what is ignored stays ignored.
    """
    for number in (signal.SIGTERM, *NOTICES):
        if _would_end(number):
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Terminated(128 + number)
