"""The compiled step of a run: the model and the nets beside it, as the task's ``Step`` says."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

import tritoncnn
from tritoncnn.data import Facts
from tritoncnn.task import MODEL, Move, Step, Values
from tritoncnn.train.checkpoint import measured
from tritoncnn.train.options import Options

if TYPE_CHECKING:
    from tritoncnn.optim import Optimizer

Tensors = Mapping[str, torch.Tensor]


class TrainingStep:
    """``step(x, y)`` -> the losses by name, after all nets have moved."""

    def __init__(self, options: Options, module: torch.nn.Module, facts: Facts, x: torch.Tensor, y: Any) -> None:
        """``module`` is the model, in training mode; ``x``, ``y`` a batch as there will be."""
        self._step = step = options.step
        values = {row.name: options.own[row.name] for row in step.options}
        beside = build_beside(step, values, facts, options.seed)
        self.compiled = tritoncnn.compile_step(
            nets={MODEL: module, **beside},
            losses=step.losses(values),
            example={"x": x, "y": y},
            updates=[tritoncnn.Update(move.loss, of=move.net, by=_optimizer(options, move)) for move in step.moves],
            seed=options.seed,
        )
        self.lr = options.lr
        self.frozen = _fingerprint({name: beside[name] for name in step.frozen})
        self._averaged = bool(options.ema)

    def __call__(self, x: torch.Tensor, y: Any) -> dict[str, float]:
        found = self.compiled({"x": x, "y": y})
        return {name: float(found[name]) for name in self._step.columns}

    @property
    def launches(self) -> int:
        """Of kernels, in one step."""
        return len(self.compiled.plan.calls)

    @property
    def fused(self) -> dict[str, int]:
        """What the launches of one step compute -> how many of them do."""
        return self.compiled.plan.fused

    def set_rate(self, lr: float) -> None:
        """The run's learning rate of the next step; each net's is its multiple of it."""
        self.lr = lr
        for rates, move in zip(self.compiled.optimizers, self._step.moves, strict=True):
            for group in rates.param_groups:
                group["lr"] = lr * move.lr

    def nets(self) -> dict[str, torch.Tensor]:
        """Copies of the tensors of all nets that are moved, as ``model.NAME``."""
        still = tuple(f"{name}." for name in self._step.frozen)
        return {name: tensor for name, tensor in self.compiled.state_dict().items() if not name.startswith(still)}

    def optimizer(self) -> dict[str, torch.Tensor]:
        """Copies of the optimizers' states."""
        return self.compiled.optimizer_state()

    def measured(self) -> dict[str, torch.Tensor]:
        """The model's weights that are measured and kept: the moving averages, where there are such."""
        averages = self.compiled.averages() if self._averaged else {}
        return measured(self.nets(), {f"average.{name}": tensor for name, tensor in averages.items()})

    def load(self, nets: Tensors, optimizer: Tensors) -> None:
        """Go on from what ``nets`` and ``optimizer`` gave."""
        self.compiled.load_state_dict({**self.compiled.state_dict(), **nets})
        self.compiled.load_optimizer_state(optimizer)


def build_beside(step: Step, values: Values, facts: Facts, seed: int) -> dict[str, torch.nn.Module]:
    """Build the nets beside the model, each from a seed of its own; frozen ones take no gradient and are in eval mode.

    torch's global generator is left as it was.
    """
    nets = {}
    for name, build in step.nets.items():
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            nets[name] = build(facts, values)
        if name in step.frozen:
            nets[name].requires_grad_(False).eval()
    return nets


def _optimizer(options: Options, move: Move) -> Optimizer:
    """The run's optimizer for one net; averages are kept of the model alone."""
    usual = options.build_optimizer()
    known = {field.name for field in dataclasses.fields(usual)}
    numbers = {name: value for name, value in move.numbers.items() if name in known}
    ema = options.ema if move.net == MODEL else 0.0
    return dataclasses.replace(usual, **{**numbers, "lr": options.lr * move.lr, "ema": ema})


def _fingerprint(nets: Mapping[str, torch.nn.Module]) -> str:
    """sha256 of all tensors of frozen nets; empty where there are none."""
    digest = hashlib.sha256()
    for name, net in sorted(nets.items()):
        for key, tensor in net.state_dict().items():
            digest.update(f"{name}.{key} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest() if nets else ""
