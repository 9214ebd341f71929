"""What the pages say: their links lead somewhere, and their commands are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tritoncnn.commands import COMMANDS, main
from tritoncnn.errors import InputError
from tritoncnn.lecture import ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]+`")


def commands_of(page: Path) -> list[list[str]]:
    """The words behind ``tritoncnn`` of each line of shell in a page, and of each that stands in its text."""
    text = page.read_text().replace("\\\n", " ")  # a command that goes on in the next line
    lines = [line for block in BLOCK.finditer(text) if block["kind"] == "sh" for line in block["text"].splitlines()]
    lines += [one.replace("\n", " ") for one in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    bare = (
        re.sub(r"[\[\]]", "", line) for line in lines if line.startswith("tritoncnn ")
    )  # [--of DIR]: may be left out
    found = ([word.split("|")[0] for word in shlex.split(line, comments=True)] for line in bare)  # one|two: either
    return [words[1:] for words in found if len(words) > 1 and not set(words) & {"", "&&", ">", "<"}]


def refused(words: list[str]) -> str:
    """Why the command line does not take these words; empty where it does. No command runs."""
    if words[0] not in COMMANDS and not words[0].startswith("-"):
        return "no such command"
    if words[0].startswith("-") or len(words) == 1:
        return ""  # of all commands, or named in passing
    command = main.get_command(click.Context(main), words[0])  # type: ignore[attr-defined]
    try:
        command.make_context(words[0], list(words[1:]))
    except click.exceptions.Exit:  # --help
        return ""
    except click.UsageError as error:
        return error.format_message()
    except InputError as error:  # a run or a file that the reader is to name
        return "" if any("RUN" in word for word in words) else str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_are_taken(page: Path) -> None:
    wrong = {shlex.join(words): said for words in commands_of(page) if (said := refused(words))}
    assert not wrong


def test_words_that_are_wrong_are_found_out() -> None:
    assert refused(["trian", "lenet"])
    assert "--epoch" in refused(["train", "lenet", "--epochz", "3"])
    assert refused(["train", "lenet", "--optimizer", "lion"])
    assert refused(["dream", "RUN"])
    assert not refused(["dream", "RUN", "PICTURE", "--layer", "conv1"])


def test_the_lectures_page_leads_to_a_page_of_each_row_in_their_order() -> None:
    table = (ROOT / "docs" / "lecture.md").read_text().split("## The rows and their pages")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert re.findall(r"`([^`]+)`", "".join(first)) == list(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_tells_a_command_to_go_on_with(name: str) -> None:
    assert not refused(shlex.split(ROWS[name].more))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)", CODE.sub("", BLOCK.sub("", page.read_text())))
    assert [to for to in targets if "://" not in to and not (page.parent / to).exists()] == []
