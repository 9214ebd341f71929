"""Front doors: a call of torch code over ``torch.nn.Module``s becomes a Graph."""

from tritoncnn.capture.aten import SEED
from tritoncnn.capture.export import TRACING, Captured, argument_names, capture, capture_loss, capture_module
from tritoncnn.capture.hooks import backward_hooks, forward_hooks

__all__ = [
    "SEED",
    "TRACING",
    "Captured",
    "argument_names",
    "backward_hooks",
    "capture",
    "capture_loss",
    "capture_module",
    "forward_hooks",
]
