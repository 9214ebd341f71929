"""Answers as rows of a table, and as pictures with their answer below."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tritoncnn.atomic import write_file
from tritoncnn.data.inputs import STDIN
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import printable
from tritoncnn.task import Answer
from tritoncnn.train.folder import make_folder

LEAST, MOST = 192, 640  # of the longer side of a picture that is shown
LINE = 16  # height of a line of text, in pixels
PAPER, INK = "white", "black"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with what is nested in them as columns: top_1_class, top_1_probability... A row lacks what it does not have."""
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        inner = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(str(number), part) for number, part in enumerate(value, 1)]
    else:
        yield name, value
        return
    for key, part in inner:
        yield from _flat(part, f"{name}_{key}" if name else key)


def write_answers(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    answers: Sequence[tuple[str, Path, Answer]],
    view: Callable[[Path], Image.Image] = read_colour,
) -> list[Path]:
    """Write answers.json into a folder, and each picture (name, file, answer) as NAME-answer.png with its answer on or below it,
    and the further files of answers; return the files.

    ``view`` makes a picture of a file. Raises InputError, SaveError; DataError where a picture cannot be read any more.
    """
    make_folder(out)
    files = [out / "answers.json"]
    write_file(files[0], (json.dumps(rows, indent=2) + "\n").encode())
    for name, file, answer in answers:
        target = free_name(out, name, "answer.png", files)
        data = io.BytesIO()
        shown = _scaled(view(file))
        page = answer.draw(shown) if answer.draw else _with_text(shown, [printable(line) for line in answer.lines])
        page.save(data, "PNG")
        write_file(target, data.getvalue())
        files.append(target)
        for end, make in answer.files.items():
            files.append(free_name(out, name, end, files))
            write_file(files[-1], make())
    return files


def free_name(out: Path, name: str, end: str, taken: Sequence[Path]) -> Path:
    """``out``/NAME-``end`` of what was handed in as ``name``; NAME-2-``end`` and so on where that is ``taken``."""
    stem, number = "stdin" if name == STDIN else Path(name).stem, 1
    path = out / f"{stem}-{end}"
    while path in taken:
        number += 1
        path = out / f"{stem}-{number}-{end}"
    return path


def _scaled(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    scale = LEAST / longer if longer < LEAST else MOST / longer if longer > MOST else 1.0
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _with_text(shown: Image.Image, lines: Sequence[str]) -> Image.Image:
    font = ImageFont.load_default(LINE - 3)
    width = max(shown.width, *(int(font.getlength(line)) + 8 for line in lines))
    page = Image.new("RGB", (width, shown.height + LINE * len(lines) + 4), PAPER)
    page.paste(shown, (0, 0))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((4, shown.height + LINE * number), line, INK, font)
    return page
