"""Sound files in a folder and the folders in it; some of the files are held out for testing, never a part of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tritoncnn.data.define import HELD_OUT, Array, BlankError, Dataset, Reader, Source, hold_out
from tritoncnn.data.folder import files_in
from tritoncnn.data.sounds import OPTIONS, SUFFIXES, check_sounds, make_sounds
from tritoncnn.errors import DataError
from tritoncnn.flags import Rule, option


def load_sounds(folder: Path | None, read: Reader, window: int, context: int, hold_out_sounds: float) -> Dataset:
    """Silent sounds are left out and told. Raises DataError: fewer than two others, a sound that cannot be read."""
    assert folder is not None, "load_data asks for one"
    reader = check_sounds("sounds", read)
    files = [file for file in files_in(folder) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"folder {folder} holds no sound ({', '.join(SUFFIXES)})")
    waves: list[Array] = []
    silent: list[Path] = []
    for file in files:
        try:
            waves.append(reader(file))
        except BlankError:
            silent.append(file)
    if len(waves) < 2:
        raise DataError(
            f"folder {folder} must hold at least 2 sounds that are not silent, for one is held out for testing; got {len(waves)}"
        )
    kept = hold_out(np.zeros(len(waves), np.int64), hold_out_sounds)
    remarks = (f"left out: {len(silent)} silent, as {silent[0]}",) if silent else ()
    train, test = ([wave for wave, held in zip(waves, kept, strict=True) if held == part] for part in (False, True))
    return replace(make_sounds("sounds", train, test, context, window, remarks), held_out=True)


sounds = Source(
    "sounds", "sound files of your own", "a folder of WAV, FLAC, Ogg, AIFF or MP3 files", load_sounds,
    (*OPTIONS, option(
        "hold_out_sounds", HELD_OUT, "Share of the sounds of --data sounds that is for testing.",
        Rule("above 0 and below 1", lambda value: 0 < value < 1), metavar="SHARE",
    )),
)  # fmt: skip
