"""tritoncnn infer RUN PICTURE..."""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.place import path
from tritoncnn.commands.results import best_option, folder_option, form_options, go_through, tell_written


@click.command()
@click.argument("run", type=path)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=int, help="Classes (default: 3), or boxes (100), to show per picture at most.")
@click.option(
    "--score",
    type=float,
    help="Probability of a class (default: 0), or score of a box (0.4; of a car 0.3), to show at least.",
)
@best_option
@form_options
@folder_option("Also write answers.json and each picture with its answer there.")
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

    Of a WaveNet PICTURE is a sound: WAV, FLAC, Ogg, AIFF or MP3 of any width, rate and number of channels; told are the bits
    that a sample takes, of all of it and second by second: how surprising it is to the net.

    A run that paints (stylenet, videostyle) takes pictures of any size; --out writes what it makes of them, in that size.

    PICTURE may also be a folder (all pictures in it and its folders), a pattern as "scans/*.png", or - for a picture on
    standard input. A picture that is blank or cannot be read is told and passed over; the exit code is then 1, or 2 where
    no picture could be read.
    """
    from tritoncnn.tasks import find_task
    from tritoncnn.train import predict, task_name

    task = find_task(task_name(run))
    with go_through(
        pictures, lambda files: predict(task, run, files, top, score=score, best=best), task.takes, out
    ) as answers:
        answers.tell(form)
        if out is not None:
            from tritoncnn.train.answers import write_answers  # late: most calls draw nothing

            written = write_answers(out, answers.rows, answers.done, task.view)
            if form is None:
                tell_written(written)
