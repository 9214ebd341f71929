"""Reverse mode, Graph -> Graph: gradients are ordinary IR."""

from tritoncnn.autodiff.reverse import differentiate, pull_back, reached
from tritoncnn.autodiff.split import Halves, split

__all__ = ["Halves", "differentiate", "pull_back", "reached", "split"]
