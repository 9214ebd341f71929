"""The metrics of a run for TensorBoard, written by the package tensorboard."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritoncnn.errors import InputError, SaveError

NAME = "tensorboard"  # the folder in a run's


def check_tensorboard() -> None:
    """Raise InputError where the package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "--tensorboard needs the package tensorboard, which is not installed: pip install 'tritoncnn[tensorboard]'"
        )


class EventLog:
    """The events of a run, begun anew with the rows of metrics.jsonl so far: TensorBoard may watch while rows are added."""

    def __init__(self, run: Path, rows: Sequence[Mapping[str, float]]) -> None:
        """Raises SaveError."""
        from torch.utils.tensorboard import SummaryWriter  # late: seconds

        self.place = run / NAME
        try:
            if self.place.exists():
                shutil.rmtree(self.place)
            self.writer = SummaryWriter(str(self.place))
        except OSError as error:
            raise SaveError(f"{self.place} could not be written ({error.strerror or error})") from error
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """Raises SaveError."""
        try:
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    self.writer.add_scalar(name, value, int(row["step"]))
            self.writer.flush()
        except OSError as error:
            raise SaveError(
                f"{self.place} could not be written ({error.strerror or error}); the run's checkpoint is intact"
            ) from error

    def close(self) -> None:
        self.writer.close()
