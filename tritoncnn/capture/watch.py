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
from tritoncnn.capture.patches import patched

MISSING = object()
SEEDS = "random numbers follow from a seed of ours; leave it out"


@dataclass
class Watch:
    """What was seen. ``lost``: what cannot be honoured, as 'what (line)', in order. ``assigned``: where
    buffers were set anew. ``differentiated``: gradients were taken inside, of which the tracer follows a few only."""

    gradients: bool = False
    lost: dict[str, None] = field(default_factory=dict)
    assigned: dict[tuple[int, str], str] = field(default_factory=dict)
    buffers: list[tuple[torch.nn.Module, str, torch.Tensor | None]] = field(default_factory=list)
    parameters: set[int] = field(default_factory=set)  # the memories that they lie in
    differentiated: bool = False

    def note(self, what: str, line: str = "") -> None:
        line = line or _line()
        self.lost[f"{what} ({line})" if line else what] = None

    def begin(self, module: torch.nn.Module) -> None:
        """Remember the buffers of a module that is called now."""
        self.buffers = [(part, name, one) for part in module.modules() for name, one in part._buffers.items()]
        self.parameters = {_memory(parameter) for parameter in module.parameters()}

    def settle(self, results: list[torch.Tensor]) -> list[torch.Tensor]:
        """Put back each buffer that was set anew, with its new content: the tracer follows changes in place alone.

        Results, and new contents of other buffers, that lie in what such a buffer held before are copied first: they keep it.
        """
        contents: list[tuple[torch.Tensor, torch.Tensor]] = []
        for module, name, buffer in self.buffers:
            new, line = module._buffers.get(name), self.assigned.get((id(module), name), "")
            if new is buffer:
                continue
            module._buffers[name] = buffer
            what = f"self.{name} = {{}} in {type(module).__name__}"
            if buffer is None:
                self.note(what.format("..., where the buffer is None,"), line)
            elif new is None or new.shape != buffer.shape or new.dtype != buffer.dtype:
                got = "None" if new is None else f"{new.dtype} {list(new.shape)}"
                self.note(f"{what.format(got)}, where the buffer is {buffer.dtype} {list(buffer.shape)}", line)
            elif sum(other is buffer for _, _, other in self.buffers) > 1:
                self.note(f"{what.format('...')}, where the buffer has another name too, which would keep it", line)
            elif self.gradients and _memory(new) in self.parameters:
                self.note(f"{what.format('a parameter')}, with which it would change: .clone() keeps it as it is", line)
            else:
                contents.append((buffer, new))
        self.assigned.clear()
        before = {_memory(buffer) for buffer, _ in contents}

        def kept(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.clone() if _memory(tensor) in before else tensor

        results = [kept(tensor) for tensor in results]
        for buffer, new in [(buffer, kept(new)) for buffer, new in contents]:
            buffer.copy_(new)
        return results


def _memory(tensor: torch.Tensor) -> int:
    """Which memory a tensor lies in, while a call is traced."""
    return getattr(tensor, "twin", tensor).untyped_storage()._cdata  # type: ignore[no-any-return]


@contextlib.contextmanager
def watched(gradients: bool) -> Iterator[Watch]:
    """What happens inside. ``gradients``: gradients will be taken, so what changes only them counts too."""
    watch = Watch(gradients)
    note = watch.note
    patches: list[tuple[Any, str, Any]] = [
        (torch.nn.Module, "__setattr__", functools.partial(_setattr, watch)),
        (torch.Tensor, "backward", functools.partial(_refuse, note, "backward() inside what is traced")),
        (torch.autograd, "grad", functools.partial(_grad, watch, gradients)),
        (torch.Tensor, "data", functools.partial(_data, note)),
        *((owner, name, functools.partial(_refuse, note, f"torch.{name} in forward: {SEEDS}"))
          for owner in (torch, torch.random) for name in ("manual_seed", "seed", "set_rng_state")),
    ]  # fmt: skip
    if gradients:
        function = torch.autograd.Function
        patches += [
            # The class below it, too: who has taken Function.apply before calls the one there.
            *((owner, "apply", functools.partial(_apply, note)) for owner in (function, function.__bases__[0])),
            *((torch.Tensor, name, functools.partial(_refuse, note, f"Tensor.{name}"))
              for name in ("register_hook", "register_post_accumulate_grad_hook")),
            (torch.Tensor, "grad_fn", functools.partial(_grad_fn, note)),
            (torch.Tensor, "requires_grad", functools.partial(_requires_grad, note)),
            (torch.Tensor, "requires_grad_", functools.partial(_requires_grad_, note)),
            (torch.autograd.graph.saved_tensors_hooks, "__enter__", functools.partial(_saved_hooks, note)),
            (torch.inference_mode, "__enter__", functools.partial(_inference, note)),
        ]  # fmt: skip
    with patched([(owner, name, wrap(getattr(owner, name))) for owner, name, wrap in patches]):
        yield watch


def _line() -> str:
    """The line of the model that is running."""
    frames = traceback.extract_stack()[:-2]
    return model_line([(frame.filename, frame.lineno or 0) for frame in frames])


def _called_by_torch() -> bool:
    """Whether the code that called what is patched is torch's own, which knows what it does."""
    frame = sys._getframe(3)  # above the patch and what chooses it
    return frame.f_globals.get("__name__", "").partition(".")[0] == "torch"


def _refuse(note: Callable[[str], None], what: str, call: Any) -> Any:
    def refused(*args: Any, **kwargs: Any) -> Any:
        if not _called_by_torch():
            note(what)
        return call(*args, **kwargs)

    return refused


def _apply(note: Callable[[str], None], call: Any) -> Any:
    """A custom gradient is dropped by the tracer, which sees the forward ops alone."""
    own = getattr(call, "__func__", None)

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not (cls.__module__.startswith("torch.") and "._" in cls.__module__):  # torch's tracer knows its own
            note(f"the gradient of the autograd.Function {cls.__name__}")
        return own(cls, *args, **kwargs) if own else _below(cls)(*args, **kwargs)

    return classmethod(apply)


def _below(cls: Any) -> Any:
    """``apply`` of torch's C++ base."""
    base: Any = torch.autograd.Function.__bases__[0]
    return super(base, cls).apply


def _data(note: Callable[[str], None], data: Any) -> property:
    """The tracer loses track of ``x.data``; it is ``x.detach()``."""

    def get(tensor: torch.Tensor) -> torch.Tensor:
        return data.__get__(tensor) if _called_by_torch() else tensor.detach()

    def set_(tensor: torch.Tensor, value: torch.Tensor) -> None:
        if not _called_by_torch():
            note("an assignment to .data inside what is traced")
        data.__set__(tensor, value)

    return property(get, set_)


class _Node:
    """A node of autograd that tells of hooks, which the tracer drops."""

    def __init__(self, node: Any, note: Callable[[str], None]) -> None:
        self._node, self._note = node, note

    def __getattr__(self, name: str) -> Any:
        if name in ("register_hook", "register_prehook"):
            self._note(f"grad_fn.{name}")
        return getattr(self._node, name)


def _grad_fn(note: Callable[[str], None], grad_fn: Any) -> property:
    def get(tensor: torch.Tensor) -> Any:
        node = grad_fn.__get__(tensor)
        return node if node is None or _called_by_torch() else _Node(node, note)

    return property(get)


def _requires_grad(note: Callable[[str], None], switch: Any) -> property:
    def set_(tensor: torch.Tensor, value: bool) -> None:
        if not _called_by_torch():
            _note_switch(note, tensor, value)
        switch.__set__(tensor, value)

    return property(switch.__get__, set_)


def _requires_grad_(note: Callable[[str], None], call: Any) -> Any:
    def requires_grad_(tensor: torch.Tensor, requires_grad: bool = True) -> torch.Tensor:
        _note_switch(note, tensor, requires_grad)
        found: torch.Tensor = call(tensor, requires_grad)
        return found

    return requires_grad_


def _note_switch(note: Callable[[str], None], tensor: torch.Tensor, value: bool) -> None:
    """What is trained is chosen before the call, not inside."""
    if isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad != value:
        note(f"a parameter's requires_grad = {value} in forward; set it before it is compiled")


def _inference(note: Callable[[str], None], call: Any) -> Any:
    def enter(switch: Any) -> Any:
        if switch.mode:
            note("torch.inference_mode inside what is differentiated; use torch.no_grad")
        return call(switch)

    return enter


def _saved_hooks(note: Callable[[str], None], call: Any) -> Any:
    """What changes the tensors that torch keeps for its backward, which a plan does not have; torch's own give them back."""

    def enter(hooks: Any) -> Any:
        if type(hooks) is torch.autograd.graph.saved_tensors_hooks or not type(hooks).__module__.startswith("torch."):
            note("torch.autograd.graph.saved_tensors_hooks")
        return call(hooks)

    return enter


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
        buffer = module._buffers.get(name) if "_buffers" in module.__dict__ else None
        number = isinstance(value, (bool, int, float)) and isinstance(before, (bool, int, float)) and value != before
        if (
            not _called_by_torch()
            and buffer is None
            and (isinstance(value, torch.Tensor) or number)
            and name != "training"
        ):
            kind = type(module).__name__
            note(
                f"self.{name} = ... in the forward of {kind}: register_buffer({name!r}, ...) keeps it from call to call"
            )
        if buffer is not None:
            watch.assigned[id(module), name] = _line()
        call(module, name, value)

    return setattr_
