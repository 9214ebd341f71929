"""Moving pixels, compiled: the launches of the whole plan against torch, bit for bit where nothing is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.applied import Applied
from tests.capture.moves import MOVES, PADS, SHUFFLES, WITHOUT_GRADIENT
from tritoncnn.compiler import compile

EXACT = {*PADS, *SHUFFLES, *WITHOUT_GRADIENT, *(name for name in MOVES if "nearest" in name)}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", MOVES | WITHOUT_GRADIENT)
def test_a_compiled_model_that_moves_pixels_agrees_with_torch(name: str) -> None:
    function, shapes = (MOVES | WITHOUT_GRADIENT)[name]
    generator = torch.Generator().manual_seed(3)
    inputs: tuple[Any, ...] = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    y, wanted = compile(Applied(function), inputs)(*inputs), function(*inputs)
    if name in EXACT:
        assert torch.equal(y, wanted)
    else:
        torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)
