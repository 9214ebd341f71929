"""What a model makes of examples that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_map

import tritoncnn

BATCH = 256


class Evaluator:
    """A model compiled for batches; the last, partial one is filled up with zeros whose results are dropped."""

    def __init__(self, module: torch.nn.Module, like: torch.Tensor, batch: int) -> None:
        """``like`` is inputs of any number, of the shape and dtype to come."""
        self.x = torch.zeros(batch, *like.shape[1:], dtype=like.dtype)
        self.model = tritoncnn.compile(module.eval(), self.x)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        self.model.load_state_dict(dict(state))

    def outputs(self, x: torch.Tensor) -> Any:
        """Run the model on inputs of any number N > 0; each tensor of its output has N rows."""
        parts = []
        for rows in x.split(len(self.x)):
            self.x.zero_()
            self.x[: len(rows)] = rows
            count = len(rows)
            parts.append(tree_map(lambda output, n=count: output[:n].clone(), self.model(self.x)))
        return tree_map(lambda *rows: torch.cat(rows), *parts)
