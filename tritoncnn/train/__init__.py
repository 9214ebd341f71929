"""The engine: training loop, checkpoints, run folder, curves, progress, answers. It reads only what a Task says."""

from tritoncnn.errors import Interrupted
from tritoncnn.train.baseline import tell_baseline
from tritoncnn.train.compare import Compared, Further, compare
from tritoncnn.train.configfile import lay_over, read_config, task_of_config
from tritoncnn.train.folder import RUNS, task_name
from tritoncnn.train.loop import rehearse, resume, train
from tritoncnn.train.measure import Measured, measure
from tritoncnn.train.options import Options
from tritoncnn.train.predict import predict
from tritoncnn.train.progress import Bar, Lines, Silent, pick_progress
from tritoncnn.train.runs import list_runs
from tritoncnn.train.trainer import Outcome
from tritoncnn.train.versions import versions
from tritoncnn.train.ways import read_ways

__all__ = [
    "RUNS", "Bar", "Compared", "Further", "Interrupted", "Lines", "Measured", "Options", "Outcome", "Silent", "compare",
    "lay_over", "list_runs", "measure", "pick_progress", "predict", "read_config", "read_ways", "rehearse", "resume", "task_name",
    "task_of_config", "tell_baseline", "train", "versions",
]  # fmt: skip
