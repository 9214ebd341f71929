"""A finished run as the start of a new one."""

from __future__ import annotations

from pathlib import Path

from tritoncnn.data.files import look
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.train import folder
from tritoncnn.train.options import Options


def weights_of(options: Options) -> Path | None:
    """The file whose weights a new run begins with: that of ``--weights``, or of the run that ``--from`` names.

    Raises InputError where that run is of another task or model, CheckpointError where there is no such file.
    """
    if options.from_run is None:
        weights = None if options.weights is None else Path(options.weights)
        if weights is not None and look(weights) == "none":  # told before data are loaded, which takes longer
            raise CheckpointError(f"--weights {weights} does not exist")
        return weights
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
