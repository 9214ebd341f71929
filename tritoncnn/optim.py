"""Optimizers: what a user asks for, and the ops that one step of it adds to the graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tritoncnn.errors import InputError
from tritoncnn.ir import Graph, Rewriter, TensorType, Value
from tritoncnn.ops import OPS, Sym


def _check(name: str, **numbers: float) -> None:
    for key, value in numbers.items():
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name}: {key} must be a finite number from 0; got {value}")


def _check_ema(name: str, decay: float) -> None:
    if not 0 <= decay < 1:
        raise InputError(f"{name}: ema must lie in [0, 1); got {decay}")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent as torch.optim.SGD (dampening 0). ``lr`` is only the start: it is data of the step.

    ``clip_norm`` above 0: all gradients together are scaled down to at most this 2-norm first (``clipped``).
    ``ema`` above 0: a moving average of the parameters is kept, e' = ema e + (1 - ema) p, from the first step's p on;
    ``CompiledStep.averages`` reads it. Source: Polyak & Juditsky 1992.
    """

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        _check("SGD", lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, clip_norm=self.clip_norm)
        _check_ema("SGD", self.ema)
        if self.nesterov and not self.momentum:
            raise InputError("SGD: nesterov needs a momentum above 0; got momentum 0")

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state arenas, each as large as the parameters; they start as zeros."""
        return ("momentum_buffer",) if self.momentum else ()

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        """(new parameters, new states...)"""
        if not state:
            return (OPS["sgd_plain"](p, g, lr, weight_decay=self.weight_decay),)
        new: tuple[Sym, ...] = OPS["sgd"](
            p, g, *state, lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
        )
        return new


@dataclass(frozen=True)
class AdamW:
    """Loshchilov & Hutter 2019, as torch.optim.AdamW. ``lr`` is only the start: it is data of the step.

    ``clip_norm`` and ``ema`` as for SGD.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        _check(name, lr=self.lr, eps=self.eps, weight_decay=self.weight_decay, clip_norm=self.clip_norm)
        _check_ema(name, self.ema)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"{name}: betas must lie in [0, 1); got {self.betas}")

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state arenas, each as large as the parameters; they start as zeros."""
        return ("exp_avg", "exp_avg_sq")

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        """(new parameters, new states...)"""
        new: tuple[Sym, ...] = OPS["adamw"](
            p,
            g,
            *state,
            lr,
            step,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
        return new


@dataclass(frozen=True)
class Adam(AdamW):
    """Kingma & Ba 2015, as torch.optim.Adam: weight decay is a part of the gradient."""

    weight_decay: float = 0.0

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        """(new parameters, new states...)"""
        g = g + p * self.weight_decay if self.weight_decay else g
        return replace(AdamW(), betas=self.betas, eps=self.eps, weight_decay=0.0).update(p, g, lr, step, state)


Optimizer = SGD | AdamW
AVERAGE = "average"  # the arena of the parameters' moving average


def clipped(g: Sym, most: float) -> Sym:
    """g scaled so that its 2-norm is at most ``most``, as torch.nn.utils.clip_grad_norm_. Source: Pascanu et al. 2013."""
    total = OPS["sqrt"](OPS["sum"](g * g, dims=(0,)))
    return g * OPS["minimum"](most / (total + 1e-6), 1.0)


def add_optimizer(graph: Graph, optimizer: Optimizer, arena: str, updated: tuple[str, ...] = ()) -> Graph:
    """(loss, buffers'..., gradient arena)   =>   (loss, step', parameters', states'..., average', buffers'...), all but the
    loss updated in place. ``updated``: the inputs whose new content ``buffers'`` is.

    New inputs: ``lr`` f32, ``step`` i64 (counts finished steps), one arena per state.
    """
    out = Rewriter(graph.name)
    out.keep_inputs(graph)
    parameters = graph.input(arena)
    lr = out.input("lr", TensorType.dense("f32", ()))
    step = out.input("step", TensorType.dense("i64", ()))
    states = tuple(out.input(name, parameters.type) for name in optimizer.state)
    average = out.input(AVERAGE, parameters.type) if optimizer.ema else None
    for node in graph.nodes:
        out.keep(node)
    loss, *contents, gradients = (out.value(v) for v in graph.outputs)
    now = OPS["increment"](Sym(out, step))
    g = Sym(out, gradients)
    g = clipped(g, optimizer.clip_norm) if optimizer.clip_norm else g
    new = optimizer.update(Sym(out, parameters), g, Sym(out, lr), now, tuple(Sym(out, s) for s in states))
    new = new if isinstance(new, tuple) else (new,)
    if average is not None:
        new = (*new, OPS["ema"](Sym(out, average), new[0], now, decay=optimizer.ema))
    buffers = [
        x if counts else OPS["assign"](Sym(out, out.value(graph.input(name))), Sym(out, x)).value
        for name, x, counts in zip(updated, contents, (_counts(graph, v) for v in graph.outputs[1:-1]), strict=True)
    ]
    return out.finish((loss, now.value, *(s.value for s in new), *buffers))


def _counts(graph: Graph, value: Value) -> bool:
    """Is the value a counter that was increased in place?"""
    return value in graph.producer and graph.producer[value].op == "increment"
