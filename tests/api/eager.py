"""tritoncnn's doors twice: as they are, and as what they promise, in eager torch at a dtype of choice."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

import tritoncnn
from tritoncnn.tree import Fields, builder, flatten


def cast(thing: Any, dtype: torch.dtype) -> Any:
    """A copy of a module, or of a tree of tensors, with floats of this dtype."""
    if isinstance(thing, nn.Module):
        return copy.deepcopy(thing).to(dtype)
    tensors, form = flatten(thing)
    return builder(form)([t.detach().to(dtype) if t.is_floating_point() else t.clone() for t in tensors])


class Ours:
    """tritoncnn itself."""

    compile = staticmethod(tritoncnn.compile)
    compile_step = staticmethod(tritoncnn.compile_step)
    compile_grad = staticmethod(tritoncnn.compile_grad)

    def cast(self, *things: Any) -> Any:
        """Copies of modules and tensors, as f32."""
        made = [cast(thing, torch.float32) for thing in things]
        return made if len(made) > 1 else made[0]

    def half(self, *things: Any) -> Any:
        """Copies of modules and tensors, as bf16."""
        made = [cast(thing, torch.bfloat16) for thing in things]
        return made if len(made) > 1 else made[0]


class Eager:
    """What the doors promise, done by torch step by step."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def cast(self, *things: Any) -> Any:
        made = [cast(thing, self.dtype) for thing in things]
        return made if len(made) > 1 else made[0]

    def half(self, *things: Any) -> Any:
        """As bf16; with f64's precision of what follows, if that is the dtype."""
        low = [cast(thing, torch.bfloat16) for thing in things]
        made = [cast(thing, torch.float64) for thing in low] if self.dtype is torch.float64 else low
        return made if len(made) > 1 else made[0]

    def compile(self, module: nn.Module, example: Any = None) -> Callable[..., Any]:
        return EagerModel(module)

    def compile_step(self, module: Any = None, loss: Any = None, optimizer: Any = None, example: Any = None, *, nets: Any = None,
                     losses: Any = None, updates: Any = None, seed: Any = None) -> EagerStep:  # fmt: skip
        if nets is not None:
            return EagerStep(nets, losses, updates)
        function = loss if callable(getattr(loss, "parameters", None)) else None
        parts = {"module": module} | ({"loss": function} if function is not None else {})

        def short(_: Any, *batch: Any) -> Any:
            if len(batch) == 1:
                return loss(module(*batch))
            inputs = batch[0] if isinstance(batch[0], (tuple, list)) else batch[:-1]
            return loss(module(*inputs), batch[-1])

        return EagerStep(parts, short, [tritoncnn.Update(by=optimizer)])

    def compile_grad(self, function: Callable[..., Any], wrt: Any = (), example: Any = None) -> Callable[..., Any]:
        """``wrt``: one name of an argument, or names of parameters of ``function``."""

        def call(*args: Any, cotangent: torch.Tensor | None = None) -> tuple[Any, Any]:
            if isinstance(function, nn.Module):
                leaves = [dict(function.named_parameters())[name] for name in wrt]
                result = function(*args)
            else:
                names = function.__code__.co_varnames
                args = tuple(a.detach().requires_grad_() if n == wrt else a for n, a in zip(names, args, strict=False))
                leaves = [a for n, a in zip(names, args, strict=False) if n == wrt]
                result = function(*args)
            found = torch.autograd.grad(result, leaves, cotangent)
            return result.detach(), found[0] if isinstance(wrt, str) else found

        return call


class EagerModel:
    """A module in the modes that it had when it was made."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.modes = module, [(part, part.training) for part in module.modules()]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        now = [(part, part.training) for part, _ in self.modes]
        for part, training in self.modes:
            part.training = training
        with torch.no_grad():
            result = self.module(*args, **kwargs)
        for part, training in now:
            part.training = training
        return result

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.module.state_dict()


def _of_torch(optimizer: Any, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """torch's optimizer of the same name and numbers; an optimizer of a user's own says its twin."""
    if hasattr(optimizer, "twin"):
        return optimizer.twin(groups)
    lbfgs = isinstance(optimizer, tritoncnn.LBFGS)
    shared = ("clip_norm", "clip_value", "ema", "groups", *(["maximize"] if lbfgs else []))
    numbers = {name: value for name, value in vars(optimizer).items() if name not in shared}
    if lbfgs:
        numbers["max_iter"] = 1
    return getattr(torch.optim, type(optimizer).__name__)(groups, **numbers)


class EagerStep:
    """Losses, gradients at the parameters before the step, updates."""

    def __init__(self, nets: Any, losses: Callable[..., Any], updates: Sequence[Any]) -> None:
        self.nets = dict(nets) if isinstance(nets, Mapping) else {"": nets}
        self.given = Fields(nets) if isinstance(nets, Mapping) else nets
        self.losses, self.updates = losses, list(updates)
        self.named = [self._chosen(update.of) for update in self.updates]
        self.optimizers = [
            _of_torch(u.by, self._groups(u.by, chosen)) for u, chosen in zip(self.updates, self.named, strict=True)
        ]
        self.averaged: dict[str, torch.Tensor] = {}
        self.read: dict[str, torch.Tensor] = {}
        self.waits = False

    def _chosen(self, of: Any) -> dict[str, nn.Parameter]:
        patterns = (of,) if isinstance(of, str) else of
        found = {}
        for net, module in self.nets.items():
            for name, p in module.named_parameters():
                full = f"{net}.{name}" if net else name
                if p.requires_grad and (
                    patterns is None or any(full.startswith(f"{k}.") or fnmatchcase(full, k) for k in patterns)
                ):
                    found[full] = p
        return found

    def _groups(self, by: Any, named: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
        ours = {
            name: next((k for k in by.groups if fnmatchcase(name, k) or fnmatchcase(name.partition(".")[2], k)), "")
            for name in named
        }
        return [
            {"params": [named[n] for n, k in ours.items() if k == pattern], **by.groups.get(pattern, {})}
            for pattern in dict.fromkeys(("", *by.groups))
            if pattern in ours.values()
        ]

    def __call__(self, *batch: Any, update: bool = True) -> Any:
        batch = tuple(Fields(b) if isinstance(b, dict) else b for b in batch)
        out = self.losses(self.given, *batch)
        for u, named in zip(self.updates, self.named, strict=True):
            loss = out if isinstance(out, torch.Tensor) else out[u.loss or (0 if isinstance(out, tuple) else "loss")]
            found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
            for p, g in zip(named.values(), found, strict=True):
                p.grad = g if g is None or p.grad is None or not self.waits else p.grad + g
            self.read = {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
            if update:
                self._bound(u.by, list(named.values()))
        if update:
            for optimizer in self.optimizers:
                optimizer.step(lambda: torch.zeros(()))  # gradients are there; torch's L-BFGS wants a closure
            self._average()
        self.waits = not update
        return Fields(out) if isinstance(out, dict) else out

    def _bound(self, by: Any, parameters: list[nn.Parameter]) -> None:
        if by.clip_value:
            nn.utils.clip_grad_value_(parameters, by.clip_value)
        if by.clip_norm:
            nn.utils.clip_grad_norm_(parameters, by.clip_norm)

    def _average(self) -> None:
        for u, named in zip(self.updates, self.named, strict=True):
            for name, p in named.items() if u.by.ema else ():
                old = self.averaged.get(name, p.detach())
                self.averaged[name] = u.by.ema * old + (1 - u.by.ema) * p.detach()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.optimizers[0]

    @property
    def lr(self) -> float:
        return float(self.optimizers[0].param_groups[0]["lr"])

    @lr.setter
    def lr(self, value: float) -> None:
        for group in self.optimizers[0].param_groups:
            group["lr"] = value

    def gradients(self) -> dict[str, torch.Tensor]:
        return {name.removeprefix("module."): g for name, g in self.read.items()}

    def averages(self) -> dict[str, torch.Tensor]:
        return {name.removeprefix("module."): t for name, t in self.averaged.items()}

    def model(self, net: str = "", example: Any = None) -> EagerModel:
        made = EagerModel(self.nets[net or next(iter(self.nets))])
        made.modes = [(part, False) for part, _ in made.modes]
        return made

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {
            f"{net}.{name}".removeprefix("module.").removeprefix("."): t
            for net, module in self.nets.items() if net != "loss"
            for name, t in module.state_dict().items()
        }  # fmt: skip
