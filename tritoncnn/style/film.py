"""The net of a run paints the frames of a film: a folder of pictures, or a video file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.colour import to_array
from tritoncnn.data.files import look, reason
from tritoncnn.data.folder import files_in
from tritoncnn.data.pictures import SUFFIXES, read_colour
from tritoncnn.data.whole import LARGEST, WholeReader, scaled
from tritoncnn.errors import DataError, InputError
from tritoncnn.frozen import compile_kept
from tritoncnn.task import Task
from tritoncnn.tasks.kinds.painting import to_image
from tritoncnn.train.folder import load_trained, make_folder, open_run

VIDEOS = (".gif", ".mp4", ".mov", ".avi", ".mkv", ".webm")
USUAL_RATE = 25.0  # frames a second, where a file does not say
INSTALL = "pip install 'tritoncnn[video]'"
Frames = Iterator[tuple[str, Image.Image]]


def paint_film(
    task: Task, run: Path, film: Path, out: Path | None, *, size: int | None = None, best: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], tuple[Path, ...]]:  # fmt: skip
    """Paint all frames of a folder, or of a video file, into a folder or a video; (what is known of it, the files).

    ``out``: None: painted-FILM beside nothing, in this folder. ``size``: pixels of the longer side. Raises InputError,
    DataError (also where frames have different sizes), CheckpointError, SaveError.
    """
    trained = load_trained(open_run(run), task, best=best)
    if not isinstance(trained.read, WholeReader):
        raise InputError(
            f"{run} is a run of task {task.name!r}, which paints no frames; wanted one of stylenet or videostyle"
        )
    if size is not None and not trained.read.least <= size <= LARGEST:
        raise InputError(f"--size must be from {trained.read.least} to {LARGEST}; got {size}")
    there = look(film)
    if there == "none":
        raise DataError(f"{film} does not exist; wanted a folder of frames or a video file")
    is_folder = there == "folder"
    if not is_folder and film.suffix.lower() not in VIDEOS:
        raise DataError(f"{film} must be a folder of frames, or a video file that ends in one of {', '.join(VIDEOS)}")
    place = out or Path(f"painted-{film.name}")
    note: dict[str, Any] = {"run": str(run), "film": str(film), "frames": 0}
    changes: list[tuple[float, float]] = []
    with ExitStack() as stack:
        write, files = _folder_of(place) if is_folder else _video_of(place, film, stack)
        model, before = None, None
        for name, frame in _frames_in(film) if is_folder else _frames_of(film):
            shown = scaled(frame, size) if size is not None else frame
            if before is not None and shown.size != before[0].size:
                raise DataError(
                    f"frame {name} of {film} has {frame.width} x {frame.height} pixels, and those before it have another "
                    "size; all frames of a film must be alike"
                )
            if min(shown.size) < trained.read.least or max(shown.size) > LARGEST:
                raise DataError(
                    f"frame {name} of {film} must have from {trained.read.least} to {LARGEST} pixels along each side; "
                    f"it has {shown.width} x {shown.height}: --size scales it"
                )
            x = torch.from_numpy(to_array(shown))[None]
            model = model or compile_kept(trained.module, x)
            painted = to_image(model(x)[0])
            if before is not None:
                changes.append((_apart(before[0], shown), _apart(before[1], painted)))
            before = (shown, painted)
            write(name, painted)
            note["frames"] += 1
            if note["frames"] % 10 == 0:
                tell(f"{note['frames']} frames painted")
    if before is None:
        raise DataError(f"{film} holds no frame")
    note |= {"size": list(before[0].size)}
    if changes:
        given, made = np.mean(changes, 0)
        note |= {"change": float(given), "painted_change": float(made)}
    return note, tuple(files)


def _apart(a: Image.Image, b: Image.Image) -> float:
    """Mean difference between two pictures; white is 1."""
    return float(np.abs(to_array(a) - to_array(b)).mean())


def _frames_in(folder: Path) -> Frames:
    """The pictures in a folder by their names. Raises DataError."""
    files = [file for file in files_in(folder) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"folder {folder} holds no picture ({', '.join(SUFFIXES)})")
    for file in files:
        yield str(file.relative_to(folder)), read_colour(file)


def _frames_of(video: Path) -> Frames:
    """The frames of a video file. Raises DataError."""
    imageio = _imageio()
    try:
        for number, frame in enumerate(imageio.imiter(video)):
            values = np.asarray(frame)
            yield str(number), Image.fromarray(values if values.ndim == 2 else values[..., :3]).convert("RGB")
    except Exception as error:  # its readers raise nearly anything
        raise DataError(
            f"video {video} cannot be read: {_first_line(error)}; mp4 and its like need {INSTALL}"
        ) from error


def _rate_of(video: Path) -> float:
    """Frames a second, as far as the file says."""
    try:
        found = _imageio().immeta(video, exclude_applied=False)
    except Exception as error:
        raise DataError(
            f"video {video} cannot be read: {_first_line(error)}; mp4 and its like need {INSTALL}"
        ) from error
    if found.get("fps"):
        return float(found["fps"])
    return 1000 / found["duration"] if found.get("duration") else USUAL_RATE


def _imageio() -> Any:
    try:
        import imageio.v3
    except ImportError as error:
        raise InputError(f"video files need the package imageio; {INSTALL}") from error
    return imageio.v3


def _first_line(error: Exception) -> str:
    return reason(error).strip().split("\n")[0].rstrip(".")


def _folder_of(place: Path) -> tuple[Callable[[str, Image.Image], None], list[Path]]:
    make_folder(place)
    files: list[Path] = []

    def write(name: str, picture: Image.Image) -> None:
        data, file = io.BytesIO(), (place / name).with_suffix(".png")
        picture.save(data, "PNG")
        make_folder(file.parent)
        write_file(file, data.getvalue())
        files.append(file)

    return write, files


def _video_of(place: Path, video: Path, stack: ExitStack) -> tuple[Callable[[str, Image.Image], None], list[Path]]:
    """A video of the same rate. An odd row or column, which most codecs refuse, is left out."""
    if place.suffix.lower() not in VIDEOS:
        raise InputError(f"--out {place} must end in one of {', '.join(VIDEOS)}, as a video file does")
    rate = _rate_of(video)
    make_folder(place.parent)
    check_writable(place)
    import imageio.v2

    how = (
        {"duration": round(1000 / rate), "loop": 0}
        if place.suffix.lower() == ".gif"
        else {"fps": rate, "macro_block_size": 2}
    )
    try:
        open_writer: Any = imageio.v2.get_writer  # its types know of no options
        writer = stack.enter_context(open_writer(place, **how))
    except Exception as error:  # as its readers
        raise InputError(
            f"video {place} cannot be written: {_first_line(error)}; mp4 and its like need {INSTALL}"
        ) from error

    def write(name: str, picture: Image.Image) -> None:
        values = np.asarray(picture)
        writer.append_data(values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2])

    return write, [place]
