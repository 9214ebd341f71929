"""tritoncnn train TASK"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import say
from tritoncnn.commands.table import table_options


@click.command()
@click.argument("name", metavar="TASK")
@table_options
@click.option("--out", type=Path, help="Run folder (default: runs/TASK-DATE-N).")
@click.option("--resume", "run", type=Path, metavar="RUN", help="Go on with the run in this folder.")
def train(name: str, out: Path | None, run: Path | None, **given: Any) -> None:
    """Train the model of TASK and keep the result in a run folder.

    \b
    lenet                            handwritten digits: --data digits, mnist or folder
    alexnet, googlenet, resnet, vgg  photographs: --data photographs, cifar10, cifar100 or folder

    \b
    digits       scikit-learn's 1,797 scans; a fifth is held out, the rest is joined by 4 warped copies each
    mnist        the four IDX files in --data-dir, plain or .gz
    photographs  patches of 12 photographs that come with scikit-image and scikit-learn: those of their left
                 halves, of any scale and mirrored or not, against those of their right halves
    cifar10      the files of CIFAR-10 in --data-dir, of the binary version or that for Python, whose pickles
                 are read without running what they name; cifar100 in the same way
    folder       --data-dir holds one folder of pictures per class (sorted by name); a fifth of each is held
                 out; pictures are adapted as "tritoncnn infer --help" says

    \b
    schedule   after a rise over the share --warm-up of all steps, the learning rate
    cosine     falls to 0 as half a cosine
    step       is a tenth from half of the rest on, a hundredth from three quarters on
    one-cycle  as cosine; it rises from 1/25 along half a cosine
    constant   stays

    \b
    augment  each training picture anew in each epoch, in the order given; amounts, as in colour=0.3, are
    crop     share of the side by which it may be moved (0.125), black beside it
    flip     share of pictures that are mirrored, left for right (0.5)
    colour   share by which brightness, contrast and saturation may change (0.4)
    cutout   share of the side of a square that is set to the mean (0.5)
    mixup    two pictures and their targets are laid over each other, by a share from Beta(0.2, 0.2)

    Examples that do not fill a last batch are left out of that epoch; each epoch has another order. A checkpoint is
    written before the first step, after each epoch, every --save-every seconds, and on Ctrl-C, SIGTERM or SIGHUP (exit
    code 130).

    --weights FILE begins with weights of torchvision's names, or with RUN/model.safetensors. All that does not fit is told
    at once; where the classes are others, --new-head begins with new layers for them.

    --resume RUN continues from the last checkpoint and ends with the bits of a run that was never interrupted. It takes
    the run's own settings; only --data-dir, --threads and --save-every may be given anew.
    """
    from tritoncnn import train as library
    from tritoncnn.errors import InputError
    from tritoncnn.tasks import find_task

    task = find_task(name)
    for path in ("data_dir", "weights"):  # kept in the run, which may be resumed from another folder
        given[path] = os.path.abspath(given[path]) if given[path] is not None else None
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
