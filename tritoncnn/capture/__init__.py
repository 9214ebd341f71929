"""Front doors: a ``torch.nn.Module`` becomes a Graph."""

from tritoncnn.capture.export import Captured, capture, capture_loss

__all__ = ["Captured", "capture", "capture_loss"]
