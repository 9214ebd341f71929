"""tritoncnn train TASK"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import say


@click.command()
@click.argument("name", metavar="TASK")
@click.option("--model", help="One of the task's models (default: its first).")
@click.option(
    "--size", type=int, help="Side of the pictures in pixels, where models take several (default: the model's)."
)
@click.option("--data", help="One of the task's data sets (default: its first).")
@click.option("--data-dir", type=Path, help="Where a data set is that does not come along.")
@click.option(
    "--epochs", type=int, help="Passes over the training examples (default: the task's, more of few examples)."
)
@click.option("--batch-size", type=int, help="Examples per step (default: the task's, less of few examples).")
@click.option("--lr", type=float, help="Highest learning rate (default: the task's).")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="Default: the task's.")
@click.option("--momentum", type=float, help="Of sgd.")
@click.option("--weight-decay", type=float, help="Share of each weight that a step of learning rate 1 takes off.")
@click.option("--seed", type=int, help="Of the first weights and the order of examples (default: 0).")
@click.option("--threads", type=int, help="Threads to compute with (default: torch's choice). No bit depends on it.")
@click.option("--out", type=Path, help="Run folder (default: runs/TASK-DATE-N).")
@click.option("--resume", "run", type=Path, metavar="RUN", help="Go on with the run in this folder.")
@click.option("--save-every", type=float, help="Seconds between checkpoints within an epoch (default: 30).")
def train(name: str, out: Path | None, run: Path | None, data_dir: Path | None, **given: Any) -> None:
    """Train the model of TASK and keep the result in a run folder.

    \b
    lenet                            handwritten digits: --data digits, mnist or folder
    alexnet, googlenet, resnet, vgg  photographs: --data photographs, cifar10, cifar100 or folder

    \b
    digits       scikit-learn's 1,797 scans; a fifth is held out, the rest is joined by 4 warped copies each
    mnist        the four IDX files in --data-dir, plain or .gz
    photographs  patches of 12 photographs that come with scikit-image and scikit-learn: those of their left
                 halves, of any scale and mirrored or not, against those of their right halves
    cifar10, cifar100  the files in --data-dir, of the binary version or that for Python (no pickle is run)
    folder       --data-dir holds one folder of pictures per class (sorted by name); a fifth of each is held
                 out; pictures are adapted as "tritoncnn infer --help" says

    The learning rate rises over the first 5 % of all steps, then falls to 0 as half a cosine. Examples that do not fill
    a last batch are left out of that epoch; each epoch has another order. A checkpoint is written before the first
    step, after each epoch, every --save-every seconds, and on Ctrl-C, SIGTERM or SIGHUP (exit code 130).

    --resume RUN continues from the last checkpoint and ends with the bits of a run that was never interrupted. It takes
    the run's own settings; only --data-dir, --threads and --save-every may be given anew.
    """
    from tritoncnn import train as library
    from tritoncnn.errors import InputError
    from tritoncnn.tasks import find_task

    task = find_task(name)
    given["data_dir"] = os.path.abspath(data_dir) if data_dir is not None else None
    progress = library.pick_progress()
    if run is not None:
        if out is not None and out.resolve() != run.resolve():
            raise InputError(f"--resume {run} writes into that folder; leave out --out {out}")
        outcome = library.resume(task, run, given, progress)
    else:
        outcome = library.train(library.Options.of(task, **given), out, progress)
    shown = task.metrics[task.best].show(outcome.summary["metrics"][task.best])
    after = f"after {outcome.summary['seconds']:.1f} s"
    if outcome.done_before:
        after = f"{after}, as before: the run had finished and nothing was trained"
    say(f"test {task.best.replace('_', ' ')} {shown} {after}; run folder {outcome.run}")
