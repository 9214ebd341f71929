"""How a command ends: one line for a person, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

import click

from tritoncnn.errors import GraphError, InputError, KernelError, TritonCNNError, UnsupportedError, printable

PATIENCE = 3.0  # seconds after Ctrl-C in which code may clean up; some libraries swallow the exception and go on

UNWRITABLE = (
    errno.EPIPE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EBADF,
    errno.EINVAL,
    errno.ECONNRESET,
)

_asked = threading.Event()


def open_closed_streams() -> None:
    """Let what is printed go nowhere where a stream was closed before we began (``>&-``): the next file that is opened would
    take its number, and be written into by whoever prints.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the process lives


def check_folder_is_there() -> None:
    """Raises InputError where the folder that we are in was deleted: libraries that torch loads end the process by it."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the folder that you are in was deleted; go to another one") from error


@contextlib.contextmanager
def ending_promptly() -> Iterator[None]:
    """From the first Ctrl-C, SIGTERM or SIGHUP on, whatever happens is that the command was interrupted, and it happens soon.

    What is ignored already, as under ``nohup``, stays so.
    """
    _asked.clear()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or not heeded:
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in heeded}
    done = threading.Event()
    threading.Thread(target=_leave_late, args=(done,), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        _asked.set()  # wakes the thread
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def telling_warnings() -> Iterator[None]:
    """Python's warnings as lines of ours: what is said, without the file and the line of code that said it.

    What is said to programmers, of what will go, is not told.
    """

    def show(message: Warning | str, *_: object, **__: object) -> None:
        complain(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = show
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def _leave_late(done: threading.Event) -> None:
    _asked.wait()
    if not done.wait(PATIENCE):
        complain("interrupted")
        os._exit(130)


def end_by(error: BaseException) -> int:
    """Tell what ended the command; return the exit code."""
    if isinstance(error, KeyboardInterrupt | click.Abort) or (_asked.is_set() and not isinstance(error, SystemExit)):
        complain(str(error) if isinstance(error, KeyboardInterrupt) and str(error) else "interrupted")
        return 130
    if isinstance(error, SystemExit):
        flush()
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, click.ClickException):
        usage = isinstance(error, click.UsageError) and error.ctx is not None
        more = f"; try {error.ctx.command_path} --help" if usage and error.ctx is not None else ""  # type: ignore[attr-defined]
        complain(f"error: {error.format_message().rstrip('.')}{more}")
        return error.exit_code
    if isinstance(error, TritonCNNError):
        many = isinstance(error, UnsupportedError | GraphError | KernelError)  # these list what they found
        complain(f"error: {error}", lines=many)
        return error.exit_code
    if isinstance(error, MemoryError):
        said = str(error) or "there is not enough memory"
        complain(f"error: {said}; a smaller --batch-size or data set needs less")
        return 1
    if isinstance(error, ModuleNotFoundError) and not (error.name or "tritoncnn").startswith("tritoncnn"):
        complain(f"error: the package {error.name!r} is not installed; install it with pip")
        return 1
    if isinstance(error, OSError):
        drop_stdout()
        said = error.strerror or str(error)
        if error.filename:
            said = f"{error.filename}: {said}"
        elif error.errno in UNWRITABLE:
            said = f"the output could not be written ({said})"
        complain(f"error: {said}")  # of a library that cannot be loaded, say
        return 1
    raise error


def flush() -> None:
    """Write out what was printed, now: at Python's own end a failure is a riddle and exit code 120."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_stdout()
        raise


def drop_stdout() -> None:
    """Let what is still to be printed go nowhere, where it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Print one line on stdout."""
    safe = printable(text)
    try:
        click.echo(safe)
    except UnicodeEncodeError:
        click.echo(safe.encode("ascii", "backslashreplace").decode())


def complain(sentence: str, lines: bool = False) -> None:
    """Print one line on stderr; where that cannot be written either, the exit code has to do."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(f"tritoncnn: {printable(sentence, lines)}", err=True)
