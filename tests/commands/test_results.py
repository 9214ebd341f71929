"""Commands that use a run: the same options mean the same in all of them, and files are gone through in one way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tritoncnn.commands import COMMANDS, main
from tritoncnn.commands.results import check_folder, folder_option, form_options, go_through, tell_written
from tritoncnn.commands.table import ELSEWHERE
from tritoncnn.errors import DataError, InputError
from tritoncnn.task import Answer


def options_of(name: str) -> dict[str, click.Parameter]:
    command = main.get_command(click.Context(main), name)  # type: ignore[attr-defined]
    return {word: parameter for parameter in command.params for word in parameter.opts}


ON_RUNS = [name for name in COMMANDS if name not in ("train", "compare") and "run" in options_of(name)]


def test_options_of_commands_on_runs_are_declared_alike() -> None:
    assert {"infer", "eval", "attack", "dream"} <= set(ON_RUNS)
    declared: dict[tuple[str, Any], dict[str, list[str]]] = {}
    for name in ON_RUNS:
        for word in ("--best", "--json", "--csv"):
            if (option := options_of(name).get(word)) is not None:
                assert isinstance(option, click.Option)
                shape = str((option.name, option.is_flag, option.flag_value, option.help))
                declared.setdefault((word, option.name), {}).setdefault(shape, []).append(name)
    for word, shapes in declared.items():
        assert len(shapes) == 1, f"{word} differs: {shapes}"


def writes(metavar: str) -> list[str]:
    """Commands whose --out is a DIR, or a FILE."""
    return [name for name in COMMANDS if getattr(options_of(name).get("--out"), "metavar", None) == metavar]


@pytest.mark.parametrize("name", [*writes("DIR"), *writes("FILE")])
def test_an_out_of_the_wrong_kind_is_refused_before_anything_else(name: str, tmp_path: Path) -> None:
    """Even before it is seen that there is no run, and no picture."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    arguments = [one for one in options_of(name).values() if isinstance(one, click.Argument) and one.required]
    out, said = (file, "not a folder") if name in writes("DIR") else (folder, "a folder; name a file")
    result = CliRunner().invoke(main, [name, *[str(tmp_path / "gone")] * len(arguments), "--out", str(out)])
    assert result.exit_code == 2
    assert result.stderr == f"tritoncnn: error: --out {out} is {said}\n"
    assert file.read_text() == "mine"
    assert list(folder.iterdir()) == []


def test_commands_declare_their_out_by_the_shared_options() -> None:
    assert {"infer", "eval", "attack", "dream", "learn-filter", "lecture"} <= set(writes("DIR"))
    assert {"style", "filter", "compose"} <= set(writes("FILE"))


def test_words_of_other_programs_lead_to_ours() -> None:
    there = options_of("train")
    for other, ours in ELSEWHERE.items():
        assert ours in there
        assert other not in there
    for words in (["train", "lenet", "--imgsz", "32"], ["train", "--imgsz", "32"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2
        assert "No such option --imgsz; here it is --size; try " in result.stderr
        assert result.stderr.count("\n") == 1


@click.command()
@click.argument("files", nargs=-1)
@form_options
@folder_option("Nothing.")
def look_at(files: tuple[str, ...], form: str | None, out: Path | None) -> None:
    """A command as any other that goes through files."""

    def work(paths: list[Path]) -> Iterable[Answer | DataError]:
        for path in paths:
            yield DataError(f"{path} is bad") if "bad" in path.name else Answer({"length": len(path.name)}, ("seen",))

    with go_through(files, work, out=out) as gone:
        gone.tell(form)
        if out is not None:
            out.mkdir(exist_ok=True)


def look(*words: str, input: bytes | None = None) -> Result:
    return CliRunner().invoke(look_at, words, input=input)


def test_exit_codes_rows_and_errors_follow_what_was_read(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    for path in (good, bad):
        Image.new("L", (4, 4)).save(path)
    fine = look(str(good), str(good))
    assert (fine.exit_code, fine.stdout, fine.stderr) == (0, f"{good}\n  seen\n" * 2, "")
    some = look(str(bad), str(good), "--json", "--out", str(tmp_path / "out"))
    assert some.exit_code == 1
    assert json.loads(some.stdout) == [
        {"picture": str(bad), "error": f"{bad} is bad"},
        {"picture": str(good), "length": 8},
    ]
    assert some.stderr == f"tritoncnn: error: {bad} is bad\n"
    assert (tmp_path / "out").is_dir(), "what follows is done before the command ends"
    assert look(str(bad), str(tmp_path / "*.jpg")).exit_code == 2
    only = look(str(bad))
    assert isinstance(only.exception, DataError)
    assert look(str(good), "--csv").stdout == f"picture,length\n{good},8\n"
    assert isinstance(look("-", "-").exception, InputError)
    piped = look("-", input=b"some bytes")
    assert (piped.exit_code, piped.stdout) == (0, "-\n  seen\n")


def test_files_that_are_written_are_named_up_to_a_few(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tell_written([])
    tell_written([Path("a"), Path("b")])
    tell_written([Path(f"out/{i}.png") for i in range(9)])
    assert capsys.readouterr().out.splitlines() == [
        "written: a, b",
        "written: out/0.png, out/1.png, out/2.png, out/3.png, and 5 more in out",
    ]
    assert check_folder(None) is None
    assert check_folder(tmp_path) == tmp_path


def test_what_an_earlier_call_wrote_into_a_folder_within_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "pictures" / "answers"
    out.mkdir(parents=True)
    names = [str(tmp_path / "pictures" / "a.png"), str(out / "a-answer.png")]
    for name in names:
        Path(name).write_bytes(b"?")

    def seen(*words: object) -> list[str]:
        result = look(*map(str, words), "--json")
        assert result.exit_code == 0, result.output
        return [row["picture"] for row in json.loads(result.stdout)]

    for word in (tmp_path / "pictures", tmp_path / "pictures" / "**" / "*.png", tmp_path / "pic*" / "*"):
        assert seen(word, "--out", out) == names[:1]
    for word in (out, out / "*.png", names[1]):  # said by name
        assert seen(word, "--out", out) == names[1:]
    assert seen(tmp_path / "pictures") == names
    Path(names[0]).unlink()
    result = look(str(tmp_path / "pictures"), "--out", str(out))
    assert (result.exit_code, type(result.exception).__name__) == (1, "DataError")


@pytest.mark.parametrize("words", [["{}"], ["{}/*.png"], ["{}/a.png", "{}/a-answer.png"]])
def test_answers_beside_the_pictures_are_never_taken_for_pictures(tmp_path: Path, words: list[str]) -> None:
    """The first call is fine; of the second one the earlier answer would be both read and written over."""
    (tmp_path / "a.png").write_bytes(b"?")
    said = [word.format(tmp_path) for word in words]
    assert look(*said[:1], "--out", str(tmp_path)).exit_code == 0
    (tmp_path / "a-answer.png").write_bytes(b"?")
    result = look(*said, "--out", str(tmp_path))
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(
        f"--out {tmp_path} holds {tmp_path / 'a-answer.png'}, which is handed in and would be written over"
    )
    assert look(str(tmp_path / "a.png"), "--out", str(tmp_path)).exit_code == 0, "the picture alone, again"
    assert look(*said, "--out", str(tmp_path / "answers")).exit_code == 0
