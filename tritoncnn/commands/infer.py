"""tritoncnn infer RUN PICTURE..."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import complain, say


@click.command()
@click.argument("run", type=Path)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, help="Classes (default: 3), or boxes (100), to show per picture at most.")
@click.option(
    "--score",
    type=float,
    help="Probability of a class (default: 0), or score of a box (0.4; of a car 0.3), to show at least.",
)
@click.option("--best", is_flag=True, help="The weights of the best epoch, not of the last.")
@click.option("--json", "form", flag_value="json", help="One JSON list, for machines.")
@click.option("--csv", "form", flag_value="csv", help="A table with a row per picture, for spreadsheets.")
@click.option("--out", type=Path, metavar="DIR", help="Also write answers.json and each picture with its answer there.")
def infer(
    run: Path,
    pictures: tuple[str, ...],
    top: int | None,
    score: float | None,
    best: bool,
    form: str | None,
    out: Path | None,
) -> None:
    """Say what is on each PICTURE (PNG, JPEG, BMP, GIF, TIFF, WebP, PPM), by the model trained in the folder RUN.

    \b
    Pictures are adapted as in training. Photographs: the middle square, scaled to the run's --size. Detection:
    the whole picture, its longer side scaled to --size; boxes are told in the picture's own pixels. Handwriting:
    colour         to grey by luma; transparent parts become white (black, if what is visible is light);
                   turned upright by the EXIF tag
    dark on light  inverted when the median of the outermost ring of pixels is above half of the contrast,
                   for the model reads light ink on a dark ground; contrast is stretched to the full range
    size           a 28 x 28 picture is taken as it is; of any other the ink (from 20 % of the contrast on) is
                   cut out, scaled to fit 20 x 20 with its aspect ratio kept, and centred by its centre of
                   mass in 28 x 28, as in MNIST. At most 50 megapixels.

    Of a run that finds cars in lidar scans PICTURE is a scan: .bin as KITTI has them (x, y, z, reflectance as f32), or
    .npy of floats [N,4] or [N,3]; --out draws it from above.

    PICTURE may also be a folder (all pictures in it and its folders), a pattern as "scans/*.png", or - for a picture on
    standard input. A picture that is blank or cannot be read is told and passed over; the exit code is then 1, or 2 where
    no picture could be read.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as place:  # for standard input
        code = _infer(run, pictures, Path(place), form, out, {"top": top, "score": score, "best": best})
    if code:
        raise SystemExit(code)


def _infer(
    run: Path, words: tuple[str, ...], place: Path, form: str | None, out: Path | None, asked: dict[str, Any]
) -> int:
    """The exit code; ``asked`` is for ``predict``."""
    from tritoncnn.data.files import look
    from tritoncnn.data.inputs import find_pictures
    from tritoncnn.errors import DataError, InputError
    from tritoncnn.tasks import find_task
    from tritoncnn.train import predict, task_name

    if out is not None and look(out) not in ("none", "folder"):
        raise InputError(f"--out {out} is not a folder")
    task = find_task(task_name(run))
    pictures = find_pictures(words, place, task.takes)
    answers = iter(predict(task, run, [p.file for p in pictures if isinstance(p.file, Path)], **asked))
    found = [(p, p.file if isinstance(p.file, DataError) else next(answers)) for p in pictures]
    found = [(p, p.told(answer) if isinstance(answer, DataError) else answer) for p, answer in found]
    errors = [answer for _, answer in found if isinstance(answer, DataError)]
    if len(errors) == len(found) == 1:
        raise errors[0]
    rows = [
        {task.takes.word: picture.name, **({"error": str(answer)} if isinstance(answer, DataError) else answer.note)}
        for picture, answer in found
    ]
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
    elif form == "csv":
        from tritoncnn.train.answers import as_csv

        click.echo(as_csv(rows).encode(errors="backslashreplace").rstrip(b"\n"))
    for picture, answer in found:
        if isinstance(answer, DataError):
            complain(f"error: {answer}")
        elif form is None:
            say(picture.name)
            for line in answer.lines:
                say(f"  {line}")
    if out is not None:
        from tritoncnn.train.answers import write_answers  # late: most calls draw nothing

        drawn = [(p.name, p.file, a) for p, a in found if not isinstance(a, DataError)]
        write_answers(out, rows, drawn, task.view)
    return 0 if not errors else 1 if len(errors) < len(found) else 2
