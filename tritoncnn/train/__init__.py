"""Data sets, the training loop, checkpoints, the run folder, and prediction from a run."""

from tritoncnn.train.data import DATA, Dataset, load_data
from tritoncnn.train.interrupt import Interrupted
from tritoncnn.train.loop import resume, train
from tritoncnn.train.options import Options, find_model
from tritoncnn.train.predict import Prediction, predict
from tritoncnn.train.progress import Bar, Lines, Silent, pick_progress
from tritoncnn.train.versions import versions

__all__ = [
    "DATA", "Bar", "Dataset", "Interrupted", "Lines", "Options", "Prediction", "Silent", "find_model", "load_data",
    "pick_progress", "predict", "resume", "train", "versions",
]  # fmt: skip
