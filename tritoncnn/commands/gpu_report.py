"""tritoncnn gpu-report"""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.place import path


@click.command(name="gpu-report")
@click.option(
    "--target", "targets", multiple=True, help="sm_80, sm_90, sm_100, gfx90a or gfx942; again for more. Default: all."
)
@click.option("--only", default="", help="Only cases or kernels with this in their name.")
@click.option("--fast", is_flag=True, help="Few cases of each op.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes that compile: at most 4 a processor.")
@click.option(
    "--execute", "executed", is_flag=True, help="Instead, execute the PTX of sm_80 in an interpreter on the CPU."
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of the table.")
@click.option(
    "--page",
    type=path,
    metavar="FILE",
    help="Both, and the result as Markdown in this file, as docs/gpu-report.md is.",
)
def gpu_report(
    targets: tuple[str, ...], only: str, fast: bool, jobs: int, executed: bool, as_json: bool, page: Path | None
) -> None:
    """Compile every kernel for GPUs and check what the compilers made of it. No GPU is used.

    Exit code 1 when a kernel does not compile, fails the gate, or does not match its reference. The roofline is a lower
    bound by data sheet: nothing is timed. Facts are kept in the cache folder; the first whole report takes the better
    part of an hour.
    """
    import json
    import os
    from dataclasses import asdict

    from tritoncnn.atomic import check_writable, write_file
    from tritoncnn.errors import InputError
    from tritoncnn.gpu import TARGETS, make_report, print_table

    if page and (executed or as_json):
        raise click.UsageError("--page writes both parts into a file: leave out --execute and --json")
    most = 4 * (os.cpu_count() or 1)
    if not 1 <= jobs <= most:
        raise InputError(f"--jobs must be from 1 to {most}, 4 for each processor here; got {jobs}")
    if page:
        check_writable(page)  # now: the work takes the better part of an hour
    if executed:
        raise SystemExit(_execute(only, fast))
    rows = make_report(targets or tuple(TARGETS), only, fast, jobs)
    if not rows:
        raise InputError(f"--only {only}: no case or kernel has this in its name")
    if page:
        from tritoncnn.gpu import outcomes
        from tritoncnn.gpu import page as page_of

        done = list(outcomes(only, fast))
        write_file(page, page_of(rows, done).encode())
        if not all(outcome.matched for outcome in done):
            raise SystemExit(1)
    elif as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        click.echo("\n".join(print_table(rows)))
    if any(row.faults for row in rows):
        raise SystemExit(1)


def _execute(only: str, fast: bool) -> int:
    """Execute cases one after the other; the exit code."""
    from tritoncnn.errors import InputError
    from tritoncnn.gpu import outcomes

    matched = failed = 0
    for done in outcomes(only, fast):
        matched, failed = matched + done.matched, failed + (not done.matched)
        click.echo(f"{'matched' if done.matched else 'FAILED'} {done.case}: {done.words}")
    if not matched + failed:
        raise InputError(f"--only {only}: no case has this in its name")
    click.echo(f"{matched} cases matched, {failed} failed")
    return int(failed > 0)
