"""What a traced call does that no graph can hold: gradients of its own, hooks, attributes that it sets.

torch's tracer follows the tensors and drops these without a word. They are watched while it runs, and refused by name.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from tritoncnn.capture.aten import model_line

MISSING = object()


@contextlib.contextmanager
def watched(gradients: bool) -> Iterator[dict[str, None]]:
    """What happens inside that cannot be honoured, as 'what (line)', in order.

    ``gradients``: gradients will be taken, so what changes only them counts too.
    """
    found: dict[str, None] = {}

    def note(what: str) -> None:
        frames = traceback.extract_stack()[:-2]
        line = model_line([(frame.filename, frame.lineno or 0) for frame in frames])
        found[f"{what} ({line})" if line else what] = None

    patches: list[tuple[Any, str, Any]] = [
        (torch.nn.Module, "__setattr__", functools.partial(_setattr, note)),
        (torch.Tensor, "backward", functools.partial(_refuse, note, "backward() inside what is traced")),
    ]
    if gradients:
        patches += [
            (torch.autograd, "grad", functools.partial(_grad, note)),
            (torch.autograd.Function, "apply", functools.partial(_apply, note)),
            *((torch.Tensor, name, functools.partial(_refuse, note, f"Tensor.{name}"))
              for name in ("register_hook", "register_post_accumulate_grad_hook")),
        ]  # fmt: skip
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in patches if name in vars(owner)]
    inherited = [(owner, name) for owner, name, _ in patches if name not in vars(owner)]
    try:
        for owner, name, wrap in patches:
            setattr(owner, name, wrap(getattr(owner, name)))
        yield found
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        for owner, name in inherited:
            delattr(owner, name)


def hooks_of(modules: Iterable[torch.nn.Module]) -> Iterator[str]:
    """Hooks on gradients that modules and their parameters carry already."""
    for module in modules:
        if getattr(module, "_backward_hooks", None) or getattr(module, "_backward_pre_hooks", None):
            yield f"a backward hook of {type(module).__name__}"
        for name, parameter in module.named_parameters(recurse=False):
            if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
                yield f"a gradient hook of the parameter {name} of {type(module).__name__}"


def _ours_or_torchs(depth: int) -> bool:
    """Whether the code that called is torch's own, which knows what it does."""
    frame = sys._getframe(depth + 1)
    return frame.f_globals.get("__name__", "").partition(".")[0] == "torch"


def _refuse(note: Callable[[str], None], what: str, call: Any) -> Any:
    def refused(*args: Any, **kwargs: Any) -> Any:
        if not _ours_or_torchs(1):
            note(what)
        return call(*args, **kwargs)

    return refused


def _apply(note: Callable[[str], None], call: Any) -> Any:
    """A custom gradient is dropped by the tracer, which sees the forward ops alone."""

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls.__module__.partition(".")[0] != "torch":
            note(f"the gradient of the autograd.Function {cls.__name__}")
        return call.__func__(cls, *args, **kwargs)

    return classmethod(apply)


def _grad(note: Callable[[str], None], call: Any) -> Any:
    """Without create_graph torch cuts the gradients off from further ones; the tracer shows them as if they were not."""

    @functools.wraps(call)
    def grad(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("create_graph", args[4] if len(args) > 4 else False):
            note("torch.autograd.grad without create_graph=True inside what is differentiated")
        return call(*args, **kwargs)

    return grad


def _setattr(note: Callable[[str], None], call: Any) -> Any:
    """A tensor or a changed number that is kept on a module is lost: a plan has no attributes. Buffers may be set."""

    def setattr_(module: torch.nn.Module, name: str, value: Any) -> None:
        before = module.__dict__.get(name, MISSING)
        state = name in module._buffers or name in module._parameters
        number = isinstance(value, (bool, int, float)) and isinstance(before, (bool, int, float)) and value != before
        if not _ours_or_torchs(1) and not state and (isinstance(value, torch.Tensor) or number) and name != "training":
            kind = type(module).__name__
            note(
                f"self.{name} = ... in the forward of {kind}: register_buffer({name!r}, ...) keeps it from call to call"
            )
        call(module, name, value)

    return setattr_
