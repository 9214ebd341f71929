"""What a detector's answers are judged by: overlaps, suppression of double finds, average precision.

All of it is NumPy on the host: it is done once a picture or once an epoch, on at most some hundred boxes. What follows the
overlaps takes them as a matrix, so that boxes of any kind may be judged: upright, turned, in space.
"""

from tritoncnn.boxes.average_precision import (
    COCO_RECALLS,
    COCO_THRESHOLDS,
    SIZES,
    Scene,
    average_precisions,
    match,
    mean_over,
)
from tritoncnn.boxes.overlap import areas, overlaps, shares_inside
from tritoncnn.boxes.suppress import suppress

__all__ = [
    "COCO_RECALLS", "COCO_THRESHOLDS", "SIZES", "Scene", "areas", "average_precisions", "match", "mean_over", "overlaps",
    "shares_inside", "suppress",
]  # fmt: skip
