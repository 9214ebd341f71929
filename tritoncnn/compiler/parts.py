"""Parts of a model that are not what they look like: TorchScript, quantised layers, tensors with rules of their own, or without
size or a count of changes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tritoncnn.errors import UnsupportedError
from tritoncnn.runtime import is_plain_kind

QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.nn.quantized.")


def check_parts(title: str, nets: Mapping[str, torch.nn.Module]) -> None:
    """Raises UnsupportedError, in one sentence, for the first part that no capture could follow."""
    for net in nets.values():
        for path, part in net.named_modules():
            where = f"{title}.{path}" if path else title
            if isinstance(part, torch.jit.ScriptModule):
                name = where if path else part.original_name
                raise UnsupportedError(f"{name} is TorchScript; compile the module that it was made of")
            if type(part).__module__.startswith(QUANTISED):
                raise UnsupportedError(
                    f"{where} is a quantised {type(part).__name__}; compile the float module that it was made of"
                )
            for name, tensor in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
                if torch.nn.parameter.is_lazy(tensor):
                    raise UnsupportedError(f"{where}.{name} has no size yet: call the module once with an input")
                if tensor.is_inference():
                    raise UnsupportedError(
                        f"{where}.{name} was made under torch.inference_mode, where torch counts no changes: make the module "
                        "outside of it; it may be compiled and called inside"
                    )
                if not is_plain_kind(tensor):
                    raise UnsupportedError(
                        f"{where}.{name} is a {type(tensor).__name__}, whose own rules would not be followed; "
                        "use .as_subclass(torch.Tensor)"
                    )
