"""A fork waits until no other thread is in the middle of something that the child would find half done for ever.

That is the holder of a lock, who does not exist in the child; torch's classes while a call is traced; weights while a step moves
them. ``with forks.apart():`` stands around such work.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class _Own(threading.local):
    """What each thread has of its own: a lock that it holds while it works, and the locks that its fork holds."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.held: list[Any] = []
        with _guard:
            _all.add(self.lock)


_guard = threading.Lock()  # never held while another lock is waited for
_all: weakref.WeakSet[Any] = weakref.WeakSet()  # the locks of all threads
_own = _Own()
_door = threading.RLock()  # held by the thread that forks
_forking = False
_last: list[Any] = []


def apart() -> Any:
    """The lock of this thread, to be held while it works; it may be held several times over."""
    lock = _own.lock
    if _forking and not lock._is_owned():
        with _door:
            pass
    return lock


def also(lock: Any) -> None:
    """Let forks wait for the holder of a lock, too, who waits for nothing else meanwhile."""
    _last.append(lock)


def _before() -> None:
    global _forking
    held = _own.held = []
    if not _own.lock._is_owned():  # else others may wait for this thread, which is in the middle of its work
        _take(_door, held)
        _forking = True
        with _guard:
            others = [lock for lock in _all if lock is not _own.lock]
        for lock in others:
            _take(lock, held)
    for lock in (*_last, _guard):
        _take(lock, held)


def _take(lock: Any, held: list[Any]) -> None:
    lock.acquire()
    held.append(lock)


def _in_parent() -> None:
    global _forking
    if _door in _own.held:
        _forking = False
    for lock in reversed(_own.held):
        lock.release()
    _own.held = []


def _in_child() -> None:
    global _forking, _door
    if _door not in _own.held:
        _forking, _door = False, threading.RLock()  # its holder, if any, is not here
    _in_parent()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
