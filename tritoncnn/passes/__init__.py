"""Graph -> Graph, one file per rewrite; ``pipeline.py`` is the list."""

from tritoncnn.passes.define import Pass
from tritoncnn.passes.pipeline import FORWARD, Stage, lowering, run_passes

__all__ = ["FORWARD", "Pass", "Stage", "lowering", "run_passes"]
