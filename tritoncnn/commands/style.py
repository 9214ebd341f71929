"""tritoncnn style CONTENT STYLE"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import check_file, file_option, json_option, tell


@click.command()
@click.argument("content")
@click.argument("style")
@file_option("File of the result (default: style-CONTENT.png).")
@click.option("--size", type=int, default=256, show_default=True, help="Pixels of the longer side.")
@click.option("--steps", type=int, default=150, show_default=True)
@click.option("--optimizer", type=click.Choice(["lbfgs", "adam"]), default="lbfgs", show_default=True)
@click.option(
    "--from",
    "start",
    type=click.Choice(["content", "noise"]),
    default="content",
    show_default=True,
    help="The first picture.",
)
@click.option("--content-weight", "content_weight", type=float, default=2.0, show_default=True)
@click.option("--style-weight", "style_weight", type=float, default=100.0, show_default=True)
@click.option("--variation-weight", "variation_weight", type=float, default=5.0, show_default=True)
@click.option(
    "--weights", type=path, metavar="FILE", help="Of VGG-16 or VGG-19, torchvision's names (.safetensors, .pth)."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random filters, and of noise.")
@json_option
def style(
    content: str, style: str, out: Path | None, size: int, weights: Path | None, content_weight: float, style_weight: float,
    variation_weight: float, as_json: bool, **how: Any,
) -> None:  # fmt: skip
    """Paint what is on the picture CONTENT in the style of the picture STYLE (Gatys et al. 2016).

    \b
    The picture is what is trained, on our kernels, to make the least of the weighted sum of
    content    |F - P|^2 / |P|^2   F: its maps, P: those of CONTENT
    style      |G - A|^2 / |A|^2   G: Gram matrices of its maps, A: those of STYLE; mean over the layers
    variation  the mean square of the difference between neighbouring pixels

    Without --weights the maps are those of untrained, random filters of many sizes (Ustyuzhaninov et al. 2016); content is
    then compared by maps with mean and deviation taken off. STYLE is scaled to the size of CONTENT, its middle counts.

    Either may be a file, or the name of a picture that comes along: strokes (made), temple, cat, coffee, tissue, flower...
    Written are the result and a strip of content, style and result. The losses at the end are those of the written file.
    """
    from tritoncnn.style import Painting, paint_files

    painting = Painting(content=content_weight, style=style_weight, variation=variation_weight, **how)
    place = out or check_file(Path(f"style-{Path(content).stem}.png"))
    say_on = complain if as_json else say
    note, files = paint_files(content, style, painting, place, size=size, weights=weights, tell=say_on)
    lines = [
        f"{name:9}  {note['before'][name]:10.4g} at the beginning  {note['after'][name]:10.4g} at the end"
        for name in note["before"]
    ]
    tell(note, lines, files, as_json)
