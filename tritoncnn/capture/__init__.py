"""Front doors: a call of torch code over ``torch.nn.Module``s becomes a Graph."""

from tritoncnn.capture.aten import SEED
from tritoncnn.capture.export import Captured, argument_names, capture, capture_loss, capture_module

__all__ = ["SEED", "Captured", "argument_names", "capture", "capture_loss", "capture_module"]
