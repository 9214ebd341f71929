"""Rooms that find their own modules: a file that defines a thing of the room's kind adds it, and no list names it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


def modules_of(path: Iterable[str]) -> tuple[str, ...]:
    """The names of the modules in a package's ``__path__``, sorted; packages in it are passed over. Nothing is imported."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules(path) if not info.ispkg))


def find_all(package: str, path: Iterable[str], kind: type[T]) -> dict[str, T]:
    """All things of ``kind`` in the modules of a package, by their names. Two of one name are our own fault."""
    found: dict[str, T] = {}
    for module in modules_of(path):
        for thing in vars(importlib.import_module(f"{package}.{module}")).values():
            if isinstance(thing, kind) and found.setdefault(thing.name, thing) is not thing:
                raise AssertionError(f"{package} has two things named {thing.name!r}")
    return found
