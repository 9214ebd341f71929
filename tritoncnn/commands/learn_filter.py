"""tritoncnn learn-filter INPUT OUTPUT"""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import folder_option

SHOWN = 7  # taps along a side up to which they are printed


@click.command()
@click.argument("before", type=path, metavar="INPUT")
@click.argument("behind", type=path, metavar="OUTPUT")
@click.option("--size", type=int, default=5, show_default=True, help="Taps along a side; odd, 1 to 15.")
@click.option("--steps", type=int, default=400, show_default=True, help="Of descent, at most; 0: closed form only.")
@click.option("--offset", is_flag=True, help="Find also a number that is added everywhere, as where 0 is mid-grey.")
@folder_option("Folder of the results (default: filter-INPUT-OUTPUT).")
def learn_filter(before: Path, behind: Path, size: int, steps: int, offset: bool, out: Path | None) -> None:
    """Find the filter that makes picture OUTPUT of picture INPUT.

    It is found twice: in closed form, by least squares in f64, and by descent, where a convolution without bias learns it
    on our kernels (L-BFGS). All channels share one filter; where only one picture is in colour, that one is made grey.

    Pictures of one size: rows and columns along the border are left out, as far as the filter reaches, for nobody knows what
    it saw beyond. An OUTPUT that is smaller by the taps less one was made without a border, and counts as a whole.

    Pictures of 8 bits tell a filter to a few digits, files of floats (.npy, TIFF) to 1e-5 and better; how well is told, as is
    a problem that the pictures leave open.

    \b
    The folder has
    filter.txt   the taps; "tritoncnn filter own PICTURE --taps filter.txt" lays them on a picture
    filter.png   both answers, and the curve of descent
    report.json  all figures
    """
    from tritoncnn.data.values import read_values
    from tritoncnn.filters import learn
    from tritoncnn.filters.taps import show_taps, size_in_words

    out = Path(f"filter-{before.stem}-{behind.stem}") if out is None else out
    learn.check_folder(out)
    learned = learn.learn_filter(
        read_values(before), read_values(behind), size, steps=steps, offset=offset, names=(str(before), str(behind))
    )
    pair, solution, descent = learned.pair, learned.solution, learned.descent
    left_out = f"; a border {pair.cut[0]} wide is left out" if any(pair.cut) else ""
    say(f"{size_in_words(pair.size)} taps from {pair.equations:,} equations{left_out}")
    if size <= SHOWN:
        for row in show_taps(solution.taps.round(6) + 0.0, 6).splitlines():
            say(f"  {row}")
    if offset:
        say(f"  offset {solution.offset:.6g}")
    say(
        f"least squares: residual {learned.residuals[0]:.3g} where an even picture leaves {learned.spread:.3g}; condition number "
        f"{solution.condition:.3g}; standard error of a tap at most {solution.error:.2g}"
    )
    if descent is not None:
        say(
            f"descent: residual {learned.residuals[1]:.3g} after {len(descent.losses)} steps of {descent.launches} launches; "
            f"at most {learned.difference:.2g} from least squares"
        )
    for remark in learned.remarks:
        complain(remark)
    learn.write_learned(out, learned)
    say(f"written: {out}")
