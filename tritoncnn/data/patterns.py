"""Spots and stripes that a reaction of two substances draws while they diffuse: made, not photographed.

Source: Pearson 1993, "Complex patterns in a simple system", after Gray & Scott 1985: du/dt = Du lap(u) - u v^2 + F (1 - u),
dv/dt = Dv lap(v) + u v^2 - (F + k) v. By Turing 1952 such a system may draw the coats of cheetahs and zebras.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array, Dataset, Part, Source, make_labelled
from tritoncnn.data.texture import SIZE, even

RATES = {  # class -> (from, to) of F, the feed, and of k, the kill
    "spots": ((0.035, 0.039), (0.0635, 0.0645)),
    "stripes": ((0.046, 0.054), (0.0622, 0.0632)),
}
DIFFUSION = (0.2, 0.1)  # Du, Dv per step, in squared pixels
STEPS = 2000
SIDE = 64  # of a pattern, whose edges meet
SEEDED = 0.1  # share of 4 x 4 blocks where the reaction begins
ALIVE = 0.05  # deviation of v: patterns have 0.1 and more, a dish where the reaction died out 0
PATTERNS = {"train": 20, "test": 8}  # of each class; each has rates and a beginning of its own
PATCHES = {"train": 16, "test": 10}  # of each pattern


def load_patterns() -> Dataset:
    """Draw patches of patterns with a fixed seed: moved round the edges, turned by quarters, mirrored. No pattern is in both
    parts. A few seconds."""
    random = np.random.RandomState(0)
    parts: dict[str, tuple[list[Array], list[int]]] = {"train": ([], []), "test": ([], [])}
    plans = [(what, label) for what, count in PATTERNS.items() for label in range(len(RATES)) for _ in range(count)]
    rates = np.array([[random.uniform(*limits) for limits in RATES[list(RATES)[label]]] for _, label in plans])
    patterns = grow(rates[:, 0], rates[:, 1], SIDE, STEPS, random)
    assert float(patterns.std((1, 2)).min()) > ALIVE, (
        "a reaction died out: RATES are too near the edge of where patterns grow"
    )
    for (what, label), pattern in zip(plans, patterns, strict=True):
        pictures, labels = parts[what]
        pictures += [_draw(pattern, random) for _ in range(PATCHES[what])]
        labels += [label] * PATCHES[what]
    train, test = (Part(np.stack(x), np.array(y, np.int64)) for x, y in parts.values())
    remark = (
        f"patterns are made by a Gray-Scott reaction: {PATTERNS['train']} of each class to learn from, "
        f"{PATTERNS['test']} others to test"
    )
    return make_labelled("patterns", tuple(RATES), train, test, (remark,))


def grow(
    feed: NDArray[np.float64], kill: NDArray[np.float64], side: int, steps: int, random: np.random.RandomState
) -> Array:
    """How much of substance v there is after ``steps`` steps, f32[N,side,side], for N rates; edges meet."""
    N = len(feed)
    F, Fk = (rate.astype(np.float32)[:, None, None] for rate in (feed, feed + kill))
    u, v = np.ones((N, side + 2, side + 2), np.float32), np.zeros((N, side + 2, side + 2), np.float32)
    inner = np.s_[:, 1:-1, 1:-1]
    blocks = np.kron(random.rand(N, side // 4, side // 4) < SEEDED, np.ones((4, 4)))
    v[inner] = blocks * (0.35 + 0.1 * random.rand(N, side, side))
    u[inner] -= 1.5 * v[inner]
    U, V = u[inner], v[inner]
    moved_u, moved_v, reaction = (np.empty((N, side, side), np.float32) for _ in range(3))
    for _ in range(steps):
        _laplacian(u, moved_u)
        _laplacian(v, moved_v)
        np.multiply(V, V, out=reaction)
        reaction *= U
        moved_u *= np.float32(DIFFUSION[0])
        moved_u -= reaction
        moved_u += F
        moved_u -= F * U
        moved_v *= np.float32(DIFFUSION[1])
        moved_v += reaction
        moved_v -= Fk * V
        U += moved_u
        V += moved_v
    return np.ascontiguousarray(V)


def _laplacian(a: Array, out: Array) -> None:
    """Four neighbours less four times the pixel; the frame of one pixel around ``a`` is filled from the other side."""
    a[:, 0], a[:, -1] = a[:, -2], a[:, 1]
    a[:, :, 0], a[:, :, -1] = a[:, :, -2], a[:, :, 1]
    np.add(a[:, :-2, 1:-1], a[:, 2:, 1:-1], out=out)
    out += a[:, 1:-1, :-2]
    out += a[:, 1:-1, 2:]
    out -= 4 * a[:, 1:-1, 1:-1]


def _draw(pattern: Array, random: np.random.RandomState) -> Array:
    moved = np.roll(pattern, (random.randint(SIDE), random.randint(SIDE)), (0, 1))[:SIZE, :SIZE]
    turned = np.rot90(moved, random.randint(4))
    return even(turned[:, ::-1] if random.randint(2) else turned)


patterns = Source(
    "patterns", "spots and stripes, made by a Gray-Scott reaction", "", lambda folder, read: load_patterns()
)
