"""Graph -> Graph, one file per rewrite; ``pipeline.py`` is the list."""

from tritoncnn.passes.define import Pass
from tritoncnn.passes.pipeline import FORWARD, LOWERING, Stage, run_passes

__all__ = ["FORWARD", "LOWERING", "Pass", "Stage", "run_passes"]
