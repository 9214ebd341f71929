"""Programs by the form and sizes of a call: made on demand, a bounded number kept, the last one found at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch

from tritoncnn import garbage
from tritoncnn.compiler.memory import type_of
from tritoncnn.compiler.program import CallProgram
from tritoncnn.compiler.subject import Arguments, Subject
from tritoncnn.errors import DTypeError, InputError, ShapeError, UnsupportedError, input_named
from tritoncnn.ir import TensorType
from tritoncnn.tree import difference

KEPT = 8
P = TypeVar("P", bound=CallProgram)


class Programs(Generic[P]):
    """What ``make(arguments, *words)`` gives, by form and sizes of the arguments and those words; the longest unused is dropped.

    ``what``: what errors call the arguments. ``example``: calls must have its form and dtypes; None takes those of the first.
    """

    def __init__(
        self, subject: Subject, make: Callable[..., P], what: str = "inputs", example: Arguments | None = None
    ) -> None:
        self._subject, self._make, self._what = subject, make, what
        self._example = None if example is None else example.like()
        self._kept: OrderedDict[tuple[object, ...], P] = OrderedDict()
        self._words: tuple[object, ...] = ()  # those of the last call
        self.last: P | None = None

    def find(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *words: object
    ) -> tuple[P, Sequence[torch.Tensor]]:
        """(the program of a call, with the state as it is now; the call's tensors as planned).

        Raises InputError, ShapeError or DTypeError when the call is not like the example, and the errors of ``fit``.
        """
        self._subject.check()
        last = self.last
        if last is not None and words == self._words:
            taken = last.take(args, kwargs)
            if taken is not None:  # as the call before: no form is made and none compared
                if last.refresh():
                    return last, last.fit(*taken)
                self._drop(last)
        arguments = Arguments.of(args, kwargs, None if self._example is None else self._example.form)
        self._check(arguments)
        program = self._get(arguments, words)
        while not program.refresh():
            self._drop(program)
            program = self._get(arguments, words)
        self._used(program, arguments, words)
        return program, program.fit(arguments.tensors)

    def put(self, made: P, arguments: Arguments, *words: object) -> None:
        """Keep what was made elsewhere."""
        self._kept[_key(arguments, words)] = made
        self._used(made, arguments, words)

    def keep_last(self) -> None:
        """Forget all programs but the last."""
        for program in [program for program in self._kept.values() if program is not self.last]:
            self._drop(program)

    def _used(self, program: P, arguments: Arguments, words: tuple[object, ...]) -> None:
        self.last, self._words = program, words
        self._example = self._example or arguments.like()

    def _check(self, given: Arguments) -> None:
        example = self._example
        if example is None:
            return
        if example.form != given.form:
            wanted, got = example.form.parts, given.form.parts
            if new := [str(key) for key in got[1].keys if key not in wanted[1].keys]:
                raise InputError(
                    f"{self._subject.title} was compiled without the inputs {', '.join(new)}; compile it with an example that "
                    "has them"
                )
            raise InputError(difference(wanted[0], got[0], self._what) or difference(wanted[1], got[1]))
        for name, a, b in zip(self._subject.input_names(given.form), example.tensors, given.tensors, strict=True):
            if a.dtype != b.dtype:
                raise DTypeError(
                    f"{input_named(name)} must be {a.dtype}, as in the example; got {b.dtype} {list(b.shape)}"
                )

    def _get(self, arguments: Arguments, words: tuple[object, ...]) -> P:
        key = _key(arguments, words)
        if key not in self._kept:
            try:
                with garbage.later(), torch.inference_mode(False):  # a program outlives the caller's mode
                    self._kept[key] = self._make(arguments, *words)
            except UnsupportedError as error:
                if not self._kept:  # the example itself
                    raise
                raise ShapeError(f"{self._said(arguments)} cannot be planned: {error}") from error
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _said(self, arguments: Arguments) -> str:
        """The sizes of a call: 'x [8, 1, 28, 28], target [16]'."""
        names = self._subject.input_names(arguments.form)
        return ", ".join(f"{name} {list(t.shape)}" for name, t in zip(names, arguments.tensors, strict=True))

    def _drop(self, program: P) -> None:
        """Forget a program whose plan no longer holds."""
        for key in [key for key, kept in self._kept.items() if kept is program]:
            del self._kept[key]


def _key(arguments: Arguments, words: tuple[object, ...]) -> tuple[object, ...]:
    # The form's text, not the form: its constants may have no hash, and 1, 1.0 and True are three.
    return (repr(arguments.form), *((tuple(t.shape), t.dtype) for t in arguments.tensors), *words)


def input_type(tensor: torch.Tensor) -> TensorType:
    """How an input is planned: as it lies when it is dense, else row-major."""
    type = type_of(tensor)
    return type if type.order is not None else TensorType.dense(type.dtype, type.shape)
