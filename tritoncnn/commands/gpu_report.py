"""tritoncnn gpu-report"""

from __future__ import annotations

import click


@click.command(name="gpu-report")
@click.option(
    "--target", "targets", multiple=True, help="sm_80, sm_90, sm_100, gfx90a or gfx942; again for more. Default: all."
)
@click.option("--only", default="", help="Only cases or kernels with this in their name.")
@click.option("--fast", is_flag=True, help="Few cases of each op.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that compile.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of the table.")
def gpu_report(targets: tuple[str, ...], only: str, fast: bool, jobs: int, as_json: bool) -> None:
    """Compile every kernel for GPUs and check what the compilers made of it. No GPU is used.

    Exit code 1 when a kernel does not compile or fails the gate. The roofline is a lower bound by data sheet: nothing is
    timed. Facts are kept in the cache folder; the first whole report takes the better part of an hour.
    """
    import json
    from dataclasses import asdict

    from tritoncnn.errors import InputError
    from tritoncnn.gpu import TARGETS, make_report, print_table

    rows = make_report(targets or tuple(TARGETS), only, fast, jobs)
    if not rows:
        raise InputError(f"--only {only}: no case or kernel has this in its name")
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo("\n".join(print_table(rows)))
    if any(row.faults for row in rows):
        raise SystemExit(1)
