"""tritoncnn train MODEL"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("model")
@click.option("--data", type=click.Choice(["digits", "mnist", "folder"]), help="Data set (default: digits).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of mnist's IDX files, or of class folders.")
@click.option("--epochs", type=int, help="Passes over the training pictures (default: digits 12, mnist 5, folder 20).")
@click.option("--batch-size", type=int, help="Pictures per step (default: 64).")
@click.option("--lr", type=float, help="Highest learning rate (default: sgd 0.03, adamw 0.001).")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="Default: sgd.")
@click.option("--momentum", type=float, help="Of sgd (default: 0.9).")
@click.option("--weight-decay", type=float, help="Default: sgd 0.0005, adamw 0.01.")
@click.option("--seed", type=int, help="Of the first weights and the order of pictures (default: 0).")
@click.option("--threads", type=int, help="Threads to compute with (default: torch's choice). No bit depends on it.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder (default: runs/MODEL-DATE-N).")
@click.option(
    "--resume", "run", type=click.Path(path_type=Path), metavar="RUN", help="Go on with the run in this folder."
)
@click.option("--save-every", type=float, help="Seconds between checkpoints within an epoch (default: 30).")
def train(model: str, out: Path | None, run: Path | None, data_dir: Path | None, **given: Any) -> None:
    """Train MODEL (lenet) and keep the result in a run folder.

    \b
    digits   scikit-learn's 1,797 scans; a fifth is held out, the rest is joined by 4 warped copies each
    mnist    the four IDX files in --data-dir, plain or .gz
    folder   --data-dir holds one folder of pictures per class (sorted by name); a fifth of each is held
             out; pictures are adapted as "tritoncnn infer --help" says

    The learning rate rises over the first 5 % of all steps, then falls to 0 as half a cosine. Pictures that do not fill
    a last batch are left out of that epoch; each epoch has another order. A checkpoint is written before the first
    step, after each epoch, every --save-every seconds, and on Ctrl-C or SIGTERM (exit code 130).

    --resume RUN continues from the last checkpoint and ends with the bits of a run that was never interrupted. It takes
    the run's own settings; only --data-dir, --threads and --save-every may be given anew.
    """
    from tritoncnn import train as library
    from tritoncnn.errors import InputError

    given["data_dir"] = os.path.abspath(data_dir) if data_dir is not None else None
    progress = library.pick_progress()
    if run is not None:
        if out is not None and out.resolve() != run.resolve():
            raise InputError(f"--resume {run} writes into that folder; leave out --out {out}")
        summary = library.resume(run, model, given, progress)
    else:
        summary = library.train(library.Options.of(model, **given), out, progress)
    click.echo(
        f"test accuracy {summary['test_accuracy']:.2%} after {summary['seconds']:.1f} s; run folder {summary['run']}"
    )
