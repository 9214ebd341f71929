"""Run every case of tests/api beside torch in fp64 and f32, and write docs/coverage.md.

python benchmarks/api_cases.py
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.api import inputs, losses, programs, training  # noqa: E402, F401  (their cases register)
from tests.api.registry import CASES, LIMIT, Case, outcome  # noqa: E402

HEAD = f"""# What was tried, beside torch

Each line is a case of `tests/api/`: a few lines of a user's code, run with tritoncnn, with torch in fp64 and with torch in f32.
`torch` and `ours` are the last number of the first result (the loss after the last step, where a case trains). The errors are the
largest difference from fp64 over all results and all trained tensors, relative to the largest number of each;
at most {LIMIT:.1e}, but where bf16 is asked for. Whole numbers are equal. What is refused ends in the message that stands there.

`python benchmarks/api_cases.py` writes this page; the tests run the same cases.
"""


def line(case: Case) -> str:
    found = outcome(case)
    print(case.name, found, flush=True)
    if found.said:
        said = found.said.replace("|", "\\|")
        return f"| `{case.name}` | {case.title} | | | | refused: {said if len(said) < 200 else said[:200] + '...'} |"
    return f"| `{case.name}` | {case.title} | {found.torch:.7g} | {found.ours:.7g} | {found.error:.1e} | {found.theirs:.1e} |"


def main() -> None:
    text = [HEAD]
    for group, cases in groupby(CASES, key=lambda case: case.group):
        text += [
            f"\n## {group.capitalize()}\n",
            "| case | what it shows | torch, fp64 | ours | our error | torch's in f32 |",
        ]
        text += ["| --- | --- | --- | --- | --- | --- |", *map(line, cases)]
    refusals = sum(bool(case.words) for case in CASES)
    text.append(f"\n{len(CASES)} cases: {len(CASES) - refusals} with torch's numbers, {refusals} refused by name.")
    (ROOT / "docs" / "coverage.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
