"""Named tensors and one JSON note in a safetensors file: data, never code. Reading trusts nothing.

Format: 8 bytes little endian, the length of the header; the header, JSON: name -> dtype, shape, offsets; the bytes.
Source: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from tritoncnn.errors import CheckpointError
from tritoncnn.train.atomic import write_file

MAX_HEADER = 32 << 20  # bytes; a header takes about 100 a tensor
NOTE = "tritoncnn"  # the one key of the file's metadata: with a single key the bytes do not depend on any hash order


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any] | None = None) -> None:
    """Equal tensors and notes give equal bytes. Raises SaveError; the old file is then intact."""
    metadata = {NOTE: json.dumps(note, sort_keys=True, allow_nan=False)} if note is not None else {"format": "pt"}
    write_file(path, safetensors.torch.save(dict(tensors), metadata))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(tensors, the note or {}). Raises CheckpointError: missing, truncated, not safetensors, a key twice."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    note = _read_note(path, data)
    try:
        return safetensors.torch.load(data), note
    except (safetensors.SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from error


def _read_note(path: Path, data: bytes) -> dict[str, Any]:
    """The JSON note, after the header was found to be whole and without a key that comes twice."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise CheckpointError(f"{path} is truncated or no safetensors file: its header is cut off at {len(data)} bytes")
    if size > MAX_HEADER:
        raise CheckpointError(f"{path} has a header of {size} bytes; wanted at most {MAX_HEADER}")
    header = parse_json(path, data[8 : 8 + size], "header")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get(NOTE, ""), str):
        raise CheckpointError(f"{path} has a damaged header: __metadata__ must be an object of strings")
    return parse_json(path, metadata[NOTE].encode(), "note") if NOTE in metadata else {}


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


def check_tensors(path: Path, tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """``tensors`` must have ``wanted``'s names, shapes and dtypes, and finite values. Raises CheckpointError."""
    for name, like in wanted.items():
        if name not in tensors:
            raise CheckpointError(f"{path} lacks tensor {name!r}; it belongs to another model or optimizer")
        tensor = tensors[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            raise CheckpointError(
                f"{path}: tensor {name!r} must be {describe(like)}; got {describe(tensor)}; it belongs to another model"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: tensor {name!r} holds values that are not finite")
    for name in tensors:
        if name not in wanted:
            raise CheckpointError(f"{path} has the unknown tensor {name!r}; it belongs to another model or optimizer")


def describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
