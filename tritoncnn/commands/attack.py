"""tritoncnn attack RUN [PICTURE...]"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.place import path
from tritoncnn.commands.results import (
    best_option,
    folder_option,
    form_options,
    go_through,
    print_rows,
    tell,
    tell_written,
)


@click.command()
@click.argument("run", type=path)
@click.argument("pictures", nargs=-1, metavar="[PICTURE...]")
@click.option("--method", type=click.Choice(["fgsm", "pgd"]), default="pgd", show_default=True)
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True, help="Of the change.")
@click.option("--epsilon", type=float, default=0.1, show_default=True, help="How large the change may be; white is 1.")
@click.option("--steps", type=int, help="Of pgd (default: 10).")
@click.option("--step-size", type=float, help="Of each step (default: 2.5 epsilon / steps; of fgsm epsilon).")
@click.option("--random-start/--no-random-start", default=None, help="Begin beside the picture (default: pgd does).")
@click.option("--target", metavar="CLASS", help="The class that the model shall find (default: any but the right one).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random starts and of the noise.")
@click.option("--examples", type=int, default=500, show_default=True, help="Test pictures of a curve, at most.")
@click.option("--data-dir", type=path, help="For a curve, other data of the same kind and classes.")
@best_option
@form_options
@folder_option("Folder of the results (of a curve, by default RUN/attack).")
def attack(
    run: Path, pictures: tuple[str, ...], target: str | None, examples: int, data_dir: Path | None, best: bool,
    form: str | None, out: Path | None, **how: Any,
) -> None:  # fmt: skip
    """Change pictures by as little as --epsilon so that the classifier trained in the folder RUN is wrong about them.

    \b
    fgsm  x + epsilon sign(gradient of the loss): one step (Goodfellow et al. 2015)
    pgd   several steps from a random start, each brought back to within epsilon (Madry et al. 2018)
    linf  no value of the picture changes by more than epsilon
    l2    the root of the sum of all squared changes is at most epsilon

    Without pictures: accuracy on the test part of the run's data over epsilon, from 0 on, and under random noise of the same
    size, as a table, curve.json, curve.csv and curve.png; examples.png shows some of the pictures.

    With pictures: what the model finds in each PICTURE before and after, away from the class it finds or towards --target.
    --out DIR then also writes attack.json, and of each picture NAME-attack.png: before, the change magnified, after. PICTURE may
    be all that "tritoncnn infer" takes, and is adapted as there; exit codes are also the same.

    Values run from 0, black, to 1, white, and stay there: 8 of 256 levels are --epsilon 0.031. Pictures of a run of task texture
    are each evened out to mean 0 and deviation 1: epsilon is then in units of that deviation.
    """
    from tritoncnn.attacks import Attack
    from tritoncnn.errors import InputError
    from tritoncnn.robust import Victim, attack_curve, attack_pictures, write_attacked
    from tritoncnn.tasks import find_task
    from tritoncnn.train import task_name

    if pictures and data_dir is not None:
        raise InputError("--data-dir is for a curve over the test part; leave it out, or the pictures")
    chosen = Attack.of(**how)
    victim = Victim(find_task(task_name(run)), run, best=best)
    if not pictures:
        curve = attack_curve(victim, run, chosen, target, data_dir, out, examples)
        if form == "csv":
            print_rows(curve.note["curve"], form)
        else:
            tell(curve.note, curve.lines, curve.files, form == "json")
        return
    with go_through(
        pictures, lambda files: attack_pictures(victim, files, chosen, target), out=out, end="attack.png"
    ) as results:
        results.tell(form)
        if out is not None:
            written = write_attacked(out, results.rows, [(name, result) for name, _, result in results.done])
            if form is None:
                tell_written(written)
