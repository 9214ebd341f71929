"""How commands end: one line on stderr, the right exit code, and no escape sequence from other people's names."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TextIO

import click
import pytest
from click.testing import CliRunner

from tests.train.samples import write_idx, write_pictures
from tritoncnn.commands import main
from tritoncnn.data import SOURCES
from tritoncnn.errors import DataError, printable
from tritoncnn.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, str(ROOT / "cli.py")]


def assert_one_line(text: str, sentence: str) -> None:
    assert text.startswith("tritoncnn: ")
    assert sentence in text
    assert text.count("\n") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tran"], "error: No such command 'tran'"),
        (["train"], "error: Missing argument 'TASK'; try "),
        (["train", "lenet", "--epochs", "many"], "'many' is not a valid integer; try "),
        (["train", "lenet", "--no-such-option"], "error: No such option"),
        (["infer", "run"], "error: Missing argument 'PICTURE...'"),
        (["train", "\x1b[31mred"], r"unknown task '\x1b[31mred'"),
        (["train", "lenet", "--resume", "a\x1b]0;title\x07\nb"], r"a\x1b]0;title\x07\nb does not exist"),
        (["infer", "n" * 300, "x.png"], "cannot be used: File name too long"),
        (["infer", "a\0b", "x.png"], r"a\x00b cannot be used: embedded null byte"),
        (
            ["train", "lenet", "--out", ""],
            "'--out': a path is an empty word, as of a variable that is not set; say . for",
        ),
        (["train", "lenet", "--data-dir", ""], "a path is an empty word"),
        (["train", "lenet", "--weights", ""], "a path is an empty word"),
        (["infer", "", "x.png"], "a path is an empty word"),
        (["list", "runs", "--runs", ""], "a path is an empty word"),
        (["filter", "box", "x.png", "--out", ""], "a path is an empty word"),
        (["gpu-report", "--page", ""], "a path is an empty word"),
        (["train", "lenet", "--out", "n" * 300], "cannot be used: File name too long"),
        (["train", "lenet", "--out", "a\0b"], r"a\x00b cannot be used: "),
        (["train", "lenet", "--data", "folder", "--data-dir", "n" * 300], "cannot be used: File name too long"),
        (["train", "lenet", "--resume", "n" * 300], "cannot be used: File name too long"),
    ],
)
def test_whatever_is_wrong_in_the_words_is_one_line_and_2(words: list[str], sentence: str, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    try:
        result = CliRunner().invoke(main, words)
    finally:
        os.chdir(ROOT)
    assert result.exit_code == 2, result.output
    assert_one_line(result.stderr, sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (DataError("a\nb\x1b[2J\udcff"), 2, r"error: a\nb\x1b[2J\udcff"),
        (MemoryError(), 1, "error: there is not enough memory; a smaller --batch-size"),
        (MemoryError("it needs 9 GB"), 1, "error: it needs 9 GB; a smaller --batch-size"),
        (ModuleNotFoundError("No module named 'sklearn'", name="sklearn"), 1, "the package 'sklearn' is not installed"),
        (PermissionError(13, "Permission denied", "/some/file"), 1, "error: /some/file: Permission denied"),
        (OSError("libfar.so cannot be loaded"), 1, "error: libfar.so cannot be loaded"),
        (OSError(28, "No space left on device"), 1, "error: the output could not be written (No space left on device)"),
        (KeyboardInterrupt(), 130, "tritoncnn: interrupted\n"),
        (click.Abort(), 130, "tritoncnn: interrupted\n"),
        (SystemExit(1), 1, ""),
        (SystemExit("three"), 1, ""),
    ],
)
def test_whatever_a_command_raises_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, sentence: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("tritoncnn.tasks.find_task", fail)
    result = CliRunner().invoke(main, ["inspect", "lenet"])
    assert result.exit_code == code
    if sentence:
        assert_one_line(result.stderr, sentence)


def test_a_warning_is_one_line_without_the_code_that_said_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> None:
        warnings.warn("the cache is\nfull", RuntimeWarning, stacklevel=1)
        raise DataError("and no data")

    monkeypatch.setattr("tritoncnn.tasks.find_task", warn)
    result = CliRunner().invoke(main, ["inspect", "lenet"])
    assert result.exit_code == 2
    assert result.stderr == "tritoncnn: warning: the cache is\\nfull\ntritoncnn: error: and no data\n"


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tritoncnn.tasks.find_task", fail)
    assert isinstance(CliRunner().invoke(main, ["inspect", "lenet"]).exception, ZeroDivisionError)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_an_output_that_cannot_be_written_is_one_line_and_1(words: list[str]) -> None:
    """In a process of its own: Python's own end has a word in it, and none of torch is imported."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*CLI, *words], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert_one_line(done.stderr, "error: the output could not be written (No space left on device)")
        assert subprocess.run([*CLI, *words], stdout=full, stderr=full).returncode == 1


def _close(file: TextIO) -> None:
    with contextlib.suppress(OSError):  # what is left cannot be written
        file.close()


def with_full_output(words: list[str], monkeypatch: pytest.MonkeyPatch, *streams: str) -> int:
    """The exit code of a command in this process, some of whose streams lie on a full disk."""
    with contextlib.ExitStack() as stack, pytest.raises(SystemExit) as ended:
        for name in streams:
            full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
            stack.callback(_close, full)
            monkeypatch.setattr(sys, name, full)
        try:
            main(words)
        finally:
            monkeypatch.undo()
    return int(ended.value.code or 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_long_output_that_cannot_be_written_is_one_line_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_full_output(["inspect", "lenet"], monkeypatch, "stdout") == 1
    assert_one_line(capsys.readouterr().err, "error: the output could not be written (No space left on device)")
    assert with_full_output(["inspect", "lenet"], monkeypatch, "stdout", "stderr") == 1


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_from_the_start_are_written_nowhere(closed: str, tmp_path: Path) -> None:
    """Not into the file that is opened next, whose number would be that of the stream."""
    code = f"""
import sys
from tritoncnn.commands import main
try:
    main(["list", "tasks"])
except SystemExit as ended:
    with open({str(tmp_path / "next")!r}, "w") as file:
        print("printed"), print("complained", file=sys.stderr)
        file.write(f"{{ended.code}} {{file.fileno() > 2}}")
"""
    subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert (tmp_path / "next").read_text() == "0 True"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_below_the_output_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_idx(tmp_path / "data")
    words = [
        "train",
        "lenet",
        "--data",
        "mnist",
        "--data-dir",
        str(data),
        "--epochs",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    assert with_full_output(words, monkeypatch, "stdout") == 1
    assert_one_line(capsys.readouterr().err, "the output could not be written")
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_command_in_a_folder_that_was_deleted_says_so(tmp_path: Path) -> None:
    """Before torch is loaded, whose libraries end the process without a word of ours."""
    place = tmp_path / "gone"
    place.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from tritoncnn.commands import main; main(['train', 'lenet'])"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert_one_line(done.stderr, "the folder that you are in was deleted; go to another one")


def test_an_interrupt_that_a_library_swallows_still_ends_the_command_soon(tmp_path: Path) -> None:
    code = """
import sys, time
import tritoncnn.tasks
from tritoncnn.commands import ending, main
ending.PATIENCE = 0.5
def swallow(name):
    for left in range(200):
        try:
            print("ready", flush=True)
            time.sleep(0.1)
        except KeyboardInterrupt:
            pass
    raise SystemExit("14 s later")
tritoncnn.tasks.find_task = swallow
main(["inspect", "lenet"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert process.returncode == 130
    assert_one_line(errors, "tritoncnn: interrupted\n")


@pytest.mark.parametrize("early", ["tritoncnn.commands", "click"])
def test_an_interrupt_while_the_command_line_is_imported_is_one_line(early: str) -> None:
    program = f"""
import sys

class Interrupted:
    def find_spec(self, name, *_):
        if name == {early!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted())
sys.argv = ["tritoncnn", "list", "tasks"]
from tritoncnn.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "tritoncnn: interrupted\n")


def test_the_package_itself_imports_nothing_that_ctrl_c_could_interrupt() -> None:
    code = "import sys; before = {*sys.modules}; import tritoncnn; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert set(done.stdout.split()) <= {"__future__", "tritoncnn"}, done.stderr


def test_an_interrupt_inside_of_an_exec_ends_with_130_too() -> None:
    """Python would end by the signal after it, as it does for one that nobody takes."""
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupted:
    def find_spec(self, name, *_):
        if name == "click":
            exec("signal.raise_signal(signal.SIGINT)")

sys.meta_path.insert(0, Interrupted())
from tritoncnn.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "tritoncnn: interrupted\n")


def test_an_error_that_follows_an_interrupt_is_the_interrupt(tmp_path: Path) -> None:
    code = """
import time
import tritoncnn.tasks
from tritoncnn.commands import main
from tritoncnn.errors import UnsupportedError
def confuse(name):
    try:
        print("ready", flush=True)
        time.sleep(20)
    except KeyboardInterrupt:
        raise UnsupportedError("lenet cannot be captured: recursion")
tritoncnn.tasks.find_task = confuse
main(["inspect", "lenet"])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert_one_line(errors, "tritoncnn: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_before_its_first_checkpoint_leaves_nothing(number: int, tmp_path: Path) -> None:
    code = """
import signal, sys, time
from tritoncnn.commands import main
from tritoncnn.train.folder import RunFolder
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
def slow(*_):
    print("ready", flush=True)
    time.sleep(20)
RunFolder.write_metrics = slow
main(["train", "lenet", "--epochs", "1", "--out", sys.argv[1]])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert_one_line(errors, "tritoncnn: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_class_names_that_are_no_text_or_commands_to_a_terminal_are_printed_as_escapes(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", ("a", "b\x1b[31m"), each=5)
    os.rename(os.fsencode(data / "a"), os.fsencode(data) + b"/\xff")
    words = [
        "train",
        "lenet",
        "--data",
        "folder",
        "--data-dir",
        str(data),
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["infer", str(tmp_path / "run"), str(data / "b\x1b[31m" / "1.png")])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert r"\udcff" in result.stdout
    assert r"b\x1b[31m" in result.stdout


def test_printable_keeps_letters_and_escapes_the_rest() -> None:
    assert printable("Zürich 数字 3×3 🙂") == "Zürich 数字 3×3 🙂"
    assert printable("a\tb\r\n\x1b\x9b\u202e\udcff") == r"a\tb\r\n\x1b\x9b\u202e\udcff"
    assert printable("a\n\x07", lines=True) == "a\n\\x07"


def test_tasks_and_data_are_found_without_assertions() -> None:
    code = "from tritoncnn.tasks import TASKS; from tritoncnn.data import SOURCES; print(*TASKS, *SOURCES)"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == [*TASKS, *SOURCES], done.stderr
    assert {"lenet", "digits", "folder", "mnist"} <= {*TASKS, *SOURCES}
