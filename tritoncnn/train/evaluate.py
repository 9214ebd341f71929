"""What a model makes of examples that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

from tritoncnn.data.stream import read_ahead
from tritoncnn.tree import apply

BATCH = 256
M = TypeVar("M", bound=Callable[[torch.Tensor], Any])


class Evaluator(Generic[M]):
    """A model compiled for batches; the last, partial one is filled up with zeros whose results are dropped."""

    def __init__(self, compile: Callable[[torch.Tensor], M], like: torch.Tensor, batch: int) -> None:
        """``compile`` makes the model for a batch; ``like`` is inputs of any number, of the shape and dtype to come."""
        self.x = torch.zeros(batch, *like.shape[1:], dtype=like.dtype)
        self.model = compile(self.x)

    def outputs(self, x: torch.Tensor, workers: int = 0) -> Any:
        """Run the model on inputs of any number N > 0; each tensor of its output has N rows.

        Inputs may be on disk, where ``workers`` processes read them. Outputs are held at once: metrics as mAP and top-5, and
        the pictures of the surest mistakes, are of all of them together; of a classifier that is a number for each class.
        """
        parts = []
        for rows in read_ahead(x, torch.arange(len(x)).split(len(self.x)), workers):
            self.x.zero_()
            self.x[: len(rows)] = rows
            count = len(rows)
            parts.append(apply(lambda output, n=count: output[:n].clone(), self.model(self.x)))
        return apply(lambda *rows: torch.cat(rows), *parts)
