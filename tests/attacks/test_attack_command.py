"""tritoncnn attack: the whole road, from a trained run to a curve, and from pictures to sheets."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from tests.attacks.reference import attacked
from tests.train.runs import LENET, options
from tests.train.samples import strokes, write_idx
from tritoncnn.attacks import Attack
from tritoncnn.attacks.attacker import start_of
from tritoncnn.commands import main
from tritoncnn.errors import InputError
from tritoncnn.robust import Victim, attack_curve
from tritoncnn.robust.draw import draw_sheet
from tritoncnn.train import measure, train
from tritoncnn.train.folder import open_run, read_config
from tritoncnn.train.measure import parts_of


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["attack", *map(str, words)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("attack")
    return train(options(write_idx(place / "mnist"), epochs=8), place / "run").run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.fromarray(strokes(3, 1)[0][2]).save(tmp_path / "two.png")
    return tmp_path / "two.png"


def test_a_curve_begins_at_the_runs_accuracy_and_falls_below_that_under_noise(run: Path) -> None:
    result = call(run, "--epsilon", 0.4)
    assert result.exit_code == 0, result.output
    note = json.loads((run / "attack" / "curve.json").read_text())
    curve = note["curve"]
    assert [row["epsilon"] for row in curve] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
    assert curve[0]["accuracy"] == curve[0]["noise_accuracy"] == measure(LENET, run).note["metrics"]["accuracy"] > 0.8
    assert curve[-1]["accuracy"] <= curve[-1]["noise_accuracy"] - 0.3
    assert curve[-1]["mean_linf"] <= 0.4 + 1e-6
    assert note["launches"] > 1
    table = list(csv.DictReader((run / "attack" / "curve.csv").open()))
    assert [float(row["accuracy"]) for row in table] == [row["accuracy"] for row in curve]
    for name in ("curve.png", "examples.png"):
        assert np.asarray(Image.open(run / "attack" / name)).std() > 10
    assert f"{curve[-1]['accuracy']:8.2%}" in result.stdout.splitlines()[-2]
    again = call(run, "--epsilon", 0.4, "--json")
    assert json.loads(again.stdout) == note


def test_the_curve_is_that_of_torchs_attack(run: Path) -> None:
    victim, attack = Victim(LENET, run), Attack.of("pgd", "linf", 0.2)
    curve = attack_curve(victim, run, attack, None).note["curve"]
    part = parts_of(victim.task, read_config(open_run(run)), victim.trained, None)[1]["test"]
    facts, net = victim.trained.facts, victim.trained.module
    pictures = torch.from_numpy(facts.restore(part.x)).clamp(0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    for row, share in zip(curve, (0, 0.125, 0.25, 0.375, 0.5, 0.75, 1), strict=True):
        now = attack.scaled(share)
        x = attacked(net, facts, pictures, part.y, now, start_of(pictures, now), False) if share else pictures
        assert abs(float((net((x - mean) / std).argmax(1) == part.y).double().mean()) - row["accuracy"]) <= 0.01


def test_a_targeted_curve_leaves_the_target_class_out(run: Path) -> None:
    result = call(run, "--epsilon", 0.4, "--target", "7", "--norm", "linf", "--json", "--out", run / "seven")
    assert result.exit_code == 0, result.output
    note = json.loads(result.stdout)
    assert note["examples"] == 18  # of 20, two are sevens
    assert note["curve"][0]["target_share"] <= 0.2
    assert note["curve"][-1]["target_share"] >= note["curve"][-1]["noise_target_share"] + 0.3


def test_pictures_are_told_before_and_after_and_shown(run: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(run, picture, "--epsilon", 0.5, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["picture"] == str(picture)
    assert row["reached"] == (row["before"]["class"] != row["after"]["class"]) is True
    assert 0 < row["linf"] <= 0.5 + 1e-6
    assert row["linf"] <= row["l2"] <= 28 * 0.5
    assert json.loads((out / "attack.json").read_text()) == [row]
    sheet = Image.open(out / "two-attack.png")
    assert sheet.width >= 3 * 190
    assert sheet.height >= 190
    told = call(run, picture, "--epsilon", 0.5, "--target", row["after"]["class"])
    assert told.stdout.splitlines()[1].startswith(f"  before  {row['before']['class']} (")
    assert told.stdout.splitlines()[2].startswith(f"  after   {row['after']['class']} (")
    none = call(run, picture, "--epsilon", 0)
    assert "(the attack failed)" in none.stdout
    assert "change  at most 0 a value" in none.stdout


def test_what_cannot_be_read_is_passed_over_as_infer_does(run: Path, picture: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.new("L", (28, 28), 255).save(blank)
    some = call(run, picture, blank, tmp_path / "gone.png", "--json")
    assert some.exit_code == 1
    rows = json.loads(some.stdout)
    assert "before" in rows[0]
    assert rows[1]["error"] == f"picture {blank} is blank: nothing on it stands out from its ground"
    assert rows[2]["error"] == f"picture {tmp_path / 'gone.png'} does not exist"
    assert some.stderr.count("tritoncnn: error: ") == 2
    assert call(run, blank, tmp_path / "gone.png").exit_code == 2
    one = call(run, blank)
    assert one.exit_code == 2
    assert one.stderr == f"tritoncnn: error: picture {blank} is blank: nothing on it stands out from its ground\n"


WRONG: list[tuple[list[str], str]] = [
    (["--target", "11"], "unknown class for --target '11'; known: 0, 1, 2"),
    (["--epsilon", "-0.1"], "--epsilon must be from 0 to 1,000,000, where white is 1; got -0.1"),
    (["--epsilon", "nan"], "--epsilon must be from 0 to 1,000,000, where white is 1; got nan"),
    (["--steps", "0"], "--steps must be at least 1; got 0"),
    (["--method", "fgsm", "--steps", "3"], "--steps is for --method pgd; fgsm takes one; got 3"),
    (["--step-size", "0"], "--step-size must be above 0 and at most 1,000,000; got 0.0"),
    (["--examples", "0"], "--examples must be at least 1; got 0"),
    (["--seed", "-1"], "--seed must be from 0 to"),
    (["--out", "PICTURE"], "two.png is not a folder"),
    (["PICTURE", "--data-dir", "."], "--data-dir is for a curve over the test part"),
    (["PICTURE", "--target", "eight"], "unknown class for --target 'eight'; known: 0, 1, 2"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, run: Path, picture: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    result = call(run, *(str(picture) if word == "PICTURE" else word for word in words))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("tritoncnn: error: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_run_without_classes_or_without_a_run_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="is a run of task 'lenet', which tells no classes; attack needs a classifier's"
    ):
        Victim(replace(LENET, soft_loss=None), run)
    result = call(tmp_path / "gone")
    assert result.exit_code == 2
    assert "gone does not exist; wanted a folder made by train" in result.stderr
    (tmp_path / "empty").mkdir()
    assert "is not a run folder: it holds no config.json" in call(tmp_path / "empty").stderr


def test_a_sheets_pictures_stand_below_each_other_whatever_is_said_of_them() -> None:
    black, white = np.zeros((1, 20, 20), np.float32), np.ones((1, 20, 20), np.float32)
    long = "a class with a very long name indeed, taken for another one"
    page = np.asarray(Image.open(io.BytesIO(draw_sheet([(black, white, "0", "1"), (black, white, long, "1")], "pgd"))))
    height = 200  # 20 pixels, ten times as large
    dark = np.nonzero((page == 0).all(2).sum(0) >= 2 * height)[0]  # columns of the page that are black in both rows
    assert (dark[0], dark[-1]) == (0, height - 1)
    assert page.shape[1] > 3 * height  # the words have room
