"""Capture as a whole: names, source lines, golden text, what is refused and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tritoncnn.capture import capture_loss, capture_module
from tritoncnn.capture.gaps import gap
from tritoncnn.errors import DTypeError, InputError, UnsupportedError
from tritoncnn.ir import verify
from tritoncnn.models.lenet import LeNet
from tritoncnn.ops import check_node
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.tree import TENSOR

HERE = "capture/test_capture.py"


def line_of(function: Callable[..., Any], text: str) -> str:
    """folder/file.py:12 of the line with ``text`` in a function of this file."""
    code = function.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    number = next(n for n in range(code.co_firstlineno, len(lines)) if text in lines[n])
    return f"{HERE}:{number + 1}"


def test_lenet_is_captured_as_this_text() -> None:
    graph = capture_module(LeNet(), (torch.zeros(2, 1, 28, 28),)).graph
    verify(graph, check_node)
    lines = [line.split("  # ")[0].rstrip() for line in str(graph).splitlines()]
    assert "\n".join(lines) == Path(__file__).with_name("lenet.txt").read_text().strip()
    sources = {node.source.split(":")[0] for node in graph.nodes}
    assert sources == {"models/lenet.py"}


class Branches(nn.Module):
    """Frozen and tied parameters, buffers saved and not, constants, two results."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.register_buffer("unused", torch.ones(3))
        self.plain = torch.full((3,), 2.0)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.second(self.first(image)) * self.frozen * self.scale * self.passing + self.plain
        return y * mask, y


EXAMPLE = (torch.randn(2, 3), torch.randn(2, 3))


def test_inference_knows_its_tensors_by_their_names() -> None:
    captured = capture_module(Branches(), EXAMPLE)
    assert captured.inputs == ("image", "mask")
    assert sorted(captured.parameters) == ["first.bias", "first.weight", "frozen", "second.bias"]
    assert sorted(captured.buffers) == ["passing", "scale"]
    assert list(captured.constants) == ["plain"]
    assert captured.form.tensors == 2


def test_training_knows_what_is_trained() -> None:
    captured = capture_loss(Branches(), lambda y, t: F.mse_loss(y[0], t), EXAMPLE, torch.zeros(2, 3))
    assert captured.inputs == ("image", "mask", "target")
    assert sorted(captured.parameters) == ["first.bias", "first.weight", "frozen", "second.bias"]
    assert sorted(captured.buffers) == ["passing", "scale"]
    assert list(captured.constants) == ["plain"]
    assert captured.form.kind is TENSOR


def test_a_captured_graph_computes_what_the_module_does() -> None:
    module = Branches()
    captured = capture_module(module, EXAMPLE)
    state = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers())
    tensors = {"image": EXAMPLE[0], "mask": EXAMPLE[1], **captured.constants}
    tensors |= {
        name: state[torch_name].detach() for name, torch_name in (captured.parameters | captured.buffers).items()
    }
    for ours, theirs in zip(evaluate(captured.graph, tensors), module(*EXAMPLE), strict=True):
        torch.testing.assert_close(ours, theirs.detach())


def test_inputs_take_the_names_of_forwards_parameters() -> None:
    class Many(nn.Module):
        def forward(self, first: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            return first + rest[0] + rest[1]

    assert capture_module(Many(), (torch.ones(2),) * 3).inputs == ("first", "rest_0", "rest_1")


def test_the_module_stays_in_its_mode() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)).train()
    module[1].eval()
    capture_loss(module, F.cross_entropy, (torch.ones(2, 3),), torch.zeros(2, dtype=torch.int64))
    assert module.training
    assert not module[1].training


class ManyGaps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.special.ndtri(x)
        z = F.relu(y).mode(1)[0]
        return z + torch.special.erfcx(x).mean()


def test_all_unsupported_ops_are_told_with_their_lines() -> None:
    with pytest.raises(UnsupportedError) as error:
        capture_module(ManyGaps(), (torch.randn(2, 4, 6, 6),))
    ops = {"special_ndtri": "ndtri", "mode": "mode", "special_erfcx": "erfcx"}
    told = "; ".join(f"{gap(op)} ({line_of(ManyGaps.forward, name)})" for op, name in ops.items())
    assert str(error.value) == f"ManyGaps uses 3 things that tritoncnn does not support: {told}"


IMAGE = torch.randn(2, 4, 6, 6)


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.softmax(1, dtype=torch.float64), "dtype must be one of f32, "),
        (lambda x: x.int() ** x.int(), "a power of whole numbers whose exponent"),
        (
            lambda x: x[x[:, 0, 0, 0] > 0, torch.arange(3)[:1]].sum(),
            r"indexing with a mask: how much it picks depends on data; .*test_capture.py:\d+\)$",
        ),
        (lambda x: x.index_put((x > 0,), x[0, 0, 0]), "writing several values where a mask holds"),
        (lambda x: x.double().float(), "a cast from f32 to f64"),
        (lambda x: x.unique(), "unique, whose size depends on data"),
        (lambda x: torch.stft(x.flatten(1), 8, return_complex=True).abs(), "stft: complex numbers .*conv1d"),
        (lambda x: torch.fft.rfft2(x).abs(), "fft_rfft2: complex numbers .*cosines"),
        (lambda x: torch.linalg.inv(x), "linalg_inv: a matrix is not factorised"),
        (lambda x: torch.vmap(torch.sin)(x), "torch.vmap; let the batch"),
        (lambda x: x.add_(1), "a change of the input x in place"),
    ],
)
def test_what_is_unsupported_is_said_in_the_users_words(function: Callable[[torch.Tensor], Any], message: str) -> None:
    with pytest.raises(
        UnsupportedError, match=f"^Function uses something that tritoncnn does not support: .*{message}"
    ):
        capture_module(Function(function), (IMAGE.clone(),))


def test_labels_of_ctc_in_one_line_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"ctc_loss with targets \[9\], .*pad them to \[N, S\], N = 6"):
        capture_module(Function(lambda x: F.ctc_loss(x[0], torch.ones(9).long(), (4,) * 6, (2,) * 6)), (IMAGE,))


def test_a_loss_that_is_unsupported_is_told() -> None:
    with pytest.raises(UnsupportedError, match="depend on data"):
        capture_loss(
            nn.Linear(3, 3),
            lambda y, t: F.cross_entropy(y, F.one_hot(t).float()),
            (torch.ones(2, 3),),
            torch.tensor([0, 1]),
        )


def test_a_shape_that_data_decide_is_told_as_such() -> None:
    with pytest.raises(UnsupportedError, match="its control flow or shapes depend on data; torch.where"):
        capture_module(Function(lambda x: x[x > 0].view(2, -1)), (IMAGE,))


class Wavering(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return x * 2


def test_control_flow_that_depends_on_data_is_one_clear_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedError) as error:
        capture_module(Wavering(), (IMAGE,))
    line = line_of(Wavering.forward, "if x.sum")
    assert str(error.value) == (
        f"the model cannot be captured (at {line}): its control flow or shapes depend on data; "
        "torch.where computes both ways, a product with a mask keeps the shape"
    )
    assert capfd.readouterr() == ("", "")


def test_a_shape_error_of_the_model_is_told_with_its_line() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, torch.ones(3, 3))

    with pytest.raises(UnsupportedError, match=rf"\(at {line_of(wrong, 'F.linear')}\): .+"):
        capture_module(Function(wrong), (IMAGE,))


def test_a_dtype_that_the_graph_lacks_is_named() -> None:
    with pytest.raises(DTypeError, match=r"^parameter weight must be .*; it is f64; parameter bias must be .*"):
        capture_module(nn.Linear(3, 3).double(), (torch.ones(2, 3).double(),))


def test_example_and_loss_are_checked() -> None:
    with pytest.raises(InputError, match=r"Function.forward takes 1 inputs; the example has 2"):
        capture_module(Function(F.relu), EXAMPLE)


def test_a_parameter_may_have_the_name_of_an_input() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.x

    captured = capture_module(Same(), (torch.ones(3),))
    assert captured.inputs == ("x",)
    assert captured.parameters == {"self.x": "x"}
