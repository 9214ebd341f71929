"""Ctrl-C, SIGTERM and SIGHUP, held back: until a step of training is done and saved, until a capture is over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from typing_extensions import Self


class Signals:
    """``with Signals(handler, "SIGTERM", ...)``: those signals call ``handler`` within, in the main thread; elsewhere Python
    takes no handlers. SIGHUP comes when a terminal is closed; where it, or SIGTERM, is ignored already (``nohup``), it stays so.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None], *names: str) -> None:
        self._handler = handler
        self._numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._before: dict[int, Any] = {}

    def takes(self, number: int) -> bool:
        """Whether a signal is one to take, after what is done about it now."""
        return number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                if self.takes(number):
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


class RaisedLater(Signals):
    """``with RaisedLater():``: what handlers of signals raise, as Ctrl-C's does, is raised at the end; by a second one at once.

    For Python code that C++ code calls, which may end the process where an exception that it does not expect goes through it.
    The handlers themselves are called when the signals come. A signal that no Python code handles is left alone.
    """

    def __init__(self) -> None:
        super().__init__(self._call, "SIGINT", "SIGTERM", "SIGHUP")
        self._raised: BaseException | None = None

    def takes(self, number: int) -> bool:
        handler = signal.getsignal(number)
        return callable(handler) and not isinstance(
            getattr(handler, "__self__", None), RaisedLater
        )  # one around this one

    def _call(self, number: int, frame: FrameType | None) -> None:
        handler = self._before[number]
        if self._raised is not None:
            return handler(number, frame)  # type: ignore[no-any-return]
        try:
            handler(number, frame)
        except BaseException as raised:  # such as KeyboardInterrupt, or what a framework of tests raises
            self._raised = raised

    def restore(self) -> None:
        """As they were, but for those to which a handler has given another one meanwhile."""
        ours = {number: handler for number, handler in self._before.items() if signal.getsignal(number) == self._call}
        self._before = ours
        super().restore()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        if self._raised is not None:
            raise self._raised


def end_as_by_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Of SIGTERM and SIGHUP in a process that started others, which must not go on without it."""
    raise KeyboardInterrupt
