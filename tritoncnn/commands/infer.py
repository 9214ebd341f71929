"""tritoncnn infer RUN PICTURE..."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tritoncnn.commands.ending import complain, say


@click.command()
@click.argument("run", type=Path)
@click.argument("pictures", type=Path, nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, default=3, show_default=True, help="Classes to show per picture.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list, for machines.")
def infer(run: Path, pictures: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Say what is on each PICTURE (PNG, JPEG, BMP, GIF, TIFF, WebP, PPM), by the model trained in the folder RUN.

    \b
    Pictures are adapted as in training. Photographs: the middle square, scaled to the run's --size. Handwriting:
    colour         to grey by luma; transparent parts become white (black, if what is visible is light);
                   turned upright by the EXIF tag
    dark on light  inverted when the median of the outermost ring of pixels is above half of the contrast,
                   for the model reads light ink on a dark ground; contrast is stretched to the full range
    size           a 28 x 28 picture is taken as it is; of any other the ink (from 20 % of the contrast on) is
                   cut out, scaled to fit 20 x 20 with its aspect ratio kept, and centred by its centre of
                   mass in 28 x 28, as in MNIST. At most 50 megapixels.

    A picture that is blank or cannot be read is told and passed over; the exit code is then 1, or 2 where no picture
    could be read.
    """
    from tritoncnn.errors import DataError
    from tritoncnn.tasks import find_task
    from tritoncnn.train import predict, task_name

    found = list(zip(pictures, predict(find_task(task_name(run)), run, pictures, top), strict=True))
    errors = [answer for _, answer in found if isinstance(answer, DataError)]
    if len(errors) == len(found) == 1:
        raise errors[0]
    if as_json:
        notes = [{"error": str(answer)} if isinstance(answer, DataError) else answer.note for _, answer in found]
        rows = [{"picture": str(picture), **note} for picture, note in zip(pictures, notes, strict=True)]
        click.echo(json.dumps(rows, indent=2))
    for picture, answer in found:
        if isinstance(answer, DataError):
            complain(f"error: {answer}")
        elif not as_json:
            say(str(picture))
            for line in answer.lines:
                say(f"  {line}")
    if errors:
        raise SystemExit(1 if len(errors) < len(found) else 2)
