"""Reverse mode, Graph -> Graph: gradients are ordinary IR."""

from tritoncnn.autodiff.reverse import differentiate

__all__ = ["differentiate"]
