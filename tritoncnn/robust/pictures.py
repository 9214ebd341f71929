"""Single pictures under attack: what the model says before and after, and how large the change is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tritoncnn.atomic import write_file
from tritoncnn.attacks import Attack
from tritoncnn.data.define import Array
from tritoncnn.errors import DataError
from tritoncnn.robust.draw import draw_sheet
from tritoncnn.robust.victim import Victim, lengths
from tritoncnn.train.answers import free_name
from tritoncnn.train.folder import make_folder
from tritoncnn.train.predict import read_or_error


@dataclass(frozen=True)
class Attacked:
    """One picture: the values f32[C,H,W] that the model was given before and after, what it said of them, and of the attack;
    a note for machines, lines for people."""

    before: Array
    after: Array
    said: tuple[str, str]
    title: str
    note: Mapping[str, Any]
    lines: tuple[str, ...]


def attack_pictures(
    victim: Victim, files: Sequence[Path], attack: Attack, target: str | None
) -> list[Attacked | DataError]:
    """Attack each picture that can be read: away from the class that the model finds in it, or towards ``target``.

    Raises InputError where there is no such class.
    """
    aim = None if target is None else victim.number_of(target)
    values = [read_or_error(victim.trained.read, path) for path in files]
    read = [picture for picture in values if not isinstance(picture, DataError)]
    found = iter(_attack(victim, torch.from_numpy(np.stack(read)), attack, aim) if read else [])
    return [picture if isinstance(picture, DataError) else next(found) for picture in values]


def _attack(victim: Victim, pictures: torch.Tensor, attack: Attack, aim: int | None) -> list[Attacked]:
    before = victim.probabilities(pictures)
    changed = victim.attacked(pictures, before.argmax(1), attack, aim)
    after = victim.probabilities(changed)
    largest, norms = lengths(changed - pictures)
    goal = "" if aim is None else f" towards {victim.classes[aim]}"
    title, results = f"{attack.method}{goal}: {attack.reach()}", []
    for i in range(len(pictures)):
        first, last = int(before[i].argmax()), int(after[i].argmax())
        reached = last != first if aim is None else last == aim
        ends = {
            when: {"class": victim.classes[int(row.argmax())], "probability": float(row.max())}
            for when, row in (("before", before[i]), ("after", after[i]))
        }
        note = {**ends, "reached": reached, "linf": largest[i], "l2": norms[i]}
        said = victim.said(before[i]), victim.said(after[i])
        end = said[1] if reached else f"{said[1]}, the attack failed"
        lines = (
            f"before  {said[0]}",
            f"after   {said[1]}{'' if reached else '  (the attack failed)'}",
            f"change  at most {largest[i]:.4g} a value, 2-norm {norms[i]:.4g}",
        )
        results.append(Attacked(pictures[i].numpy(), changed[i].numpy(), (said[0], end), title, note, lines))
    return results


def write_attacked(out: Path, rows: Sequence[Mapping[str, Any]], results: Sequence[tuple[str, Attacked]]) -> list[Path]:
    """Write attack.json, and of each picture (name, result) NAME-attack.png: before, the change magnified, after.

    Raises InputError, SaveError.
    """
    make_folder(out)
    files = [out / "attack.json"]
    write_file(files[0], (json.dumps(rows, indent=2) + "\n").encode())
    for name, result in results:
        path = free_name(out, name, "attack.png", files)
        write_file(path, draw_sheet([(result.before, result.after, *result.said)], result.title))
        files.append(path)
    return files
