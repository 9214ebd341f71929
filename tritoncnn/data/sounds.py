"""Sounds as WaveNet wants them: one channel, 8000 samples a second, 256 levels by the mu-law; files, and windows of them."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data.define import Array, BlankError, Dataset, Examples, Facts, Reader
from tritoncnn.data.files import check_memory, read_file
from tritoncnn.errors import DataError
from tritoncnn.flags import AT_LEAST_1, option

RATE = 8000  # samples a second
MU = 255
SILENCE = 128  # the level of 0, which is taken to come before each sound
SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3")
MAX_BYTES = 1 << 30
LONGEST = 2 * 3600  # seconds of one sound
RATES = (1000, 768_000)  # lowest and highest sampling rate that is read
# Of samples in floats, which should lie in [-1, 1]: what is a little louder is cut, as a loudspeaker would.
LOUDEST = 2.0
CUT = re.compile(r"^data *: *(\d+) \(should be (\d+)\)", re.MULTILINE)  # in libsndfile's notes on a file
ENDLESS = 2**31 - 1  # bytes: such a size and larger ones are what a program writes that does not know the length yet
Levels = NDArray[np.uint8]

WINDOW = 2048  # usual samples of a window

OPTIONS = (
    option("window", WINDOW, "Samples of a window, each of which is told from those before it.", AT_LEAST_1),
    option("context", 511, "Samples before a window that are heard only: at least what the net hears.", AT_LEAST_1),
)


def encode(wave: NDArray[np.floating]) -> Levels:
    """Samples in [-1, 1] -> 256 levels, fine near 0: sign(x) ln(1 + 255 |x|) / ln 256, rounded (ITU-T G.711's curve)."""
    x = np.clip(wave.astype(np.float64), -1, 1)
    bent = np.sign(x) * np.log1p(MU * np.abs(x)) / math.log1p(MU)
    return np.floor((bent + 1) / 2 * MU + 0.5).astype(np.uint8)


def decode(levels: Levels) -> Array:
    """The middle of each level, as ``encode`` understands them: f32 in [-1, 1]."""
    bent = levels.astype(np.float64) / MU * 2 - 1
    wave: Array = (np.sign(bent) * np.expm1(np.abs(bent) * math.log1p(MU)) / MU).astype(np.float32)
    return wave


@dataclass(frozen=True)
class SoundReader:
    """A path -> f32[samples] in [-1, 1], one channel at ``rate``. Raises DataError, BlankError for silence."""

    rate: int = RATE

    def __call__(self, path: Path) -> Array:
        return read_sound(path, self.rate)


def read_sound(path: Path, rate: int = RATE) -> Array:
    """Read WAV, FLAC, Ogg, AIFF or MP3 of any width, the mean of its channels, resampled to ``rate``: f32[samples] in [-1, 1].

    Raises DataError: unreadable, no sound file, cut short, empty, samples that are not finite; BlankError: silent.
    """
    import soundfile  # late: it loads a library

    data = read_file(path, "sound", MAX_BYTES)
    if not data:
        raise DataError(f"sound {path} is empty: it has no bytes")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            own, channels, frames = int(file.samplerate), int(file.channels), int(file.frames)
            _check(path, own, frames)
            notes, samples = str(file.extra_info), file.read(dtype="float32", always_2d=True)
    except DataError:
        raise
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:
        said = (getattr(error, "error_string", "") or str(error)).rstrip(".").lower()
        if path.suffix.lower() == ".mp3" and "MP3" not in soundfile.available_formats():
            said = "soundfile has a library here that reads no MP3 (libsndfile does from 1.1 on)"
        raise DataError(f"sound {path} cannot be read: {said}") from error
    cut = CUT.search(notes)
    if len(samples) < frames or (cut and int(cut[2]) < int(cut[1]) < ENDLESS):
        raise DataError(f"sound {path} is cut short: {len(samples)} samples of each channel are left")
    wrong = ~np.isfinite(samples).all(1)
    if wrong.any():
        raise DataError(
            f"sound {path} must hold finite numbers; {wrong.sum()} of {len(samples)} samples are not, the first is sample "
            f"{wrong.argmax()}"
        )
    loudest = float(np.abs(samples).max())
    if loudest > LOUDEST:
        raise DataError(f"sound {path} must hold samples from -1 to 1; the loudest is {loudest:g}")
    wave = _resample(samples.mean(1, dtype=np.float64), own, rate)
    levels = encode(wave)
    if (levels == levels[0]).all():
        raise BlankError(
            f"sound {path} is silent: all its samples are of one level{' once its channels are added' if channels > 1 else ''}"
        )
    return np.clip(wave, -1, 1).astype(np.float32)


def _check(path: Path, rate: int, frames: int) -> None:
    if frames == 0:
        raise DataError(f"sound {path} is empty: it has 0 samples")
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"sound {path} must have from {RATES[0]} to {RATES[1]} samples a second; got {rate}")
    if frames > LONGEST * rate:
        raise DataError(f"sound {path} lasts {frames / rate / 3600:.1f} hours; wanted at most {LONGEST // 3600}")


def _resample(wave: NDArray[np.float64], rate: int, wanted: int) -> NDArray[np.float64]:
    """The same sound at another rate, through a low-pass filter without a delay."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    resampled: NDArray[np.float64] = resample_poly(wave, wanted // common, rate // common)
    return resampled


def wav_bytes(wave: Array, rate: int = RATE) -> bytes:
    """A WAV file of f32[samples] in [-1, 1], of 16 bits and one channel."""
    import wave as riff

    file = io.BytesIO()
    with riff.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.rint(np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def cut_windows(levels: Levels, context: int, window: int) -> tuple[Levels, NDArray[np.bool_]]:
    """(u8[N,context + window], which samples behind the context are the sound's bool[N,window]), one window after another.

    Before and behind the sound is silence.
    """
    count = -(-len(levels) // window)
    padded = np.full(context + count * window, SILENCE, np.uint8)
    padded[context : context + len(levels)] = levels
    cut = np.lib.stride_tricks.sliding_window_view(padded, context + window)[::window]
    there = np.arange(count * window).reshape(count, window) < len(levels)
    return cut.copy(), there


def make_sounds(
    name: str, train: Sequence[Array], test: Sequence[Array], context: int, window: int, remarks: tuple[str, ...] = ()
) -> Dataset:
    """x u8[windows,context + window], y bool[windows,window]: which samples are to be told. Raises DataError."""
    digest, parts = hashlib.sha256(), []
    total = sum(map(len, (*train, *test)))
    longest = max(map(len, (*train, *test)), default=0)
    if window > max(WINDOW, longest):
        raise DataError(f"{name}: --window {window} is longer than all sounds; the longest has {longest} samples")
    needed = total * (context + 2 * window) // window
    check_memory(needed, f"{name}: {total / RATE / 3600:.1f} hours of sound")
    for sounds in (train, test):
        cut = [cut_windows(encode(wave), context, window) for wave in sounds]
        x, y = (np.concatenate([pair[i] for pair in cut]) for i in (0, 1))
        digest.update(x.data)
        digest.update(y.data)
        parts.append(Examples(torch.from_numpy(x), torch.from_numpy(y)))
    seconds = [round(sum(map(len, sounds)) / RATE, 1) for sounds in (train, test)]
    note = {
        "train_sounds": len(train), "test_sounds": len(test), "train_seconds": seconds[0], "test_seconds": seconds[1],
        "rate": RATE,
    }  # fmt: skip
    about = f"{len(train)}+{len(test)} sounds (training + test) of {seconds[0]:g}+{seconds[1]:g} seconds"
    return Dataset(name, Facts((), (), ()), parts[0], parts[1], digest.hexdigest(), note, remarks, about)


def check_sounds(name: str, read: Reader) -> SoundReader:
    """``read`` as a reader of sounds, for data set ``name``. Raises DataError where the task wants something else."""
    if not isinstance(read, SoundReader):
        raise DataError(f"data set {name!r} holds sounds; the task reads pictures")
    return read
