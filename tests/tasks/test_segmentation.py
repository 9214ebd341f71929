"""The whole road of segmentation: masks beside pictures, a run, masks of other pictures; and each part of loss and metric."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

import tritoncnn
from tests.computing import Computing, assert_as_near_as_torch, assert_gradients_as_near_as_torchs, assert_same_meaning
from tests.data.test_paired import camvid
from tests.models import independent_dense
from tests.train.runs import assert_goes_on
from tritoncnn import train as library
from tritoncnn.commands.infer import infer
from tritoncnn.data import IGNORED, Examples, Facts, load_data
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.coins import PARTED, coin_mask
from tritoncnn.data.mask_files import read_classes, read_mask
from tritoncnn.data.photographs import find
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import InputError
from tritoncnn.task import USUAL, Ask
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.dense import (
    count_pixels,
    ious,
    likeliest_by_grey,
    mean_iou,
    palette,
    pixel_accuracy,
    segmentation_loss,
    tell_ious,
)
from tritoncnn.train import Options

TASK, UNET = find_task("segmentation"), find_task("unet")
FACTS = Facts(("ground", "bar", "square"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
SIDE = 16
LABELS_LOOKED_AT = {  # whether each is a class, or the one that does not count: a check on the host, of nothing that is learned
    "aten::aminmax", "aten::_local_scalar_dense", "aten::ge.Scalar", "aten::lt.Scalar", "aten::ne.Scalar", "aten::any",
    "aten::bitwise_or.Tensor", "aten::bitwise_and_.Tensor",
}  # fmt: skip
NETS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[..., torch.Tensor]]] = {
    "segnet": (lambda: TASK.models["segnet"](FACTS), independent_dense.segnet),
    "fcn": (lambda: TASK.models["fcn"](FACTS), independent_dense.fcn),
    "deeplab": (lambda: TASK.models["deeplab"](FACTS), independent_dense.deeplab),
    "unet": (lambda: UNET.models["unet"](FACTS, skips=True), independent_dense.unet),
    "unet without skips": (lambda: UNET.models["unet"](FACTS, skips=False), independent_dense.unet),
}


def write_masks(folder: Path, count: int = 10) -> Path:
    """Dark pictures of 16 x 16 with a red bar and a green square, whose places are marked."""
    random = np.random.RandomState(0)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(count):
        picture, mask = random.randint(0, 60, (SIDE, SIDE, 3)), np.zeros((SIDE, SIDE))
        top, left = random.randint(0, 8, 2)
        mask[top : top + 8, left : left + 3], mask[top : top + 4, left + 4 : left + 8] = 1, 2
        picture[mask == 1], picture[mask == 2] = (220, 40, 40), (40, 220, 40)
        mask[-1] = 255
        for name, values in (("images", picture), ("masks", mask)):
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{number}.png")
    (folder / "classes.txt").write_text("\n".join(FACTS.classes))
    return folder


def options(folder: Path, **more: object) -> Options:
    given = {"data": "masks", "data_dir": str(folder), "size": SIDE, "batch_size": 4, "epochs": 4, "augment": "flip"}
    return Options.of(TASK, **{**given, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("segmentation")
    return library.train(options(write_masks(place / "data")), place / "run").run


def test_a_run_learns_draws_and_tells_each_class(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(0 <= row["mIoU"] <= 1 and 0 <= row["pixel_accuracy"] <= 1 for row in rows)
    assert Image.open(run / "masks.png").size > (100, 100)
    found = library.measure(TASK, run)
    rows = found.note["classes"]
    assert [row["class"] for row in rows] == ["ground", "bar", "square"]
    assert sum(row["pixels"] for row in rows) == 2 * SIDE * (SIDE - 1)  # of two test pictures, without the last line
    assert found.note["metrics"]["mIoU"] == pytest.approx(np.mean([row["IoU"] for row in rows]))
    assert found.note["baseline"]["by"] == "the likeliest class for each grey value"


def test_a_run_that_was_cut_short_goes_on_to_the_same_bits_from_disk(run: Path, tmp_path: Path) -> None:
    assert_goes_on(TASK, options(run.parent / "data", stream=True), run, tmp_path, 5)


@pytest.mark.parametrize(("width", "height"), [(50, 23), (7, 40), (16, 16), (1, 1)])
def test_masks_are_of_the_pictures_own_size_whatever_that_is(
    run: Path, tmp_path: Path, width: int, height: int
) -> None:
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(tmp_path / "p.png")
    words = [str(run), str(tmp_path / "p.png"), "--score", "0"]
    (row,) = json.loads(CliRunner().invoke(infer, [*words, "--json", "--out", str(tmp_path / "out")]).output)
    assert (row["width"], row["height"]) == (width, height)
    mask = Image.open(tmp_path / "out" / "p-mask.png")
    assert (mask.mode, mask.size) == ("P", (width, height))
    ids = np.asarray(mask)
    assert ids.max() < 3
    for told in row["classes"]:
        share = float((ids == FACTS.classes.index(told["class"])).mean())
        assert told["share"] == pytest.approx(share)
    assert sum(told["share"] for told in row["classes"]) == pytest.approx(1)
    assert Image.open(tmp_path / "out" / "p-answer.png").mode == "RGB"


def test_what_the_net_saw_beside_a_picture_is_cut_off() -> None:
    scores = torch.zeros(1, 3, SIDE, SIDE)
    scores[0, 1, :8, :16], scores[0, 2, 8:, :] = 1, 1  # a picture of 32 x 16 lies in the upper half
    (answer,) = TASK.answer(scores, FACTS, Ask(3))
    assert answer.within is not None
    assert answer.within(32, 16).note["classes"] == [{"class": "bar", "share": 1.0}]
    assert answer.within(16, 32).note["classes"][0]["share"] < 1


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and classes of which some pixels do not count."""
    torch.manual_seed(seed)
    return torch.randn(4, 3, SIDE, SIDE), torch.randint(-1, 3, (4, SIDE, SIDE))


def slow_loss(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss once more: by rows of pixels that count."""
    rows, labels = scores.permute(0, 2, 3, 1)[target >= 0], target[target >= 0]
    shares, wanted = rows.softmax(1), torch.eye(scores.shape[1], dtype=scores.dtype)[labels]
    dice = (2 * (shares * wanted).sum(0) + 1) / (shares.sum(0) + wanted.sum(0) + 1)
    return -(rows.log_softmax(1) * wanted).sum(1).mean() + 1 - dice.mean()


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", NETS)
def test_a_step_is_kernels_alone_and_its_outputs_and_gradients_are_those_of_other_code(name: str) -> None:
    x, y = batch()
    # With this seed no value lies so near to the kink of a relu that rounding decides on which side.
    torch.manual_seed(3 if name == "deeplab" else 1)
    build, other = NETS[name]
    net = build()
    twin = copy.deepcopy(net)
    state = {key: value.detach().double().requires_grad_() for key, value in net.named_parameters()}
    outputs = other(state, x.double())
    assert_same_meaning(copy.deepcopy(net).double()(x.double()), outputs)
    exact = slow_loss(outputs, y)
    exact.backward()
    single = segmentation_loss(twin(x), y)
    single.backward()
    step = tritoncnn.compile_step(net, TASK.loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        loss = step(x, y)
    assert set(mode.seen) <= LABELS_LOOKED_AT
    assert_as_near_as_torch("loss", loss, single.detach(), exact.detach())
    assert_gradients_as_near_as_torchs(step.gradients(), twin, state)


def test_pixels_that_do_not_count_change_nothing_and_none_that_count_make_no_nan() -> None:
    x, y = batch()
    other = torch.where((y == IGNORED)[:, None], torch.randn(4, 3, SIDE, SIDE), x)
    assert segmentation_loss(x, y) == pytest.approx(segmentation_loss(other, y).item())
    assert mean_iou(x, y) == mean_iou(other, y)
    assert pixel_accuracy(x, y) == pytest.approx(float((x.argmax(1) == y)[y >= 0].double().mean()))
    nothing = torch.full_like(y, IGNORED)
    assert segmentation_loss(x, nothing) == 0
    assert (mean_iou(x, nothing), pixel_accuracy(x, nothing)) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_intersection_over_union_is_scikit_learns_jaccard(seed: int) -> None:
    from sklearn.metrics import confusion_matrix, jaccard_score

    random = np.random.RandomState(seed)
    classes = random.randint(2, 9)
    true = random.randint(-1, max(1, classes - seed), (3, 9, 11))  # of some classes there may be no pixel
    found = random.randint(0, classes, true.shape)
    scores = F.one_hot(torch.from_numpy(found), classes).permute(0, 3, 1, 2).float()
    counted = true >= 0
    labels = np.unique(np.concatenate([true[counted], found[counted]]))
    each = jaccard_score(true[counted], found[counted], labels=labels, average=None)
    y = torch.from_numpy(true)
    counts = count_pixels(scores.argmax(1), y, classes)
    np.testing.assert_allclose(ious(counts)[labels], each)
    assert mean_iou(scores, y) == pytest.approx(jaccard_score(true[counted], found[counted], average="macro"))
    np.testing.assert_array_equal(counts, confusion_matrix(true[counted], found[counted], labels=range(classes)))


def test_a_class_that_is_not_there_and_is_not_found_is_told_without_numbers() -> None:
    scores = torch.zeros(1, 3, 4, 4)
    scores[:, 1] = 1
    y = torch.ones(1, 4, 4, dtype=torch.int64)
    rows = tell_ious(scores, Examples(torch.zeros(1, 3, 4, 4), y), FACTS).note["classes"]
    assert [(row["IoU"], row["accuracy"]) for row in rows] == [(None, None), (1.0, 1.0), (None, None)]
    assert mean_iou(scores, y) == 1


def test_the_baseline_finds_what_grey_values_tell() -> None:
    x = torch.zeros(2, 3, 4, 4)
    x[:, :, :, 2:] = 1
    y = (x[:, 0] > 0.5).long()
    examples = Examples(FACTS.normalise(x.numpy()), y)
    assert likeliest_by_grey(FACTS, examples, examples, {}).value == 1
    blank = Examples(FACTS.normalise(np.zeros_like(x.numpy())), y)
    assert likeliest_by_grey(FACTS, blank, blank, {}).value == pytest.approx(
        0.25
    )  # half of one class, nothing of the other


def test_no_two_classes_have_one_colour() -> None:
    assert len({tuple(colour) for colour in palette(256).tolist()}) == 256
    assert palette(1).tolist() == [[0, 0, 0]]


def test_masks_of_a_run_on_colours_are_written_in_these_and_read_again(tmp_path: Path) -> None:
    facts = load_data("masks", camvid(tmp_path / "camvid"), FittedReader(16)).facts
    assert facts.colours == ((128, 128, 128), (128, 64, 128))  # without void, which no answer tells
    assert Facts.from_note(json.loads(json.dumps(facts.note()))) == facts
    scores = torch.zeros(1, 2, 16, 16)
    scores[:, 1, :, 5:] = 1
    answer = TASK.answer(scores, facts, USUAL)[0]
    assert answer.within is not None
    (tmp_path / "mask.png").write_bytes(answer.within(16, 16).files["mask.png"]())
    values = np.asarray(Image.open(tmp_path / "mask.png"))
    assert values[0, 0].tolist() == [128, 128, 128]
    found = read_mask(tmp_path / "mask.png", read_classes(tmp_path / "camvid"))
    np.testing.assert_array_equal(found, scores[0].argmax(0).numpy())
    assert answer.draw is not None
    drawn = np.asarray(answer.draw(Image.new("RGB", (16, 16))))
    assert drawn[0, 0].any()  # a first class that is not black is no ground: it is laid over, too
    assert "colours" not in Facts(("a", "b"), (), ()).note()


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        ([[0, 0, 0]], "colours must be 2 that differ, one for each class; got 1"),
        ([[0, 0, 0], [0, 0, 0]], "colours must be 2 that differ"),
        ([[0, 0, 0], [0, 0, 256]], "colours must be a list of three numbers from 0 to 255"),
        ([[0, 0, 0], [0, True, 0]], "colours must be a list of three numbers from 0 to 255"),
        ("red", "colours must be a list of three numbers from 0 to 255 for each class; got 'red'"),
    ],
)
def test_damaged_colours_are_told(colours: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Facts.from_note({**Facts(("a", "b"), (), ()).note(), "colours": colours})


@pytest.mark.parametrize(("model", "size"), [("fcn", 36), ("segnet", 20), ("deeplab", 33)])
def test_sizes_that_pools_do_not_divide_are_refused(model: str, size: int) -> None:
    step = TASK.sides[model].step
    with pytest.raises(InputError, match=rf"^--size must be a multiple of {step} for model '{model}'; got {size}$"):
        Options.of(TASK, model=model, size=size)
    with pytest.raises(
        InputError, match=r"^--augment mixup is not for task 'segmentation': it would leave its maps wrong$"
    ):
        Options.of(TASK, augment="mixup")


def test_no_coin_is_in_both_parts() -> None:
    mask = coin_mask(np.asarray(read_colour(find("coins")))[:, :, 0])
    assert not mask[PARTED].any()
    assert 0.25 < mask.mean() < 0.45
    data = load_data("coins", None, FittedReader(32))
    assert data.facts.classes == ("ground", "coin")
    assert 0.2 < float((data.test.y == 1).float().mean()) < 0.7
