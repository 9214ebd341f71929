"""A finished run as the start of a new one."""

from __future__ import annotations

from pathlib import Path

from tritoncnn.data.files import look
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.train import folder
from tritoncnn.train.options import Options


def weights_of(options: Options) -> Path | None:
    """The file whose weights a new run begins with: that of ``--weights``, or of the run that ``--from`` names.

    Raises InputError where that run is of another task or model.
    """
    if options.from_run is None:
        return Path(options.weights) if options.weights is not None else None
    run = folder.open_run(Path(options.from_run))
    config = folder.read_config(run)
    found, wanted = (config.get("task"), config.get("model")), (options.task.name, options.model)
    if found != wanted:
        raise InputError(
            f"--from {run.path} is a run of task {found[0]!r}, model {found[1]!r}; wanted {wanted[0]!r}, {wanted[1]!r}"
        )
    if look(run.model) == "none":
        raise CheckpointError(f"{run.model} does not exist: the run has not finished its first epoch; --resume it")
    return run.model
