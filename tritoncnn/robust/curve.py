"""Accuracy on the test part of a run's data over epsilon, beside that under noise of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tritoncnn.atomic import write_file
from tritoncnn.attacks import Attack, bounds_of, same_size_noise
from tritoncnn.data import Dataset, Examples
from tritoncnn.errors import InputError
from tritoncnn.robust.draw import draw_curve, draw_sheet
from tritoncnn.robust.victim import Victim, lengths
from tritoncnn.task import Task
from tritoncnn.train.answers import as_csv
from tritoncnn.train.folder import make_folder, open_run, read_config, write_json
from tritoncnn.train.measure import Measured, parts_of

FOLDER = "attack"  # in the run folder, unless another one is named
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)  # of epsilon: the points of the curve
SHOWN = 6  # pictures in examples.png


def attack_curve(
    victim: Victim, run: Path, attack: Attack, target: str | None, data_dir: Path | None = None,
    out: Path | None = None, examples: int = 500,
) -> Measured:  # fmt: skip
    """Attack ``examples`` pictures of the test part, evenly chosen; write curve.json, curve.csv, curve.png and examples.png
    into ``out``, by default RUN/attack.

    Each point is an attack of its own, with its share of epsilon and of the step. With a ``target``, pictures of that class
    are left out. Raises InputError, CheckpointError, DataError, SaveError.
    """
    if examples < 1:
        raise InputError(f"--examples must be at least 1; got {examples}")
    aim = None if target is None else victim.number_of(target)
    data, part, pictures = _test_pictures(victim, run, data_dir, examples, aim)
    if not len(part):
        raise InputError(f"all test pictures of {data.name} are of class {target!r}; --target must be another one")
    low, high = bounds_of(pictures)
    place = make_folder(out if out is not None else run / FOLDER)
    noise = same_size_noise(attack.norm, pictures.shape, attack.seed)
    rows, changed = [], pictures
    for share in SHARES if attack.epsilon else SHARES[:1]:
        now = attack.scaled(share)
        changed = victim.attacked(pictures, part.y, now, aim) if share else pictures
        noisy = (pictures + now.epsilon * noise).clamp(low, high)
        rows.append(_row(victim, now.epsilon, part.y, aim, pictures, changed, noisy))
    note: dict[str, Any] = {
        "run": str(run), "data": data.name, "part": "test", "examples": len(part), "method": attack.method,
        "norm": attack.norm, "epsilon": attack.epsilon, "steps": attack.steps, "step_size": attack.step_size,
        "random_start": attack.random_start, "seed": attack.seed, "target": target, "bounded": high == 1,
        "launches": victim.launches, "curve": rows,
    }  # fmt: skip
    files = [place / name for name in ("curve.json", "curve.csv", "curve.png", "examples.png")]
    write_json(files[0], note)
    write_file(files[1], as_csv(rows).encode())
    title = f"{victim.task.name} on {data.name}, {attack.method}" + (f", towards {target}" if target else "")
    write_file(files[2], draw_curve(rows, title, attack.norm))
    write_file(files[3], _examples(victim, pictures, changed, part.y, f"{title}: {attack.reach()}"))
    return Measured(note, tuple(_table(rows, attack, len(part), data.name, target)), tuple(files))


def accuracies(task: Task, run: Path, epsilons: Sequence[float], examples: int = 500) -> list[float]:
    """Share of up to so many test pictures whose class the run's model still finds under PGD (linf) of each epsilon.

    Raises InputError, CheckpointError, DataError.
    """
    victim = Victim(task, run)
    _, part, pictures = _test_pictures(victim, run, None, examples, None)
    attacks = [Attack.of(epsilon=epsilon) for epsilon in epsilons]
    changed = (victim.attacked(pictures, part.y, attack, None) for attack in attacks)
    return [float((victim.probabilities(x).argmax(1) == part.y).double().mean()) for x in changed]


def _test_pictures(
    victim: Victim, run: Path, data_dir: Path | None, most: int, aim: int | None
) -> tuple[Dataset, Examples, torch.Tensor]:
    """The data set; examples of its test part, and their pictures f32[N,C,H,W] as they were before normalising."""
    data, parts = parts_of(victim.task, read_config(open_run(run)), victim.trained, data_dir)
    part = _chosen(parts["test"], most, aim)
    pictures = torch.from_numpy(victim.trained.facts.restore(part.x))
    return data, part, pictures.clamp(*bounds_of(pictures)) if len(part) else pictures  # by what normalising rounded


def _chosen(part: Examples, most: int, aim: int | None) -> Examples:
    """``most`` examples evenly over the part, which may be sorted by class; none of the class that is aimed at."""
    rows = torch.arange(len(part)) if aim is None else (part.y != aim).nonzero()[:, 0]
    if len(rows) > most:
        rows = rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).round().long()]
    return Examples(part.x[rows], part.y[rows])


def _row(
    victim: Victim, epsilon: float, labels: torch.Tensor, aim: int | None, pictures: torch.Tensor, changed: torch.Tensor,
    noisy: torch.Tensor,
) -> dict[str, float]:  # fmt: skip
    """One point: shares of pictures whose class is found, and of those found to be of the class aimed at."""
    found, under_noise = (victim.probabilities(x).argmax(1) for x in (changed, noisy))
    row = {
        "epsilon": epsilon,
        "accuracy": float((found == labels).double().mean()),
        "noise_accuracy": float((under_noise == labels).double().mean()),
    }
    if aim is not None:
        row["target_share"] = float((found == aim).double().mean())
        row["noise_target_share"] = float((under_noise == aim).double().mean())
    largest, norms = lengths(changed - pictures)
    return row | {"mean_linf": sum(largest) / len(largest), "mean_l2": sum(norms) / len(norms)}


def _table(rows: Sequence[dict[str, float]], attack: Attack, count: int, data: str, target: str | None) -> list[str]:
    aim = f" towards {target!r}" if target else ""
    lines = [f"{count} test pictures of {data}; {attack.words()}{aim}", ""]
    lines.append(
        f"{'epsilon':>8}  {'accuracy':>8}  {'under noise':>11}" + ("  as target  under noise" if target else "")
    )
    for row in rows:
        line = f"{row['epsilon']:8.4f}  {row['accuracy']:8.2%}  {row['noise_accuracy']:11.2%}"
        if target:
            line += f"  {row['target_share']:9.2%}  {row['noise_target_share']:11.2%}"
        lines.append(line)
    return lines


def _examples(victim: Victim, pictures: torch.Tensor, changed: torch.Tensor, labels: torch.Tensor, title: str) -> bytes:
    """The first pictures that the largest epsilon turned, or the first at all, as a PNG."""
    before, after = (victim.probabilities(x) for x in (pictures, changed))
    turned = (before.argmax(1) == labels) & (after.argmax(1) != labels)
    order = torch.argsort(turned.long(), descending=True, stable=True)[:SHOWN].tolist()
    said = [f"{victim.classes[label]}, taken for {victim.said(row)}" for label, row in zip(labels, before, strict=True)]
    return draw_sheet(
        [(pictures[i].numpy(), changed[i].numpy(), said[i], f"taken for {victim.said(after[i])}") for i in order], title
    )
