"""Made, not recorded: melodies over chords, by a synthesizer. No melody is in both parts.

A melody has a tempo, a progression of chords of C major or A minor, and three voices, each of a timbre of its own: a bass, the
chords, and a tune that walks along the scale and meets a tone of the chord on each strong beat. One scale and mellow tones from
130 Hz on: a small net that hears 64 ms can learn these few pitches in minutes, so that what it makes lies on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array, Dataset, Source
from tritoncnn.data.sounds import OPTIONS, RATE, check_sounds, make_sounds

TRAIN, TEST, SECONDS = 48, 8, 4.0
TEST_SEED = 1_000_000  # melody i is made by seed i, of the test part by this one and i
SCALE = (0, 2, 4, 5, 7, 9, 11)  # C major, in semitones
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (5, 3, 0, 4), (0, 3, 0, 4))  # steps of the scale, a bar each
RHYTHMS = ((1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (1.5, 0.5, 1, 1), (0.5, 0.5, 1, 2), (1, 0.5, 0.5, 1, 1), (2, 2), (3, 1))
STEPS, ODDS = (-2, -1, 0, 1, 2, 3), (0.15, 0.3, 0.08, 0.3, 0.12, 0.05)  # of the tune
HIGHEST = 0.45 * RATE  # Hz: partials above are left out
ROOM = 4e-4  # deviation of the noise that no room is without
Wave = NDArray[np.float64]
Random = np.random.RandomState  # frozen by NumPy's policy, unlike Generator


def _pluck(pitch: float, t: Wave, length: float, random: Random) -> Wave:
    """A string: the higher a partial, the sooner it dies away."""
    return _partials(pitch, t, lambda k: np.exp(-t * (2.0 + 1.3 * k)) / k**2, random) * _swell(t, length, 0.004, 0.05)


def _organ(pitch: float, t: Wave, length: float, random: Random) -> Wave:
    """Pipes at one, two and three times the pitch."""
    ranks = {1: 1.0, 2: 0.4, 3: 0.1}
    return _partials(pitch, t, lambda k: ranks.get(k, 0.0), random) * _swell(t, length, 0.03, 0.08)


def _reed(pitch: float, t: Wave, length: float, random: Random) -> Wave:
    """Odd partials, as of a clarinet."""
    return _partials(pitch, t, lambda k: (k % 2) / k**2, random) * _swell(t, length, 0.05, 0.06)


def _partials(pitch: float, t: Wave, strength: Callable[[int], Wave | float], random: Random) -> Wave:
    total = np.zeros_like(t)
    for k in range(1, 9):
        phase = random.uniform(0, 2 * math.pi)
        if k * pitch < HIGHEST:
            total += strength(k) * np.sin(2 * math.pi * k * pitch * t + phase)
    return total


def _swell(t: Wave, length: float, attack: float, release: float) -> Wave:
    """From 0 to 1 in the first ``attack`` seconds, back to 0 in ``release`` seconds from ``length`` on."""
    ends: Wave = np.clip(t / attack, 0, 1) * np.clip(1 - (t - length) / release, 0, 1)
    return ends


TIMBRES = (_organ, _reed, _pluck)  # of bass, chords and tune


def make_melody(seed: int, seconds: float = SECONDS) -> Array:
    """f32[seconds * 8000] in [-1, 1], by a seed."""
    random = Random(seed)
    beat = 60 / random.uniform(84, 144)
    chords = PROGRESSIONS[random.randint(len(PROGRESSIONS))]
    wave = np.zeros(math.ceil((seconds + 8) * RATE))

    def note(voice: int, at: float, step: int, octave: int, beats: float, loud: float) -> None:
        """``step`` of the scale, from middle C (octave 0) on."""
        tone = 12 * (octave + step // 7) + SCALE[step % 7] - 9  # semitones from A, 440 Hz
        t = np.arange(math.ceil((beats * beat + 0.1) * RATE)) / RATE
        first = round(at * beat * RATE)
        sound = TIMBRES[voice](440 * 2 ** (tone / 12), t, beats * beat, random)
        wave[first : first + len(t)] += loud * sound

    step, bars = int(random.randint(0, 7)), math.ceil(seconds / (4 * beat))
    for bar in range(bars):
        chord = chords[bar % len(chords)]
        for half in (0, 2):
            note(0, 4 * bar + half, chord, -1, 2, 0.3)
        for third in (0, 2, 4):
            note(1, 4 * bar, chord + third, 0, 4, 0.15)
        at = 0.0
        for beats in RHYTHMS[random.randint(len(RHYTHMS))]:
            step = min(12, max(-3, step + int(random.choice(STEPS, p=ODDS))))
            if at in (0.0, 2.0):
                step = min((chord + third for third in (-7, -5, -3, 0, 2, 4, 7, 9)), key=lambda s: abs(s - step))
            note(2, 4 * bar + at, step, 1, beats, random.uniform(0.35, 0.5))
            at += beats
    wave = wave[: round(seconds * RATE)]
    wave *= random.uniform(0.6, 0.9) / np.abs(wave).max()
    return (wave + random.normal(0, ROOM, len(wave))).astype(np.float32)


def load_melodies(window: int, context: int) -> Dataset:
    train = [make_melody(seed) for seed in range(TRAIN)]
    test = [make_melody(TEST_SEED + seed) for seed in range(TEST)]
    return make_sounds("melodies", train, test, context, window, ("melodies are made by a synthesizer, not recorded",))


def _load(folder: object, read: Callable[..., Array], window: int, context: int) -> Dataset:
    check_sounds("melodies", read)
    return load_melodies(window, context)


melodies = Source("melodies", "melodies over chords, made by a synthesizer", "", _load, OPTIONS)
