"""What must stay of modules as it was when they were compiled: their parts, hooks, and which tensors there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from tritoncnn.capture import backward_hooks, forward_hooks
from tritoncnn.errors import InputError

Held = dict[str, Any]  # the parameters or buffers of one module


class Unchanged:
    """Some modules as they are now. Values of tensors may change, and other tensors of the same kind may come in their place."""

    def __init__(self, title: str, modules: Iterable[torch.nn.Module]) -> None:
        self._title, self._modules = title, tuple(dict.fromkeys(modules))
        self._whole = [m for m in self._modules if m._modules]
        self._lists = [m._modules for m in self._whole]
        self._parts = [list(held.values()) for held in self._lists]
        self._absent: list[tuple[torch.nn.Module, Held, str]] = []
        self._tied: list[tuple[torch.nn.Module, Held, str, Held, str]] = []
        first: dict[int, tuple[Held, str]] = {}
        for module in self._modules:
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is None:
                        self._absent.append((module, held, name))
                        continue
                    others, other = first.setdefault(id(tensor), (held, name))
                    if others is not held or other != name:
                        self._tied.append((module, held, name, others, other))
        self._nothing = [held for _, held, _ in self._absent], [name for *_, name in self._absent]
        self.take_hooks(gradients=False)

    def take_hooks(self, *, gradients: bool) -> None:
        """Know the hooks of now as those that were compiled. ``gradients``: those that change gradients count, too."""
        self._gradients, self._handles = gradients, RemovableHandle.next_id
        self._hooks = [(what, held, tuple(held)) for what, held in forward_hooks(self._modules) if held]

    def check(self) -> None:
        """Raises InputError in one sentence for what has changed. Every call asks."""
        now = list(map(list, map(dict.values, self._lists)))
        if now != self._parts:
            module = next(m for m, parts, before in zip(self._whole, now, self._parts, strict=True) if parts != before)
            self._refuse(f"the parts of {type(module).__name__} are not those that were compiled")
        for i, there in enumerate(map(dict.get, *self._nothing)):
            if there is not None:
                module, _, name = self._absent[i]
                self._refuse(f"{type(module).__name__} had no {name} when it was compiled, and has one now")
        for module, held, name, others, other in self._tied:
            if held.get(name) is not others.get(other):
                self._refuse(
                    f"{name} of {type(module).__name__} was one tensor with another part's {other}, and is not now"
                )
        for what, hooks, known in self._hooks:
            if tuple(hooks) != known:
                self._refuse(f"{what} was added or removed since it was compiled")
        if self._handles != RemovableHandle.next_id:  # a hook was added to something
            self._look_for_hooks()

    def _look_for_hooks(self) -> None:
        known = {id(held) for _, held, _ in self._hooks}
        new = [what for what, held in forward_hooks(self._modules) if held and id(held) not in known]
        new += backward_hooks(self._modules) if self._gradients else []
        if new:
            self._refuse(f"{new[0]} was added since it was compiled")
        self._handles = RemovableHandle.next_id

    def _refuse(self, what: str) -> None:
        raise InputError(f"{self._title}: {what}: compile it again")
