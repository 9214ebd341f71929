"""Dreams: what a layer of a trained net sees in a picture, drawn into it."""

from tritoncnn.dreams.octaves import Dream, Dreaming, dream
from tritoncnn.dreams.run import dream_of_run

__all__ = ["Dream", "Dreaming", "dream", "dream_of_run"]
