"""Filtered pictures -> files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.define import Array
from tritoncnn.data.values import EXACT, check_suffix, encode_levels, encode_numbers
from tritoncnn.filters.show import levels_of, sheet_of
from tritoncnn.filters.taps import Filter


def files_for(out: Path, levels: int) -> list[Path]:
    """The files to be written: ``out``, and one for each level of a pyramid beside it. Raises InputError, SaveError.

    The levels of NAME.png are NAME-0.png, NAME-1.png and so on; NAME.png shows them all. Numbers have no such sheet.
    """
    check_suffix(out, "--out")
    each = [out.with_name(f"{out.stem}-{level}{out.suffix}") for level in range(levels)] if levels > 1 else []
    files = each if each and out.suffix.lower() == EXACT else [out, *each]
    for file in files:
        check_writable(file)
    return files


def write_filtered(out: Path, results: Sequence[Array], filter: Filter) -> tuple[list[Path], str]:
    """Write the files. (which they are, in words what their levels mean). Raises InputError, SaveError."""
    files = files_for(out, len(results))
    if out.suffix.lower() == EXACT:
        data, words = [encode_numbers(level) for level in results], "numbers as they are, f32"
    else:
        levels, words = levels_of(results, filter)
        pictures = levels if len(levels) == 1 else [sheet_of(levels), *levels]
        data = [encode_levels(picture, out.suffix) for picture in pictures]
    for file, content in zip(files, data, strict=True):
        write_file(file, content)
    return files, words
