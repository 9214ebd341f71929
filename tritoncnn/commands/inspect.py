"""tritoncnn inspect MODEL"""

from __future__ import annotations

import click

CLASSES = 10


@click.command()
@click.argument("model")
@click.option("--step", is_flag=True, help="The whole training step: forward, loss, backward, optimizer.")
@click.option("--batch-size", type=int, help="Default: 1, with --step 64.")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", show_default=True, help="Of --step.")
@click.option("--source", is_flag=True, help="Also print the Triton source that was generated.")
def inspect(model: str, step: bool, batch_size: int | None, optimizer: str, source: bool) -> None:
    """Show how MODEL (lenet) is compiled: its graph before and after each pass, then the plan.

    The plan has one line per launch (kernel, what is fused in it, grid, tile, flops, bytes), then the size of the arena
    against the sum of all temporary tensors.
    """
    import torch
    import torch.nn.functional as F

    import tritoncnn
    from tritoncnn.errors import InputError
    from tritoncnn.train import Options, find_model

    entry = find_model(model)
    size = (64 if step else 1) if batch_size is None else batch_size
    if size < 1:
        raise InputError(f"--batch-size must be at least 1; got {size}")
    options = Options.of(model, optimizer=optimizer)
    module, x = options.build_model(CLASSES), torch.zeros(size, *entry.shape)
    compiled: tritoncnn.CompiledModel | tritoncnn.CompiledStep
    if step:
        target = torch.zeros(size, dtype=torch.int64)
        compiled = tritoncnn.compile_step(module, F.cross_entropy, options.build_optimizer(), (x, target))
    else:
        compiled = tritoncnn.compile(module.eval(), x)
    for stage in compiled.stages:
        click.echo(f"== {stage.name}: {stage.note}\n{stage.graph}\n")
    click.echo(f"== plan\n{compiled.plan}")
    if source:
        for name, text in compiled.plan.sources.items():
            click.echo(f"\n== source of {name}\n{text}")
