"""Pictures that stay on disk and are read when rows of them are asked for, ahead of their use by other processes if wanted.

Which pictures come in which order is said before any is read: no bit depends on how many processes read. That a picture is blank,
or broken, is known when it is read: it is NaN in its batch, where another picture then takes its place.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from tritoncnn.data.define import (
    Array,
    BlankError,
    Dataset,
    Examples,
    Facts,
    Labels,
    Reader,
    check_labels,
    facts_of,
    note_of,
)
from tritoncnn.errors import DataError
from tritoncnn.flags import option
from tritoncnn.tree import apply

SAMPLE = 2048  # pictures, evenly chosen, of which mean and deviation are taken, and that a baseline looks at
BROKEN = 0.1  # of the pictures for training may be so, and one in any case; where more are, something else is wrong
AHEAD = 4  # batches that each process reads ahead
STREAM = option("stream", False, "Leave pictures on disk until a batch wants them, as sets larger than memory need it.")


@dataclass(frozen=True)
class PictureFiles:
    """f32[N,C,H,W] on disk, normalised by ``facts`` where there are such; of a tensor it has what batches need.

    ``root`` is the folder of the data set, which may move. Raises DataError naming the file, whenever one that is asked for
    cannot be read, unless those are to be passed over (``passing``).
    """

    paths: tuple[Path, ...]
    root: Path
    read: Reader
    shape: torch.Size
    facts: Facts | None = None
    dtype: torch.dtype = torch.float32
    passing: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def dim(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: int | slice | torch.Tensor) -> torch.Tensor:
        if isinstance(rows, int):
            return self[rows : rows + 1 or None][0]
        numbers = torch.arange(len(self))[rows].tolist()
        return self.normalise(self.pictures(numbers))

    def pictures(self, numbers: Sequence[int]) -> Array:
        """f32[N,C,H,W] in [0, 1]; of a blank picture, and of a broken one that is passed over, NaN."""
        found = np.full((len(numbers), *self.shape[1:]), np.nan, np.float32)
        for place, number in enumerate(numbers):
            try:
                picture = self.read(self.paths[number])
            except BlankError:
                continue
            except DataError:
                if self.passing:
                    continue
                raise
            if picture.shape != self.shape[1:]:
                raise DataError(
                    f"picture {self.paths[number]} is read as {list(picture.shape)}; the others are {list(self.shape[1:])}"
                )
            found[place] = picture
        return found

    def unseen(self, number: int) -> str | None:
        """Why a picture shows nothing: "" where it is blank, else how it is broken; None where it shows something."""
        try:
            self.read(self.paths[number])
        except BlankError:
            return ""
        except DataError as error:
            return str(error)
        return None

    def check_broken(self, faults: Sequence[str], looked_at: int) -> None:
        """Raises DataError where too many of the pictures that were looked at cannot be read."""
        if len(faults) > max(1, BROKEN * looked_at):
            raise DataError(
                f"{faults[0]}; so it is with {len(faults)} of {looked_at} pictures: mend them or take them out"
            )

    def normalise(self, pictures: Array) -> torch.Tensor:
        return torch.from_numpy(pictures) if self.facts is None else self.facts.normalise(pictures)

    def evenly(self) -> torch.Tensor:
        """Numbers of SAMPLE pictures at most, evenly over all."""
        count = min(len(self), SAMPLE)
        return torch.linspace(0, len(self) - 1, count, dtype=torch.float64).round().long()


def blank_rows(pictures: Array | torch.Tensor) -> NDArray[np.bool_]:
    """Which of pictures [N,C,H,W] stand for blank files."""
    return np.isnan(np.asarray(pictures)[:, 0, 0, 0])


def on_disk(part: Examples) -> PictureFiles | None:
    """The files of a part that is not in memory."""
    return part.x if isinstance(part.x, PictureFiles) else None


def passing(part: Examples) -> Examples:
    """A part for training: pictures on disk that turn out to be broken are passed over, as blank ones are."""
    files = on_disk(part)
    return part if files is None else replace(part, x=cast("torch.Tensor", replace(files, passing=True)))


def first(part: Examples, count: int) -> Examples:
    """The first ``count`` examples of a part; what is on disk stays there."""
    files = on_disk(part)
    if files is None:
        return part.take(slice(count))
    paths = files.paths[:count]
    few = replace(files, paths=paths, shape=torch.Size((len(paths), *files.shape[1:])))
    return part.of(cast("torch.Tensor", few), lambda values: values[:count])


def joined(a: Examples, b: Examples) -> Examples:
    """The examples of two parts of one data set, which are both in memory or both on disk, one after the other."""
    y, beside = (apply(lambda *rows: torch.cat(rows), *trees) for trees in ((a.y, b.y), (a.beside, b.beside)))
    files = on_disk(a), on_disk(b)
    if files[0] is None or files[1] is None:
        return Examples(torch.cat([a.x, b.x]), y, beside)
    paths = (*files[0].paths, *files[1].paths)
    whole = replace(files[0], paths=paths, shape=torch.Size((len(paths), *files[0].shape[1:])))
    return Examples(cast("torch.Tensor", whole), y, beside)


def sampled(part: Examples) -> Examples:
    """A part that is in memory; of one that is not, SAMPLE examples evenly over it, now read, but for those passed over."""
    files = on_disk(part)
    if files is None:
        return part
    some = passing(part).take(files.evenly())
    return some.take(torch.from_numpy(~blank_rows(some.x)))


def in_place_of_blanks(batch: Examples, blank: NDArray[np.bool_]) -> Examples:
    """A batch in which the next one that is none stands for each ``blank`` or broken row. Raises DataError where all are."""
    if blank.all():
        raise DataError(f"all {len(blank)} pictures of a batch are blank or broken")
    seen = np.flatnonzero(~blank)
    places = seen[np.searchsorted(seen, np.arange(len(blank))) % len(seen)]
    return batch.take(torch.from_numpy(places))


def without_blanks(part: Examples) -> Examples:
    """A part on disk without its blank and broken pictures, for which all are read; one in memory as it is. Raises DataError
    where too many are broken."""
    files = on_disk(part)
    if files is None:
        return part
    faults = [files.unseen(number) for number in range(len(files))]
    files.check_broken([fault for fault in faults if fault], len(files))
    kept = np.flatnonzero([fault is None for fault in faults])
    few = replace(files, paths=tuple(files.paths[n] for n in kept), shape=torch.Size((len(kept), *files.shape[1:])))
    return part.of(cast("torch.Tensor", few), lambda values: values[torch.from_numpy(kept)])


def blank_among(paths: Sequence[Path], read: Reader) -> NDArray[np.bool_]:
    """Which of these pictures are blank. Raises DataError where one cannot be read."""
    blank = np.zeros(len(paths), bool)
    for number, path in enumerate(paths):
        try:
            read(path)
        except BlankError:
            blank[number] = True
    return blank


def renormalised(part: Examples, now: Facts, wanted: Facts) -> Examples:
    """A part that was normalised by the mean and deviation of ``now``, by those of ``wanted``."""
    if (files := on_disk(part)) is not None:
        return replace(part, x=cast("torch.Tensor", replace(files, facts=wanted)))
    return replace(part, x=wanted.normalise(now.restore(part.x)))


def seen(pictures: Array | PictureFiles) -> Array:
    """What mean and deviation are taken of: all pictures in memory; of those on disk SAMPLE, but for blank and broken ones.

    Raises DataError where more than some are broken, or all blank.
    """
    if not isinstance(pictures, PictureFiles):
        return pictures
    numbers = pictures.evenly()
    some = replace(pictures, passing=True).pictures(numbers.tolist())
    blank = blank_rows(some)
    faults = [fault for number in numbers[torch.from_numpy(blank)].tolist() if (fault := pictures.unseen(number))]
    pictures.check_broken(faults, len(some))
    if blank.all():
        raise DataError(
            f"the first training pictures that were looked at are all blank: {pictures.paths[0]} and {len(some) - 1} more"
        )
    return some[~blank]


def inputs_of(pictures: Array | PictureFiles, facts: Facts) -> torch.Tensor:
    """Normalised pictures for ``Examples``."""
    if isinstance(pictures, PictureFiles):
        return cast("torch.Tensor", replace(pictures, facts=facts))
    return facts.normalise(pictures)


def content_of(x: torch.Tensor) -> Iterator[bytes | memoryview]:
    """What a fingerprint is made of: all values in memory, names and sizes of files on disk. Raises DataError."""
    files: object = x
    if not isinstance(files, PictureFiles):
        yield x.numpy().data
        return
    for path in files.paths:
        yield os.fsencode(f"{os.path.relpath(path, files.root)} {_size(path)}\n")


def make_streamed(
    name: str, root: Path, classes: Sequence[str], train: tuple[Sequence[Path], Labels], test: tuple[Sequence[Path], Labels],
    read: Reader, remarks: tuple[str, ...], more: Mapping[str, Any],
) -> Dataset:  # fmt: skip
    """As ``make_labelled``, of files with their labels; the first for testing, which is not blank, tells the size of all.

    Raises DataError.
    """
    check_labels(name, classes, train[1], test[1])
    shape = read(test[0][0]).shape
    files = [PictureFiles(tuple(paths), root, read, torch.Size((len(paths), *shape))) for paths, _ in (train, test)]
    facts = facts_of(name, classes, seen(files[0]))
    digest = hashlib.sha256(repr(facts.classes).encode())
    parts = []
    for pictures, (_, labels) in zip(files, (train, test), strict=True):
        parts.append(Examples(inputs_of(pictures, facts), torch.from_numpy(labels)))
        for piece in content_of(parts[-1].x):
            digest.update(piece)
        digest.update(labels.data)
    note, about = note_of(classes, train[1], test[1])
    return Dataset(name, facts, parts[0], parts[1], digest.hexdigest(), note | dict(more), remarks, about)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"picture {path} cannot be read: {error.strerror}") from error


def read_ahead(x: torch.Tensor, batches: Sequence[torch.Tensor], workers: int) -> Iterator[torch.Tensor]:
    """``x[rows]`` for each ``rows`` of the batches, in their order.

    Of pictures on disk ``workers`` processes read those that come next while the caller computes. Raises DataError when it
    comes to a batch with a picture that cannot be read.
    """
    files: object = x
    if not isinstance(files, PictureFiles) or not workers:
        yield from (x[rows] for rows in batches)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more processes than cores: they also wait for the disk
        loader: DataLoader[Any] = DataLoader(
            _Batches(files), batch_size=None, sampler=[rows.tolist() for rows in batches], num_workers=workers,
            collate_fn=_as_it_is, prefetch_factor=AHEAD, worker_init_fn=_leave_signals, generator=torch.Generator(),
        )  # fmt: skip
    found: Any = iter(loader)
    # torch ends its processes when ``found`` is forgotten. A traceback may hold it until the end, where Python asks daemons to
    # end by SIGTERM, which ours leave alone, and would wait for them without end: they are ended here, or before that.
    atexit.register(found._shutdown_workers)
    try:
        while True:
            try:
                pictures = next(found, None)
            except RuntimeError as error:  # torch's word for a process that was killed
                raise DataError(
                    f"a process that reads pictures ended early, perhaps for want of memory: {error}"
                ) from error
            if pictures is None:
                return
            if isinstance(pictures, DataError):
                raise pictures
            yield files.normalise(pictures)
    finally:
        atexit.unregister(found._shutdown_workers)
        found._shutdown_workers()


class _Batches(TorchDataset[Any]):
    """What torch's loader asks for a batch of: it is given the numbers of one."""

    def __init__(self, files: PictureFiles) -> None:
        self.files = files

    def __getitem__(self, numbers: Any) -> Array | DataError:
        try:
            return self.files.pictures(numbers)
        except DataError as error:  # as a value: torch would pack a traceback of the process into its text
            return error


def _as_it_is(found: Any) -> Any:
    """No tensor: these would pass through shared memory, of which containers have little."""
    return found


def _leave_signals(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal: the one that trains saves, and then lets these end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
