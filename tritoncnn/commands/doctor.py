"""tritoncnn doctor"""

from __future__ import annotations

import os

import click


@click.command()
def doctor() -> None:
    """Show versions, CPU, threads, cache folder and every switch; then compile and run a small kernel.

    Exit code 1 when the kernel cannot be compiled or gives wrong results.
    """
    from tritoncnn import cpu, settings
    from tritoncnn.train import versions

    for name, version in versions().items():
        _line(name, version)
    facts = cpu.host()
    _line("target", f"cpu, {facts.cpu}, {facts.lanes} f32 per vector register")
    _line("features", " ".join(facts.features) or "none of note")
    _line("LLVM", facts.llvm)
    _line(
        "threads",
        f"{facts.threads} of {os.cpu_count()} processors, by {facts.openmp or 'no OpenMP library: one thread'}",
    )
    now = settings.current()
    _line("cache", str(now.cache))
    click.echo("switches")
    for name, about in settings.SWITCHES.items():
        value = getattr(now, name.removeprefix("TRITONCNN_").lower())
        click.echo(f"  {name} = {_shown(value)}\n      {about}")
    _line("self-test", cpu.self_test())


def _line(name: str, value: str) -> None:
    click.echo(f"{name:<12} {value}")


def _shown(value: object) -> str:
    if isinstance(value, (tuple, frozenset)):
        return ",".join(sorted(map(str, value))) or "(none)"
    return ("1" if value else "(off)") if isinstance(value, bool) else str(value)
