"""Signals that ask a training to stop: noted, so that it can save first, and passed on afterwards."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Notes Ctrl-C and SIGTERM while it is entered; a second one acts at once, as it would have without this.

    Signals reach a program's main thread only; entered in another thread it does nothing. A signal that the program
    ignores, as under nohup, stays ignored.

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
            for number in STOPPING:
                # None: a handler that was not installed from Python, and could not be put back.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def pass_on(self) -> None:
        """Let the signal that was noted do what it does without this: Ctrl-C raises KeyboardInterrupt."""
        self._restore()
        if self.received is not None:
            signal.raise_signal(self.received)
