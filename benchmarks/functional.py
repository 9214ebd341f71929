"""What a call of a fused op costs beside its kernel: microseconds per call of tiny ops, ours and torch's.

python benchmarks/functional.py [--json FILE]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from measure import Row, arguments, read, report, rows_of

from tritoncnn import functional as T


def main() -> None:
    asked, interleave = read(arguments(__doc__ or ""))
    x, w, b = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(4)
    leaf = w.clone().requires_grad_()

    def step(conv: object) -> None:
        y = conv(x, leaf, b, padding=1)  # type: ignore[operator]
        torch.autograd.grad(y, leaf, y)

    cases = {
        "relu": (lambda: T.relu(x), lambda: F.relu(x)),
        "conv2d": (lambda: T.conv2d(x, w, b, padding=1), lambda: F.conv2d(x, w, b, padding=1)),
        "conv2d, backward": (lambda: step(T.conv2d), lambda: step(F.conv2d)),
    }
    rows: list[Row] = []
    for name, (ours, theirs) in cases.items():
        rows += rows_of(name, interleave({"ours": ours, "torch": theirs}))
    report(rows, asked.json)


if __name__ == "__main__":
    main()
