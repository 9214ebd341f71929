"""Where a row runs: its folder, and the commands of ours that it calls, each in a process of its own.

A process of its own ends with its memory, cannot take the page down, and is what a person would have typed.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tritoncnn import settings
from tritoncnn.data.files import read_file
from tritoncnn.errors import CheckpointError, TritonCNNError
from tritoncnn.signals import Signals, end_as_by_ctrl_c

MOST = 16 << 20  # bytes of a JSON file, and of what a command says
PATIENCE = 60.0  # seconds that an interrupted command has for saving


class RowError(TritonCNNError):
    """A command of a row failed; says which, and what it said last."""


class Stage:
    """One row at work. ``commands`` are those that were called, ``megabytes`` the most memory that one of them held."""

    def __init__(self, page: Path, name: str, train: Callable[[str], Path]) -> None:
        """``page``: the folder of the page; ``train``: name of a row -> its run folder, trained where it is missing."""
        self.page, self.folder, self.train = page, page / name, train
        self.commands: list[str] = []
        self.megabytes = 0

    def call(self, *words: str | Path) -> str:
        """Run ``tritoncnn WORDS`` to its end; what it printed. Raises RowError; KeyboardInterrupt once it has saved."""
        line = [str(word) for word in words]
        self.commands.append(shlex.join(["tritoncnn", *(self._short(word) for word in line)]))
        said, complained = (self.folder / f"command-{len(self.commands)}{ending}" for ending in (".txt", "-errors.txt"))
        with open(said, "wb") as out, open(complained, "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "tritoncnn", *line],
                stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=settings.for_a_command(),
                start_new_session=True,  # else Ctrl-C would come twice, from the terminal and from us: the second acts at once
            )  # fmt: skip
            with Signals(end_as_by_ctrl_c, "SIGTERM", "SIGHUP"):
                code = self._wait(process)
        if code == 130:
            raise KeyboardInterrupt
        if code:
            lines = _text(complained).strip().splitlines() or ["nothing was said"]
            raise RowError(f"{self.commands[-1]} ended with {code}: {lines[-1].removeprefix('tritoncnn: error: ')}")
        return _text(said)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code; the memory is noted, where the system tells it. What ends us is passed on, once."""
        try:
            if not hasattr(os, "wait4"):
                return process.wait()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            unit = (
                1 << 20 if sys.platform == "darwin" else 1 << 10
            )  # of ru_maxrss, in an MiB: bytes there, KiB elsewhere
            self.megabytes = max(self.megabytes, usage.ru_maxrss // unit)
            return process.returncode
        except BaseException:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            raise

    def _short(self, word: str) -> str:
        """A path of ours as it is seen from the page's folder."""
        return os.path.relpath(word, self.page) if word.startswith(str(self.page)) else word

    def read(self, *parts: str) -> Any:
        """What a JSON file in the row's folder holds. Raises CheckpointError, DataError."""
        path = self.folder.joinpath(*parts)
        try:
            return json.loads(read_file(path, "", MOST))
        except ValueError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error


def _text(path: Path) -> str:
    return read_file(path, "", MOST).decode(errors="replace")
