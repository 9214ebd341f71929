from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tritoncnn.data import Source
from tritoncnn.rooms import find_all, modules_of

DEFINES = "from tritoncnn.data import Source\n{} = Source({!r}, '', '', lambda folder, read: None)\n"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An empty package of a name of its own."""
    folder = tmp_path / f"room_{request.node.name}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_room_finds_what_its_files_define(room: Path) -> None:
    (room / "b.py").write_text(DEFINES.format("one", "one"))
    (room / "a.py").write_text(
        f"from {room.name}.b import one\n" + DEFINES.format("two", "two") + "word = 'no source'\n"
    )
    (room / "kinds").mkdir()
    (room / "kinds" / "__init__.py").write_text("raise RuntimeError('packages are passed over')")
    (room / "note.txt").write_text("no module")
    package = importlib.import_module(room.name)
    assert modules_of(package.__path__) == ("a", "b")
    found = find_all(room.name, package.__path__, Source)
    assert {name: thing.name for name, thing in found.items()} == {"one": "one", "two": "two"}


def test_two_things_of_one_name_are_found_out(room: Path) -> None:
    for file in ("a", "b"):
        (room / f"{file}.py").write_text(DEFINES.format(file, "same"))
    with pytest.raises(AssertionError, match="has two things named 'same'"):
        find_all(room.name, importlib.import_module(room.name).__path__, Source)
