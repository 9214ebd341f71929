"""Frames of films with their optical flow: folders in which NAME.flo says where the pixels of NAME.png are in the next frame.

So Middlebury has them; Sintel has a folder flow with the films in it, and beside it clean or final with their frames (Butler et
al. 2012, "A naturalistic open source movie for optical flow evaluation"); KITTI a folder flow_occ of PNG files, and beside it
image_2 with two frames of each scene (Menze & Geiger 2015, "Object scene flow for autonomous vehicles"). What is to be seen in
both frames is told by their colours, which must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tritoncnn.data.canvas import PATCH, STYLE, grams_of, make_canvases
from tritoncnn.data.colour import to_array
from tritoncnn.data.define import HELD_OUT, Array, Dataset, Reader, Source
from tritoncnn.data.flow import inside, read_flow, sampled
from tritoncnn.data.folder import files_in, in_time
from tritoncnn.data.pans import Pair, pair_examples
from tritoncnn.data.pictures import SUFFIXES, read_colour
from tritoncnn.errors import DataError

TRAIN, TEST = 400, 32  # crops in all
FRAMES = {  # folder of flow -> those of its frames, the best first: colours of clean agree along the flow
    "flow": ("clean", "final"),
    "flow_occ": ("image_2", "image_0", "colored_0"),
    "flow_noc": ("image_2", "image_0", "colored_0"),
}
KITTIS = ("flow_occ", "flow_noc")  # folders of PNG files; the second lacks what is hidden in the next frame
KEPT = 32  # pairs of frames in memory at once
FEW = 0.3  # pixels of a frame, as a share: fewer that have their colour in the next one let doubt the flow
AGREE = 0.1  # mean difference of colours, white is 1, up to which a pixel is taken for the same


class Files(NamedTuple):
    """A frame, the next one, and the flow from one to the other."""

    now: Path
    then: Path
    flow: Path


def load_clips(folder: Path | None, read: Reader, *, style: str, patch: int) -> Dataset:
    """Raises DataError."""
    assert folder is not None, "load_data asks for one"
    train, test, remark = part_films(folder, find_pairs(folder))
    grams, random = grams_of(style), np.random.RandomState(0)
    parts = []
    opened = lru_cache(KEPT)(read_pair)
    for files, count in ((train, TRAIN), (test, TEST)):
        chosen = [files[i % len(files) if len(files) <= count else i * len(files) // count] for i in range(count)]
        parts.append(pair_examples([_cut(opened(*names), patch, random) for names in chosen], grams))
    return make_canvases("clips", parts[0], parts[1], (remark, _told([float(part.y["seen"].mean()) for part in parts])))


def _told(shares: Sequence[float]) -> str:
    """A remark on how much of the training and the test frames is seen in both. Raises DataError where nothing is."""
    asked = "the flow must lead from each frame to the next, in pixels to the right and down"
    if not all(shares):
        raise DataError(
            f"clips: no pixel of the {'test' if shares[0] else 'training'} frames has its colour in the next one: {asked}"
        )
    told = f"{shares[0]:.1%} of the pixels to train on have their colour in the next frame, {shares[1]:.1%} of those to test on"
    return told if min(shares) >= FEW else f"{told}: these are few; {asked}"


def part_films(folder: Path, pairs: Sequence[Files]) -> tuple[list[Files], list[Files], str]:
    """(training, testing, what was done). A film is a folder of frames; of several, the last ones are for testing.

    Of a single film its end is, and the pair before that belongs to neither part, for it has a frame in common with it. Raises
    DataError where that leaves nothing.
    """
    films = [list(group) for _, group in groupby(sorted(pairs, key=lambda files: in_time(files.flow)), _film)]
    if len(films) > 1:
        first = len(films) - 1
        while first > 1 and sum(map(len, films[first:])) < HELD_OUT * len(pairs):
            first -= 1
        train, test = ([files for film in some for files in film] for some in (films[:first], films[first:]))
        return train, test, f"{first} films to train on, {len(films) - first} to test on: the last by their names"
    held = max(1, round(HELD_OUT * len(pairs)))
    if len(pairs) < held + 2:
        raise DataError(
            f"folder {folder} must hold 2 films, each in a folder of its own, or a film of at least 4 frames, each but the last "
            f"with its flow; got one with {len(pairs)} flows"
        )
    remark = f"this is one film: its last {held} of {len(pairs)} pairs of frames are to test on, and look much like the others"
    return list(pairs[: -held - 1]), list(pairs[-held:]), remark


def _film(files: Files) -> tuple[Path, str]:
    """The folder, and in KITTI's the scene, as 000012 of 000012_10.png."""
    return files.flow.parent, _scene(files.now) if files.flow.parent.name in KITTIS else ""


def _scene(frame: Path) -> str:
    return frame.stem.rpartition("_")[0]


def find_pairs(folder: Path) -> list[Files]:
    """All frames with the next one and the flow between them, of all .flo files in a folder and its folders, and of KITTI's PNG
    files, by their names.

    Raises DataError.
    """
    files = files_in(folder)
    films = {place: list(some) for place, some in groupby(_frames(files), lambda file: file.parent)}
    found = []
    for flow in sorted(_flows(files), key=in_time):
        beside = next((films[place] for place in _places(flow.parent, folder) if place in films), [])
        places = [place for place, frame in enumerate(beside) if frame.stem == flow.stem]
        if not places:
            raise DataError(
                f"flow {flow} needs a frame of its name, as {flow.stem}.png, beside it or in clean or final beside flow, or in "
                "image_2 beside flow_occ; there is none"
            )
        scenes = {_scene(frame) for frame in beside[places[0] : places[0] + 2]} if flow.parent.name in KITTIS else set()
        if places[0] + 1 == len(beside) or len(scenes) > 1:
            raise DataError(f"flow {flow} needs a frame after {beside[places[0]].name}; there is none")
        found.append(Files(beside[places[0]], beside[places[0] + 1], flow))
    if not found:
        raise DataError(
            f"folder {folder} holds no .flo file, nor flow_occ with PNG files; wanted frames with the flow from each to the next "
            "beside it"
        )
    return found


def _flows(files: Sequence[Path]) -> list[Path]:
    """Files of flow; of KITTI's two of each pair of frames the first."""
    there = set(files)
    pictures = [file for file in files if file.suffix.lower() == ".png" and file.parent.name in KITTIS]
    twice = {
        file for file in pictures if file.parent.name == KITTIS[1] and file.parents[1] / KITTIS[0] / file.name in there
    }
    return [file for file in files if file.suffix.lower() == ".flo"] + [file for file in pictures if file not in twice]


def _frames(files: Sequence[Path]) -> list[Path]:
    """Picture files that are no flow, those of one folder together."""
    return sorted((f for f in files if f.suffix.lower() in SUFFIXES and f.parent.name not in KITTIS), key=in_time)


def _places(flow: Path, folder: Path) -> list[Path]:
    """Where the frames of a folder of flow may be: in it, or of training/flow/alley_1 in training/clean/alley_1, as in Sintel."""
    parts = flow.relative_to(folder).parts
    swapped = [
        (*parts[:i], name, *parts[i + 1 :]) for i, part in enumerate(parts) for name in FRAMES.get(part.lower(), ())
    ]
    return [flow, *(folder.joinpath(*some) for some in swapped)]


def read_pair(now: Path, then: Path, flow: Path) -> Pair:
    """Raises DataError where sizes differ."""
    frames = [to_array(read_colour(file, whole=True)) for file in (now, then)]
    values = read_flow(flow)
    for file, other in zip((now, then), frames, strict=True):
        if other.shape[1:] != values.shape[1:]:
            raise DataError(
                f"flow {flow} has {values.shape[2]} x {values.shape[1]} pixels and frame {file} has "
                f"{other.shape[2]} x {other.shape[1]}; they must be alike"
            )
    return Pair(frames[0], frames[1], values, seen_in_both(frames[0], frames[1], values))


def seen_in_both(now: Array, then: Array, flow: Array) -> np.ndarray:
    """bool[H,W]: inside the next frame, and of the same colour there."""
    return inside(flow) & (np.abs(now - sampled(then, flow)).mean(0) <= AGREE)


def _cut(pair: Pair, size: int, random: np.random.RandomState) -> Pair:
    """The same place of both frames; what moves out of it is not to be seen in both. Raises DataError: frames too small."""
    height, width = pair.seen.shape
    if min(height, width) < size:
        raise DataError(f"frames must have at least --patch {size} pixels along each side; got {width} x {height}")
    top, left = random.randint(height - size + 1), random.randint(width - size + 1)
    rows, columns = slice(top, top + size), slice(left, left + size)
    flow = pair.flow[:, rows, columns]
    return Pair(pair.now[:, rows, columns], pair.then[:, rows, columns], flow, pair.seen[rows, columns] & inside(flow))


clips = Source(
    "clips",
    "frames of films with their flow, and a style",
    "a folder of frames with a .flo file beside each but the last, or as Sintel has them in folders clean and flow, "
    "or KITTI in image_2 and flow_occ",
    load_clips,
    (STYLE, PATCH),
)
