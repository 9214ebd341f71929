"""Every augmentation in the room, found by itself, and what each of them does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tritoncnn.augment import AUGMENTATIONS, Batch, Changes, Draws
from tritoncnn.data import IGNORED, Facts, Targets
from tritoncnn.errors import InputError

COLOUR = Facts(tuple("abcde"), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
GREY = Facts(tuple("abcde"), (0.4,), (0.2,))
SHAPES = {"colour": (COLOUR, 3, 12, 17), "grey": (GREY, 1, 28, 28), "one pixel": (GREY, 1, 1, 1)}


def pictures(count: int, shape: str = "colour") -> tuple[torch.Tensor, torch.Tensor, Facts]:
    """(pictures in [0, 1], labels, facts)"""
    facts, *size = SHAPES[shape]
    random = np.random.RandomState(0)
    return torch.from_numpy(random.rand(count, *size).astype(np.float32)), torch.arange(count) % 5, facts


def batch_of(x: torch.Tensor, y: torch.Tensor, facts: Facts) -> Batch:
    return Batch(facts.normalise(x.numpy()), y, facts)


def plain(batch: Batch) -> torch.Tensor:
    return batch.x * batch.channels(batch.facts.std) + batch.channels(batch.facts.mean)


def changed(text: str, batch: Batch, seed: int = 0, epoch: int = 0, first: int = 0) -> Batch:
    return Changes.of(text).apply(batch, seed, epoch, torch.arange(first, first + len(batch.x)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_change_follows_from_seed_epoch_and_example_and_keeps_the_form(name: str, shape: str) -> None:
    batch = batch_of(*pictures(40, shape))
    before = batch.x.clone()
    threads = torch.get_num_threads()
    once = changed(name, batch)
    try:
        torch.set_num_threads(1)
        again = changed(name, batch)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(batch.x, before)  # the data set itself is left alone
    assert torch.equal(once.x, again.x)
    assert torch.equal(once.y, again.y)
    assert (once.x.shape, once.x.dtype) == (before.shape, torch.float32)
    assert bool(torch.isfinite(once.x).all())
    assert once.y.shape == ((40, 5) if AUGMENTATIONS[name].soft else (40,))
    if shape != "one pixel":
        assert not torch.equal(once.x, before)
        assert not torch.equal(changed(name, batch, seed=1).x, once.x)
        assert not torch.equal(changed(name, batch, epoch=1).x, once.x)
        assert not torch.equal(changed(name, batch, first=40).x, once.x)
    if not AUGMENTATIONS[name].soft:
        part = changed(name, Batch(batch.x[7:9], batch.y[7:9], batch.facts), first=7)
        assert torch.equal(part.x, once.x[7:9])


def test_draws_are_uniform_and_differ_between_rows_epochs_and_names() -> None:
    rows = np.arange(20_000)
    one = Draws(3, 5, rows).uniform("crop", 2)
    assert one.shape == (20_000, 2)
    assert 0 <= one.min() < one.max() < 1
    # means of 40,000 and correlations of 20,000 numbers: five standard deviations
    assert abs(one.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 40_000)
    others = [Draws(3, 6, rows), Draws(4, 5, rows)]
    columns = [one[:, 0], one[:, 1], np.roll(one[:, 0], 1), Draws(3, 5, rows).uniform("flip", 2)[:, 0]]
    columns += [draws.uniform("crop", 2)[:, 0] for draws in others]
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / math.sqrt(20_000)
    assert len(np.unique(one)) == 40_000
    assert np.array_equal(Draws(3, 5, rows[100:110]).uniform("crop", 2), one[100:110])


def test_a_crop_is_a_window_of_the_padded_picture_and_all_places_come() -> None:
    x, y, facts = pictures(100)
    found = plain(changed("crop=0.1", batch_of(x, y, facts)))
    places = set()
    for old, new in zip(x, found, strict=True):
        padded = torch.nn.functional.pad(old, (2, 2, 1, 1))
        windows = padded.unfold(1, 12, 1).unfold(2, 17, 1)  # [C, 3, 5, 12, 17]
        same = ((windows - new[:, None, None]).abs() < 1e-5).all(-1).all(-1).all(0)
        assert same.sum() == 1
        places.add(tuple(same.nonzero()[0].tolist()))
    assert len(places) == 3 * 5


def test_a_flip_turns_left_and_right_round_in_its_share_of_the_pictures() -> None:
    batch = batch_of(*pictures(400))
    found = changed("flip=0.25", batch).x
    turned = torch.tensor([not torch.equal(a, b) for a, b in zip(found, batch.x, strict=True)])
    assert torch.equal(found[turned], batch.x[turned].flip(3))
    assert 65 <= int(turned.sum()) <= 135  # four standard deviations about 100
    assert torch.equal(changed("flip=1", batch).x, batch.x.flip(3))


def test_colour_changes_by_its_factors_and_stays_in_range() -> None:
    grey = torch.full((100, 3, 12, 17), 0.5)  # without contrast or colour: brightness alone shows
    found = plain(changed("colour=0.4", batch_of(grey, torch.zeros(100).long(), COLOUR)))
    factors = found[:, 0, 0, 0] / 0.5
    assert 0.6 <= float(factors.min()) < 0.65
    assert 1.35 < float(factors.max()) <= 1.4001
    torch.testing.assert_close(found, found[:, :1, :1, :1].expand_as(found), rtol=0, atol=1e-6)
    x, y, facts = pictures(50)
    found = plain(changed("colour=1", batch_of(x, y, facts)))
    assert -1e-6 <= float(found.min()) < 0.01
    assert 0.99 < float(found.max()) <= 1 + 1e-6


def test_cutout_sets_one_square_to_the_mean() -> None:
    batch = batch_of(torch.ones(300, 1, 28, 28), torch.zeros(300).long(), GREY)
    gone = changed("cutout", batch).x[:, 0] == 0
    for picture in gone:
        rows, columns = picture.any(1).nonzero(), picture.any(0).nonzero()
        height, width = (int(found[-1] - found[0]) + 1 for found in (rows, columns))
        assert picture.sum() == height * width
        assert 7 <= height <= 14
        assert 7 <= width <= 14
    assert gone.any(0).all()


def test_mixup_mixes_pictures_as_it_mixes_targets() -> None:
    x, _, facts = pictures(5)
    batch = batch_of(x, torch.arange(5), facts)
    found = changed("mixup=1", batch)
    torch.testing.assert_close(found.y.sum(1), torch.ones(5))
    assert ((found.y > 0).sum(1) == 2).all()
    torch.testing.assert_close(found.x, torch.einsum("nk,kchw->nchw", found.y, batch.x))
    shares = changed("mixup=0.2", batch_of(*pictures(4000))).y.amax(1)
    assert float((shares > 0.9).float().mean()) > 0.55  # Beta(0.2, 0.2) is near 0 or 1 mostly


def test_what_is_named_is_done_in_its_order() -> None:
    batch = batch_of(*pictures(30))
    one_by_one = changed("flip", changed("crop", batch))
    assert torch.equal(changed(" crop , flip ", batch).x, one_by_one.x)
    assert torch.equal(changed("none", batch).x, batch.x)


MOVING = [name for name, found in AUGMENTATIONS.items() if Targets.MAPS in found.follows]


def numbered(count: int, H: int, W: int) -> torch.Tensor:
    """Pictures f32[count,1,H,W] in which no two pixels are alike, and none is black."""
    return (1 + torch.arange(count * H * W).float().reshape(count, 1, H, W)) / (count * H * W + 1)


@pytest.mark.parametrize(("H", "W"), [(12, 17), (16, 16), (1, 1), (3, 1)])
@pytest.mark.parametrize("targets", [Targets.MAPS, Targets.COLOURS])
@pytest.mark.parametrize("name", MOVING)
def test_every_pixel_of_a_map_goes_where_the_pictures_pixel_goes(name: str, targets: Targets, H: int, W: int) -> None:
    x = numbered(60, H, W)
    classes = (x[:, 0] * 1000).long()
    y = {"mask": classes, "depth": x.clone(), "both": (torch.cat([x, 2 * x], 1), classes[:, None])}
    plainly = Facts((), (0.0,), (1.0,))
    found = changed(f"{name}=1" if name != "crop" else "crop=0.3", Batch(x, y, plainly, targets))
    moved = found.x
    assert torch.equal(found.y["depth"], moved)
    assert torch.equal(found.y["both"][0], torch.cat([moved, 2 * moved], 1))
    wanted = torch.where(moved == 0, IGNORED, (moved * 1000).long())
    assert torch.equal(found.y["mask"], wanted[:, 0])
    assert torch.equal(found.y["both"][1], wanted)
    assert (H * W < 9) or not torch.equal(moved, x)
    assert torch.equal(y["mask"], classes)  # the data set itself is left alone


def test_colour_changes_the_picture_and_leaves_its_maps() -> None:
    x, _, facts = pictures(5)
    mask = torch.randint(0, 3, (5, 12, 17))
    found = changed("colour", batch_of(x, mask, facts)._replace(targets=Targets.MAPS))
    assert torch.equal(found.y, mask)
    assert not torch.equal(plain(found), x)


def test_a_rotation_turns_about_the_middle_to_both_sides_and_no_farther_than_it_is_told() -> None:
    x = torch.zeros(300, 1, 41, 41)
    x[:, 0, 20, 35] = 1  # 15 pixels to the right of the middle
    found = changed("rotate=0.25", Batch(x, torch.zeros(300).long(), Facts((), (0.0,), (1.0,)))).x[:, 0]
    _, row, column = found.nonzero().double().T
    angles = torch.atan2(row - 20, column - 20) / math.pi  # of a half turn
    assert float(angles.abs().max()) < 0.25 + 0.03  # a pixel is 1/47 of a half turn here
    assert float(angles.min()) < -0.2
    assert float(angles.max()) > 0.2


def test_only_changes_that_change_targets_alike_fit_them() -> None:
    fitting = {t: sorted(name for name, found in AUGMENTATIONS.items() if found.fits(t)) for t in Targets}
    assert fitting[Targets.CLASSES] == sorted(AUGMENTATIONS)
    assert fitting[Targets.BOXES] == ["colour", "crop", "flip"]
    assert fitting[Targets.MAPS] == ["colour", "crop", "flip", "rotate"]
    assert fitting[Targets.COLOURS] == ["crop", "flip", "rotate"]
    assert fitting[Targets.OTHER] == ["colour"]


WRONG = {
    "flop": r"unknown augmentation 'flop'; did you mean flip",
    "rotat": r"unknown augmentation 'rotat'; did you mean rotate",
    "": "unknown augmentation ''",
    "crop,": "unknown augmentation ''",
    "none,crop": "unknown augmentation 'none'",
    "crop,flip,crop=0.5": "--augment has crop twice; say it once",
    "crop=0": "--augment crop=AMOUNT must be above 0 and at most 1; got '0'",
    "flip=1.5": "--augment flip=AMOUNT must be above 0 and at most 1; got '1.5'",
    "colour=much": "--augment colour=AMOUNT must be above 0 and at most 1; got 'much'",
    "cutout=": "--augment cutout=AMOUNT must be above 0 and at most 1; got ''",
    "mixup=inf": "--augment mixup=AMOUNT must be a finite number above 0; got 'inf'",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_augmentation_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=WRONG[text]):
        Changes.of(text)
