"""A step of what changes a picture instead of a net - style, attack, dream - against torch eager and torch.compile.

    python benchmarks/pictures.py [--only style,attack,dream] [--threads 2] [--cpu] [--json FILE]

A step is the commands' own: of ``style`` forward, losses, backward and L-BFGS (torch's with max_iter=1 and as long a history) on
256 x 171 pixels; of ``attack`` gradient and move of 64 pictures, as for a curve, and of one; of ``dream`` gradient and move of a
picture, at its last octave. Nets have their first weights, of which no gradient is asked on any side. Peers are torch eager in
both layouts and torch.compile; what a step gives is compared before anything is timed.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from measure import Row, arguments, conclude, read, report, rows_of
from nets import Call, Net, words
from torch import nn

from tritoncnn.attacks import Attack, Attacker
from tritoncnn.attacks.attacker import Objective
from tritoncnn.attacks.moves import MOVES
from tritoncnn.data.colour import to_array
from tritoncnn.data.whole import fitted, open_named, open_style, scaled
from tritoncnn.dreams.ascent import Ascent, Climbed, Shown, Uphill
from tritoncnn.dreams.layers import cut_behind, find_layer, layers_of
from tritoncnn.models.perceptual import RandomFilters, VGGMaps
from tritoncnn.style.paint import OPTIMIZERS, Easel, Painting, Wanted, losses_of
from tritoncnn.tasks import find_task

TOLERANCES = (1e-5, 1e-4, 0.05)  # of a painting's losses; the second move follows from two gradients that hardly differ
TURNED = 1e-3  # share of an attack's values whose gradient may have another sign; mean difference of dreams, in steps
EPSILON = 0.1
SIZES = {"style": 256, "dream": 160}  # pixels of the longer side
NETS = ("lenet", "resnet")
LAYOUTS = {"torch eager": torch.contiguous_format, "torch channels-last": torch.channels_last}


def peers(build: Callable[[torch.memory_format, Callable[[Any], Any]], Call]) -> dict[str, Call]:
    """``build(layout, compile)`` for each of them; ``compile`` is torch.compile, or nothing."""
    made = {name: build(layout, lambda function: function) for name, layout in LAYOUTS.items()}
    return made | {"torch.compile": build(torch.contiguous_format, torch.compile)}


def frozen(module: nn.Module, layout: torch.memory_format) -> nn.Module:
    return copy.deepcopy(module).eval().requires_grad_(False).to(memory_format=layout)  # type: ignore[call-overload,no-any-return]


def tensor(picture: Any) -> torch.Tensor:
    return torch.from_numpy(to_array(picture))[None]


def painting(name: str, features: nn.Module) -> dict[str, Call]:
    """Sides that give the losses before the step."""
    content = scaled(open_named("temple", whole=True), SIZES["style"])
    style, how = fitted(open_style("strokes", whole=True), content.size), Painting()
    pictures = tensor(content), tensor(style)
    easel = Easel(features, *pictures, how)

    def build(layout: torch.memory_format, compile: Callable[[Any], Any]) -> Call:
        maps = frozen(features, layout)
        content, style = pictures  # row-major on all sides: torch's L-BFGS takes no other parameters
        wanted = Wanted(maps)
        weights = torch.tensor([how.content, how.style, how.variation])
        batch = {"content": wanted(content)["content"], "style": wanted(style)["style"], "weights": weights}
        picture, by = nn.Parameter(content.clone()), OPTIMIZERS["lbfgs"]
        optimizer = torch.optim.LBFGS([picture], lr=by.lr, max_iter=1, history_size=by.history_size)  # type: ignore[attr-defined]
        losses, told = compile(losses_of), dict[str, torch.Tensor]()

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            found = losses(maps, picture, batch)
            found["total"].backward()
            told.update({loss: value.detach() for loss, value in found.items()})
            return told["total"]

        def step() -> dict[str, float]:
            optimizer.step(closure)  # type: ignore[arg-type]
            return {loss: float(value) for loss, value in told.items()}

        return step

    sides = {"ours": easel.step, **peers(build)}
    found = {side: [call()["total"] for _ in TOLERANCES] for side, call in sides.items()}
    for side, losses in found.items():
        for mine, wanted, tolerance in zip(losses, found["torch eager"], TOLERANCES, strict=True):
            assert math.isclose(mine, wanted, rel_tol=tolerance), f"{name}, {side}: {found}"
    return sides


def attack(name: str, net: Net, batch: int) -> dict[str, Call]:
    """Sides that give the changed pictures."""
    module = net.module().eval()
    x, classes, facts = net.example(batch)
    pictures = torch.from_numpy(facts.restore(x)).clamp(0, 1)
    how = Attack.of(epsilon=EPSILON, steps=10, random_start=False)
    once = Attack.of(epsilon=EPSILON, steps=1, step_size=how.step_size, random_start=False)
    attacker = Attacker(module, facts, how.norm, pictures)
    numbers = tuple(map(torch.tensor, (how.epsilon, how.step_size, 0.0, 1.0)))

    def build(layout: torch.memory_format, compile: Callable[[Any], Any]) -> Call:
        objective, move = compile(frozen(Objective(module, facts), layout)), compile(MOVES[how.norm]())
        first = pictures.contiguous(memory_format=layout)
        now = [first]

        def step() -> torch.Tensor:
            leaf = now[0].detach().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(leaf, classes), leaf)
            with torch.no_grad():
                now[0] = move(leaf.detach(), gradient, first, *numbers)
            return now[0]

        return step

    others = peers(build)
    found = {"ours": attacker.perturb(pictures, classes, once), **{side: call() for side, call in others.items()}}
    for side, changed in found.items():
        apart = ((changed - found["torch eager"]).abs() > 1e-3 * how.step_size).double().mean()
        assert apart < TURNED, f"{name}, {side}: {apart:.2%} of the values are others"
    return {"ours": attacker.step, **others}


def dream(name: str, net: Net) -> dict[str, Call]:
    """Sides that give the picture after a step."""
    module = net.module().eval()
    x, _, facts = net.example(1)
    layer = find_layer(None, layers_of(module, x.shape))
    shown = Shown(cut_behind(module, layer), facts).eval()
    values = scaled(open_named("coffee", whole=True), SIZES["dream"])
    picture = tensor(values.convert("L").convert("RGB"))[:, : x.shape[1]] if x.shape[1] == 1 else tensor(values)
    size = torch.tensor(0.01)
    ascent = Ascent(shown, 0, picture)

    def build(layout: torch.memory_format, compile: Callable[[Any], Any]) -> Call:
        climbed, uphill = compile(frozen(Climbed(shown, 0), layout)), compile(Uphill())
        first = picture.contiguous(memory_format=layout)

        def step() -> torch.Tensor:
            leaf = first.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(climbed(leaf), leaf)
            with torch.no_grad():
                moved: torch.Tensor = uphill(first, gradient, size)
            return moved

        return step

    sides: dict[str, Call] = {"ours": lambda: ascent.step(picture, size), **peers(build)}
    wanted = sides["torch eager"]()
    for side, call in sides.items():
        apart = (call() - wanted).abs().mean() / size
        assert apart < TURNED, f"{name}, {side}: the picture moves otherwise, by {apart:.2%} of the step in the mean"
    return sides


def cases(only: list[str]) -> Iterator[tuple[str, str, Callable[[str], dict[str, Call]]]]:
    """What is asked, its case, and how its sides are made."""
    nets = {name: Net.of(find_task(name), next(iter(find_task(name).models))) for name in NETS}
    if "style" in only:
        torch.manual_seed(0)
        yield "style", "style, random filters", lambda case: painting(case, RandomFilters())
        yield "style", "style, VGG-19", lambda case: painting(case, VGGMaps(deep=True))
    for task, net in nets.items():
        if "attack" in only:
            for batch in (64, 1):
                yield "attack", f"attack {task}, {batch}", lambda case, net=net, batch=batch: attack(case, net, batch)
        if "dream" in only:
            yield "dream", f"dream {task}", lambda case, net=net: dream(case, net)


def main() -> None:
    parser: argparse.ArgumentParser = arguments("Steps that change a picture against torch")
    kinds = ("style", "attack", "dream")
    parser.add_argument("--only", type=words, default=[*kinds], help="with commas (default: style,attack,dream)")
    parser.set_defaults(repeats=15)
    options, interleave = read(parser)
    found: dict[str, list[list[Row]]] = {kind: [] for kind in kinds}
    for kind, case, build in cases(options.only):
        found[kind].append(rows_of(case, interleave(build(case))))
        report(found[kind][-1], None)
        torch._dynamo.reset()  # the next case has its own code
    conclude(found, options.json)


if __name__ == "__main__":
    main()
