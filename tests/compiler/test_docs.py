"""The code in docs/training.md runs as it stands, top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_every_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/training.md", "exec"), scope)
    assert scope["out"].fake.shape == (32, 4)
    assert scope["adversarial"].shape == scope["x"].shape
    assert scope["norms"]
    assert scope["dw"].shape == (8, 3, 3, 3)
