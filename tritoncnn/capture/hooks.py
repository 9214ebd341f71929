"""The hooks that modules, their parameters and torch as a whole carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch

EVERYWHERE = torch.nn.modules.module  # where torch keeps the hooks of all modules


def forward_hooks(modules: Iterable[torch.nn.Module]) -> Iterator[tuple[str, Mapping[int, object]]]:
    """(what it is, the hooks) of every place that may hold hooks on forward; those that there are when it is traced are
    traced with it."""
    for side in ("forward", "forward_pre"):
        word = side.replace("_", " ")
        yield f"a {word} hook of all modules", getattr(EVERYWHERE, f"_global_{side}_hooks", {})
        for module in modules:
            yield f"a {word} hook of {type(module).__name__}", getattr(module, f"_{side}_hooks", {})


def backward_hooks(modules: Iterable[torch.nn.Module]) -> Iterator[str]:
    """Hooks on gradients, which no plan calls."""
    sides = ("_backward_hooks", "_backward_pre_hooks")
    if any(getattr(EVERYWHERE, f"_global{side}", None) for side in sides):
        yield "a backward hook of all modules"
    for module in modules:
        if any(getattr(module, side, None) for side in sides):
            yield f"a backward hook of {type(module).__name__}"
        for name, parameter in module.named_parameters(recurse=False):
            if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
                yield f"a gradient hook of the parameter {name} of {type(module).__name__}"
