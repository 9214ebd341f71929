"""Music sample by sample, by WaveNet: van den Oord et al. 2016."""

from __future__ import annotations

import torch

from tritoncnn.data import Facts
from tritoncnn.data.inputs import Kind
from tritoncnn.data.sounds import SILENCE, SUFFIXES, SoundReader
from tritoncnn.errors import InputError
from tritoncnn.flags import AT_LEAST_1, Rule, option
from tritoncnn.models.wavenet import WaveNet, dilated
from tritoncnn.task import Example, Maker, Metric, Recipe, Task, Values
from tritoncnn.tasks.kinds.levels import MADE, answer, bits, listen, loss, make_sounds, view
from tritoncnn.tasks.kinds.markov import markov

LAYERS, STACKS = 8, 2
WINDOW = 256  # samples that the example has to tell
DEEP = Rule("from 1 to 12", lambda value: 1 <= value <= 12)
TALL = Rule("from 1 to 8", lambda value: 1 <= value <= 8)
RECIPE = Recipe(
    epochs=4, batch=2, steps=1536, optimizer="adam", lr=0.004, momentum=0.0, weight_decay=0.0, flags={"clip": 1.0}
)


def build(facts: Facts, layers: int = LAYERS, stacks: int = STACKS, residual: int = 32, skip: int = 64) -> WaveNet:
    return WaveNet(dilated(layers, stacks), residual, skip)


def example(batch: int) -> Example:
    x = torch.full((batch, sum(dilated(LAYERS, STACKS)) + 1 + WINDOW), SILENCE, dtype=torch.uint8)
    return Example(x, torch.ones(batch, WINDOW, dtype=torch.bool), Facts((), (), ()))


def clash(values: Values) -> None:
    hears = sum(dilated(values["layers"], values["stacks"])) + 1
    if values["context"] < hears:
        raise InputError(
            f"--context must be at least the {hears} samples that a net of --layers {values['layers']} and --stacks "
            f"{values['stacks']} hears; got {values['context']}"
        )


task = Task(
    name="wavenet",
    about="music, sample by sample: which of 256 levels comes after those before it, after van den Oord et al. 2016",
    models={"wavenet": build},
    data=("melodies", "sounds"),
    loss=loss,
    metrics={"bits": Metric(bits, error=True)},
    best="bits",
    example=example,
    read=SoundReader(),
    takes=Kind("sound", SUFFIXES),
    view=view,
    answer=answer,
    each=listen,
    makes=Maker(MADE, make_sounds),
    recipe=RECIPE,
    options=(
        option("layers", LAYERS, "Layers of a stack, of dilations 1, 2, 4, ... (the paper: 10).", DEEP),
        option("stacks", STACKS, "Stacks of such layers.", TALL),
        option("residual", 32, "Channels from layer to layer.", AT_LEAST_1),
        option("skip", 64, "Channels of the sum over all layers.", AT_LEAST_1),
    ),
    clash=clash,
    baseline=markov,
)
