"""U-Net and denoising: what the skips carry, pictures in their own pixels, noise that is told and taken away."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.tasks.test_segmentation import write_masks
from tritoncnn import train as library
from tritoncnn.commands.infer import infer
from tritoncnn.data import Examples, Facts, load_data
from tritoncnn.data.noisy import AS_THEY_ARE, add_noise
from tritoncnn.data.pieces import MOST, STEP, PieceReader, whole_size
from tritoncnn.errors import DataError, InputError
from tritoncnn.models.unet import UNet
from tritoncnn.task import Ask
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.denoise import best_filter, psnr, tell_noise
from tritoncnn.train import Options
from tritoncnn.train.predict import predict

UNETS, DENOISING = find_task("unet"), find_task("denoising")


@pytest.mark.parametrize("skips", [True, False])
def test_only_skips_carry_what_is_finer_than_the_coarsest_map(skips: bool) -> None:
    torch.manual_seed(0)
    net = UNet(3, 3, skips).eval()
    x = torch.randn(1, 3, 16, 16)
    handle = net.encoder[-1].register_forward_hook(lambda module, given, y: torch.zeros_like(y))
    with torch.no_grad():
        coarse = net(x)
        assert torch.equal(net(torch.randn(1, 3, 16, 16)), coarse) == (not skips)
    handle.remove()


def test_a_denoising_unet_begins_as_the_picture_itself() -> None:
    net = DENOISING.models["unet"](AS_THEY_ARE, skips=True)
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(net(x), x)
    assert not DENOISING.models["unet"](AS_THEY_ARE, skips=False).residual


def test_other_light_is_no_change_of_pictures_whose_colours_are_wanted() -> None:
    for name in ("denoising", "trunk"):
        with pytest.raises(
            InputError, match=f"^--augment colour is not for task '{name}': it would leave its colours wrong$"
        ):
            Options.of(find_task(name), augment="flip,colour")
        assert Options.of(find_task(name), augment="flip,crop,rotate").augment == "flip,crop,rotate"


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("denoising")
    for number in range(3):
        ramp = np.add.outer(np.arange(40), np.arange(40))[:, :, None] * [1.5, 2.0, 3.0]
        save(place / "data" / f"{number}.png", np.roll(ramp, number * 7, 0))
    given = {"data": "noisy-folder", "data_dir": str(place / "data"), "size": 16, "batch_size": 64, "epochs": 1}
    return library.train(Options.of(DENOISING, **given), place / "run").run


def test_a_picture_without_its_noise_is_written_in_its_own_pixels(run: Path, tmp_path: Path) -> None:
    sizes = {"a": (40, 25), "b": (33, 64), "c": (40, 25), "d": (1, 1)}
    random = np.random.RandomState(0)
    files = [save(tmp_path / f"{name}.png", random.randint(0, 256, (*size[::-1], 3))) for name, size in sizes.items()]
    found = CliRunner().invoke(infer, [str(run), *map(str, files), "--json", "--out", str(tmp_path / "out")])
    assert [(row["width"], row["height"]) for row in json.loads(found.output)] == list(sizes.values())
    for name, size in sizes.items():
        assert Image.open(tmp_path / "out" / f"{name}-clean.png").size == size
    together = predict(DENOISING, run, files)
    for path, answer in zip(files, together, strict=True):  # pictures of other sizes beside it change nothing
        (alone,) = predict(DENOISING, run, [path])
        assert not isinstance(alone, DataError)
        assert not isinstance(answer, DataError)
        one, other = (np.asarray(Image.open(io.BytesIO(a.files["clean.png"]())), np.int64) for a in (alone, answer))
        assert np.abs(one - other).max() <= 1


def test_the_report_tells_filters_beside_the_model(run: Path) -> None:
    note = library.measure(DENOISING, run).note
    assert note["PSNR"]["the model"] == pytest.approx(note["metrics"]["PSNR"])
    assert note["baseline"]["value"] == pytest.approx(note["PSNR"][note["baseline"]["by"]])
    assert (run / "pieces.png").is_file()


@pytest.mark.parametrize("seed", range(3))
def test_psnr_is_scikit_images(seed: int) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    random = np.random.RandomState(seed)
    clean = random.rand(4, 3, 7, 9).astype(np.float32)
    found = np.clip(clean + 0.1 * random.randn(*clean.shape), 0, 1).astype(np.float32)
    each = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(clean, found, strict=True)]
    assert psnr(torch.from_numpy(found), torch.from_numpy(clean)) == pytest.approx(np.mean(each), abs=1e-4)
    assert psnr(torch.from_numpy(clean), torch.from_numpy(clean)) == pytest.approx(100)


def test_the_baseline_is_the_best_filter_and_beats_the_noise() -> None:
    rows, columns = np.mgrid[:24, :24] / 24
    clean = np.stack([rows, columns, rows * columns]).astype(np.float32)[None].repeat(4, 0)
    noisy = add_noise(clean, 0.1, np.random.RandomState(0))
    examples = Examples(torch.from_numpy(noisy), torch.from_numpy(clean))
    found = best_filter(AS_THEY_ARE, examples, examples, {})
    told = tell_noise(examples.x, examples, AS_THEY_ARE).note["PSNR"]
    assert found.value == pytest.approx(max(told.values()))
    assert found.value > psnr(examples.x, examples.y) + 5


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_noise_has_the_size_that_is_told(noise: float) -> None:
    data = load_data("noisy", None, PieceReader(16), {"noise": noise})
    middle = (data.train.y > 0.35) & (data.train.y < 0.65)  # where nothing is cut
    added = (data.train.x - data.train.y)[middle]
    assert float(added.std()) == pytest.approx(noise, rel=0.05)
    assert abs(float(added.mean())) < 0.05 * noise
    assert load_data("noisy", None, PieceReader(16), {"noise": noise}).fingerprint == data.fingerprint


def test_pictures_that_are_too_small_or_too_few_are_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((20, 20, 3)))
    with pytest.raises(DataError, match="must hold at least 2 pictures, one of them for testing; got 1"):
        load_data("noisy-folder", tmp_path, PieceReader(16))
    save(tmp_path / "b.png", np.zeros((20, 12, 3)))
    with pytest.raises(DataError, match=r"b.png is 12 x 20; wanted at least 16 x 16, the --size"):
        load_data("noisy-folder", tmp_path, PieceReader(16))


def test_pictures_are_mirrored_to_whole_steps_and_large_ones_are_scaled(tmp_path: Path) -> None:
    values = np.random.RandomState(0).randint(0, 256, (20, 40, 3))
    found = PieceReader(16)(save(tmp_path / "a.png", values))
    assert found.shape == (3, STEP, 2 * STEP)
    np.testing.assert_allclose(found[:, :20, :40], values.transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_array_equal(found[:, 20:], found[:, 19:7:-1])
    assert whole_size(4 * MOST, MOST) == (MOST, MOST // 4)
    assert PieceReader(16)(save(tmp_path / "b.png", np.zeros((8, 2 * MOST, 3)))).shape == (3, STEP, MOST)


def test_a_unet_learns_from_pieces_of_pictures_in_their_own_pixels(tmp_path: Path) -> None:
    data = load_data("masks", write_masks(tmp_path / "data", 5), PieceReader(8))
    assert (len(data.train), len(data.test)) == (16, 4)  # four pieces of each
    whole = load_data("masks", tmp_path / "data", PieceReader(24))
    assert len(whole.train) == 4
    assert bool((whole.train.y[:, 16:] == -1).all())
    assert not bool((whole.train.x[:, :, 16:] == 0).all())


def test_answers_of_whole_pictures_are_cut_to_them() -> None:
    scores = torch.zeros(1, 2, 32, 32)
    scores[0, 1, :20, :10] = 1
    scores[0, 0, 20:] = scores[0, 0, :, 10:] = 1
    (answer,) = UNETS.answer(scores, Facts(("ground", "cell"), (), ()), Ask(2))
    assert answer.within is not None
    assert answer.within(10, 20).note["classes"] == [{"class": "cell", "share": 1.0}]


def test_cells_have_borders_where_they_touch() -> None:
    data = load_data("cells", None, PieceReader(32))
    assert data.facts.classes == ("ground", "inside", "border")
    y = data.test.y
    ground, inside = y == 0, y == 1
    assert not bool((ground[:, 1:] & inside[:, :-1]).any())  # none is beside the ground
    assert not bool((ground[:, :, 1:] & inside[:, :, :-1]).any())
    assert 0.05 < float((y == 2).float().mean()) < 0.4
