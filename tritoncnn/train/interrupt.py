"""Ctrl-C, SIGTERM and SIGHUP, held back until the step in progress is done and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from typing_extensions import Self


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, and saved its state first. The message says how to go on."""


class Signals:
    """``with Signals(handler, "SIGTERM", ...)``: those signals call ``handler`` within, in the main thread; elsewhere Python
    takes no handlers. SIGHUP comes when a terminal is closed; where it, or SIGTERM, is ignored already (``nohup``), it stays so.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None], *names: str) -> None:
        self._handler = handler
        self._numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handler)
        return self

    def restore(self) -> None:
        """Give the signals back to whom they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


class HeldSignals(Signals):
    """``with HeldSignals() as held``: the first of the signals only sets ``held.asked``; a second one acts at once."""

    def __init__(self) -> None:
        super().__init__(self._ask, "SIGINT", "SIGTERM", "SIGHUP")
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.restore()


def end_as_by_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Of SIGTERM and SIGHUP in a process that started others, which must not go on without it."""
    raise KeyboardInterrupt
