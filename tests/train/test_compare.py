from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.train.samples import write_idx
from tritoncnn.commands import main
from tritoncnn.errors import InputError
from tritoncnn.tasks import find_task
from tritoncnn.train import Interrupted, Outcome, compare, read_vary
from tritoncnn.train.compare import draw

STACK = find_task("stack")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("compare"))


def words(data: Path, out: Path, *more: object) -> list[str]:
    flags = ["--data", "mnist", "--data-dir", data, "--epochs", 1, "--batch-size", 8, "--out", out]
    return [str(word) for word in ("compare", "stack", "--vary", "depth=0,1", *flags, *more)]


def test_a_comparison_tells_means_and_spreads_and_goes_on_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    room = importlib.import_module("tritoncnn.train.compare")
    real, trained = room.train, []

    def counted(options: object, place: Path) -> Outcome:
        trained.append(place.name)
        if len(trained) == 3:
            raise Interrupted("interrupted and saved after step 3")
        return real(options, place)

    monkeypatch.setattr(room, "train", counted)
    out = tmp_path / "out"
    result = CliRunner().invoke(main, words(data, out, "--seeds", 2))
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    assert not (out / "table.json").exists()
    result = CliRunner().invoke(main, words(data, out, "--seeds", 2))
    assert result.exit_code == 0, result.output
    names = [f"depth={depth},seed={seed}" for depth in (0, 1) for seed in (0, 1)]
    assert trained == [*names[:3], *names[2:]]  # what had been trained was not trained again
    table = json.loads((out / "table.json").read_text())
    for row, pair in zip(table["rows"], (names[:2], names[2:]), strict=True):
        summaries = [json.loads((out / name / "summary.json").read_text()) for name in pair]
        values = [summary["metrics"]["accuracy"] for summary in summaries]
        assert row["values"] == values
        assert row["mean"] == pytest.approx(sum(values) / 2)
        assert row["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert row["seconds"] == pytest.approx(statistics.fmean(summary["seconds"] for summary in summaries))
        assert row["baseline"] == summaries[0]["baseline"]
    with open(out / "table.csv", newline="") as file:
        assert [row["depth"] for row in csv.DictReader(file)] == ["0", "1"]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    lines = result.stdout.splitlines()
    assert lines[-4].split() == ["depth", "accuracy", "seconds", "against"]
    assert "±" in lines[-3]
    before = (out / "table.json").read_bytes()
    assert CliRunner().invoke(main, words(data, out, "--seeds", 2, "-q")).exit_code == 0
    assert (out / "table.json").read_bytes() == before
    result = CliRunner().invoke(main, words(data, out, "--lr", 0.5))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds a comparison of task 'stack' with the flags" in result.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("depth", "--vary must be as NAME=A,B,C; got 'depth'"),
        ("depht=1,2", "unknown flag to vary 'depht'; did you mean depth"),
        ("seed=1,2", "unknown flag to vary 'seed'"),
        ("legs=1,2", "unknown flag to vary 'legs'"),
        ("depth=1", "--vary depth must be said once, with two values or more that differ; got 'depth=1'"),
        ("depth=1,1,2", "--vary depth must be said once, with two values or more that differ"),
        ("depth=1,two", "--vary depth: each value must be a whole number; got 'two'"),
        ("lr=0.1,fast", "--vary lr: each value must be a number; got 'fast'"),
        ("nesterov=true,perhaps", "--vary nesterov: each value must be true or false; got 'perhaps'"),
    ],
)
def test_what_cannot_be_varied_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        read_vary(STACK, [text])


def test_values_are_of_the_flags_kind() -> None:
    found = read_vary(
        STACK, ["--batch-size=8, 16", "lr=1e-3,1", "nesterov=on,no", "augment=none;crop,flip", "pool=max,none"]
    )
    assert found == {
        "batch_size": [8, 16], "lr": [0.001, 1.0], "nesterov": [True, False], "augment": ["none", "crop,flip"],
        "pool": ["max", "none"],
    }  # fmt: skip
    with pytest.raises(InputError, match="--vary depth must be said once"):
        read_vary(STACK, ["depth=1,2", "depth=3,4"])


def test_a_way_that_makes_no_sense_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^model full, pool max: --pool belongs to --model filters or pyramid; got --model full$"
    ):
        compare(STACK, {}, {"model": ["filters", "full"], "pool": ["max", "avg"]}, tmp_path / "out")
    with pytest.raises(InputError, match="^depth is varied and given; leave one out$"):
        compare(STACK, {"depth": 2}, {"depth": [1, 2]}, tmp_path / "out")
    with pytest.raises(InputError, match="^--seeds must be at least 1; got 0$"):
        compare(STACK, {}, {"depth": [1, 2]}, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        compare(STACK, {}, {"depth": [1, 2]}, tmp_path / "full")


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("baseline", [None, {"by": "always $5", "metric": "accuracy", "value": 0.5}])
def test_pictures_of_one_seed_and_without_a_baseline_are_drawn(seeds: int, baseline: dict[str, object] | None) -> None:
    vary = {"depth": [1, 2], "pool": ["max", "$none$"]}
    more = {"values": [0.9] * seeds, "mean": 0.9, "spread": None if seeds == 1 else 0.1, "baseline": baseline}
    rows = [{"depth": depth, "pool": pool, **more} for depth in (1, 2) for pool in vary["pool"]]
    assert draw(STACK, vary, rows).startswith(b"\x89PNG")
    assert draw(STACK, {"depth": [1, 2]}, [{"depth": depth, **more} for depth in (1, 2)]).startswith(b"\x89PNG")
