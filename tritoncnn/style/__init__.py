"""Style transfer: the content of one picture, painted in the style of another."""

from tritoncnn.style.paint import Painted, Painting, paint
from tritoncnn.style.run import load_vgg, paint_files

__all__ = ["Painted", "Painting", "load_vgg", "paint", "paint_files"]
