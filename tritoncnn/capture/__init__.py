"""Front doors: a ``torch.nn.Module`` becomes a Graph."""

from tritoncnn.capture.export import SEED, Captured, capture, capture_loss

__all__ = ["SEED", "Captured", "capture", "capture_loss"]
