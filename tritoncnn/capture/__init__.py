"""Front doors: a ``torch.nn.Module`` becomes a Graph."""

from tritoncnn.capture.aten import SEED
from tritoncnn.capture.export import Captured, capture, capture_loss

__all__ = ["SEED", "Captured", "capture", "capture_loss"]
