"""How well a model reads pictures that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

import tritoncnn

BATCH = 256


class Evaluator:
    """A model compiled for batches; the last, partial one is filled up with zeros whose results are dropped."""

    def __init__(self, module: torch.nn.Module, shape: torch.Size, batch: int) -> None:
        """``shape`` is C, H, W."""
        self.x = torch.zeros(batch, *shape)
        self.model = tritoncnn.compile(module.eval(), self.x)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        self.model.load_state_dict(dict(state))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """f32[N,C,H,W] -> f32[N,classes], for any N."""
        parts = []
        for rows in x.split(len(self.x)):
            self.x.zero_()
            self.x[: len(rows)] = rows
            parts.append(self.model(self.x)[: len(rows)].clone())
        return torch.cat(parts)

    def loss_and_accuracy(self, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        """(mean cross-entropy, share of pictures whose largest logit is their label's)"""
        logits = self.logits(x)
        loss = F.cross_entropy(logits.double(), y)
        return float(loss), float((logits.argmax(1) == y).sum()) / len(y)
