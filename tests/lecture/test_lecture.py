"""The lecture goes on whatever becomes of a row, keeps what it has, and writes a page that needs nothing else."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tritoncnn.commands import main
from tritoncnn.errors import InputError
from tritoncnn.lecture import ROWS, Result, give, giving
from tritoncnn.lecture.page import clock, page_of
from tritoncnn.lecture.row import Row, Shown
from tritoncnn.lecture.rows import compared
from tritoncnn.lecture.stage import RowError, Stage
from tritoncnn.signals import Signals, end_as_by_ctrl_c
from tritoncnn.tasks import find_task
from tritoncnn.train.ways import read_ways

Run = Callable[[Stage], Shown]
FIRST, SECOND, THIRD = list(ROWS)[:3]


def shown(stage: Stage, value: float = 2.0) -> Shown:
    picture = stage.folder / "a b.png"
    picture.write_bytes(b"")
    return Shown("metric", value, 1.0, "doing nothing", files={picture: "A <sentence>."}, launches=7)


def failing(stage: Stage) -> Shown:
    stage.call("filter", "no-such-filter", stage.folder / "x.png")
    raise AssertionError("not reached")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let rows run what a test says."""

    def put(**runs: Run) -> None:
        rows = {
            name: Row(name, name.title(), "The idea.", "go on", run)
            for name, run in zip(ROWS, runs.values(), strict=False)
        }
        for module in ("tritoncnn.lecture.giving", "tritoncnn.lecture.page"):
            monkeypatch.setattr(f"{module}.ROWS", rows)

    return put


def test_goes_on_when_a_row_fails_and_says_what_the_command_said(tmp_path: Path, play: Callable[..., None]) -> None:
    play(a=shown, b=failing, c=lambda stage: shown(stage, 0.5))
    told: list[tuple[str, bool]] = []
    results = give(tmp_path, tell=lambda result, before: told.append((result.row, before)))

    assert told == [(FIRST, False), (SECOND, False), (THIRD, False)]
    assert [result.better for result in results] == [True, False, False]
    assert results[1].error is not None
    assert "no-such-filter" in results[1].error
    assert "Traceback" not in results[1].error
    page = (tmp_path / "index.html").read_text()
    assert "1 failed" in page
    assert "a%20b.png" in page
    assert "A &lt;sentence&gt;." in page
    notes = json.loads((tmp_path / "lecture.json").read_text())
    assert {"row", "metric", "value", "baseline", "better", "seconds", "launches", "files"} <= set(notes[0])
    assert all((tmp_path / file).is_file() for file in notes[0]["files"])


def test_keeps_rows_that_ran_and_runs_failed_ones_again(tmp_path: Path, play: Callable[..., None]) -> None:
    play(a=shown, b=failing)
    give(tmp_path)
    play(a=failing, b=shown)
    told: list[tuple[str, bool]] = []
    results = give(tmp_path, only=(SECOND,), tell=lambda result, before: told.append((result.row, before)))

    assert told == [(SECOND, False)]
    assert [result.row for result in results] == [SECOND]
    assert [note["row"] for note in json.loads((tmp_path / "lecture.json").read_text())] == [FIRST, SECOND]


def test_a_row_of_another_version_or_a_damaged_record_runs_again(tmp_path: Path, play: Callable[..., None]) -> None:
    play(a=shown)
    give(tmp_path)
    path = tmp_path / FIRST / giving.RECORD
    whole = path.read_text()
    for text in ('{"version": "0.0.0", "row": "x"}', "{", "[]", whole.replace('"row"', '"rows"')):
        path.write_text(text)
        assert giving.Lecture(tmp_path).kept(FIRST) is None, text
    path.write_text(whole)
    assert giving.Lecture(tmp_path).kept(FIRST) is not None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_what_ends_the_lecture_ends_the_command_that_runs(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    stage = Stage(tmp_path, "row", lambda name: tmp_path)
    with pytest.raises(KeyboardInterrupt), Signals(end_as_by_ctrl_c, "SIGTERM", "SIGHUP"):
        stage._wait(process)
    assert process.returncode is not None
    assert signal.getsignal(number) == before


def test_an_interruption_ends_it_and_what_was_shown_stays(tmp_path: Path, play: Callable[..., None]) -> None:
    def interrupted(stage: Stage) -> Shown:
        raise KeyboardInterrupt

    play(a=shown, b=interrupted)
    with pytest.raises(KeyboardInterrupt):
        give(tmp_path)
    assert [note["row"] for note in json.loads((tmp_path / "lecture.json").read_text())] == [FIRST]


@pytest.mark.parametrize(
    ("value", "falls", "better"), [(0.11, True, False), (0.09, True, True), (9, False, False), (11, False, True)]
)
def test_better_is_as_much_better_as_was_asked_for(value: float, falls: bool, better: bool) -> None:
    assert Shown("metric", value, 1.0, "doing nothing", falls=falls, times=10).better is better


def test_a_row_trains_the_net_of_another_once(tmp_path: Path, play: Callable[..., None]) -> None:
    ran: list[str] = []

    def trains(stage: Stage) -> Shown:
        ran.append("trained")
        (stage.folder / "run").mkdir()
        return shown(stage)

    def uses(stage: Stage) -> Shown:
        assert stage.train(FIRST) == tmp_path / FIRST / "run"
        return shown(stage)

    play(a=trains, b=uses, c=uses)
    assert all(result.better for result in give(tmp_path, only=(SECOND, THIRD)))
    assert ran == ["trained"]

    play(a=failing, b=uses)
    (result,) = give(tmp_path / "other", only=(SECOND,))
    assert result.error is not None
    assert FIRST in result.error


def test_a_figure_that_is_no_number_is_an_error(tmp_path: Path, play: Callable[..., None]) -> None:
    play(a=lambda stage: shown(stage, float("nan")))
    (result,) = give(tmp_path)
    assert result.error is not None
    assert "nan" in result.error


def test_commands_run_with_their_memory_noted_and_paths_as_the_page_sees_them(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "row", lambda name: tmp_path)
    stage.folder.mkdir()
    assert "tritoncnn" in stage.call("--version")
    assert stage.megabytes > 1
    with pytest.raises(RowError, match="tritoncnn filter box row/none.png ended with 2"):
        stage.call("filter", "box", stage.folder / "none.png")


def test_what_is_in_the_way_is_told_and_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    for out, words in ((mine, "is not empty and holds no lecture"), (mine / "letter.txt", "is not a folder")):
        with pytest.raises(InputError, match=words):
            give(out)
    assert [entry.name for entry in mine.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("words", [("--only", "lenett"), ("--only", "lenet,none"), ("lenet", "vggg"), ("--only", "")])
def test_a_wrong_row_is_one_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    found = CliRunner().invoke(main, ["lecture", "--out", str(tmp_path / "page"), *words])
    assert found.exit_code == 2
    assert "unknown row" in found.output
    assert not (tmp_path / "page").exists()


def test_the_command_runs_a_row_and_writes_the_figures(tmp_path: Path) -> None:
    out, figures = tmp_path / "page", tmp_path / "figures.json"
    words = ["lecture", "--out", str(out), "--only", "hand-made-filters", "--json", str(figures)]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    (note,) = json.loads(figures.read_text())
    assert note["better"]
    assert note["value"] < note["baseline"] == 1e-6
    assert "tritoncnn filter sobel hand-made-filters/coffee.png" in note["commands"][0]


class Links(HTMLParser):
    """Collects what a page loads, and counts open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def result(row: str, **more: object) -> Result:
    return Result.of_note({"row": row, "metric": "m", "value": 1.0, "baseline": 2.0, "by": "x", **more})


def test_the_page_needs_no_network_and_no_script_and_escapes_what_it_shows() -> None:
    kinds = ("a.png", "b.wav", "c.mp4")
    one = result(FIRST, files=kinds, captions=("<b>", "&", "three"), fused={"conv2d <x>": 2}, commands=("tritoncnn x",))
    page = page_of([one, result(SECOND, error="it <failed>")])
    links = Links()
    links.feed(page)
    assert not links.open
    assert {"audio", "video", "img"} <= set(links.tags)
    assert "script" not in links.tags
    assert set(links.loads) == {*kinds, f"#{FIRST}", f"#{SECOND}"}
    assert "&lt;failed&gt;" in page


def test_every_row_has_words_for_a_reader() -> None:
    for name, row in ROWS.items():
        assert name == row.name
        assert row.title
        assert row.idea.endswith((".", "?")), name


@pytest.mark.parametrize("name", ROWS)
def test_a_row_shows_files_that_its_task_draws_by_flags_that_it_takes(name: str) -> None:
    """What would otherwise be found out after minutes of training."""
    said = inspect.getclosurevars(ROWS[name].run).nonlocals
    if "task" not in said:  # a row by hand
        return
    task = find_task(said["task"])
    assert set(said["pictures"]) <= {Path(file).stem for file in task.files}
    command = main.get_command(click.Context(main), "train")  # type: ignore[attr-defined]
    command.make_context("train", [task.name, *said["flags"]])
    if "values" in said:
        assert len(read_ways(task, [f"{said['name']}={said['values']}"])) >= 2
        assert said["worse"] in said["values"].split(",")


def test_a_comparison_is_read_by_the_order_of_its_values(tmp_path: Path) -> None:
    """Not by their words: 0 may come back as 0.0."""

    class Said(Stage):
        def call(self, *words: str | Path) -> str:
            run = tmp_path / "row" / "comparison" / "temporal=1000.0,seed=0"
            run.mkdir(parents=True)
            (run / "summary.json").write_text('{"files": ["painted.png"], "launches": 3, "fused": {}}')
            rows = [{"temporal": 1000.0, "mean": 0.5}, {"temporal": 0.0, "mean": 0.9}]
            (run.parent / "table.json").write_text(json.dumps({"metric": find_task("videostyle").best, "rows": rows}))
            return ""

    shown = compared("videostyle", "temporal", "1000,0", "0", "each frame for itself", painted="Frames.")(
        Said(tmp_path, "row", lambda name: tmp_path)
    )
    assert (shown.value, shown.baseline) == (0.5, 0.9)
    assert tmp_path / "row" / "comparison" / "temporal=1000.0,seed=0" / "painted.png" in shown.files


def test_times_are_for_people() -> None:
    assert [clock(seconds) for seconds in (0.4, 59.6, 125)] == ["0 s", "1 min 0 s", "2 min 5 s"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's package chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_page_within_its_width(tmp_path: Path, width: int) -> None:
    wide = {"kernel " + "with a long name " * 9: 2}
    rows = [result(name, fused=wide, commands=("tritoncnn " + "long " * 60,)) for name in ROWS]
    (tmp_path / "index.html").write_text(page_of(rows))
    (tmp_path / "frame.html").write_text(
        f'<iframe id="f" src="index.html" style="width:{width}px;height:600px;border:0"></iframe><p id="told"></p><script>'
        "f.onload = () => { const d = f.contentDocument;"
        "const wide = d.documentElement.scrollWidth + ' of ' + d.documentElement.clientWidth;"
        "told.textContent = wide + ', ' + d.querySelectorAll('section').length }"
        "</script>"
    )
    words = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000", "--dump-dom"]
    found = subprocess.run(
        [*words, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    told = re.search(r'<p id="told">(\d+) of (\d+), (\d+)</p>', found.stdout)
    assert told is not None, found.stdout
    scrolled, visible, sections = map(int, told.groups())
    assert scrolled == visible
    assert sections == len(ROWS)
