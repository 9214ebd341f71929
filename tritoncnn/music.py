"""The net of a run makes a sound, into a WAV file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.sounds import RATE, SILENCE, decode, encode, read_sound, wav_bytes
from tritoncnn.errors import InputError
from tritoncnn.models.wavenet import WaveNet
from tritoncnn.streaming import Player
from tritoncnn.task import Task
from tritoncnn.train.folder import load_trained, open_run

LONGEST = 600.0  # seconds
PRIME = 2.0  # seconds of a given sound's end that are heard
COLDEST = 0.01  # below, the likeliest level is all but sure


@dataclass(frozen=True)
class Composing:
    """How to make a sound.

    seconds      of what is made
    temperature  of which the logits are a share: below 1 what is likely becomes likelier, above 1 what is not
    seed         of the random numbers
    prime        a sound file to go on from; without one the sound begins from silence
    """

    seconds: float = 8.0
    temperature: float = 0.9
    seed: int = 0
    prime: Path | None = None

    def __post_init__(self) -> None:
        if not 1 / RATE <= self.seconds <= LONGEST:
            raise InputError(f"--seconds must be above 0 and at most {LONGEST:g}; got {self.seconds:g}")
        if not COLDEST <= self.temperature <= 1 / COLDEST:
            raise InputError(f"--temperature must be from {COLDEST:g} to {1 / COLDEST:g}; got {self.temperature:g}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed must be a whole number from 0 to 2**63 - 1; got {self.seed}")


def compose_of_run(task: Task, run: Path, how: Composing, out: Path, *, best: bool = False) -> dict[str, Any]:
    """Write the sound into ``out``, behind the end of the prime; what there is to tell of it.

    Raises InputError, CheckpointError, DataError, SaveError.
    """
    if out.suffix.lower() != ".wav":
        raise InputError(f"--out {out} must end in .wav")
    trained = load_trained(open_run(run), task, best=best)
    if not isinstance(trained.module, WaveNet):
        raise InputError(f"{run} is a run of {task.name}; wanted one of wavenet, which makes sounds")
    given = torch.zeros(0, dtype=torch.uint8)
    if how.prime is not None:
        given = torch.from_numpy(encode(read_sound(how.prime)))[-round(PRIME * RATE) :]
    check_writable(out)
    samples = len(given) + round(how.seconds * RATE)
    player = Player(trained.module, 1 << (samples - 1).bit_length(), SILENCE)  # few sizes to compile kernels for
    played = player.play(given, samples, how.temperature, how.seed)
    write_file(out, wav_bytes(decode(played.levels.numpy())))
    return {
        "run": str(run),
        "out": str(out),
        "prime": None if how.prime is None else str(how.prime),
        "given_seconds": len(given) / RATE,
        "made_seconds": (samples - len(given)) / RATE,
        "temperature": how.temperature,
        "seed": how.seed,
        "microseconds_per_sample": round(played.each * 1e6, 2),
        "launches": len(player.model.plan.calls),
    }
