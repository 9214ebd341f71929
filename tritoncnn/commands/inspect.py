"""tritoncnn inspect TASK"""

from __future__ import annotations

from typing import Any

import click

from tritoncnn.commands.table import TaskCommand
from tritoncnn.flags import OPTIMIZERS

PROBE = 4096  # examples: a batch that fits into any memory


@click.command(cls=TaskCommand)
@click.argument("name", metavar="TASK")
@click.option("--model", help="One of the task's models (default: its first).")
@click.option("--size", type=int, help="Side of the pictures in pixels (default: the model's).")
@click.option("--step", is_flag=True, help="The whole training step: forward, loss, backward, optimizer.")
@click.option("--batch-size", type=int, help="Default: 1, with --step that of train.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), help="Of --step (default: that of train).")
@click.option("--source", is_flag=True, help="Also print the Triton source that was generated.")
def inspect(
    name: str,
    model: str | None,
    size: int | None,
    step: bool,
    batch_size: int | None,
    optimizer: str | None,
    source: bool,
    **own: Any,
) -> None:
    """Show how the model of TASK is compiled: its graph before and after each pass, then the plan.

    The plan has one line per launch (kernel, what is fused in it, grid, tile, flops, bytes), then the size of the arena
    against the sum of all temporary tensors.
    """
    import tritoncnn
    from tritoncnn.errors import InputError
    from tritoncnn.memory import in_words, memory_left
    from tritoncnn.tasks import find_task
    from tritoncnn.train import Options
    from tritoncnn.train.training_step import TrainingStep
    from tritoncnn.tree import flatten

    task = find_task(name)
    options = Options.of(task, model=model, size=size, optimizer=optimizer, **own)
    usual = task.recipe_for(options.data, options.model).batch if step else 1
    examples = usual if batch_size is None else batch_size
    if examples < 1:
        raise InputError(f"--batch-size must be at least 1; got {examples}")

    def compile_for(batch: int) -> tritoncnn.CompiledModel | tritoncnn.CompiledStep:
        x, y, facts = task.example_at(batch, options.size)
        module = options.build_model(facts)
        if step:
            return TrainingStep(options, module, facts, x, y).compiled
        return tritoncnn.compile(module.eval(), x)

    if examples > PROBE:  # a plan grows with its batch: a small one tells whether the large one fits
        x, y, _ = task.example_at(1, options.size)
        each = sum(compile_for(PROBE).plan.sizes.values()) / PROBE + sum(part.nbytes for part in flatten((x, y))[0])
        if examples * each > (left := memory_left()):
            raise InputError(
                f"--batch-size {examples} needs about {in_words(int(examples * each))} of memory; {in_words(left)} are left"
            )
    compiled = compile_for(examples)
    for stage in compiled.stages:
        click.echo(f"== {stage.name}: {stage.note}\n{stage.graph}\n")
    click.echo(f"== plan\n{compiled.plan}")
    if source:
        for kernel, text in compiled.plan.sources.items():
            click.echo(f"\n== source of {kernel}\n{text}")
