"""tritoncnn dream RUN PICTURE"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import best_option, check_folder, folder_option, json_option, tell


@click.command()
@click.argument("run", type=path)
@click.argument("picture", type=path)
@click.option(
    "--layer",
    metavar="NAME",
    help="Whose answer shall grow (default: the last with a map of 4 x 4 or more); ? lists all.",
)
@click.option(
    "--channel", metavar="NUMBER|all", help="Of that layer, from 0, or the mean of all (default: the middle one)."
)
@click.option("--octaves", type=int, default=4, show_default=True, help="Sizes, each 1.4 times the one before.")
@click.option("--steps", type=int, default=20, show_default=True, help="At each size.")
@click.option("--step-size", type=float, default=0.01, show_default=True, help="Mean change of a step; white is 1.")
@click.option("--jitter", type=int, default=8, show_default=True, help="Pixels of a random shift before each step.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shifts.")
@click.option("--size", type=int, help="Longer side to dream at (default: the picture's, at most 512).")
@best_option
@json_option
@folder_option("Folder of dream.png and dream.json (default: dream-PICTURE).")
def dream(run: Path, picture: Path, size: int | None, best: bool, as_json: bool, out: Path | None, **how: Any) -> None:
    """Change PICTURE so that a layer of the net trained in the folder RUN answers it more strongly (Mordvintsev et al. 2015).

    \b
    x <- x + step g / mean |g|    g: gradient of the mean answer, where less than 0 counts a tenth
    octaves                       first at a small size, then at larger ones with the change scaled up
    jitter                        the picture is shifted at random before each step and back after it

    The whole picture is used, at any size that the net takes up to the layer: full layers behind it are not run. Values run
    from 0, black, to 1, white, and stay there. The answers before and after, means in which less than 0 counts as 0, are those
    to the picture as it is written, in 256 levels, and beside them that to the first picture under random signs of the same
    mean square. Where no --channel is said it is the middle one, by its answer, of those that answer the picture at all.
    """
    from tritoncnn.dreams import Dreaming, dream_of_run
    from tritoncnn.tasks import find_task
    from tritoncnn.train import task_name

    place = out or check_folder(Path(f"dream-{picture.stem}"))
    note, files = dream_of_run(
        find_task(task_name(run)),
        run,
        picture,
        Dreaming(**how),
        place,
        size=size,
        best=best,
        tell=complain if as_json else say,
    )
    what = f"all of {note['layer']}" if note["channel"] == "all" else f"channel {note['channel']} of {note['layer']}"
    times = "" if note["ratio"] is None else f", {note['ratio']:.1f} times as much"
    line = f"{what}: {note['before']:.4g} before, {note['after']:.4g} after{times}; under noise of this size {note['noise']:.4g}"
    tell(note, [line], files, as_json)
