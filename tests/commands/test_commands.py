from __future__ import annotations

import csv
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import tritoncnn
from tests.train.samples import strokes, write_idx
from tritoncnn import settings
from tritoncnn.commands import COMMANDS, main
from tritoncnn.tasks import TASKS
from tritoncnn.train.tensorfile import read_tensors

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, str(ROOT / "cli.py")]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def assert_refused(result: Result, sentence: str, code: int = 2) -> None:
    """One sentence on stderr, nothing else, and the exit code."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("tritoncnn: error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("mnist"))


def train_words(data: Path, out: Path, *more: object) -> list[str]:
    words = ["train", "lenet", "--data", "mnist", "--data-dir", data, "--batch-size", 8, "--epochs", 2, "--out", out]
    return [str(word) for word in [*words, *more]]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("commands") / "run"
    result = call(*train_words(data, out, "--epochs", 6))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 7
    assert lines[5].startswith("epoch 6/6  loss ")
    assert re.match(r"test accuracy \d+\.\d\d%.*, against 100.00% by the nearest mean picture, after ", lines[6])
    assert lines[6].endswith(f"run folder {out}")
    assert "%|" not in result.stderr  # no bar without a terminal
    return out


def test_help_lists_every_command() -> None:
    shown = subprocess.run([*CLI, "--help"], capture_output=True, text=True).stdout
    for name in COMMANDS:
        assert f"  {name} " in shown


def test_commands_are_listed_after_the_one_named_list() -> None:
    importlib.import_module("tritoncnn.commands.list")  # which Python then also calls so in the package
    assert main.list_commands(click.Context(main)) == [*COMMANDS]


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"], ["train", "--lr", "x"], ["nothing"]])
def test_words_alone_import_nothing_slow(words: list[str]) -> None:
    code = """
import sys
from tritoncnn.commands import main
try:
    main(sys.argv[1:])
except SystemExit:
    sys.exit(any(name in sys.modules for name in ("torch", "numpy", "sklearn", "matplotlib", "triton")))
"""
    assert subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True).returncode == 0


def test_every_command_has_help_and_trains_names_the_tasks() -> None:
    for name in COMMANDS:
        result = call(name, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")
    assert all(name in call("train", "--help").stdout for name in TASKS)
    assert tritoncnn.__version__ in call("--version").stdout


def test_help_of_infer_says_how_pictures_are_adapted() -> None:
    text = call("infer", "--help").stdout
    for word in ("size", "colour", "dark on light", "28 x 28", "50 megapixels", "median"):
        assert word in text


WRONG_WORDS: list[tuple[list[str], str]] = [
    (["train"], "Missing argument 'TASK'"),
    (["train", "lenet", "--epochs", "many"], "'many' is not a valid integer"),
    (["train", "lenet", "--lr", "fast"], "'fast' is not a valid float"),
    (["train", "lenet", "--optimizer", "lion"], "'lion' is not one of 'sgd', 'adam', 'adamw', 'rmsprop'"),
    (["infer", "run"], "Missing argument 'PICTURE...'"),
    (["tran", "lenet"], "No such command 'tran'"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG_WORDS)
def test_wrong_words_end_with_2(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr


REFUSED: list[tuple[list[str], str]] = [
    (["train", "lenett"], "unknown task 'lenett'; did you mean lenet or alexnet?"),
    (["train", "lenet", "--model", "vgg19"], "unknown model of task 'lenet' 'vgg19'; known: lenet"),
    (["train", "lenet", "--data", "cifar"], "unknown data set of task 'lenet' 'cifar'; known: digits, mnist, folder"),
    (["train", "lenet", "--batch-size", "0"], "--batch-size must be at least 1; got 0"),
    (["train", "lenet", "--batch-size", "9999"], "--batch-size 9999 is larger than the data set: digits has 7190"),
    (["train", "lenet", "--epochs", "0"], "--epochs must be at least 1; got 0"),
    (["train", "lenet", "--lr", "-1"], "--lr must be a finite number above 0; got -1.0"),
    (["train", "lenet", "--lr", "nan"], "--lr must be a finite number above 0; got nan"),
    (["train", "lenet", "--threads", "0"], "--threads must be from 1 to 1024; got 0"),
    (["train", "lenet", "--seed", "-3"], "--seed must be from 0 to"),
    (["train", "lenet", "--data", "mnist"], "data set 'mnist' needs --data-dir, the folder of the four IDX files"),
    (["train", "lenet", "--data", "mnist", "--data-dir", "/no/such"], "--data-dir /no/such does not exist"),
    (["train", "lenet", "--data-dir", "."], "data set 'digits' takes no --data-dir: it is scikit-learn's"),
    (["train", "lenet", "--augment", "crp"], "unknown augmentation 'crp'; did you mean crop?"),
    (["train", "lenet", "--weights", "/no/such.pth"], "--weights /no/such.pth does not exist"),
    (["train", "lenet", "--resume", "/no/such"], "/no/such does not exist; wanted a folder made by train"),
    (["eval", "/no/such"], "/no/such does not exist; wanted a folder made by train"),
    (["list", "runs", "--runs", "/dev/null"], "--runs /dev/null is not a folder"),
    (["infer", "/no/such", "x.png"], "/no/such does not exist; wanted a folder made by train"),
    (["inspect", "mistletoe"], "unknown task 'mistletoe'; known: alexnet, "),
    (["inspect", "lenet", "--batch-size", "0"], "--batch-size must be at least 1; got 0"),
    (["inspect", "lenet", "--batch-size", "900000000"], "--batch-size 900000000 needs about "),
    (["inspect", "lenet", "--step", "--batch-size", "9" * 30], "of memory; "),
    (["gpu-report", "--jobs", "0"], "--jobs must be from 1 to "),
    (["gpu-report", "--jobs", "100000"], "4 for each processor here; got 100000"),
    (["gpu-report", "--execute", "--fast", "--only", "typo"], "--only typo: no case has this in its name"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_wrong_input_is_one_sentence_and_2(words: list[str], sentence: str, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    try:
        assert_refused(call(*words), sentence)
        assert list(tmp_path.iterdir()) == []  # no folder left behind
    finally:
        os.chdir(ROOT)


def test_resume_takes_the_runs_own_settings(run: Path, data: Path, tmp_path: Path) -> None:
    assert_refused(call("train", "lenet", "--resume", run, "--epochs", 9, "--seed", 5), "differ: --seed 5 (the run: 0)")
    assert_refused(call("train", "lenet", "--resume", run, "--out", tmp_path), "leave out --out")
    assert_refused(call(*train_words(data, run)), "already holds a run; go on with it by --resume")
    assert call("train", "lenet", "--resume", run, "--threads", 1, "--data-dir", data).exit_code == 0


def test_eval_measures_and_writes_what_it_says(run: Path, tmp_path: Path) -> None:
    result = call("eval", run, "--out", tmp_path / "a" / "b")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "test part of mnist, 20 examples"
    assert lines[2] == "for comparison: accuracy 100.00% by the nearest mean picture"
    assert [line.split()[:2] for line in lines[5:15]] == [[str(i), "2"] for i in range(10)]
    names = ["report.json", "confusion.png", "mistakes.png"]
    assert lines[-1] == f"written: {', '.join(str(tmp_path / 'a' / 'b' / name) for name in names)}"
    report = json.loads((tmp_path / "a" / "b" / "report.json").read_text())
    result = call("eval", run, "--best", "--json", "--part", "train", "--out", tmp_path)
    best = json.loads(result.stdout)
    assert (best["weights"], best["examples"], report["weights"], report["examples"]) == ("best", 70, "last", 20)
    assert_refused(call("eval", run, "--out", tmp_path / "report.json"), "report.json is not a folder")


def test_list_shows_what_there_is(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = call("list", "--runs", tmp_path / "empty")
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.stdout for name in TASKS)
    assert result.stdout.splitlines()[-1] == f"runs: none in {tmp_path / 'empty'}"
    (tmp_path / "empty").rmdir()
    result = call("list", "--runs", tmp_path / "gone")
    assert result.exit_code == 2
    assert f"--runs {tmp_path / 'gone'} does not exist" in result.stderr
    for name in ("half", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "half" / "config.json").write_text('{"task": "lenet", "model": "lenet", "data": "mnist", "epochs": 3}')
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "whole").symlink_to(run)
    (tmp_path / "thesis.tex").touch()
    rows = json.loads(call("list", "runs", "--runs", tmp_path, "--json").stdout)["runs"]
    assert [(row["name"], row["state"]) for row in rows] == [
        ("broken", "damaged"), ("half", "not ended"), ("whole", "ended"),
    ]  # fmt: skip
    assert rows[2]["metrics"]["accuracy"] > 0
    summary = json.loads((run / "summary.json").read_text())
    for cost in ("seconds", "launches", "peak_memory"):
        assert rows[2][cost] == summary[cost]
    assert f"; {summary['seconds']:.1f} s, {summary['launches']} launches a step, " in rows[2]["about"]
    assert "go on by train --resume" in call("list", "runs", "--runs", tmp_path).stdout


def test_damaged_checkpoints_are_one_sentence(run: Path, tmp_path: Path) -> None:
    for name in ("config.json", "checkpoint.safetensors", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes()[: -1 if name != "config.json" else None])
    assert_refused(call("train", "lenet", "--resume", tmp_path), "checkpoint.safetensors is truncated")
    Image.new("L", (28, 28)).save(tmp_path / "p.png")
    assert_refused(call("infer", tmp_path, tmp_path / "p.png"), "model.safetensors is truncated")


def test_a_loss_that_is_not_finite_ends_with_1(data: Path, tmp_path: Path) -> None:
    result = call(*train_words(data, tmp_path / "run", "--lr", "1e20"))
    assert result.exit_code == 1
    assert result.stderr.startswith("tritoncnn: error: the loss became ")
    assert "at step " in result.stderr
    read_tensors(tmp_path / "run" / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i}.png" for i in range(3)]
    for path, picture in zip(paths, strokes(3, 5)[0], strict=True):
        Image.fromarray(np.asarray(picture)).save(path)
    return paths


def test_infer_prints_classes_with_probabilities(run: Path, pictures: list[Path]) -> None:
    result = call("infer", run, *pictures, "--top", 2)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0::3] == [str(path) for path in pictures]
    assert [line.split()[1] for line in lines[1::3]] == ["0", "1", "2"]
    assert all(line.split()[0].endswith("%") for line in lines[1::3] + lines[2::3])


def test_infer_gives_json_for_machines(run: Path, pictures: list[Path]) -> None:
    rows = json.loads(call("infer", run, *pictures, "--json").stdout)
    assert [row["picture"] for row in rows] == [str(path) for path in pictures]
    for number, row in enumerate(rows):
        assert row["top"][0]["class"] == str(number)
        assert len(row["top"]) == 3
        assert 1 >= row["top"][0]["probability"] >= row["top"][1]["probability"] >= 0


def test_infer_tells_bad_pictures_and_goes_on(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no")
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    bad = [tmp_path / "bad.png", tmp_path / "blank.png"]
    result = call("infer", run, pictures[0], *bad, pictures[1], "--top", 1)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0::2] == [str(path) for path in pictures[:2]]
    told = result.stderr.splitlines()
    assert [line.startswith("tritoncnn: error: picture ") for line in told] == [True, True]
    assert "bad.png cannot be read" in told[0]
    assert "blank.png is blank" in told[1]
    result = call("infer", run, *bad, pictures[2], "--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [sorted(row) for row in rows] == [["error", "picture"], ["error", "picture"], ["picture", "top"]]
    assert call("infer", run, *bad).exit_code == 2
    assert_refused(call("infer", run, bad[1]), "blank.png is blank")
    assert_refused(call("infer", run, *pictures, "--top", 0), "--top must be at least 1; got 0")


def test_infer_takes_folders_patterns_and_standard_input(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "deep/b.PNG", "deep/er/c.png", "[x].png"):
        (tmp_path / name).write_bytes(pictures[1].read_bytes())
    (tmp_path / "deep" / "notes.txt").write_text("no picture")
    words = [
        "infer",
        str(run),
        "-",
        str(tmp_path / "deep"),
        str(tmp_path / "?.png"),
        str(tmp_path / "[x].png"),
        "--json",
    ]
    result = CliRunner().invoke(main, words, input=pictures[0].read_bytes())
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    names = ["-", *(str(tmp_path / name) for name in ("deep/b.PNG", "deep/er/c.png", "a.png", "[x].png"))]
    assert [row["picture"] for row in rows] == names
    assert [row["top"][0]["class"] for row in rows] == ["0", "1", "1", "1", "1"]

    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(
        main, ["infer", str(run), "-", str(tmp_path / "empty"), str(tmp_path / "*.jpg"), str(pictures[0])], input=b"no"
    )
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert told[0].startswith("tritoncnn: error: picture on standard input cannot be read: it is not one of PNG")
    assert told[1].startswith(f"tritoncnn: error: folder {tmp_path / 'empty'} holds no picture (.png")
    assert told[2:] == [f"tritoncnn: error: no picture matches {tmp_path / '*.jpg'}"]
    assert result.stdout.splitlines()[0] == str(pictures[0])
    assert_refused(CliRunner().invoke(main, ["infer", str(run), "-"], input=b""), "standard input is empty")
    assert_refused(call("infer", run, "-", "-"), "standard input (-) holds one picture; say it once")
    assert_refused(call("infer", run, "x" * 300), "File name too long")


def test_infer_writes_tables_and_pictures(run: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad, or not.png").write_text("no")
    bad = tmp_path / "bad, or not.png"
    words = ["infer", run, pictures[0], bad, pictures[0], "--top", 2, "--out", tmp_path / "new" / "out", "--best"]
    result = call(*words, "--csv")
    assert result.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == [
        "picture", "top_1_class", "top_1_probability", "top_2_class", "top_2_probability", "error",
    ]  # fmt: skip
    assert [row["picture"] for row in rows] == [str(pictures[0]), str(bad), str(pictures[0])]
    assert [(row["top_1_class"], bool(row["error"])) for row in rows] == [("0", False), ("", True), ("0", False)]
    out = tmp_path / "new" / "out"
    assert {path.name for path in out.iterdir()} == {"answers.json", "0-answer.png", "0-2-answer.png"}
    assert [row["picture"] for row in json.loads((out / "answers.json").read_text())] == [
        row["picture"] for row in rows
    ]
    with Image.open(out / "0-answer.png") as picture:
        assert picture.size == (192, 192 + 2 * 16 + 4)
        assert picture.convert("L").crop((0, 192, 192, 228)).getextrema()[0] < 100  # there is text below
    assert_refused(call("infer", run, pictures[0], "--out", bad), "not.png is not a folder")
    assert_refused(call("infer", run, pictures[0], "--out", tmp_path / "no", "--top", 0), "--top must be at least 1")
    assert not (tmp_path / "no").exists()


def test_inspect_prints_stages_plan_and_source() -> None:
    result = call("inspect", "lenet", "--source")
    assert result.exit_code == 0, result.output
    model = tritoncnn.compile(_lenet(), _one_picture())
    stages = [line for line in result.stdout.splitlines() if line.startswith("== ")]
    assert len([s for s in stages if not s.startswith("== source")]) == len(model.stages) + 1
    assert str(model.plan) in result.stdout
    assert "lenet.py:" in result.stdout  # the line of the model that made a node
    assert "tl.load(" in result.stdout
    assert "tl.load(" not in call("inspect", "lenet").stdout


def _lenet() -> torch.nn.Module:
    from tritoncnn.models.lenet import LeNet

    return LeNet().eval()


def _one_picture() -> torch.Tensor:
    return torch.zeros(1, 1, 28, 28)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_inspect_shows_the_whole_step(optimizer: str) -> None:
    result = call("inspect", "lenet", "--step", "--batch-size", 8, "--optimizer", optimizer)
    assert result.exit_code == 0, result.output
    for word in ("== capture", "== differentiate", "== plan", optimizer, "conv2d_wgrad", "cross_entropy", "arena"):
        assert word in result.stdout


def test_a_step_is_shown_as_train_would_take_it() -> None:
    from tritoncnn.tasks import find_task

    recipe = find_task("texture").recipe
    assert (recipe.optimizer, recipe.batch) != ("sgd", 64)
    shown = call("inspect", "texture", "--step").stdout
    assert f"batch_y: i64[{recipe.batch}]" in shown
    assert " adamw_kernel " in shown  # of Adam too


def test_doctor_reports_and_tries_a_kernel() -> None:
    result = call("doctor")
    assert result.exit_code == 0, result.output
    words = [
        "tritoncnn",
        "python",
        "torch",
        "triton",
        "llvmlite",
        "numpy",
        "target",
        "threads",
        "cache",
        *settings.SWITCHES,
    ]
    for word in words:
        assert word in result.stdout
    assert result.stdout.splitlines()[-1].startswith("self-test    a kernel was ")


def test_doctor_shows_switches_that_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITONCNN_CACHE", str(tmp_path))
    monkeypatch.setenv("TRITONCNN_VERIFY", "1")
    monkeypatch.setenv("TRITONCNN_DUMP", "plan,passes")
    text = call("doctor").stdout
    assert f"TRITONCNN_CACHE = {tmp_path}\n" in text
    assert "TRITONCNN_VERIFY = 1\n" in text
    assert "TRITONCNN_DUMP = passes,plan\n" in text


def test_doctor_fails_when_the_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from tritoncnn import cpu
    from tritoncnn.errors import KernelError

    def broken() -> str:
        raise KernelError("self-test: the results are wrong")

    monkeypatch.setattr(cpu, "self_test", broken, raising=False)
    result = call("doctor")
    assert result.exit_code == 1
    assert result.stderr == "tritoncnn: error: self-test: the results are wrong\n"


def test_ctrl_c_sigterm_and_sighup_save_and_end_with_130(data: Path, tmp_path: Path) -> None:
    """The real thing, in a process of its own; tests/train/test_resuming.py resumes such runs."""
    epochs = ("--epochs", 400)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        out = tmp_path / number.name
        process = subprocess.Popen(
            [*CLI, *train_words(data, out, *epochs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("epoch 1/400")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.startswith("tritoncnn: interrupted and saved after step ")
        assert errors.endswith(f"go on with: tritoncnn train lenet --resume {out}\n")
        assert errors.count("\n") == 1
        _, note = read_tensors(out / "checkpoint.safetensors")
        assert 1 <= note["epoch"] < 400


def test_a_page_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.gpu.make_report", lambda *_: pytest.fail("the work has begun"))
    assert_refused(call("gpu-report", "--page", tmp_path / "gone" / "page.md"), "page.md could not be written", code=1)
    assert list(tmp_path.iterdir()) == []


def test_resuming_a_finished_run_says_so(run: Path) -> None:
    quiet = call("train", "--resume", run, "-q")
    assert (quiet.exit_code, quiet.stdout.count("\n"), quiet.stderr) == (0, 1, "")
    assert "90 pictures in 10 classes" in call("train", "--resume", run, "-v").stderr
    assert_refused(call("train", "--resume", run, "-v", "-q"), "-v and -q say the opposite of each other")
    result = call("train", "lenet", "--resume", run)
    assert result.exit_code == 0
    assert "as before: the run had finished and nothing was trained; run folder" in result.stdout


def test_nohup_stays_in_force(data: Path, tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); from tritoncnn.commands import main; main()"
    )
    words = train_words(data, tmp_path / "run", "--epochs", 60)
    process = subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch 1/60")
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "epoch 60/60" in out
