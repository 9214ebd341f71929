"""Named tensors and one JSON note in a safetensors file: data, never code. Reading trusts nothing.

Format: 8 bytes little endian, the length of the header; the header, JSON: name -> dtype, shape, offsets; the bytes.
Source: https://huggingface.co/docs/safetensors, "Format". The file's metadata hold the note and a SHA-256 of names, dtypes,
shapes, values and note: a disk or a copy that changed one bit is found out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch

from tritoncnn.atomic import write_file
from tritoncnn.data.files import open_file, reason
from tritoncnn.errors import CheckpointError
from tritoncnn.memory import in_words

MAX_HEADER = 32 << 20  # bytes; a header takes about 100 a tensor
NOTE = "tritoncnn"  # the one key of the file's metadata: with a single key the bytes do not depend on any hash order
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}  # fmt: skip


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any] | None = None) -> None:
    """Write tensors and note; equal ones give equal bytes. Raises SaveError; the old file is then intact.

    Tensors may be views, and share memory: each is written whole.
    """
    tensors = {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    text = json.dumps(note if note is not None else {}, sort_keys=True, allow_nan=False)
    metadata = json.dumps({"note": text, "sha256": _checksum(tensors, text)})
    write_file(path, safetensors.torch.save(tensors, {NOTE: metadata}))


def _checksum(tensors: Mapping[str, torch.Tensor], note: str) -> str:
    digest = hashlib.sha256(_bytes(note))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_bytes(f"\0{name}\0{describe(tensor)}\0"))
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_note(path: Path) -> dict[str, Any]:
    """The note alone, {} where none was written. Raises CheckpointError."""
    with open_file(path, "", CheckpointError) as file:
        text, _ = _metadata(path, _read_header(path, file))
    return parse_json(path, _bytes(text), "note")


def read_tensors(
    path: Path, wanted: Mapping[str, torch.Tensor] | None = None, ours: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, the note or {}). Raises CheckpointError: missing, truncated, not safetensors, a key twice, a wrong checksum.

    With ``wanted``, names, shapes and dtypes must be its, which is known before any tensor is read, and values finite.
    Without ``ours``, the file may be another program's, which has no checksum.
    """
    with open_file(path, "", CheckpointError) as file:
        header = _read_header(path, file)
        text, checksum = _metadata(path, header)
        if wanted is not None:
            _check_described(path, {k: v for k, v in header.items() if k != "__metadata__"}, wanted)
        try:
            file.seek(0)
            data = file.read()
            tensors = safetensors.torch.load(data)
        except (OSError, MemoryError) as error:
            raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
        except (safetensors.SafetensorError, ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from error
    note = parse_json(path, _bytes(text), "note")
    if ours and not checksum:
        raise CheckpointError(f"{path} has no checksum: it was not written by this version of tritoncnn")
    if checksum and _checksum(tensors, text) != checksum:
        raise CheckpointError(f"{path} is damaged: its content does not have the checksum that was written with it")
    if wanted is not None:
        check_finite(path, tensors)
    return tensors, note


def _read_header(path: Path, file: BinaryIO) -> dict[str, Any]:
    """The header, whole and without a key that comes twice; the file is as long as the header says."""
    total = os.fstat(file.fileno()).st_size
    size = int.from_bytes(file.read(8), "little")
    if total < 8 or size > total - 8:
        raise CheckpointError(f"{path} is truncated or no safetensors file: its header is cut off at {total} bytes")
    if size > MAX_HEADER:
        raise CheckpointError(f"{path} has a header of {size} bytes; wanted at most {MAX_HEADER}")
    header = parse_json(path, file.read(size), "header")
    last = max((_end(entry) for entry in header.values()), default=0)
    if 8 + size + last != total:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file: its header tells of {in_words(8 + size + last)}; "
            f"it has {in_words(total)}"
        )
    return header


def _end(entry: object) -> int:
    """Where a tensor ends behind the header; 0 for what is none."""
    pair = entry.get("data_offsets") if isinstance(entry, dict) else None
    return pair[1] if isinstance(pair, list) and len(pair) == 2 and type(pair[1]) is int else 0


def _metadata(path: Path, header: Mapping[str, Any]) -> tuple[str, str]:
    """(the note as text, the checksum); ("{}", "") where another program wrote the file."""
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path} has a damaged header: __metadata__ must be an object of strings")
    if NOTE not in metadata:
        return "{}", ""
    found = parse_json(path, _bytes(metadata[NOTE]), "note")
    note, checksum = found.get("note"), found.get("sha256")
    if not isinstance(note, str) or not isinstance(checksum, str):
        raise CheckpointError(f"{path} has a damaged note: it must hold a text and its checksum")
    return note, checksum


def _bytes(text: str) -> bytes:
    """UTF-8, also of lone surrogates, which a damaged file may hold and JSON then refuses."""
    return text.encode(errors="surrogatepass")


def parse_json(path: Path, text: bytes, what: str) -> dict[str, Any]:
    """A JSON object without a key that comes twice at any depth. Raises CheckpointError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise CheckpointError(f"{path} has the key {twice!r} twice in its {what}")
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged {what}: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} has a damaged {what}: wanted a JSON object; got {type(value).__name__}")
    return value


class MisfitError(CheckpointError):
    """A whole file, whose tensors are not those that are wanted."""


def _check_described(path: Path, header: Mapping[str, Any], wanted: Mapping[str, torch.Tensor]) -> None:
    """The header must tell of ``wanted``'s names, shapes and dtypes. Raises CheckpointError."""
    for name, like in wanted.items():
        if name not in header:
            raise MisfitError(f"{path} lacks tensor {name!r}; it belongs to another model or optimizer")
        entry = header[name] if isinstance(header[name], dict) else {}
        dtype = str(entry.get("dtype"))
        found = f"{DTYPES.get(dtype, dtype)} {entry.get('shape')}"
        if found != describe(like):
            raise MisfitError(
                f"{path}: tensor {name!r} must be {describe(like)}; got {found}; it belongs to another model"
            )
    for name in header:
        if name not in wanted:
            raise MisfitError(f"{path} has the unknown tensor {name!r}; it belongs to another model or optimizer")


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises CheckpointError naming the first tensor with a NaN or an infinity."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: tensor {name!r} holds values that are not finite")


def describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
