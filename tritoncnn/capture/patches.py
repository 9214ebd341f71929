"""Attributes of torch's that are other ones while a call is traced, in the thread that traces it alone."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def patched(patches: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Set attributes, each as (owner, name, value), and put back what was there in the end.

    torch's classes belong to the whole process. A function, class method or property is therefore asked for its thread in each
    call, one frame above the value's own: what other threads do meanwhile is theirs. Other values are set for all.
    """
    thread = threading.get_ident()
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in patches if name in vars(owner)]
    inherited = [(owner, name) for owner, name, _ in patches if name not in vars(owner)]
    try:
        for owner, name, ours in patches:
            setattr(owner, name, _of_thread(thread, ours, inspect.getattr_static(owner, name)))
        yield
    finally:
        _put_back(before, inherited)


def _put_back(before: Sequence[tuple[Any, str, Any]], inherited: Sequence[tuple[Any, str]]) -> None:
    """All of it, though Ctrl-C comes meanwhile: it is raised afterwards."""
    asked: KeyboardInterrupt | None = None
    while True:
        try:
            for owner, name, usual in before:
                setattr(owner, name, usual)
            for owner, name in inherited:
                if name in vars(owner):
                    delattr(owner, name)
            break
        except KeyboardInterrupt as interrupt:
            asked = interrupt
    if asked is not None:
        raise asked


def _of_thread(thread: int, ours: Any, usual: Any) -> Any:
    """What is ``ours`` in a thread and as usual in all others."""

    def choose(ours: Callable[..., Any], usual: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(ours)
        def call(*args: Any, **kwargs: Any) -> Any:
            return (ours if threading.get_ident() == thread else usual)(*args, **kwargs)

        return call

    if isinstance(ours, property):
        return property(
            choose(ours.fget, usual.__get__) if ours.fget else None,
            choose(ours.fset, usual.__set__) if ours.fset else None,
        )
    if isinstance(ours, classmethod):
        return classmethod(
            choose(ours.__func__, lambda cls, *args, **kwargs: usual.__get__(None, cls)(*args, **kwargs))
        )
    return choose(ours, usual) if callable(ours) else ours
