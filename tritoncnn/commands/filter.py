"""tritoncnn filter NAME PICTURE"""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.ending import say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import check_file, file_option


@click.command()
@click.argument("name")
@click.argument("picture", type=path)
@file_option("File of the result (default: PICTURE-NAME.png in this folder).")
@click.option("--taps", help="Of NAME own: '1 0 -1; 2 0 -2; 1 0 -1', or a text, CSV or .npy file; up to 15 x 15.")
@click.option("--size", type=int, help="Taps along a side of box (default: 3) and gaussian; odd, 3 to 15.")
@click.option("--sigma", type=float, help="Standard deviation of gaussian in pixels (default: 1).")
@click.option(
    "--direction", type=click.Choice(["x", "y", "both"]), help="Of derivative (default: x) and sobel (default: both)."
)
@click.option(
    "--border",
    type=click.Choice(["symmetric", "mirror", "replicate", "wrap", "zeros", "none"]),
    default="symmetric",
    show_default=True,
    help="What lies beyond the edge.",
)
@click.option(
    "--pyramid", "levels", type=int, default=1, metavar="LEVELS", help="Filter also at 1/2, 1/4... of the size."
)
def filter(
    name: str, picture: Path, out: Path | None, taps: str | None, size: int | None, sigma: float | None,
    direction: str | None, border: str, levels: int,
) -> None:  # fmt: skip
    """Lay a filter made by hand on PICTURE, grey or colour, and write the result.

    \b
    NAME is one of
    box         the mean over --size x --size pixels
    gaussian    a weighted mean; taps reach 3 sigma
    derivative  half the difference of two neighbours
    sobel       the same over smoothed neighbours; of both directions the length is taken
    laplacian   four neighbours less four times the pixel
    sharpen     the picture less its laplacian
    own         what --taps says

    \b
    Beyond the edge of a row a b c d there is, by --border
    symmetric   d c b a | a b c d | d c b a   (SciPy calls it reflect)
    mirror      . d c b | a b c d | c b a .   (torch calls it reflect)
    replicate   a a a a | a b c d | d d d d   (SciPy calls it nearest)
    wrap        a b c d | a b c d | a b c d   (torch calls it circular)
    zeros       0 0 0 0 | a b c d | 0 0 0 0
    none        nothing: the result is smaller, by the taps less one

    White is 1, black 0; files of floats stay as they are. A result of both signs is shown with 0 at mid-grey, a length from
    black to white, all else as brightness. --out FILE.npy keeps the numbers themselves.

    --pyramid LEVELS: each level is the one before, blurred, of which every second row and column is kept (Burt & Adelson
    1983). --out NAME.png shows all levels, NAME-0.png and so on one each.
    """
    from tritoncnn.data.values import read_values
    from tritoncnn.errors import InputError
    from tritoncnn.filters import apply_filter, named_filter, own_filter, write_filtered
    from tritoncnn.filters.taps import OWN, size_in_words
    from tritoncnn.filters.write import files_for

    if (name == OWN) != (taps is not None):
        given = "it without them" if taps is None else f"--taps with filter {name!r}"
        raise InputError(f"filter {OWN} and --taps belong together; got {given}")
    if taps is None:
        chosen = named_filter(name, size, sigma, direction)
    elif (size, sigma, direction) != (None, None, None):
        raise InputError("--size, --sigma and --direction are for filters with a name; --taps says it all")
    else:
        chosen = own_filter(taps)
    out = out or check_file(Path(f"{picture.stem}-{name}.png"))
    if out.exists() and picture.exists() and out.samefile(picture):
        raise InputError(f"--out {out} is the picture itself; name another file")
    values = read_values(picture)
    files_for(out, levels)
    results = apply_filter(values, chosen, border, levels)
    files, words = write_filtered(out, results, chosen)
    low, high = min(float(y.min()) for y in results), max(float(y.max()) for y in results)
    kind = "grey" if len(values) == 1 else "colour"
    several = "" if len(chosen.taps) == 1 else "length of 2 filters, "
    say(
        f"{name} ({several}{size_in_words(chosen.size)} taps) on {picture}, {kind}, {size_in_words(values.shape[1:])}: "
        f"values from {low:.4g} to {high:.4g}"
    )
    say(f"written: {', '.join(map(str, files))} ({words})")
