"""Weights to begin with that come from a file: of another program, with torchvision's names, or of a run of ours."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tritoncnn.data import Facts
from tritoncnn.data.files import open_file
from tritoncnn.errors import CheckpointError
from tritoncnn.task import Build
from tritoncnn.train.tensorfile import check_finite, describe, read_tensors

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")  # where scripts keep the weights
COUNTER = "num_batches_tracked"  # files from before PyTorch 0.4.1 lack it, and only a momentum of None reads it
Tensors = dict[str, torch.Tensor]


def read_weights(path: Path, names: Collection[str]) -> Tensors:
    """The tensors of a .safetensors file, or of one that torch.save wrote, as far as ``torch.load(weights_only=True)`` reads it.

    A dictionary with the weights under one of ``WRAPPERS`` is looked into. Words before all names, as DataParallel (``module``),
    torch.compile (``_orig_mod``) or Lightning (``model``) put there, are taken off until one of the model's own ``names`` is met.
    Raises CheckpointError.
    """
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"--weights {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    found = read_tensors(path, ours=False)[0] if path.suffix == ".safetensors" else _unwrap(_load(path))
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} must hold named tensors; got {type(found).__name__}")
    if not found:
        raise CheckpointError(f"{path} must hold named tensors; it holds nothing")
    tensors: Tensors = {}
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor) and _is_plain(value)):
            raise CheckpointError(f"{path} must hold named tensors of plain values; {name!r} is none")
        tensors[name] = value.detach()
    check_finite(path, tensors)
    return _without_prefix(tensors, names)


def _without_prefix(tensors: Tensors, names: Collection[str]) -> Tensors:
    words = {name.partition(".")[0] for name in tensors}
    if len(words) > 1 or not all("." in name for name in tensors) or any(name in names for name in tensors):
        return tensors
    return _without_prefix({name.partition(".")[2]: tensor for name, tensor in tensors.items()}, names)


def _load(path: Path) -> Any:
    with open_file(path, "", CheckpointError) as file:
        try:
            with torch.serialization.safe_globals([Namespace]):  # torchvision's own scripts keep their flags in it
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # on malformed files it raises nearly anything
            raise CheckpointError(
                f"{path} is damaged or holds more than tensors: torch.load(weights_only=True) refuses it "
                f"({type(error).__name__}); what torch.save(model.state_dict(), FILE) writes is read"
            ) from error


def _unwrap(found: Any) -> Any:
    if not isinstance(found, Mapping):
        return found
    inner = next((found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
    return found if inner is None else _unwrap(inner)


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def head_of(build: Build, facts: Facts) -> frozenset[str]:
    """The tensors of a model whose shapes follow the number of classes."""
    with torch.device("meta"):
        one, more = (
            build(replace(facts, classes=names)).state_dict() for names in (facts.classes, (*facts.classes, ""))
        )
    return frozenset(name for name in one if one[name].shape != more[name].shape)


def take_weights(
    module: torch.nn.Module, weights: Mapping[str, torch.Tensor], path: Path, left: frozenset[str]
) -> None:
    """Copy ``weights`` into a module, all but those called ``left``. Raises CheckpointError that names every misfit."""
    state = module.state_dict()
    if said := misfits(state, weights, left):
        raise CheckpointError(f"{path} does not fit the model; {said}")
    with torch.no_grad():
        for name, tensor in state.items():
            if name in weights and name not in left:
                tensor.copy_(weights[name])


def misfits(state: Tensors, weights: Mapping[str, torch.Tensor], left: frozenset[str]) -> str:
    """What of ``weights`` does not fit a model's ``state``, but for those called ``left``, in words; empty where all does."""
    missing = [name for name in state if name not in weights and name not in left and not name.endswith(COUNTER)]
    unknown = [name for name in weights if name not in state]
    wrong = [
        f"{name} must be {describe(state[name])}, got {describe(weights[name])}"
        for name in state
        if name in weights and name not in left and not _fits(state[name], weights[name])
    ]
    return "; ".join(
        f"{what}: {', '.join(names)}"
        for what, names in (("it lacks", missing), ("it has the unknown", unknown), ("misfits", wrong))
        if names
    )


def _fits(wanted: torch.Tensor, found: torch.Tensor) -> bool:
    """Floating values may have another precision, counters another width."""
    same_kind = wanted.is_floating_point() == found.is_floating_point() and not found.is_complex()
    return wanted.shape == found.shape and same_kind


def renamed(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> Tensors:
    """Weights by the names of today: a module's ``former_names`` tell how older files have them, as regular expressions."""
    found = dict(weights)
    for former, now in getattr(module, "former_names", ()):
        found = {re.sub(former, now, name): tensor for name, tensor in found.items()}
    return found


def absent_parts(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Parts of a module that only training uses (its ``training_only``, names) and of which the weights have nothing."""
    parts: tuple[str, ...] = getattr(module, "training_only", ())
    return tuple(part for part in parts if not any(name.startswith(f"{part}.") for name in weights))


def start_from(path: Path, module: torch.nn.Module, build: Build, facts: Facts, new_head: bool) -> tuple[str, ...]:
    """Begin with the weights of a file; with ``new_head`` the layers that tell the classes stay as they are.

    So do parts that only training uses and that the file was saved without: a remark that is returned tells them. Raises
    CheckpointError: unreadable, misfits, another number of classes.
    """
    state = module.state_dict()
    weights, head = renamed(module, read_weights(path, state)), head_of(build, facts)
    absent = absent_parts(module, weights)
    apart = frozenset(name for name in state if name.startswith(tuple(f"{part}." for part in absent)))
    others = [name for name in sorted(head) if name in weights and weights[name].shape != state[name].shape]
    if others and not new_head:
        if misfits(state, weights, head | apart):  # more than the number of classes: all of it is told
            take_weights(module, weights, path, apart)
        name = others[0]
        raise CheckpointError(
            f"{path} was made for {len(weights[name])} classes and the data have {len(facts.classes)}: {name} must be "
            f"{describe(state[name])}, got {describe(weights[name])}; --new-head begins with new ones of {', '.join(others)}"
        )
    take_weights(module, weights, path, apart | head if new_head else apart)
    if not absent:
        return ()
    return (f"{path} has nothing for {', '.join(absent)}, which only training uses: they begin anew",)
