"""Every task in the room, found by itself, keeps the contract that the engine relies on."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils._pytree import tree_leaves

from tritoncnn.data import SOURCES, Examples, Facts
from tritoncnn.errors import InputError
from tritoncnn.task import MODEL, Ask
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.tasks.kinds.classification import accuracy, cross_entropy, most_probable, top5
from tritoncnn.train import Options
from tritoncnn.train.folder import FILES
from tritoncnn.train.training_step import build_beside

MODELS = [(name, model) for name in TASKS for model in find_task(name).models]


def test_naming_the_tasks_imports_no_torch() -> None:
    code = "import sys; from tritoncnn.tasks import TASKS; sys.exit('torch' in sys.modules or 'lenet' not in TASKS)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unknown_tasks_get_a_hint_only_where_a_name_is_near() -> None:
    with pytest.raises(InputError, match=r"^unknown task 'LeNet5'; did you mean lenet or alexnet\?$"):
        find_task("LeNet5")
    for name in ("transformer", "yolo", "", "kinds", "__init__"):
        with pytest.raises(InputError, match=rf"^unknown task '{name}'; known: .*lenet"):
            find_task(name)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_learns_from_data_sets_that_there_are_and_the_first_needs_no_folder(name: str) -> None:
    task = find_task(name)
    assert set(task.data) <= set(SOURCES)
    assert not SOURCES[task.data[0]].folder
    assert set(task.recipes) <= {*task.data, *task.models}
    assert not set(task.data) & set(task.models)


@pytest.mark.parametrize(("name", "model"), MODELS)
def test_a_model_takes_its_example_and_the_loss_and_every_metric_take_what_it_gives(name: str, model: str) -> None:
    task = find_task(name)
    x, y, facts = task.example_at(3, Options.of(task, model=model).size)
    with torch.no_grad():
        model_of_task = task.models[model](facts).eval()
        outputs = model_of_task(x)
        values = {row.name: row.default for row in task.step.options}
        nets = {MODEL: model_of_task, **build_beside(task.step, values, facts, 0)}
        losses = task.step.losses(values)(SimpleNamespace(**nets), SimpleNamespace(x=x, y=y))
        assert tuple(losses) == task.step.columns
        assert all(value.shape == () for value in losses.values())
        if task.soft_loss is not None:
            torch.testing.assert_close(task.soft_loss(0.0)(outputs, y), task.loss(outputs, y))
            assert task.soft_loss(0.5)(outputs, y) != task.loss(outputs, y)
    assert all(isinstance(metric.measure(outputs, y), float) for metric in task.metrics.values())
    examples = Examples(x, y)
    assert not set(task.pictures) & set(task.portraits)
    for name, data in task.draw(outputs, examples, facts, task.models[model](facts).state_dict()).items():
        assert name == Path(name).name
        assert name not in FILES
        assert data
    if task.report is not None:
        json.dumps(task.report(outputs, examples, facts).note, allow_nan=False)
    own = {row.name: row.default for row in task.own_rows().values()}
    if task.baseline is not None and (found := task.baseline(facts, examples, examples, own)) is not None:
        assert found.words
        assert math.isfinite(found.value)
    answers = task.answer(outputs, facts, Ask(2))
    assert len(answers) == 3
    assert all(answer.lines for answer in answers)


@pytest.mark.parametrize("classes", [2, 10, 13])
def test_a_classifier_has_one_logit_per_class(classes: int) -> None:
    task = find_task("lenet")
    x, _, facts = task.example(3)
    model = task.models["lenet"](replace(facts, classes=tuple(map(str, range(classes)))))
    assert model(x).shape == (3, classes)


@pytest.mark.parametrize("classes", [(), ("one",)])
def test_a_classifier_of_fewer_than_two_classes_is_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="classes must be a list of 2 or more names"):
        find_task("lenet").models["lenet"](Facts(classes, (0.0,), (1.0,)))


def test_metrics_and_answers_of_a_classifier() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    assert accuracy(logits, torch.tensor([0, 2])) == 0.5
    assert top5(logits, torch.tensor([0, 2])) == 1.0
    wanted = torch.nn.functional.cross_entropy(logits.double(), torch.tensor([0, 2]))
    assert cross_entropy(logits, torch.tensor([0, 2])) == float(wanted)
    first, second = most_probable(logits, Facts(("a", "b", "c"), (), ()), Ask(2))
    assert [found["class"] for found in first.note["top"]] == ["a", "c"]
    assert second.note["top"][0]["probability"] == pytest.approx(torch.softmax(logits[1].double(), 0)[1].item())
    assert [line.split()[1] for line in first.lines] == ["a", "c"]


def test_top5_asks_for_the_label_among_the_five_largest() -> None:
    logits = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]).repeat(7, 1)
    assert [top5(logits[:1], torch.tensor([label])) for label in range(7)] == [1.0] * 5 + [0.0] * 2
    assert top5(logits, torch.arange(7)) == 5 / 7


SIZED = [(name, model) for name, model in MODELS if find_task(name).sides]


@pytest.mark.parametrize(("name", "model"), SIZED)
def test_a_model_takes_pictures_of_its_least_size_and_smaller_ones_are_refused(name: str, model: str) -> None:
    task = find_task(name)
    least = task.sides[model].least
    x, _, facts = task.example_at(2, least)
    with torch.no_grad(), torch.device("meta"):  # shapes alone: some of these models have half a gigabyte
        logits = tree_leaves(task.models[model](facts).eval()(x.to("meta")))[0]
    assert logits.shape[0] == 2
    assert logits.shape[-1] == (least if task.targets.mapped else len(facts.classes))
    sentence = rf"^--size must be from {least} to 1024 for model '{model}'; got {least - 1}$"
    with pytest.raises(InputError, match=sentence):
        Options.of(task, model=model, size=least - 1)
    with pytest.raises(InputError, match=rf"^--size must be from {least} to 1024 for model '{model}'; got 1025$"):
        Options.of(task, model=model, size=1025)


def test_a_task_whose_pictures_have_one_size_takes_none() -> None:
    with pytest.raises(InputError, match=r"^--size 32: the pictures of task 'lenet' have one size; leave it out$"):
        Options.of(find_task("lenet"), size=32)
