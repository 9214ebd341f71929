"""tritoncnn compose RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.place import path
from tritoncnn.commands.results import best_option, file_option, json_option, tell


@click.command()
@click.argument("run", type=path)
@click.option("--seconds", type=float, default=8.0, show_default=True, help="Of sound to make, at most 600.")
@click.option("--temperature", type=float, default=0.9, show_default=True, help="Below 1: calmer; above 1: wilder.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
@click.option(
    "--prime", type=path, metavar="FILE", help="Go on from the last 2 seconds of this sound, not from silence."
)
@file_option("The sound that is made.", Path("composed.wav"))
@best_option
@json_option
def compose(run: Path, out: Path, best: bool, as_json: bool, **how: Any) -> None:
    """Make a sound by the WaveNet trained in the folder RUN: 8000 samples a second, 16 bits, one channel.

    Each sample is drawn by the probabilities that the net gives its 256 levels after those before it. What the layers have
    heard is kept (Paine et al. 2016), so that a sample is one short plan; how long one takes on one core is told beside the
    time that it lasts. The same seed gives the same sound.
    """
    from tritoncnn.music import Composing, compose_of_run
    from tritoncnn.tasks import find_task
    from tritoncnn.train import task_name

    note = compose_of_run(find_task(task_name(run)), run, Composing(**how), out, best=best)
    each = note["microseconds_per_sample"]
    after = f" after {note['given_seconds']:.1f} s of {note['prime']}" if note["prime"] is not None else ""
    lines = (
        f"{note['made_seconds']:.1f} s made{after}: {note['launches']} launches a sample, {each:.1f} us on one core",
        f"real time at 8 kHz is 125 us a sample ({125 / each:.1f} times as long), at 16 kHz 62.5 us ({62.5 / each:.1f} times)",
    )
    tell(note, lines, [out], as_json)
