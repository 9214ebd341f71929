"""tritoncnn gpu-report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tritoncnn.commands import main
from tritoncnn.gpu import make_report, print_table, report


def test_json_has_the_facts_of_each_launch_on_each_target() -> None:
    words = ["--fast", "--only", "softmax 0", "--target", "sm_80", "--target", "gfx942", "--json"]
    done = CliRunner().invoke(main, ["gpu-report", *words])
    rows = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {row["target"] for row in rows} == {"sm_80", "gfx942"}
    assert all(row["facts"]["registers"] > 0 and row["facts"]["roofline_us"] >= 0 for row in rows)


def test_a_faulty_kernel_fails_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "measure", lambda *of: replace(measure(*of), shared=10**6))
    done = CliRunner().invoke(main, ["gpu-report", "--fast", "--only", "softmax 0", "--target", "sm_80"])
    assert done.exit_code == 1
    assert "shared memory 1000000 is over the limit 166912" in done.stdout


def test_one_kernel_has_no_faults_and_a_line_in_the_table() -> None:
    rows = make_report(["sm_80"], "softmax 0", fast=True)
    lines = list(print_table(rows))
    assert lines[-1] == f"{len(rows)} launches, {len(rows)} rows, 0 with faults"
    assert lines[1].startswith("softmax 0 f32")


@pytest.mark.parametrize(("words", "sentence"), [
    (["--target", "sm_75"], "target must be one of sm_80, sm_90, sm_100, gfx90a, gfx942; got sm_75"),
    (["--only", "nothing such"], "--only nothing such: no case or kernel has this in its name"),
])  # fmt: skip
def test_wrong_options_are_named(words: list[str], sentence: str) -> None:
    done = CliRunner().invoke(main, ["gpu-report", *words])
    assert done.exit_code == 2
    assert sentence in done.stderr


measure = report.measure


def test_the_page_tells_what_was_compiled_and_executed(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    words = ["gpu-report", "--fast", "--only", "softmax 0", "--target", "sm_80", "--page", str(file)]
    assert CliRunner().invoke(main, words).exit_code == 0
    text = file.read_text()
    assert "on sm_80. With faults: 0." in text
    assert "2 cases matched, 0 failed" in text
    assert "| softmax" in text
