"""tritoncnn stylise RUN FILM"""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import best_option, json_option, tell


@click.command()
@click.argument("run", type=path)
@click.argument("film", type=path)
@click.option("--size", type=int, help="Longer side of the frames (default: as they are).")
@best_option
@json_option
@click.option("--out", type=path, help="Folder of the painted frames, or video file (default: painted-FILM).")
def stylise(run: Path, film: Path, size: int | None, best: bool, as_json: bool, out: Path | None) -> None:
    """Paint all frames of FILM by the net trained in the folder RUN, of task stylenet or videostyle.

    FILM is a folder of pictures, taken by the numbers in their names and written under these, or a video file: GIF, and with
    pip install 'tritoncnn[video]' MP4, MOV, AVI, MKV, WebM, whose sound is kept. Frames must have one size. Of a folder, --out
    film.mp4 makes a video of 25 frames a second. Told is also how much a frame differs from the one before it, in the mean, in
    FILM and in what is painted: less flicker, less difference.
    """
    from tritoncnn.style.film import paint_film
    from tritoncnn.tasks import find_task
    from tritoncnn.train import task_name

    note, files = paint_film(
        find_task(task_name(run)), run, film, out, size=size, best=best, tell=complain if as_json else say
    )
    lines = [f"{note['frames']} frames of {note['size'][0]} x {note['size'][1]} pixels"]
    if "change" in note:
        lines.append(
            f"mean change from frame to frame: {note['change']:.4f} in the film, {note['painted_change']:.4f} painted"
        )
    lines += note["remarks"]
    tell(note, lines, files, as_json)
