"""The page: one static file beside its pictures and sounds. No network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2

import tritoncnn
from tritoncnn.atomic import write_file
from tritoncnn.lecture.row import Result
from tritoncnn.lecture.rows import ROWS

PAGE = "index.html"
SOUNDS = {".wav", ".flac", ".ogg", ".mp3"}
MOVING = {".mp4", ".webm"}


def write_page(out: Path, results: Sequence[Result]) -> Path:
    """Write ``index.html`` into ``out``. Raises SaveError."""
    write_file(out / PAGE, page_of(results).encode())
    return out / PAGE


def page_of(results: Sequence[Result]) -> str:
    """The page as HTML."""
    done = [result for result in results if result.error is None]
    return _template().render(
        parts=[(result, ROWS[result.row], _kinds(result)) for result in results],
        better=sum(result.better for result in done),
        failed=len(results) - len(done),
        seconds=sum(result.seconds for result in results),
        version=tritoncnn.__version__,
    )


def _kinds(result: Result) -> list[tuple[str, str, str]]:
    """(file, the sentence below it, what a browser does with it) of each file."""
    kinds = []
    for file, caption in zip(result.files, result.captions, strict=True):
        ending = Path(file).suffix.lower()
        kinds.append((file, caption, "sound" if ending in SOUNDS else "video" if ending in MOVING else "picture"))
    return kinds


@cache
def _template() -> jinja2.Template:
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    room = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    room.filters["clock"] = clock
    return room.from_string(text)


def clock(seconds: float) -> str:
    """As in "48 s" and "12 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
