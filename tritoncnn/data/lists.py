"""Lists of files within data sets that tell what is for training and what for testing: names, or tables of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tritoncnn.data.files import look, read_file
from tritoncnn.data.folder import TEST, TRAIN
from tritoncnn.data.pictures import SUFFIXES
from tritoncnn.errors import DataError

MAX_LIST = 20_000_000  # bytes
Rows = list[tuple[Path, Path]]


def check_apart(lists: Sequence[Path], train: Sequence[str], test: Sequence[str]) -> None:
    """Raise DataError where two lists, of what is for training and for testing, have a name in common."""
    if both := sorted(set(train) & set(test)):
        raise DataError(f"{lists[0]} and {lists[1].name} must have no name in common; both have {both[0]!r:.80}")


def read_tables(folder: Path) -> tuple[Rows, Rows] | None:
    """What two tables of a folder tell, as nyu2_train.csv and nyu2_test.csv: in each line a picture and what is beside it.

    Paths are as seen from the folder, or from the one around it. None where there are no such tables. Raises DataError.
    """
    tables = {path.name.lower(): path for path in folder.glob("*.[cC][sS][vV]") if look(path) == "file"}
    found = [
        (tables[name], tables[other])
        for name in tables
        if (stem := name.removesuffix(f"{TRAIN[0]}.csv")) != name
        for other in (f"{stem}{test}.csv" for test in TEST)
        if other in tables
    ]
    if len(found) != 1 or not all(_tells_pairs(path) for path in found[0]):
        return None
    train, test = (_read(path, folder) for path in found[0])
    check_apart(found[0], *([str(picture) for picture, _ in rows] for rows in (train, test)))
    return train, test


def _words(path: Path) -> list[list[str]]:
    lines = read_file(path, "", MAX_LIST).decode("utf-8-sig", "replace").splitlines()
    return [[word.strip() for word in line.split(",")] for line in lines if line.strip()]


def _tells_pairs(path: Path) -> bool:
    """Whether the first line, or that behind a title, names two pictures."""
    return any(len(row) == 2 and all(Path(word).suffix.lower() in SUFFIXES for word in row) for row in _words(path)[:2])


def _read(path: Path, folder: Path) -> Rows:
    rows = []
    for number, row in enumerate(_words(path), 1):
        if number == 1 and not any(Path(word).suffix for word in row):
            continue  # a title
        if len(row) != 2 or any(".." in Path(word).parts or Path(word).is_absolute() for word in row):
            raise DataError(f"{path}, line {number}: wanted two paths within the data set; got {','.join(row)!r:.80}")
        picture, beside = (_find(word, folder, f"{path}, line {number}") for word in row)
        rows.append((picture, beside))
    return rows


def _find(word: str, folder: Path, where: str) -> Path:
    for place in (folder / word, folder.parent / word):
        if look(place) == "file":
            return place
    raise DataError(f"{where}: {word!r:.80} is not there")
