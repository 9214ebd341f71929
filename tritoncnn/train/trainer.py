"""Training: data set -> compiled step -> run folder. Continues from a checkpoint to the same bits."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import tritoncnn
from tritoncnn import cpu
from tritoncnn.augment import Batch
from tritoncnn.augment.draws import Draws
from tritoncnn.data import Dataset, Examples
from tritoncnn.data.stream import PictureFiles, blank_rows, in_place_of_blanks, on_disk, read_ahead
from tritoncnn.errors import CheckpointError, InputError, Interrupted, NonFiniteError
from tritoncnn.memory import peak_memory
from tritoncnn.signals import HeldSignals
from tritoncnn.task import LOSS, Step
from tritoncnn.train import folder
from tritoncnn.train.adversarial import Adversary
from tritoncnn.train.baseline import baseline_of
from tritoncnn.train.best import best_of
from tritoncnn.train.checkpoint import Checkpoint, Row, pack
from tritoncnn.train.curves import draw_curves
from tritoncnn.train.evaluate import BATCH, Evaluator
from tritoncnn.train.events import EventLog
from tritoncnn.train.folder import RunFolder
from tritoncnn.train.progress import Silent
from tritoncnn.train.training_step import TrainingStep
from tritoncnn.train.versions import versions
from tritoncnn.train.weights import start_from
from tritoncnn.tree import apply

PASSED_TOLD = 5  # blank and broken pictures that are named


@dataclass(frozen=True)
class Outcome:
    """A finished run: its folder, what summary.json says, and whether there was nothing left to do."""

    run: Path
    summary: dict[str, Any]
    done_before: bool


def epoch_order(seed: int, epoch: int, examples: int) -> torch.Tensor:
    """The order of an epoch, i64[examples]; it depends on seed and epoch only, so any epoch can begin anywhere."""
    mixed = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(mixed[:8], "little") >> 1)
    return torch.randperm(examples, generator=generator)


def _loss_word(name: str) -> str:
    return name if name == LOSS else f"loss {name.replace('_', ' ')}"


@dataclass
class Trainer:
    """One run in progress. ``moment`` is the last one known to be good; a new run's has no tensors until it is saved."""

    run: RunFolder
    data: Dataset
    moment: Checkpoint
    progress: Silent
    begin: float  # time.monotonic() when this process took the run up
    weights: Path | None = None  # a file to begin with; a resumed run has its own
    kept: bool = True  # whether the run folder stays

    def __post_init__(self) -> None:
        self.options = options = self.moment.options
        self.steps = len(self.data.train) // options.batch_size  # an epoch's; the rest waits for another order
        self.before = self.moment.seconds
        self.done_before = self.moment.ended
        for remark in self.data.remarks:
            self.progress.remark(remark)
        if self.data.about and self.data.about not in self.data.remarks:
            self.progress.opening(self.data.about)
        module = options.build_model(self.data.facts)
        if self.weights is not None:
            for remark in start_from(self.weights, module, options.builder, self.data.facts, options.new_head):
                self.progress.remark(remark)
        self.progress.wait(f"compiling {options.model} for batches of {options.batch_size}")
        x = self.data.train.x
        self.changes = options.changes
        batch = self.data.train.take(slice(options.batch_size))  # each step fills the same memory anew
        self.x, self.y = batch.x.clone(), apply(torch.clone, batch.y)
        if options.workers and on_disk(self.data.train) is None:
            self.progress.remark(f"--workers {options.workers}: {self.data.name} is in memory, and needs none")
        if self.changes.parts and x.dim() != 4:
            raise InputError(f"--augment {options.augment} changes pictures; {self.data.name} has none")
        if self.changes.soft:
            self.y = torch.zeros(options.batch_size, len(self.data.facts.classes))
        self.step = TrainingStep(options, module, self.data.facts, self.x, self.y)
        self.adversary: Adversary | None = None
        if options.adversarial:
            loss = options.loss()
            assert not isinstance(loss, Step), "options refuse it"
            self.adversary = Adversary(module, loss, self.data.facts, self.x, self.y, options.adversarial)
        self._describe(module)
        measured = options.build_model(self.data.facts).eval()  # of its own: what is measured may be averages
        self.evaluator = Evaluator(lambda x: tritoncnn.compile(measured, x), x, min(BATCH, len(self.data.test)))
        self.events: EventLog | None = None
        self.passed: dict[int, str] = {}  # training pictures that were told to be blank, "", or broken, and how
        self.outputs: Any = None  # for the test part, of the last epoch that this process trained

    def _describe(self, module: torch.nn.Module) -> None:
        """Say what is about to be trained, and how."""
        options, count = self.options, sum(p.numel() for p in module.parameters())
        self.progress.detail(
            f"{options.model}: {count:,} parameters; a step is {self.step.launches} launches, an epoch {self.steps} steps"
        )
        self.progress.detail(
            f"{options.optimizer}, {options.schedule} schedule from {options.lr:g}, weight decay {options.weight_decay:g}, "
            f"augment {options.augment}, seed {options.seed}"
        )

    def take_up(self) -> None:
        """Load the moment's tensors, after checking them against the model. Raises CheckpointError."""
        path = self.run.checkpoint
        if self.moment.batch >= self.steps:
            raise CheckpointError(f"{path} is damaged: batch {self.moment.batch} of an epoch of {self.steps}")
        if self.moment.frozen != self.step.frozen:
            nets = ", ".join(self.options.step.frozen)
            raise CheckpointError(
                f"{path} was trained with other frozen nets ({nets}) than are now built; begin a new run"
            )
        with folder.telling_changes(self.run.path, self.options.model):
            self.moment = self.moment.fit(path, self.step.nets(), self.step.optimizer())
        self.step.load(self.moment.nets, self.moment.optimizer)

    def go(self) -> Outcome:
        options, total = self.options, self.options.epochs * self.steps * self.options.batch_size
        self.run.sweep(options.task)
        self.run.write_config(options, self.data)
        self.run.write_metrics(self.moment.history, options)  # lines after the checkpoint are dropped
        self.events = EventLog(self.run.path, self.moment.history) if options.tensorboard else None
        done = self.moment.epoch * self.steps + self.moment.batch
        try:
            with HeldSignals() as held:
                if not self.moment.tensors:
                    self._save(0, 0, {})
                self.progress.begin(total, done * options.batch_size)
                while not self.moment.ended:
                    self._train_epoch(held)
                return self._finish()
        finally:
            self.progress.end()
            if self.events is not None:
                self.events.close()

    def _train_epoch(self, held: HeldSignals) -> None:
        """From the moment's batch to the end of its epoch, evaluated and saved. Raises Interrupted, NonFiniteError."""
        options, data, step, x, y = self.options, self.data, self.step, self.x, self.y
        epoch, first = self.moment.epoch, self.moment.batch
        sums = dict.fromkeys(options.step.columns, 0.0) | self.moment.loss_sums
        order = epoch_order(options.seed, epoch, len(data.train))
        size = options.batch_size
        begin = saved = time.monotonic()
        batches = order[: self.steps * size].split(size)
        inputs = read_ahead(data.train.x, batches[first:], options.workers)
        for batch in range(first, self.steps):
            self._fill(epoch, batches[batch], next(inputs))
            step.set_rate(options.lr_at(epoch * self.steps + batch, self.steps))
            losses = step(x, y)
            for name, loss in losses.items():
                if not math.isfinite(loss):
                    self._stop_on(
                        f"the {_loss_word(name)} became {loss} at step {epoch * self.steps + batch + 1} "
                        f"(learning rate {step.lr:g})"
                    )
                sums[name] += loss
            self.progress.step(size, losses[LOSS])
            late = time.monotonic() - saved >= options.save_every
            if (held.asked or late) and batch + 1 < self.steps:  # at the end of an epoch it is saved anyway
                self._save(epoch, batch + 1, dict(sums))
                saved = time.monotonic()
                self._leave_if(held)
        seconds = time.monotonic() - begin
        speed = (self.steps - first) * size / seconds if seconds > 0 else None  # a clock may stand still
        row = self._evaluate(epoch, sums)
        self._save(epoch + 1, 0, {}, (*self.moment.history, row))
        self.run.write_metrics(self.moment.history, options)
        if self.events is not None:
            self.events.add(row)
        self.run.write_model(self.moment.measured())
        self.progress.evaluated(options.task, options.epochs, row, speed)
        self.progress.detail(f"epoch {epoch + 1} took {seconds:.1f} s; the last learning rate was {step.lr:.3g}")
        if not self.moment.ended:
            self._leave_if(held)

    def _fill(self, epoch: int, rows: torch.Tensor, x: torch.Tensor) -> None:
        """Put these training examples, whose inputs are ``x``, into the batch, changed as the options say."""
        y = apply(lambda values: values[rows], self.data.train.y)
        if (files := on_disk(self.data.train)) is not None and (blank := blank_rows(x)).any():
            self._tell_passed(files, rows[torch.from_numpy(blank)].tolist())
            x, y = (taken := in_place_of_blanks(Examples(x, y), blank)).x, taken.y
        if self.changes.parts:
            batch = Batch(x, y, self.data.facts, self.options.task.targets)
            x, y, *_ = self.changes.apply(batch, self.options.seed, epoch, rows)
        self.x.copy_(x)
        apply(torch.Tensor.copy_, self.y, y)
        if self.adversary is not None:
            self.adversary.change(self.x, self.y, Draws(self.options.seed, epoch, rows.numpy()))

    def _tell_passed(self, files: PictureFiles, numbers: Sequence[int]) -> None:
        for number in sorted({*numbers} - {*self.passed}):
            fault = files.unseen(number) or ""
            said = (
                f"{fault}; it is passed over"
                if fault
                else f"picture {files.paths[number]} is blank, and is passed over"
            )
            if len(self.passed) <= PASSED_TOLD:
                more = "further pictures that are passed over are not named"
                self.progress.remark(said if len(self.passed) < PASSED_TOLD else more)
            self.passed[number] = fault
        files.check_broken([fault for fault in self.passed.values() if fault], len(files))

    def _evaluate(self, epoch: int, sums: Mapping[str, float]) -> Row:
        """The epoch's line of metrics.jsonl: the mean losses of its steps, then the task's metrics on the test part."""
        self.evaluator.model.load_state_dict(self.step.measured())
        self.outputs = outputs = self.evaluator.outputs(self.data.test.x, self.options.workers)
        last = (epoch + 1) * self.steps
        row: Row = {"epoch": epoch + 1, "step": last} | {name: total / self.steps for name, total in sums.items()}
        for name, metric in self.options.task.told(self.options.own).items():
            row[name] = metric.measure(outputs, self.data.test.y)
            if not math.isfinite(row[name]):
                what = name.replace("_", " ")
                self._stop_on(f"the {what} became {row[name]} after step {last} (learning rate {self.step.lr:g})")
        return row

    def _save(self, epoch: int, batch: int, sums: Row, history: tuple[Row, ...] | None = None) -> None:
        """Keep this moment; with a ``history`` that ends in the best epoch, its weights too, and these first: a run killed in
        between does that epoch again. Weights that are not finite never replace a checkpoint."""
        tensors = pack(self.step.nets(), self.step.optimizer())
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                done = epoch * self.steps + batch
                self._stop_on(f"{name} is no longer finite after step {done} (learning rate {self.step.lr:g})")
        moment = replace(
            self.moment,
            epoch=epoch,
            batch=batch,
            loss_sums=sums,
            seconds=self.before + time.monotonic() - self.begin,
            history=self.moment.history if history is None else history,
            frozen=self.step.frozen,
            tensors=tensors,
        )
        if history is not None and best_of(self.options.task, history) is history[-1]:
            self.run.write_best(moment.measured(), history[-1])
        moment.save(self.run.checkpoint)
        self.moment = moment

    def _stop_on(self, what: str) -> None:
        done = self.moment.epoch * self.steps + self.moment.batch
        if not self.kept:
            raise NonFiniteError(f"{what}; try a smaller --lr")
        raise NonFiniteError(
            f"{what}; the last good checkpoint, after step {done}, is kept in {self.run.checkpoint}: "
            "begin a new run with a smaller --lr"
        )

    def _leave_if(self, held: HeldSignals) -> None:
        if held.asked and not self.kept:
            raise Interrupted("interrupted; nothing was kept")
        if held.asked:
            done = self.moment.epoch * self.steps + self.moment.batch
            raise Interrupted(
                f"interrupted and saved after step {done}; go on with: "
                f"tritoncnn train {self.options.task.name} --resume {self.run.path}"
            )

    def _finish(self) -> Outcome:
        options, last = self.options, self.moment.history[-1]
        best, told = best_of(options.task, self.moment.history), options.task.told(options.own)
        if options.early_stop and self.moment.epoch < options.epochs:
            since = f"no better {options.task.best.replace('_', ' ')} since epoch {best['epoch']}"
            self.progress.remark(f"stopped early, after epoch {self.moment.epoch} of {options.epochs}: {since}")
        self.run.write_model(self.moment.measured())
        summary = {
            "task": options.task.name,
            "model": options.model,
            "data": options.data,
            "epochs": self.moment.epoch,
            "metrics": {name: last[name] for name in told if name in last},
            "best": {name: best[name] for name in ("epoch", *told) if name in best},
            "baseline": baseline_of(options.task, self.data.facts, self.data.train, self.data.test, options.own),
            "files": self._draw(),
            "seconds": round(self.moment.seconds, 2),
            "launches": self.step.launches,
            "fused": self.step.fused,
            "peak_memory": round(peak_memory() / 1e6),
            "seed": options.seed,
            "device": f"cpu, {cpu.host().cpu}",
            "versions": versions(),
        }
        self.run.write_summary(summary)
        self.progress.detail(f"this process took up to {summary['peak_memory']:,} MB of memory")
        return Outcome(self.run.path, summary, self.done_before)

    def _draw(self) -> list[str]:
        """Draw the curves and the task's pictures of the last weights; their names."""
        task, data = self.options.task, self.data
        if self.outputs is None and task.pictures:  # the run had ended before
            self.evaluator.model.load_state_dict(self.moment.measured())
            self.outputs = self.evaluator.outputs(data.test.x, self.options.workers)
        title = f"{self.options.model} on {self.options.data}"
        try:
            drawn = {"curves.png": draw_curves(task, title, self.moment.history)}
            drawn |= task.draw(self.outputs, data.test, data.facts, self.moment.measured())
        except ImportError as error:
            self.progress.remark(f"no picture was drawn: {error}")
            return []
        for name, picture in drawn.items():
            self.run.write_drawn(name, picture)
        return list(drawn)
