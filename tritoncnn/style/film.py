"""The net of a run paints the frames of a film: a folder of pictures, or a video file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.colour import to_array
from tritoncnn.data.files import look, reason
from tritoncnn.data.folder import files_in, in_time
from tritoncnn.data.pictures import SUFFIXES, flatten, read_colour
from tritoncnn.data.whole import LARGEST, WholeReader, scaled
from tritoncnn.errors import DataError, InputError, SaveError
from tritoncnn.figure import as_png
from tritoncnn.frozen import compile_kept
from tritoncnn.task import Task
from tritoncnn.tasks.kinds.painting import to_image
from tritoncnn.train.folder import load_trained, make_folder, open_run

VIDEOS = (".gif", ".mp4", ".mov", ".avi", ".mkv", ".webm")
GROUND = "white"  # of transparent frames: one for all, or the film would flicker
USUAL_RATE = 25.0  # frames a second, where a file does not say
CODECS = {".webm": ("libvpx-vp9", "libopus")}  # of pictures and sound, else H.264 and AAC, which a WebM may not hold
NAMED = 3  # pictures in a sentence
Frames = Iterator[tuple[str, Image.Image]]
Sink = tuple[Callable[[str, Image.Image], None], list[Path], Callable[[int], None]]  # write a frame, files, finish


def paint_film(
    task: Task, run: Path, film: Path, out: Path | None, *, size: int | None = None, best: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], tuple[Path, ...]]:  # fmt: skip
    """Paint all frames of a folder, or of a video file, into a folder or a video; (what is known of it, the files).

    ``out``: None: painted-FILM in this folder; of a folder of frames a name such as film.mp4 makes a video, of USUAL_RATE.
    ``size``: pixels of the longer side. A video is there once it is whole, with the sound of the one that was painted.
    Raises InputError, DataError (also where frames have different sizes), CheckpointError, SaveError.
    """
    trained = load_trained(open_run(run), task, best=best)
    if not isinstance(trained.read, WholeReader):
        raise InputError(
            f"{run} is a run of task {task.name!r}, which paints no frames; wanted one of stylenet or videostyle"
        )
    if size is not None and not trained.read.least <= size <= LARGEST:
        raise InputError(f"--size must be from {trained.read.least} to {LARGEST}; got {size}")
    is_folder = _is_folder(film)
    place = out or Path(f"painted-{film.name}")
    into_folder = is_folder and _becomes_folder(place)
    note: dict[str, Any] = {"run": str(run), "film": str(film), "frames": 0, "remarks": []}
    changes: list[tuple[float, float]] = []
    check = _checker(film, trained.read.least, size)
    with ExitStack() as stack:
        rate, sound = (USUAL_RATE, None) if is_folder else _told_of(film)
        if place.resolve() == film.resolve():
            raise InputError(
                f"--out {place} is the film itself; name another place, or what was filmed is painted over"
            )
        for name, frame in _frames_in(film, place) if is_folder else ():  # told before any of it is painted
            check(name, frame)
        if sound is not None and place.suffix.lower() == ".gif":
            note["remarks"].append(f"the sound of {film} is left out: a GIF has none")
            sound = None
        write, files, finish = _folder_of(place) if into_folder else _video_of(place, rate, sound, stack)
        model, before = None, None
        for name, frame in _frames_in(film, place) if is_folder else _frames_of(film):
            check(name, frame)
            shown = scaled(frame, size) if size is not None else frame
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
        finish(note["frames"])
    note |= {"size": list(before[0].size), "sound": sound is not None}
    if into_folder:
        note["remarks"] += _others(place, files)
    if changes:
        given, made = np.mean(changes, 0)
        note |= {"change": float(given), "painted_change": float(made)}
    return note, tuple(files)


def _is_folder(film: Path) -> bool:
    """Whether the frames lie in a folder, not in a video file. Raises DataError where they are in neither."""
    there = look(film)
    if there == "none":
        raise DataError(f"{film} does not exist; wanted a folder of frames or a video file")
    if there != "folder" and film.suffix.lower() not in VIDEOS:
        raise DataError(f"{film} must be a folder of frames, or a video file that ends in one of {', '.join(VIDEOS)}")
    return there == "folder"


def _becomes_folder(place: Path) -> bool:
    """Whether painted frames are written as files. Raises InputError for a picture's name, or a video's that is not written."""
    if place.suffix.lower() in VIDEOS:
        return False
    if place.suffix and look(place) == "none":
        raise InputError(
            f"--out {place} must be a folder, or a video file that ends in one of {', '.join(VIDEOS)}; make the folder first "
            "if that is its name"
        )
    return True


def _checker(film: Path, least: int, size: int | None) -> Callable[[str, Image.Image], None]:
    """What raises DataError for a frame that is no size for the net, or becomes another one than the first."""
    first: list[tuple[int, int]] = []

    def check(name: str, frame: Image.Image) -> None:
        shown = scaled(frame, size) if size is not None else frame
        if not first:
            first.append(shown.size)
        if shown.size != first[0]:
            raise DataError(
                f"frame {name} of {film} has {frame.width} x {frame.height} pixels, and those before it have another size; all "
                "frames of a film must be alike"
            )
        if min(shown.size) < least or max(shown.size) > LARGEST:
            raise DataError(
                f"frame {name} of {film} must have from {least} to {LARGEST} pixels along each side; it has {shown.width} x "
                f"{shown.height}: --size scales it"
            )

    return check


def _apart(a: Image.Image, b: Image.Image) -> float:
    """Mean difference between two pictures; white is 1."""
    return float(np.abs(to_array(a) - to_array(b)).mean())


def _frames_in(folder: Path, out: Path) -> Frames:
    """The pictures in a folder by their names, numbers as such, but for those in ``out``. Raises DataError."""
    files = [file for file in sorted(_pictures_in(folder), key=in_time) if out.resolve() not in file.resolve().parents]
    if not files:
        raise DataError(f"folder {folder} holds no picture ({', '.join(SUFFIXES)})")
    for file in files:
        yield str(file.relative_to(folder)), read_colour(file, whole=True, ground=GROUND)


def _pictures_in(folder: Path) -> list[Path]:
    return [file for file in files_in(folder) if file.suffix.lower() in SUFFIXES]


def _others(place: Path, files: list[Path]) -> list[str]:
    """A remark on the pictures in a folder that are not among ``files``."""
    others = sorted({*_pictures_in(place)} - {*files}, key=in_time)
    if not others:
        return []
    names = ", ".join(str(file.relative_to(place)) for file in others[:NAMED]) + (" ..." if others[NAMED:] else "")
    count = "1 picture in {} is" if len(others) == 1 else f"{len(others)} pictures in {{}} are"
    return [f"{count.format(place)} not of this film, as after a longer one: {names}"]


def _frames_of(video: Path) -> Frames:
    """The frames of a video file. Raises DataError."""
    imageio = _imageio()
    more = {"mode": "RGBA"} if video.suffix.lower() == ".gif" else {}  # else its first frame comes without transparency
    try:
        for number, frame in enumerate(imageio.imiter(video, **more)):
            picture = Image.fromarray(np.asarray(frame))
            clear = picture.has_transparency_data
            yield str(number), flatten(picture.convert("RGBA"), GROUND) if clear else picture.convert("RGB")
    except Exception as error:  # its readers raise nearly anything
        raise DataError(_unreadable(video, error)) from error


def _told_of(video: Path) -> tuple[float, Path | None]:
    """Frames a second, as far as the file says; the file, where it has sound that can be read."""
    try:
        found = _imageio().immeta(video, exclude_applied=False)
    except Exception as error:
        raise DataError(_unreadable(video, error)) from error
    sound = video if found.get("audio_codec") else None
    if found.get("fps"):
        return float(found["fps"]), sound
    return (1000 / found["duration"] if found.get("duration") else USUAL_RATE), sound


def _imageio() -> Any:
    try:
        import imageio.v3
    except ImportError as error:
        raise InputError("video files need the package imageio: pip install 'tritoncnn[video]'") from error
    return imageio.v3


def _unreadable(video: Path, error: Exception) -> str:
    return f"video {video} cannot be read: {_first_line(error)}{_lacking(video)}"


def _lacking(video: Path) -> str:
    """What a sentence on a video that fails goes on with: how to install what is not there, or what else it may be."""
    if video.suffix.lower() == ".gif":
        return ""
    if find_spec("imageio_ffmpeg") is None and find_spec("av") is None:
        return f"; {video.suffix} needs pip install 'tritoncnn[video]'"
    return "; it may be empty, cut short or no video"


def _first_line(error: Exception) -> str:
    return reason(error).strip().split("\n")[0].rstrip(".")


def _folder_of(place: Path) -> Sink:
    make_folder(place)
    files: list[Path] = []

    def write(name: str, picture: Image.Image) -> None:
        file = (place / name).with_suffix(".png")
        if file in files:  # of a.jpg and a.png
            file = place / f"{name}.png"
        make_folder(file.parent)
        write_file(file, as_png(picture))
        files.append(file)

    return write, files, lambda frames: None


def _video_of(place: Path, rate: float, sound: Path | None, stack: ExitStack) -> Sink:
    """A video of so many frames a second, with the ``sound`` of another one, moved to its place when it is whole. An odd row or
    column, which most codecs refuse, is left out."""
    kind = place.suffix.lower()
    if kind not in VIDEOS:
        raise InputError(f"--out {place} must end in one of {', '.join(VIDEOS)}, as a video file does")
    make_folder(place.parent)
    check_writable(place)
    v3 = _imageio()
    import imageio.v2

    codec, heard = CODECS.get(kind, ("libx264", "aac"))
    how: dict[str, Any] = {"fps": rate, "macro_block_size": 2, "codec": codec}
    if sound is not None:
        how |= {"audio_path": str(sound), "audio_codec": heard}
    if kind == ".gif":
        how = {"duration": round(1000 / rate), "loop": 0}
    beside = Path(stack.enter_context(TemporaryDirectory(prefix=".painted-", dir=place.parent))) / place.name
    try:
        open_writer: Any = imageio.v2.get_writer  # its types know of no options
        writer = stack.enter_context(open_writer(beside, **how))
    except Exception as error:  # as its readers
        raise InputError(f"video {place} cannot be written: {_first_line(error)}{_lacking(place)}") from error

    def write(name: str, picture: Image.Image) -> None:
        values = np.asarray(picture)
        writer.append_data(values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2])

    def finish(frames: int) -> None:
        """Read it again: what ffmpeg has no encoder for, it tells on its own and nowhere else."""
        writer.close()
        try:
            found = sum(1 for _ in v3.imiter(beside))
        except Exception as error:
            raise SaveError(
                f"video {place} could not be written: what came is no video ({_first_line(error)})"
            ) from error
        if found != frames and kind != ".gif":  # which joins frames that are alike
            raise SaveError(f"video {place} could not be written: {found} of {frames} frames are in it")
        os.replace(beside, place)

    return write, [place], finish
