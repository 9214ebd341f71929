from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tritoncnn.errors import CheckpointError
from tritoncnn.train.tensorfile import read_note, read_tensors, write_tensors

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(7), "empty": torch.zeros(0, 4)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "t.safetensors", TENSORS, {"x": [1, 2.5, None], "y": {"z": "é"}})
    return tmp_path / "t.safetensors"


def raw(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def test_tensors_and_note_come_back(path: Path) -> None:
    tensors, note = read_tensors(path)
    assert note == {"x": [1, 2.5, None], "y": {"z": "é"}}
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_equal_content_gives_equal_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    write_tensors(again, dict(reversed(TENSORS.items())), {"y": {"z": "é"}, "x": [1, 2.5, None]})
    assert again.read_bytes() == path.read_bytes()


def test_every_truncation_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"t.safetensors (is truncated or no safetensors file|has a damaged)"):
            read_tensors(path)


def entry(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [start, end]} | more


ENTRY = json.dumps(entry(0, 4))
HOSTILE = {
    "a key twice": (raw(f'{{"w": {ENTRY}, "w": {ENTRY}}}'.encode(), b"abcd"), "has the key 'w' twice in its header"),
    "a key twice inside": (
        raw(b'{"w": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"abcd"),
        "has the key 'dtype' twice in its header",
    ),
    "a key twice in the note": (
        raw(json.dumps({"__metadata__": {"tritoncnn": '{"note": "{}", "note": "{}"}'}}).encode()),
        "has the key 'note' twice in its note",
    ),
    "no checksum": (raw(json.dumps({"w": entry(0, 4)}).encode(), b"abcd"), "has no checksum: it was not written by"),
    "a checksum of another kind": (
        raw(json.dumps({"__metadata__": {"tritoncnn": '{"note": "{}", "sha256": 1}'}}).encode()),
        "has a damaged note: it must hold a text and its checksum",
    ),
    "a lone surrogate": (raw(b'{"__metadata__": {"tritoncnn": "{\\"note\\": \\"\\ud800"}}'), "has a damaged note"),
    "not JSON": (raw(b"{]"), "has a damaged header"),
    "not text": (raw(b"\xff\xfe\xfd"), "has a damaged header"),
    "a list": (raw(b"[]"), r"has a damaged header: wanted a JSON object; got list"),
    "deep": (raw(b"[" * 200_000), "has a damaged header"),
    "a list as note": (raw(json.dumps({"__metadata__": {"tritoncnn": "[1]"}}).encode()), "has a damaged note"),
    "metadata of another kind": (raw(b'{"__metadata__": 3}'), "__metadata__ must be an object of strings"),
    "a long header": (b"\xff" * 7 + b"\x7f" + b"{}", "is truncated or no safetensors file"),
    "offsets outside": (raw(json.dumps({"w": entry(0, 8)}).encode(), b"abcd"), "is truncated or no safetensors file"),
    "offsets backwards": (raw(json.dumps({"w": entry(4, 0)}).encode(), b"abcd"), "is truncated or no safetensors file"),
    "negative size": (raw(json.dumps({"w": entry(0, 4, shape=[-1])}).encode(), b"abcd"), "no safetensors file"),
    "unknown dtype": (raw(json.dumps({"w": entry(0, 4, dtype="Q9")}).encode(), b"abcd"), "no safetensors file"),
    "overlap": (raw(json.dumps({"v": entry(0, 4), "w": entry(0, 4)}).encode(), b"abcd"), "no safetensors file"),
    "a pickle": (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00exit\x85R.", "no safetensors file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    data, sentence = HOSTILE[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.safetensors does not exist$"):
        read_tensors(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        read_tensors(tmp_path)


WANTED = {"w": torch.zeros(2, 3), "n": torch.tensor(0)}
GOOD = {"w": torch.ones(2, 3), "n": torch.tensor(5)}
WRONG = {
    "missing": ({"w": GOOD["w"]}, "m.st lacks tensor 'n'; it belongs to another model or optimizer"),
    "extra": (
        GOOD | {"z": torch.zeros(1)},
        "m.st has the unknown tensor 'z'; it belongs to another model or optimizer",
    ),
    "shape": (GOOD | {"w": torch.zeros(3, 2)}, r"m.st: tensor 'w' must be float32 \[2, 3\]; got float32 \[3, 2\]"),
    "dtype": (GOOD | {"w": torch.zeros(2, 3).double()}, r"tensor 'w' must be float32 \[2, 3\]; got float64 \[2, 3\]"),
    "nan": (GOOD | {"w": torch.full((2, 3), torch.nan)}, "m.st: tensor 'w' holds values that are not finite"),
    "inf": (GOOD | {"w": torch.tensor([[1, 1, 1], [1, 1, -torch.inf]])}, "tensor 'w' holds values that are not finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_do_not_fit_are_named(name: str, tmp_path: Path) -> None:
    tensors, sentence = WRONG[name]
    write_tensors(tmp_path / "m.st", tensors)
    with pytest.raises(CheckpointError, match=sentence):
        read_tensors(tmp_path / "m.st", WANTED)


def test_tensors_that_fit_pass(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m.st", GOOD)
    found, _ = read_tensors(tmp_path / "m.st", WANTED)
    assert all(torch.equal(found[name], GOOD[name]) for name in GOOD)


def test_every_flipped_bit_is_found_out_or_changes_nothing(path: Path) -> None:
    whole = path.read_bytes()
    tensors, note = read_tensors(path)
    refused = 0
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            found, said = read_tensors(path)
        except CheckpointError:
            refused += 1
            continue
        assert said == note
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert refused > 0.99 * 8 * len(whole)  # the rest: another white space, or a letter whose two cases mean the same


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool])
def test_every_dtype_has_its_checksum(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[1, 0], [0, 1]]).to(dtype)
    write_tensors(tmp_path / "t", {"t": tensor.T})
    assert torch.equal(read_tensors(tmp_path / "t", {"t": tensor})[0]["t"], tensor.T)


def test_a_pipe_is_no_model_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.st")
    for read in (read_tensors, read_note):
        with pytest.raises(CheckpointError, match="m.st cannot be read: it is a pipe or a device, not a file"):
            read(tmp_path / "m.st")


def test_a_giant_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.st"
    write_tensors(path, GOOD)
    with open(path, "r+b") as file:
        file.truncate(30 << 30)  # sparse
    with pytest.raises(CheckpointError, match=r"its header tells of \d+ bytes; it has 32.2 GB"):
        read_tensors(path)
    size = 30 << 30
    note = json.dumps({"note": "{}", "sha256": "0"})
    header = {
        "__metadata__": {"tritoncnn": note},
        "w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(raw(text))
    with open(path, "r+b") as file:
        file.truncate(8 + len(text) + size)
    with pytest.raises(CheckpointError, match=r"tensor 'w' must be float32 \[2, 3\]; got float32 \[8053063680\]"):
        read_tensors(path, {"w": WANTED["w"]})
