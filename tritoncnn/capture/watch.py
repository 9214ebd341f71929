"""What a traced call does that no graph can hold: gradients of its own, hooks, attributes that it sets.

torch's tracer follows the tensors and drops these without a word. They are watched while it runs, and refused by name.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from tritoncnn.capture.aten import model_line

MISSING = object()


@dataclass
class Watch:
    """What was seen. ``lost``: what cannot be honoured, as 'what (line)', in order. ``assigned``: buffers that were set anew.
    ``differentiated``: gradients were taken inside, of which the tracer follows a few only."""

    lost: dict[str, None] = field(default_factory=dict)
    assigned: dict[tuple[int, str], tuple[torch.nn.Module, str, torch.Tensor]] = field(default_factory=dict)
    differentiated: bool = False

    def note(self, what: str) -> None:
        frames = traceback.extract_stack()[:-2]
        line = model_line([(frame.filename, frame.lineno or 0) for frame in frames])
        self.lost[f"{what} ({line})" if line else what] = None

    def settle(self) -> None:
        """Put back each buffer that was set anew, with its new content: the tracer follows changes in place alone."""
        for module, name, buffer in self.assigned.values():
            new = module._buffers[name]
            module._buffers[name] = buffer
            if new is None or new.shape != buffer.shape or new.dtype != buffer.dtype:
                got = "None" if new is None else f"{new.dtype} {list(new.shape)}"
                self.note(
                    f"self.{name} = {got} in {type(module).__name__}, where the buffer is {buffer.dtype} {list(buffer.shape)}"
                )
            elif new is not buffer:
                buffer.copy_(new)
        self.assigned.clear()


@contextlib.contextmanager
def watched(gradients: bool) -> Iterator[Watch]:
    """What happens inside. ``gradients``: gradients will be taken, so what changes only them counts too."""
    watch = Watch()
    note = watch.note
    patches: list[tuple[Any, str, Any]] = [
        (torch.nn.Module, "__setattr__", functools.partial(_setattr, watch)),
        (torch.Tensor, "backward", functools.partial(_refuse, note, "backward() inside what is traced")),
        (torch.autograd, "grad", functools.partial(_grad, watch, gradients)),
    ]
    if gradients:
        patches += [
            (torch.autograd.Function, "apply", functools.partial(_apply, note)),
            *((torch.Tensor, name, functools.partial(_refuse, note, f"Tensor.{name}"))
              for name in ("register_hook", "register_post_accumulate_grad_hook")),
        ]  # fmt: skip
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in patches if name in vars(owner)]
    inherited = [(owner, name) for owner, name, _ in patches if name not in vars(owner)]
    try:
        for owner, name, wrap in patches:
            setattr(owner, name, wrap(getattr(owner, name)))
        yield watch
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        for owner, name in inherited:
            delattr(owner, name)


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


def _grad(watch: Watch, again: bool, call: Any) -> Any:
    """Without create_graph torch cuts the gradients off from further ones; the tracer shows them as if they were not.

    ``again``: what is traced will itself be differentiated. torch.func's gradients come here, too.
    """

    @functools.wraps(call)
    def grad(*args: Any, **kwargs: Any) -> Any:
        watch.differentiated = True
        if again and not kwargs.get("create_graph", args[4] if len(args) > 4 else False):
            watch.note("torch.autograd.grad without create_graph=True inside what is differentiated")
        return call(*args, **kwargs)

    return grad


def _setattr(watch: Watch, call: Any) -> Any:
    """A tensor or a changed number that is kept on a module is lost: a plan has no attributes. Buffers may be set."""
    note = watch.note

    def setattr_(module: torch.nn.Module, name: str, value: Any) -> None:
        before = module.__dict__.get(name, MISSING)
        state = any(name in module.__dict__.get(kind, ()) for kind in ("_buffers", "_parameters"))
        number = isinstance(value, (bool, int, float)) and isinstance(before, (bool, int, float)) and value != before
        if not _ours_or_torchs(1) and not state and (isinstance(value, torch.Tensor) or number) and name != "training":
            kind = type(module).__name__
            note(
                f"self.{name} = ... in the forward of {kind}: register_buffer({name!r}, ...) keeps it from call to call"
            )
        buffer = module._buffers.get(name) if "_buffers" in module.__dict__ else None
        if buffer is not None:
            watch.assigned.setdefault((id(module), name), (module, name, buffer))
        call(module, name, value)

    return setattr_
