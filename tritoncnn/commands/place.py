"""Paths among the words of a command."""

from __future__ import annotations

from pathlib import Path

import click


def path(word: str) -> Path:
    """The type of options that are paths; its name is what help shows. Python takes an empty word for the folder one is in."""
    if not word:
        raise click.BadParameter(
            "a path is an empty word, as of a variable that is not set; say . for the folder you are in"
        )
    return Path(word)
