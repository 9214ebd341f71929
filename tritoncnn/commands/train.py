"""tritoncnn train TASK"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import say
from tritoncnn.commands.place import path
from tritoncnn.commands.table import TaskCommand, table_options


@click.command(cls=TaskCommand)
@click.argument("name", metavar="TASK", required=False)
@table_options
@click.option("--config", type=path, metavar="FILE.yaml", help="Flags in a file; those on the command line go before.")
@click.option("--out", type=path, help="Run folder (default: runs/TASK-DATE-N).")
@click.option("--resume", "run", type=path, metavar="RUN", help="Go on with the run in this folder.")
@click.option("--fast-dev-run", "fast", is_flag=True, help="Two steps and all that follows them, to see that it works.")
@click.option("-v", "--verbose", is_flag=True, help="Also tell what is trained and how, and pictures per class.")
@click.option("-q", "--quiet", is_flag=True, help="Print the last line only; errors in any case.")
def train(
    name: str | None,
    config: Path | None,
    out: Path | None,
    run: Path | None,
    fast: bool,
    verbose: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Train the model of TASK and keep the result in a run folder.

    `tritoncnn train TASK --help` also tells of TASK's models, options and data sets, and of the changes that --augment
    knows; `tritoncnn list` of all tasks.

    \b
    schedule   after a rise over the share --warm-up of all steps, the learning rate
    cosine     falls to 0 as half a cosine
    step       is a tenth from half of the rest on, a hundredth from three quarters on
    one-cycle  as cosine; it rises from 1/25 along half a cosine
    constant   stays

    --augment changes each training picture anew in each epoch, in the order given. Where
    targets are boxes, crop and flip move these too, and cutout and mixup are refused.

    Examples that do not fill a last batch are left out of that epoch; each epoch has another order. A checkpoint is
    written before the first step, after each epoch, every --save-every seconds, and on Ctrl-C, SIGTERM or SIGHUP (exit
    code 130).

    --weights FILE begins with weights of torchvision's names, or with RUN/model.safetensors. All that does not fit is told
    at once; where the classes are others, --new-head begins with new layers for them.

    --resume RUN continues from the last checkpoint and ends with the bits of a run that was never interrupted. It takes
    the run's own settings; only --data-dir, --threads and --save-every may be given anew, and more --epochs to a run that
    has ended: the learning rate then begins its schedule again.

    --config FILE reads flags from lines as "epochs: 12". Each run folder holds a config.yaml that trains it again.
    """
    from tritoncnn import train as library
    from tritoncnn.errors import InputError
    from tritoncnn.tasks import find_task

    if verbose and quiet:
        raise click.UsageError("-v and -q say the opposite of each other; leave one out")
    given = {key: os.path.abspath(value) if isinstance(value, Path) else value for key, value in given.items()}
    named = library.task_of_config(config) if config is not None else None
    name = name or named or (library.task_name(run) if run is not None else None)
    if name is None:
        context = click.get_current_context()
        raise click.MissingParameter(ctx=context, param=context.command.params[0])
    if named not in (None, name):
        raise InputError(f"TASK {name} is not the one of --config {config}; leave it out, or name another file")
    task = find_task(name)
    if config is not None:
        given = library.lay_over(task, library.read_config(config, task.own_rows()), given)
    progress = library.pick_progress(verbose, quiet)
    if fast:
        if out is not None or run is not None:
            raise InputError(f"--fast-dev-run keeps nothing; leave out {'--out' if out is not None else '--resume'}")
        outcome = library.rehearse(library.Options.of(task, **given), progress)
        say(f"two steps, an evaluation and all files worked, in {outcome.summary['seconds']:.1f} s; nothing was kept")
        return
    if run is not None:
        if out is not None and out.resolve() != run.resolve():
            raise InputError(f"--resume {run} writes into that folder; leave out --out {out}")
        outcome = library.resume(task, run, given, progress)
    else:
        outcome = library.train(library.Options.of(task, **given), out, progress)
    metric, summary = task.metrics[task.best], outcome.summary
    shown, best = metric.show(summary["metrics"][task.best]), summary["best"]
    if best["epoch"] != summary["epochs"]:
        shown = f"{shown} (best: {metric.show(best[task.best])} after epoch {best['epoch']})"
    if summary["baseline"] is not None:
        shown = f"{shown}, against {library.tell_baseline(task, summary['baseline'])},"
    after = f"after {summary['seconds']:.1f} s"
    if outcome.done_before:
        after = f"{after}, as before: the run had finished and nothing was trained"
    say(f"test {task.best.replace('_', ' ')} {shown} {after}; run folder {outcome.run}")
