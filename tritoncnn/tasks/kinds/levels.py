"""What is said of sounds: how likely a net finds each sample, in bits; sounds that it makes, and pictures of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data import Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.data.sounds import RATE, SILENCE, cut_windows, decode, encode, read_sound, wav_bytes
from tritoncnn.errors import InputError
from tritoncnn.figure import new_figure, to_png
from tritoncnn.frozen import compile_kept
from tritoncnn.models.wavenet import WaveNet
from tritoncnn.streaming import Player
from tritoncnn.task import Answer, Ask

BIT = math.log(2)  # nats
WINDOW, BATCH = 2048, 8  # of sounds that are listened to
SHOWN, GIVEN = 4 * RATE, RATE  # samples of a sound that is made, and of its beginning that is given
TEMPERATURE, SEED = 0.9, 0
FADED = 70  # dB below the loudest that a spectrogram shows
MADE = ("spectrograms.png", "continued.wav", "from-silence.wav")


def told(output: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Of what a net says f32[N,T'] the part that is asked for, [N,T]. Raises InputError where it hears more than the context."""
    if output.shape[1] < there.shape[1]:
        raise InputError(
            f"the net hears {there.shape[1] - output.shape[1]} samples more than --context; raise it by as many"
        )
    return output[:, output.shape[1] - there.shape[1] :]


def loss(output: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """The mean over the samples that are there, in nats."""
    counted = there.float()
    return (told(output, there) * counted).sum() / counted.sum().clamp(min=1)


def bits(output: torch.Tensor, there: torch.Tensor) -> float:
    """The same in bits, added up in f64."""
    return float(told(output, there)[there].double().mean()) / BIT


def answer(output: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """Of each window its bits per sample."""
    means = (output.double().mean(1) / BIT).tolist()
    return [Answer({"bits": mean}, (f"{mean:.3f} bits per sample",)) for mean in means]


def listen(net: torch.nn.Module, facts: Facts, path: Path) -> Answer:
    """How surprising a sound is to a net, of any length. Raises DataError."""
    assert isinstance(net, WaveNet)
    levels = encode(read_sound(path))
    windows, there = cut_windows(levels, net.context, WINDOW)
    batches = torch.from_numpy(windows).split(BATCH)
    model = compile_kept(net, torch.zeros(BATCH, windows.shape[1], dtype=torch.uint8))
    parts = []
    for batch in batches:
        full = torch.full((BATCH, windows.shape[1]), SILENCE, dtype=torch.uint8)
        full[: len(batch)] = batch
        parts.append(model(full)[: len(batch)].clone())
    found = torch.cat(parts)[torch.from_numpy(there)].double() / BIT
    seconds = [float(part.mean()) for part in found.split(RATE)]
    most = max(range(len(seconds)), key=seconds.__getitem__)
    note = {"bits": float(found.mean()), "seconds": len(found) / RATE, "bits_by_second": seconds}
    lines = [f"{note['bits']:.3f} bits per sample, of {len(found) / RATE:.1f} seconds"]
    if len(seconds) > 1:
        lines.append(f"the most from second {most} on: {seconds[most]:.3f}")
    return Answer(note, tuple(lines))


def make_sounds(examples: Examples, facts: Facts, weights: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """The beginning of the test part gone on with, a sound from silence, and spectrograms of these and of the true one."""
    player = Player(WaveNet.of(weights), SHOWN, SILENCE)
    window = examples.y.shape[1]
    true = examples.x[: -(-SHOWN // window), -window:].reshape(-1)[:SHOWN]
    given = true[: min(GIVEN, len(true) // 4)]
    waves = [
        decode(levels.numpy())
        for levels in (
            true,
            player.play(given, SHOWN, TEMPERATURE, SEED).levels,
            player.play(true[:0], SHOWN, TEMPERATURE, SEED).levels,
        )
    ]
    titles = (
        "held out: what was to come",
        f"made: gone on with after {len(given) / RATE:.2g} seconds of it, at the line",
        "made: from silence",
    )
    figure = new_figure(8, 7.5)
    for axes, wave, title in zip(figure.subplots(3, 1, sharex=True), waves, titles, strict=True):
        times, pitches, power = spectrogram(wave)
        axes.pcolormesh(times, pitches, power, cmap="magma", vmin=-FADED, vmax=0, shading="nearest", rasterized=True)
        axes.set_title(title, fontsize=9)
        axes.set_ylabel("Hz")
    figure.axes[1].axvline(len(given) / RATE, color="white", linewidth=0.8)
    figure.axes[2].set_xlabel("seconds")
    return dict(zip(MADE, (to_png(figure), wav_bytes(waves[1]), wav_bytes(waves[2])), strict=True))


def spectrogram(wave: Array) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(seconds, Hz, dB from the loudest [Hz,seconds]) of a sound."""
    from scipy.signal import spectrogram as power_of

    length = min(512, len(wave))
    pitches, times, power = power_of(wave, RATE, nperseg=length, noverlap=3 * length // 4)
    decibels = 10 * np.log10(power + 1e-20)
    return times, pitches, decibels - decibels.max()


def view(path: Path) -> Image.Image:
    """The spectrogram of a sound file, low tones below: 256 pixels high, white the loudest. Raises DataError."""
    _, _, power = spectrogram(read_sound(path))
    grey = np.clip(power / FADED + 1, 0, 1)[::-1]
    return Image.fromarray((255 * grey).astype(np.uint8)).resize((640, 256)).convert("RGB")
